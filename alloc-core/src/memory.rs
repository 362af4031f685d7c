//! The machine as the allocator sees it: frames to load from and store to, and pages to map.
//!
//! The one idea: the allocator manages memory and owns no byte of it. Whoever implements [`Memory`]
//! (an array, a process's address space, a kernel's page tables) decides what a byte is.
//!
//! Nothing here allocates, and nothing here is told why it is called.

use crate::words::addr::{Paddr, Pfn, Vaddr};

/// The page tables took no more mappings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapError;

/// A machine's memory: page frames and one set of page tables for the vmalloc space.
///
/// Addresses given to an implementor are always within the frames and the vmalloc space that it
/// declares, and words are aligned to eight bytes. Words are little-endian in memory.
pub trait Memory {
    /// The number of page frames; frame numbers are `0..nr_frames`.
    fn nr_frames(&self) -> u32;

    /// The number of pages of virtual space from [`VMALLOC_START`](crate::addr::VMALLOC_START) on.
    fn nr_vmalloc_pages(&self) -> u64;

    /// Reads the 64-bit word at a physical address.
    fn load(&self, at: Paddr) -> u64;

    /// Writes the 64-bit word at a physical address.
    fn store(&mut self, at: Paddr, word: u64);

    /// Writes `nr_bytes` (a multiple of eight) zero bytes; the run may span frames.
    fn zero(&mut self, at: Paddr, nr_bytes: u64);

    /// Writes `nr_bytes` zero bytes, wherever they begin and end.
    fn zero_bytes(&mut self, at: Paddr, nr_bytes: u64) {
        let (start, end) = (at.0, at.0 + nr_bytes);
        let (first_word, last_word) = (start.next_multiple_of(8), end & !7);
        if first_word > last_word {
            clear_in_word(self, start, end);
            return;
        }
        clear_in_word(self, start, first_word);
        self.zero(Paddr(first_word), last_word - first_word);
        clear_in_word(self, last_word, end);
    }

    /// Copies `nr_bytes` bytes between two runs that begin at words and have none in common.
    fn copy_bytes(&mut self, from: Paddr, to: Paddr, nr_bytes: u64) {
        for offset in (0..nr_bytes).step_by(8) {
            let left = nr_bytes - offset;
            let mask = if left < 8 { (1 << (left * 8)) - 1 } else { u64::MAX };
            let word = self.load(Paddr(from.0 + offset)) & mask;
            let at = Paddr(to.0 + offset);
            let rest = if left < 8 { self.load(at) & !mask } else { 0 };
            self.store(at, word | rest);
        }
    }

    /// Makes `page` show `frame`. The page is not mapped yet.
    ///
    /// # Errors
    /// [`MapError`] when the page tables cannot take the mapping; nothing was mapped.
    fn map(&mut self, page: Vaddr, frame: Pfn) -> Result<(), MapError>;

    /// Takes the mapping of `page` away. The page is mapped.
    fn unmap(&mut self, page: Vaddr);

    /// The frame that `page` of the vmalloc space shows, if any (`vmalloc_to_page`).
    fn translate(&self, page: Vaddr) -> Option<Pfn>;

    /// Forgets cached translations of the range `start..end` (`flush_tlb_kernel_range`).
    fn flush(&mut self, start: Vaddr, end: Vaddr);
}

/// Writes zero to the bytes `start..end`, which lie in one word and are not all of it.
fn clear_in_word<M: Memory + ?Sized>(memory: &mut M, start: u64, end: u64) {
    if start < end {
        let mask = ((1 << ((end - start) * 8)) - 1) << (start % 8 * 8);
        let word = Paddr(start & !7);
        let kept = memory.load(word) & !mask;
        memory.store(word, kept);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::test_memory::TestMemory;

    #[test]
    fn exactly_the_bytes_asked_for_are_copied() {
        for nr_bytes in [0, 1, 8, 13, 24] {
            let mut memory = TestMemory::new(1, 0);
            (0..4).for_each(|word| memory.store(Paddr(word * 8), 0x0101_0101_0101_0101 + word));
            (4..8).for_each(|word| memory.store(Paddr(word * 8), u64::MAX));
            memory.copy_bytes(Paddr(0), Paddr(32), nr_bytes);
            for byte in 0..32 {
                let at = |start| {
                    let word: u64 = memory.load(Paddr(start + byte / 8 * 8));
                    word.to_le_bytes()[byte as usize % 8]
                };
                let expected = if byte < nr_bytes { at(0) } else { 0xff };
                assert_eq!(at(32), expected, "byte {byte} of {nr_bytes}");
            }
        }
    }

    #[test]
    fn exactly_the_bytes_asked_for_become_zero() {
        for (start, nr_bytes) in [(0, 0), (3, 0), (0, 8), (1, 3), (7, 2), (5, 30), (8, 17)] {
            let mut memory = TestMemory::new(1, 0);
            (0..8).for_each(|word| memory.store(Paddr(word * 8), u64::MAX));
            memory.zero_bytes(Paddr(start), nr_bytes);
            for byte in 0..64 {
                let word = memory.load(Paddr(byte & !7)).to_le_bytes();
                let is_zero = word[byte as usize % 8] == 0;
                let expected = (start..start + nr_bytes).contains(&byte);
                assert_eq!(is_zero, expected, "byte {byte} of {start}+{nr_bytes}");
            }
        }
    }
}
