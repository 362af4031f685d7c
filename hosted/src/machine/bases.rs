//! Where a machine's two address spaces are shown in this process, and back.
//!
//! The allocator knows the addresses of a kernel, a caller those of a process. Each range is moved
//! as a whole, so alignment and distance are what they were. Around both ranges nothing is mapped,
//! and a pointer that has run out of its range still tells which one that was.

use alloc_core::addr::{PAGE_OFFSET, PAGE_SIZE, VMALLOC_START};

/// Bytes before, between and after the two ranges in which nothing is mapped.
pub(super) const GUARD: u64 = 256 * PAGE_SIZE;

/// A range of a kernel's addresses, and where it is in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    kernel: u64,
    here: u64,
    len: u64,
}

impl Range {
    /// How far from the start of the range an address of this process is, if it lies in the range
    /// or beside it.
    fn offset(self, here: u64) -> Option<u64> {
        let offset = here.wrapping_sub(self.here);
        (offset.wrapping_add(GUARD / 2) < self.len + GUARD).then_some(offset)
    }
}

/// Where the direct map and the vmalloc space of a machine are in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bases {
    direct: Range,
    vmalloc: Range,
}

impl Bases {
    /// Of ranges of these lengths in bytes, in a reservation that begins at `start`.
    pub(super) fn from(start: u64, direct_len: u64, vmalloc_len: u64) -> Self {
        let direct = Range { kernel: PAGE_OFFSET, here: start + GUARD, len: direct_len };
        let here = direct.here + direct_len + GUARD;
        Self { direct, vmalloc: Range { kernel: VMALLOC_START, here, len: vmalloc_len } }
    }

    /// The bytes of the whole reservation.
    pub(super) fn reserved(direct_len: u64, vmalloc_len: u64) -> u64 {
        3 * GUARD + direct_len + vmalloc_len
    }

    /// Where this process sees what the allocator calls by an address. `NULL` and other small
    /// numbers are what they were.
    pub fn here(&self, kernel: u64) -> u64 {
        let range = match kernel {
            ..PAGE_OFFSET => return kernel,
            VMALLOC_START.. => self.vmalloc,
            _ => self.direct,
        };
        kernel.wrapping_sub(range.kernel).wrapping_add(range.here)
    }

    /// What the allocator calls an address of this process. One that is not the machine's is what
    /// it was, and no address of the allocator's either.
    pub fn kernel(&self, here: u64) -> u64 {
        let moved = |range: Range| Some(range.kernel.wrapping_add(range.offset(here)?));
        moved(self.direct).or_else(|| moved(self.vmalloc)).unwrap_or(here)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn addresses_go_there_and_back() {
        let bases = Bases::from(0x7000_0000_0000, 64 * PAGE_SIZE, 32 * PAGE_SIZE);
        let last = PAGE_OFFSET + 64 * PAGE_SIZE;
        for addr in [0, 16, PAGE_OFFSET, last - 1, last, VMALLOC_START, VMALLOC_START + 7] {
            assert_eq!(bases.kernel(bases.here(addr)), addr, "{addr:#x}");
        }
        assert_eq!(bases.kernel(bases.here(VMALLOC_START) - 1), VMALLOC_START - 1);
        assert_eq!(bases.here(PAGE_OFFSET) % PAGE_SIZE, 0);
        assert_eq!(bases.kernel(0x5555_0000_1000), 0x5555_0000_1000);
    }
}
