//! Campaigns: which lanes a trace runs down, and what traces are generated.
//!
//! The one idea: a campaign is a row of data. Its name is the name of the fuzz target, the corpus
//! folder and the proptest; `tidy` checks that all of them are there.
//!
//! Oracles are not chosen here: the packs that a lane claims are what it is judged by.

use crate::churn::{Churn, Tally};
use crate::generate::{CallSet, Profile, Share};
use crate::lane::{LaneSpec, Routing};
use crate::op::Op;
use crate::subject::Pack;
use crate::subject::alloc_core::boot;
use crate::subject::{Boot, reference};
use crate::trace::Trace;

/// A row of [`CAMPAIGNS`].
#[derive(Debug)]
pub struct Campaign {
    /// The name of the campaign, its fuzz target and its corpus folder.
    pub name: &'static str,
    /// What it is after, in one sentence.
    pub sentence: &'static str,
    /// The lanes.
    pub lanes: &'static [LaneSpec],
    /// The place of the lane whose answers the trace's expectations are about.
    pub follows: usize,
    /// What traces are generated.
    pub profile: Profile,
    /// What is validated after every op; everything is now and then.
    pub every_op: EveryOp,
    /// Where its allocators live.
    pub isolation: Isolation,
    /// Who leads its lanes through a churn, one for each lane, or nobody.
    pub churns: &'static [Lead],
}

/// Leads an allocator through a churn, and looks at all that it does. It tells now and then which
/// act is at hand.
///
/// # Errors
/// What is amiss; the churn has been drawn up to there.
pub type Lead = fn(&mut Churn, &mut dyn FnMut(usize)) -> Result<Tally, String>;

/// Where the allocators of a campaign live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// In the process that asks.
    #[default]
    Here,
    /// The command line runs their traces in another process, of which they may die: for allocators
    /// on real memory.
    Worker,
}

/// What a campaign validates after every op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EveryOp {
    /// Nothing.
    #[default]
    Nothing,
    /// The trees of the vmalloc space: their order and their augmented maxima.
    VmapTrees,
}

const fn lane(name: &'static str, routing: Routing) -> LaneSpec {
    LaneSpec { name, routing, boot, packs: &[Pack::Generic, Pack::Linux] }
}

const fn caller(name: &'static str, routing: Routing) -> LaneSpec {
    LaneSpec { packs: &[Pack::Generic, Pack::Linux, Pack::Caller], ..lane(name, routing) }
}

/// One lane, routed as the trace says.
const AS_WRITTEN: &[LaneSpec] = &[lane("as-written", Routing::AsWritten)];

/// A lane of an allocator that claims no more than any caller may rely on.
pub const fn foreign(name: &'static str, boot: Boot) -> LaneSpec {
    LaneSpec { name, routing: Routing::AsWritten, boot, packs: &[Pack::Generic] }
}

/// The reference heap, which is its own frame allocator.
const REFERENCE: &[LaneSpec] = &[foreign("reference", reference::boot)];

/// What is asked of a heap or a frame allocator that is not Linux': nothing of Linux, no injected
/// failure, and no wrong free, of which nothing would be left.
const fn foreign_profile(campaign: &'static str) -> Profile {
    Profile {
        misuse: Share(0),
        faults: Share(0),
        nofail: Share(0),
        policies: Share(0),
        huge: Share(0),
        long: Share(125),
        ..Profile::new(CallSet::Of(campaign))
    }
}

/// The four lanes of random routing.
const ROUTED_LANES: &[LaneSpec] = &[
    lane("as-written", Routing::AsWritten),
    lane("policy", Routing::Policy),
    lane("always-slab", Routing::AlwaysSlab),
    lane("always-vmalloc", Routing::AlwaysVmalloc),
];

/// The same, for a trace that is a caller.
const CALLERS_LANES: &[LaneSpec] = &[
    caller("policy", Routing::Policy),
    caller("always-slab", Routing::AlwaysSlab),
    caller("always-vmalloc", Routing::AlwaysVmalloc),
    caller("as-written", Routing::AsWritten),
];

/// A caller of an allocator that is not Linux'. Who is judged is the caller, so that one that is
/// right stands for all.
const CALLERS_FOREIGN_LANES: &[LaneSpec] =
    &[LaneSpec { packs: &[Pack::Generic, Pack::Caller], ..foreign("reference", reference::boot) }];

/// The lanes of a replayed recording: the policy, both extremes, and three recorded random
/// routings.
const REPLAY_LANES: &[LaneSpec] = &[
    lane("policy", Routing::Policy),
    lane("always-slab", Routing::AlwaysSlab),
    lane("always-vmalloc", Routing::AlwaysVmalloc),
    lane("random-1", Routing::Random(1)),
    lane("random-2", Routing::Random(2)),
    lane("random-3", Routing::Random(3)),
];

macro_rules! campaigns {
    ($($place:ident $name:literal $lanes:ident $profile:expr, $sentence:literal
        $(validates $every_op:ident)?;)*) => {
        $(#[doc = $sentence] pub static $place: Campaign = Campaign {
            name: $name, sentence: $sentence, lanes: $lanes, follows: 0, profile: $profile,
            every_op: campaigns!(@every_op $($every_op)?), isolation: Isolation::Here,
            churns: &[],
        };)*
        /// The campaigns that have a fuzz target.
        pub static CAMPAIGNS: &[&Campaign] = &[$(&$place),*];

        /// Every campaign that can be named: those, and the ones whose traces come from elsewhere.
        pub static EVERY: &[&Campaign] = &[$(&$place,)* &REPLAY, &SWEEP, &CALLERS,
            &CALLERS_FOREIGN];
    };
    (@every_op) => { EveryOp::Nothing };
    (@every_op $every_op:ident) => { EveryOp::$every_op };
}

campaigns! {
    PAGES "pages" AS_WRITTEN Profile::new(CallSet::Of("pages")),
        "The page allocator: orders, split and coalesce, watermarks.";
    KMALLOC "kmalloc" AS_WRITTEN Profile::new(CallSet::Of("kmalloc")),
        "Slab caches and kmalloc: size classes, caches of any size, large blocks.";
    VMALLOC "vmalloc" AS_WRITTEN Profile { huge: Share(10), ..Profile::new(CallSet::Of("vmalloc")) },
        "The vmalloc space: fits and splits, ranges, lazy purge, mappings." validates VmapTrees;
    KVMALLOC "kvmalloc" AS_WRITTEN Profile { policies: Share(500), huge: Share(10), ..Profile::new(CallSet::Of("kvmalloc")) },
        "kvmalloc alone: its decision procedure under fragmentation.";
    ROUTED "routed" ROUTED_LANES Profile::new(CallSet::All),
        "Every call down four lanes: policy, always slab, always vmalloc, and as the trace routes.";
    FREES "frees" AS_WRITTEN Profile { misuse: Share(400), ..Profile::new(CallSet::All) },
        "Wrong frees: mismatched, double, interior, misaligned, wild.";
    NOFAIL "nofail" AS_WRITTEN Profile { nofail: Share(500), pressure: Share(900), ..Profile::new(CallSet::All) },
        "NOFAIL requests on machines that run out of pages and of vmalloc space.";
    FAULTS "faults" AS_WRITTEN Profile { faults: Share(500), ..Profile::new(CallSet::All) },
        "Injected failure at the kernel's sites, by nth call.";
    HEAP "heap" REFERENCE foreign_profile("heap"),
        "Heaps: alignment, growth in place, odd regions, contents that look like metadata.";
    FRAMES "frames" REFERENCE foreign_profile("frames"),
        "Frame allocators: runs of frames, aligned, given more of them now and then.";
}

/// The campaign that replays recordings. It has no fuzz target: its traces come from a real kernel.
pub static REPLAY: Campaign = Campaign {
    name: "replay",
    sentence: "A recording of a real kernel down the policy, both extremes and three random routings.",
    lanes: REPLAY_LANES,
    follows: 0,
    profile: Profile::new(CallSet::All),
    every_op: EveryOp::Nothing,
    isolation: Isolation::Here,
    churns: &[],
};

/// The campaign that judges a trace as a caller: what Linux would object to is its failure, and so
/// is what it leaves. It has no fuzz target: generated traces misuse memory.
pub static CALLERS: Campaign = Campaign {
    name: "callers",
    sentence: "A trace as calling code: wrong frees, leaks and misplaced calls are its failures.",
    lanes: CALLERS_LANES,
    follows: 3,
    profile: Profile::new(CallSet::All),
    every_op: EveryOp::Nothing,
    isolation: Isolation::Here,
    churns: &[],
};

/// The same for a trace with calls that Linux has not: those of a heap or a frame allocator.
pub static CALLERS_FOREIGN: Campaign = Campaign {
    name: "callers-foreign",
    sentence: "A trace as code that calls a heap or a frame allocator that is not Linux'.",
    lanes: CALLERS_FOREIGN_LANES,
    follows: 0,
    profile: Profile::new(CallSet::Of("heap")),
    every_op: EveryOp::Nothing,
    isolation: Isolation::Here,
    churns: &[],
};

/// The campaign that asks what a trace costs under one policy. It has no fuzz target: its traces
/// are those of others.
pub static SWEEP: Campaign = Campaign {
    name: "sweep",
    sentence: "A recording or a campaign's traces under other cutoffs and on fragmented machines.",
    lanes: AS_WRITTEN,
    follows: 0,
    profile: Profile::new(CallSet::All),
    every_op: EveryOp::Nothing,
    isolation: Isolation::Here,
    churns: &[],
};

/// The campaign that judges a trace as a caller, by whose calls it makes.
pub fn of_caller(trace: &Trace) -> &'static Campaign {
    let is_foreign = |op: &Op| op.call.spec().family.is_foreign();
    if trace.ops.iter().any(is_foreign) { &CALLERS_FOREIGN } else { &CALLERS }
}

/// The campaign of this name.
pub fn by_name(name: &str) -> Option<&'static Campaign> {
    EVERY.iter().copied().find(|campaign| campaign.name == name)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::verdict;

    #[test]
    fn a_trace_is_a_caller_of_those_whose_calls_it_makes() {
        for (text, campaign) in [
            ("r0 = kmalloc(0x10, GFP_KERNEL)", &CALLERS),
            ("write(r0, 0x0, 0x8)\nr0 = alloc(0x10, 0x8)", &CALLERS_FOREIGN),
            ("add_frames(4)", &CALLERS_FOREIGN),
        ] {
            let trace = Trace::parse(text).expect("a trace");
            assert_eq!(of_caller(&trace).name, campaign.name, "{text}");
            assert!(campaign.name.starts_with(verdict::CALLERS));
        }
    }
}
