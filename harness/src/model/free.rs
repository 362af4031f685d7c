//! Frees: what must come of a call that frees, by the address alone.
//!
//! The one idea: as in the kernel, a free is a function of the address and of what is live there,
//! never of how the caller came by it (R6.2 to R6.4). Live memory
//! has one right answer for each call; for free memory the name of the refusal depends on its
//! history, which only the last free tells.
//!
//! Nothing here changes the book.

use super::rules::{PAGE, order_of, pages_of};
use super::{Allocation, Kind, Model};
use crate::op::Class;
use crate::subject::{CacheHandle, Request};
use alloc_core::task::Context;

/// A call that frees, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// `kfree`.
    Kfree,
    /// `kvfree`.
    Kvfree,
    /// `vfree`.
    Vfree,
    /// `vunmap`.
    Vunmap,
    /// `vfree_atomic`.
    VfreeAtomic,
    /// `kmem_cache_free` with this cache.
    Cache(CacheHandle),
    /// `free_pages` with this order.
    Pages(u32),
    /// `put_page`.
    PutPage,
    /// `free_pages_exact` of this many bytes.
    PagesExact(u64),
    /// `dma_free_coherent` of this many bytes.
    DmaCoherent(u64),
    /// `kfree_sensitive`.
    KfreeSensitive,
    /// `kvfree_sensitive` of this many bytes.
    KvfreeSensitive(u64),
    /// `krealloc`, which frees what it replaces.
    Krealloc,
    /// `kvrealloc` of memory from which this many bytes are copied, if it is told.
    Kvrealloc {
        /// The bytes, if the call does not know them.
        told: Option<u64>,
        /// The bytes that are wanted.
        size: u64,
    },
    /// `memblock_free` of this many bytes.
    Boot(u64),
}

impl Free {
    /// The free that a request is, and the address it frees.
    pub fn of(request: &Request) -> Option<(Self, u64)> {
        match *request {
            Request::Kfree { addr } => Some((Free::Kfree, addr)),
            Request::Vfree { addr } => Some((Free::Vfree, addr)),
            Request::VfreeAtomic { addr } => Some((Free::VfreeAtomic, addr)),
            Request::Kvfree { addr } => Some((Free::Kvfree, addr)),
            Request::KmemCacheFree { cache, addr } => Some((Free::Cache(cache), addr)),
            Request::FreePages { addr, order } | Request::FreePagesPage { page: addr, order } => {
                Some((Free::Pages(order), addr))
            }
            Request::PutPage { page } => Some((Free::PutPage, page)),
            Request::Vunmap { addr } => Some((Free::Vunmap, addr)),
            Request::FreePage { addr } => Some((Free::Pages(0), addr)),
            Request::FreePagesExact { addr, size } => Some((Free::PagesExact(size), addr)),
            Request::DmaFreeCoherent { addr, size } => Some((Free::DmaCoherent(size), addr)),
            Request::KfreeSensitive { addr } => Some((Free::KfreeSensitive, addr)),
            Request::KvfreeSensitive { addr, len } => Some((Free::KvfreeSensitive(len), addr)),
            Request::Krealloc { addr, .. } => Some((Free::Krealloc, addr)),
            Request::Kvrealloc { addr, old_size, size, .. } => {
                Some((Free::Kvrealloc { told: old_size, size }, addr))
            }
            Request::MemblockFree { addr, size } => Some((Free::Boot(size), addr)),
            _ => None,
        }
    }

    /// How many bytes of memory with `usable` bytes the call clears before it frees them (R5.6).
    pub fn nr_cleared(self, usable: u64) -> u64 {
        match self {
            Free::KfreeSensitive => usable,
            Free::KvfreeSensitive(len) => len,
            _ => 0,
        }
    }

    /// Whether memory with `usable` bytes has those that the caller names.
    fn fits(self, usable: u64) -> bool {
        match self {
            Free::KvfreeSensitive(len) | Free::Kvrealloc { told: Some(len), .. } => len <= usable,
            _ => true,
        }
    }

    /// Whether memory with `usable` bytes is left where it is, and not freed.
    fn leaves(self, usable: u64) -> bool {
        match self {
            Free::Kvrealloc { told: Some(told), size } => told >= size,
            Free::Kvrealloc { told: None, size } => (1..=usable).contains(&size),
            _ => false,
        }
    }

    /// Whether the call writes to the memory, or lets its caller no more write to it, before it is
    /// free.
    fn spoils(self) -> bool {
        use Free::{KfreeSensitive, Krealloc, KvfreeSensitive, Kvrealloc};
        matches!(self, KfreeSensitive | KvfreeSensitive(_) | Krealloc | Kvrealloc { .. })
    }

    /// Whether the call is one of `kfree`'s or of `kvfree`'s, which accept `ZERO_SIZE_PTR` and
    /// tell what they are given by its address.
    fn is_kfree(self) -> bool {
        matches!(self, Free::Kfree | Free::KfreeSensitive | Free::Krealloc) || self.is_kvfree()
    }

    fn is_kvfree(self) -> bool {
        matches!(self, Free::Kvfree | Free::KvfreeSensitive(_) | Free::Kvrealloc { .. })
    }
}

/// What must come of a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The live allocation at this address is freed.
    Accept(u64),
    /// The call does nothing and is right.
    NoOp,
    /// The free is refused with this class, and the right call named.
    Refuse(Class, Option<&'static str>),
    /// The free is refused; with which of several words depends on free memory's history.
    RefuseSomehow,
}

impl Model {
    /// What must come of a free (R6.2 to R6.4).
    pub fn judge_free(&self, free: Free, addr: u64, context: Context) -> Verdict {
        if let Free::Boot(size) = free {
            return self.judge_boot_free(addr, size);
        }
        if addr <= 16 {
            let accepts =
                free.is_kfree() || (addr == 0 && !matches!(free, Free::Cache(_) | Free::PutPage));
            return match free {
                // There is no byte that could be copied.
                Free::Kvrealloc { told: Some(1..), .. } => Verdict::Refuse(Class::WrongSize, None),
                _ if accepts => Verdict::NoOp,
                _ => Verdict::Refuse(Class::Wild, None),
            };
        }
        if let Some(allocation) = self.containing(addr) {
            return self.judge_live(free, allocation, addr, context);
        }
        if self.deferred_at(addr).is_some() {
            return Verdict::Refuse(Class::DoubleFree, None);
        }
        if !self.is_direct(addr) && !self.is_vmalloc(addr) {
            return Verdict::Refuse(Class::Wild, None);
        }
        match self.just_freed {
            Some((freed, kind, _)) if freed == addr && kind != Kind::Vmalloc => {
                Verdict::Refuse(Class::DoubleFree, None)
            }
            _ => Verdict::RefuseSomehow,
        }
    }

    fn judge_live(
        &self,
        free: Free,
        allocation: &Allocation,
        addr: u64,
        context: Context,
    ) -> Verdict {
        if allocation.kind == Kind::Boot {
            // In Linux a reserved page enters the free list (R6.2).
            return Verdict::Refuse(Class::Wild, None);
        }
        let offset = addr - allocation.addr;
        if offset != 0 {
            let step = if allocation.is_small() { 8 } else { PAGE };
            let inside = offset.is_multiple_of(step);
            let class = if inside { Class::Interior } else { Class::Misaligned };
            return Verdict::Refuse(class, Some(right_call(allocation.kind)));
        }
        let accept = Verdict::Accept(addr);
        let refuse = |class| Verdict::Refuse(class, Some(right_call(allocation.kind)));
        let sized = |fits| if fits { accept } else { refuse(Class::WrongSize) };
        let fits = free.fits(allocation.usable);
        match (allocation.kind, free) {
            // The next holder of a constructed object would be cheated (R2.5).
            (kind, _) if free.spoils() && self.ctor_of(kind).is_some() => {
                refuse(Class::WrongAllocator)
            }
            // For a cache's objects this is silent in SLUB, and documented since 6.4 (R2.7).
            (Kind::Kmalloc | Kind::LargeKmalloc | Kind::CacheObject(_), _) if free.is_kfree() => {
                sized(fits)
            }
            (Kind::CacheObject(own), Free::Cache(given)) if own == given => accept,
            (Kind::CacheObject(_) | Kind::Kmalloc, Free::Cache(_)) => refuse(Class::WrongCache),
            (Kind::Pages { order, .. }, Free::Pages(given)) if order == given => accept,
            // Of a block that is not compound the first page would go, and the others be lost.
            (Kind::Pages { order, is_compound }, Free::PutPage) if order == 0 || is_compound => {
                accept
            }
            (Kind::Pages { .. }, Free::Pages(_) | Free::PutPage) => refuse(Class::WrongOrder),
            (Kind::PagesExact { nr_pages }, Free::PagesExact(size)) => {
                sized(nr_pages == pages_of(size))
            }
            // Memory that was remapped for the device has to be unmapped (`dma_free_attrs`).
            (Kind::DmaCoherent { order }, Free::DmaCoherent(size))
                if context == Context::Hardirq && size > 0 && order == order_of(size) =>
            {
                refuse(Class::BadContext)
            }
            (Kind::DmaCoherent { order }, Free::DmaCoherent(size)) => {
                sized(size > 0 && order == order_of(size))
            }
            // vfree may sleep, and knows it only in an interrupt (R4.13).
            (Kind::Vmalloc, _)
                if context == Context::Atomic
                    && (free == Free::Vfree || free.is_kvfree())
                    && !(free.leaves(allocation.usable) && fits) =>
            {
                Verdict::Refuse(Class::BadContext, Some("vfree_atomic"))
            }
            (Kind::Vmalloc, Free::Vfree | Free::VfreeAtomic) => accept,
            (Kind::Vmalloc, _) if free.is_kvfree() => sized(fits),
            _ => refuse(Class::WrongAllocator),
        }
    }
}

/// The call that frees memory of a kind, under the C name that a refusal gives.
pub fn right_call(kind: Kind) -> &'static str {
    match kind {
        Kind::Kmalloc | Kind::LargeKmalloc => "kfree",
        Kind::CacheObject(_) => "kmem_cache_free",
        Kind::Pages { .. } => "free_pages",
        Kind::PagesExact { .. } => "free_pages_exact",
        Kind::DmaCoherent { .. } => "dma_free_coherent",
        Kind::Vmalloc => "vfree",
        Kind::Boot => "memblock_free",
    }
}
