//! The public face: every call under its C name, on one machine.
//!
//! It is a thin front: what a call does is on the floor that its name belongs to; here an
//! allocation is passed down, and a refused free gets its reason.

use crate::frames::fault::FaultPlan;
use crate::inspect::stat::MmStat;
use crate::inspect::validate::Corruption;
use crate::kmalloc::{Kmalloc, array_size, direct, direct_phys, zeroed};
use crate::kmem_bulk::BulkRefused;
use crate::kvfree_rcu::rcu_head_end;
use crate::kvmalloc::{Kvmalloc, Route};
use crate::memory::Memory;
use crate::slab::cache::{CacheId, Ctor, SlabFlags};
use crate::slab::kmem_cache::DestroyError;
use crate::slab::objects::Refused;
use crate::slab::slabs::SlabAllocator;
use crate::vmalloc::area_pages::Vmalloc;
use crate::vmalloc::areas::VmallocRange;
use crate::words::addr::{Paddr, Pfn, Vaddr};
use crate::words::error::{AddrKind, AllocError, ConvertCall, ConvertFault, FreeCall, FreeFault};
use crate::words::gfp::{GFP_KERNEL, Gfp};
use crate::words::task::Context;

pub use early::{BootError, EarlyMm};

/// A machine's memory and all that is allocated from it.
///
/// A call that fails has changed nothing, but for two things that are no one's loss: a slab may
/// have been taken and be kept empty, and lazily freed areas may have been purged.
#[derive(Debug)]
pub struct Mm<M> {
    pub(crate) kvmalloc: Kvmalloc<M>,
}

impl<M: Memory> Mm<M> {
    /// The machine.
    pub const fn memory(&self) -> &M {
        &self.kvmalloc.vmalloc.kmalloc.slab.pages.memory
    }

    /// The machine, for its user to write to the memory it was given.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.kvmalloc.vmalloc.kmalloc.slab.pages.memory
    }

    /// Gives the machine back.
    pub fn into_memory(self) -> M {
        self.kvmalloc.vmalloc.kmalloc.slab.pages.memory
    }

    const fn kmalloc_floor(&mut self) -> &mut Kmalloc<M> {
        &mut self.kvmalloc.vmalloc.kmalloc
    }

    const fn slab_floor(&mut self) -> &mut SlabAllocator<M> {
        &mut self.kvmalloc.vmalloc.kmalloc.slab
    }

    /// Refuses to free anything in a non-maskable interrupt (R1.13), and what is to be freed after
    /// a grace period (R6.7). What is nothing to free is not looked at.
    pub(crate) fn check_free(
        &self,
        addr: Vaddr,
        called: FreeCall,
        told: Option<u64>,
    ) -> Result<(), FreeFault> {
        let is_nmi = self.kvmalloc.vmalloc.context() == Context::Nmi;
        if addr.is_zero_or_null() || !is_nmi && !self.kvmalloc.is_queued(addr) {
            return Ok(());
        }
        Err(self.kvmalloc.fault(addr, called, told))
    }

    fn freed(
        &self,
        result: Result<(), Refused>,
        addr: Vaddr,
        called: FreeCall,
    ) -> Result<(), FreeFault> {
        result.map_err(|Refused| self.kvmalloc.fault(addr, called, None))
    }
}

/// Slab caches (R2).
impl<M: Memory> Mm<M> {
    /// Makes a cache of objects of 1 byte to 4 MiB, at multiples of `align`: a power of two up to
    /// 4 MiB, or 0.
    pub fn kmem_cache_create(
        &mut self,
        size: u64,
        align: u64,
        flags: SlabFlags,
        ctor: Option<Ctor>,
    ) -> Result<CacheId, AllocError> {
        self.slab_floor().create(size, align, flags, ctor)
    }

    /// Takes an object; `BadArgument` when the name is of no cache, or when an object that is
    /// constructed shall be zeroed.
    pub fn kmem_cache_alloc(&mut self, cache: CacheId, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.slab_floor().alloc_by_name(cache, gfp).map(direct)
    }

    /// Takes an object that reads as zero.
    pub fn kmem_cache_zalloc(&mut self, cache: CacheId, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.kmem_cache_alloc(cache, zeroed(gfp))
    }

    /// Gives an object back to the cache it came from.
    pub fn kmem_cache_free(&mut self, cache: CacheId, addr: Vaddr) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::KmemCacheFree, None)?;
        let result = match direct_phys(addr) {
            Some(at) => self.slab_floor().free_by_name(cache, at),
            None => Err(Refused),
        };
        self.freed(result, addr, FreeCall::KmemCacheFree)
    }

    /// Takes as many objects as there is room for in `objects`, or none.
    pub fn kmem_cache_alloc_bulk(
        &mut self,
        cache: CacheId,
        gfp: Gfp,
        objects: &mut [Vaddr],
    ) -> Result<(), AllocError> {
        self.kmalloc_floor().alloc_bulk(cache, gfp, objects)
    }

    /// Gives several objects back to the cache they came from: all, or none if one is wrong. Takes
    /// time in proportion to the square of their number.
    pub fn kmem_cache_free_bulk(
        &mut self,
        cache: CacheId,
        objects: &[Vaddr],
    ) -> Result<(), FreeFault> {
        let called = FreeCall::KmemCacheFree;
        // In a non-maskable interrupt the first address decides, be it right, wrong or nothing.
        if let (Context::Nmi, Some(first)) = (self.kvmalloc.vmalloc.context(), objects.first()) {
            return Err(self.kvmalloc.fault(*first, called, None));
        }
        let queued = objects.iter().position(|object| self.kvmalloc.is_queued(*object));
        let result = self.kmalloc_floor().free_bulk(cache, objects, queued);
        result.map_err(|refused| match refused {
            BulkRefused::Wrong(place) => self.kvmalloc.fault(objects[place], called, None),
            BulkRefused::Again(place) => self.kvmalloc.fault_of_again(objects[place], called),
        })
    }

    /// Gives back the cache's empty slabs; returns how many pages that were.
    pub fn kmem_cache_shrink(&mut self, cache: CacheId) -> u32 {
        self.slab_floor().shrink_by_name(cache)
    }

    /// Destroys a cache that has no live object.
    pub fn kmem_cache_destroy(&mut self, cache: CacheId) -> Result<(), DestroyError> {
        self.slab_floor().destroy(cache)
    }

    /// Gives back the empty slabs of all caches, the object kept ready for vmalloc and the page
    /// tables that map nothing, and drains what CPUs keep; returns how many pages were given back.
    /// With nothing live and nothing lazy, the machine is then as at boot.
    pub fn shrink_all(&mut self) -> u32 {
        let Vmalloc { kmalloc, vmap, .. } = &mut self.kvmalloc.vmalloc;
        vmap.drop_preload(&mut kmalloc.slab);
        let nr_pages = vmap.tables.shrink(&mut kmalloc.slab.pages) + kmalloc.slab.shrink_all();
        kmalloc.slab.pages.drain_per_cpu();
        nr_pages
    }

    /// Gives the pages that CPUs keep for themselves back to the buddies, which merge them.
    pub fn drain_all_pages(&mut self) {
        self.slab_floor().pages.drain_per_cpu();
    }
}

/// kmalloc (R1).
impl<M: Memory> Mm<M> {
    /// Takes `size` bytes of contiguous memory.
    #[inline]
    pub fn kmalloc(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.kmalloc_floor().kmalloc(size, gfp)
    }

    /// [`Self::kmalloc`] of memory that reads as zero, to the last usable byte.
    pub fn kzalloc(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.kmalloc(size, zeroed(gfp))
    }

    /// [`Self::kmalloc`] of `n` elements of `size` bytes.
    pub fn kmalloc_array(&mut self, n: u64, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.kmalloc(array_size(n, size)?, gfp)
    }

    /// [`Self::kzalloc`] of `n` elements of `size` bytes.
    pub fn kcalloc(&mut self, n: u64, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.kmalloc_array(n, size, zeroed(gfp))
    }

    /// Gives back memory of kmalloc or of any cache; NULL and `ZERO_SIZE_PTR` are nothing to do.
    #[inline]
    pub fn kfree(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::Kfree, None)?;
        let result = self.kmalloc_floor().kfree(addr);
        self.freed(result, addr, FreeCall::Kfree)
    }

    /// Gives back what [`Self::kmalloc_nolock`] gave, in any context; NULL and `ZERO_SIZE_PTR` are
    /// nothing to do. Whether an object of kmalloc came from there its address does not tell.
    pub fn kfree_nolock(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        if self.kvmalloc.is_queued(addr) {
            return Err(self.refusal(addr, FreeCall::KfreeNolock));
        }
        let result = self.kmalloc_floor().kfree_nolock(addr);
        self.freed(result, addr, FreeCall::KfreeNolock)
    }

    /// [`Self::kfree`] of memory that held a secret: all of it is cleared first.
    pub fn kfree_sensitive(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::KfreeSensitive, None)?;
        let result = self.kmalloc_floor().kfree_sensitive(addr);
        self.freed(result, addr, FreeCall::KfreeSensitive)
    }

    /// How many bytes of a kmalloc or cache object its holder may use; 0 for NULL and
    /// `ZERO_SIZE_PTR` (R1.2).
    pub fn ksize(&self, addr: Vaddr) -> Result<u64, FreeFault> {
        if addr.is_zero_or_null() {
            return Ok(0);
        }
        let (is, live) = self.kvmalloc.describe(addr);
        let has_size =
            matches!(is, AddrKind::KmallocObject | AddrKind::CacheObject | AddrKind::LargeKmalloc);
        match live.filter(|live| has_size && live.start == addr) {
            Some(live) => Ok(live.usable),
            None => Err(self.kvmalloc.size_fault(addr)),
        }
    }
}

/// vmalloc (R4).
impl<M: Memory> Mm<M> {
    /// Takes `size` bytes of mapped memory.
    pub fn vmalloc(&mut self, size: u64) -> Result<Vaddr, AllocError> {
        self.__vmalloc(size, GFP_KERNEL)
    }

    /// [`Self::vmalloc`] of memory that reads as zero.
    pub fn vzalloc(&mut self, size: u64) -> Result<Vaddr, AllocError> {
        self.__vmalloc(size, zeroed(GFP_KERNEL))
    }

    /// [`Self::vmalloc`] with flags.
    pub fn __vmalloc(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        let range = self.kvmalloc.vmalloc.anywhere(size, gfp);
        self.kvmalloc.vmalloc.alloc(&range)
    }

    /// [`Self::__vmalloc`] that uses huge pages if it asks for 2 MiB or more and they can be had;
    /// the area then has as many bytes as they do (R4.12).
    pub fn vmalloc_huge(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        let range = self.kvmalloc.vmalloc.anywhere(size, gfp);
        self.kvmalloc.vmalloc.alloc_huge(&range)
    }

    /// [`Self::vmalloc`] with an alignment, flags, and a range to stay in.
    pub fn __vmalloc_node_range(&mut self, range: VmallocRange) -> Result<Vaddr, AllocError> {
        self.kvmalloc.vmalloc.alloc(&range)
    }

    /// Gives an area back; NULL is nothing to do.
    pub fn vfree(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::Vfree, None)?;
        let result = self.kvmalloc.vmalloc.vfree(addr);
        self.freed(result, addr, FreeCall::Vfree)
    }

    /// Gives an area back at the next [`Self::tick`], and so in any context; NULL is nothing to do.
    pub fn vfree_atomic(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::VfreeAtomic, None)?;
        let result = self.kvmalloc.vmalloc.vfree_atomic(addr);
        self.freed(result, addr, FreeCall::VfreeAtomic)
    }

    /// Takes the mapping of an area away that `vmap` made. There is no `vmap` here, so no area is
    /// one of its own; NULL is nothing to do.
    pub fn vunmap(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        if addr == Vaddr::NULL { Ok(()) } else { Err(self.refusal(addr, FreeCall::Vunmap)) }
    }

    /// Purges all lazily freed areas, so that their addresses can be used again (R4.10);
    /// `BadContext` where the caller may not sleep.
    pub fn vm_unmap_aliases(&mut self) -> Result<(), AllocError> {
        let Vmalloc { kmalloc, vmap, .. } = &mut self.kvmalloc.vmalloc;
        AllocError::check_caller(GFP_KERNEL, kmalloc.slab.pages.current.context)?;
        vmap.purge(&mut kmalloc.slab);
        Ok(())
    }
}

/// kvmalloc (R5).
impl<M: Memory> Mm<M> {
    /// Takes `size` bytes from the side that `route` says.
    pub fn kvmalloc(&mut self, size: u64, gfp: Gfp, route: Route) -> Result<Vaddr, AllocError> {
        self.kvmalloc.kvmalloc(size, gfp, route)
    }

    /// [`Self::kvmalloc`] of memory that reads as zero.
    pub fn kvzalloc(&mut self, size: u64, gfp: Gfp, route: Route) -> Result<Vaddr, AllocError> {
        self.kvmalloc(size, zeroed(gfp), route)
    }

    /// [`Self::kvmalloc`] of `n` elements of `size` bytes.
    pub fn kvmalloc_array(
        &mut self,
        n: u64,
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Vaddr, AllocError> {
        self.kvmalloc(array_size(n, size)?, gfp, route)
    }

    /// [`Self::kvzalloc`] of `n` elements of `size` bytes.
    pub fn kvcalloc(
        &mut self,
        n: u64,
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Vaddr, AllocError> {
        self.kvmalloc_array(n, size, zeroed(gfp), route)
    }

    /// Gives back memory from either side.
    pub fn kvfree(&mut self, addr: Vaddr) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::Kvfree, None)?;
        let result = self.kvmalloc.kvfree(addr);
        self.freed(result, addr, FreeCall::Kvfree)
    }
}

/// Frees after a grace period (R6.7).
impl<M: Memory> Mm<M> {
    /// Gives memory of either side back after a grace period, which a [`Self::tick`] ends: its
    /// holder must have unlinked it, and readers may find its bytes until then, but for an
    /// `rcu_head` of 16 bytes, `offset` (below 4096, and a multiple of 8) bytes into it. In any
    /// context; NULL is nothing to do.
    pub fn kvfree_rcu(&mut self, addr: Vaddr, offset: u64) -> Result<(), FreeFault> {
        let told = Some(rcu_head_end(offset));
        self.check_free(addr, FreeCall::KvfreeRcu, told)?;
        let result = self.kvmalloc.kvfree_rcu(addr, offset);
        result.map_err(|Refused| self.kvmalloc.fault(addr, FreeCall::KvfreeRcu, told))
    }
}

/// Conversions between addresses and pages (R7): those that apply to the wrong kind of
/// address in the kernel, and then yield a wrong page, are refused.
impl<M: Memory> Mm<M> {
    /// Whether the address lies in the vmalloc space, mapped or not.
    pub const fn is_vmalloc_addr(&self, addr: Vaddr) -> bool {
        self.kvmalloc.is_vmalloc_addr(addr)
    }

    /// Whether the address lies in the direct map of a frame: the only test there is (R7.1).
    pub fn virt_addr_valid(&self, addr: Vaddr) -> bool {
        self.kvmalloc.virt_addr_valid(addr)
    }

    /// The page behind an address of the direct map.
    pub fn virt_to_page(&self, addr: Vaddr) -> Result<Pfn, ConvertFault> {
        self.kvmalloc.page_of(addr, ConvertCall::VirtToPage)
    }

    /// The address of a page in the direct map.
    pub fn page_address(&self, pfn: Pfn) -> Result<Vaddr, ConvertFault> {
        self.kvmalloc.page_address(pfn)
    }

    /// The physical address behind an address of the direct map.
    pub fn virt_to_phys(&self, addr: Vaddr) -> Result<Paddr, ConvertFault> {
        self.kvmalloc.virt_to_phys(addr)
    }

    /// The page behind a mapped address; like the kernel's, it takes the direct map as well.
    pub fn vmalloc_to_page(&self, addr: Vaddr) -> Result<Pfn, ConvertFault> {
        self.kvmalloc.page_of(addr, ConvertCall::VmallocToPage)
    }
}

/// Looking at the machine, and injecting failure.
impl<M: Memory> Mm<M> {
    /// Sets which calls fail, counted from now on.
    pub fn set_faults(&mut self, plan: FaultPlan) {
        self.slab_floor().pages.faults.set(plan);
    }

    /// How many calls have been failed by injection since boot.
    pub const fn nr_faults_fired(&self) -> u32 {
        self.kvmalloc.vmalloc.kmalloc.slab.pages.faults.nr_fired()
    }

    /// The refusal of a wrong free: for callers that have an address, and no page to give.
    pub fn refusal(&self, addr: Vaddr, called: FreeCall) -> FreeFault {
        self.kvmalloc.fault(addr, called, None)
    }

    /// What an address is.
    pub fn describe(&self, addr: Vaddr) -> AddrKind {
        self.kvmalloc.describe(addr).0
    }

    /// How many bytes the live memory around an address has for its holder.
    pub fn usable_size(&self, addr: Vaddr) -> Option<u64> {
        self.kvmalloc.describe(addr).1.map(|live| live.usable)
    }

    /// All counts.
    pub fn stat(&self) -> MmStat {
        self.kvmalloc.stat()
    }

    /// Checks every invariant over everything. Takes time in proportion to the machine.
    ///
    /// # Errors
    /// The first invariant found broken.
    pub fn validate(&self) -> Result<(), Corruption> {
        self.kvmalloc.check()
    }

    /// Checks the trees of the vmalloc space alone, the augmented maxima among them. Takes time in
    /// proportion to the areas and holes, so that it can be done after every call.
    ///
    /// # Errors
    /// The first invariant found broken.
    pub fn validate_vmap(&self) -> Result<(), Corruption> {
        self.kvmalloc.vmalloc.check_trees().map(|_| ())
    }
}

mod early;
mod node;
mod pages;
mod sized;
#[cfg(test)]
mod test;
mod world;
