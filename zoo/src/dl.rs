//! `dlmalloc` over one region: it asks its system once, and is given all of it.

use dlmalloc::{Allocator, Dlmalloc};
use kvroute_hosted::heap::Heap;
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

const PAGE: usize = 4096;
/// A piece of memory that is neither given back nor merged with another.
const EXTERN: u32 = 1;

/// Whole pages of the region, until they are asked for.
pub struct Region(Cell<Option<(usize, usize)>>);

// SAFETY: it has one piece, gives it once, and takes nothing back.
unsafe impl Allocator for Region {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        match self.0.get() {
            Some((start, len)) if len >= size => {
                self.0.set(None);
                (start as *mut u8, len, EXTERN)
            }
            _ => (null_mut(), 0, 0),
        }
    }

    fn remap(&self, _ptr: *mut u8, _old: usize, _new: usize, _can_move: bool) -> *mut u8 {
        null_mut()
    }

    fn free_part(&self, _ptr: *mut u8, _old: usize, _new: usize) -> bool {
        false
    }

    fn free(&self, _ptr: *mut u8, _size: usize) -> bool {
        false
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}

/// The heap.
pub struct Dl(Dlmalloc<Region>);

impl Heap for Dl {
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let start = region.as_ptr().cast::<u8>() as usize;
        let (first, end) = (start.next_multiple_of(PAGE), (start + region.len()) / PAGE * PAGE);
        let pages = (first < end).then(|| (first, end - first));
        let mut heap = Self(Dlmalloc::new_with_allocator(Region(Cell::new(pages))));
        // It asks for 64 KiB at least, and would not find the region for a later, larger request.
        heap.0.set_granularity(PAGE);
        Some(heap)
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: any size and alignment may be asked for.
        NonNull::new(unsafe { self.0.malloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.free(ptr.as_ptr(), layout.size(), layout.align()) };
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as the caller promises.
        NonNull::new(unsafe { self.0.realloc(ptr.as_ptr(), size, align, new_size) })
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: any size and alignment may be asked for.
        NonNull::new(unsafe { self.0.calloc(layout.size(), layout.align()) })
    }
}
