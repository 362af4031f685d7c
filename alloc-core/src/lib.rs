//! alloc-core: a `no_std` re-creation of the Linux kernel's allocation stack, as safe code.
//!
//! Pages by the buddy system, objects by slab caches, kmalloc on both, vmalloc beside them, and
//! kvmalloc choosing between the two; Linux 6.1 is the yardstick, and the names are Linux's.
//!
//! The one idea: it manages memory and owns none. All it knows of the machine is the trait
//! [`Memory`](memory::Memory); all it keeps, down to the descriptors of frames, lies in that
//! memory. Nothing blocks: a call that would sleep says so
//! ([`AllocError::WouldBlock`](error::AllocError)), and every call that fails has changed nothing.
//!
//! The floors, each owning the one below, so that no call can go upwards: pages, slab, kmalloc,
//! vmalloc (with the address space beside it), kvmalloc, and [`Mm`] as the public face. A floor is
//! a folder, or a file where one is enough.
//!
//! A node has one zone; there is no compaction.
//!
//! ```
//! use alloc_core::addr::{PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
//! use alloc_core::gfp::GFP_KERNEL;
//! use alloc_core::memory::{MapError, Memory};
//! use alloc_core::{BootParams, Mm, Route};
//!
//! /// A machine of 64 frames and 64 pages of vmalloc space.
//! struct Array {
//!     words: Vec<u64>,
//!     table: [Option<Pfn>; 64],
//! }
//!
//! fn slot(page: Vaddr) -> usize {
//!     ((page.0 - VMALLOC_START) / PAGE_SIZE) as usize
//! }
//!
//! impl Memory for Array {
//!     fn nr_frames(&self) -> u32 { 64 }
//!     fn nr_vmalloc_pages(&self) -> u64 { 64 }
//!     fn load(&self, at: Paddr) -> u64 { self.words[at.0 as usize / 8] }
//!     fn store(&mut self, at: Paddr, word: u64) { self.words[at.0 as usize / 8] = word; }
//!     fn zero(&mut self, at: Paddr, nr_bytes: u64) {
//!         self.words[at.0 as usize / 8..][..nr_bytes as usize / 8].fill(0);
//!     }
//!     fn map(&mut self, page: Vaddr, frame: Pfn) -> Result<(), MapError> {
//!         self.table[slot(page)] = Some(frame);
//!         Ok(())
//!     }
//!     fn unmap(&mut self, page: Vaddr) { self.table[slot(page)] = None; }
//!     fn translate(&self, page: Vaddr) -> Option<Pfn> { self.table[slot(page)] }
//!     fn flush(&mut self, _start: Vaddr, _end: Vaddr) {}
//! }
//!
//! let machine = Array { words: vec![0; 64 * 512], table: [None; 64] };
//! let params = BootParams { min_free_pages: 4, shuffle: 1, ..BootParams::default() };
//! let mut mm = Mm::boot(machine, params).unwrap();
//!
//! // The caller cannot tell the sides apart, but for the address.
//! let contiguous = mm.kvmalloc(9000, GFP_KERNEL, Route::Policy).unwrap();
//! let mapped = mm.kvmalloc(9000, GFP_KERNEL, Route::Vmalloc).unwrap();
//! assert!(contiguous.0 < VMALLOC_START && mapped.0 >= VMALLOC_START);
//!
//! // kvfree takes both; kfree would have refused the second.
//! assert!(mm.kfree(mapped).is_err());
//! mm.kvfree(contiguous).unwrap();
//! mm.kvfree(mapped).unwrap();
//! mm.validate().unwrap();
//! ```
#![no_std]

pub mod memory;

mod dma;
mod frames;
mod inspect;
mod kmalloc;
mod kmem_bulk;
mod kvfree_rcu;
mod kvmalloc;
mod mm;
mod pages;
mod slab;
mod vmalloc;
mod words;

#[cfg(test)]
mod test_memory;

pub use dma::Coherent;
pub use frames::fault::FaultPlan;
pub use frames::memblock::{MemblockError, NR_REGIONS};
pub use inspect::stat::{MmStat, NodeStat};
pub use inspect::validate::Corruption;
pub use kvmalloc::Route;
pub use mm::{BootError, EarlyMm, Mm};
pub use pages::allocator::BootParams;
pub use pages::others::{Effort, NR_PAGE_CACHE_KINDS, PageCacheKind};
pub use slab::cache::{
    CacheId, Ctor, SLAB_ACCOUNT, SLAB_HWCACHE_ALIGN, SLAB_NOLEAKTRACE, SLAB_PANIC,
    SLAB_RECLAIM_ACCOUNT, SlabFlags,
};
pub use slab::kmem_cache::DestroyError;
pub use vmalloc::areas::VmallocRange;
pub use words::policy::KvmallocVersion;
pub use words::{addr, error, fate, gfp, guide, task};
