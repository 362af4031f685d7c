//! The page allocator by itself: watermarks, nodes, and blocks that find each other again.
//!
//! Whatever is taken and given back, the free lists end as they began.

extern crate std;

use super::*;
use crate::frames::frame::FRAME_BYTES;
use crate::test_memory::{TestMemory, TestRandom};
use crate::words::addr::Paddr;
use crate::words::addr::{NR_ORDERS, PAGE_SIZE};
use crate::words::error::{AllocError, Impossible, Shortage};
use crate::words::gfp::{GFP_ATOMIC, GFP_KERNEL, GFP_NOWAIT};
use std::vec::Vec;

/// A page allocator of `nr_frames` frames with an empty reserve unless `min_free` says so.
pub(crate) fn boot(nr_frames: u32, min_free: u32, seed: u32) -> PageAllocator<TestMemory> {
    let params = BootParams { min_free_pages: min_free, shuffle: seed, ..BootParams::default() };
    boot_with(nr_frames, &params)
}

/// A page allocator of `nr_frames` frames, the first of which hold their descriptors.
pub(crate) fn boot_with(nr_frames: u32, params: &BootParams) -> PageAllocator<TestMemory> {
    let mut memory = TestMemory::new(nr_frames, 0);
    let map = MemMap::clear(&mut memory, Paddr(0), nr_frames);
    let first = (u64::from(nr_frames) * FRAME_BYTES).div_ceil(PAGE_SIZE) as u32;
    let run = (Pfn(first), Pfn(nr_frames));
    PageAllocator::boot(memory, map, [run].into_iter(), params)
}

#[test]
fn a_node_is_a_wish_and_no_block_reaches_beyond_it() {
    // The borders of the nodes are at 80 frames, where an order of 6 would cross them.
    let mut pages = boot_with(240, &BootParams { nr_nodes: 3, ..BootParams::default() });
    let before = pages.nr_free_blocks();
    let mut held = Vec::new();
    pages.node = Some(1);
    while let Ok(pfn) = pages.alloc_pages(GFP_KERNEL | __GFP_THISNODE, 0) {
        assert_eq!(pages.node_of(pfn), 1);
        held.push(pfn);
    }
    assert_eq!(held.len(), 80);
    held.push(pages.alloc_pages(GFP_KERNEL, 0).unwrap());
    assert_eq!(held.last().map(|pfn| pages.node_of(*pfn)), Some(2));
    pages.check().unwrap();
    held.into_iter().for_each(|pfn| pages.free_block(pfn));
    assert_eq!(pages.nr_free_blocks(), before);
    pages.check().unwrap();
}

#[test]
fn alloc_and_free_restores_the_free_lists() {
    let mut pages = boot(2048, 0, 1);
    let before = pages.nr_free_blocks();
    for order in 0..NR_ORDERS as u32 - 1 {
        let pfn = pages.alloc_pages(GFP_KERNEL, order).unwrap();
        assert_eq!(pfn.0 % (1 << order), 0);
        pages.free_block(pfn);
        assert_eq!(pages.nr_free_blocks(), before);
    }
}

#[test]
fn watermarks_stop_each_kind_of_request_in_turn() {
    let mut pages = boot(256, 80, 0);
    let rows = [
        (GFP_NOWAIT, 80),
        (GFP_KERNEL | __GFP_HIGH, 40),
        (GFP_ATOMIC, 30),
        (GFP_NOWAIT | __GFP_MEMALLOC, 0),
    ];
    for (gfp, left) in rows {
        while pages.alloc_pages(gfp, 0).is_ok() {}
        assert_eq!(pages.nr_free_pages(), left, "{gfp:x?}");
    }
}

#[test]
fn nofail_takes_half_of_the_reserve_and_then_waits() {
    let mut pages = boot(256, 80, 0);
    while pages.alloc_pages(GFP_KERNEL, 0).is_ok() {}
    let nofail = GFP_KERNEL | __GFP_NOFAIL;
    let error = loop {
        if let Err(error) = pages.alloc_pages(nofail, 0) {
            break error;
        }
    };
    assert_eq!(error, AllocError::WouldBlock(Shortage::Pages { order: 0 }));
    assert_eq!(pages.nr_free_pages(), 40);
}

#[test]
fn impossible_requests_are_refused_by_name() {
    let mut pages = boot(64, 0, 0);
    let never = AllocError::ImpossibleNofail;
    let rows = [
        (GFP_KERNEL, AllocError::TooLarge),
        (GFP_KERNEL | __GFP_NOFAIL, never(Impossible::TooLarge)),
        (GFP_NOWAIT | __GFP_NOFAIL, never(Impossible::NonBlocking)),
    ];
    for (gfp, error) in rows {
        assert_eq!(pages.alloc_pages(gfp, 11), Err(error));
    }
}

#[test]
fn a_shuffled_machine_scatters_pages() {
    let mut pages = boot(2048, 0, 0x1234_5678);
    let taken: Vec<Pfn> = (0..64).map(|_| pages.alloc_pages(GFP_KERNEL, 0).unwrap()).collect();
    assert!(taken.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).count() > 32);
}

#[test]
fn a_random_walk_ends_fully_coalesced() {
    let mut pages = boot(1024, 16, 7);
    let (before, mut live) = (pages.nr_free_blocks(), Vec::new());
    let mut random = TestRandom(42);
    for _ in 0..5000 {
        if random.below(2) == 0 {
            live.extend(pages.alloc_pages(GFP_KERNEL, random.below(6) as u32));
        } else if !live.is_empty() {
            let pfn = live.swap_remove(random.below(live.len() as u64) as usize);
            pages.free_block(pfn);
        }
        pages.check().unwrap();
    }
    live.drain(..).for_each(|pfn| pages.free_block(pfn));
    assert_eq!(pages.nr_free_blocks(), before);
}
