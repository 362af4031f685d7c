//! What a campaign's traces may contain: which calls, and how much of what is unusual.
//!
//! A trace draws its own small world from a profile; that is done elsewhere.

use crate::call::{ALL_CALLS, Call};
use crate::text::Whose;
use fastrand::Rng;

/// A share in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u16);

impl Share {
    /// Says yes in this share of the cases.
    pub(crate) fn hit(self, rng: &mut Rng) -> bool {
        rng.u16(0..1000) < self.0
    }

    /// A share for one trace: nothing in one trace of four, else anything up to this one.
    pub(super) fn draw(self, rng: &mut Rng) -> Self {
        if rng.u8(0..4) == 0 { Self(0) } else { Self(rng.u16(0..=self.0)) }
    }
}

/// The calls that traces may be made of.
#[derive(Clone, Copy, Debug)]
pub enum CallSet {
    /// Every call of Linux.
    All,
    /// Those whose row names this campaign.
    Of(&'static str),
    /// These.
    These(&'static [Call]),
}

impl CallSet {
    /// Whether a call is one of them.
    pub fn contains(self, call: Call) -> bool {
        match self {
            CallSet::All => !call.spec().family.is_foreign(),
            CallSet::Of(campaign) => call.spec().campaigns.contains(&campaign),
            CallSet::These(calls) => calls.contains(&call),
        }
    }

    /// Whose calls they are: Linux', or those of others.
    pub(crate) fn whose(self) -> Whose {
        let is_foreign = self.calls().iter().any(|call| call.spec().family.is_foreign());
        if is_foreign { Whose::Foreign } else { Whose::Linux }
    }

    /// All of them, in the order of the table.
    pub(super) fn calls(self) -> Vec<Call> {
        ALL_CALLS.iter().copied().filter(|call| self.contains(*call)).collect()
    }
}

/// What the traces of a campaign may contain. The shares are the largest that a trace can draw.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// The calls, of which every trace uses some.
    pub calls: CallSet,
    /// Frees that are wrong: the wrong call, twice, inside, or wild.
    pub misuse: Share,
    /// Allocations beside which a fault is injected.
    pub faults: Share,
    /// Flag words with `__GFP_NOFAIL`.
    pub nofail: Share,
    /// Traces, not ops, that run on a machine short of frames or of vmalloc space.
    pub pressure: Share,
    /// Traces whose kvmalloc is of another version, or has another cutoff.
    pub policies: Share,
    /// Traces that ask for huge pages now and then. One such answer costs as much as a thousand
    /// others, since all of it is painted.
    pub huge: Share,
}

impl Profile {
    /// The ordinary mix: now and then something wrong, refused, or scarce.
    pub const fn new(calls: CallSet) -> Self {
        Self {
            calls,
            misuse: Share(30),
            faults: Share(40),
            nofail: Share(20),
            pressure: Share(250),
            policies: Share(125),
            huge: Share(1),
        }
    }
}
