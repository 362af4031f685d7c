//! A reserved part of this process' address space, and a memory file that is shown in it.
//!
//! The file is shown once as a whole, which is where its bytes are read and written here; pages of
//! it can be shown a second time, elsewhere in the reservation. Nobody else knows the reservation,
//! so whatever is mapped inside it replaces nothing of anybody's.
//!
//! It knows no allocator.
#![expect(unsafe_code, reason = "mappings are made by address, and their bytes are used by it")]

use super::bases::Bases;
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mmap_anonymous, mprotect, munmap};
use std::ffi::c_void;
use std::ptr;

/// The reservation, and the file.
pub(super) struct Space {
    start: *mut c_void,
    len: usize,
    file: OwnedFd,
    /// Where the file is shown as a whole.
    bytes: *mut u8,
    nr_bytes: usize,
    pub(super) bases: Bases,
}

impl Space {
    /// Reserves room for a file of so many bytes, which is shown, and for so many bytes of address
    /// space in which nothing is.
    pub(super) fn reserve(nr_bytes: usize, nr_more: usize) -> Result<Self, Errno> {
        let file = memfd_create("kvroute-frames", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, nr_bytes as u64)?;
        let len = Bases::reserved(nr_bytes as u64, nr_more as u64) as usize;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at a place that the host chooses.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags) }?;
        let bases = Bases::from(start as u64, nr_bytes as u64, nr_more as u64);
        let bytes = bases.here(alloc_core::addr::PAGE_OFFSET) as *mut u8;
        // From here on dropping it gives the reservation back.
        let space = Self { start, len, file, bytes, nr_bytes, bases };
        space.show(bytes as u64, 0, nr_bytes)?;
        Ok(space)
    }

    /// Shows the `len` bytes of the file at `offset` at an address of the reservation.
    pub(super) fn show(&self, at: u64, offset: u64, len: usize) -> Result<(), Errno> {
        let (at, flags) = (self.inside(at, len), MapFlags::SHARED | MapFlags::FIXED);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: what is replaced lies in the reservation, which is nobody else's.
        unsafe { mmap(at, len, access, flags, &self.file, offset) }.map(drop)
    }

    /// Shows nothing at an address of the reservation: an access there is a fault.
    pub(super) fn hide(&self, at: u64, len: usize) -> Result<(), Errno> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        let at = self.inside(at, len);
        // SAFETY: as in `show`.
        unsafe { mmap_anonymous(at, len, ProtFlags::empty(), flags) }.map(drop)
    }

    /// Takes the access to what is shown at an address of the reservation away.
    pub(super) fn close(&self, at: u64, len: usize) -> Result<(), Errno> {
        // SAFETY: as in `show`.
        unsafe { mprotect(self.inside(at, len), len, MprotectFlags::empty()) }
    }

    /// Gives the access to what was shown at an address of the reservation back.
    pub(super) fn open(&self, at: u64, len: usize) -> Result<(), Errno> {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: as in `show`.
        unsafe { mprotect(self.inside(at, len), len, access) }
    }

    /// # Panics
    /// If a range does not lie in the reservation.
    fn inside(&self, at: u64, len: usize) -> *mut c_void {
        let offset = at.wrapping_sub(self.start as u64) as usize;
        assert!(offset < self.len && len <= self.len - offset, "{at:#x} is not in the reservation");
        at as *mut c_void
    }

    /// The place of a byte of the file after which there are at least `len`.
    ///
    /// # Panics
    /// If there are not. A caller that has damaged the allocator's structures leads it there.
    #[inline]
    fn place(&self, at: usize, len: usize) -> *mut u8 {
        assert!(at <= self.nr_bytes && len <= self.nr_bytes - at, "no byte {at:#x} in the memory");
        self.bytes.wrapping_add(at)
    }

    /// The word at a place of the file that is a multiple of 8.
    #[inline]
    pub(super) fn load(&self, at: usize) -> u64 {
        // SAFETY: `place` has checked the range, which is mapped and readable.
        u64::from_le(unsafe { self.place(at, 8).cast::<u64>().read_unaligned() })
    }

    /// Writes the word at a place of the file.
    #[inline]
    pub(super) fn store(&mut self, at: usize, word: u64) {
        // SAFETY: as in `load`, and writable.
        unsafe { self.place(at, 8).cast::<u64>().write_unaligned(word.to_le()) }
    }

    /// Bytes of the file.
    pub(super) fn span(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: as in `load`. Who else knows the memory does not write to it before the caller
        // goes on, and by then the slice is gone.
        unsafe { std::slice::from_raw_parts(self.place(at, len), len) }
    }

    /// As [`span`](Self::span), to write to.
    pub(super) fn span_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        // SAFETY: as in `span`.
        unsafe { std::slice::from_raw_parts_mut(self.place(at, len), len) }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: the reservation is this value's own, and no slice of it outlives the value. A
        // failure leaves address space behind, which is no one's loss.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_shown_twice_is_one_memory() {
        let mut space = Space::reserve(4 << 12, 4 << 12).unwrap();
        let at = space.bases.here(alloc_core::addr::VMALLOC_START);
        space.show(at, 2 << 12, 2 << 12).unwrap();
        space.store((2 << 12) + 8, 0x0102);
        let second = at as *mut u8;
        // SAFETY: two pages of the file are shown there.
        let seen = unsafe { second.add(8).read() };
        // SAFETY: as above.
        unsafe { second.add(9).write(7) };
        assert_eq!((seen, space.load((2 << 12) + 8)), (2, 0x0702));
        space.hide(at, 2 << 12).unwrap();
    }

    #[test]
    #[should_panic = "is not in the reservation"]
    fn nothing_of_anybody_else_is_replaced() {
        let space = Space::reserve(1 << 12, 1 << 12).unwrap();
        let _ = space.hide(space.start as u64 - (1 << 12), 1 << 12);
    }

    #[test]
    #[should_panic = "no byte"]
    fn nothing_beyond_the_file_is_read() {
        Space::reserve(1 << 12, 1 << 12).unwrap().load((1 << 12) - 4);
    }
}
