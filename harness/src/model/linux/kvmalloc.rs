//! What each version of kvmalloc does, as the history of R5.7 tells it.
//!
//! The versions are told apart by four questions (who falls back, how the first try asks, who keeps
//! the promise of `__GFP_NOFAIL`, how much is too much), and the answers are worked out a second
//! time here. Nothing of alloc-core's table is used.
//!
//! What is free on the machine is not looked at.

use super::rules::{INT_MAX, KMALLOC_MAX};
use crate::model::{Interface, Model, Want};
use crate::trace::Machine;
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_NOFAIL, __GFP_NORETRY, __GFP_NOWARN, __GFP_RETRY_MAYFAIL,
    GFP_KERNEL, Gfp,
};
use crate::words::{HUGE_PAGE, PAGE, Route};

/// Who may fall back to vmalloc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FallsBack {
    /// Nobody asks: also those who cannot sleep, for whom it is a bug.
    Unchecked,
    /// Who brings all of `GFP_KERNEL`.
    WholeGfpKernel,
    /// Who can sleep.
    Sleepers,
    /// Everyone, since vmalloc has learnt not to sleep.
    Everyone,
}

/// Which side keeps the promise of `__GFP_NOFAIL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nofail {
    /// kmalloc, in the first try, for all that it can serve.
    OnKmalloc,
    /// vmalloc, and the first try may fail.
    OnVmalloc,
}

/// Whether the first try may sleep, without `__GFP_RETRY_MAYFAIL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstTry {
    MaySleep,
    NeverSleeps,
}

/// The pages that kvmalloc maps for callers that may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    Small,
    Huge,
}

/// One version's answers.
#[derive(Debug)]
struct Version {
    name: &'static str,
    falls_back: FallsBack,
    nofail: Nofail,
    first_try: FirstTry,
    pages: Pages,
    /// The most that may be mapped.
    most: u64,
    size_from: SizeFrom,
}

/// Who says how large the memory is that `kvrealloc` replaces (R5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SizeFrom {
    Caller,
    /// The memory, with all that there is of it.
    Memory,
    /// The memory, and an area says what it was asked for last (6.15).
    LastRequest,
}

macro_rules! versions {
    ($($name:literal $falls_back:ident $nofail:ident $first_try:ident $pages:ident $most:ident
       $size_from:ident;)*) => {
        /// A row for each version, by the name that a trace gives it.
        static VERSIONS: &[Version] = &[$(Version {
            name: $name,
            falls_back: FallsBack::$falls_back,
            nofail: Nofail::$nofail,
            first_try: FirstTry::$first_try,
            pages: Pages::$pages,
            most: $most,
            size_from: SizeFrom::$size_from,
        }),*];
    };
}

/// More than an address space holds.
const ANY: u64 = u64::MAX;

versions! {
    // name    falls back       NOFAIL     first try   pages  most     size from
    "rfc2016"  Unchecked        OnKmalloc  MaySleep    Small  ANY      Caller;
    "v4.12"    Unchecked        OnKmalloc  MaySleep    Small  ANY      Caller;
    "v4.18"    WholeGfpKernel   OnKmalloc  MaySleep    Small  ANY      Caller;
    "v5.15"    WholeGfpKernel   OnKmalloc  MaySleep    Small  INT_MAX  Caller;
    "v5.17"    Unchecked        OnVmalloc  MaySleep    Small  INT_MAX  Caller;
    "v6.1"     Sleepers         OnVmalloc  MaySleep    Huge   INT_MAX  Caller;
    "v6.12"    Sleepers         OnVmalloc  MaySleep    Huge   INT_MAX  Memory;
    "v6.16"    Sleepers         OnVmalloc  NeverSleeps Huge   INT_MAX  LastRequest;
    "v6.18"    Sleepers         OnVmalloc  NeverSleeps Huge   INT_MAX  LastRequest;
    "v6.19"    Everyone         OnVmalloc  NeverSleeps Huge   INT_MAX  LastRequest;
    "latest"   Everyone         OnVmalloc  NeverSleeps Huge   INT_MAX  LastRequest;
}

/// The sides of kvmalloc that may serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    /// kmalloc may serve it.
    pub slab: bool,
    /// vmalloc may serve it.
    pub vmalloc: bool,
}

/// How kvmalloc decides on one machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    version: &'static Version,
    /// The largest request that never falls back.
    cutoff: u64,
}

impl Model {
    /// Whether a request may come to vmalloc.
    pub(crate) fn may_map(&self, want: &Want) -> bool {
        let size = want.size.unwrap_or(0);
        match want.interface {
            Interface::Vmalloc { .. } => true,
            Interface::Kvmalloc { route } => self.linux.policy.sides(size, want.gfp, route).vmalloc,
            _ => false,
        }
    }
}

impl Policy {
    /// The policy that a header asks for.
    ///
    /// # Panics
    /// If the model does not know the version; a test holds its table to the names.
    pub(crate) fn of(machine: &Machine) -> Self {
        let cutoff = if machine.cutoff == 0 { PAGE } else { PAGE * u64::from(machine.cutoff) };
        let mut versions = VERSIONS.iter();
        let version = versions.find(|version| version.name == machine.policy_name());
        let version = version.expect("a version that the model knows");
        Self { version, cutoff }
    }

    /// Which sides may serve a kvmalloc of `size` bytes.
    pub(crate) fn sides(&self, size: u64, gfp: Gfp, route: Route) -> Sides {
        let can_slab = size <= KMALLOC_MAX;
        let can_vmalloc = size > 0 && self.may_map(size, gfp);
        match route {
            Route::Slab if can_slab => Sides { slab: true, vmalloc: false },
            Route::Vmalloc if can_vmalloc => Sides { slab: false, vmalloc: true },
            _ => Sides { slab: can_slab, vmalloc: can_vmalloc && size > self.cutoff },
        }
    }

    /// The flags with which kmalloc is asked.
    pub(crate) fn first_try(&self, size: u64, gfp: Gfp, route: Route) -> Gfp {
        let forced = route == Route::Slab && size <= KMALLOC_MAX;
        if forced || size <= self.cutoff || self.is_plain(gfp) {
            return gfp;
        }
        let mut gfp = if self.maps_nofail() { gfp.without(__GFP_NOFAIL) } else { gfp };
        // It neither kills nor warns; old versions also ignored the wish to retry up to 32 KiB.
        gfp |= __GFP_NOWARN;
        if !gfp.has(__GFP_RETRY_MAYFAIL) {
            gfp |= __GFP_NORETRY;
        }
        let sleeps = self.version.first_try == FirstTry::MaySleep || gfp.has(__GFP_RETRY_MAYFAIL);
        if sleeps { gfp } else { gfp.without(__GFP_DIRECT_RECLAIM) }
    }

    /// Whether a request that kmalloc does not serve runs into the version's bug: vmalloc, by a
    /// caller that cannot sleep.
    pub(crate) fn is_bug(&self, size: u64, gfp: Gfp, route: Route) -> bool {
        let forced = route == Route::Slab && size <= KMALLOC_MAX;
        let unchecked = self.version.falls_back == FallsBack::Unchecked;
        let may_sleep = gfp.has(__GFP_DIRECT_RECLAIM);
        !forced && unchecked && !may_sleep && size > self.cutoff && size <= self.version.most
    }

    /// Whether the machine's Linux is older than a version.
    pub(crate) fn is_before(&self, name: &str) -> bool {
        let place = |name: &str| VERSIONS.iter().position(|version| version.name == name);
        place(self.version.name) < place(name)
    }

    /// Whether vmalloc spares callers that cannot sleep (R4.15).
    pub(crate) fn vmalloc_spares_sleep(&self) -> bool {
        self.version.falls_back == FallsBack::Everyone
    }

    /// Whether `kvrealloc` is told how large the memory is that it replaces.
    pub(crate) fn tells_old_size(&self) -> bool {
        self.version.size_from == SizeFrom::Caller
    }

    /// Whether `kvrealloc` goes by what an area was asked for last, and not by all of its pages.
    pub(crate) fn goes_by_last_request(&self) -> bool {
        self.version.size_from == SizeFrom::LastRequest
    }

    /// The pages of a request's area if it gets huge ones; `None` if it may not (R4.12, R5.7).
    pub(crate) fn huge_pages(&self, want: &Want) -> Option<u64> {
        let may_be_huge = match want.interface {
            Interface::Kvmalloc { .. } => self.version.pages == Pages::Huge && want.may_block(),
            _ => want.asks_huge,
        };
        let size = want.size.filter(|size| may_be_huge && *size >= HUGE_PAGE)?;
        Some(size.checked_next_multiple_of(HUGE_PAGE)? / PAGE)
    }

    /// Whether no machine can serve the request, since its only side does not go that far.
    pub(crate) fn is_too_large(&self, size: u64, gfp: Gfp) -> bool {
        let maps = size > self.cutoff && self.may_map(size, gfp);
        size > KMALLOC_MAX && !maps && !self.is_bug(size, gfp, Route::Policy)
    }

    /// Whether the refusal of a request that is too large for either side goes to the log: kmalloc
    /// warns if it was asked without a word, and after it whoever goes on to vmalloc (R3.2, R5.1).
    pub(crate) fn warns_of_too_large(&self, size: u64, gfp: Gfp, route: Route) -> bool {
        let goes_on = size > self.cutoff && self.falls_back(gfp);
        goes_on || !self.first_try(size, gfp, route).has(__GFP_NOWARN)
    }

    /// Whether the caller has kmalloc to itself, without a word on how to ask.
    fn is_plain(&self, gfp: Gfp) -> bool {
        self.version.falls_back == FallsBack::WholeGfpKernel && !gfp.has(GFP_KERNEL)
    }

    fn falls_back(&self, gfp: Gfp) -> bool {
        match self.version.falls_back {
            FallsBack::Unchecked | FallsBack::Sleepers => gfp.has(__GFP_DIRECT_RECLAIM),
            FallsBack::WholeGfpKernel => gfp.has(GFP_KERNEL),
            FallsBack::Everyone => true,
        }
    }

    fn maps_nofail(&self) -> bool {
        self.version.nofail == Nofail::OnVmalloc
    }

    fn may_map(&self, size: u64, gfp: Gfp) -> bool {
        let may = self.falls_back(gfp);
        // Where kmalloc keeps the promise not to fail, it keeps it for what it can serve.
        let is_promised = gfp.has(__GFP_NOFAIL) && size <= KMALLOC_MAX;
        may && size <= self.version.most && (self.maps_nofail() || !is_promised)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::trace::POLICIES;
    use crate::words::gfp::{GFP_ATOMIC, GFP_NOFS};

    fn policy(name: &str, cutoff: u32) -> Policy {
        let policy = Machine::policy_named(name);
        Policy::of(&Machine { policy, cutoff, ..Machine::default() })
    }

    #[test]
    fn the_versions_are_those_of_traces_in_their_order() {
        let own: Vec<&str> = VERSIONS.iter().map(|version| version.name).collect();
        assert_eq!(own, POLICIES);
    }

    #[test]
    fn kvmalloc_takes_the_sides_of_r5_1() {
        let both = |slab, vmalloc| Sides { slab, vmalloc };
        for (size, gfp, route, expected) in [
            (PAGE, GFP_KERNEL, Route::Policy, both(true, false)),
            (PAGE + 1, GFP_KERNEL, Route::Policy, both(true, true)),
            (PAGE + 1, GFP_ATOMIC, Route::Policy, both(true, false)),
            (KMALLOC_MAX + 1, GFP_KERNEL, Route::Policy, both(false, true)),
            (KMALLOC_MAX + 1, GFP_KERNEL, Route::Slab, both(false, true)),
            (8, GFP_KERNEL, Route::Vmalloc, both(false, true)),
            (8, GFP_ATOMIC, Route::Vmalloc, both(true, false)),
            (0, GFP_KERNEL, Route::Vmalloc, both(true, false)),
        ] {
            let sides = policy("v6.1", 0).sides(size, gfp, route);
            assert_eq!(sides, expected, "{size} {gfp:?} {route:?}");
        }
    }

    #[test]
    fn versions_differ_in_who_may_fall_back() {
        let nofail = GFP_KERNEL | __GFP_NOFAIL;
        for (name, expected) in [
            ("rfc2016", [true, false, false]),
            ("v4.12", [true, false, false]),
            ("v4.18", [false, false, false]),
            ("v5.15", [false, false, false]),
            ("v5.17", [true, false, true]),
            ("v6.1", [true, false, true]),
            ("v6.12", [true, false, true]),
            ("v6.16", [true, false, true]),
            ("v6.18", [true, false, true]),
            ("v6.19", [true, true, true]),
            ("latest", [true, true, true]),
        ] {
            let falls_back = |gfp| policy(name, 0).sides(PAGE + 1, gfp, Route::Policy).vmalloc;
            assert_eq!([GFP_NOFS, GFP_ATOMIC, nofail].map(falls_back), expected, "{name}");
        }
        let runs_into_it = |name| policy(name, 0).is_bug(PAGE + 1, GFP_ATOMIC, Route::Policy);
        assert!(runs_into_it("v5.17") && runs_into_it("rfc2016") && !runs_into_it("v6.1"));
    }

    #[test]
    fn a_promise_beyond_kmallocs_largest_size_is_vmallocs_in_every_version() {
        let gfp = GFP_KERNEL | __GFP_NOFAIL;
        for name in POLICIES {
            let maps = |size| policy(name, 0).sides(size, gfp, Route::Policy).vmalloc;
            let is_old = ["rfc2016", "v4.12", "v4.18", "v5.15"].contains(name);
            assert!(maps(KMALLOC_MAX + 1) && maps(KMALLOC_MAX) != is_old, "{name}");
            assert!(!policy(name, 0).is_too_large(KMALLOC_MAX + 1, gfp), "{name}");
        }
    }

    #[test]
    fn versions_before_6_12_are_told_the_old_size() {
        let (told, knowing) = POLICIES.split_at(6);
        assert_eq!((told[5], knowing[0]), ("v6.1", "v6.12"));
        let by_request = |name: &&&str| policy(name, 0).goes_by_last_request();
        assert_eq!(POLICIES.iter().filter(by_request).count(), knowing.len() - 1);
        assert!(!policy("v6.12", 0).goes_by_last_request());
        assert!(told.iter().all(|name| policy(name, 0).tells_old_size()));
        assert!(!knowing.iter().any(|name| policy(name, 0).tells_old_size()));
    }

    #[test]
    fn a_cutoff_takes_the_fallback_away_and_no_route() {
        let moved = policy("v6.1", 4);
        let sides = |size, route| moved.sides(size, GFP_KERNEL, route).vmalloc;
        assert!(!sides(4 * PAGE, Route::Policy) && sides(4 * PAGE + 1, Route::Policy));
        assert!(sides(8, Route::Vmalloc));
    }
}
