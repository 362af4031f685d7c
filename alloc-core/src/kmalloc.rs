//! kmalloc: memory of any size, from a size class or straight from the page allocator (R1).
//!
//! The one idea: the size chooses the side once, at 8 KiB, and the descriptor of the frame
//! remembers it, so `kfree` needs nothing but the address.
//!
//! Why a free was refused is not decided here: an address may belong to a floor above.

use crate::frames::frame::FrameState;
use crate::memory::Memory;
use crate::slab::cache::CacheOwner;
use crate::slab::cache_list::CLASS_SIZES;
use crate::slab::objects::Refused;
use crate::slab::slabs::SlabAllocator;
use crate::words::addr::{
    KMALLOC_MAX_SIZE, NR_ORDERS, PAGE_OFFSET, PAGE_SHIFT, Paddr, Vaddr, order_for,
};
use crate::words::error::AllocError;
use crate::words::gfp::{__GFP_ACCOUNT, __GFP_NOMEMALLOC, __GFP_NOWARN, __GFP_ZERO, Gfp};
use crate::words::task::Context;

/// The largest size that has a class (`KMALLOC_MAX_CACHE_SIZE`, R0.2).
const KMALLOC_MAX_CACHE_SIZE: u64 = CLASS_SIZES[CLASS_SIZES.len() - 1];

/// The flags that `kmalloc_nolock` takes.
const GFP_NOLOCK: Gfp = Gfp(__GFP_ACCOUNT.0 | __GFP_ZERO.0);

const _: () = assert!(
    order_for(KMALLOC_MAX_SIZE) < NR_ORDERS as u32,
    "the largest kmalloc is a block of pages"
);

/// kmalloc, which owns the slab allocator.
#[derive(Debug)]
pub(crate) struct Kmalloc<M> {
    pub(crate) slab: SlabAllocator<M>,
}

impl<M: Memory> Kmalloc<M> {
    /// `kmalloc`.
    #[inline]
    pub(crate) fn kmalloc(&mut self, size_bytes: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        if size_bytes == 0 {
            return Ok(Vaddr::ZERO_SIZE_PTR);
        }
        AllocError::check_caller(gfp, self.slab.pages.current.context)?;
        if size_bytes <= KMALLOC_MAX_CACHE_SIZE {
            let cache = self.slab.caches.kmalloc(size_bytes);
            return self.slab.alloc(cache, gfp).map(direct);
        }
        if size_bytes > KMALLOC_MAX_SIZE {
            return Err(self.slab.pages.others.refuse_too_large(gfp));
        }
        let order = order_for(size_bytes);
        let pfn = self.slab.pages.alloc_block(gfp, order, FrameState::LargeKmalloc)?;
        Ok(pfn.to_virt())
    }

    /// `kmalloc_nolock`: an object of a size class. It makes no effort and says nothing. A lock
    /// that somebody has is met by injection alone (R1.14).
    pub(crate) fn kmalloc_nolock(
        &mut self,
        size_bytes: u64,
        gfp: Gfp,
    ) -> Result<Vaddr, AllocError> {
        if gfp.without(GFP_NOLOCK) != Gfp(0) {
            return Err(AllocError::BadArgument);
        }
        match size_bytes {
            0 => Ok(Vaddr::ZERO_SIZE_PTR),
            1..=KMALLOC_MAX_CACHE_SIZE => {
                let cache = self.slab.caches.kmalloc(size_bytes);
                let light = gfp | __GFP_NOWARN | __GFP_NOMEMALLOC;
                self.slab.alloc(cache, light).map(direct)
            }
            _ => Err(AllocError::TooLarge),
        }
    }

    /// `kfree_nolock`: takes objects of size classes alone.
    pub(crate) fn kfree_nolock(&mut self, addr: Vaddr) -> Result<(), Refused> {
        if addr.is_zero_or_null() {
            return Ok(());
        }
        let object = direct_phys(addr).and_then(|at| self.slab.live_object(at)).ok_or(Refused)?;
        if object.geometry.owner != CacheOwner::Kmalloc {
            return Err(Refused);
        }
        self.slab.free(&object);
        Ok(())
    }

    /// `kfree`: takes objects of size classes and of caches (R2.7) and large blocks.
    #[inline]
    pub(crate) fn kfree(&mut self, addr: Vaddr) -> Result<(), Refused> {
        if addr.is_zero_or_null() {
            return Ok(());
        }
        let at = direct_phys(addr).ok_or(Refused)?;
        if let Some(object) = self.slab.live_object(at) {
            self.slab.free(&object);
            return Ok(());
        }
        let pages = &mut self.slab.pages;
        match pages.map.head_of(&pages.memory, at) {
            Some((pfn, frame))
                if frame.state == FrameState::LargeKmalloc && pfn.to_phys() == at =>
            {
                pages.free_block(pfn);
                Ok(())
            }
            _ => Err(Refused),
        }
    }
}

/// Calls that need to know how large the memory is (R1.7, R5.6).
impl<M: Memory> Kmalloc<M> {
    /// `ksize`: the bytes that the holder of an address may use; none behind NULL and
    /// `ZERO_SIZE_PTR` (R1.2). An object that was constructed is refused: its holder could not put
    /// back what its next holder relies on (R2.5).
    pub(crate) fn usable(&self, addr: Vaddr) -> Result<u64, Refused> {
        if addr.is_zero_or_null() {
            return Ok(0);
        }
        let at = direct_phys(addr).ok_or(Refused)?;
        if let Some(object) = self.slab.live_object(at) {
            let size = object.geometry.size.into();
            return if object.geometry.has_ctor { Err(Refused) } else { Ok(size) };
        }
        let pages = &self.slab.pages;
        match pages.map.head_of(&pages.memory, at) {
            Some((pfn, frame))
                if frame.state == FrameState::LargeKmalloc && pfn.to_phys() == at =>
            {
                Ok(u64::from(frame.nr_pages()) << PAGE_SHIFT)
            }
            _ => Err(Refused),
        }
    }

    /// `kfree_sensitive`: clears all that the holder could use, and not only what it asked for.
    pub(crate) fn kfree_sensitive(&mut self, addr: Vaddr) -> Result<(), Refused> {
        let nr_bytes = self.usable(addr)?;
        if let Some(at) = direct_phys(addr) {
            self.slab.pages.memory.zero(at, nr_bytes);
        }
        self.kfree(addr)
    }

    /// `krealloc`: memory that has room stays where it is, and so does its class (R1.7). What moves
    /// takes all of its bytes along, also those behind the size that was asked for.
    pub(crate) fn krealloc(
        &mut self,
        addr: Vaddr,
        size: u64,
        gfp: Gfp,
    ) -> Result<Result<Vaddr, AllocError>, Refused> {
        let room = self.usable(addr)?;
        if size == 0 {
            if self.slab.pages.current.context == Context::Nmi && !addr.is_zero_or_null() {
                return Ok(Err(AllocError::BadContext));
            }
            self.kfree(addr)?;
            return Ok(Ok(Vaddr::ZERO_SIZE_PTR));
        }
        // Whether it could stay is nothing that its caller may count on.
        if let Err(error) = AllocError::check_caller(gfp, self.slab.pages.current.context) {
            return Ok(Err(error));
        }
        let old = direct_phys(addr);
        if let Some(old) = old.filter(|_| size <= room) {
            if gfp.has(__GFP_ZERO) {
                self.slab.pages.memory.zero_bytes(Paddr(old.0 + size), room - size);
            }
            return Ok(Ok(addr));
        }
        let moved = self.kmalloc(size, gfp);
        if let Ok(new) = moved {
            if let (Some(old), Some(new)) = (old, direct_phys(new)) {
                self.slab.pages.memory.copy_bytes(old, new, room);
            }
            self.kfree(addr)?;
        }
        Ok(moved)
    }
}

/// The product of an array call, or `Overflow` (R1.1).
pub(crate) fn array_size(n: u64, size_bytes: u64) -> Result<u64, AllocError> {
    n.checked_mul(size_bytes).ok_or(AllocError::Overflow)
}

/// The flags of the zeroing variants.
pub(crate) fn zeroed(gfp: Gfp) -> Gfp {
    gfp | __GFP_ZERO
}

/// The address of physical memory in the direct map (`phys_to_virt`).
pub(crate) const fn direct(at: Paddr) -> Vaddr {
    Vaddr(PAGE_OFFSET + at.0)
}

/// The physical address behind an address of the direct map; it may lie beyond the last frame.
pub(crate) const fn direct_phys(addr: Vaddr) -> Option<Paddr> {
    match addr.0.checked_sub(PAGE_OFFSET) {
        Some(at) => Some(Paddr(at)),
        None => None,
    }
}
