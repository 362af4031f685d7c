//! `alloc_pages_exact`: a number of contiguous pages that need not be a power of two (R3.3).
//!
//! The one idea: a block is taken and split into single pages, and those that were not asked for go
//! back at once. So the caller pays for no page that it cannot use; the price is that every page
//! has to remember which run it belongs to.
//!
//! Nothing here knows what a block of the page interface is; the two are freed by different calls.

use crate::frames::frame::{Frame, FrameState};
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::words::addr::{NR_ORDERS, PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, order_for, pages_for};
use crate::words::error::{AllocError, Impossible};
use crate::words::gfp::Gfp;

/// A run of exact pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExactRun {
    /// Its first page.
    pub(crate) first: Pfn,
    /// How many there are.
    pub(crate) nr_pages: u32,
}

impl ExactRun {
    const fn encode(self) -> u64 {
        self.first.0 as u64 | (self.nr_pages as u64) << 32
    }

    const fn decode(word: u64) -> Self {
        Self { first: Pfn(word as u32), nr_pages: (word >> 32) as u32 }
    }
}

impl<M: Memory> PageAllocator<M> {
    /// `alloc_pages_exact`: the pages that hold `size` bytes, aligned as the block around them.
    pub(crate) fn alloc_exact(&mut self, size: u64, gfp: Gfp) -> Result<Pfn, AllocError> {
        let (first, order) = self.alloc_sized(size, gfp, FrameState::PagesExact)?;
        let run = ExactRun { first, nr_pages: pages_for(size) as u32 };
        for page in first.0..first.0 + (1 << order) {
            let frame = Frame::block(FrameState::PagesExact, 0);
            self.map.set_frame(&mut self.memory, Pfn(page), frame);
            self.map.set_private(&mut self.memory, Pfn(page), run.encode());
        }
        for page in first.0 + run.nr_pages..first.0 + (1 << order) {
            self.free_block(Pfn(page));
        }
        Ok(first)
    }

    /// The run that a page in the exact state belongs to.
    pub(crate) fn exact_run(&self, page: Pfn) -> ExactRun {
        ExactRun::decode(self.map.private(&self.memory, page))
    }

    /// `free_pages_exact`: gives a run back; `false`, and nothing has changed, if none of this size
    /// begins at `at`.
    pub(crate) fn free_exact(&mut self, at: Paddr, size: u64) -> bool {
        let Some((page, frame)) = self.map.head_of(&self.memory, at) else { return false };
        if frame.state != FrameState::PagesExact {
            return false;
        }
        let run = self.exact_run(page);
        if run.first.to_phys() != at || u64::from(run.nr_pages) != pages_for(size) {
            return false;
        }
        for page in run.first.0..run.first.0 + run.nr_pages {
            self.free_block(Pfn(page));
        }
        true
    }

    /// Takes a block for `size` bytes, and tells its order. Linux computes order 52 for no bytes,
    /// and finds no such block (R3.3).
    pub(crate) fn alloc_sized(
        &mut self,
        size: u64,
        gfp: Gfp,
        state: FrameState,
    ) -> Result<(Pfn, u32), AllocError> {
        AllocError::check_caller(gfp, self.current.context)?;
        if size == 0 {
            // The order of no bytes is one that no block has, and Linux says so (R3.3).
            self.others.warn(gfp);
            return Err(AllocError::never(gfp, Impossible::ZeroSize, AllocError::ZeroSize));
        }
        if size > PAGE_SIZE << (NR_ORDERS - 1) {
            return Err(self.others.refuse_too_large(gfp));
        }
        let order = order_for(size);
        self.alloc_block(gfp, order, state).map(|first| (first, order))
    }
}

const _: () = assert!(PAGE_SHIFT as usize + NR_ORDERS < 32, "a run of pages counts in 32 bits");

#[cfg(test)]
mod test {
    use super::*;
    use crate::pages::allocator::test::boot;
    use crate::words::gfp::{__GFP_NOFAIL, GFP_KERNEL};

    #[test]
    fn the_pages_that_were_not_asked_for_are_free() {
        let mut pages = boot(256, 0, 0);
        let before = (pages.nr_free_pages(), pages.nr_free_blocks());
        let first = pages.alloc_exact(2 * PAGE_SIZE + 1, GFP_KERNEL).unwrap();
        assert_eq!((first.0 % 4, pages.nr_free_pages()), (0, before.0 - 3));
        pages.check().unwrap();
        assert_eq!(pages.exact_run(Pfn(first.0 + 2)), ExactRun { first, nr_pages: 3 });
        for (at, size) in [(1, 2), (0, 2), (0, 4), (3, 1)] {
            let at = Pfn(first.0 + at).to_phys();
            assert!(!pages.free_exact(at, size * PAGE_SIZE), "{at:?} {size}");
        }
        assert!(pages.free_exact(first.to_phys(), 3 * PAGE_SIZE));
        pages.check().unwrap();
        assert_eq!((pages.nr_free_pages(), pages.nr_free_blocks()), before);
    }

    #[test]
    fn sizes_without_an_order_are_refused_by_name() {
        let mut pages = boot(64, 0, 0);
        let nofail = GFP_KERNEL | __GFP_NOFAIL;
        let rows = [
            (0, GFP_KERNEL, AllocError::ZeroSize),
            (0, nofail, AllocError::ImpossibleNofail(Impossible::ZeroSize)),
            ((4 << 20) + 1, GFP_KERNEL, AllocError::TooLarge),
            (u64::MAX, nofail, AllocError::ImpossibleNofail(Impossible::TooLarge)),
        ];
        for (size, gfp, error) in rows {
            assert_eq!(pages.alloc_exact(size, gfp), Err(error));
        }
    }
}
