//! The calls that are told the size of memory a second time, when they replace it or give it back.
//!
//! Linux believes that size, and frees, clears or copies that much whatever is there. Here it is
//! held against the memory's own, and a size that does not fit is a refused free.
//!
//! This is a part of the public face; what the calls do is on the floors below.

use super::Mm;
use crate::dma::Coherent;
use crate::kmalloc::direct_phys;
use crate::kvmalloc::Route;
use crate::memory::Memory;
use crate::slab::objects::Refused;
use crate::words::addr::{Pfn, Vaddr};
use crate::words::error::{AllocError, FreeCall, FreeFault, ReallocError};
use crate::words::fate::Fate;
use crate::words::gfp::Gfp;
use crate::words::policy::OldSize;
use crate::words::task::Context;

/// Pages by their size, and memory for devices (R3.3, R7.3).
impl<M: Memory> Mm<M> {
    /// Takes the pages that hold `size` bytes, next to each other, and no more.
    pub fn alloc_pages_exact(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        self.slab_floor().pages.alloc_exact(size, gfp).map(Pfn::to_virt)
    }

    /// Gives back all pages of an [`Self::alloc_pages_exact`] of as many pages; NULL is nothing to
    /// do.
    pub fn free_pages_exact(&mut self, addr: Vaddr, size: u64) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::FreePagesExact, Some(size))?;
        let result = match direct_phys(addr) {
            _ if addr == Vaddr::NULL => Ok(()),
            Some(at) if self.slab_floor().pages.free_exact(at, size) => Ok(()),
            _ => Err(Refused),
        };
        self.freed_sized(result, addr, FreeCall::FreePagesExact, size)
    }

    /// Takes memory that the processor and a device see alike, and that reads as zero. What the
    /// device calls it does not follow from the address.
    pub fn dma_alloc_coherent(&mut self, size: u64, gfp: Gfp) -> Result<Coherent, AllocError> {
        self.slab_floor().pages.dma_alloc(size, gfp)
    }

    /// Gives back memory of [`Self::dma_alloc_coherent`] of the same order, but not in an interrupt
    /// handler, for it may have to be unmapped; NULL is nothing to do.
    pub fn dma_free_coherent(&mut self, addr: Vaddr, size: u64) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::DmaFreeCoherent, Some(size))?;
        let is_irq = self.kvmalloc.vmalloc.context() == Context::Hardirq;
        let result = match direct_phys(addr) {
            _ if addr == Vaddr::NULL => Ok(()),
            Some(at) if !is_irq && self.slab_floor().pages.dma_free(at, size) => Ok(()),
            _ => Err(Refused),
        };
        self.freed_sized(result, addr, FreeCall::DmaFreeCoherent, size)
    }
}

/// Another size for live memory (R1.7, R5.5), and freeing secrets from either side (R5.6).
impl<M: Memory> Mm<M> {
    /// Gives memory of kmalloc, or of a cache without a constructor, room for `size` bytes, where
    /// it is or elsewhere. NULL and `ZERO_SIZE_PTR` stand for no memory; a size of 0 frees.
    pub fn krealloc(&mut self, addr: Vaddr, size: u64, gfp: Gfp) -> Result<Vaddr, ReallocError> {
        let result = match self.kvmalloc.is_queued(addr) {
            false => self.kmalloc_floor().krealloc(addr, size, gfp),
            true => Err(Refused),
        };
        self.reallocated(result, addr, FreeCall::Krealloc, None)
    }

    /// Moves memory of either side to memory of `size` bytes with its first `old_size` bytes,
    /// unless these are as many already. From the version of 6.12 on it is [`Self::krealloc`] for
    /// either side: `old_size` is not looked at, and mapped memory stays mapped.
    pub fn kvrealloc(
        &mut self,
        addr: Vaddr,
        old_size: u64,
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Vaddr, ReallocError> {
        let result = match self.kvmalloc.is_queued(addr) {
            false => self.kvmalloc.kvrealloc(addr, old_size, size, gfp, route),
            true => Err(Refused),
        };
        let told = (self.kvmalloc.rules.old_size() == OldSize::Told).then_some(old_size);
        let result = self.reallocated(result, addr, FreeCall::Kvrealloc, told);
        match result {
            // A kvrealloc that is told the old size, and is not to grow, does not look at the
            // memory (R5.5).
            Err(ReallocError::Free(fault)) if told.is_some_and(|told| told >= size) => {
                Err(ReallocError::Free(FreeFault { on_linux: Fate::Untouched, ..fault }))
            }
            result => result,
        }
    }

    /// [`Self::krealloc`] for areas of vmalloc. A size of 0 frees the area and gives NULL.
    pub fn vrealloc(&mut self, addr: Vaddr, size: u64, gfp: Gfp) -> Result<Vaddr, ReallocError> {
        let result = match self.kvmalloc.is_queued(addr) {
            false => self.kvmalloc.vrealloc(addr, size, gfp),
            true => Err(Refused),
        };
        self.reallocated(result, addr, FreeCall::Vrealloc, None)
    }

    fn reallocated(
        &self,
        result: Result<Result<Vaddr, AllocError>, Refused>,
        addr: Vaddr,
        called: FreeCall,
        told: Option<u64>,
    ) -> Result<Vaddr, ReallocError> {
        match result {
            Ok(result) => result.map_err(ReallocError::Alloc),
            Err(Refused) => Err(ReallocError::Free(self.kvmalloc.fault(addr, called, told))),
        }
    }

    /// [`Self::kvfree`] of memory whose first `len` bytes held a secret: these are cleared first.
    pub fn kvfree_sensitive(&mut self, addr: Vaddr, len: u64) -> Result<(), FreeFault> {
        self.check_free(addr, FreeCall::KvfreeSensitive, Some(len))?;
        let result = self.kvmalloc.kvfree_sensitive(addr, len);
        self.freed_sized(result, addr, FreeCall::KvfreeSensitive, len)
    }

    fn freed_sized(
        &self,
        result: Result<(), Refused>,
        addr: Vaddr,
        called: FreeCall,
        told: u64,
    ) -> Result<(), FreeFault> {
        result.map_err(|Refused| self.kvmalloc.fault(addr, called, Some(told)))
    }
}
