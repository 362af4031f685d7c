//! Heaps of one region: `good_memory_allocator` and `buddy-alloc`.

use buddy_alloc::{BuddyAllocParam, FastAllocParam, NonThreadsafeAlloc};
use good_memory_allocator::{
    Allocator, DEFAULT_ALIGNMENT_SUB_BINS_AMOUNT, DEFAULT_SMALLBINS_AMOUNT,
};
use kvroute_hosted::heap::{GivesBack, Heap};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

/// A region may be smaller than what they need for themselves, at which they panic, as documented.
const LEAST_BYTES: usize = 64 << 10;

/// `good_memory_allocator`, which must not move.
pub struct Good(Box<Allocator<DEFAULT_SMALLBINS_AMOUNT, DEFAULT_ALIGNMENT_SUB_BINS_AMOUNT>>);

impl Heap for Good {
    const REALLOC: bool = true;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        if region.len() < LEAST_BYTES {
            return None;
        }
        let mut heap = Box::new(Allocator::empty());
        // SAFETY: the region is the heap's for its life.
        unsafe { heap.init(region.as_ptr().cast::<u8>() as usize, region.len()) };
        Some(Self(heap))
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a byte.
        NonNull::new(unsafe { self.0.alloc(layout) })
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, _layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(ptr.as_ptr()) };
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: as the caller promises.
        NonNull::new(unsafe { self.0.realloc(ptr.as_ptr(), layout, new_size) })
    }
}

/// `buddy-alloc`: blocks of 64 bytes in the first 16 KiB, buddies in the rest.
pub struct Buddies(NonThreadsafeAlloc);

/// The bytes of the fast part.
const FAST_BYTES: usize = 16 << 10;

impl Heap for Buddies {
    // Its free blocks of 64 bytes are all alike, and its buddies merge.
    const GIVES_BACK: GivesBack = GivesBack::All;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let start = region.as_ptr().cast::<u8>();
        let start = start.wrapping_add(start.align_offset(64));
        let end = region.as_ptr().cast::<u8>() as usize + region.len();
        let nr_bytes = end.checked_sub(start as usize).filter(|all| *all >= LEAST_BYTES)?;
        let buddies = start.wrapping_add(FAST_BYTES);
        Some(Self(NonThreadsafeAlloc::new(
            FastAllocParam::new(start, FAST_BYTES),
            BuddyAllocParam::new(buddies, nr_bytes - FAST_BYTES, 64),
        )))
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a byte.
        NonNull::new(unsafe { self.0.alloc(layout) })
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(ptr.as_ptr(), layout) };
    }
}
