//! Per-CPU lists of free blocks (`struct per_cpu_pages`, R3.11).
//!
//! The one idea: a small block that a CPU frees is likely to be wanted by that CPU soon, and is
//! then still in its cache. So it waits, unmerged, on a list of the CPU that freed it, and the last
//! one in is the first one out. When a CPU keeps too much, what has waited longest goes back to the
//! buddies.
//!
//! Blocks are moved one by one, which is Linux's batch for a zone of a few megabytes. What waits
//! here does not count as free; who may sleep drains all lists before it gives up.

use crate::addr::{PAGE_ALLOC_COSTLY_ORDER, Pfn};
use crate::frame::{Frame, FrameState, MemMap, NO_FRAME};
use crate::memory::Memory;

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
