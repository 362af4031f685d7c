//! What a subject reports of itself: its counters, and what its calls have cost others.
//!
//! The subject counts; oracles hold the counts against the book. Whoever reads of a change reads it
//! in words ([`Facts::changes_since`]).

use super::Refusal;
use crate::words::NR_NODES;

/// What a request has cost others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Rounds of direct reclaim.
    pub nr_reclaim_rounds: u64,
    /// Processes killed for want of memory.
    pub nr_oom_kills: u64,
    /// Failures that were written to the log.
    pub nr_warnings: u64,
}

/// What is free on a node, and what can be freed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStat {
    /// Pages of free blocks.
    pub nr_free_pages: u32,
    /// The orders of which a block is free: bit `n` for order `n`.
    pub free_orders: u16,
    /// Pages of the page cache, by kind.
    pub nr_cache_pages: [u32; NR_PAGE_CACHES],
}

/// The number of kinds of cached pages: clean, to be written back, and for their file system to
/// drop.
pub const NR_PAGE_CACHES: usize = 3;

/// Numbers that change when a shortage may have ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// Of memory.
    pub memory: u64,
    /// Of vmalloc space, and what else a range needs.
    pub space: u64,
}

impl Epochs {
    /// The number that a request which met this shortage has to watch.
    pub fn of(self, shortage: Refusal) -> u64 {
        match shortage {
            Refusal::VmallocSpace | Refusal::Range => self.space,
            _ => self.memory,
        }
    }
}

/// What a subject reports of itself; counted by the subject, checked by the accounting oracle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Frames that the page allocator manages.
    pub nr_managed_pages: u64,
    /// Free frames, but for those that CPUs keep.
    pub nr_free_pages: u64,
    /// Free blocks of each order.
    pub nr_free_blocks: [u32; 11],
    /// Nodes, if there are several.
    pub nr_nodes: u8,
    /// What is free on each, if there are several.
    pub nodes: [NodeStat; NR_NODES],
    /// Frames that CPUs keep for themselves, free but not merged.
    pub nr_per_cpu_pages: u64,
    /// Frames held for ever since before the trace, to fragment the machine.
    pub nr_held_pages: u64,
    /// Frames handed out by the page allocator's own interface, but for those held.
    pub nr_block_pages: u64,
    /// Frames of large kmalloc blocks.
    pub nr_large_kmalloc_pages: u64,
    /// Frames of slabs with at least one live object.
    pub nr_slab_pages: u64,
    /// Frames of slabs without a live object.
    pub nr_empty_slab_pages: u64,
    /// Frames of the page cache: clean, to be written back, and for their file system to drop.
    pub nr_cache_pages: [u64; NR_PAGE_CACHES],
    /// Frames of processes.
    pub nr_process_pages: u64,
    /// Processes.
    pub nr_processes: u64,
    /// Frames behind vmalloc areas.
    pub nr_vmalloc_pages: u64,
    /// Page tables of the vmalloc space.
    pub nr_page_table_pages: u64,
    /// Live objects of the kmalloc size classes.
    pub nr_kmalloc_objects: u64,
    /// Live objects of caches that callers made.
    pub nr_cache_objects: u64,
    /// Live objects of the allocator's own: descriptors, page arrays, the preloaded node.
    pub nr_internal_objects: u64,
    /// Live vmalloc areas, those that hold page arrays and the deferred ones included.
    pub nr_areas: u64,
    /// Areas that were freed and go at the next tick.
    pub nr_deferred_areas: u64,
    /// Pieces of memory that are to be freed after a grace period, and count as live.
    pub nr_queued: u64,
    /// Pages of vmalloc space in live areas, guard pages included.
    pub nr_area_pages: u64,
    /// Pages of vmalloc space freed but not yet purged.
    pub nr_lazy_pages: u64,
    /// Pages of the largest hole of the vmalloc space.
    pub nr_largest_hole_pages: u64,
    /// Flushes of cached translations since boot. They are counted for those who ask what a policy
    /// costs, and judged by no one.
    pub nr_tlb_flushes: u64,
}

/// A counter: what it counts, and its value.
type Counter = (&'static str, fn(&Facts) -> u64);

/// Every counter that is a number of its own. Free blocks by order and what is free on each node
/// follow from others.
const COUNTERS: &[Counter] = &[
    ("managed pages", |facts| facts.nr_managed_pages),
    ("free pages", |facts| facts.nr_free_pages),
    ("pages kept by CPUs", |facts| facts.nr_per_cpu_pages),
    ("pages held since boot", |facts| facts.nr_held_pages),
    ("pages of blocks", |facts| facts.nr_block_pages),
    ("pages of large kmallocs", |facts| facts.nr_large_kmalloc_pages),
    ("pages of slabs", |facts| facts.nr_slab_pages),
    ("pages of empty slabs", |facts| facts.nr_empty_slab_pages),
    ("clean pages of the page cache", |facts| facts.nr_cache_pages[0]),
    ("pages to be written back", |facts| facts.nr_cache_pages[1]),
    ("pages of a file system", |facts| facts.nr_cache_pages[2]),
    ("pages of processes", |facts| facts.nr_process_pages),
    ("processes", |facts| facts.nr_processes),
    ("pages of vmallocs", |facts| facts.nr_vmalloc_pages),
    ("page tables", |facts| facts.nr_page_table_pages),
    ("kmalloc objects", |facts| facts.nr_kmalloc_objects),
    ("cache objects", |facts| facts.nr_cache_objects),
    ("objects of the allocator's own", |facts| facts.nr_internal_objects),
    ("areas", |facts| facts.nr_areas),
    ("deferred areas", |facts| facts.nr_deferred_areas),
    ("frees that wait for a grace period", |facts| facts.nr_queued),
    ("pages of areas", |facts| facts.nr_area_pages),
    ("pages that wait for a purge", |facts| facts.nr_lazy_pages),
    ("pages of the largest hole", |facts| facts.nr_largest_hole_pages),
    ("TLB flushes", |facts| facts.nr_tlb_flushes),
];

impl Facts {
    /// The counters that changed since an earlier look, in words.
    pub fn changes_since(&self, before: &Facts) -> String {
        let changed = COUNTERS.iter().filter(|(_, of)| of(before) != of(self));
        let words = changed.map(|(what, of)| format!("{what} {} → {}", of(before), of(self)));
        let words: Vec<String> = words.collect();
        match words.is_empty() {
            true => "how the free pages are arranged".to_owned(),
            false => words.join(", "),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_leak_is_named_with_what_holds_it() {
        let before = Facts { nr_free_pages: 9, ..Facts::default() };
        let after = Facts { nr_free_pages: 8, nr_vmalloc_pages: 1, ..before };
        assert_eq!(after.changes_since(&before), "free pages 9 → 8, pages of vmallocs 0 → 1");
        let moved = Facts { nr_free_blocks: [1; 11], ..before };
        assert_eq!(moved.changes_since(&before), "how the free pages are arranged");
    }
}
