//! Which versions of kvmalloc there have been, and by which rules each decided (R5.7).
//!
//! The one idea: a version is a row of the table below. `kvmalloc` executes a row and knows no
//! version, so what changed between two kernels is what differs between two rows.
//!
//! What a flag does once the page allocator has it is not said here.

use crate::words::addr::{KMALLOC_MAX_SIZE, PAGE_SIZE};
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_NOFAIL, __GFP_NORETRY, __GFP_NOWARN, __GFP_RETRY_MAYFAIL,
    GFP_KERNEL, Gfp,
};

/// A version of kvmalloc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KvmallocVersion {
    /// As proposed in December 2016 (the RFC of 2016).
    Rfc2016,
    /// As merged (a7c3e901a46f).
    V4_12,
    /// Callers without all of `GFP_KERNEL` get what kmalloc has (ce91f6ee5b3b).
    V4_18,
    /// More than `INT_MAX` bytes are refused (7661809d493b).
    V5_15,
    /// NOFS, NOIO and NOFAIL callers fall back too (a421ef303008), and by mistake those that
    /// cannot sleep.
    V5_17,
    /// Callers that cannot sleep do not fall back (R5.1).
    #[default]
    V6_1,
    /// kvrealloc knows the size of what it replaces (R5.5).
    V6_12,
    /// The first try does not reclaim (46459154f997).
    V6_16,
    /// Decides as 6.16 did; there are forms with an alignment.
    V6_18,
    /// Callers that cannot sleep fall back as well.
    V6_19,
    /// As 6.19 decided. That vrealloc gives pages back when it shrinks, since then, is not
    /// followed.
    Latest,
}

/// What a version does for a caller that asks for more than the cutoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// kmalloc, with the caller's flags.
    Kmalloc,
    /// kmalloc, without hurting anyone, and nothing behind it.
    FirstTry,
    /// The same, and behind it vmalloc.
    Fallback,
    /// The same, and behind it vmalloc although the caller cannot sleep: a bug of that version.
    Bug,
}

/// Which side keeps the promise of `__GFP_NOFAIL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nofail {
    /// The first try keeps the flag, so nothing is ever left to fall back for but what kmalloc
    /// cannot serve at all.
    OnKmalloc,
    /// The first try loses the flag.
    OnVmalloc,
}

/// The rules of one version.
#[derive(Debug)]
struct Row {
    /// For callers with all of `GFP_KERNEL`.
    kernel: Course,
    /// For other callers that can sleep: NOFS, NOIO.
    restricted: Course,
    /// For callers that cannot sleep.
    atomic: Course,
    nofail: Nofail,
    /// What keeps the first try from hurting anyone: flags that it gains, and flags that it loses.
    gains: Gfp,
    loses: Gfp,
    /// For a request of more bytes than this, `__GFP_RETRY_MAYFAIL` (at first `__GFP_REPEAT`) keeps
    /// the first try's flags as they are: it neither gains nor loses any.
    mayfail_above: u64,
    /// vmalloc is asked for no more than this.
    largest: u64,
    /// What pages vmalloc may use.
    pages: Pages,
    /// How kvrealloc looks at the memory that it replaces.
    old_size: OldSize,
}

/// What pages kvmalloc lets vmalloc use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    Small,
    /// Huge ones too, since 5.18, for callers that can sleep.
    Huge,
}

/// Where kvrealloc has the size of the old memory from (R5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldSize {
    /// Its caller says so.
    Told,
    /// Since 6.12 the memory tells, as it tells krealloc; an area counts with all of its pages.
    Whole,
    /// Since 6.15 an area counts with the bytes that were asked for: it clears what a shrink gives
    /// up and no more, and what grows in place was cleared before (a0309faf1cb0, 70d1eb031a68).
    Requested,
}

const NONE: Gfp = Gfp(0);
/// PAGE_SIZE << PAGE_ALLOC_COSTLY_ORDER.
const COSTLY: u64 = PAGE_SIZE << 3;
const INT_MAX: u64 = i32::MAX as u64;

macro_rules! rows {
    ($($version:ident $name:literal: $kernel:ident $restricted:ident $atomic:ident $nofail:ident
       $gains:ident $loses:ident $mayfail:expr, $largest:expr, $pages:ident $old_size:ident;)*) => {
        impl KvmallocVersion {
            const fn row(self) -> &'static Row {
                match self {
                    $(KvmallocVersion::$version => &Row {
                        kernel: Course::$kernel, restricted: Course::$restricted,
                        atomic: Course::$atomic, nofail: Nofail::$nofail,
                        gains: $gains, loses: $loses,
                        mayfail_above: $mayfail, largest: $largest,
                        pages: Pages::$pages, old_size: OldSize::$old_size,
                    }),*
                }
            }

            /// Every version, the oldest first.
            pub const ALL: &[KvmallocVersion] = &[$(KvmallocVersion::$version),*];

            /// The version's name, such as `v6.1`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(KvmallocVersion::$version => $name),*
                }
            }
        }
    };
}

// The RFC and 4.12 warned about callers without all of GFP_KERNEL, and then fell back all the same.
// The last column is kvrealloc's, which came with 5.15; older versions do what it did then.
rows! {
    //                 KERNEL   NOFS     ATOMIC   NOFAIL    gains, loses                 MAYFAIL, …
    Rfc2016 "rfc2016": Fallback Fallback Bug      OnKmalloc __GFP_NORETRY NONE                 u64::MAX,  u64::MAX, Small Told;
    V4_12   "v4.12":   Fallback Fallback Bug      OnKmalloc __GFP_NORETRY NONE                 COSTLY,    u64::MAX, Small Told;
    V4_18   "v4.18":   Fallback Kmalloc  Kmalloc  OnKmalloc __GFP_NORETRY NONE                 PAGE_SIZE, u64::MAX, Small Told;
    V5_15   "v5.15":   Fallback Kmalloc  Kmalloc  OnKmalloc __GFP_NORETRY NONE                 PAGE_SIZE, INT_MAX,  Small Told;
    V5_17   "v5.17":   Fallback Fallback Bug      OnVmalloc __GFP_NORETRY NONE                 PAGE_SIZE, INT_MAX,  Small Told;
    V6_1    "v6.1":    Fallback Fallback FirstTry OnVmalloc __GFP_NORETRY NONE                 PAGE_SIZE, INT_MAX,  Huge  Told;
    V6_12   "v6.12":   Fallback Fallback FirstTry OnVmalloc __GFP_NORETRY NONE                 PAGE_SIZE, INT_MAX,  Huge  Whole;
    V6_16   "v6.16":   Fallback Fallback FirstTry OnVmalloc NONE          __GFP_DIRECT_RECLAIM PAGE_SIZE, INT_MAX,  Huge  Requested;
    V6_18   "v6.18":   Fallback Fallback FirstTry OnVmalloc NONE          __GFP_DIRECT_RECLAIM PAGE_SIZE, INT_MAX,  Huge  Requested;
    V6_19   "v6.19":   Fallback Fallback Fallback OnVmalloc NONE          __GFP_DIRECT_RECLAIM PAGE_SIZE, INT_MAX,  Huge  Requested;
    Latest  "latest":  Fallback Fallback Fallback OnVmalloc NONE          __GFP_DIRECT_RECLAIM PAGE_SIZE, INT_MAX,  Huge  Requested;
}

/// A version's rules, and from which size on they let go of kmalloc.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    row: &'static Row,
    cutoff: u64,
}

impl Rules {
    /// The rules of a version. `cutoff_pages` is the largest request that never falls back; 0 means
    /// the version's own, which has always been a page.
    pub(crate) fn of(version: KvmallocVersion, cutoff_pages: u32) -> Self {
        let cutoff = u64::from(cutoff_pages.max(1)) * PAGE_SIZE;
        Self { row: version.row(), cutoff }
    }

    /// What is done for a request.
    pub(crate) fn course(&self, size: u64, gfp: Gfp) -> Course {
        if size <= self.cutoff { Course::Kmalloc } else { self.course_of_caller(size, gfp) }
    }

    /// Whether vmalloc may serve a request, however small (R5.1).
    pub(crate) fn may_map(&self, size: u64, gfp: Gfp) -> bool {
        self.course_of_caller(size, gfp) == Course::Fallback && size <= self.row.largest
    }

    /// Whether vmalloc has learnt not to sleep (R4.15): where kvmalloc sends callers that cannot.
    pub(crate) fn vmalloc_spares_sleep(&self) -> bool {
        self.row.atomic == Course::Fallback
    }

    /// Where kvrealloc has the size of the old memory from.
    pub(crate) const fn old_size(&self) -> OldSize {
        self.row.old_size
    }

    /// Whether vmalloc may use huge pages for a request.
    pub(crate) fn may_map_huge(&self, gfp: Gfp) -> bool {
        self.row.pages == Pages::Huge && gfp.may_block()
    }

    /// Whether the request is a mistake, since vmalloc is never asked for that much.
    pub(crate) const fn is_too_large(&self, size: u64) -> bool {
        size > self.row.largest
    }

    /// The flags with which a request larger than the cutoff asks kmalloc.
    pub(crate) fn first_try(&self, size: u64, gfp: Gfp) -> Gfp {
        let Row { gains, loses, mayfail_above, nofail, .. } = *self.row;
        let insists = gfp.has(__GFP_RETRY_MAYFAIL) && size > mayfail_above;
        let light = if insists { gfp } else { (gfp | gains).without(loses) } | __GFP_NOWARN;
        match nofail {
            Nofail::OnKmalloc => light,
            Nofail::OnVmalloc => light.without(__GFP_NOFAIL),
        }
    }

    fn course_of_caller(&self, size: u64, gfp: Gfp) -> Course {
        let course = match (gfp.may_block(), gfp.has(GFP_KERNEL)) {
            (false, _) => self.row.atomic,
            (true, false) => self.row.restricted,
            (true, true) => self.row.kernel,
        };
        // Where kmalloc keeps the promise, it waits for any size that it can serve; a larger one it
        // refuses at once.
        let is_kept = self.row.nofail == Nofail::OnKmalloc && size <= KMALLOC_MAX_SIZE;
        let waits = gfp.has(__GFP_NOFAIL) && is_kept;
        if waits && course == Course::Fallback { Course::FirstTry } else { course }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::words::gfp::{GFP_ATOMIC, GFP_NOFS};

    const SIZE: u64 = PAGE_SIZE + 1;
    const NOFAIL: Gfp = Gfp(GFP_KERNEL.0 | __GFP_NOFAIL.0);

    #[test]
    fn rows_are_in_the_order_of_their_versions() {
        assert!(
            KvmallocVersion::ALL
                .iter()
                .enumerate()
                .all(|(place, version)| *version as usize == place)
        );
        assert_eq!(
            (KvmallocVersion::Rfc2016.name(), KvmallocVersion::V6_12.name()),
            ("rfc2016", "v6.12")
        );
    }

    #[test]
    fn each_version_has_its_own_idea_of_who_may_fall_back() {
        use Course::{Bug, Fallback, FirstTry, Kmalloc};
        let callers = |version| {
            let rules = Rules::of(version, 0);
            [GFP_NOFS, GFP_ATOMIC, NOFAIL].map(|gfp| rules.course(SIZE, gfp))
        };
        assert_eq!(callers(KvmallocVersion::V4_12), [Fallback, Bug, FirstTry]);
        assert_eq!(callers(KvmallocVersion::V4_18), [Kmalloc, Kmalloc, FirstTry]);
        assert_eq!(callers(KvmallocVersion::V5_17), [Fallback, Bug, Fallback]);
        assert_eq!(callers(KvmallocVersion::V6_1), [Fallback, FirstTry, Fallback]);
        assert_eq!(callers(KvmallocVersion::V6_18), [Fallback, FirstTry, Fallback]);
        assert_eq!(callers(KvmallocVersion::V6_19), [Fallback; 3]);
    }

    #[test]
    fn what_kmalloc_cannot_serve_falls_back_whoever_keeps_the_promise() {
        for version in KvmallocVersion::ALL {
            let rules = Rules::of(*version, 0);
            assert_eq!(rules.course(KMALLOC_MAX_SIZE + 1, NOFAIL), Course::Fallback, "{version:?}");
            let keeps = *version < KvmallocVersion::V5_17;
            assert_eq!(rules.course(KMALLOC_MAX_SIZE, NOFAIL) == Course::FirstTry, keeps);
        }
    }

    #[test]
    fn kvrealloc_knows_the_old_size_since_6_12() {
        for version in KvmallocVersion::ALL {
            let expected = match *version {
                KvmallocVersion::V6_12 => OldSize::Whole,
                version if version < KvmallocVersion::V6_12 => OldSize::Told,
                _ => OldSize::Requested,
            };
            assert_eq!(Rules::of(*version, 0).old_size(), expected, "{version:?}");
        }
    }

    #[test]
    fn the_first_try_has_the_flags_of_its_version() {
        let repeat = Gfp(GFP_KERNEL.0 | __GFP_RETRY_MAYFAIL.0);
        let is_light = |version, size, gfp| {
            let first = Rules::of(version, 0).first_try(size, gfp);
            assert!(first.has(__GFP_NOWARN));
            first.has(__GFP_NORETRY) || !first.may_block()
        };
        assert!(KvmallocVersion::ALL.iter().all(|version| is_light(*version, SIZE, GFP_KERNEL)));
        assert!(is_light(KvmallocVersion::Rfc2016, COSTLY + 1, repeat));
        assert!(is_light(KvmallocVersion::V4_12, COSTLY, repeat));
        assert!(!is_light(KvmallocVersion::V4_12, COSTLY + 1, repeat));
        assert!(!is_light(KvmallocVersion::V4_18, SIZE, repeat));
        assert!(!Rules::of(KvmallocVersion::V6_16, 0).first_try(SIZE, GFP_KERNEL).may_block());
        assert!(Rules::of(KvmallocVersion::V6_12, 0).first_try(SIZE, GFP_KERNEL).may_block());
        assert!(Rules::of(KvmallocVersion::V5_15, 0).first_try(SIZE, NOFAIL).has(__GFP_NOFAIL));
        assert!(!Rules::of(KvmallocVersion::V5_17, 0).first_try(SIZE, NOFAIL).has(__GFP_NOFAIL));
    }

    #[test]
    fn a_cutoff_moves_the_edge_and_no_route() {
        let rules = Rules::of(KvmallocVersion::V6_1, 4);
        assert_eq!(rules.course(4 * PAGE_SIZE, GFP_KERNEL), Course::Kmalloc);
        assert_eq!(rules.course(4 * PAGE_SIZE + 1, GFP_KERNEL), Course::Fallback);
        assert!(rules.may_map(8, GFP_KERNEL) && !rules.may_map(INT_MAX + 1, GFP_KERNEL));
    }
}
