//! Another size for live memory: what moves, what stays, and what is refused.

use super::*;
use crate::KvmallocVersion;
use crate::words::error::ReallocError;
use crate::words::fate::Fate;
use crate::words::gfp::{__GFP_ZERO, GFP_ATOMIC};
use crate::words::task::{Context, Current};

/// Writes the numbers of words into memory of either side.
fn count_words(mm: &mut Mm<TestMemory>, addr: Vaddr, nr_words: u64) {
    for word in 0..nr_words {
        let at = mm.kvmalloc.vmalloc.phys(Vaddr(addr.0 + word * 8)).unwrap();
        mm.memory_mut().store(at, word);
    }
}

fn words(mm: &Mm<TestMemory>, addr: Vaddr, nr_words: u64) -> Vec<u64> {
    let at = |word| mm.kvmalloc.vmalloc.phys(Vaddr(addr.0 + word * 8)).unwrap();
    (0..nr_words).map(|word| mm.memory().load(at(word))).collect()
}

#[test]
fn krealloc_stays_where_it_fits_and_never_shrinks() {
    let mut mm = boot(256, 256);
    let old = mm.kmalloc(100, GFP_KERNEL).unwrap();
    count_words(&mut mm, old, 16);
    for (size, gfp) in [(60, GFP_KERNEL), (128, GFP_KERNEL), (60, GFP_KERNEL | __GFP_ZERO)] {
        assert_eq!(mm.krealloc(old, size, gfp), Ok(old));
        assert_eq!(mm.ksize(old), Ok(128));
    }
    // Bytes 60 to 63 belong to the word that counts 7.
    let expected: Vec<u64> = (0..16).map(|word| if word < 8 { word } else { 0 }).collect();
    assert_eq!(words(&mm, old, 16), expected);
    assert_eq!(mm.krealloc(old, 0, GFP_KERNEL), Ok(Vaddr::ZERO_SIZE_PTR));
    assert_eq!(verdict(mm.kfree(old)), FreeVerdict::DoubleFree);
}

#[test]
fn krealloc_moves_all_that_there_is() {
    let mut mm = boot(256, 256);
    let old = mm.kmalloc(100, GFP_KERNEL).unwrap();
    count_words(&mut mm, old, 16);
    let new = mm.krealloc(old, 20_000, GFP_KERNEL | __GFP_ZERO).unwrap();
    let expected: Vec<u64> = (0..20).map(|word| if word < 16 { word } else { 0 }).collect();
    assert_eq!(words(&mm, new, 20), expected);
    assert_eq!(mm.stat().nr_kmalloc_objects, 0);
    let failed = mm.krealloc(new, 5 << 20, GFP_KERNEL);
    assert_eq!(failed, Err(ReallocError::Alloc(AllocError::TooLarge)));
    mm.kfree(new).unwrap();
}

#[test]
fn kvrealloc_copies_what_it_is_told_to_either_side() {
    let mut mm = boot(256, 256);
    for (from, to) in [(Route::Slab, Route::Vmalloc), (Route::Vmalloc, Route::Slab)] {
        let old = mm.kvmalloc(9000, GFP_KERNEL, from).unwrap();
        count_words(&mut mm, old, 1125);
        assert_eq!(mm.kvrealloc(old, 9000, 9000, GFP_KERNEL, to), Ok(old));
        let new = mm.kvrealloc(old, 8996, 13_000, GFP_KERNEL | __GFP_ZERO, to).unwrap();
        // Half of word 1124 is copied; it is the half with the number.
        let expected: Vec<u64> = (0..1600).map(|word| if word < 1125 { word } else { 0 }).collect();
        assert_eq!(words(&mm, new, 1600), expected);
        assert_eq!(verdict(mm.kvfree(old)), FreeVerdict::DoubleFree);
        mm.kvfree(new).unwrap();
    }
    assert_eq!(mm.kvrealloc(Vaddr::NULL, 0, 0, GFP_KERNEL, Route::Policy), Ok(Vaddr::NULL));
    mm.validate().unwrap();
}

fn boot_as(version: KvmallocVersion) -> Mm<TestMemory> {
    let memory = TestMemory::new(256, 256);
    Mm::boot(memory, BootParams { version, ..BootParams::default() }).unwrap()
}

#[test]
fn since_6_12_kvrealloc_knows_the_size_and_keeps_the_side() {
    let mut mm = boot_as(KvmallocVersion::V6_12);
    let flags = GFP_KERNEL | __GFP_ZERO;
    for (side, other) in [(Route::Slab, Route::Vmalloc), (Route::Vmalloc, Route::Slab)] {
        let old = mm.kvmalloc(8192, GFP_KERNEL, side).unwrap();
        count_words(&mut mm, old, 1024);
        // What it is told counts for nothing.
        assert_eq!(mm.kvrealloc(old, 99_999, 8192, GFP_KERNEL, other), Ok(old));
        assert_eq!(mm.kvrealloc(old, 99_999, 8000, flags, other), Ok(old));
        let expected: Vec<u64> = (0..1024).map(|word| if word < 1000 { word } else { 0 }).collect();
        assert_eq!(words(&mm, old, 1024), expected);
        let new = mm.kvrealloc(old, 0, 9000, flags, other).unwrap();
        assert!(mm.is_vmalloc_addr(new));
        assert_eq!(words(&mm, new, 1024), expected);
        assert_eq!(verdict(mm.kvfree(old)), FreeVerdict::DoubleFree);
        assert_eq!(mm.kvrealloc(new, 9000, 0, GFP_KERNEL, other), Ok(Vaddr::NULL));
    }
    let null = mm.kvrealloc(Vaddr::NULL, 8, 0, GFP_KERNEL, Route::Policy);
    assert_eq!(null, Ok(Vaddr::ZERO_SIZE_PTR));
    assert_eq!(mm.stat().nr_kmalloc_objects, 0);
    mm.validate().unwrap();
}

#[test]
fn vrealloc_stays_in_its_area_moves_out_of_it_and_frees_it() {
    let flags = GFP_KERNEL | __GFP_ZERO;
    for version in [KvmallocVersion::V6_1, KvmallocVersion::V6_12, KvmallocVersion::V6_16] {
        let mut mm = boot_as(version);
        let area = mm.vrealloc(Vaddr::NULL, 8192, GFP_KERNEL).unwrap();
        count_words(&mut mm, area, 1024);
        assert_eq!(mm.vrealloc(area, 4000, flags), Ok(area));
        let expected: Vec<u64> = (0..1024).map(|word| if word < 500 { word } else { 0 }).collect();
        assert_eq!(words(&mm, area, 1024), expected, "{version:?}");
        assert_eq!(mm.vrealloc(area, 8192, flags), Ok(area));
        let new = mm.vrealloc(area, 8193, GFP_KERNEL).unwrap();
        assert_eq!(words(&mm, new, 1024), expected, "{version:?}");
        let again = mm.vrealloc(area, 8193, GFP_KERNEL);
        let Err(ReallocError::Free(fault)) = again else { panic!("{again:?}") };
        assert_eq!((fault.verdict, fault.on_linux), (FreeVerdict::DoubleFree, Fate::WarnLeak));
        assert_eq!(mm.vrealloc(new, 0, GFP_KERNEL), Ok(Vaddr::NULL));
        assert_eq!(mm.vrealloc(Vaddr::NULL, 0, GFP_KERNEL), Ok(Vaddr::NULL));
        assert_eq!(mm.stat().nr_areas, 0, "{version:?}");
        mm.validate().unwrap();
    }
}

/// What versions disagree about: bytes of an area that nobody asked for.
#[test]
fn since_6_15_an_area_counts_with_what_was_asked_for() {
    let flags = GFP_KERNEL | __GFP_ZERO;
    for (version, is_whole) in [(KvmallocVersion::V6_12, true), (KvmallocVersion::V6_16, false)] {
        let mut mm = boot_as(version);
        let area = mm.kvmalloc(800, GFP_KERNEL, Route::Vmalloc).unwrap();
        count_words(&mut mm, area, 512);
        let resize = |mm: &mut Mm<TestMemory>, size| {
            let new = mm.kvrealloc(area, 0, size, flags, Route::Policy).unwrap();
            words(mm, new, 512)
        };
        let zeros_from_100_to = |end| {
            let kept = |word| if (100..end).contains(&word) { 0 } else { word };
            (0..512).map(kept).collect::<Vec<u64>>()
        };
        // The same size, one that grows in place, and one that shrinks again.
        let end = if is_whole { 512 } else { 100 };
        assert_eq!(resize(&mut mm, 800), zeros_from_100_to(end), "{version:?}");
        assert_eq!(resize(&mut mm, 2400), zeros_from_100_to(end), "{version:?}");
        let end = if is_whole { 512 } else { 300 };
        assert_eq!(resize(&mut mm, 800), zeros_from_100_to(end), "{version:?}");
        // And what moves takes along what counts.
        let moved = resize(&mut mm, 2 * PAGE_SIZE);
        assert_eq!(moved[99..101], [99, 0], "{version:?}");
        assert!(is_whole || moved[100..].iter().all(|word| *word == 0));
        mm.validate().unwrap();
    }
}

#[test]
fn memory_that_stays_needs_no_context() {
    let atomic = Current { context: Context::Atomic, ..Current::default() };
    for version in [KvmallocVersion::V6_1, KvmallocVersion::V6_12, KvmallocVersion::Latest] {
        let mut mm = boot_as(version);
        let area = mm.kvmalloc(9000, GFP_KERNEL, Route::Vmalloc).unwrap();
        mm.set_current(atomic);
        let mut resize = |size, gfp| mm.kvrealloc(area, 9000, size, gfp, Route::Policy);
        assert_eq!(resize(4096, GFP_ATOMIC), Ok(area), "{version:?}");
        let sleeps = Err(ReallocError::Alloc(AllocError::BadContext));
        assert_eq!(resize(4096, GFP_KERNEL), sleeps, "{version:?}");
        let moves = resize(20_000, GFP_ATOMIC);
        let Err(ReallocError::Free(fault)) = moves else { panic!("{version:?}: {moves:?}") };
        assert_eq!((fault.verdict, fault.on_linux), (FreeVerdict::BadContext, Fate::Ok));
    }
}

#[test]
fn who_is_not_to_grow_gets_back_what_it_gave() {
    let mut mm = boot_as(KvmallocVersion::V6_1);
    let small = mm.kmalloc(100, GFP_KERNEL).unwrap();
    for (addr, told) in [(small, 129), (Vaddr(small.0 + 8), 8), (Vaddr(0x1234), 8)] {
        for (size, on_linux) in [(told, Fate::Untouched), (0, Fate::Untouched)] {
            let result = mm.kvrealloc(addr, told, size, GFP_KERNEL, Route::Policy);
            let Err(ReallocError::Free(fault)) = result else { panic!("{result:?}") };
            assert_eq!(fault.on_linux, on_linux, "{fault}");
        }
        let result = mm.kvrealloc(addr, told, told + 1, GFP_KERNEL, Route::Policy);
        let Err(ReallocError::Free(fault)) = result else { panic!("{result:?}") };
        assert_ne!(fault.on_linux, Fate::Untouched, "{fault}");
    }
}

#[test]
fn what_cannot_be_replaced_is_refused_and_left_alone() {
    let mut mm = boot(256, 256);
    let cache = mm.kmem_cache_create(40, 0, SlabFlags(0), Some(Ctor(7))).unwrap();
    let object = mm.kmem_cache_alloc(cache, GFP_KERNEL).unwrap();
    let (area, pages) = (mm.vmalloc(100).unwrap(), mm.alloc_pages_exact(100, GFP_KERNEL).unwrap());
    let small = mm.kmalloc(100, GFP_KERNEL).unwrap();
    let rows = [
        (mm.krealloc(object, 8, GFP_KERNEL), FreeVerdict::WrongAllocator),
        (mm.krealloc(area, 8, GFP_KERNEL), FreeVerdict::WrongAllocator),
        (mm.krealloc(pages, 8, GFP_KERNEL), FreeVerdict::WrongAllocator),
        (mm.krealloc(Vaddr(small.0 + 8), 0, GFP_KERNEL), FreeVerdict::Interior),
        (mm.kvrealloc(small, 129, 8, GFP_KERNEL, Route::Policy), FreeVerdict::WrongSize),
        (mm.kvrealloc(Vaddr::NULL, 1, 8, GFP_KERNEL, Route::Policy), FreeVerdict::WrongSize),
    ];
    for (place, (result, expected)) in rows.into_iter().enumerate() {
        let Err(ReallocError::Free(fault)) = result else { panic!("{place}: {result:?}") };
        assert_eq!(fault.verdict, expected, "{place}");
    }
    assert_eq!(mm.ksize(small), Ok(128));
}
