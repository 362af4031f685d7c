//! What a caller does with a pointer: reads, writes, and arithmetic.
//!
//! A pointer is an address and the allocation that it was derived from, so a use after free is seen
//! even where the address has gone to somebody else, and a use out of bounds even where it meets
//! other memory of the caller's. Like a C pointer it may be copied, moved about and misused; it is
//! judged when it is used.

use super::kernel::Pointer;
use crate::oracle::caller::Rule;

impl Pointer<'_> {
    /// Its address.
    pub fn addr(self) -> u64 {
        self.addr
    }

    /// Whether it is `NULL`.
    pub fn is_null(self) -> bool {
        self.addr == 0
    }

    /// The pointer so many bytes further on.
    #[must_use]
    pub fn at(self, offset: u64) -> Self {
        Self { addr: self.addr.wrapping_add(offset), ..self }
    }

    /// The pointer so many bytes before.
    #[must_use]
    pub fn before(self, offset: u64) -> Self {
        Self { addr: self.addr.wrapping_sub(offset), ..self }
    }

    /// Reads bytes.
    #[track_caller]
    pub fn read_into(self, bytes: &mut [u8]) {
        self.kernel.read(self, bytes);
    }

    /// Reads so many bytes.
    #[track_caller]
    pub fn read(self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read_into(&mut bytes);
        bytes
    }

    /// Writes bytes.
    #[track_caller]
    pub fn write(self, bytes: &[u8]) {
        self.kernel.write(self, bytes);
    }

    /// Sets so many bytes (`memset`).
    #[track_caller]
    pub fn fill(self, byte: u8, len: usize) {
        self.write(&vec![byte; len]);
    }

    /// Copies so many bytes from another place (`memcpy`).
    #[track_caller]
    pub fn copy_from(self, from: Pointer, len: usize) {
        self.write(&from.read(len));
    }

    /// Reads a little-endian word of 8 bytes.
    #[track_caller]
    pub fn load(self) -> u64 {
        let mut bytes = [0; 8];
        self.read_into(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Writes a little-endian word of 8 bytes.
    #[track_caller]
    pub fn store(self, word: u64) {
        self.write(&word.to_le_bytes());
    }

    /// The same pointer, for an access that traps where the address is no multiple of `align`, as
    /// an aligned SIMD load does, or an atomic beyond a cache line.
    #[must_use]
    #[track_caller]
    pub fn aligned(self, align: u64) -> Self {
        if !self.addr.is_multiple_of(align) {
            let says = format!(
                "an access that needs an alignment of {align} bytes at {:#x}; Linux: a general protection fault",
                self.addr
            );
            self.kernel.object(Rule::Alignment, says, self.origin);
        }
        self
    }
}
