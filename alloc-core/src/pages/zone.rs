//! The free memory of one node (`struct zone`): the buddy lists, and the per-CPU lists before them.
//!
//! The one idea: buddies. A block is split in two until it fits, and a freed block merges with its
//! buddy whenever that one is free as well, always and at once; so giving a block back restores
//! the free lists' counts exactly. No block reaches beyond its node.
//!
//! ```text
//!  a request for order 0 splits a block of order 3      free 5, whose buddies are free as well
//!
//!  │ 0   1   2   3   4   5   6   7 │  order 3            5 ^ 1 = 4   free, order 0:  4..=5
//!  │ 0   1   2   3 │ 4   5   6   7 │  order 2            4 ^ 2 = 6   free, order 1:  4..=7
//!  │ 0   1 │ 2   3 │                 order 1            4 ^ 4 = 0   free, order 2:  0..=7
//!  │ 0 │ 1 │                         order 0            0 ^ 8 = 8   in use: it stays at order 3
//!    taken
//! ```
//!
//! Which node a request may use, and how much must stay free, is decided in `allocator`.

use crate::frames::frame::{Frame, FrameState, MemMap, NO_FRAME};
use crate::memory::Memory;
use crate::pages::pcp::{NR_PCP_ORDERS, PerCpuPages};
use crate::words::addr::{NR_ORDERS, Pfn};
use crate::words::task::NR_CPUS;

/// The coin that decides which half of a split block is handed out (`SHUFFLE_PAGE_ALLOCATOR`'s
/// idea): consecutive pages are then scattered, as they are on a machine that has run for a while.
#[derive(Debug)]
pub(crate) struct Shuffle {
    /// The generator's state; with 0 the lower half goes out always.
    pub(crate) state: u32,
}

impl Shuffle {
    fn upper_half(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state >> 31 == 1
    }
}

/// A node's frames, and those that are free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zone {
    start: Pfn,
    end: Pfn,
    first: [Pfn; NR_ORDERS],
    /// Free blocks of each order.
    pub(crate) nr_free_blocks: [u32; NR_ORDERS],
    /// Pages of free blocks.
    pub(crate) nr_free_pages: u32,
    /// What each CPU keeps for itself.
    pub(crate) pcp: [PerCpuPages; NR_CPUS],
}

impl Zone {
    /// No frames.
    pub(crate) const EMPTY: Self = Self {
        start: Pfn(0),
        end: Pfn(0),
        first: [NO_FRAME; NR_ORDERS],
        nr_free_blocks: [0; NR_ORDERS],
        nr_free_pages: 0,
        pcp: [PerCpuPages::EMPTY; NR_CPUS],
    };

    /// The frames from `start` to `end`, none of them free.
    pub(crate) const fn of(start: Pfn, end: Pfn) -> Self {
        Self { start, end, ..Self::EMPTY }
    }

    /// Frees for the first time what it has of a run of frames, in blocks as large as they fit.
    pub(crate) fn take_over<M: Memory>(
        &mut self,
        memory: &mut M,
        map: MemMap,
        first: Pfn,
        end: Pfn,
    ) {
        let (mut pfn, end) = (first.0.max(self.start.0), end.0.min(self.end.0));
        while pfn < end {
            let fits = (end - pfn).ilog2();
            let order = pfn.trailing_zeros().min(fits).min(NR_ORDERS as u32 - 1);
            self.list_add(memory, map, Pfn(pfn), order);
            self.nr_free_pages += 1 << order;
            pfn += 1 << order;
        }
    }

    /// Whether a frame is the node's.
    pub(crate) const fn contains(&self, pfn: Pfn) -> bool {
        self.start.0 <= pfn.0 && pfn.0 < self.end.0
    }

    /// The first block on the free list of an order.
    pub(crate) const fn first_free(&self, order: usize) -> Pfn {
        self.first[order]
    }

    /// The orders of which a block is free: bit `n` for order `n`.
    pub(crate) fn free_orders(&self) -> u16 {
        let orders = self.nr_free_blocks.iter().enumerate();
        orders.fold(0, |bits, (order, nr)| bits | u16::from(*nr > 0) << order)
    }

    /// The smallest order of a free block that holds one of `order`, if enough stays free: more
    /// than `mark` pages, or any number with no mark.
    pub(crate) fn find_above(&self, mark: Option<u32>, order: u32) -> Option<u32> {
        let from = (order..NR_ORDERS as u32).find(|&o| self.first[o as usize] != NO_FRAME)?;
        let left = i64::from(self.nr_free_pages) - ((1 << order) - 1);
        mark.is_none_or(|mark| left > i64::from(mark)).then_some(from)
    }

    /// Takes a block off the list of order `from` and splits it down to `order`.
    pub(crate) fn split<M: Memory>(
        &mut self,
        memory: &mut M,
        map: MemMap,
        shuffle: &mut Shuffle,
        from: u32,
        order: u32,
    ) -> Pfn {
        let mut pfn = self.first[from as usize];
        self.list_del(memory, map, pfn, from);
        for half in (order..from).rev() {
            let upper = Pfn(pfn.0 + (1 << half));
            if shuffle.upper_half() {
                self.list_add(memory, map, pfn, half);
                pfn = upper;
            } else {
                self.list_add(memory, map, upper, half);
            }
        }
        self.nr_free_pages -= 1 << order;
        pfn
    }

    /// Gives a block back to the buddies.
    pub(crate) fn merge<M: Memory>(&mut self, memory: &mut M, map: MemMap, pfn: Pfn, order: u32) {
        self.nr_free_pages += 1 << order;
        let (mut head, mut order) = (pfn.0, order);
        while order + 1 < NR_ORDERS as u32 {
            let buddy = Pfn(head ^ 1 << order);
            let free = Frame::block(FrameState::Free, order);
            if !self.contains(buddy) || map.frame(memory, buddy) != free {
                break;
            }
            self.list_del(memory, map, buddy, order);
            let tail = Frame::block(FrameState::Tail, 0);
            map.set_frame(memory, Pfn(head | 1 << order), tail);
            head &= !(1 << order);
            order += 1;
        }
        self.list_add(memory, map, Pfn(head), order);
    }

    /// Gives what all CPUs keep back to the buddies; returns how many pages that were.
    pub(crate) fn drain<M: Memory>(&mut self, memory: &mut M, map: MemMap) -> u32 {
        let mut nr_pages = 0;
        for cpu in 0..NR_CPUS {
            nr_pages += self.pcp[cpu].nr_pages();
            for order in 0..NR_PCP_ORDERS as u32 {
                while self.pcp[cpu].oldest(order) != NO_FRAME {
                    self.drain_oldest(memory, map, cpu, order);
                }
            }
        }
        nr_pages
    }

    /// Gives the block that a CPU has kept longest back to the buddies.
    pub(crate) fn drain_oldest<M: Memory>(
        &mut self,
        memory: &mut M,
        map: MemMap,
        cpu: usize,
        order: u32,
    ) {
        let oldest = self.pcp[cpu].oldest(order);
        self.pcp[cpu].remove(memory, map, oldest, order);
        self.merge(memory, map, oldest, order);
    }

    fn list_add<M: Memory>(&mut self, memory: &mut M, map: MemMap, pfn: Pfn, order: u32) {
        map.set_frame(memory, pfn, Frame::block(FrameState::Free, order));
        map.list_push(memory, &mut self.first[order as usize], pfn);
        self.nr_free_blocks[order as usize] += 1;
    }

    fn list_del<M: Memory>(&mut self, memory: &mut M, map: MemMap, pfn: Pfn, order: u32) {
        map.list_remove(memory, &mut self.first[order as usize], pfn);
        self.nr_free_blocks[order as usize] -= 1;
    }
}
