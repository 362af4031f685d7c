//! An entry of the book: memory that a caller holds, and what it is.
//!
//! The kind of memory, as the caller asked for it, decides which call frees it and what may lie
//! beside it; how the allocator serves it does not.
//!
//! Who holds what is in the book itself.

use crate::call::{Request, ask};
use crate::op::Reg;
use crate::words::{CacheHandle, PAGE, pages_of};
use std::ops::Range;

/// Bytes of an `rcu_head`.
pub(crate) const RCU_HEAD: u64 = 16;

/// Where in memory an `rcu_head` begins is less than this.
pub(crate) const RCU_OFFSET_END: u64 = 4096;

/// What kind of memory an allocation is, and so which call frees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An object of a kmalloc size class.
    Kmalloc,
    /// A kmalloc block of its own.
    LargeKmalloc,
    /// An object of a cache.
    CacheObject(CacheHandle),
    /// A block of the page allocator.
    Pages {
        /// log2 of its number of pages.
        order: u32,
        /// Whether it was taken with `__GFP_COMP`, so that its head stands for all of it.
        is_compound: bool,
    },
    /// Pages of `alloc_pages_exact`.
    PagesExact {
        /// How many.
        nr_pages: u64,
    },
    /// A block of `dma_alloc_coherent`.
    DmaCoherent {
        /// log2 of its number of pages.
        order: u32,
    },
    /// An area of the vmalloc space.
    Vmalloc,
    /// Memory taken from the boot allocator, or reserved there.
    Boot,
    /// A block of a heap.
    Heap {
        /// The alignment that was asked for, which it keeps when it is reallocated.
        align: u64,
    },
    /// A run of frames of a frame allocator.
    Frames,
}

/// The interface that memory came through, where its kind does not say that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// The one of its kind.
    Own,
    /// kvmalloc, so that the caller may not know its kind.
    Kvmalloc,
    /// `kmalloc_nolock` (R1.14).
    Nolock,
}

/// How the bytes of an allocation were chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Painted with the tiles of `paint` and this seed.
    Painted(u64),
    /// As the allocator left them, here or at the same place of another page: its own metadata (a
    /// free-list link, a header) as a caller's bytes.
    Echo(Box<[u8]>),
    /// So many bytes that a call cleared before it freed the memory, and then what was there.
    Cleared(u64, Box<Contents>),
    /// What memory that is gone held from an offset on: a page that outlives it.
    Part(Box<Allocation>, u64),
    /// These bytes at an offset, and around them what was there: an `rcu_head`.
    Patched(u64, Box<[u8]>, Box<Contents>),
}

/// One live allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    /// The op that made it; the same number in every lane.
    pub id: u32,
    /// First byte.
    pub addr: u64,
    /// Bytes asked for.
    pub size: u64,
    /// Bytes that the allocator said may be used.
    pub usable: u64,
    /// What it is.
    pub kind: Kind,
    /// Through which interface it came.
    pub via: Via,
    /// The CPU that took it.
    pub cpu: usize,
    /// The register that holds it.
    pub reg: Option<Reg>,
    /// Where in it the `rcu_head` is by which it waits for the end of a grace period, if it does:
    /// those bytes are the allocator's.
    pub head: Option<u64>,
    /// What its first `size` bytes hold.
    pub contents: Contents,
}

impl Allocation {
    /// The bytes of the `rcu_head` by which it waits for the end of a grace period, if it does.
    pub(crate) fn head_range(&self) -> Option<Range<u64>> {
        self.head.map(|head| head..head + RCU_HEAD)
    }

    /// The seed of the bytes between `size` and `usable`.
    pub(crate) fn guard_seed(&self) -> u64 {
        crate::paint::mix(self.addr, !u64::from(self.id))
    }

    /// The end of the address range that belongs to the allocation; for vmalloc with its guard
    /// page.
    pub(crate) fn end(&self) -> u64 {
        match self.kind {
            Kind::Vmalloc => self.addr + pages_of(self.usable) * PAGE + PAGE,
            _ => self.addr + self.usable,
        }
    }

    /// The right call for the allocation, as its caller knows it.
    pub(crate) fn right_free(&self) -> Request {
        let addr = self.addr;
        match self.kind {
            _ if self.via == Via::Kvmalloc => ask::kvfree(addr),
            _ if self.via == Via::Nolock => ask::kfree_nolock(addr),
            Kind::Kmalloc | Kind::LargeKmalloc => ask::kfree(addr),
            Kind::CacheObject(cache) => ask::kmem_cache_free(cache, addr),
            Kind::Pages { order, .. } => ask::free_pages(addr, order),
            Kind::PagesExact { .. } => ask::free_pages_exact(addr, self.size),
            Kind::DmaCoherent { .. } => ask::dma_free_coherent(addr, self.size),
            Kind::Vmalloc => ask::vfree(addr),
            Kind::Boot => ask::memblock_free(addr, self.size),
            Kind::Heap { .. } => ask::dealloc(addr),
            Kind::Frames => ask::dealloc_frames(addr),
        }
    }

    /// Whether it is an object of a slab.
    pub(crate) fn is_small(&self) -> bool {
        matches!(self.kind, Kind::Kmalloc | Kind::CacheObject(_))
    }
}
