//! Failure injection: `failslab`, `fail_page_alloc` and `fail_vmap`, by the nth call (fail-nth).
//!
//! The one idea: a plan names the call that fails, by counting calls from the moment it is set, so
//! that a failure is an input that can be replayed. Each entry of the plan fires once.
//!
//! A `__GFP_NOFAIL` request for a page or an object is neither failed nor counted (R8.2). Nothing
//! here is random, and nothing here knows who asks.

use crate::words::error::{AllocError, FaultSite, Shortage};
use crate::words::gfp::{__GFP_NOFAIL, Gfp};

/// Which calls fail, counted from 1 on; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FaultPlan {
    /// The nth call at any of the three sites.
    pub any: u16,
    /// The nth object taken from a cache.
    pub slab: u16,
    /// The nth block taken from the page allocator.
    pub page_alloc: u16,
    /// The nth range taken from the vmalloc space.
    pub vmap: u16,
}

/// A plan in execution.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FaultInjector {
    left: FaultPlan,
    is_armed: bool,
    nr_fired: u32,
}

impl FaultInjector {
    /// Replaces the plan; the count of what has fired stays.
    pub(crate) fn set(&mut self, plan: FaultPlan) {
        self.left = plan;
        self.is_armed = plan != FaultPlan::default();
    }

    /// How many calls have been failed since boot.
    pub(crate) const fn nr_fired(&self) -> u32 {
        self.nr_fired
    }

    /// Fails this call if the plan says so.
    #[inline]
    pub(crate) fn check(&mut self, site: FaultSite, gfp: Gfp) -> Result<(), AllocError> {
        if self.should_fail(site, gfp) {
            return Err(AllocError::NoMemory(Shortage::Injected(site)));
        }
        Ok(())
    }

    /// Whether this call fails. Two entries of the plan that meet at one call fail it once.
    #[inline]
    pub(crate) fn should_fail(&mut self, site: FaultSite, gfp: Gfp) -> bool {
        self.is_armed && self.count_down(site, gfp)
    }

    #[cold]
    fn count_down(&mut self, site: FaultSite, gfp: Gfp) -> bool {
        // The vmap site is failed under NOFAIL as well: that is how the waiting path is reached.
        if gfp.has(__GFP_NOFAIL) && site != FaultSite::Vmap {
            return false;
        }
        let at_site = match site {
            FaultSite::Slab => &mut self.left.slab,
            FaultSite::PageAlloc => &mut self.left.page_alloc,
            FaultSite::Vmap => &mut self.left.vmap,
        };
        let hit = [tick(at_site), tick(&mut self.left.any)].contains(&true);
        self.nr_fired += u32::from(hit);
        self.is_armed = self.left != FaultPlan::default();
        hit
    }
}

/// Counts one call; true when it is the call to fail.
fn tick(left: &mut u16) -> bool {
    let hit = *left == 1;
    *left = left.saturating_sub(1);
    hit
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::words::gfp::{GFP_KERNEL, GFP_NOWAIT};

    #[test]
    fn the_nth_call_fails_once() {
        let mut faults = FaultInjector::default();
        faults.set(FaultPlan { slab: 2, ..FaultPlan::default() });
        let hits = [(); 4].map(|()| faults.should_fail(FaultSite::Slab, GFP_KERNEL));
        assert_eq!(hits, [false, true, false, false]);
        assert_eq!(faults.nr_fired(), 1);
    }

    #[test]
    fn any_counts_all_sites_together() {
        let mut faults = FaultInjector::default();
        faults.set(FaultPlan { any: 3, ..FaultPlan::default() });
        assert!(!faults.should_fail(FaultSite::Slab, GFP_NOWAIT));
        assert!(!faults.should_fail(FaultSite::PageAlloc, GFP_NOWAIT));
        assert!(faults.should_fail(FaultSite::Vmap, GFP_NOWAIT));
    }

    #[test]
    fn nofail_is_neither_failed_nor_counted_except_at_vmap() {
        let mut faults = FaultInjector::default();
        faults.set(FaultPlan { slab: 1, page_alloc: 1, vmap: 1, any: 0 });
        let nofail = GFP_KERNEL | __GFP_NOFAIL;
        assert!(!faults.should_fail(FaultSite::Slab, nofail));
        assert!(!faults.should_fail(FaultSite::PageAlloc, nofail));
        assert!(faults.should_fail(FaultSite::Vmap, nofail));
        assert!(faults.should_fail(FaultSite::Slab, GFP_KERNEL));
    }
}
