//! Invariants 1 to 4, 14 and 16: the frames, the free lists, what CPUs keep, and the page cache.

use super::{Corruption, ensure, ensure_at};
use crate::frames::frame::{Frame, FrameState, NO_FRAME, NR_FRAME_STATES};
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::pages::others::NR_PAGE_CACHE_KINDS;
use crate::pages::pcp::{NR_PCP_ORDERS, PerCpuPages};
use crate::pages::zone::Zone;
use crate::words::addr::{NR_ORDERS, Paddr, Pfn, Vaddr};
use crate::words::task::NR_NODES;

impl<M: Memory> PageAllocator<M> {
    /// Checks invariants 1 to 4, 14 and 16.
    pub(crate) fn check(&self) -> Result<(), Corruption> {
        let mut nr_pages = [0; NR_FRAME_STATES];
        let mut nr_blocks = [[0; NR_ORDERS]; NR_NODES];
        let mut next = 0;
        while next < self.map.nr_frames() {
            let pfn = Pfn(next);
            let frame = self.map.frame(&self.memory, pfn);
            self.check_head(pfn, frame)?;
            let state = if frame.is_slab() { FrameState::Slab } else { frame.state };
            nr_pages[state as usize] += frame.nr_pages();
            if frame.state == FrameState::Free {
                nr_blocks[self.node_of(pfn)][usize::from(frame.order)] += 1;
            }
            next += frame.nr_pages();
        }
        self.check_counts(&nr_pages)?;
        self.check_cache(nr_pages[FrameState::PageCache as usize])?;
        for (zone, nr_blocks) in self.zones().iter().zip(&nr_blocks) {
            for (order, nr) in nr_blocks.iter().enumerate() {
                self.check_list(zone, order, *nr)?;
            }
        }
        self.check_per_cpu(nr_pages[FrameState::PerCpu as usize])
    }

    /// The heads of all blocks, once invariant 1 is known to hold.
    pub(super) fn heads(&self) -> impl Iterator<Item = (Pfn, Frame)> {
        let mut next = 0;
        core::iter::from_fn(move || {
            if next >= self.map.nr_frames() {
                return None;
            }
            let pfn = Pfn(next);
            let frame = self.map.frame(&self.memory, pfn);
            next += frame.nr_pages();
            Some((pfn, frame))
        })
    }

    fn check_head(&self, pfn: Pfn, frame: Frame) -> Result<(), Corruption> {
        let addr = pfn.to_virt();
        ensure(frame.state != FrameState::Tail, 1, "a tail belongs to no block", addr)?;
        let order = u32::from(frame.order);
        ensure(order < NR_ORDERS as u32, 1, "the order of a block is impossible", addr)?;
        let nr_pages = frame.nr_pages();
        let reaches = self.map.nr_frames() - pfn.0;
        ensure(pfn.0.is_multiple_of(nr_pages), 1, "a block is not aligned to its size", addr)?;
        ensure(nr_pages <= reaches, 1, "a block reaches beyond the last frame", addr)?;
        for tail in pfn.0 + 1..pfn.0 + nr_pages {
            let tail = Pfn(tail);
            let is_tail = self.map.frame(&self.memory, tail).state == FrameState::Tail;
            ensure(is_tail, 1, "a head lies inside another block", tail.to_virt())?;
        }
        let buddy = pfn.0 ^ nr_pages;
        if frame.state == FrameState::Free
            && frame.order + 1 < NR_ORDERS as u8
            && buddy < self.map.nr_frames()
            && self.node_of(Pfn(buddy)) == self.node_of(pfn)
        {
            let unmerged = self.map.frame(&self.memory, Pfn(buddy)) == frame;
            ensure(!unmerged, 3, "two buddies are free and not merged", addr)?;
        }
        Ok(())
    }

    fn check_counts(&self, nr_pages: &[u32; NR_FRAME_STATES]) -> Result<(), Corruption> {
        let nowhere = Vaddr::NULL;
        let free = nr_pages[FrameState::Free as usize];
        ensure(free == self.nr_free_pages(), 4, "the count of free pages is off", nowhere)?;
        let managed = self.map.nr_frames() - nr_pages[FrameState::Reserved as usize];
        ensure(managed == self.nr_managed_pages(), 4, "a reserved frame came or went", nowhere)?;
        let states = [
            FrameState::Pages,
            FrameState::PagesExact,
            FrameState::DmaCoherent,
            FrameState::Slab,
            FrameState::LargeKmalloc,
            FrameState::Vmalloc,
            FrameState::PageCache,
            FrameState::Process,
            FrameState::PageTable,
            FrameState::PerCpu,
        ];
        for state in states {
            let same = nr_pages[state as usize] == self.nr_pages(state);
            ensure(same, 4, "the count of pages in some use is off", nowhere)?;
        }
        Ok(())
    }

    /// The lists of the page cache hold its pages, each on those of its node.
    fn check_cache(&self, nr_pages: u32) -> Result<(), Corruption> {
        let mut nr_listed = 0;
        let nodes = 0..self.zones().len();
        let lists = nodes.flat_map(|node| (0..NR_PAGE_CACHE_KINDS).map(move |kind| (node, kind)));
        for (node, kind) in lists {
            let nr_expect = self.others.nr_cache_pages_on(node)[kind];
            let mut at = self.others.first_cache_page(node, kind);
            for _ in 0..nr_expect {
                let is_page = at.0 < self.map.nr_frames()
                    && self.zones()[node].contains(at)
                    && self.map.frame(&self.memory, at).state == FrameState::PageCache;
                ensure(is_page, 16, "a page on a list of the cache is none", at.to_virt())?;
                at = self.map.links(&self.memory, at).0;
            }
            ensure(at == NO_FRAME, 16, "a list of the cache is too long", at.to_virt())?;
            nr_listed += nr_expect;
        }
        ensure(nr_listed == nr_pages, 16, "a page of the cache is on no list", Vaddr::NULL)
    }

    /// The lists of all CPUs hold the pages that are kept.
    fn check_per_cpu(&self, nr_pages: u32) -> Result<(), Corruption> {
        let mut nr_listed = 0;
        for zone in self.zones() {
            for kept in &zone.pcp {
                let mut nr_kept = 0;
                for order in 0..NR_PCP_ORDERS as u32 {
                    nr_kept += self.check_kept(zone, kept, order)?;
                }
                let same = nr_kept == kept.nr_pages();
                ensure(same, 14, "the count of pages that a CPU keeps is off", Vaddr::NULL)?;
                nr_listed += nr_kept;
            }
        }
        ensure(nr_listed == nr_pages, 14, "a page that a CPU keeps is on no list", Vaddr::NULL)
    }

    /// Walks a CPU's list of an order; returns its pages.
    fn check_kept(&self, zone: &Zone, kept: &PerCpuPages, order: u32) -> Result<u32, Corruption> {
        let (mut prev, mut at, mut nr_pages) = (NO_FRAME, kept.newest(order), 0);
        while at != NO_FRAME {
            let is_kept = zone.contains(at)
                && self.map.frame(&self.memory, at) == Frame::block(FrameState::PerCpu, order)
                && nr_pages < kept.nr_pages();
            ensure(is_kept, 14, "a CPU's list holds what it does not keep", at.to_virt())?;
            nr_pages += 1 << order;
            (prev, at) = (at, self.map.links(&self.memory, at).0);
        }
        let same = prev == kept.oldest(order);
        ensure(same, 14, "the oldest block that a CPU keeps is another", prev.to_virt())?;
        Ok(nr_pages)
    }

    /// A list of as many free blocks as there are, each linked both ways, holds all of them.
    fn check_list(&self, zone: &Zone, order: usize, nr_expect: u32) -> Result<(), Corruption> {
        let (mut prev, mut at, mut nr_actual) = (NO_FRAME, zone.first_free(order), 0);
        while at != NO_FRAME {
            let addr = at.to_virt();
            ensure(at.0 < self.map.nr_frames(), 2, "a free list leaves the frames", addr)?;
            let frame = self.map.frame(&self.memory, at);
            let is_free = frame == Frame::block(FrameState::Free, order as u32);
            let is_free = is_free && zone.contains(at);
            ensure(is_free, 2, "a block on a free list is not free, or of another order", addr)?;
            let (next, back) = self.map.links(&self.memory, at);
            ensure(back == prev, 2, "the links of a free list disagree", addr)?;
            ensure(nr_actual < nr_expect, 2, "a free list is longer than it can be", addr)?;
            (prev, at, nr_actual) = (at, next, nr_actual + 1);
        }
        let counted = zone.nr_free_blocks[order];
        let same = nr_actual == nr_expect && nr_expect == counted;
        ensure_at(same, 2, "a free list has lost a block or its count", Paddr(0))
    }
}

#[cfg(test)]
mod test {
    use crate::frames::frame::{Frame, FrameState};
    use crate::pages::allocator::test::boot;
    use crate::words::gfp::GFP_KERNEL;

    #[test]
    fn a_damaged_descriptor_is_found() {
        for (state, invariant) in [(FrameState::Tail, 1), (FrameState::Slab, 4)] {
            let mut pages = boot(64, 0, 0);
            let pfn = pages.alloc_pages(GFP_KERNEL, 2).unwrap();
            pages.map.set_frame(&mut pages.memory, pfn, Frame::block(state, 2));
            assert_eq!(pages.check().unwrap_err().invariant, invariant);
        }
    }

    #[test]
    fn a_damaged_free_list_is_found() {
        let mut pages = boot(64, 0, 0);
        let first = pages.zones()[0].first_free(5);
        pages.map.set_links(&mut pages.memory, first, first, first);
        assert_eq!(pages.check().unwrap_err().invariant, 2);
    }
}
