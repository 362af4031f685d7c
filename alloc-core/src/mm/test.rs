//! The allocator from outside: one test for each promise of the public face.

extern crate std;

use super::*;
use crate::pages::allocator::BootParams;
use crate::test_memory::{TestMemory, TestRandom};
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, VMALLOC_START};
use crate::words::error::{FaultSite, FreeVerdict, Impossible, Shortage};
use crate::words::gfp::{__GFP_NOFAIL, __GFP_RETRY_MAYFAIL, GFP_ATOMIC, GFP_NOWAIT};
use std::vec::Vec;

mod bulk;
mod grace;
mod guide;
mod huge;
mod matrix;
mod node;
mod page_ref;
mod realloc;

fn boot(nr_frames: u32, nr_vmalloc_pages: u64) -> Mm<TestMemory> {
    let memory = TestMemory::new(nr_frames, nr_vmalloc_pages);
    Mm::boot(memory, BootParams { shuffle: 77, ..BootParams::default() }).unwrap()
}

/// What must be as before after a failed call: counts, with pages of empty slabs as good as free,
/// and page tables too, since a failed call gives those back that it finds idle.
fn footprint(stat: &MmStat) -> [u64; 12] {
    [
        u64::from(stat.nr_free_pages + stat.nr_empty_slab_pages + stat.nr_page_table_pages),
        u64::from(stat.nr_block_pages),
        u64::from(stat.nr_large_kmalloc_pages),
        u64::from(stat.nr_slab_pages),
        u64::from(stat.nr_vmalloc_pages),
        u64::from(stat.nr_kmalloc_objects),
        u64::from(stat.nr_cache_objects),
        u64::from(stat.nr_internal_objects),
        u64::from(stat.nr_areas),
        stat.nr_area_pages,
        stat.nr_lazy_pages,
        stat.nr_largest_hole_pages,
    ]
}

fn verdict<T: core::fmt::Debug>(result: Result<T, FreeFault>) -> FreeVerdict {
    result.unwrap_err().verdict
}

#[test]
fn too_small_a_machine_does_not_boot() {
    let boot = |nr_frames, nr_pages| {
        Mm::boot(TestMemory::new(nr_frames, nr_pages), BootParams::default()).map(|_| ())
    };
    assert_eq!(boot(0, 8), Err(BootError::TooFewFrames));
    assert_eq!(boot(1, 8), Err(BootError::TooFewFrames));
    assert_eq!(boot(2, 8), Ok(()));
    assert_eq!(boot(64, 0), Err(BootError::BadVmallocSpace));
}

#[test]
fn kmalloc_keeps_its_promises_about_size_and_alignment() {
    let mut mm = boot(4096, 64);
    for size in (1..300).chain([4096, 4097, 8192, 8193, 20000, 4 << 20]) {
        let addr = mm.kmalloc(size, GFP_KERNEL).unwrap();
        let usable = mm.ksize(addr).unwrap();
        assert!(usable >= size);
        assert_eq!(addr.0 % if size.is_power_of_two() { size.max(8) } else { 8 }, 0);
        mm.kfree(addr).unwrap();
    }
    assert_eq!(mm.kmalloc(0, GFP_KERNEL), Ok(Vaddr::ZERO_SIZE_PTR));
    assert_eq!(mm.kmalloc((4 << 20) + 1, GFP_KERNEL), Err(AllocError::TooLarge));
    assert_eq!(mm.kmalloc_array(u64::MAX, 2, GFP_KERNEL), Err(AllocError::Overflow));
    assert_eq!(mm.kcalloc(0, 9, GFP_KERNEL), Ok(Vaddr::ZERO_SIZE_PTR));
    mm.validate().unwrap();
}

#[test]
fn zeroed_memory_is_zero_to_the_last_usable_byte() {
    let mut mm = boot(1024, 256);
    for size in [5, 100, 5000, 9000] {
        let addr = mm.kzalloc(size, GFP_KERNEL).unwrap();
        let usable = mm.ksize(addr).unwrap();
        let at = direct_phys(addr).unwrap();
        assert!((0..usable).step_by(8).all(|i| mm.memory().load(Paddr(at.0 + i)) == 0));
        mm.kfree(addr).unwrap();
    }
    let addr = mm.vzalloc(10000).unwrap();
    for page in 0..3 {
        let frame = mm.memory().translate(Vaddr(addr.0 + page * PAGE_SIZE)).unwrap();
        let at = frame.to_phys().0;
        assert!((0..PAGE_SIZE).step_by(8).all(|i| mm.memory().load(Paddr(at + i)) == 0));
    }
}

#[test]
fn a_wrong_free_says_what_the_address_is() {
    let mut mm = boot(1024, 4096);
    let cache = mm.kmem_cache_create(40, 0, SlabFlags(0), None).unwrap();
    let other = mm.kmem_cache_create(40, 0, SlabFlags(0), None).unwrap();
    let object = mm.kmalloc(64, GFP_KERNEL).unwrap();
    let large = mm.kmalloc(9000, GFP_KERNEL).unwrap();
    let cached = mm.kmem_cache_alloc(cache, GFP_KERNEL).unwrap();
    let pages = mm.__get_free_pages(GFP_KERNEL, 1).unwrap();
    let area = mm.vmalloc(2 * PAGE_SIZE).unwrap();
    let at = |addr: Vaddr, offset: u64| Vaddr(addr.0 + offset);
    let before = mm.stat();
    let rows = [
        (mm.vfree(object), FreeVerdict::WrongAllocator, Some(FreeCall::Kfree)),
        (mm.free_pages(large, 2), FreeVerdict::WrongAllocator, Some(FreeCall::Kfree)),
        (mm.kfree(pages), FreeVerdict::WrongAllocator, Some(FreeCall::FreePages)),
        (mm.kfree(area), FreeVerdict::WrongAllocator, Some(FreeCall::Vfree)),
        (mm.kvfree(pages), FreeVerdict::WrongAllocator, Some(FreeCall::FreePages)),
        (mm.vfree(cached), FreeVerdict::WrongAllocator, Some(FreeCall::KmemCacheFree)),
        (mm.kmem_cache_free(cache, area), FreeVerdict::WrongAllocator, Some(FreeCall::Vfree)),
        (mm.kmem_cache_free(cache, object), FreeVerdict::WrongCache, Some(FreeCall::Kfree)),
        (mm.kmem_cache_free(other, cached), FreeVerdict::WrongCache, Some(FreeCall::KmemCacheFree)),
        (mm.free_pages(pages, 0), FreeVerdict::WrongOrder, Some(FreeCall::FreePages)),
        (mm.kfree(at(object, 8)), FreeVerdict::Interior, Some(FreeCall::Kfree)),
        (mm.kfree(at(object, 4)), FreeVerdict::Misaligned, Some(FreeCall::Kfree)),
        (mm.kfree(at(large, 8)), FreeVerdict::Misaligned, Some(FreeCall::Kfree)),
        (mm.kfree(at(large, PAGE_SIZE)), FreeVerdict::Interior, Some(FreeCall::Kfree)),
        (mm.vfree(at(area, 2 * PAGE_SIZE)), FreeVerdict::Interior, Some(FreeCall::Vfree)),
        (mm.vfree(at(area, 8)), FreeVerdict::Misaligned, Some(FreeCall::Vfree)),
        (mm.vfree(at(area, 3 * PAGE_SIZE)), FreeVerdict::DoubleFree, None),
        (mm.kfree(at(object, 64)), FreeVerdict::DoubleFree, None),
        (mm.kfree(Pfn(0).to_virt()), FreeVerdict::Wild, None),
        (mm.kfree(Vaddr(0x1234)), FreeVerdict::Wild, None),
        (mm.kfree(Vaddr(u64::MAX)), FreeVerdict::Wild, None),
        (mm.vfree(Vaddr::ZERO_SIZE_PTR), FreeVerdict::Wild, None),
        (mm.kmem_cache_free(cache, Vaddr::NULL), FreeVerdict::Wild, None),
        (mm.__free_pages(Pfn(u32::MAX), 0), FreeVerdict::Wild, None),
    ];
    for (row, (result, verdict, right)) in rows.into_iter().enumerate() {
        let fault = result.unwrap_err();
        assert_eq!((fault.verdict, fault.right), (verdict, right), "row {row}: {fault:?}");
    }
    assert_eq!(mm.stat(), before);
    mm.kfree(cached).unwrap();
    mm.vfree(area).unwrap();
    mm.kvfree(object).unwrap();
    mm.free_pages(pages, 1).unwrap();
    assert_eq!(verdict(mm.kfree(cached)), FreeVerdict::DoubleFree);
    assert_eq!(verdict(mm.vfree(area)), FreeVerdict::DoubleFree);
    assert_eq!(verdict(mm.kfree(object)), FreeVerdict::DoubleFree);
    assert_eq!(verdict(mm.free_pages(pages, 1)), FreeVerdict::DoubleFree);
}

#[test]
fn null_is_nothing_to_free() {
    let mut mm = boot(64, 64);
    for addr in [Vaddr::NULL, Vaddr::ZERO_SIZE_PTR] {
        assert_eq!((mm.kfree(addr), mm.kvfree(addr)), (Ok(()), Ok(())));
        assert_eq!(mm.ksize(addr), Ok(0));
    }
    assert_eq!((mm.vfree(Vaddr::NULL), mm.free_pages(Vaddr::NULL, 3)), (Ok(()), Ok(())));
}

#[test]
fn the_allocators_own_memory_cannot_be_freed() {
    let mut mm = boot(2048, 8192);
    let area = mm.vmalloc(600 * PAGE_SIZE).unwrap();
    assert_eq!(mm.stat().nr_internal_areas, 1);
    // The area of the page array lies right behind the guard page.
    let array = Vaddr(area.0 + 601 * PAGE_SIZE);
    assert_eq!(verdict(mm.vfree(array)), FreeVerdict::Wild);
    let frame = mm.memory().translate(area).unwrap();
    assert_eq!(verdict(mm.free_pages(frame.to_virt(), 0)), FreeVerdict::Wild);
    for pfn in 0..2048 {
        if mm.describe(Pfn(pfn).to_virt()) == AddrKind::Reserved {
            assert_eq!(verdict(mm.kvfree(Pfn(pfn).to_virt())), FreeVerdict::Wild);
        }
    }
    mm.validate().unwrap();
    mm.vfree(area).unwrap();
    mm.validate().unwrap();
}

#[test]
fn freed_ranges_wait_for_a_purge() {
    let mut mm = boot(256, 1024);
    let low = mm.vmalloc(PAGE_SIZE).unwrap();
    mm.vfree(low).unwrap();
    let next = mm.vmalloc(PAGE_SIZE).unwrap();
    assert_eq!(next.0, low.0 + 2 * PAGE_SIZE);
    mm.vm_unmap_aliases().unwrap();
    assert_eq!(mm.vmalloc(PAGE_SIZE), Ok(low));
    assert_eq!(mm.usable_size(low), Some(PAGE_SIZE));
    mm.validate().unwrap();
}

#[test]
fn a_range_is_kept_to_and_a_window_fills_up() {
    let mut mm = boot(256, 1024);
    let start = Vaddr(VMALLOC_START + 100 * PAGE_SIZE);
    let end = Vaddr(start.0 + 6 * PAGE_SIZE);
    let range = VmallocRange { size: PAGE_SIZE, align: 1, start, end, gfp: GFP_KERNEL };
    let taken = [(); 3].map(|()| mm.__vmalloc_node_range(range).unwrap());
    assert_eq!(taken, [0, 2, 4].map(|page| Vaddr(start.0 + page * PAGE_SIZE)));
    let short = AllocError::NoMemory(Shortage::Range);
    assert_eq!(mm.__vmalloc_node_range(range), Err(short));
    let nofail = VmallocRange { gfp: GFP_KERNEL | __GFP_NOFAIL, ..range };
    let waits = AllocError::WouldBlock(Shortage::Range);
    assert_eq!(mm.__vmalloc_node_range(nofail), Err(waits));
    // What waits in vain for a purge does not wait: exhaustion purges.
    mm.vfree(taken[1]).unwrap();
    assert_eq!(mm.__vmalloc_node_range(nofail), Ok(taken[1]));
    let aligned =
        VmallocRange { align: 16 * PAGE_SIZE, end: mm.kvmalloc.vmalloc.vmap.end(), ..range };
    assert_eq!(mm.__vmalloc_node_range(aligned).unwrap().0 % (16 * PAGE_SIZE), 0);
    mm.validate().unwrap();
}

#[test]
fn nofail_is_refused_where_it_cannot_be_kept() {
    let mut mm = boot(256, 1024);
    let nofail = GFP_KERNEL | __GFP_NOFAIL;
    let atomic = GFP_ATOMIC | __GFP_NOFAIL;
    let start = Vaddr(VMALLOC_START);
    let end = Vaddr(VMALLOC_START + PAGE_SIZE);
    let range = VmallocRange { size: 1, align: 1, start, end, gfp: nofail };
    let cache = mm.kmem_cache_create(8, 0, SlabFlags(0), None).unwrap();
    let rows = [
        (mm.kmalloc(8, atomic), Impossible::NonBlocking),
        (mm.kmem_cache_alloc(cache, atomic), Impossible::NonBlocking),
        (mm.kvmalloc(8, atomic, Route::Policy), Impossible::NonBlocking),
        (mm.__vmalloc(8, atomic), Impossible::NonBlocking),
        (mm.get_zeroed_page(atomic), Impossible::NonBlocking),
        (mm.__get_free_pages(nofail, 11), Impossible::TooLarge),
        (mm.kmalloc((4 << 20) + 1, nofail), Impossible::TooLarge),
        (mm.__vmalloc(257 * PAGE_SIZE, nofail), Impossible::TooLarge),
        (mm.kvmalloc(1 << 31, nofail, Route::Vmalloc), Impossible::TooLarge),
        (mm.__vmalloc(0, nofail), Impossible::ZeroSize),
        (mm.__vmalloc_node_range(range), Impossible::RangeTooSmall),
    ];
    for (row, (result, why)) in rows.into_iter().enumerate() {
        assert_eq!(result, Err(AllocError::ImpossibleNofail(why)), "row {row}");
    }
}

#[test]
fn kvmalloc_goes_where_it_is_sent() {
    let mut mm = boot(256, 1024);
    let is_mapped = |addr: Result<Vaddr, AllocError>| addr.unwrap().0 >= VMALLOC_START;
    assert!(!is_mapped(mm.kvmalloc(9000, GFP_KERNEL, Route::Policy)));
    assert!(!is_mapped(mm.kvmalloc(9000, GFP_KERNEL, Route::Slab)));
    assert!(is_mapped(mm.kvmalloc(8, GFP_KERNEL, Route::Vmalloc)));
    assert!(!is_mapped(mm.kvmalloc(8, GFP_NOWAIT, Route::Vmalloc)));
    assert_eq!(mm.kvmalloc(0, GFP_KERNEL, Route::Vmalloc), Ok(Vaddr::ZERO_SIZE_PTR));
    // With no large block left only the policy falls back.
    let mut held = Vec::new();
    while let Ok(pfn) = mm.alloc_pages(GFP_KERNEL, 0) {
        held.push(pfn);
    }
    for pfn in held.into_iter().filter(|pfn| pfn.0 % 2 == 0) {
        mm.__free_pages(pfn, 0).unwrap();
    }
    let short = AllocError::NoMemory(Shortage::Pages { order: 3 });
    let size = 5 * PAGE_SIZE;
    let too_small_to_fail = Err(AllocError::Deadlock { order: 3 });
    assert_eq!(mm.kvmalloc(size, GFP_KERNEL, Route::Slab), too_small_to_fail);
    assert_eq!(mm.kvmalloc(size, GFP_NOWAIT, Route::Policy), Err(short));
    assert!(is_mapped(mm.kvmalloc(size, GFP_KERNEL | __GFP_RETRY_MAYFAIL, Route::Policy)));
    mm.validate().unwrap();
}

/// Fails a call at each place where it can fail, and once more when it has left no trace.
fn fail_everywhere(nr_pages: u64, prepare: fn(&mut Mm<TestMemory>)) {
    for (nth, gfp) in (1..40).flat_map(|nth| [(nth, GFP_KERNEL), (nth, GFP_KERNEL | __GFP_NOFAIL)])
    {
        let mut mm = boot(4096, 16384);
        prepare(&mut mm);
        let before = footprint(&mm.stat());
        let start = Vaddr(VMALLOC_START + 64 * PAGE_SIZE);
        let end = mm.kvmalloc.vmalloc.vmap.end();
        mm.set_faults(FaultPlan { any: nth, ..FaultPlan::default() });
        mm.memory_mut().nr_mappings_left = if nth > 20 { u32::from(nth - 21) } else { u32::MAX };
        let size = nr_pages * PAGE_SIZE;
        let range = VmallocRange { size, align: 1, start, end, gfp };
        let result = mm.__vmalloc_node_range(range);
        mm.validate().unwrap();
        if result.is_err() {
            assert_eq!(footprint(&mm.stat()), before, "{nth} {gfp:?} {result:?}");
        }
        mm.set_faults(FaultPlan::default());
        mm.memory_mut().nr_mappings_left = u32::MAX;
        mm.__vmalloc_node_range(range).unwrap();
        mm.validate().unwrap();
    }
}

#[test]
fn a_failed_vmalloc_leaves_no_trace() {
    fail_everywhere(4, |_| {});
    fail_everywhere(4, |mm| assert!(mm.vmalloc(1).is_ok()));
}

#[test]
fn a_failed_vmalloc_with_a_mapped_array_leaves_no_trace() {
    fail_everywhere(700, |_| {});
    fail_everywhere(700, |mm| assert!(mm.vmalloc(1).is_ok()));
}

#[test]
fn the_preload_survives_one_failure_and_not_two() {
    // R4.9: calls at the slab site are vm_struct, vmap_area, preload, and the backup of a split.
    let start = Vaddr(VMALLOC_START + 64 * PAGE_SIZE);
    let end = Vaddr(start.0 + 64 * PAGE_SIZE);
    let range = VmallocRange { size: 1, align: 1, start, end, gfp: GFP_KERNEL };
    for (slab, any, is_ok) in [(1, 0, false), (2, 0, false), (3, 0, true), (3, 5, true)] {
        let mut mm = boot(256, 1024);
        mm.set_faults(FaultPlan { slab, any, ..FaultPlan::default() });
        let result = mm.__vmalloc_node_range(range);
        assert_eq!(result.is_ok(), is_ok, "{slab} {any} {result:?}");
        let short = AllocError::NoMemory(Shortage::Injected(FaultSite::Slab));
        assert!(is_ok || result == Err(short));
        mm.validate().unwrap();
    }
}

#[test]
fn an_injected_vmap_failure_makes_nofail_wait() {
    let mut mm = boot(256, 1024);
    mm.set_faults(FaultPlan { vmap: 1, ..FaultPlan::default() });
    let waits = AllocError::WouldBlock(Shortage::VmallocSpace);
    assert_eq!(mm.__vmalloc(1, GFP_KERNEL | __GFP_NOFAIL), Err(waits));
    assert!(mm.__vmalloc(1, GFP_KERNEL | __GFP_NOFAIL).is_ok());
    assert_eq!(mm.nr_faults_fired(), 1);
}

/// What a stress test holds, and how it gives it back.
enum Held {
    Any(Vaddr),
    Cached(CacheId, Vaddr),
    Pages(Vaddr, u32),
}

fn step(mm: &mut Mm<TestMemory>, caches: &[CacheId], random: &mut TestRandom) -> Option<Held> {
    let magnitude = random.below(18);
    let size = 1 + random.below(1 << magnitude);
    let gfp = [GFP_KERNEL, GFP_ATOMIC, GFP_KERNEL | __GFP_NOFAIL][random.below(3) as usize];
    let route = [Route::Policy, Route::Slab, Route::Vmalloc][random.below(3) as usize];
    match random.below(6) {
        0 => mm.kmalloc(size, gfp).ok().map(Held::Any),
        1 => mm.__vmalloc(size, gfp).ok().map(Held::Any),
        2 => {
            let start = Vaddr(VMALLOC_START + random.below(2000) * PAGE_SIZE);
            let end = Vaddr(start.0 + (1 + random.below(90)) * PAGE_SIZE);
            let align = 1 << random.below(16);
            mm.__vmalloc_node_range(VmallocRange { size, align, start, end, gfp })
                .ok()
                .map(Held::Any)
        }
        3 => {
            let cache = caches[random.below(caches.len() as u64) as usize];
            mm.kmem_cache_alloc(cache, gfp).ok().map(|addr| Held::Cached(cache, addr))
        }
        4 => {
            let order = random.below(5) as u32;
            mm.__get_free_pages(gfp, order).ok().map(|addr| Held::Pages(addr, order))
        }
        _ => mm.kvmalloc(size, gfp, route).ok().map(Held::Any),
    }
}

fn release(mm: &mut Mm<TestMemory>, held: &Held) {
    match *held {
        Held::Any(addr) => mm.kvfree(addr).unwrap(),
        Held::Cached(cache, addr) => mm.kmem_cache_free(cache, addr).unwrap(),
        Held::Pages(addr, order) => mm.free_pages(addr, order).unwrap(),
    }
}

#[test]
fn a_random_walk_ends_as_at_boot() {
    for seed in 1..6 {
        let mut mm = boot(1024, 2200);
        let at_boot = mm.stat();
        let caches =
            [24, 200, 3000].map(|size| mm.kmem_cache_create(size, 8, SlabFlags(0), None).unwrap());
        let (mut live, mut random) = (Vec::new(), TestRandom(seed * 7919));
        for _ in 0..3000 {
            let before = mm.stat();
            if random.below(20) == 0 {
                let any = random.below(12) as u16;
                mm.set_faults(FaultPlan { any, ..FaultPlan::default() });
            }
            if random.below(9) < 5 {
                match step(&mut mm, &caches, &mut random) {
                    Some(held) => live.push(held),
                    // But for a purge, which only makes holes, a failure has changed nothing.
                    None if mm.stat().nr_lazy_pages == before.nr_lazy_pages => {
                        assert_eq!(footprint(&mm.stat()), footprint(&before));
                    }
                    None => {}
                }
            } else if !live.is_empty() {
                let held = live.swap_remove(random.below(live.len() as u64) as usize);
                release(&mut mm, &held);
            }
            mm.validate().unwrap();
        }
        mm.set_faults(FaultPlan::default());
        live.drain(..).for_each(|held| release(&mut mm, &held));
        caches.iter().for_each(|&cache| mm.kmem_cache_destroy(cache).unwrap());
        mm.vm_unmap_aliases().unwrap();
        mm.shrink_all();
        mm.validate().unwrap();
        assert_eq!(MmStat { nr_tlb_flushes: 0, ..mm.stat() }, at_boot);
    }
}
