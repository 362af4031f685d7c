//! The descriptor of a vmalloc area (Linux's `struct vm_struct`): what was asked for, and how it
//! was served.
//!
//! It is an object of eight words of a slab cache, read and written by name. It holds what the
//! range in the tree does not say: the pages, whose they are, and how they are mapped.
//!
//! It decides nothing; `areas` does.

use crate::memory::Memory;
use crate::vmalloc::vmap_tree::VmapArea;
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, PMD_SHIFT, Paddr, Vaddr};

/// Whom an area belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A caller, who may free it.
    Caller = 0,
    /// The allocator: it holds another area's page array.
    PageArray = 1,
    /// Nobody: a caller has freed it where sleeping is forbidden, and its pages go at the next tick
    /// (R4.13).
    Deferred = 2,
}

/// How an area is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntrySize {
    /// Page by page, through page tables.
    Small = 0,
    /// 2 MiB at a time, each from a block of as many contiguous pages.
    Huge = 1,
}

impl EntrySize {
    /// log2 of the pages that one entry shows.
    pub(crate) const fn order(self) -> u32 {
        match self {
            Self::Small => 0,
            Self::Huge => PMD_SHIFT - PAGE_SHIFT,
        }
    }

    /// Bytes that one entry shows, and that areas are aligned and rounded to.
    pub(crate) const fn size(self) -> u64 {
        PAGE_SIZE << self.order()
    }
}

/// The descriptor of an area (Linux's `struct vm_struct`). Its words are: the bytes asked for, the
/// number of pages, the address of the page array, the owner, the next deferred area, and how it is
/// mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VmStruct(pub(crate) Paddr);

impl VmStruct {
    fn load<M: Memory>(self, memory: &M, index: u64) -> u64 {
        memory.load(Paddr(self.0.0 + index * 8))
    }

    /// Writes all of its words.
    pub(crate) fn init<M: Memory>(self, memory: &mut M, words: [u64; 6]) {
        for (index, word) in (0..).zip(words) {
            memory.store(Paddr(self.0.0 + index * 8), word);
        }
    }

    /// The bytes asked for (`requested_size`).
    pub(crate) fn requested<M: Memory>(self, memory: &M) -> u64 {
        self.load(memory, 0)
    }

    /// Writes the bytes asked for.
    pub(crate) fn set_requested<M: Memory>(self, memory: &mut M, size: u64) {
        memory.store(self.0, size);
    }

    /// The number of pages, without the guard page.
    pub(crate) fn nr_pages<M: Memory>(self, memory: &M) -> u64 {
        self.load(memory, 1)
    }

    /// The array of the area's page frame numbers, a word each.
    pub(crate) fn pages<M: Memory>(self, memory: &M) -> Vaddr {
        Vaddr(self.load(memory, 2))
    }

    /// Whom the area belongs to.
    pub(crate) fn owner<M: Memory>(self, memory: &M) -> Owner {
        match self.load(memory, 3) {
            0 => Owner::Caller,
            1 => Owner::PageArray,
            _ => Owner::Deferred,
        }
    }

    /// Of a deferred area: the one that was deferred before it.
    pub(crate) fn next_deferred<M: Memory>(self, memory: &M) -> VmapArea {
        VmapArea(Paddr(self.load(memory, 4)))
    }

    /// Makes the area a deferred one, in front of `next`.
    pub(crate) fn defer<M: Memory>(self, memory: &mut M, next: VmapArea) {
        memory.store(Paddr(self.0.0 + 3 * 8), Owner::Deferred as u64);
        memory.store(Paddr(self.0.0 + 4 * 8), next.0.0);
    }

    /// How the area is mapped.
    pub(crate) fn entry<M: Memory>(self, memory: &M) -> EntrySize {
        if self.load(memory, 5) == 0 { EntrySize::Small } else { EntrySize::Huge }
    }
}
