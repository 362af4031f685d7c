//! Frees: the calls that free, as the model sees them, and what can come of one.
//!
//! What must come of one is in `judge`.

use super::Kind;
use crate::call::{Frees, Request};
use crate::op::Class;
use crate::words::CacheHandle;

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
    /// `vrealloc` to this many bytes.
    Vrealloc(u64),
    /// `memblock_free` of this many bytes.
    Boot(u64),
}

impl Free {
    /// The free that a request is, if it frees memory. `tells_old_size` is whether a `kvrealloc` is
    /// told how large the memory is that it replaces.
    pub(super) fn of(request: &Request, tells_old_size: bool) -> Option<Self> {
        let size = request.size().unwrap_or(0);
        let held = request.held().unwrap_or(0);
        Some(match request.spec().frees {
            Frees::Nothing | Frees::Destroy => return None,
            Frees::Kfree => Free::Kfree,
            Frees::KfreeSensitive => Free::KfreeSensitive,
            Frees::Krealloc => Free::Krealloc,
            Frees::Kvfree => Free::Kvfree,
            Frees::KvfreeSensitive => Free::KvfreeSensitive(held),
            Frees::Kvrealloc => Free::Kvrealloc { told: tells_old_size.then_some(held), size },
            Frees::Vfree => Free::Vfree,
            Frees::VfreeAtomic => Free::VfreeAtomic,
            Frees::Vrealloc => Free::Vrealloc(size),
            Frees::Vunmap => Free::Vunmap,
            Frees::Pages => Free::Pages(request.order()),
            Frees::PutPage => Free::PutPage,
            Frees::PagesExact => Free::PagesExact(held),
            Frees::DmaCoherent => Free::DmaCoherent(held),
            Frees::Object => Free::Cache(request.cache()?),
            Frees::Boot => Free::Boot(held),
        })
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
    pub(super) fn fits(self, usable: u64) -> bool {
        match self {
            Free::KvfreeSensitive(len) | Free::Kvrealloc { told: Some(len), .. } => len <= usable,
            _ => true,
        }
    }

    /// Whether memory with `usable` bytes is left where it is, and not freed.
    pub(super) fn leaves(self, usable: u64) -> bool {
        match self {
            Free::Kvrealloc { told: Some(told), size } => told >= size,
            Free::Kvrealloc { told: None, size } | Free::Vrealloc(size) => {
                (1..=usable).contains(&size)
            }
            _ => false,
        }
    }

    /// Whether the call clears the memory before freeing it, or takes it from its caller before the
    /// caller can construct it again.
    pub(super) fn spoils(self) -> bool {
        use Free::{KfreeSensitive, Krealloc, KvfreeSensitive, Kvrealloc};
        matches!(self, KfreeSensitive | KvfreeSensitive(_) | Krealloc | Kvrealloc { .. })
    }

    /// Whether the call frees areas of vmalloc as `vfree` does, and takes nothing else.
    pub(super) fn is_vfree(self) -> bool {
        matches!(self, Free::Vfree | Free::Vrealloc(_))
    }

    /// Whether the call is one of `kfree`'s or of `kvfree`'s, which accept `ZERO_SIZE_PTR` and
    /// tell what they are given by its address.
    pub(super) fn is_kfree(self) -> bool {
        matches!(self, Free::Kfree | Free::KfreeSensitive | Free::Krealloc) || self.is_kvfree()
    }

    pub(super) fn is_kvfree(self) -> bool {
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
