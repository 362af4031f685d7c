//! Huge areas (R4.12): when they are made, what they cost, and what happens when they cannot be.

use super::{boot, *};
use crate::words::addr::{PMD_SIZE, Pfn};

const NOFAIL: Gfp = Gfp(GFP_KERNEL.0 | __GFP_NOFAIL.0);

/// The pages behind an area, and the page tables that it has.
fn cost(mm: &Mm<TestMemory>) -> (u32, u32) {
    let stat = mm.stat();
    (stat.nr_vmalloc_pages, stat.nr_page_table_pages)
}

/// Frees every second page of all memory, so that no two are contiguous.
fn fragment(mm: &mut Mm<TestMemory>) {
    let mut pages: Vec<Pfn> = core::iter::from_fn(|| mm.alloc_pages(GFP_KERNEL, 0).ok()).collect();
    pages.retain(|pfn| pfn.0 % 2 == 0 && mm.__free_pages(*pfn, 0).is_ok());
}

#[test]
fn a_huge_area_is_rounded_aligned_and_without_page_tables() {
    let mut mm = boot(4096, 4096);
    let at_boot = mm.stat().nr_free_pages;
    let small = mm.vmalloc(1).unwrap();
    let addr = mm.vmalloc_huge(PMD_SIZE + 1, GFP_KERNEL).unwrap();
    assert_eq!((addr.0 % PMD_SIZE, mm.usable_size(addr)), (0, Some(2 * PMD_SIZE)));
    // R4.12: 1024 pages. The page array has an area and a table of its own, the small area another.
    assert_eq!(cost(&mm), (1 + 1024 + 2, 1));
    let frame = |page: u64| mm.memory().translate(Vaddr(addr.0 + page * PAGE_SIZE)).unwrap().0;
    assert!((0..1024).all(|page| frame(page) == frame(page & !511) + (page as u32 & 511)));
    assert_eq!((frame(0) % 512, frame(512) % 512), (0, 0));
    mm.validate().unwrap();
    mm.vfree(addr).unwrap();
    mm.vfree(small).unwrap();
    mm.vm_unmap_aliases().unwrap();
    mm.shrink_all();
    assert_eq!((mm.stat().nr_free_pages, cost(&mm)), (at_boot, (0, 0)));
}

#[test]
fn kvmalloc_may_be_huge_and_vmalloc_is_not() {
    let mut mm = boot(4096, 8192);
    mm.kvmalloc((4 << 20) + 1, GFP_KERNEL, Route::Policy).unwrap();
    assert_eq!(cost(&mm).0, 1536 + 3);
    let mut mm = boot(4096, 8192);
    mm.vmalloc(PMD_SIZE).unwrap();
    assert_eq!(cost(&mm), (512, 1));
}

#[test]
fn without_contiguous_memory_the_pages_are_small_and_the_size_exact() {
    let mut mm = boot(4096, 8192);
    fragment(&mut mm);
    let before = mm.stat();
    let addr = mm.kvmalloc(3 << 20, GFP_KERNEL, Route::Vmalloc).unwrap();
    assert_eq!((addr.0, mm.usable_size(addr)), (VMALLOC_START, Some(3 << 20)));
    assert_eq!(cost(&mm), (768 + 2, 2));
    mm.validate().unwrap();
    mm.vfree(addr).unwrap();
    mm.vm_unmap_aliases().unwrap();
    mm.shrink_all();
    assert_eq!(MmStat { nr_tlb_flushes: 0, ..mm.stat() }, before);
}

#[test]
fn a_table_that_maps_nothing_gives_way_to_a_huge_entry() {
    let mut mm = boot(4096, 2048);
    let small = mm.vmalloc(1).unwrap();
    mm.vfree(small).unwrap();
    mm.vm_unmap_aliases().unwrap();
    assert_eq!(cost(&mm), (0, 1));
    mm.vmalloc_huge(PMD_SIZE, GFP_KERNEL).unwrap();
    assert_eq!(cost(&mm), (512, 0));
    mm.validate().unwrap();
}

#[test]
fn a_promise_is_kept_with_small_pages_before_it_waits() {
    // Behind the first area there is room for 512 pages and a guard, but not at a multiple of them.
    let mut mm = boot(4096, 1024);
    mm.vmalloc(1).unwrap();
    let addr = mm.vmalloc_huge(PMD_SIZE, NOFAIL).unwrap();
    assert_ne!(addr.0 % PMD_SIZE, 0);
    let waits = Err(AllocError::WouldBlock(Shortage::VmallocSpace));
    assert_eq!(mm.vmalloc_huge(PMD_SIZE, NOFAIL), waits);
    mm.validate().unwrap();
}

#[test]
fn a_huge_area_that_fails_leaves_no_trace() {
    for nth in 1..12 {
        let mut mm = boot(4096, 2048);
        let before = mm.stat();
        // Both attempts fail: the huge one at any step, the small one at its range.
        mm.set_faults(FaultPlan { any: nth, vmap: 2, ..FaultPlan::default() });
        if mm.vmalloc_huge(PMD_SIZE, GFP_KERNEL).is_err() {
            assert_eq!(footprint(&mm.stat()), footprint(&before), "{nth}");
        }
        mm.validate().unwrap();
    }
}

#[test]
fn a_page_table_that_fails_makes_nofail_wait_for_its_mapping() {
    let mut mm = boot(256, 1024);
    let waits = Err(AllocError::WouldBlock(Shortage::Mapping));
    // The page itself may not fail; its table is not asked for with the caller's flags. The calls
    // before are first tries for slabs.
    let results: Vec<_> = (1..8)
        .map(|page_alloc| {
            let before = footprint(&mm.stat());
            mm.set_faults(FaultPlan { page_alloc, ..FaultPlan::default() });
            let result = mm.__vmalloc(1, NOFAIL);
            match result {
                Ok(addr) => mm.vfree(addr).unwrap(),
                Err(_) => assert_eq!(footprint(&mm.stat()), before),
            }
            mm.vm_unmap_aliases().unwrap();
            mm.shrink_all();
            result
        })
        .collect();
    assert_eq!(results.iter().filter(|result| **result == waits).count(), 1);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 6);
}
