//! Relaxations: where an oracle lets an answer pass that it could not make sure of.
//!
//! A judgement is one of three: legal, legal because relaxed, or an objection. Each relaxation has
//! a name and a reason here, is counted wherever it is used, and the counts come with every run: a
//! relaxation that suddenly explains much more than before hides something.
//!
//! What is legal by a rule is no relaxation, however little the rule demands.

use std::cell::Cell;

macro_rules! relaxations {
    ($($relaxation:ident $name:literal $reason:literal;)*) => {
        /// A reason to let an answer pass.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Relaxation { $(#[doc = $reason] $relaxation,)* }

        /// Every relaxation: its name in reports, and its reason.
        pub static RELAXATIONS: &[(Relaxation, &str, &str)] =
            &[$((Relaxation::$relaxation, $name, $reason)),*];

        const NR_RELAXATIONS: usize = [$($name),*].len();
    };
}

relaxations! {
    OtherTarget     "other-target"     "the op's address or cache means different things in two lanes, so that their answers cannot be compared";
    FreeTarget      "free-target"      "what the op's address means is free in two lanes, and each lane's free memory has its own history";
    KvmallocTarget  "kvmalloc-target"  "the op's address is kvmalloc's, so that what is right for it depends on the lane's side";
    OwnSlack        "own-slack"        "memory was reallocated in one lane and allocated anew in another, so that it has more room in one";
    MissedScope     "missed-scope"     "a task that waited in one lane opened no scope there, and has none to close";
    OwnShortage     "own-shortage"     "lanes run out of memory and of space at different times";
    OwnSide         "own-side"         "kvmalloc's sides refuse for different reasons";
    LastByte        "last-byte"        "the last byte of the vmalloc space is the guard of an area in one lane only (R4.6)";
    InjectedFailure "injected-failure" "a failure was injected on the way, and where is not known";
    Reclaimed       "reclaimed"        "memory was reclaimed on the way, and what was free in between is not known";
    Metadata        "metadata"         "the frames that an area's metadata needed are known only within bounds (R4.2, R4.4)";
    NoNode          "no-node"          "so few frames were free that a split in the middle of a hole may have had no node (R4.9)";
    UnknownPlace    "unknown-place"    "the vmalloc space has too many areas to tell where the next one goes";
    MaybePurged     "maybe-purged"     "a call ran out of memory or met an injected failure before its search for room or after it, so that what waited may or may not have been purged (R4.10)";
    ShortHole       "short-hole"       "a hole that only just fits an aligned area is found or passed over by the shape of a tree that no caller sees (R4.7)";
    LargestHole     "largest-hole"     "the vmalloc space has too many areas, so the allocator's own count of its largest hole is believed";
    ByChance        "by-chance"        "small pages of an area lie like huge ones, so that either search may have placed it (R4.12)";
    OtherNode       "other-node"       "another node gave, and it is not certain that the nearest one had plenty (R4.1)";
    SmallPages      "small-pages"      "an area that may have huge pages has small ones, and it is not certain that there were huge ones (R4.12)";
    FullSlab        "full-slab"        "kvmalloc fell back on a request that a slab might have served, and whether one had room is not known";
    SeveralSlabs    "several-slabs"    "a request for several objects failed, and how many slabs it had made before is not known";
    FreedMemory     "freed-memory"     "by what name a free of free memory is refused depends on the allocator's history";
    SeveralNodes    "several-nodes"    "which node's list a block came from is not known, so that any block may come next (R3.11)";
    DeepScopes      "deep-scopes"      "scopes are nested deeper than the book follows";
    KeptByFailure   "kept-by-failure"  "a failed call left a slab, a node, a page table or a purge behind, as it may (R4.9, R4.10)";
}

/// How often each relaxation was used.
#[derive(Clone, Debug, Default)]
pub struct Relaxed([Cell<u64>; NR_RELAXATIONS]);

impl Relaxed {
    /// Counts an answer that passes for this reason alone.
    pub fn by(&self, relaxation: Relaxation) {
        self.add(relaxation, 1);
    }

    /// Passes on whether an answer may pass, and counts it if it may.
    pub(crate) fn if_so(&self, may_pass: bool, relaxation: Relaxation) -> bool {
        if may_pass {
            self.by(relaxation);
        }
        may_pass
    }

    /// How often a relaxation was used.
    pub fn nr(&self, relaxation: Relaxation) -> u64 {
        self.0[relaxation as usize].get()
    }

    /// Adds the counts of another run.
    pub(crate) fn add_all(&self, other: &Relaxed) {
        for (relaxation, ..) in RELAXATIONS {
            self.add(*relaxation, other.nr(*relaxation));
        }
    }

    /// The relaxations that were used, and how often.
    pub fn used(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = RELAXATIONS.iter().map(|(relaxation, name, _)| (*name, self.nr(*relaxation)));
        counts.filter(|(_, nr)| *nr > 0)
    }

    /// Every count.
    #[cfg(feature = "worker")]
    pub(crate) fn counts_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.0.iter_mut().map(Cell::get_mut)
    }

    fn add(&self, relaxation: Relaxation, nr: u64) {
        let count = &self.0[relaxation as usize];
        count.set(count.get() + nr);
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn uses_are_counted_by_name_and_added_up() {
        let (one, two) = (Relaxed::default(), Relaxed::default());
        assert!(one.if_so(true, Relaxation::Metadata));
        assert!(!one.if_so(false, Relaxation::OwnSide));
        two.by(Relaxation::Metadata);
        two.add_all(&one);
        assert_eq!(two.used().collect::<Vec<_>>(), [("metadata", 2)]);
    }
}
