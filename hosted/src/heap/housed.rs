//! A heap in its memory, from its boot to its end.
//!
//! It is asked nothing here.

#![expect(unsafe_code, reason = "a heap is booted on raw memory")]

use super::arena::{Arena, PAGE, Wear};
use super::contract::Heap;
use kvroute_harness::trace::Machine;
use std::ops::Range;

/// A heap, and the memory that it was given.
pub(super) struct Housed<H> {
    /// None if it could do nothing with its region; and it is dropped before its memory goes.
    heap: Option<H>,
    /// Present until all is dropped.
    arena: Option<Arena>,
    /// The first region.
    pub(super) region: Range<usize>,
    /// How many bytes the machine has.
    pub(super) nr_bytes: usize,
    wear: Wear,
}

impl<H: Heap> Housed<H> {
    /// Boots a heap on the memory of a machine, which it will use as much as is said.
    ///
    /// # Errors
    /// If the host has no memory.
    pub(super) fn boot(machine: &Machine, wear: Wear) -> Result<Self, String> {
        let offset = machine.region_offset as usize;
        let nr_bytes = machine.frames as usize * PAGE;
        let nr_first = match machine.region_bytes as usize {
            0 => nr_bytes - offset,
            some => some.min(nr_bytes - offset),
        };
        let mut arena = Arena::fresh(nr_bytes)?;
        arena.skip(offset);
        let piece = arena.give(nr_first).ok_or("the host has no pages for the region")?;
        let start = piece.as_ptr().cast::<u8>() as usize;
        // SAFETY: nobody else was given the region, and the arena outlives the heap.
        let heap = unsafe { H::boot(piece) };
        Ok(Self { heap, arena: Some(arena), region: start..start + nr_first, nr_bytes, wear })
    }
}

impl<H> Housed<H> {
    pub(super) fn heap(&self) -> Option<&H> {
        self.heap.as_ref()
    }

    pub(super) fn heap_mut(&mut self) -> Option<&mut H> {
        self.heap.as_mut()
    }

    pub(super) fn arena(&self) -> &Arena {
        self.arena.as_ref().expect("present until dropped")
    }

    pub(super) fn arena_mut(&mut self) -> &mut Arena {
        self.arena.as_mut().expect("present until dropped")
    }

    /// The heap, if there is one, and its memory.
    pub(super) fn both(&mut self) -> (Option<&mut H>, &mut Arena) {
        (self.heap.as_mut(), self.arena.as_mut().expect("present until dropped"))
    }
}

impl<H> Drop for Housed<H> {
    fn drop(&mut self) {
        // A heap may look at its memory once more.
        self.heap = None;
        if let Some(arena) = self.arena.take() {
            arena.keep(self.wear);
        }
    }
}
