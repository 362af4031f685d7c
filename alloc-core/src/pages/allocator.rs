//! The page allocator: blocks of 2^order frames, naturally aligned (R3).
//!
//! A request takes from the first node that can spare a block, beginning with the one that it names
//! or else runs on. A watermark keeps the last pages of each for urgent requests (R3.6).
//!
//! How a node keeps its free memory is in `zone`, and the way of a request in `page_alloc`. Who
//! uses a block is written into its head's descriptor.

use crate::frames::fault::FaultInjector;
use crate::frames::frame::{Frame, FrameState, MemMap, NO_FRAME, NR_FRAME_STATES};
use crate::memory::Memory;
use crate::pages::others::Others;
use crate::pages::zone::{Shuffle, Zone};
use crate::words::addr::{PAGE_ALLOC_COSTLY_ORDER, Pfn};
use crate::words::gfp::{
    __GFP_HIGH, __GFP_MEMALLOC, __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_THISNODE, Gfp,
};
use crate::words::policy::KvmallocVersion;
use crate::words::task::{Current, NR_NODES, NR_TASKS, Scopes};

/// What is decided when a machine boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootParams {
    /// The watermark: ordinary requests leave this many pages free (`min_free_kbytes`, R3.6), and
    /// of each node its share, rounded down.
    pub min_free_pages: u32,
    /// The seed of the shuffle that scatters single pages; 0 hands out the lower half always.
    pub shuffle: u32,
    /// The number of CPUs, from 1 to [`NR_CPUS`](crate::task::NR_CPUS).
    pub nr_cpus: u8,
    /// The number of nodes, from 1 to [`NR_NODES`], with as many frames each.
    pub nr_nodes: u8,
    /// The pages that each CPU keeps of each node at most, unmerged; 0 keeps none.
    pub pcp_high: u32,
    /// The version of kvmalloc.
    pub version: KvmallocVersion,
    /// The largest request, in pages, for which kvmalloc never falls back to vmalloc; 0 leaves it
    /// to the version.
    pub cutoff_pages: u32,
}

impl Default for BootParams {
    /// One CPU, one node, no reserve, and blocks that are split in address order.
    fn default() -> Self {
        Self {
            min_free_pages: 0,
            shuffle: 0,
            nr_cpus: 1,
            nr_nodes: 1,
            pcp_high: 0,
            version: KvmallocVersion::default(),
            cutoff_pages: 0,
        }
    }
}

/// The page allocator, which owns the machine's memory.
///
/// # Invariants
/// 1. The heads partition the frames into naturally aligned blocks; all other frames are tails.
/// 2. Every free head is on the list of its order, and every list counts its blocks.
/// 3. No two buddies of a node are free: merging is maximal.
/// 4. The counts of pages by state equal a recount.
/// 14. The lists of each CPU hold the blocks that it keeps, each on the one of its order and node.
/// 16. The lists of the page cache hold its pages, each on one of them.
#[derive(Debug)]
pub(crate) struct PageAllocator<M> {
    pub(crate) memory: M,
    pub(crate) map: MemMap,
    pub(crate) faults: FaultInjector,
    /// The caller; its numbers are below those of CPUs and tasks.
    pub(crate) current: Current,
    pub(crate) scopes: [Scopes; NR_TASKS],
    pub(crate) others: Others,
    zones: [Zone; NR_NODES],
    nr_nodes: u8,
    /// The node that the current call names.
    pub(crate) node: Option<u8>,
    pcp_high: u32,
    nr_managed_pages: u32,
    /// How often memory has been given back, to this floor or to a slab.
    pub(crate) release_epoch: u64,
    nr_pages: [u32; NR_FRAME_STATES],
    /// Of each node.
    min_free_pages: u32,
    nr_cpus: u8,
    shuffle: Shuffle,
}

/// Where a block can be taken: a node, and the order of the block there that is to be split.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) node: usize,
    from: u32,
}

impl<M: Memory> PageAllocator<M> {
    /// Takes over runs of frames, each given by its first and the one behind its last, the lowest
    /// first; all others stay reserved. Every frame of the map is a tail.
    pub(crate) fn boot(
        memory: M,
        map: MemMap,
        runs: impl Iterator<Item = (Pfn, Pfn)>,
        params: &BootParams,
    ) -> Self {
        let mut pages = Self {
            memory,
            map,
            faults: FaultInjector::default(),
            current: Current::default(),
            scopes: [Scopes::default(); NR_TASKS],
            others: Others::NONE,
            zones: [Zone::EMPTY; NR_NODES],
            nr_nodes: params.nr_nodes,
            node: None,
            pcp_high: params.pcp_high,
            nr_managed_pages: 0,
            release_epoch: 0,
            nr_pages: [0; NR_FRAME_STATES],
            min_free_pages: params.min_free_pages / u32::from(params.nr_nodes),
            nr_cpus: params.nr_cpus,
            shuffle: Shuffle { state: params.shuffle },
        };
        let share = map.nr_frames().div_ceil(u32::from(params.nr_nodes));
        let nodes = pages.zones.iter_mut().take(params.nr_nodes.into());
        for (node, zone) in (0..).zip(nodes) {
            let start = (node * share).min(map.nr_frames());
            *zone = Zone::of(Pfn(start), Pfn((start + share).min(map.nr_frames())));
        }
        let mut next = Pfn(0);
        for (first, end) in runs {
            pages.reserve(next, first);
            pages.take_over(first, end);
            next = end;
        }
        pages.reserve(next, Pfn(map.nr_frames()));
        pages
    }

    /// Marks frames as reserved, so that they are never handed out.
    fn reserve(&mut self, first: Pfn, end: Pfn) {
        for pfn in first.0..end.0 {
            let reserved = Frame::block(FrameState::Reserved, 0);
            self.map.set_frame(&mut self.memory, Pfn(pfn), reserved);
        }
    }

    /// Frees frames for the first time, to the nodes that they are of.
    fn take_over(&mut self, first: Pfn, end: Pfn) {
        self.nr_managed_pages += end.0 - first.0;
        for zone in &mut self.zones {
            zone.take_over(&mut self.memory, self.map, first, end);
        }
    }

    /// Says who makes the calls that follow.
    pub(crate) const fn set_current(&mut self, current: Current) {
        let Current { cpu, task, context, is_killed } = current;
        let (cpu, task) = (cpu % self.nr_cpus, task % NR_TASKS as u8);
        self.current = Current { cpu, task, context, is_killed };
    }

    /// The scopes of the current task.
    pub(crate) const fn current_scopes(&mut self) -> &mut Scopes {
        &mut self.scopes[self.current.task as usize]
    }

    /// The number of free pages, but for what CPUs keep.
    pub(crate) fn nr_free_pages(&self) -> u32 {
        self.zones().iter().map(|zone| zone.nr_free_pages).sum()
    }

    /// The nodes' memory.
    pub(crate) fn zones(&self) -> &[Zone] {
        &self.zones[..usize::from(self.nr_nodes)]
    }

    /// The node of a frame.
    pub(crate) fn node_of(&self, pfn: Pfn) -> usize {
        self.zones().iter().position(|zone| zone.contains(pfn)).unwrap_or(0)
    }

    /// The number of frames that are not reserved.
    pub(crate) const fn nr_managed_pages(&self) -> u32 {
        self.nr_managed_pages
    }

    /// The number of pages in blocks that were handed out in this state.
    pub(crate) const fn nr_pages(&self, state: FrameState) -> u32 {
        self.nr_pages[state as usize]
    }

    /// Counts pages that were handed out for one use under another.
    pub(crate) const fn recount(&mut self, from: FrameState, to: FrameState, nr_pages: u32) {
        self.nr_pages[from as usize] -= nr_pages;
        self.nr_pages[to as usize] += nr_pages;
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
        let node = self.node_of(pfn);
        let (memory, map, order) = (&mut self.memory, self.map, u32::from(frame.order));
        let zone = &mut self.zones[node];
        if order > PAGE_ALLOC_COSTLY_ORDER || frame.nr_pages() > self.pcp_high {
            zone.merge(memory, map, pfn, order);
            return;
        }
        let cpu = usize::from(self.current.cpu);
        zone.pcp[cpu].push(memory, map, pfn, order);
        self.nr_pages[FrameState::PerCpu as usize] += 1 << order;
        while zone.pcp[cpu].nr_pages() > self.pcp_high {
            let victim = zone.pcp[cpu].order_after(order);
            zone.drain_oldest(memory, map, cpu, victim);
            self.nr_pages[FrameState::PerCpu as usize] -= 1 << victim;
        }
    }

    /// `drain_all_pages`: what the CPUs keep goes back to the buddies.
    pub(crate) fn drain_per_cpu(&mut self) {
        if self.nr_pages(FrameState::PerCpu) > 0 {
            for zone in &mut self.zones {
                let nr_pages = zone.drain(&mut self.memory, self.map);
                self.nr_pages[FrameState::PerCpu as usize] -= nr_pages;
            }
        }
    }

    /// Where there is a block for the request, and its watermark allows it (R3.6).
    pub(crate) fn find(&self, gfp: Gfp, order: u32) -> Option<Found> {
        self.find_above(self.watermark(gfp), gfp, order)
    }

    /// The last try of a request that must not fail, before it has to wait: it may take half of
    /// the reserve (R3.7).
    pub(crate) fn find_for_nofail(&self, gfp: Gfp, order: u32) -> Option<Found> {
        if gfp.has(__GFP_NOFAIL) { self.find_above(self.half_reserve(), gfp, order) } else { None }
    }

    /// For who is being killed: half of the reserve, unless the flags forbid any of it (R3.12).
    pub(crate) fn find_for_victim(&self, gfp: Gfp, order: u32) -> Option<Found> {
        let may = !gfp.has(__GFP_NOMEMALLOC);
        if may { self.find_above(self.half_reserve(), gfp, order) } else { None }
    }

    const fn half_reserve(&self) -> Option<u32> {
        Some(self.min_free_pages - self.min_free_pages / 2)
    }

    /// Looks at the nodes in turn (`node_zonelist`).
    fn find_above(&self, mark: Option<u32>, gfp: Gfp, order: u32) -> Option<Found> {
        self.zonelist(gfp).find_map(|node| {
            self.zones[node].find_above(mark, order).map(|from| Found { node, from })
        })
    }

    /// The nodes that a request may take from, the nearest first.
    pub(crate) fn zonelist(&self, gfp: Gfp) -> impl Iterator<Item = usize> + use<M> {
        let (nearest, nr_nodes) = (self.nearest_node(), usize::from(self.nr_nodes));
        let nr_allowed = if gfp.has(__GFP_THISNODE) { 1 } else { nr_nodes };
        (0..nr_allowed).map(move |distance| (nearest + distance) % nr_nodes)
    }

    /// The node that the call names, or else the one that the CPU belongs to.
    fn nearest_node(&self) -> usize {
        usize::from(self.node.unwrap_or(self.current.cpu) % self.nr_nodes)
    }

    /// Takes the block that was found, for the use that `state` names.
    pub(crate) fn take(&mut self, found: Found, order: u32, state: FrameState) -> Pfn {
        let pfn = self.take_unused(found, order);
        self.map.set_frame(&mut self.memory, pfn, Frame::block(state, order));
        self.nr_pages[state as usize] += 1 << order;
        pfn
    }

    /// The last block that this CPU has kept, if there is any, or else the one that was found.
    fn take_unused(&mut self, found: Found, order: u32) -> Pfn {
        let (memory, map, zone) = (&mut self.memory, self.map, &mut self.zones[found.node]);
        if self.pcp_high > 0 && order <= PAGE_ALLOC_COSTLY_ORDER {
            let kept = &mut zone.pcp[usize::from(self.current.cpu)];
            let pfn = kept.newest(order);
            if pfn != NO_FRAME {
                kept.remove(memory, map, pfn, order);
                self.nr_pages[FrameState::PerCpu as usize] -= 1 << order;
                return pfn;
            }
        }
        zone.split(memory, map, &mut self.shuffle, found.from, order)
    }

    /// Whether the node where a block was found has so few free pages left that kswapd is woken: a
    /// quarter above the min watermark (R3.6).
    pub(crate) const fn is_low(&self, found: Found) -> bool {
        self.zones[found.node].nr_free_pages < self.min_free_pages + self.min_free_pages / 4
    }

    /// Whether a node has enough: below the high watermark its kswapd may be woken, and there it
    /// goes to sleep again (`pgdat_balanced`).
    pub(crate) fn is_balanced(&self, node: usize) -> bool {
        self.zones[node].nr_free_pages >= self.min_free_pages + self.min_free_pages / 2
    }

    /// The number of pages that a request must leave free; `None` when it may take them all.
    fn watermark(&self, gfp: Gfp) -> Option<u32> {
        let min = self.min_free_pages;
        // The mark is the minimum less the part of it that the request may use. Linux rounds that
        // part down, so the mark is rounded up.
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
}

#[cfg(test)]
pub(crate) mod test;
