//! Objects of a cache by the dozen: `kmem_cache_alloc_bulk` and `kmem_cache_free_bulk` (R2.10).
//!
//! All or nothing: a request that cannot be served in full gives back what it has taken on the way,
//! and a free of which one address is wrong frees none.

use crate::kmalloc::{Kmalloc, direct, direct_phys};
use crate::memory::Memory;
use crate::slab::cache::CacheId;
use crate::slab::objects::Refused;
use crate::words::addr::Vaddr;
use crate::words::error::{AllocError, FaultSite};
use crate::words::gfp::Gfp;
use crate::words::task::Context;

/// A free of several objects was refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BulkRefused {
    /// At this place stands no object of the cache.
    Wrong(usize),
    /// At this place stands an object that the list has named before.
    Again(usize),
}

impl<M: Memory> Kmalloc<M> {
    /// `kmem_cache_alloc_bulk`: fills `objects`, or takes none.
    pub(crate) fn alloc_bulk(
        &mut self,
        id: CacheId,
        gfp: Gfp,
        objects: &mut [Vaddr],
    ) -> Result<(), AllocError> {
        // It enables interrupts on its way, which its caller must not have disabled.
        if self.slab.pages.current.context == Context::Hardirq {
            return Err(AllocError::BadContext);
        }
        self.slab.check_request(id, gfp)?;
        // One call is one call, however many objects it is for (`slab_pre_alloc_hook`).
        self.slab.pages.faults.check(FaultSite::Slab, gfp)?;
        for nr_taken in 0..objects.len() {
            match self.slab.take_object(id.cache(), gfp) {
                Ok(object) => objects[nr_taken] = direct(object),
                Err(error) => {
                    self.give_back(id, &objects[..nr_taken]);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// `kmem_cache_free_bulk`: gives all objects back, or none. The one at the place `queued`, if
    /// any, is to be freed after a grace period and must not be now.
    pub(crate) fn free_bulk(
        &mut self,
        id: CacheId,
        objects: &[Vaddr],
        queued: Option<usize>,
    ) -> Result<(), BulkRefused> {
        for (place, object) in objects.iter().enumerate() {
            if queued == Some(place) {
                return Err(BulkRefused::Wrong(place));
            }
            let at = direct_phys(*object).ok_or(BulkRefused::Wrong(place))?;
            self.slab.object_of(id, at).map_err(|Refused| BulkRefused::Wrong(place))?;
            if objects[..place].contains(object) {
                return Err(BulkRefused::Again(place));
            }
        }
        self.give_back(id, objects);
        Ok(())
    }

    /// Frees objects of a cache, the last one first, so that the first is the next to be taken
    /// (`build_detached_freelist`).
    fn give_back(&mut self, id: CacheId, objects: &[Vaddr]) {
        for object in objects.iter().rev() {
            let freed = direct_phys(*object).map(|at| self.slab.free_by_name(id, at));
            debug_assert!(matches!(freed, Some(Ok(()))), "an object of the cache");
        }
    }
}
