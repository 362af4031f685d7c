//! A heap under kvroute: a list of holes whose links lie in the holes themselves.
//!
//! It is what an author brings: a heap, its `impl Heap`, and a `main` of one line. The heap is
//! right; `hosted/tests/heaps.rs` runs it with faults, each of which is found.
//!
//! ```sh
//! cargo run --release --package kvroute-hosted --example list_heap -- \
//!     run list-heap --seconds 10
//! ```

#![expect(unsafe_code, reason = "a heap is about raw memory")]

use kvroute_hosted::heap::{Growth, Heap};
use std::alloc::Layout;
use std::ptr::{self, NonNull};

/// What a hole begins with. It is as large and as aligned as the smallest block.
#[repr(C, align(16))]
struct Hole {
    size: usize,
    next: *mut Hole,
}

const UNIT: usize = size_of::<Hole>();

/// Holes in the order of their addresses, no two of which touch.
pub(crate) struct ListHeap {
    first: *mut Hole,
    used: usize,
}

/// The bytes of a block, or none if they do not fit an address space.
fn rounded(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(UNIT)
}

impl ListHeap {
    /// Adds the whole units of some bytes as a hole.
    ///
    /// # Safety
    /// The bytes are the heap's, and nobody uses them.
    unsafe fn add(&mut self, start: usize, end: usize) {
        let (start, end) = (start.next_multiple_of(UNIT), end / UNIT * UNIT);
        if start >= end {
            return;
        }
        let mut before = ptr::null_mut::<Hole>();
        let mut after = self.first;
        // SAFETY: the list holds holes only, which are the heap's.
        unsafe {
            while !after.is_null() && (after as usize) < start {
                (before, after) = (after, (*after).next);
            }
            let hole = start as *mut Hole;
            hole.write(Hole { size: end - start, next: after });
            if end == after as usize {
                (*hole).size += (*after).size;
                (*hole).next = (*after).next;
            }
            if before.is_null() {
                self.first = hole;
            } else if before as usize + (*before).size == start {
                (*before).size += (*hole).size;
                (*before).next = (*hole).next;
            } else {
                (*before).next = hole;
            }
        }
    }

    /// Takes the first hole that has room out of the list: its start, the block's, and its end.
    fn take(&mut self, size: usize, align: usize) -> Option<(usize, usize, usize)> {
        let mut link = &raw mut self.first;
        // SAFETY: as in `add`.
        unsafe {
            while !(*link).is_null() {
                let hole = *link;
                let (start, end) = (hole as usize, hole as usize + (*hole).size);
                let block = start.checked_next_multiple_of(align)?;
                if block.checked_add(size).is_some_and(|block_end| block_end <= end) {
                    *link = (*hole).next;
                    return Some((start, block, end));
                }
                link = &raw mut (*hole).next;
            }
        }
        None
    }
}

impl Heap for ListHeap {
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;
    const USED_BYTES: bool = true;
    const GROWTH: Growth = Growth::ByRegions;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let mut heap = Self { first: ptr::null_mut(), used: 0 };
        // SAFETY: the region is the heap's.
        unsafe { heap.extend(region) };
        Some(heap)
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let (size, align) = (rounded(layout.size())?, layout.align().max(UNIT));
        let (start, block, end) = self.take(size, align)?;
        // SAFETY: what is before and behind the block was a part of the hole.
        unsafe {
            self.add(start, block);
            self.add(block + size, end);
        }
        self.used += size;
        NonNull::new(block as *mut u8)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let Some(size) = rounded(layout.size()) else { return };
        let start = ptr.as_ptr() as usize;
        self.used -= size;
        // SAFETY: the caller gives the block back.
        unsafe { self.add(start, start + size) };
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        let new = Layout::from_size_align(new_size, layout.align()).ok()?;
        let moved = self.alloc(new)?;
        // SAFETY: both blocks are live, and the caller gives the old one back.
        unsafe {
            ptr.copy_to_nonoverlapping(moved, layout.size().min(new_size));
            self.dealloc(ptr, layout);
        }
        Some(moved)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.alloc(layout)?;
        // SAFETY: the block has as many bytes.
        unsafe { block.write_bytes(0, layout.size()) };
        Some(block)
    }

    fn used_bytes(&self) -> usize {
        self.used
    }

    unsafe fn extend(&mut self, piece: NonNull<[u8]>) {
        let start = piece.as_ptr().cast::<u8>() as usize;
        // SAFETY: the piece is the heap's from now on.
        unsafe { self.add(start, start + piece.len()) };
    }
}

kvroute_hosted::heap_campaign!(LIST_HEAP = "list-heap"[ListHeap]);

fn main() -> std::process::ExitCode {
    static CAMPAIGNS: [&kvroute_hosted::harness::Campaign; 1] = [&LIST_HEAP];
    kvroute_hosted::harness::cli::main(&CAMPAIGNS)
}
