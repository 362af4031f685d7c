//! `bumpalo`: an arena that takes nothing back until it is dropped.

use allocator_api2::alloc::Allocator;
use kvroute_hosted::heap::{GivesBack, Heap, Home};
use std::alloc::Layout;
use std::ptr::NonNull;

/// The arena, through `allocator-api2`.
pub struct Bumpalo(bumpalo::Bump);

impl Heap for Bumpalo {
    // SAFETY: its chunks are the system's until it is dropped.
    const HOME: Home = unsafe { Home::system() };
    const GIVES_BACK: GivesBack = GivesBack::Nothing;
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;

    unsafe fn boot(_region: NonNull<[u8]>) -> Option<Self> {
        Some(Self(bumpalo::Bump::new()))
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        (&self.0).allocate(layout).ok().map(NonNull::cast)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { (&self.0).deallocate(ptr, layout) };
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
            true => unsafe { (&self.0).grow(ptr, layout, new) },
            // SAFETY: as the caller promises, and the new layout is no larger.
            false => unsafe { (&self.0).shrink(ptr, layout, new) },
        };
        resized.ok().map(NonNull::cast)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        (&self.0).allocate_zeroed(layout).ok().map(NonNull::cast)
    }
}
