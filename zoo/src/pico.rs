//! `picoalloc` over one region, whose sizes are units of 32 bytes.

use kvroute_hosted::heap::Heap;
use picoalloc::{Allocator, Env, Size};
use std::alloc::Layout;
use std::ptr::NonNull;

const UNIT: usize = 32;

/// Whole units of the region.
struct Region {
    start: usize,
    size: Size,
}

impl Env for Region {
    fn total_space(&self) -> Size {
        self.size
    }

    unsafe fn allocate_address_space(&mut self) -> *mut u8 {
        self.start as *mut u8
    }

    unsafe fn expand_memory_until(&mut self, _base: *mut u8, size: Size) -> bool {
        size <= self.size
    }

    unsafe fn free_address_space(&mut self, _base: *mut u8) {}
}

/// The heap.
pub struct Pico(Allocator<Region>);

fn units(nr_bytes: usize) -> Option<Size> {
    Size::from_bytes_usize(nr_bytes)
}

impl Heap for Pico {
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;
    const USABLE_SIZE: bool = true;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let start = region.as_ptr().cast::<u8>() as usize;
        let (first, end) = (start.next_multiple_of(UNIT), (start + region.len()) / UNIT * UNIT);
        // What it makes of less than a header is not said.
        let nr_bytes = end.checked_sub(first).filter(|nr_bytes| *nr_bytes >= 4 * UNIT)?;
        Some(Self(Allocator::new(Region { start: first, size: units(nr_bytes)? })))
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.alloc(units(layout.align())?, units(layout.size())?)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, _layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.free(ptr) };
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        let (align, size) = (units(layout.align())?, units(new_size)?);
        // SAFETY: as the caller promises.
        unsafe { self.0.realloc(ptr, align, size) }
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.alloc_zeroed(units(layout.align())?, units(layout.size())?)
    }

    fn usable_size(&self, ptr: NonNull<u8>, _layout: Layout) -> usize {
        // SAFETY: it is live.
        unsafe { Allocator::<Region>::usable_size(ptr) }
    }
}
