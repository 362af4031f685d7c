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

/// The most ops of a trace of usual length.
const NR_OPS_MAX: usize = 400;

/// How many times as many ops a long trace has.
pub(super) const LONG: usize = 16;

/// The calls that traces may be made of.
#[derive(Clone, Copy, Debug)]
pub enum CallSet {
    /// Every call of Linux.
    All,
    /// Those whose row names this campaign.
    Of(&'static str),
    /// Of those, the ones that allocators have which do not have all.
    Had(&'static str, fn(Call) -> bool),
    /// These.
    These(&'static [Call]),
}

impl CallSet {
    /// Whether a call is one of them.
    pub fn contains(self, call: Call) -> bool {
        match self {
            CallSet::All => !call.spec().family.is_foreign(),
            CallSet::Of(campaign) => call.spec().campaigns.contains(&campaign),
            CallSet::Had(campaign, has) => CallSet::Of(campaign).contains(call) && has(call),
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
    /// Traces of sixteen times as many ops, in which an allocator ages.
    pub long: Share,
}

impl Profile {
    /// The most ops of a generated trace: one may come after its usual end.
    pub const fn nr_ops_max(&self) -> usize {
        match self.long {
            Share(0) => NR_OPS_MAX + 1,
            _ => NR_OPS_MAX * LONG + 1,
        }
    }

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
            long: Share(0),
        }
    }
}
