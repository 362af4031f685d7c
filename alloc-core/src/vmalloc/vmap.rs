//! The vmalloc address space: which ranges are free, which are in use, and which wait (R4.6 to
//! R4.11).
//!
//! The one idea: a range is a node, and it is always on exactly one of three trees: *free* holes,
//! *busy* areas, and *lazy* areas, which have been freed but may still be in some cache of
//! translations, so that they are not used again before a purge has flushed them all at once.
//!
//! ```text
//!            taken                freed                   purged, after a flush
//!    free ──────────► busy ──────────────► lazy ──────────────────────────────┐
//!     ▲                │                                                      │
//!     │                │ the call fails after all                             │
//!     └────────────────┴──────────────────────────────────────────────────────┘
//!                            merged with the holes beside it
//! ```
//!
//! Nodes are objects of a slab cache. Taking a range out of the middle of a hole needs a second
//! node; each CPU keeps one ready for it (the preload patch of 2019). Freeing never needs one.
//!
//! Nothing here maps pages: an area is a range with a guard page at its end, and no more (R4.11).
//! The tables that map them belong to the space, and are kept in `page_table`.

use crate::memory::Memory;
use crate::slab::slabs::SlabAllocator;
use crate::vmalloc::page_table::PageTables;
use crate::vmalloc::vmap_tree::{Search, VmapArea, VmapTree};
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, VMALLOC_START, Vaddr};
use crate::words::error::{AllocError, FaultSite, Shortage};
use crate::words::gfp::{__GFP_NOFAIL, GFP_NOWAIT, Gfp};
use crate::words::task::NR_CPUS;

/// Lazy pages that trigger a purge, for each binary digit of the number of CPUs: 32 MiB (R4.10).
const LAZY_UNIT_PAGES: u64 = 8192;

/// How many lazy pages may wait (`lazy_max_pages`). In a small space 32 MiB would never be reached,
/// and every purge would be forced by exhaustion; an eighth of the space in its place keeps both
/// triggers alive, with one CPU as with many.
fn lazy_max_pages(nr_pages: u64, nr_cpus: u8) -> u64 {
    u64::from(u8::BITS - nr_cpus.leading_zeros()) * LAZY_UNIT_PAGES.min(nr_pages / 8)
}

/// A request for a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmapRequest {
    /// Bytes with the guard page: a multiple of the page size.
    pub(crate) size: u64,
    /// A power of two, at least the page size.
    pub(crate) align: u64,
    /// The range must lie in `start..end`.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// What may be done to get a node.
    pub(crate) gfp: Gfp,
    /// What is short when nothing fits.
    pub(crate) shortage: Shortage,
}

/// A range just taken, which can still be handed back as if nothing had happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenRange {
    pub(crate) area: VmapArea,
    preload: VmapArea,
}

/// The vmalloc address space.
///
/// # Invariants
/// 8. On each tree, nodes are in order and disjoint, and know the largest range below them.
/// 9. Holes, busy and lazy areas partition the space; no two holes touch.
#[derive(Debug)]
pub(crate) struct VmapSpace {
    pub(crate) free: VmapTree,
    pub(crate) busy: VmapTree,
    pub(crate) lazy: VmapTree,
    /// The node carved at boot. It is always on a tree and never unused, so that an idle machine
    /// owns no slab for the sake of its one hole.
    pub(crate) first: VmapArea,
    /// The node that each CPU keeps ready for a split; `NONE` when it has been used (R4.9,
    /// `ne_fit_preload_node`). No CPU takes another's.
    pub(crate) preload: [VmapArea; NR_CPUS],
    pub(crate) tables: PageTables,
    pub(crate) nr_areas: u32,
    pub(crate) nr_area_pages: u64,
    pub(crate) nr_lazy_pages: u64,
    /// How often a range has been given back.
    pub(crate) release_epoch: u64,
    lazy_max_pages: u64,
    end: u64,
}

impl VmapSpace {
    /// The whole vmalloc space, all of it one hole, whose node is carved memory at `first`.
    pub(crate) fn boot<M: Memory>(
        memory: &mut M,
        first: Paddr,
        tables: PageTables,
        nr_cpus: u8,
    ) -> Self {
        let nr_pages = memory.nr_vmalloc_pages();
        let end = VMALLOC_START + (nr_pages << PAGE_SHIFT);
        let first = VmapArea(first);
        let mut space = Self {
            free: VmapTree::EMPTY,
            busy: VmapTree::EMPTY,
            lazy: VmapTree::EMPTY,
            first,
            preload: [VmapArea::NONE; NR_CPUS],
            tables,
            nr_areas: 0,
            nr_area_pages: 0,
            nr_lazy_pages: 0,
            release_epoch: 0,
            lazy_max_pages: lazy_max_pages(nr_pages, nr_cpus),
            end,
        };
        first.set_range(memory, VMALLOC_START, end);
        space.free.insert(memory, first);
        space
    }

    /// The address behind the space.
    pub(crate) const fn end(&self) -> Vaddr {
        Vaddr(self.end)
    }

    /// `is_vmalloc_addr`.
    pub(crate) const fn contains(&self, addr: Vaddr) -> bool {
        VMALLOC_START <= addr.0 && addr.0 < self.end
    }

    /// Takes a range (`alloc_vmap_area`): at the first place found to fit, and if there is none,
    /// once more after a purge.
    pub(crate) fn alloc<M: Memory>(
        &mut self,
        slab: &mut SlabAllocator<M>,
        request: &VmapRequest,
    ) -> Result<TakenRange, AllocError> {
        let gfp = request.gfp;
        if slab.pages.faults.should_fail(FaultSite::Vmap, gfp) {
            let injected = Shortage::Injected(FaultSite::Vmap);
            let waits = gfp.has(__GFP_NOFAIL);
            return Err(if waits { Shortage::VmallocSpace } else { injected }.under(gfp));
        }
        let cpu = cpu_of(slab);
        let preload = self.preload[cpu];
        let mut area = VmapArea(slab.alloc(slab.caches.vmap_area(), gfp)?);
        let mut cut = self.take(slab, request);
        if cut.is_none() {
            self.purge(slab);
            cut = self.take(slab, request);
        }
        let Some((start, used_up)) = cut else {
            slab.free_internal(area.0);
            self.restore_preload(slab, cpu, preload, [VmapArea::NONE; 3]);
            return Err(request.shortage.under(gfp));
        };
        if used_up != VmapArea::NONE {
            // The node of a hole that is used up becomes the area's, so that a failed call can put
            // that very node back.
            slab.free_internal(area.0);
            area = used_up;
        }
        let memory = &mut slab.pages.memory;
        area.set_range(memory, start, start + request.size);
        area.set_vm(memory, Paddr(0));
        self.busy.insert(memory, area);
        self.nr_areas += 1;
        self.nr_area_pages += request.size >> PAGE_SHIFT;
        Ok(TakenRange { area, preload })
    }

    /// Hands back a range that nothing has used: the trees and the nodes are as before.
    pub(crate) fn undo<M: Memory>(&mut self, slab: &mut SlabAllocator<M>, taken: &TakenRange) {
        self.take_from_busy(&mut slab.pages.memory, taken.area);
        let unused = self.insert_hole(&mut slab.pages.memory, taken.area);
        self.restore_preload(slab, cpu_of(slab), taken.preload, unused);
    }

    /// Hands back an area whose pages have been unmapped and flushed; the preload stays as it is.
    pub(crate) fn undo_area<M: Memory>(&mut self, slab: &mut SlabAllocator<M>, area: VmapArea) {
        self.undo(slab, &TakenRange { area, preload: self.preload[cpu_of(slab)] });
    }

    /// The area that contains an address, with its guard page.
    pub(crate) fn find_area<M: Memory>(&self, memory: &M, addr: Vaddr) -> Option<VmapArea> {
        self.busy.find(memory, addr.0)
    }

    /// Frees an area, lazily (`free_vmap_area_noflush`, R4.10).
    pub(crate) fn free<M: Memory>(&mut self, slab: &mut SlabAllocator<M>, area: VmapArea) {
        self.release_epoch += 1;
        self.take_from_busy(&mut slab.pages.memory, area);
        self.nr_lazy_pages += area.size(&slab.pages.memory) >> PAGE_SHIFT;
        self.lazy.insert(&mut slab.pages.memory, area);
        if self.nr_lazy_pages > self.lazy_max_pages {
            self.purge(slab);
        }
    }

    /// Whether an address lies in an area that was freed and not purged since.
    pub(crate) fn is_lazy<M: Memory>(&self, memory: &M, addr: Vaddr) -> bool {
        let (below, _) = self.lazy.around(memory, addr.0 + 1);
        below.is_some_and(|area| addr.0 < area.end(memory))
    }

    /// Makes all lazy areas holes again, after one flush for all of them.
    pub(crate) fn purge<M: Memory>(&mut self, slab: &mut SlabAllocator<M>) {
        let memory = &mut slab.pages.memory;
        let (_, Some(first)) = self.lazy.around(memory, 0) else {
            return;
        };
        let (last, _) = self.lazy.around(memory, u64::MAX);
        let end = last.unwrap_or(first).end(memory);
        let start = first.start(memory);
        self.tables.flush(memory, Vaddr(start), Vaddr(end));
        while let (_, Some(area)) = self.lazy.around(&slab.pages.memory, 0) {
            self.lazy.remove(&mut slab.pages.memory, area);
            for unused in self.insert_hole(&mut slab.pages.memory, area) {
                if unused != VmapArea::NONE {
                    slab.free_internal(unused.0);
                }
            }
        }
        self.nr_lazy_pages = 0;
    }

    /// Gives back the nodes kept ready for a split.
    pub(crate) fn drop_preload<M: Memory>(&mut self, slab: &mut SlabAllocator<M>) {
        for cpu in 0..NR_CPUS {
            self.restore_preload(slab, cpu, VmapArea::NONE, [VmapArea::NONE; 3]);
        }
    }

    /// Cuts the request out of the first hole that is found to fit; returns where, and the hole's
    /// node if it is used up. A candidate beyond the request's end is a failure and no reason to
    /// search on (R4.7).
    fn take<M: Memory>(
        &mut self,
        slab: &mut SlabAllocator<M>,
        request: &VmapRequest,
    ) -> Option<(u64, VmapArea)> {
        let preload = &mut self.preload[cpu_of(slab)];
        if *preload == VmapArea::NONE
            && let Ok(node) = slab.alloc(slab.caches.vmap_area(), request.gfp)
        {
            *preload = VmapArea(node);
        }
        let VmapRequest { size, align, start: vstart, end: vend, .. } = *request;
        let exact = align <= PAGE_SIZE || vend - vstart == size;
        let length = if exact { size } else { size.checked_add(align - 1)? };
        let search = Search { size, length, align, vstart, vend };
        let (hole, start) = self.free.lowest_fit(&slab.pages.memory, &search)?;
        self.cut(slab, hole, start, start + size).map(|unused| (start, unused))
    }

    /// Cuts `start..end` out of a hole (`adjust_va_to_fit_type`, R4.8); `None` when that needs a
    /// node and there is none. Returns the hole's node if it is used up.
    ///
    /// ```text
    ///   the hole    ├─────────────────────────┤
    ///   FL_FIT      ├═════════════════════════┤    used up, its node is returned
    ///   LE_FIT      ├══════════┤              │    the hole's left edge moves up
    ///   RE_FIT      │              ├══════════┤    the hole's right edge moves down
    ///   NE_FIT      │      ├══════════┤       │    two holes, the upper one needs a node
    /// ```
    fn cut<M: Memory>(
        &mut self,
        slab: &mut SlabAllocator<M>,
        hole: VmapArea,
        start: u64,
        end: u64,
    ) -> Option<VmapArea> {
        let memory = &mut slab.pages.memory;
        let (hole_start, hole_end) = (hole.start(memory), hole.end(memory));
        match (hole_start == start, hole_end == end) {
            // FL_FIT.
            (true, true) => {
                self.free.remove(memory, hole);
                return Some(hole);
            }
            // LE_FIT and RE_FIT.
            (true, false) => hole.set_range(memory, end, hole_end),
            (false, true) => hole.set_range(memory, hole_start, start),
            // NE_FIT: the node comes from the preload, or else from the slab, without any effort.
            (false, false) => {
                let preload = &mut self.preload[cpu_of(slab)];
                let mut rest = core::mem::replace(preload, VmapArea::NONE);
                if rest == VmapArea::NONE {
                    rest = VmapArea(slab.alloc(slab.caches.vmap_area(), GFP_NOWAIT).ok()?);
                }
                let memory = &mut slab.pages.memory;
                hole.set_range(memory, hole_start, start);
                rest.set_range(memory, end, hole_end);
                self.free.insert(memory, rest);
            }
        }
        self.free.refresh(&mut slab.pages.memory, hole);
        Some(VmapArea::NONE)
    }

    fn take_from_busy<M: Memory>(&mut self, memory: &mut M, area: VmapArea) {
        self.busy.remove(memory, area);
        self.nr_areas -= 1;
        self.nr_area_pages -= area.size(memory) >> PAGE_SHIFT;
    }

    /// Makes a node's range a hole and merges it with its neighbours; returns the unused nodes.
    ///
    /// ```text
    ///                             before                          after              unused
    ///   alone           ├──┤    ├══════┤    ├──┤      ├──┤    ├──────┤    ├──┤    none
    ///   below is free   ├──────┼══════┤    ├──┤        ├─────────────┤    ├──┤      the node's own
    ///   above is free   ├──┤    ├══════┼──────┤        ├──┤    ├─────────────┤      the node's own
    ///   both are        ├──────┼══════┼──────┤         ├────────────────────┤       two
    /// ```
    fn insert_hole<M: Memory>(&mut self, memory: &mut M, node: VmapArea) -> [VmapArea; 3] {
        let (mut start, mut end) = (node.start(memory), node.end(memory));
        let (below, above) = self.free.around(memory, start);
        let mut nodes = [node, VmapArea::NONE, VmapArea::NONE];
        if let Some(hole) = below.filter(|hole| hole.end(memory) == start) {
            start = hole.start(memory);
            self.free.remove(memory, hole);
            nodes[1] = hole;
        }
        if let Some(hole) = above.filter(|hole| hole.start(memory) == end) {
            end = hole.end(memory);
            self.free.remove(memory, hole);
            nodes[2] = hole;
        }
        // The boot node stays in use whatever it merges with; else a neighbour that was a hole
        // keeps its node.
        let keep = nodes.iter().position(|&node| node == self.first);
        let keep =
            keep.or_else(|| nodes[1..].iter().position(|&n| n != VmapArea::NONE).map(|i| i + 1));
        let keep = keep.unwrap_or(0);
        nodes[keep].set_range(memory, start, end);
        self.free.insert(memory, nodes[keep]);
        nodes[keep] = VmapArea::NONE;
        nodes
    }

    /// After a failed call: keeps the node that was the CPU's preload before, if it is still unused
    /// (else another in its place), and gives all other unused nodes back.
    fn restore_preload<M: Memory>(
        &mut self,
        slab: &mut SlabAllocator<M>,
        cpu: usize,
        before: VmapArea,
        unused: [VmapArea; 3],
    ) {
        let [a, b, c] = unused;
        let mut spare = [a, b, c, self.preload[cpu]];
        let same = spare.iter().position(|&node| node == before);
        let keep = same.or_else(|| spare.iter().position(|&node| node != VmapArea::NONE));
        self.preload[cpu] = match keep {
            Some(keep) if before != VmapArea::NONE => {
                core::mem::replace(&mut spare[keep], VmapArea::NONE)
            }
            _ => VmapArea::NONE,
        };
        for node in spare.into_iter().filter(|&node| node != VmapArea::NONE) {
            slab.free_internal(node.0);
        }
    }
}

/// The CPU of the caller.
const fn cpu_of<M: Memory>(slab: &SlabAllocator<M>) -> usize {
    slab.pages.current.cpu as usize % NR_CPUS
}

#[cfg(test)]
mod test;
