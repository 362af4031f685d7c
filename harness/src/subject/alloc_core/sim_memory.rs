//! A simulated machine: page frames, one page table, and a TLB that remembers what was not
//! flushed.
//!
//! The one idea: everything a program could see is deterministic. Memory that nobody has written
//! holds [`POISON`], never zero, so that a missing `__GFP_ZERO` shows on the first use of a frame;
//! an access to an unmapped page finds nothing. What the frames hold is kept by `frames`.
//!
//! It does not know which frames are allocated. Times and caches are not simulated.

use super::frames::Frames;
use super::machine::Machine;
use alloc_core::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
use alloc_core::memory::{MapError, Memory};
use std::cell::RefCell;

pub use super::frames::POISON;

/// A page-table entry: empty, a mapping, or an unmapped page whose translation may still be cached.
const EMPTY: u32 = 0;
const STALE: u32 = u32::MAX;

thread_local! {
    /// Machines of traces that have ended, for the next ones.
    static MACHINES: RefCell<Vec<SimMemory>> = const { RefCell::new(Vec::new()) };
}

/// For each machine that is kept for the next traces: the frames whose bytes it keeps. They are
/// kept no longer.
#[cfg(test)]
pub(crate) fn take_frames_kept() -> Vec<u64> {
    let machines = MACHINES.take();
    machines.iter().map(|machine| machine.nr_frames_kept() as u64).collect()
}

/// The simulated machine.
#[derive(Default)]
pub(crate) struct SimMemory {
    nr_vmalloc_pages: u32,
    frames: Frames,
    /// Entry `n` belongs to the n-th page of the vmalloc space: `pfn + 1`, `EMPTY` or `STALE`.
    page_table: Vec<u32>,
    /// One past the highest entry ever used since the last reset.
    nr_entries_used: usize,
    fault: Option<&'static str>,
}

impl SimMemory {
    /// A fresh machine of the given size.
    pub(super) fn fresh(nr_frames: u32, nr_vmalloc_pages: u32) -> Self {
        let mut memory = MACHINES.with_borrow_mut(Vec::pop).unwrap_or_default();
        memory.reset(nr_frames, nr_vmalloc_pages);
        memory
    }

    /// Makes this a fresh machine of the given size. What it took from the host it keeps for the
    /// next one.
    pub(crate) fn reset(&mut self, nr_frames: u32, nr_vmalloc_pages: u32) {
        self.frames.reset(nr_frames as usize);
        self.page_table[..self.nr_entries_used].fill(EMPTY);
        self.nr_entries_used = 0;
        self.fault = None;
        if self.page_table.len() < nr_vmalloc_pages as usize {
            // Zeroed by the host, which takes memory for it when an entry is written.
            self.page_table = Vec::new();
            self.page_table = vec![EMPTY; nr_vmalloc_pages as usize];
        }
        self.nr_vmalloc_pages = nr_vmalloc_pages;
    }

    /// The frames that bytes of their own are kept for.
    #[cfg(test)]
    pub(crate) fn nr_frames_kept(&self) -> usize {
        self.frames.nr_kept()
    }

    /// The physical place of `addr`.
    fn place(&self, addr: u64) -> Option<usize> {
        let pfn = self.frame_of(addr)?;
        Some(((pfn as usize) << PAGE_SHIFT) + (addr & (PAGE_SIZE - 1)) as usize)
    }

    fn entry(page: Vaddr) -> usize {
        ((page.0 - VMALLOC_START) >> PAGE_SHIFT) as usize
    }
}

impl Memory for SimMemory {
    fn nr_frames(&self) -> u32 {
        self.frames.len() as u32
    }

    fn nr_vmalloc_pages(&self) -> u64 {
        self.nr_vmalloc_pages.into()
    }

    #[inline]
    fn load(&self, at: Paddr) -> u64 {
        self.frames.load(at.0 as usize)
    }

    #[inline]
    fn store(&mut self, at: Paddr, word: u64) {
        self.frames.store(at.0 as usize, word);
    }

    fn zero(&mut self, at: Paddr, nr_bytes: u64) {
        self.frames.zero(at.0 as usize, nr_bytes as usize);
    }

    fn copy_bytes(&mut self, from: Paddr, to: Paddr, nr_bytes: u64) {
        self.frames.copy(from.0 as usize, to.0 as usize, nr_bytes as usize);
    }

    fn map(&mut self, page: Vaddr, frame: Pfn) -> Result<(), MapError> {
        let entry = Self::entry(page);
        self.fault = self.fault.or(match self.page_table[entry] {
            EMPTY => None,
            STALE => Some("a page was mapped again before its old translation was flushed"),
            _ => Some("a page was mapped while it was mapped"),
        });
        self.page_table[entry] = frame.0 + 1;
        self.nr_entries_used = self.nr_entries_used.max(entry + 1);
        Ok(())
    }

    fn unmap(&mut self, page: Vaddr) {
        let entry = Self::entry(page);
        if matches!(self.page_table[entry], EMPTY | STALE) {
            self.fault = Some("a page was unmapped that was not mapped");
        }
        self.page_table[entry] = STALE;
    }

    fn translate(&self, page: Vaddr) -> Option<Pfn> {
        let index = page.0.checked_sub(VMALLOC_START)? >> PAGE_SHIFT;
        if index >= u64::from(self.nr_vmalloc_pages) {
            return None;
        }
        match self.page_table[index as usize] {
            EMPTY | STALE => None,
            entry => Some(Pfn(entry - 1)),
        }
    }

    fn flush(&mut self, start: Vaddr, end: Vaddr) {
        let end = Self::entry(end).min(self.nr_entries_used);
        // Nothing may have been mapped so far up.
        let start = Self::entry(start).min(end);
        for entry in &mut self.page_table[start..end] {
            if *entry == STALE {
                *entry = EMPTY;
            }
        }
    }
}

impl Machine for SimMemory {
    fn span(&self, addr: u64, len: u64) -> Option<&[u8]> {
        Some(self.frames.span(self.place(addr)?, len as usize))
    }

    fn span_mut(&mut self, addr: u64, len: u64) -> Option<&mut [u8]> {
        let place = self.place(addr)?;
        Some(self.frames.span_mut(place, len as usize))
    }

    fn paint(&mut self, addr: u64, bytes: &'static [u8]) -> Option<u64> {
        let place = self.place(addr)?;
        Some(self.frames.write(place, bytes) as u64)
    }

    fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    fn retire(self) {
        MACHINES.with_borrow_mut(|machines| machines.push(self));
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use alloc_core::addr::PAGE_OFFSET;

    fn machine() -> SimMemory {
        let mut memory = SimMemory::default();
        memory.reset(8, 8);
        memory
    }

    #[test]
    fn fresh_memory_is_poisoned_again_after_a_reset() {
        let mut memory = machine();
        memory.store(Pfn(3).to_phys(), 7);
        memory.span_mut(PAGE_OFFSET + 5 * PAGE_SIZE - 1, 2).unwrap().fill(1);
        memory.reset(8, 8);
        for page in 0..8 {
            let bytes = memory.span(PAGE_OFFSET + page * PAGE_SIZE, PAGE_SIZE).unwrap();
            assert_eq!(bytes, [POISON; PAGE_SIZE as usize]);
        }
    }

    #[test]
    fn unmapped_memory_is_not_there() {
        let mut memory = machine();
        assert!(memory.span(VMALLOC_START, 1).is_none());
        memory.map(Vaddr(VMALLOC_START), Pfn(6)).unwrap();
        assert_eq!(memory.span(VMALLOC_START + 1, 2 * PAGE_SIZE).unwrap().len(), 4095);
        memory.unmap(Vaddr(VMALLOC_START));
        assert!(memory.span(VMALLOC_START, 1).is_none());
        assert!(memory.span(PAGE_OFFSET + 8 * PAGE_SIZE, 1).is_none());
    }

    #[test]
    fn a_stale_translation_barks_and_a_flushed_one_is_silent() {
        let mut memory = machine();
        let page = Vaddr(VMALLOC_START);
        memory.map(page, Pfn(1)).unwrap();
        memory.unmap(page);
        memory.flush(page, Vaddr(VMALLOC_START + PAGE_SIZE));
        memory.map(page, Pfn(2)).unwrap();
        assert_eq!(memory.fault(), None);
        memory.unmap(page);
        memory.map(page, Pfn(3)).unwrap();
        assert!(memory.fault().is_some());
    }
}
