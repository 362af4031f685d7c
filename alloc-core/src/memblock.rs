//! The boot allocator: carves what must exist before the page allocator does.
//!
//! The one idea: memory is taken from the bottom, one piece after the other, and never given back.
//! The first frame that holds nothing carved is where the page allocator's memory begins.

use crate::addr::{PAGE_SIZE, Paddr, Pfn, pages_for};

/// The boot allocator of a machine.
#[derive(Debug)]
pub(crate) struct Memblock {
    next_byte: u64,
    nr_frames: u32,
}

impl Memblock {
    /// A machine of `nr_frames` frames, of which nothing is carved yet.
    pub(crate) const fn new(nr_frames: u32) -> Self {
        Self { next_byte: 0, nr_frames }
    }

    /// Carves `nr_bytes` bytes, aligned to 64 (a cache line); `None` when memory is too small.
    pub(crate) fn carve(&mut self, nr_bytes: u64) -> Option<Paddr> {
        let start = self.next_byte.next_multiple_of(64);
        let end = start.checked_add(nr_bytes)?;
        if end > u64::from(self.nr_frames) * PAGE_SIZE {
            return None;
        }
        self.next_byte = end;
        Some(Paddr(start))
    }

    /// The first frame that the page allocator may have.
    pub(crate) fn hand_over(self) -> Pfn {
        Pfn(pages_for(self.next_byte) as u32)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn pieces_follow_one_another_and_hand_over_rounds_up() {
        let mut memblock = Memblock::new(2);
        assert_eq!(memblock.carve(100), Some(Paddr(0)));
        assert_eq!(memblock.carve(8), Some(Paddr(128)));
        assert_eq!(memblock.carve(2 * PAGE_SIZE), None);
        assert_eq!(memblock.hand_over(), Pfn(1));
    }
}
