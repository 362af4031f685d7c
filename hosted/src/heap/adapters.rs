//! Ready adapters: whatever implements a standard trait is a heap.
//!
//! What such an allocator keeps between two traces is its own business; one that starts afresh with
//! each value makes every trace repeatable.

#![expect(unsafe_code, reason = "it calls allocators, whose promises are about raw memory")]

use super::contract::{GivesBack, Heap, Home};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

/// A heap made of a global allocator that finds its memory by itself.
#[derive(Default)]
pub struct OfGlobal<G>(G);

impl<G: GlobalAlloc + Default> Heap for OfGlobal<G> {
    // SAFETY: whoever implements `GlobalAlloc` promises that.
    const HOME: Home = unsafe { Home::system() };
    const GIVES_BACK: GivesBack = GivesBack::ForLater;
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;

    unsafe fn boot(_region: NonNull<[u8]>) -> Option<Self> {
        Some(Self::default())
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the harness asks for at least one byte.
        NonNull::new(unsafe { self.0.alloc(layout) })
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(ptr.as_ptr(), layout) }
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

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the harness asks for at least one byte.
        NonNull::new(unsafe { self.0.alloc_zeroed(layout) })
    }
}

/// A heap made of an allocator in the sense of `allocator-api2` that finds its memory by itself.
#[cfg(feature = "allocator-api2")]
#[derive(Default)]
pub struct OfAllocator<A>(A);

#[cfg(feature = "allocator-api2")]
impl<A: allocator_api2::alloc::Allocator + Default> Heap for OfAllocator<A> {
    // SAFETY: whoever implements `Allocator` promises that.
    const HOME: Home = unsafe { Home::system() };
    const GIVES_BACK: GivesBack = GivesBack::ForLater;
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;

    unsafe fn boot(_region: NonNull<[u8]>) -> Option<Self> {
        Some(Self::default())
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.allocate(layout).ok().map(NonNull::cast)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.deallocate(ptr, layout) }
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        let new = Layout::from_size_align(new_size, layout.align()).ok()?;
        let resized = match new_size >= layout.size() {
            // SAFETY: as the caller promises, and the new layout is no smaller.
            true => unsafe { self.0.grow(ptr, layout, new) },
            // SAFETY: as the caller promises, and the new layout is no larger.
            false => unsafe { self.0.shrink(ptr, layout, new) },
        };
        resized.ok().map(NonNull::cast)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.allocate_zeroed(layout).ok().map(NonNull::cast)
    }
}
