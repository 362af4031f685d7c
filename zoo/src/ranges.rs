//! Allocators of numbers, as frame allocators: `range-alloc`, `offset-allocator`, `vm-allocator`
//! and `bitmap-allocator`.

use bitmap_allocator::{BitAlloc, BitAlloc4K};
use kvroute_hosted::heap::FrameAllocator;
use range_alloc::RangeAllocator;
use std::collections::BTreeMap;
use std::ops::Range;
use vm_allocator::{AddressAllocator, AllocPolicy, RangeInclusive};

/// `range-alloc`.
pub struct Ranges(RangeAllocator<usize>);

impl FrameAllocator for Ranges {
    const ALIGNS: bool = true;
    const ADDS: bool = true;

    fn boot(frames: Range<usize>) -> Option<Self> {
        Some(Self(RangeAllocator::new(frames)))
    }

    fn alloc(&mut self, count: usize, align: usize) -> Option<usize> {
        self.0.allocate_range_aligned(count, align).ok().map(|range| range.start)
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        self.0.free_range(first..first + count);
    }

    fn add(&mut self, frames: Range<usize>) {
        if !frames.is_empty() {
            self.0.grow_to(frames.end);
        }
    }
}

/// `offset-allocator`, whose offsets begin at 0.
pub struct Offsets {
    inner: offset_allocator::Allocator<u32>,
    first: usize,
    live: BTreeMap<usize, offset_allocator::Allocation<u32>>,
}

impl FrameAllocator for Offsets {
    fn boot(frames: Range<usize>) -> Option<Self> {
        let nr = u32::try_from(frames.len()).ok()?;
        let inner = offset_allocator::Allocator::with_max_allocs(nr, 8192);
        Some(Self { inner, first: frames.start, live: BTreeMap::new() })
    }

    fn alloc(&mut self, count: usize, _align: usize) -> Option<usize> {
        let run = self.inner.allocate(u32::try_from(count).ok()?)?;
        let first = self.first + run.offset as usize;
        self.live.insert(first, run);
        Some(first)
    }

    fn dealloc(&mut self, first: usize, _count: usize) {
        if let Some(run) = self.live.remove(&first) {
            self.inner.free(run);
        }
    }
}

/// `vm-allocator`, which has no empty range.
pub struct Addresses(AddressAllocator);

impl FrameAllocator for Addresses {
    const ALIGNS: bool = true;

    fn boot(frames: Range<usize>) -> Option<Self> {
        AddressAllocator::new(frames.start as u64, frames.len() as u64).ok().map(Self)
    }

    fn alloc(&mut self, count: usize, align: usize) -> Option<usize> {
        let run = self.0.allocate(count as u64, align as u64, AllocPolicy::FirstMatch).ok()?;
        Some(run.start() as usize)
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        let run = RangeInclusive::new(first as u64, (first + count - 1) as u64);
        // A refusal is a leak, which shows when all is freed.
        let _ = run.map(|run| self.0.free(&run));
    }
}

/// `bitmap-allocator`, of 4096 bits.
pub struct Bits(BitAlloc4K);

impl FrameAllocator for Bits {
    const ALIGNS: bool = true;
    const ADDS: bool = true;

    fn boot(frames: Range<usize>) -> Option<Self> {
        let mut bits = Self(BitAlloc4K::DEFAULT);
        bits.add(frames);
        Some(bits)
    }

    fn alloc(&mut self, count: usize, align: usize) -> Option<usize> {
        self.0.alloc_contiguous(None, count, align.trailing_zeros() as usize)
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        self.0.dealloc_contiguous(first, count);
    }

    fn add(&mut self, frames: Range<usize>) {
        // It has no more bits, and falls over an empty range, as findings.md tells.
        if !frames.is_empty() && frames.end <= BitAlloc4K::CAP {
            self.0.insert(frames);
        }
    }
}
