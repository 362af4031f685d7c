//! `talc`: bins over one heap, grown at its end.

use kvroute_hosted::heap::{Growth, Heap};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;
use talc::TalcCell;
use talc::source::Manual;

/// A cell, which knows how to reallocate.
pub struct Cell {
    talc: TalcCell<Manual>,
    end: NonNull<u8>,
}

impl Heap for Cell {
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;
    const GROWTH: Growth = Growth::AtItsEnd;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let talc = TalcCell::new(Manual);
        // SAFETY: the region is the heap's for its life.
        let end = unsafe { talc.claim(region.as_ptr().cast(), region.len()) }?;
        Some(Self { talc, end })
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a byte.
        NonNull::new(unsafe { self.talc.alloc(layout) })
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.talc.dealloc(ptr.as_ptr(), layout) };
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: as the caller promises.
        NonNull::new(unsafe { self.talc.realloc(ptr.as_ptr(), layout, new_size) })
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a byte.
        NonNull::new(unsafe { self.talc.alloc_zeroed(layout) })
    }

    unsafe fn extend(&mut self, piece: NonNull<[u8]>) {
        let end = piece.as_ptr().cast::<u8>().wrapping_add(piece.len());
        // SAFETY: the piece lies right behind what was claimed.
        self.end = unsafe { self.talc.extend(self.end, end) };
    }
}
