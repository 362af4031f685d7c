//! The page allocator: blocks of 2^order frames, naturally aligned (R3).
//!
//! The one idea: buddies. A block is split in two until it fits, and a freed block merges with its
//! buddy whenever that one is free as well, always and at once; so giving a block back restores
//! the free lists' counts exactly. A watermark keeps the last pages for urgent requests (R3.6).
//!
//! There are no zones and no per-CPU lists. A request that finds nothing goes on in `reclaim`. Who
//! uses a block is written into its head's descriptor.

use crate::addr::{NR_ORDERS, PAGE_SIZE, Pfn};
use crate::error::{AllocError, FaultSite, Impossible, Shortage};
use crate::fault::Faults;
use crate::frame::{Frame, FrameState, MemMap, NO_FRAME, NR_FRAME_STATES};
use crate::gfp::{
    __GFP_COMP, __GFP_HIGH, __GFP_KSWAPD_RECLAIM, __GFP_MEMALLOC, __GFP_NOFAIL, __GFP_NOMEMALLOC,
    __GFP_ZERO, Gfp,
};
use crate::memory::Memory;
use crate::policy::Policy;
use crate::reclaim::Others;
use crate::task::{Current, NR_TASKS, Scopes};

/// What is decided when a machine boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootParams {
    /// The watermark: ordinary requests leave this many pages free (`min_free_kbytes`, R3.6).
    pub min_free_pages: u32,
    /// The seed of the shuffle that scatters single pages; 0 hands out the lower half always.
    pub shuffle: u32,
    /// The number of CPUs, from 1 to [`NR_CPUS`](crate::task::NR_CPUS).
    pub nr_cpus: u8,
    /// The version of kvmalloc.
    pub policy: Policy,
    /// The largest request, in pages, for which kvmalloc never falls back to vmalloc; 0 leaves it
    /// to the version.
    pub cutoff_pages: u32,
}

impl Default for BootParams {
    /// One CPU, no reserve, and blocks that are split in address order.
    fn default() -> Self {
        let policy = Policy::default();
        Self { min_free_pages: 0, shuffle: 0, nr_cpus: 1, policy, cutoff_pages: 0 }
    }
}

/// The coin that decides which half of a split block is handed out (`SHUFFLE_PAGE_ALLOCATOR`'s
/// idea): consecutive pages are then scattered, as they are on a machine that has run for a while.
#[derive(Debug)]
struct Shuffle {
    state: u32,
}

impl Shuffle {
    /// Whether the upper half goes out; never with seed 0.
    fn upper_half(&mut self) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        self.state >> 31 == 1
    }
}

/// The page allocator, which owns the machine's memory.
///
/// # Invariants
/// 1. The heads partition the frames into naturally aligned blocks; all other frames are tails.
/// 2. Every free head is on the list of its order, and every list counts its blocks.
/// 3. No two buddies are free: merging is maximal.
/// 4. The counts of pages by state equal a recount.
/// 13. The lists of the page cache hold its pages, each on one of them.
#[derive(Debug)]
pub(crate) struct PageAllocator<M> {
    pub(crate) memory: M,
    pub(crate) map: MemMap,
    pub(crate) faults: Faults,
    /// The caller; its numbers are below those of CPUs and tasks.
    pub(crate) current: Current,
    pub(crate) scopes: [Scopes; NR_TASKS],
    pub(crate) others: Others,
    first: [Pfn; NR_ORDERS],
    nr_free_blocks: [u32; NR_ORDERS],
    nr_free_pages: u32,
    nr_managed_pages: u32,
    /// How often memory has been given back, to this floor or to a slab.
    pub(crate) release_epoch: u64,
    nr_pages: [u32; NR_FRAME_STATES],
    min_free_pages: u32,
    nr_cpus: u8,
    shuffle: Shuffle,
}

impl<M: Memory> PageAllocator<M> {
    /// Takes over all frames from `first_pfn` on; those below stay reserved.
    pub(crate) fn boot(memory: M, map: MemMap, first_pfn: Pfn, params: &BootParams) -> Self {
        let mut pages = Self {
            memory,
            map,
            faults: Faults::default(),
            current: Current::default(),
            scopes: [Scopes::default(); NR_TASKS],
            others: Others::NONE,
            first: [NO_FRAME; NR_ORDERS],
            nr_free_blocks: [0; NR_ORDERS],
            nr_free_pages: map.nr_frames() - first_pfn.0,
            nr_managed_pages: map.nr_frames() - first_pfn.0,
            release_epoch: 0,
            nr_pages: [0; NR_FRAME_STATES],
            min_free_pages: params.min_free_pages,
            nr_cpus: params.nr_cpus,
            shuffle: Shuffle { state: params.shuffle },
        };
        for pfn in 0..first_pfn.0 {
            let reserved = Frame::block(FrameState::Reserved, 0);
            pages.map.set_frame(&mut pages.memory, Pfn(pfn), reserved);
        }
        let mut pfn = first_pfn.0;
        while pfn < map.nr_frames() {
            let fits = (map.nr_frames() - pfn).ilog2();
            let order = pfn.trailing_zeros().min(fits).min(NR_ORDERS as u32 - 1);
            pages.list_add(Pfn(pfn), order);
            pfn += 1 << order;
        }
        pages
    }

    /// Says who makes the calls that follow.
    pub(crate) const fn set_current(&mut self, current: Current) {
        let Current { cpu, task, context } = current;
        let (cpu, task) = (cpu % self.nr_cpus, task % NR_TASKS as u8);
        self.current = Current { cpu, task, context };
    }

    /// The scopes of the current task.
    pub(crate) const fn current_scopes(&mut self) -> &mut Scopes {
        &mut self.scopes[self.current.task as usize]
    }

    /// The number of free pages.
    pub(crate) const fn nr_free_pages(&self) -> u32 {
        self.nr_free_pages
    }

    /// The number of frames that are not reserved.
    pub(crate) const fn nr_managed_pages(&self) -> u32 {
        self.nr_managed_pages
    }

    /// The number of free blocks of each order.
    pub(crate) const fn nr_free_blocks(&self) -> &[u32; NR_ORDERS] {
        &self.nr_free_blocks
    }

    /// The number of pages in blocks that were handed out in this state.
    pub(crate) const fn nr_pages(&self, state: FrameState) -> u32 {
        self.nr_pages[state as usize]
    }

    /// The first block on the free list of an order.
    pub(crate) const fn first_free(&self, order: usize) -> Pfn {
        self.first[order]
    }

    /// `alloc_pages`: a block for the page interface.
    pub(crate) fn alloc_pages(&mut self, gfp: Gfp, order: u32) -> Result<Pfn, AllocError> {
        AllocError::check_caller(gfp, self.current.context)?;
        if order >= NR_ORDERS as u32 {
            return Err(AllocError::never(gfp, Impossible::TooLarge, AllocError::TooLarge));
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
        if self.faults.should_fail(FaultSite::PageAlloc, gfp) {
            return Err(AllocError::NoMemory(Shortage::Injected(FaultSite::PageAlloc)));
        }
        let from = match self.find(gfp, order) {
            Some(from) => from,
            None => self.find_slowly(gfp, order)?,
        };
        let pfn = self.split(from, order);
        self.map.set_frame(&mut self.memory, pfn, Frame::block(state, order));
        self.nr_free_pages -= 1 << order;
        self.nr_pages[state as usize] += 1 << order;
        if self.nr_free_pages < self.low_watermark() && gfp.has(__GFP_KSWAPD_RECLAIM) {
            self.wake_kswapd();
        }
        if gfp.has(__GFP_ZERO) {
            self.memory.zero(pfn.to_phys(), PAGE_SIZE << order);
        }
        Ok(pfn)
    }

    /// `split_page`: makes each page of a block of `order` that was just handed out a block of its
    /// own, in the same state.
    pub(crate) fn split_page(&mut self, pfn: Pfn, order: u32) {
        let Frame { state, .. } = self.map.frame(&self.memory, pfn);
        for page in pfn.0..pfn.0 + (1 << order) {
            self.map.set_frame(&mut self.memory, Pfn(page), Frame::block(state, 0));
        }
    }

    /// Gives back the block whose head is `pfn`, which has been handed out.
    pub(crate) fn free_block(&mut self, pfn: Pfn) {
        self.release_epoch += 1;
        let frame = self.map.frame(&self.memory, pfn);
        // A slab that was retired has been counted as a slab.
        let state = if frame.is_slab() { FrameState::Slab } else { frame.state };
        self.nr_pages[state as usize] -= frame.nr_pages();
        self.nr_free_pages += frame.nr_pages();
        let mut head = pfn.0;
        let mut order = u32::from(frame.order);
        while order + 1 < NR_ORDERS as u32 {
            let buddy = head ^ 1 << order;
            if buddy >= self.map.nr_frames() || !self.is_free(Pfn(buddy), order) {
                break;
            }
            self.list_del(Pfn(buddy), order);
            let tail = Frame::block(FrameState::Tail, 0);
            self.map.set_frame(&mut self.memory, Pfn(head | 1 << order), tail);
            head &= !(1 << order);
            order += 1;
        }
        self.list_add(Pfn(head), order);
    }

    /// The smallest order with a block for the request, when its watermark allows it (R3.6).
    pub(crate) fn find(&self, gfp: Gfp, order: u32) -> Option<u32> {
        self.find_above(self.watermark(gfp), order)
    }

    /// The last try of a request that must not fail, before it has to wait: it may take half of
    /// the reserve (R3.7).
    pub(crate) fn find_for_nofail(&self, gfp: Gfp, order: u32) -> Option<u32> {
        let half = self.min_free_pages - self.min_free_pages / 2;
        if gfp.has(__GFP_NOFAIL) { self.find_above(Some(half), order) } else { None }
    }

    fn find_above(&self, mark: Option<u32>, order: u32) -> Option<u32> {
        let from = (order..NR_ORDERS as u32).find(|&o| self.first[o as usize] != NO_FRAME)?;
        let left = i64::from(self.nr_free_pages) - ((1 << order) - 1);
        mark.is_none_or(|mark| left > i64::from(mark)).then_some(from)
    }

    /// Below this many free pages kswapd is woken: a quarter above the min watermark (R3.6).
    const fn low_watermark(&self) -> u32 {
        self.min_free_pages + self.min_free_pages / 4
    }

    /// kswapd goes to sleep at this many free pages.
    pub(crate) const fn high_watermark(&self) -> u32 {
        self.min_free_pages + self.min_free_pages / 2
    }

    /// The number of pages that a request must leave free; `None` when it may take them all.
    fn watermark(&self, gfp: Gfp) -> Option<u32> {
        let min = self.min_free_pages;
        // What a request may use of the reserve is taken off it, so odd watermarks round up.
        let half = min - min / 2;
        let reserves_allowed = !gfp.has(__GFP_NOMEMALLOC);
        if gfp.has(__GFP_MEMALLOC) && reserves_allowed {
            None
        } else if !gfp.has(__GFP_HIGH) {
            Some(min)
        } else if !gfp.may_block() && reserves_allowed {
            Some(half - half / 4)
        } else {
            Some(half)
        }
    }

    /// Takes a block off the list of order `from` and splits it down to `order`.
    fn split(&mut self, from: u32, order: u32) -> Pfn {
        let mut pfn = self.first[from as usize];
        self.list_del(pfn, from);
        for half in (order..from).rev() {
            let upper = Pfn(pfn.0 + (1 << half));
            if self.shuffle.upper_half() {
                self.list_add(pfn, half);
                pfn = upper;
            } else {
                self.list_add(upper, half);
            }
        }
        pfn
    }

    fn is_free(&self, pfn: Pfn, order: u32) -> bool {
        self.map.frame(&self.memory, pfn) == Frame::block(FrameState::Free, order)
    }

    fn list_add(&mut self, pfn: Pfn, order: u32) {
        let free = Frame::block(FrameState::Free, order);
        self.map.set_frame(&mut self.memory, pfn, free);
        self.map.list_push(&mut self.memory, &mut self.first[order as usize], pfn);
        self.nr_free_blocks[order as usize] += 1;
    }

    fn list_del(&mut self, pfn: Pfn, order: u32) {
        self.map.list_remove(&mut self.memory, &mut self.first[order as usize], pfn);
        self.nr_free_blocks[order as usize] -= 1;
    }
}

#[cfg(test)]
pub(crate) mod test {
    extern crate std;

    use super::*;
    use crate::addr::Paddr;
    use crate::frame::FRAME_BYTES;
    use crate::gfp::{GFP_ATOMIC, GFP_KERNEL, GFP_NOWAIT};
    use crate::test_memory::{TestMemory, TestRandom};
    use std::vec::Vec;

    /// A page allocator of `nr_frames` frames with an empty reserve unless `min_free` says so.
    pub(crate) fn boot(nr_frames: u32, min_free: u32, seed: u32) -> PageAllocator<TestMemory> {
        let mut memory = TestMemory::new(nr_frames, 0);
        let map = MemMap::clear(&mut memory, Paddr(0), nr_frames);
        let first = (u64::from(nr_frames) * FRAME_BYTES).div_ceil(PAGE_SIZE) as u32;
        let params =
            BootParams { min_free_pages: min_free, shuffle: seed, ..BootParams::default() };
        PageAllocator::boot(memory, map, Pfn(first), &params)
    }

    #[test]
    fn alloc_and_free_restores_the_free_lists() {
        let mut pages = boot(2048, 0, 1);
        let before = pages.nr_free_blocks;
        for order in 0..NR_ORDERS as u32 - 1 {
            let pfn = pages.alloc_pages(GFP_KERNEL, order).unwrap();
            assert_eq!(pfn.0 % (1 << order), 0);
            pages.free_block(pfn);
            assert_eq!(pages.nr_free_blocks, before);
        }
    }

    #[test]
    fn watermarks_stop_each_kind_of_request_in_turn() {
        let mut pages = boot(256, 80, 0);
        let rows = [
            (GFP_NOWAIT, 80),
            (GFP_KERNEL | __GFP_HIGH, 40),
            (GFP_ATOMIC, 30),
            (GFP_NOWAIT | __GFP_MEMALLOC, 0),
        ];
        for (gfp, left) in rows {
            while pages.alloc_pages(gfp, 0).is_ok() {}
            assert_eq!(pages.nr_free_pages(), left, "{gfp:x?}");
        }
    }

    #[test]
    fn nofail_takes_half_of_the_reserve_and_then_waits() {
        let mut pages = boot(256, 80, 0);
        while pages.alloc_pages(GFP_KERNEL, 0).is_ok() {}
        let nofail = GFP_KERNEL | __GFP_NOFAIL;
        let error = loop {
            if let Err(error) = pages.alloc_pages(nofail, 0) {
                break error;
            }
        };
        assert_eq!(error, AllocError::WouldBlock(Shortage::Pages { order: 0 }));
        assert_eq!(pages.nr_free_pages(), 40);
    }

    #[test]
    fn impossible_requests_are_refused_by_name() {
        let mut pages = boot(64, 0, 0);
        let never = AllocError::ImpossibleNofail;
        let rows = [
            (GFP_KERNEL, AllocError::TooLarge),
            (GFP_KERNEL | __GFP_NOFAIL, never(Impossible::TooLarge)),
            (GFP_NOWAIT | __GFP_NOFAIL, never(Impossible::NonBlocking)),
        ];
        for (gfp, error) in rows {
            assert_eq!(pages.alloc_pages(gfp, 11), Err(error));
        }
    }

    #[test]
    fn a_shuffled_machine_scatters_pages() {
        let mut pages = boot(2048, 0, 0x1234_5678);
        let taken: Vec<Pfn> = (0..64).map(|_| pages.alloc_pages(GFP_KERNEL, 0).unwrap()).collect();
        assert!(taken.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).count() > 32);
    }

    #[test]
    fn a_random_walk_ends_fully_coalesced() {
        let mut pages = boot(1024, 16, 7);
        let (before, mut live) = (pages.nr_free_blocks, Vec::new());
        let mut random = TestRandom(42);
        for _ in 0..5000 {
            if random.below(2) == 0 {
                live.extend(pages.alloc_pages(GFP_KERNEL, random.below(6) as u32));
            } else if !live.is_empty() {
                let pfn = live.swap_remove(random.below(live.len() as u64) as usize);
                pages.free_block(pfn);
            }
            pages.check().unwrap();
        }
        live.drain(..).for_each(|pfn| pages.free_block(pfn));
        assert_eq!(pages.nr_free_blocks, before);
    }
}
