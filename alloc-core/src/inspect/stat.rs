//! What the allocator has and where it went: counts, kept as the work is done.
//!
//! Reading them costs nothing that grows with the machine, so a harness can compare them after
//! every call. `validate` makes sure that they equal a recount.

use crate::frames::frame::FrameState;
use crate::kvmalloc::Kvmalloc;
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::pages::others::NR_PAGE_CACHE_KINDS;
use crate::slab::cache::CacheOwner;
use crate::words::addr::{NR_ORDERS, PAGE_SHIFT};
use crate::words::task::NR_NODES;

/// Counts of pages, objects and areas.
///
/// Every managed page is in exactly one of the counts of pages that are free, kept by CPUs, of
/// blocks, large kmallocs, slabs, empty slabs, areas, page tables, processes and the page cache,
/// always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MmStat {
    /// Pages that were not kept back at boot.
    pub nr_managed_pages: u32,
    /// Pages of free blocks, but for what CPUs keep.
    pub nr_free_pages: u32,
    /// Free blocks of each order.
    pub nr_free_blocks: [u32; NR_ORDERS],
    /// What is free on each node.
    pub nodes: [NodeStat; NR_NODES],
    /// Pages that CPUs keep for themselves, free but not merged.
    pub nr_per_cpu_pages: u32,
    /// Pages of blocks of the page interface, exact and coherent ones included.
    pub nr_block_pages: u32,
    /// Pages of kmalloc blocks that are too large for a size class.
    pub nr_large_kmalloc_pages: u32,
    /// Pages of slabs with at least one live object.
    pub nr_slab_pages: u32,
    /// Pages of slabs without live objects, which a shrink gives back.
    pub nr_empty_slab_pages: u32,
    /// Pages of the page cache: clean, to be written back, and for their file system to drop.
    pub nr_cache_pages: [u32; NR_PAGE_CACHE_KINDS],
    /// Pages of processes.
    pub nr_process_pages: u32,
    /// Processes.
    pub nr_processes: u32,
    /// Pages that vmalloc areas show, those behind page arrays included.
    pub nr_vmalloc_pages: u32,
    /// Page tables of the vmalloc space.
    pub nr_page_table_pages: u32,
    /// Live objects of kmalloc's size classes.
    pub nr_kmalloc_objects: u32,
    /// Live objects of caches made by callers.
    pub nr_cache_objects: u32,
    /// Live objects of the allocator's own: descriptors and page arrays.
    pub nr_internal_objects: u32,
    /// Slabs taken out of service because a caller damaged their free list, since boot.
    pub nr_corrupt_slabs: u32,
    /// Live vmalloc areas, those of page arrays and deferred ones included.
    pub nr_areas: u32,
    /// Live vmalloc areas that hold page arrays.
    pub nr_internal_areas: u32,
    /// Areas that were freed where sleeping is forbidden, and go at the next tick.
    pub nr_deferred_areas: u32,
    /// Pieces of memory that are to be freed after a grace period, and still count as live.
    pub nr_queued: u32,
    /// Pages of address space of live areas, guard pages included.
    pub nr_area_pages: u64,
    /// Pages of address space that wait for a purge.
    pub nr_lazy_pages: u64,
    /// Pages of the largest hole of the vmalloc space.
    pub nr_largest_hole_pages: u64,
    /// Flushes of cached translations since boot, however large the range.
    pub nr_tlb_flushes: u64,
}

/// What is free on a node, and what can be freed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStat {
    /// Pages of free blocks.
    pub nr_free_pages: u32,
    /// The orders of which a block is free: bit `n` for order `n`.
    pub free_orders: u16,
    /// Pages of the page cache, by kind.
    pub nr_cache_pages: [u32; NR_PAGE_CACHE_KINDS],
}

impl<M: Memory> PageAllocator<M> {
    fn nodes(&self) -> [NodeStat; NR_NODES] {
        let mut nodes = [NodeStat::default(); NR_NODES];
        for (number, (node, zone)) in nodes.iter_mut().zip(self.zones()).enumerate() {
            *node = NodeStat {
                nr_free_pages: zone.nr_free_pages,
                free_orders: zone.free_orders(),
                nr_cache_pages: self.others.nr_cache_pages_on(number),
            };
        }
        nodes
    }

    /// The number of free blocks of each order, on all nodes.
    pub(crate) fn nr_free_blocks(&self) -> [u32; NR_ORDERS] {
        let mut sums = [0; NR_ORDERS];
        for zone in self.zones() {
            sums.iter_mut().zip(zone.nr_free_blocks).for_each(|(sum, nr)| *sum += nr);
        }
        sums
    }
}

impl<M: Memory> Kvmalloc<M> {
    /// Reads all counts.
    pub(crate) fn stat(&self) -> MmStat {
        let vmap = &self.vmalloc.vmap;
        let slab = &self.vmalloc.kmalloc.slab;
        let pages = &slab.pages;
        MmStat {
            nr_managed_pages: pages.nr_managed_pages(),
            nr_free_pages: pages.nr_free_pages(),
            nr_free_blocks: pages.nr_free_blocks(),
            nodes: pages.nodes(),
            nr_per_cpu_pages: pages.nr_pages(FrameState::PerCpu),
            nr_block_pages: pages.nr_pages(FrameState::Pages)
                + pages.nr_pages(FrameState::PagesExact)
                + pages.nr_pages(FrameState::DmaCoherent),
            nr_large_kmalloc_pages: pages.nr_pages(FrameState::LargeKmalloc),
            nr_slab_pages: slab.nr_slab_pages(),
            nr_empty_slab_pages: slab.nr_empty_slab_pages,
            nr_cache_pages: pages.others.nr_cache_pages(),
            nr_process_pages: pages.nr_pages(FrameState::Process),
            nr_processes: pages.others.nr_processes(),
            nr_vmalloc_pages: pages.nr_pages(FrameState::Vmalloc),
            nr_page_table_pages: pages.nr_pages(FrameState::PageTable),
            nr_kmalloc_objects: slab.nr_objects(CacheOwner::Kmalloc),
            nr_cache_objects: slab.nr_objects(CacheOwner::User),
            nr_internal_objects: slab.nr_objects(CacheOwner::Internal),
            nr_corrupt_slabs: slab.nr_corrupt_slabs,
            nr_areas: vmap.nr_areas,
            nr_internal_areas: self.vmalloc.nr_internal_areas,
            nr_deferred_areas: self.vmalloc.nr_deferred_areas,
            nr_queued: self.queue.nr,
            nr_area_pages: vmap.nr_area_pages,
            nr_lazy_pages: vmap.nr_lazy_pages,
            nr_largest_hole_pages: vmap.free.root().largest(&pages.memory) >> PAGE_SHIFT,
            nr_tlb_flushes: vmap.tables.nr_flushes,
        }
    }
}
