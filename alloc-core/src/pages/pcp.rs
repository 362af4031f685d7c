//! Per-CPU lists of free blocks (`struct per_cpu_pages`, R3.11).
//!
//! The one idea: a small block that a CPU frees is likely to be wanted by that CPU soon, and is
//! then still in its cache. So it waits, unmerged, on a list of the CPU that freed it, and the last
//! one in is the first one out. When a CPU keeps too much, what has waited longest goes back to the
//! buddies.
//!
//! Blocks are moved one by one, which is Linux's batch for a zone of a few megabytes. What waits
//! here does not count as free; who may sleep drains all lists before it gives up.

use crate::frames::frame::{Frame, FrameState, MemMap, NO_FRAME};
use crate::memory::Memory;
use crate::words::addr::{PAGE_ALLOC_COSTLY_ORDER, Pfn};

/// The number of orders that are kept on lists (`NR_PCP_LISTS`, without those of huge pages).
pub(crate) const NR_PCP_ORDERS: usize = PAGE_ALLOC_COSTLY_ORDER as usize + 1;

/// The blocks that a CPU keeps for itself, of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PerCpuPages {
    /// The first and the last block of each order.
    ends: [(Pfn, Pfn); NR_PCP_ORDERS],
    nr_pages: u32,
}

impl PerCpuPages {
    /// Nothing kept.
    pub(crate) const EMPTY: Self =
        Self { ends: [(NO_FRAME, NO_FRAME); NR_PCP_ORDERS], nr_pages: 0 };

    /// The pages of all blocks kept.
    pub(crate) const fn nr_pages(&self) -> u32 {
        self.nr_pages
    }

    /// The last block of an order to have come.
    pub(crate) const fn newest(&self, order: u32) -> Pfn {
        self.ends[order as usize].0
    }

    /// The block of an order that has waited longest.
    pub(crate) const fn oldest(&self, order: u32) -> Pfn {
        self.ends[order as usize].1
    }

    /// The order of which to give a block back after one of `order` has come. It is the next larger
    /// order that has a block, then the smaller ones, and `order` itself only if it is the last, as
    /// in `free_pcppages_bulk`, which goes round its lists.
    pub(crate) fn order_after(&self, order: u32) -> u32 {
        let others = (1..NR_PCP_ORDERS as u32).map(|step| (order + step) % NR_PCP_ORDERS as u32);
        others.into_iter().find(|other| self.oldest(*other) != NO_FRAME).unwrap_or(order)
    }

    /// Keeps a block.
    pub(crate) fn push<M: Memory>(&mut self, memory: &mut M, map: MemMap, pfn: Pfn, order: u32) {
        map.set_frame(memory, pfn, Frame::block(FrameState::PerCpu, order));
        let (first, last) = &mut self.ends[order as usize];
        map.list_push(memory, first, pfn);
        if *last == NO_FRAME {
            *last = pfn;
        }
        self.nr_pages += 1 << order;
    }

    /// Takes off a block that is kept.
    pub(crate) fn remove<M: Memory>(&mut self, memory: &mut M, map: MemMap, pfn: Pfn, order: u32) {
        let (first, last) = &mut self.ends[order as usize];
        if *last == pfn {
            *last = map.links(memory, pfn).1;
        }
        map.list_remove(memory, first, pfn);
        self.nr_pages -= 1 << order;
    }
}

#[cfg(test)]
mod test {
    extern crate std;

    use crate::frames::frame::{Frame, FrameState};
    use crate::pages::allocator::test::boot_with;
    use crate::pages::allocator::{BootParams, PageAllocator};
    use crate::test_memory::TestMemory;
    use crate::words::gfp::{GFP_KERNEL, GFP_NOWAIT};
    use crate::words::task::Current;

    fn pages_with(pcp_high: u32) -> PageAllocator<TestMemory> {
        boot_with(256, &BootParams { nr_cpus: 2, pcp_high, ..BootParams::default() })
    }

    fn on_cpu(pages: &mut PageAllocator<TestMemory>, cpu: u8) {
        pages.set_current(Current { cpu, ..Current::default() });
    }

    #[test]
    fn the_last_block_in_is_the_first_out_on_the_cpu_that_freed_it() {
        let mut pages = pages_with(64);
        let [a, b, c] = [(); 3].map(|()| pages.alloc_pages(GFP_KERNEL, 1).unwrap());
        pages.free_block(a);
        pages.free_block(b);
        on_cpu(&mut pages, 1);
        pages.free_block(c);
        assert_eq!(pages.alloc_pages(GFP_KERNEL, 1), Ok(c));
        on_cpu(&mut pages, 0);
        assert_eq!([(); 2].map(|()| pages.alloc_pages(GFP_KERNEL, 1)), [Ok(b), Ok(a)]);
        pages.check().unwrap();
    }

    #[test]
    fn a_cpu_that_keeps_too_much_gives_back_what_has_waited_longest() {
        let mut pages = pages_with(4);
        let held = [(); 6].map(|()| pages.alloc_pages(GFP_KERNEL, 0).unwrap());
        held.into_iter().for_each(|pfn| pages.free_block(pfn));
        assert_eq!(pages.nr_pages(FrameState::PerCpu), 4);
        let is_kept =
            |pfn| pages.map.frame(&pages.memory, pfn) == Frame::block(FrameState::PerCpu, 0);
        assert_eq!(held.map(is_kept), [false, false, true, true, true, true]);
        // A block of another order makes room at the cost of these, and stays.
        let pair = pages.alloc_pages(GFP_KERNEL, 1).unwrap();
        pages.free_block(pair);
        assert_eq!(pages.alloc_pages(GFP_KERNEL, 1), Ok(pair));
        pages.check().unwrap();
    }

    #[test]
    fn who_may_sleep_has_the_lists_drained() {
        let mut pages = pages_with(1024);
        let mut held = std::vec::Vec::new();
        while let Ok(pfn) = pages.alloc_pages(GFP_NOWAIT, 0) {
            held.push(pfn);
        }
        held.into_iter().for_each(|pfn| pages.free_block(pfn));
        on_cpu(&mut pages, 1);
        assert!(pages.alloc_pages(GFP_NOWAIT, 0).is_err());
        assert!(pages.alloc_pages(GFP_KERNEL, 5).is_ok());
        assert_eq!(pages.nr_pages(FrameState::PerCpu), 0);
        pages.check().unwrap();
    }

    #[test]
    fn a_damaged_list_is_found() {
        let mut pages = pages_with(64);
        let pfn = pages.alloc_pages(GFP_KERNEL, 0).unwrap();
        pages.free_block(pfn);
        pages.map.set_links(&mut pages.memory, pfn, pfn, pfn);
        assert_eq!(pages.check().unwrap_err().invariant, 14);
    }
}
