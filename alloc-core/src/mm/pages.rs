//! The page interface: blocks of frames, by page and by address.
//!
//! A block is freed as a whole, with the order it was taken with. The kernel believes the order
//! that it is told (R3.4): one below the block's own leaks pages, one above it corrupts memory.
//!
//! This is a part of the public face; what the calls do is on the floors below.

use super::Mm;
use crate::frames::frame::FrameState;
use crate::kmalloc::direct_phys;
use crate::memory::Memory;
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, Vaddr};
use crate::words::error::{AddrKind, AllocError, FreeCall, FreeFault};
use crate::words::gfp::{__GFP_ZERO, Gfp};

/// The page interface (R3).
impl<M: Memory> Mm<M> {
    /// Takes a block of 2^`order` frames.
    pub fn alloc_pages(&mut self, gfp: Gfp, order: u32) -> Result<Pfn, AllocError> {
        self.slab_floor().pages.alloc_pages(gfp, order)
    }

    /// [`Self::alloc_pages`], by its address in the direct map.
    pub fn __get_free_pages(&mut self, gfp: Gfp, order: u32) -> Result<Vaddr, AllocError> {
        self.alloc_pages(gfp, order).map(Pfn::to_virt)
    }

    /// One page that reads as zero.
    pub fn get_zeroed_page(&mut self, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.__get_free_pages(gfp | __GFP_ZERO, 0)
    }

    /// One page, whatever it holds.
    pub fn __get_free_page(&mut self, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.__get_free_pages(gfp, 0)
    }

    /// Gives back a block, which must have been taken with the same order.
    pub fn __free_pages(&mut self, pfn: Pfn, order: u32) -> Result<(), FreeFault> {
        self.check_free(pfn.to_virt(), FreeCall::FreePages, Some(block_bytes(order)))?;
        let pages = &mut self.slab_floor().pages;
        let is_block =
            pages.map.head_of(&pages.memory, pfn.to_phys()).is_some_and(|(head, frame)| {
                let same = head == pfn && u32::from(frame.order) == order;
                same && frame.state == FrameState::Pages
            });
        if !is_block {
            let told = Some(block_bytes(order));
            return Err(self.kvmalloc.fault(pfn.to_virt(), FreeCall::FreePages, told));
        }
        pages.put_block(pfn);
        Ok(())
    }

    /// [`Self::__free_pages`], by the address in the direct map; NULL is nothing to do (R6.4).
    pub fn free_pages(&mut self, addr: Vaddr, order: u32) -> Result<(), FreeFault> {
        if addr == Vaddr::NULL {
            return Ok(());
        }
        let nr_frames = u64::from(self.memory().nr_frames());
        match direct_phys(addr).map(|at| at.0 >> PAGE_SHIFT) {
            Some(frame) if addr.is_page_aligned() && frame < nr_frames => {
                self.__free_pages(Pfn(frame as u32), order)
            }
            _ => Err(self.kvmalloc.fault(addr, FreeCall::FreePages, Some(block_bytes(order)))),
        }
    }

    /// Takes one more reference to the page behind an address, as [`Self::vmalloc_to_page`] finds
    /// it: of a block, be it of one page or compound, or of an area. Such memory outlives the call
    /// that frees it until [`Self::put_page`] has dropped every reference (R3.13). Returns the page
    /// to drop, which of a compound block is the first.
    ///
    /// # Errors
    /// What the address is, if no page is behind it whose references count for its memory.
    pub fn get_page(&mut self, addr: Vaddr) -> Result<Pfn, AddrKind> {
        let page = self.kvmalloc.counted_page(addr)?;
        let is_counted = self.slab_floor().pages.get_page(page);
        if is_counted { Ok(page) } else { Err(self.describe(addr)) }
    }

    /// Drops a reference to a page, or to the compound block that it is the head of; with the last
    /// one it is freed. Of a block without `__GFP_COMP` Linux would then free the first page and
    /// lose the others (R6), so that is refused. To drop one that is not the last is only to count,
    /// and allowed anywhere.
    pub fn put_page(&mut self, page: Pfn) -> Result<(), FreeFault> {
        if self.slab_floor().pages.is_shared(page) {
            self.slab_floor().pages.put_shared(page);
            return Ok(());
        }
        self.check_free(page.to_virt(), FreeCall::PutPage, None)?;
        let pages = &mut self.slab_floor().pages;
        let frame = pages.map.head_of(&pages.memory, page.to_phys());
        let is_whole = frame.is_some_and(|(head, frame)| {
            let whole = frame.order == 0 || frame.is_compound;
            head == page && frame.state == FrameState::Pages && whole
        });
        if !is_whole {
            return Err(self.refusal(page.to_virt(), FreeCall::PutPage));
        }
        pages.free_block(page);
        Ok(())
    }

    /// Gives back a page.
    pub fn free_page(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        self.free_pages(addr, 0)
    }
}

/// The bytes of a block, or more than there can be.
const fn block_bytes(order: u32) -> u64 {
    if order < u64::BITS - PAGE_SHIFT { PAGE_SIZE << order } else { u64::MAX }
}
