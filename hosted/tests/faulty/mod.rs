//! The heap of the examples, with one line too many: each fault, and the oracle that must object.

#![expect(unsafe_code, reason = "a heap is about raw memory")]

#[expect(dead_code, reason = "its main is the example's")]
#[path = "../../examples/list_heap.rs"]
pub(crate) mod list_heap;

use kvroute_hosted::heap::{GivesBack, Growth, Heap};
use list_heap::ListHeap;
use std::alloc::Layout;
use std::ptr::NonNull;

/// What a faulty heap does wrong.
pub(crate) mod fault {
    pub(crate) const LOSES_PADDING: u8 = 0;
    pub(crate) const WRITES_BEHIND_A_PIECE: u8 = 1;
    pub(crate) const FORGETS_TO_COPY: u8 = 2;
    pub(crate) const COPIES_A_BYTE_LESS: u8 = 3;
    pub(crate) const CLEARS_A_BYTE_LESS: u8 = 4;
    pub(crate) const IGNORES_LARGE_ALIGNMENTS: u8 = 5;
    pub(crate) const GIVES_TWICE: u8 = 6;
    pub(crate) const ANSWERS_OUTSIDE: u8 = 7;
    pub(crate) const KEEPS_A_HEADER_IN_THE_BLOCK: u8 = 8;
    pub(crate) const CLAIMS_MORE: u8 = 9;
    pub(crate) const COUNTS_NO_FREE: u8 = 10;
    pub(crate) const LOSES_WHAT_IS_FREED: u8 = 11;
    pub(crate) const WRITES_FAR_BEHIND_ITS_REGION: u8 = 12;
    pub(crate) const SPOILS_WHAT_IT_CANNOT_MOVE: u8 = 13;
    pub(crate) const PANICS_AT_A_SIZE: u8 = 14;
}
use fault::*;

/// A right heap that refuses before it is full: it has room in its table for four blocks.
#[allow(dead_code, reason = "one of the test programs has no use for it")]
pub(crate) struct Four {
    heap: ListHeap,
    nr_live: usize,
}

impl Heap for Four {
    const GIVES_BACK: GivesBack = GivesBack::All;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        // SAFETY: the region is the heap's.
        let heap = unsafe { ListHeap::boot(region) }?;
        Some(Self { heap, nr_live: 0 })
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if self.nr_live == 4 {
            return None;
        }
        let block = self.heap.alloc(layout)?;
        self.nr_live += 1;
        Some(block)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        self.nr_live -= 1;
        // SAFETY: the caller gives the block back.
        unsafe { self.heap.dealloc(ptr, layout) };
    }
}

/// The heap of the example, with a fault.
pub(crate) struct Faulty<const FAULT: u8> {
    right: ListHeap,
    last: Option<NonNull<u8>>,
    nr_unfreed: usize,
    nr_lost: usize,
}

impl<const FAULT: u8> Heap for Faulty<FAULT> {
    const GIVES_BACK: GivesBack = match FAULT {
        LOSES_WHAT_IS_FREED => GivesBack::ForLater,
        _ => GivesBack::All,
    };
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;
    const USABLE_SIZE: bool = true;
    const USED_BYTES: bool = true;
    const GROWTH: Growth = match FAULT {
        WRITES_FAR_BEHIND_ITS_REGION => Growth::Never,
        _ => Growth::ByRegions,
    };

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        if FAULT == WRITES_FAR_BEHIND_ITS_REGION {
            // SAFETY: none: it is not the heap's.
            unsafe { region.cast::<u8>().add(region.len() + 0x400).write(1) };
        }
        // SAFETY: the region is the heap's.
        let right = unsafe { ListHeap::boot(region) }?;
        Some(Self { right, last: None, nr_unfreed: 0, nr_lost: 0 })
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let is_large = layout.align() > 4096;
        assert!(FAULT != PANICS_AT_A_SIZE || layout.size() != 0x801, "an odd size");
        let asked = match FAULT {
            IGNORES_LARGE_ALIGNMENTS if is_large => {
                Layout::from_size_align(layout.size(), 64).ok()?
            }
            _ => layout,
        };
        let block = self.right.alloc(asked)?;
        if FAULT == GIVES_TWICE && layout.size() == 64 {
            return Some(*self.last.get_or_insert(block));
        }
        if FAULT == ANSWERS_OUTSIDE && layout.size() == 64 {
            return NonNull::new(0x40 as *mut u8);
        }
        if FAULT == KEEPS_A_HEADER_IN_THE_BLOCK {
            self.last = Some(block);
        }
        Some(block)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if FAULT == KEEPS_A_HEADER_IN_THE_BLOCK
            && let Some(last) = self.last.take().filter(|last| *last != ptr)
        {
            // SAFETY: the block has a byte, and is the harness'.
            unsafe { last.write(last.read() ^ 1) };
        }
        let is_lost = match FAULT {
            LOSES_PADDING => layout.size() % 16 == 1,
            LOSES_WHAT_IS_FREED => true,
            _ => false,
        };
        if is_lost {
            self.nr_lost += layout.size().next_multiple_of(16);
            return;
        }
        if FAULT == COUNTS_NO_FREE {
            self.nr_unfreed += 1;
        }
        // SAFETY: as the caller promises.
        unsafe { self.right.dealloc(ptr, layout) };
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        let nr_kept = match FAULT {
            FORGETS_TO_COPY => 0,
            COPIES_A_BYTE_LESS => layout.size().min(new_size) - 1,
            _ => layout.size().min(new_size),
        };
        let moved = self.right.alloc(Layout::from_size_align(new_size, layout.align()).ok()?);
        if FAULT == SPOILS_WHAT_IT_CANNOT_MOVE && moved.is_none() {
            // SAFETY: the block has a byte, and is the harness'.
            unsafe { ptr.write(ptr.read() ^ 1) };
        }
        let moved = moved?;
        // SAFETY: both blocks are live, and the caller gives the old one back.
        unsafe {
            ptr.copy_to_nonoverlapping(moved, nr_kept);
            self.right.dealloc(ptr, layout);
        }
        Some(moved)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.right.alloc(layout)?;
        let nr_cleared = layout.size() - usize::from(FAULT == CLEARS_A_BYTE_LESS);
        // SAFETY: the block has as many bytes.
        unsafe { block.write_bytes(0, nr_cleared) };
        Some(block)
    }

    fn usable_size(&self, _ptr: NonNull<u8>, layout: Layout) -> usize {
        let claimed = if FAULT == CLAIMS_MORE && layout.size() < 0x1000 { 16 } else { 0 };
        layout.size().next_multiple_of(16) + claimed
    }

    fn used_bytes(&self) -> usize {
        self.right.used_bytes() + self.nr_unfreed - self.nr_lost
    }

    unsafe fn extend(&mut self, piece: NonNull<[u8]>) {
        if FAULT == WRITES_BEHIND_A_PIECE && piece.len() < 16 {
            // SAFETY: none: it writes a header where there is no room for one.
            unsafe { piece.cast::<[u8; 16]>().write_unaligned([1; 16]) };
        }
        // SAFETY: as the caller promises.
        unsafe { self.right.extend(piece) };
    }
}

/// Every fault: its name, a campaign of the heap that has it, and the oracle that must object.
macro_rules! faulty_heaps {
    () => { faulty_heaps![
        LOSES_PADDING by "drain",
        WRITES_BEHIND_A_PIECE by "bounds",
        FORGETS_TO_COPY by "promise",
        COPIES_A_BYTE_LESS by "promise",
        CLEARS_A_BYTE_LESS by "contents",
        IGNORES_LARGE_ALIGNMENTS by "promise",
        GIVES_TWICE by "overlap",
        ANSWERS_OUTSIDE by "promise",
        KEEPS_A_HEADER_IN_THE_BLOCK by "contents",
        CLAIMS_MORE by "overlap",
        COUNTS_NO_FREE by "structure",
        LOSES_WHAT_IS_FREED by "rounds",
        WRITES_FAR_BEHIND_ITS_REGION by "bounds",
        SPOILS_WHAT_IT_CANNOT_MOVE by "contents",
        PANICS_AT_A_SIZE by "panic",
    ] };
    ($($fault:ident by $oracle:literal),* $(,)?) => { [$({
        kvroute_hosted::heap_campaign!(FAULTY = "faulty" [faulty::Faulty<{ faulty::fault::$fault }>]);
        (stringify!($fault), &FAULTY, $oracle)
    }),*] };
}
