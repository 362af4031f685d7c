//! A simulated machine: frames in an array, one page table, and a TLB that remembers what was not
//! flushed.
//!
//! The one idea: everything a program could see is deterministic. Memory that nobody has written
//! holds [`POISON`], never zero, so that a missing `__GFP_ZERO` shows on the first use of a frame;
//! an access to an unmapped page finds nothing; a reset costs only what was touched.
//!
//! It does not know which frames are allocated. Times and caches are not simulated.

use alloc_core::addr::{
    DMA_OFFSET, PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr,
};
use alloc_core::memory::{MapError, Memory};

/// The byte that memory holds before anything is written to it.
pub const POISON: u8 = 0xa5;

/// A page-table entry: empty, a mapping, or an unmapped page whose translation may still be cached.
const EMPTY: u32 = 0;
const STALE: u32 = u32::MAX;

/// The simulated machine.
pub struct SimMemory {
    nr_frames: u32,
    nr_vmalloc_pages: u32,
    bytes: Vec<u8>,
    /// Entry `n` belongs to the n-th page of the vmalloc space: `pfn + 1`, `EMPTY` or `STALE`.
    page_table: Vec<u32>,
    /// One past the highest entry ever used since the last reset.
    nr_entries_used: usize,
    touched: Vec<u32>,
    is_touched: Vec<bool>,
    fault: Option<&'static str>,
}

impl SimMemory {
    /// A machine without memory; [`reset`](Self::reset) gives it its size.
    pub fn new() -> Self {
        Self {
            nr_frames: 0,
            nr_vmalloc_pages: 0,
            bytes: Vec::new(),
            page_table: Vec::new(),
            nr_entries_used: 0,
            touched: Vec::new(),
            is_touched: Vec::new(),
            fault: None,
        }
    }

    /// Makes this a fresh machine of the given size. The arrays only ever grow, so that the cost of
    /// the next reset is the number of frames touched since this one.
    pub fn reset(&mut self, nr_frames: u32, nr_vmalloc_pages: u32) {
        for pfn in self.touched.drain(..) {
            let start = (pfn as usize) << PAGE_SHIFT;
            self.bytes[start..start + PAGE_SIZE as usize].fill(POISON);
            self.is_touched[pfn as usize] = false;
        }
        self.page_table[..self.nr_entries_used].fill(EMPTY);
        self.nr_entries_used = 0;
        self.fault = None;
        let nr_bytes = (nr_frames as usize) << PAGE_SHIFT;
        if self.bytes.len() < nr_bytes {
            self.bytes.resize(nr_bytes, POISON);
            self.is_touched.resize(nr_frames as usize, false);
        }
        if self.page_table.len() < nr_vmalloc_pages as usize {
            self.page_table.resize(nr_vmalloc_pages as usize, EMPTY);
        }
        self.nr_frames = nr_frames;
        self.nr_vmalloc_pages = nr_vmalloc_pages;
    }

    /// The first thing that no correct allocator does to its page tables, if it has happened.
    pub fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// The frame that a page of the direct map or the vmalloc space shows.
    pub fn frame_of(&self, addr: u64) -> Option<u32> {
        if addr >= VMALLOC_START {
            return self.translate(Vaddr(addr & !(PAGE_SIZE - 1))).map(|pfn| pfn.0);
        }
        let pfn = addr.checked_sub(PAGE_OFFSET)? >> PAGE_SHIFT;
        (pfn < u64::from(self.nr_frames)).then_some(pfn as u32)
    }

    /// The frame that a device finds at an address of its bus, where frame 0 is at `DMA_OFFSET`.
    pub fn frame_of_bus(&self, bus: u64) -> Option<u32> {
        let pfn = bus.checked_sub(DMA_OFFSET)? >> PAGE_SHIFT;
        (pfn < u64::from(self.nr_frames)).then_some(pfn as u32)
    }

    /// The place of `addr` in the array, and how many bytes lie next to each other there, at most
    /// `len`.
    fn extent(&self, addr: u64, len: u64) -> Option<(usize, usize)> {
        let pfn = self.frame_of(addr)?;
        let in_page = addr & (PAGE_SIZE - 1);
        let start = ((pfn as usize) << PAGE_SHIFT) + in_page as usize;
        let room = if addr >= VMALLOC_START {
            PAGE_SIZE - in_page
        } else {
            (u64::from(self.nr_frames) << PAGE_SHIFT) - start as u64
        };
        Some((start, len.min(room) as usize))
    }

    /// The bytes at `addr`, as many of `len` as lie next to each other.
    pub fn span(&self, addr: u64, len: u64) -> Option<&[u8]> {
        let (start, nr_bytes) = self.extent(addr, len)?;
        Some(&self.bytes[start..start + nr_bytes])
    }

    /// As [`span`](Self::span), to write to.
    pub fn span_mut(&mut self, addr: u64, len: u64) -> Option<&mut [u8]> {
        let (start, nr_bytes) = self.extent(addr, len)?;
        self.touch(start, nr_bytes);
        Some(&mut self.bytes[start..start + nr_bytes])
    }

    /// Takes note of a write.
    fn touch(&mut self, start: usize, nr_bytes: usize) {
        let frames = start >> PAGE_SHIFT..(start + nr_bytes).div_ceil(PAGE_SIZE as usize);
        frames.for_each(|pfn| self.touch_frame(pfn));
    }

    #[inline]
    fn touch_frame(&mut self, pfn: usize) {
        if !self.is_touched[pfn] {
            self.is_touched[pfn] = true;
            self.touched.push(pfn as u32);
        }
    }

    fn entry(page: Vaddr) -> usize {
        ((page.0 - VMALLOC_START) >> PAGE_SHIFT) as usize
    }
}

impl Default for SimMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory for SimMemory {
    fn nr_frames(&self) -> u32 {
        self.nr_frames
    }

    fn nr_vmalloc_pages(&self) -> u64 {
        self.nr_vmalloc_pages.into()
    }

    #[inline]
    fn load(&self, at: Paddr) -> u64 {
        let start = at.0 as usize;
        let word: [u8; 8] = self.bytes[start..start + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(word)
    }

    #[inline]
    fn store(&mut self, at: Paddr, word: u64) {
        let start = at.0 as usize;
        self.bytes[start..start + 8].copy_from_slice(&word.to_le_bytes());
        // Words are aligned, and so each is in one frame.
        self.touch_frame(start >> PAGE_SHIFT);
    }

    fn zero(&mut self, at: Paddr, nr_bytes: u64) {
        let start = at.0 as usize;
        self.bytes[start..start + nr_bytes as usize].fill(0);
        self.touch(start, nr_bytes as usize);
    }

    fn copy_bytes(&mut self, from: Paddr, to: Paddr, nr_bytes: u64) {
        let (from, to, nr_bytes) = (from.0 as usize, to.0 as usize, nr_bytes as usize);
        self.bytes.copy_within(from..from + nr_bytes, to);
        self.touch(to, nr_bytes);
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

#[cfg(test)]
mod test {
    use super::*;

    fn machine() -> SimMemory {
        let mut memory = SimMemory::new();
        memory.reset(8, 8);
        memory
    }

    #[test]
    fn fresh_memory_is_poisoned_again_after_a_reset() {
        let mut memory = machine();
        memory.store(Pfn(3).to_phys(), 7);
        memory.span_mut(PAGE_OFFSET + 5 * PAGE_SIZE - 1, 2).unwrap().fill(1);
        memory.reset(8, 8);
        assert!(
            memory.span(PAGE_OFFSET, 8 * PAGE_SIZE).unwrap().iter().all(|byte| *byte == POISON)
        );
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
