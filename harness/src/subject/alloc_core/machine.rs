//! A machine that the harness can look into: what it asks of the memory under alloc-core beyond
//! what the allocator does.
//!
//! The simulated machine is one. Another, of real memory, is somebody else's.

use alloc_core::addr::{DMA_OFFSET, PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE, VMALLOC_START, Vaddr};
use alloc_core::memory::Memory;

/// A machine whose bytes can be read and written by a caller's addresses.
pub trait Machine: Memory {
    /// The bytes at `addr`, as many of `len` as lie in its page.
    fn span(&self, addr: u64, len: u64) -> Option<&[u8]>;

    /// As [`span`](Self::span), to write to.
    fn span_mut(&mut self, addr: u64, len: u64) -> Option<&mut [u8]>;

    /// Writes the beginning of `bytes` at `addr`, as much of it as lies in one page, and says how
    /// much that was.
    fn paint(&mut self, addr: u64, bytes: &'static [u8]) -> Option<u64> {
        let span = self.span_mut(addr, bytes.len() as u64)?;
        span.copy_from_slice(&bytes[..span.len()]);
        Some(span.len() as u64)
    }

    /// The first thing that no correct allocator does to its page tables, if it has happened.
    fn fault(&self) -> Option<&'static str>;

    /// Shows what has been mapped and hides what has been unmapped: the caller goes on.
    fn resume(&mut self) {}

    /// The machine is no longer needed; it may be kept for the next trace.
    fn retire(self)
    where
        Self: Sized,
    {
    }

    /// The frame that a page of the direct map or the vmalloc space shows.
    fn frame_of(&self, addr: u64) -> Option<u32> {
        if addr >= VMALLOC_START {
            return self.translate(Vaddr(addr & !(PAGE_SIZE - 1))).map(|pfn| pfn.0);
        }
        frame_at(self, addr.checked_sub(PAGE_OFFSET)?)
    }

    /// The frame that a device finds at an address of its bus, where frame 0 is at `DMA_OFFSET`.
    fn frame_of_bus(&self, bus: u64) -> Option<u32> {
        frame_at(self, bus.checked_sub(DMA_OFFSET)?)
    }
}

/// The frame so many bytes from the first, if there is one.
fn frame_at(machine: &(impl Machine + ?Sized), offset: u64) -> Option<u32> {
    let pfn = offset >> PAGE_SHIFT;
    (pfn < u64::from(machine.nr_frames())).then_some(pfn as u32)
}
