//! The way of a request for pages: the block that is there, or else what reclaim gets back (R3.5).
//!
//! Where a free block is found is in `allocator`, what is done to get one in `reclaim`.

use crate::frames::frame::{Frame, FrameState, NO_FRAME};
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::pages::others::PageCacheKind;
use crate::words::addr::{NR_ORDERS, PAGE_SIZE, Pfn};
use crate::words::error::{AllocError, FaultSite, Shortage};
use crate::words::gfp::{
    __GFP_COMP, __GFP_KSWAPD_RECLAIM, __GFP_NOWARN, __GFP_ZERO, GFP_NOWAIT, Gfp,
};

impl<M: Memory> PageAllocator<M> {
    /// `alloc_pages`: a block for the page interface.
    pub(crate) fn alloc_pages(&mut self, gfp: Gfp, order: u32) -> Result<Pfn, AllocError> {
        AllocError::check_caller(gfp, self.current.context)?;
        if order >= NR_ORDERS as u32 {
            return Err(self.others.refuse_too_large(gfp));
        }
        let pfn = self.alloc_block(gfp, order, FrameState::Pages)?;
        if order > 0 && gfp.has(__GFP_COMP) {
            let compound = Frame { is_compound: true, ..Frame::block(FrameState::Pages, order) };
            self.map.set_frame(&mut self.memory, pfn, compound);
        }
        Ok(pfn)
    }

    /// Takes a block of an order below [`NR_ORDERS`] for the use that `state` names.
    pub(crate) fn alloc_block(
        &mut self,
        gfp: Gfp,
        order: u32,
        state: FrameState,
    ) -> Result<Pfn, AllocError> {
        let gfp = self.scopes[self.current.task as usize].mask(gfp);
        self.faults.check(FaultSite::PageAlloc, gfp)?;
        let found = match self.find(gfp, order) {
            Some(found) => found,
            None => self.find_slowly(gfp, order)?,
        };
        let pfn = self.take(found, order, state);
        if self.is_low(found) && gfp.has(__GFP_KSWAPD_RECLAIM) {
            self.others.is_kswapd_woken[found.node] = true;
        }
        if gfp.has(__GFP_ZERO) {
            self.memory.zero(pfn.to_phys(), PAGE_SIZE << order);
        }
        Ok(pfn)
    }

    /// Reads files: `nr_pages` pages enter the page cache, or none if memory is short.
    pub(crate) fn add_to_page_cache(
        &mut self,
        nr_pages: u32,
        kind: PageCacheKind,
    ) -> Result<(), AllocError> {
        let first = self.take_singly(nr_pages, FrameState::PageCache)?;
        let mut page = first;
        while page != NO_FRAME {
            let next = Pfn(self.map.private(&self.memory, page) as u32);
            let node = self.node_of(page);
            let (first, nr_pages) = &mut self.others.cache[node][kind as usize];
            self.map.list_push(&mut self.memory, first, page);
            *nr_pages += 1;
            page = next;
        }
        Ok(())
    }

    /// Starts a process that uses `nr_pages` pages, at least one, until it is killed.
    pub(crate) fn start_process(&mut self, nr_pages: u32) -> Result<(), AllocError> {
        let nr_pages = nr_pages.max(1);
        let first = self.take_singly(nr_pages, FrameState::Process)?;
        self.map.set_process_size(&mut self.memory, first, nr_pages);
        self.map.list_push(&mut self.memory, &mut self.others.first_process, first);
        self.others.nr_processes += 1;
        Ok(())
    }

    /// Takes pages one by one and chains them through their private words; all or none.
    fn take_singly(&mut self, nr_pages: u32, state: FrameState) -> Result<Pfn, AllocError> {
        if nr_pages > self.nr_free_pages() + self.nr_pages(FrameState::PerCpu) {
            return Err(AllocError::NoMemory(Shortage::Pages { order: 0 }));
        }
        let mut first = NO_FRAME;
        for _ in 0..nr_pages {
            match self.alloc_block(GFP_NOWAIT | __GFP_NOWARN, 0, state) {
                Ok(page) => {
                    self.map.set_private(&mut self.memory, page, u64::from(first.0));
                    first = page;
                }
                Err(error) => {
                    self.free_chain(first);
                    return Err(error);
                }
            }
        }
        Ok(first)
    }
}
