//! What the book adds up to, in the allocator's own terms.

use super::Linux;
use super::rules::vmalloc_cost;
use crate::model::{Allocation, Kind};
use crate::words::{order_of, pages_of};

/// Sums over the book, to hold against the allocator's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Frames of page blocks, exact and coherent ones included.
    pub nr_block_pages: u64,
    /// Frames of large kmalloc blocks.
    pub nr_large_kmalloc_pages: u64,
    /// Frames behind vmalloc areas, those of page arrays included.
    pub nr_vmalloc_pages: u64,
    /// Areas, those of page arrays included.
    pub nr_areas: u64,
    /// Pages of vmalloc space in areas, guards included.
    pub nr_area_pages: u64,
    /// Objects of the size classes.
    pub nr_kmalloc_objects: u64,
    /// Objects of caches.
    pub nr_cache_objects: u64,
}

impl Linux {
    /// The sums over the book.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Adds what an allocation costs to the sums, or takes it off.
    pub(super) fn count(&mut self, allocation: &Allocation, add: fn(&mut u64, u64)) {
        let totals = &mut self.totals;
        match allocation.kind {
            Kind::Kmalloc => add(&mut totals.nr_kmalloc_objects, 1),
            Kind::CacheObject(handle) => {
                add(&mut totals.nr_cache_objects, 1);
                if let Some(cache) = self.caches.get_mut(&handle) {
                    add(&mut cache.nr_objects, 1);
                }
            }
            Kind::LargeKmalloc => {
                add(&mut totals.nr_large_kmalloc_pages, 1 << order_of(allocation.usable));
            }
            Kind::Pages { order, .. } | Kind::DmaCoherent { order } => {
                add(&mut totals.nr_block_pages, 1 << order);
            }
            Kind::PagesExact { nr_pages } => add(&mut totals.nr_block_pages, nr_pages),
            Kind::Boot | Kind::Heap { .. } | Kind::Frames => {}
            Kind::Vmalloc => {
                let cost = vmalloc_cost(pages_of(allocation.usable));
                add(&mut totals.nr_vmalloc_pages, cost.nr_pages);
                add(&mut totals.nr_areas, cost.nr_areas);
                add(&mut totals.nr_area_pages, cost.nr_area_pages);
            }
        }
    }
}
