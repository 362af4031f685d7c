//! A machine before its page allocator: the boot allocator's calls, and the hand-over.
//!
//! The one idea: early and late are two types. What [`EarlyMm`] gave out stays taken for ever once
//! [`EarlyMm::hand_over`] has made an [`Mm`] of it, which has no such calls; so nobody can take
//! boot memory too late. On Linux a late `memblock_alloc` warns, and is a `kzalloc` from then on.
//!
//! What alloc-core needs for itself is set aside before the first call, so that the hand-over
//! cannot fail.

use super::Mm;
use crate::frames::frame::{FRAME_BYTES, MemMap};
use crate::frames::memblock::{Memblock, MemblockError};
use crate::inspect::validate::Corruption;
use crate::kmalloc::{Kmalloc, direct, direct_phys};
use crate::kvmalloc::{Kvmalloc, RcuQueue};
use crate::memory::Memory;
use crate::pages::allocator::{BootParams, PageAllocator};
use crate::slab::cache_list::{AREA_BYTES, boot_cache_bytes};
use crate::slab::slabs::SlabAllocator;
use crate::vmalloc::area_pages::Vmalloc;
use crate::vmalloc::page_table::PageTables;
use crate::vmalloc::vmap::VmapSpace;
use crate::words::addr::{PAGE_SHIFT, Paddr, VMALLOC_START, Vaddr};
use crate::words::policy::Rules;
use crate::words::task::{NR_CPUS, NR_NODES};

/// Why a machine did not boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BootError {
    /// The frames do not hold the descriptors and a page to begin with.
    TooFewFrames,
    /// The vmalloc space is empty or reaches beyond the last address.
    BadVmallocSpace,
    /// There is no CPU, or there are more than [`NR_CPUS`].
    BadNrCpus,
    /// There is no node, or there are more than [`NR_NODES`].
    BadNrNodes,
}

/// A machine whose memory has not been handed over to the page allocator yet.
#[derive(Debug)]
pub struct EarlyMm<M> {
    memory: M,
    memblock: Memblock,
    params: BootParams,
    mem_map: Paddr,
    boot_caches: Paddr,
    first_area: Paddr,
    page_tables: Paddr,
}

impl<M: Memory> EarlyMm<M> {
    /// Takes over a machine. What its memory holds does not matter, and no page may be mapped.
    ///
    /// # Errors
    /// [`BootError`], when the machine is too small or its vmalloc space impossible.
    pub fn boot(memory: M, params: BootParams) -> Result<Self, BootError> {
        let nr_frames = memory.nr_frames();
        let last_page = (u64::MAX - VMALLOC_START) >> PAGE_SHIFT;
        if memory.nr_vmalloc_pages() == 0 || memory.nr_vmalloc_pages() > last_page {
            return Err(BootError::BadVmallocSpace);
        }
        if params.nr_cpus == 0 || usize::from(params.nr_cpus) > NR_CPUS {
            return Err(BootError::BadNrCpus);
        }
        if params.nr_nodes == 0 || usize::from(params.nr_nodes) > NR_NODES {
            return Err(BootError::BadNrNodes);
        }
        let mut memblock = Memblock::new(nr_frames);
        let mut carve = |nr_bytes| memblock.carve(nr_bytes).ok_or(BootError::TooFewFrames);
        let mem_map = carve(u64::from(nr_frames) * FRAME_BYTES)?;
        let boot_caches = carve(boot_cache_bytes(params.nr_cpus.into()))?;
        let first_area = carve(AREA_BYTES)?;
        let page_tables = carve(PageTables::bytes_for(memory.nr_vmalloc_pages()))?;
        if memblock.free_runs().next().is_none() {
            return Err(BootError::TooFewFrames);
        }
        Ok(Self { memory, memblock, params, mem_map, boot_caches, first_area, page_tables })
    }

    /// Takes `size` bytes at a multiple of `align`, a power of two or 0 for a cache line's. They
    /// read as zero, and are next to each other.
    ///
    /// # Errors
    /// [`MemblockError`]; Linux returns NULL, and cannot tell a bad argument.
    pub fn memblock_alloc(&mut self, size: u64, align: u64) -> Result<Vaddr, MemblockError> {
        let at = self.memblock.alloc(size, align)?;
        self.memory.zero_bytes(at, size);
        Ok(direct(at))
    }

    /// Takes the `size` bytes at `base`, whose contents stay.
    ///
    /// # Errors
    /// [`MemblockError`], also when a part of them is taken, which Linux does not notice.
    pub fn memblock_reserve(&mut self, base: Paddr, size: u64) -> Result<(), MemblockError> {
        self.memblock.reserve(base, size)
    }

    /// Gives back a range that was taken as it is given back.
    ///
    /// # Errors
    /// [`MemblockError`], when no such range was taken.
    pub fn memblock_phys_free(&mut self, base: Paddr, size: u64) -> Result<(), MemblockError> {
        self.memblock.free(base, size)
    }

    /// [`Self::memblock_phys_free`], by the address in the direct map; NULL is nothing to do.
    ///
    /// # Errors
    /// As [`Self::memblock_phys_free`].
    pub fn memblock_free(&mut self, addr: Vaddr, size: u64) -> Result<(), MemblockError> {
        match direct_phys(addr) {
            _ if addr == Vaddr::NULL => Ok(()),
            Some(base) => self.memblock.free(base, size),
            None => Err(MemblockError::NotTaken),
        }
    }

    /// `memblock_free_all`: gives every frame that is free from end to end to the page allocator.
    /// What was taken stays reserved, and its contents stay what they are.
    pub fn hand_over(self) -> Mm<M> {
        let Self { mut memory, memblock, params, .. } = self;
        let nr_frames = memory.nr_frames();
        let map = MemMap::clear(&mut memory, self.mem_map, nr_frames);
        let pages = PageAllocator::boot(memory, map, memblock.free_runs(), &params);
        let mut slab = SlabAllocator::boot(pages, self.boot_caches, params.nr_cpus.into());
        let tables = PageTables::boot(&mut slab.pages.memory, self.page_tables);
        let vmap = VmapSpace::boot(&mut slab.pages.memory, self.first_area, tables, params.nr_cpus);
        let mut vmalloc = Vmalloc::boot(Kmalloc { slab }, vmap);
        let rules = Rules::of(params.version, params.cutoff_pages);
        vmalloc.vmap.tables.spares_sleep = rules.vmalloc_spares_sleep();
        Mm { kvmalloc: Kvmalloc { vmalloc, rules, queue: RcuQueue::EMPTY } }
    }

    /// Checks the boot allocator's invariant.
    ///
    /// # Errors
    /// It is broken.
    pub fn validate(&self) -> Result<(), Corruption> {
        let what = "the boot allocator's ranges are out of order, or meet";
        let broken = Corruption { invariant: 15, what, addr: Vaddr::NULL };
        if self.memblock.is_sound() { Ok(()) } else { Err(broken) }
    }

    /// The machine.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// The machine, for its user to write to the memory it was given.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Gives the machine back.
    pub fn into_memory(self) -> M {
        self.memory
    }
}

impl<M: Memory> Mm<M> {
    /// Takes over a machine, with nothing taken before the hand-over but what alloc-core needs.
    ///
    /// # Errors
    /// As [`EarlyMm::boot`].
    pub fn boot(memory: M, params: BootParams) -> Result<Self, BootError> {
        EarlyMm::boot(memory, params).map(EarlyMm::hand_over)
    }
}

#[cfg(test)]
mod test {
    extern crate std;

    use super::*;
    use crate::test_memory::TestMemory;
    use crate::words::addr::PAGE_SIZE;
    use crate::words::error::{AddrKind, FreeVerdict};
    use crate::words::gfp::{GFP_ATOMIC, GFP_KERNEL};

    fn early(nr_frames: u32) -> EarlyMm<TestMemory> {
        let memory = TestMemory::new(nr_frames, 64);
        EarlyMm::boot(memory, BootParams::default()).unwrap()
    }

    #[test]
    fn what_was_taken_early_is_never_handed_out() {
        let mut early = early(64);
        let taken = early.memblock_alloc(5000, 64).unwrap();
        early.memblock_reserve(Paddr(20 * PAGE_SIZE + 8), 8).unwrap();
        let phys = direct_phys(taken).unwrap();
        early.memory_mut().store(phys, 42);
        early.validate().unwrap();
        let mut mm = early.hand_over();
        mm.validate().unwrap();
        // The bottom page holds what alloc-core needs, two and one were taken.
        assert_eq!(mm.stat().nr_managed_pages, 64 - 1 - 2 - 1);
        while let Ok(pfn) = mm.alloc_pages(GFP_ATOMIC, 0) {
            assert!(![0, 20, 62, 63].contains(&pfn.0), "frame {} was taken", pfn.0);
        }
        assert_eq!(mm.memory().load(phys), 42);
        let fault = mm.kfree(taken).unwrap_err();
        assert_eq!((fault.verdict, fault.is), (FreeVerdict::Wild, AddrKind::Reserved));
        mm.validate().unwrap();
    }

    #[test]
    fn what_was_given_back_early_is_handed_over() {
        let mut early = early(64);
        let taken = early.memblock_alloc(5000, 64).unwrap();
        assert_eq!(early.memblock_free(taken, 4999), Err(MemblockError::WrongSize));
        assert_eq!(early.memblock_free(Vaddr(1 << 20), 1), Err(MemblockError::NotTaken));
        early.memblock_free(taken, 5000).unwrap();
        early.memblock_free(Vaddr::NULL, 5000).unwrap();
        assert_eq!(early.hand_over().stat().nr_managed_pages, 63);
    }

    #[test]
    fn a_machine_of_which_all_was_taken_has_nothing_to_give() {
        let mut early = early(64);
        while early.memblock_alloc(PAGE_SIZE, PAGE_SIZE).is_ok() {}
        let mut mm = early.hand_over();
        assert_eq!(mm.stat().nr_managed_pages, 0);
        assert!(mm.kmalloc(8, GFP_KERNEL).is_err());
        assert!(mm.vmalloc(1).is_err());
        mm.validate().unwrap();
    }
}
