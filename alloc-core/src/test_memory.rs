//! A machine for unit tests: frames in a `Vec`, page tables in a `Vec`.
//!
//! It asserts every obligation of the `Memory` contract, so that each unit test checks the
//! allocator's use of the machine as well. It is compiled for tests only.

extern crate std;

use crate::memory::{MapError, Memory};
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
use std::cell::Cell;
use std::vec;
use std::vec::Vec;

/// Frames, page tables, a budget of mappings, and a count of loads.
#[derive(Clone)]
pub(crate) struct TestMemory {
    words: Vec<u64>,
    table: Vec<u32>,
    /// How many more mappings the page tables take.
    pub(crate) nr_mappings_left: u32,
    /// How many words have been read.
    pub(crate) nr_loads: Cell<u64>,
}

impl TestMemory {
    /// A machine whose memory starts as garbage.
    pub(crate) fn new(nr_frames: u32, nr_vmalloc_pages: u64) -> Self {
        Self {
            words: vec![0xdead_beef_dead_beef; nr_frames as usize * 512],
            table: vec![u32::MAX; nr_vmalloc_pages as usize],
            nr_mappings_left: u32::MAX,
            nr_loads: Cell::new(0),
        }
    }

    /// Makes the vmalloc space, not in use yet, this large.
    pub(crate) fn set_nr_vmalloc_pages(&mut self, nr_pages: u64) {
        self.table = vec![u32::MAX; nr_pages as usize];
    }

    fn slot(&self, page: Vaddr) -> usize {
        assert!(page.is_page_aligned() && page.0 >= VMALLOC_START);
        let slot = ((page.0 - VMALLOC_START) >> PAGE_SHIFT) as usize;
        assert!(slot < self.table.len());
        slot
    }
}

impl Memory for TestMemory {
    fn nr_frames(&self) -> u32 {
        (self.words.len() / 512) as u32
    }

    fn nr_vmalloc_pages(&self) -> u64 {
        self.table.len() as u64
    }

    fn load(&self, at: Paddr) -> u64 {
        assert_eq!(at.0 % 8, 0);
        self.nr_loads.set(self.nr_loads.get() + 1);
        self.words[(at.0 / 8) as usize]
    }

    fn store(&mut self, at: Paddr, word: u64) {
        assert_eq!(at.0 % 8, 0);
        self.words[(at.0 / 8) as usize] = word;
    }

    fn zero(&mut self, at: Paddr, nr_bytes: u64) {
        assert_eq!((at.0 % 8, nr_bytes % 8), (0, 0));
        self.words[(at.0 / 8) as usize..((at.0 + nr_bytes) / 8) as usize].fill(0);
    }

    fn map(&mut self, page: Vaddr, frame: Pfn) -> Result<(), MapError> {
        let slot = self.slot(page);
        assert!(self.table[slot] == u32::MAX && frame.0 < self.nr_frames());
        self.nr_mappings_left = self.nr_mappings_left.checked_sub(1).ok_or(MapError)?;
        self.table[slot] = frame.0;
        Ok(())
    }

    fn unmap(&mut self, page: Vaddr) {
        let slot = self.slot(page);
        assert_ne!(self.table[slot], u32::MAX);
        self.table[slot] = u32::MAX;
    }

    fn translate(&self, page: Vaddr) -> Option<Pfn> {
        let frame = self.table[self.slot(page)];
        (frame != u32::MAX).then_some(Pfn(frame))
    }

    fn flush(&mut self, start: Vaddr, end: Vaddr) {
        assert!(start < end && (end.0 - VMALLOC_START) / PAGE_SIZE <= self.table.len() as u64);
    }
}

/// A small generator for stress tests (xorshift).
pub(crate) struct TestRandom(pub(crate) u64);

impl TestRandom {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
