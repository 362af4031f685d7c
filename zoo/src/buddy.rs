//! `buddy_system_allocator`: a heap, and an allocator of frames.

use kvroute_hosted::heap::{FrameAllocator, Growth};
use std::alloc::Layout;
use std::ops::Range;
use std::ptr::NonNull;

/// The heap.
pub struct Heap(buddy_system_allocator::Heap<32>);

impl kvroute_hosted::heap::Heap for Heap {
    const GROWTH: Growth = Growth::ByRegions;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let mut heap = Self(buddy_system_allocator::Heap::empty());
        // SAFETY: as the caller promises.
        unsafe { heap.extend(region) };
        Some(heap)
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.alloc(layout).ok()
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(ptr, layout) };
    }

    unsafe fn extend(&mut self, piece: NonNull<[u8]>) {
        let start = piece.as_ptr().cast::<u8>() as usize;
        // It asserts that there is a whole word.
        if piece.len() >= 2 * size_of::<usize>() {
            // SAFETY: the piece is the heap's for its life.
            unsafe { self.0.add_to_heap(start, start + piece.len()) };
        }
    }
}

macro_rules! frames {
    ($(#[$doc:meta])* $name:ident $inner:ty) => {
        $(#[$doc])*
        pub struct $name($inner);

        impl FrameAllocator for $name {
            const ADDS: bool = true;

            fn boot(frames: Range<usize>) -> Option<Self> {
                let mut allocator = Self(<$inner>::new());
                allocator.add(frames);
                Some(allocator)
            }

            fn alloc(&mut self, count: usize, _align: usize) -> Option<usize> {
                self.0.alloc(count)
            }

            fn dealloc(&mut self, first: usize, count: usize) {
                self.0.dealloc(first, count);
            }

            fn add(&mut self, frames: Range<usize>) {
                self.0.insert(frames);
            }
        }
    };
}

frames!(
    /// 0.6.
    Frames0_6 buddy_0_6::FrameAllocator
);
frames!(
    /// 0.7.
    Frames0_7 buddy_0_7::FrameAllocator
);
frames!(
    /// The latest.
    Frames buddy_system_allocator::FrameAllocator<33>
);
