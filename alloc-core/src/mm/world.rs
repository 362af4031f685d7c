//! The world around the calls: who makes them, the passing of time, and who else uses memory.
//!
//! What Linux finds in `current`, on the clock and in other people's memory is set by the embedder
//! through these calls, so that the outcome of all others depends on nothing hidden.
//!
//! This is a part of the public face; what the calls do is on the floors below.

use super::Mm;
use crate::memory::Memory;
use crate::pages::others::{Effort, PageCacheKind};
use crate::vmalloc::area_pages::Vmalloc;
use crate::words::error::{AllocError, Shortage};
use crate::words::task::{Current, Scope, ScopeError};

/// Who calls, and the passing of time.
impl<M: Memory> Mm<M> {
    /// Says who makes the calls that follow: the first task on the first CPU in task context,
    /// unless this says otherwise.
    pub const fn set_current(&mut self, current: Current) {
        self.slab_floor().pages.set_current(current);
    }

    /// Opens a scope of the current task (`memalloc_nofs_save`, `memalloc_noio_save`).
    ///
    /// # Errors
    /// [`ScopeError::TooDeep`].
    pub fn memalloc_save(&mut self, scope: Scope) -> Result<(), ScopeError> {
        self.slab_floor().pages.current_scopes().save(scope)
    }

    /// Closes the innermost scope of the current task (`memalloc_nofs_restore`,
    /// `memalloc_noio_restore`).
    ///
    /// # Errors
    /// [`ScopeError`], when that is not a scope of this kind.
    pub fn memalloc_restore(&mut self, scope: Scope) -> Result<(), ScopeError> {
        self.slab_floor().pages.current_scopes().restore(scope)
    }

    /// A number that changes whenever the shortage may have ended, so that who was told
    /// `WouldBlock` need not ask again while it is the same (the early return that Morton asks for,
    /// the NOFAIL series of 2021). Page tables that took no more mappings and injected failures
    /// have no such event: wait for a tick.
    pub const fn release_epoch(&self, shortage: Shortage) -> u64 {
        let Vmalloc { kmalloc, vmap, .. } = &self.kvmalloc.vmalloc;
        match shortage {
            Shortage::VmallocSpace | Shortage::Range => {
                // A range also needs nodes, which are objects.
                vmap.release_epoch + kmalloc.slab.pages.release_epoch
            }
            _ => kmalloc.slab.pages.release_epoch,
        }
    }

    /// A timer tick: the workers run, which free what was deferred (R4.13) and what waited for the
    /// end of a grace period (R6.7), and kswapd, if it was woken.
    pub fn tick(&mut self) {
        self.kvmalloc.vmalloc.free_deferred();
        self.kvmalloc.end_grace_period();
        self.slab_floor().pages.run_kswapd();
    }
}

/// Who else uses memory, and what requests cost them (R3.5 to R3.9).
impl<M: Memory> Mm<M> {
    /// Files are read: `nr_pages` pages enter the page cache.
    ///
    /// # Errors
    /// `NoMemory` if that many are not free above the min watermark; then none has.
    pub fn add_to_page_cache(
        &mut self,
        nr_pages: u32,
        kind: PageCacheKind,
    ) -> Result<(), AllocError> {
        self.slab_floor().pages.add_to_page_cache(nr_pages, kind)
    }

    /// A process starts that uses `nr_pages` pages (at least one) until the OOM killer ends it.
    ///
    /// # Errors
    /// As [`Self::add_to_page_cache`].
    pub fn start_process(&mut self, nr_pages: u32) -> Result<(), AllocError> {
        self.slab_floor().pages.start_process(nr_pages)
    }

    /// Drops the clean pages of the page cache (`/proc/sys/vm/drop_caches`).
    pub fn drop_caches(&mut self) {
        self.slab_floor().pages.drop_clean();
    }

    /// Drops the whole page cache and ends all processes.
    pub fn evict_others(&mut self) {
        self.slab_floor().pages.evict_others();
    }

    /// What requests have cost others since boot.
    pub const fn effort(&self) -> Effort {
        self.kvmalloc.vmalloc.kmalloc.slab.pages.others.effort
    }
}
