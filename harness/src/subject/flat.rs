//! Memory of one piece, for a subject that owns its bytes.
//!
//! A guest of a hundred lines needs no more: bytes from an address on, read and written as far as
//! there are any.

use std::ops::Range;

/// Bytes from an address on.
#[derive(Clone, Debug)]
pub struct FlatMemory {
    base: u64,
    bytes: Vec<u8>,
}

impl FlatMemory {
    /// So many bytes from `base` on, which all hold `byte`.
    pub fn new(base: u64, nr_bytes: usize, byte: u8) -> Self {
        Self { base, bytes: vec![byte; nr_bytes] }
    }

    /// The address behind the last byte.
    pub fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// Adds so many zero bytes at the end.
    pub fn grow(&mut self, nr_bytes: usize) {
        self.bytes.resize(self.bytes.len() + nr_bytes, 0);
    }

    /// As [`Subject::read`](super::Subject::read).
    pub fn read(&self, addr: u64, bytes: &mut [u8]) -> usize {
        let place = self.place(addr, bytes.len());
        bytes[..place.len()].copy_from_slice(&self.bytes[place.clone()]);
        place.len()
    }

    /// As [`Subject::write`](super::Subject::write).
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> usize {
        let place = self.place(addr, bytes.len());
        self.bytes[place.clone()].copy_from_slice(&bytes[..place.len()]);
        place.len()
    }

    /// Writes the same byte to so many from `addr` on, as far as there are any.
    pub fn fill(&mut self, addr: u64, nr_bytes: usize, byte: u8) {
        let place = self.place(addr, nr_bytes);
        self.bytes[place].fill(byte);
    }

    /// Copies so many bytes, as far as there are any; the two ranges may overlap.
    pub fn copy(&mut self, from: u64, to: u64, nr_bytes: usize) {
        let (from, to) = (self.place(from, nr_bytes), self.place(to, nr_bytes));
        let nr_bytes = from.len().min(to.len());
        self.bytes.copy_within(from.start..from.start + nr_bytes, to.start);
    }

    /// The places among the bytes that a range of addresses has.
    fn place(&self, addr: u64, nr_bytes: usize) -> Range<usize> {
        let len = self.bytes.len();
        let start = addr.checked_sub(self.base).map_or(len, |at| len.min(at as usize));
        start..start.saturating_add(nr_bytes).min(len)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn nothing_is_read_or_written_beside_it() {
        let mut memory = FlatMemory::new(0x1000, 8, 7);
        let mut bytes = [0; 4];
        assert_eq!([0, 0xfff, 0x1008].map(|addr| memory.read(addr, &mut bytes)), [0; 3]);
        assert_eq!((memory.read(0x1006, &mut bytes), bytes), (2, [7, 7, 0, 0]));
        assert_eq!(memory.write(0x1006, &[1, 2, 3]), 2);
        memory.grow(2);
        memory.copy(0x1004, 0x1007, 5);
        memory.fill(0x1009, 9, 5);
        let mut all = [0; 12];
        assert_eq!((memory.read(0x1000, &mut all), memory.end()), (10, 0x100a));
        assert_eq!(all, [7, 7, 7, 7, 7, 7, 1, 7, 7, 5, 0, 0]);
    }
}
