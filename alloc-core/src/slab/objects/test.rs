//! Slabs from inside: reuse, double frees, shortage, damage, and a random walk.

extern crate std;

use super::*;
use crate::slab::cache_list::boot_cache_bytes;
use crate::test_memory::{TestMemory, TestRandom};
use crate::words::addr::PAGE_SIZE;
use crate::words::error::Shortage;
use crate::words::gfp::{GFP_KERNEL, GFP_NOWAIT};
use std::vec::Vec;

/// A slab allocator of `nr_frames` frames, without a reserve.
pub(crate) fn boot(nr_frames: u32) -> SlabAllocator<TestMemory> {
    boot_cpus(nr_frames, 1)
}

fn boot_cpus(nr_frames: u32, nr_cpus: u32) -> SlabAllocator<TestMemory> {
    let mut pages = crate::pages::allocator::test::boot(nr_frames, 0, 5);
    let nr_pages = boot_cache_bytes(nr_cpus).div_ceil(PAGE_SIZE);
    let order = nr_pages.next_power_of_two().trailing_zeros();
    let boot = pages.alloc_pages(GFP_KERNEL, order).unwrap();
    SlabAllocator::boot(pages, boot.to_phys(), nr_cpus)
}

fn free(slab: &mut SlabAllocator<TestMemory>, at: Paddr) {
    let object = slab.live_object(at).unwrap();
    slab.free(&object);
}

#[test]
fn what_was_taken_last_and_freed_is_handed_out_next() {
    let mut slab = boot(256);
    let cache = slab.caches.kmalloc(1024);
    for _ in 0..40 {
        let object = slab.alloc(cache, GFP_KERNEL).unwrap();
        free(&mut slab, object);
        assert_eq!(slab.alloc(cache, GFP_KERNEL), Ok(object));
    }
    slab.check().unwrap();
}

#[test]
fn an_object_goes_back_to_its_own_slab() {
    let mut slab = boot(256);
    let cache = slab.caches.kmalloc(1024);
    let objects: Vec<Paddr> = (0..20).map(|_| slab.alloc(cache, GFP_KERNEL).unwrap()).collect();
    // Two slabs of eight are full, and the third is active and half full.
    for &object in &objects[..2] {
        free(&mut slab, object);
        slab.check().unwrap();
    }
    for _ in 0..4 {
        let fresh = slab.alloc(cache, GFP_KERNEL).unwrap();
        assert!(!objects.contains(&fresh));
    }
    // Now the active slab is full, and the partial one is next.
    assert_eq!(slab.alloc(cache, GFP_KERNEL), Ok(objects[1]));
    assert_eq!(slab.alloc(cache, GFP_KERNEL), Ok(objects[0]));
    // A slab that is not active is given back when it is empty.
    let free_pages = slab.pages.nr_free_pages();
    objects[8..16].iter().for_each(|object| free(&mut slab, *object));
    assert_eq!(slab.pages.nr_free_pages(), free_pages + 2);
    slab.check().unwrap();
}

#[test]
fn a_live_object_that_looks_free_is_live() {
    let mut slab = boot(256);
    let cache = slab.caches.kmalloc(64);
    let [a, b] = [(); 2].map(|()| slab.alloc(cache, GFP_KERNEL).unwrap());
    free(&mut slab, a);
    let copied = slab.pages.memory.load(Paddr(a.0 + 32));
    slab.pages.memory.store(Paddr(b.0 + 32), copied);
    assert!(slab.live_object(b).is_some());
    assert!(slab.live_object(a).is_none());
}

#[test]
fn a_shortage_of_large_blocks_falls_back_to_small_slabs() {
    let mut slab = boot(64);
    let mut held = Vec::new();
    while let Ok(pfn) = slab.pages.alloc_pages(GFP_NOWAIT, 0) {
        held.push(pfn);
    }
    // Every other page is free: no block of order 1 exists.
    held.retain(|pfn| {
        pfn.0 % 2 == 1 || {
            slab.pages.free_block(*pfn);
            false
        }
    });
    let cache = slab.caches.kmalloc(4096);
    assert!(slab.alloc(cache, GFP_KERNEL).is_ok());
    let shortage = Shortage::Pages { order: 1 };
    let cache = slab.caches.kmalloc(8192);
    assert_eq!(slab.alloc(cache, GFP_NOWAIT), Err(AllocError::NoMemory(shortage)));
    slab.check().unwrap();
}

#[test]
fn a_damaged_free_list_retires_its_slab() {
    let mut slab = boot(256);
    let cache = slab.caches.kmalloc(64);
    let [a, b, c] = [(); 3].map(|()| slab.alloc(cache, GFP_KERNEL).unwrap());
    free(&mut slab, a);
    slab.pages.memory.store(Paddr(a.0 + 32), 0x4141_4141_4141_4141);
    assert_eq!(slab.check().unwrap_err().invariant, 5);
    let fresh = slab.alloc(cache, GFP_KERNEL).unwrap();
    assert_ne!(fresh.0 / PAGE_SIZE, a.0 / PAGE_SIZE);
    assert_eq!(slab.nr_corrupt_slabs, 1);
    slab.check().unwrap();
    for object in [b, c, fresh] {
        free(&mut slab, object);
        assert!(slab.live_object(object).is_none());
    }
    slab.check().unwrap();
    assert_eq!(slab.nr_slab_pages(), 0);
}

#[test]
fn each_cpu_takes_from_a_slab_of_its_own() {
    let mut slab = boot_cpus(512, 8);
    let cache = slab.caches.kmalloc(512);
    let take = |slab: &mut SlabAllocator<TestMemory>, cpu| {
        slab.pages.current.cpu = cpu;
        slab.alloc(cache, GFP_KERNEL).unwrap()
    };
    let objects: Vec<Paddr> = (0..8).map(|cpu| take(&mut slab, cpu)).collect();
    let mut slabs: Vec<Pfn> = Vec::new();
    for (cpu, &object) in (0..8).zip(&objects) {
        let head = slab.pages.map.head_of(&slab.pages.memory, object).unwrap().0;
        assert_eq!(cache.active(&slab.pages.memory, cpu), head);
        assert!(!slabs.contains(&head));
        slabs.push(head);
    }
    slab.check().unwrap();
    // What another CPU has freed comes when the owner has handed out all of its own, and the last
    // that it has freed itself comes first.
    free(&mut slab, objects[2]);
    let [a, b] = [(); 2].map(|()| take(&mut slab, 2));
    free(&mut slab, a);
    slab.pages.current.cpu = 5;
    free(&mut slab, b);
    slab.check().unwrap();
    assert_eq!(take(&mut slab, 2), a);
    let head = slab.pages.map.head_of(&slab.pages.memory, a).unwrap().0;
    let nr_fresh = |slab: &SlabAllocator<TestMemory>| {
        let frame = slab.pages.map.frame(&slab.pages.memory, head);
        frame.objects - frame.fresh
    };
    while nr_fresh(&slab) > 0 {
        let fresh = take(&mut slab, 2);
        assert!(fresh != b && fresh != objects[2]);
    }
    assert_eq!([take(&mut slab, 2), take(&mut slab, 2)], [b, objects[2]]);
    slab.check().unwrap();
    for &object in &objects {
        free(&mut slab, object);
    }
    slab.check().unwrap();
}

#[test]
fn a_random_walk_gives_every_page_back() {
    let mut slab = boot_cpus(512, 3);
    let before = slab.pages.nr_free_blocks();
    let (mut live, mut random) = (Vec::new(), TestRandom(9));
    for _ in 0..4000 {
        slab.pages.current.cpu = random.below(3) as u8;
        if random.below(9) < 5 {
            let cache = slab.caches.kmalloc(1 << random.below(14));
            live.extend(slab.alloc(cache, GFP_KERNEL | __GFP_ZERO));
        } else if !live.is_empty() {
            let object = live.swap_remove(random.below(live.len() as u64) as usize);
            free(&mut slab, object);
        }
        slab.pages.check().unwrap();
        slab.check().unwrap();
    }
    live.drain(..).for_each(|object| free(&mut slab, object));
    slab.shrink_all();
    assert_eq!(slab.pages.nr_free_blocks(), before);
}
