//! The counters of a subject in words: which of them changed between two looks, and by how much.

use super::Facts;

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
