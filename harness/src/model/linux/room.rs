//! A search for room in the vmalloc space: what is looked for, where it may end, what it leaves.
//!
//! How the space is searched is in `window`.

use super::kvmalloc::Policy;
use crate::model::{Interface, Want};
use crate::words::pages_of;

/// Where an area may go if its pages are huge, and if they are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// With huge pages; nowhere if the request may not have them.
    pub huge: Room,
    /// With small ones.
    pub small: Room,
}

/// Where an area may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(super) spots: Vec<Ending>,
    pub(super) may_miss: bool,
}

/// One place at which a search may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) addr: u64,
    /// Whether the search has purged to get there.
    pub(super) is_purged: bool,
}

impl Room {
    pub(super) const NOWHERE: Self = Self { spots: Vec::new(), may_miss: true };

    /// Whether an area may go to an address.
    pub(crate) fn admits(&self, addr: u64) -> bool {
        self.spots.iter().any(|spot| spot.addr == addr)
    }

    /// Whether an area goes to an address, or the request fails.
    pub(crate) fn is_only(&self, addr: u64) -> bool {
        !self.spots.is_empty() && self.spots.iter().all(|spot| spot.addr == addr)
    }

    /// Whether a search finds a place for certain.
    pub(crate) fn is_certain(&self) -> bool {
        !self.may_miss
    }

    /// The lowest place, if there is any.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.spots.iter().map(|spot| spot.addr).min()
    }

    /// Takes the places of another search in, which may have been made in its stead.
    pub(super) fn or(&mut self, other: Self) {
        self.spots.extend(other.spots);
        self.may_miss |= other.may_miss;
    }

    /// Whether a search that ends here, or in vain, may have left what was freed unpurged.
    pub(super) fn may_leave_unpurged(&self) -> bool {
        self.spots.iter().any(|spot| !spot.is_purged)
    }

    /// Whether it may have purged. Who finds nothing has.
    pub(super) fn may_purge(&self) -> bool {
        self.may_miss || self.spots.iter().any(|spot| spot.is_purged)
    }
}

/// A search for room: for an area, and for the area of its page array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    /// Pages of the area, but for its guard.
    pub nr_pages: u64,
    /// Its pages if they are huge, which is tried first; none if they may not be (R4.12).
    pub nr_huge_pages: Option<u64>,
    /// The offsets in bytes between which it must lie, and its alignment.
    pub range: Option<(u64, u64, u64)>,
}

impl Search {
    /// That of a request which comes to vmalloc.
    pub(crate) fn of(want: &Want, policy: &Policy) -> Self {
        let range = match want.interface {
            Interface::Vmalloc { range } => range,
            _ => None,
        };
        let nr_pages = pages_of(want.size.unwrap_or(0));
        Self { nr_pages, nr_huge_pages: policy.huge_pages(want), range }
    }

    /// Whether it may end in the middle of a hole, which takes a node: all but aligned areas and
    /// those in a range go to the edge of one.
    pub(crate) fn may_split(&self) -> bool {
        self.range.is_some() || self.nr_huge_pages.is_some()
    }

    /// The same without huge pages.
    pub(crate) fn in_small_pages(self) -> Self {
        Self { nr_huge_pages: None, ..self }
    }
}

/// What a search may have left of the areas that waited for a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traces {
    /// They may wait as before.
    pub(super) unpurged: bool,
    /// They may have been purged.
    pub(super) purged: bool,
}

impl Traces {
    /// Neither: the search cannot have ended so.
    pub(super) const NONE: Self = Self { unpurged: false, purged: false };

    /// What either of two searches may have left.
    pub(super) fn or(self, other: Self) -> Self {
        Self { unpurged: self.unpurged || other.unpurged, purged: self.purged || other.purged }
    }
}
