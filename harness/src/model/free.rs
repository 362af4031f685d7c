//! Frees: the calls that free, as the model sees them, and what can come of one.
//!
//! Of several addresses all are freed or none, so one of them decides.

use super::allocation::{RCU_HEAD, RCU_OFFSET_END};
use super::{Allocation, Book, Kind};
use crate::call::{Frees, List, Request, Role};
use crate::op::Class;
use crate::words::{CacheHandle, order_of, pages_of};

/// A call that frees, as the model sees it: by its way of freeing, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    /// The column of the free matrix.
    pub how: Frees,
    /// What it is told.
    pub(super) told: Told,
}

/// What a call that frees is told of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Its address alone.
    Nothing,
    /// The cache that it is of.
    Cache(CacheHandle),
    /// Its order.
    Order(u32),
    /// Its size in bytes, or how many of them are to be cleared.
    Bytes(u64),
    /// Where in it an `rcu_head` begins.
    Head(u64),
    /// The bytes that are wanted in its stead, and those that are copied, if the call does not know
    /// them.
    Resize { copied: Option<u64>, size: u64 },
}

impl Free {
    /// The free that a request is, if it frees memory. `tells_old_size` is whether a `kvrealloc` is
    /// told how large the memory is that it replaces.
    pub(super) fn of(request: &Request, tells_old_size: bool) -> Option<Self> {
        let how = request.spec().frees;
        if matches!(how, Frees::Nothing | Frees::Destroy) {
            return None;
        }
        let size = request.size().unwrap_or(0);
        let held = request.held().unwrap_or(0);
        let told = match how {
            Frees::Object => Told::Cache(request.cache()?),
            Frees::Pages => Told::Order(request.order()),
            Frees::KvfreeSensitive | Frees::PagesExact | Frees::DmaCoherent | Frees::Boot => {
                Told::Bytes(held)
            }
            Frees::KvfreeRcu => Told::Head(request.get(Role::Offset).unwrap_or(0)),
            Frees::Kvrealloc => Told::Resize { copied: tells_old_size.then_some(held), size },
            Frees::Vrealloc => Told::Resize { copied: None, size },
            _ => Told::Nothing,
        };
        Some(Self { how, told })
    }

    /// How many bytes of memory with `usable` bytes the call clears before it frees them (R5.6).
    pub(crate) fn nr_cleared(self, usable: u64) -> u64 {
        match (self.how, self.told) {
            (Frees::KfreeSensitive, _) => usable,
            (Frees::KvfreeSensitive, Told::Bytes(len)) => len,
            _ => 0,
        }
    }

    /// Whether what the call is told is true of live memory. Exact pages and coherent blocks are
    /// told to the page, and others may be told less than there is.
    pub(super) fn fits(self, held: &Allocation) -> bool {
        match (self.told, held.kind) {
            (Told::Cache(told), Kind::CacheObject(own)) => told == own,
            (Told::Order(told), Kind::Pages { order, .. }) => told == order,
            (Told::Bytes(told), Kind::PagesExact { nr_pages }) => pages_of(told) == nr_pages,
            (Told::Bytes(told), Kind::DmaCoherent { order }) => told > 0 && order_of(told) == order,
            (Told::Bytes(told) | Told::Resize { copied: Some(told), .. }, _) => told <= held.usable,
            (Told::Head(at), _) => head_fits(at, held.usable),
            _ => true,
        }
    }

    /// Where the `rcu_head` begins by which the memory is queued, if it is to be freed later.
    pub(crate) fn head(self) -> Option<u64> {
        match self.told {
            Told::Head(at) => Some(at),
            _ => None,
        }
    }

    /// Whether memory with `usable` bytes is left where it is, and not freed.
    pub(super) fn leaves(self, usable: u64) -> bool {
        match self.told {
            Told::Resize { copied: Some(copied), size } => copied >= size,
            Told::Resize { copied: None, size } => (1..=usable).contains(&size),
            _ => false,
        }
    }
}

/// Whether an `rcu_head` can begin so many bytes into memory with `usable` bytes (R6.7).
fn head_fits(at: u64, usable: u64) -> bool {
    at < RCU_OFFSET_END && at.is_multiple_of(8) && at + RCU_HEAD <= usable
}

/// What must come of a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
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
pub(crate) fn right_call(kind: Kind) -> &'static str {
    match kind {
        Kind::Kmalloc | Kind::LargeKmalloc => "kfree",
        Kind::CacheObject(_) => "kmem_cache_free",
        Kind::Pages { .. } => "free_pages",
        Kind::PagesExact { .. } => "free_pages_exact",
        Kind::DmaCoherent { .. } => "dma_free_coherent",
        Kind::Vmalloc => "vfree",
        Kind::Boot => "memblock_free",
        Kind::Heap { .. } => "dealloc",
        Kind::Frames => "dealloc_frames",
    }
}

/// A free: how, of what, and what must come of it. Of several addresses all are freed or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Freeing {
    /// The call, as the model sees it.
    pub free: Free,
    /// The addresses that it frees.
    pub addrs: List,
    /// The address that decides: the first that must not be freed, else the first.
    pub addr: u64,
    /// What must come of it.
    pub verdict: Verdict,
}

impl Freeing {
    /// The live allocations that are freed, if the call may free them.
    pub(crate) fn accepted(&self) -> &[u64] {
        match self.verdict {
            Verdict::Accept(_) => &self.addrs,
            _ => &[],
        }
    }

    /// Whether the caller may make the call.
    pub(crate) fn is_right(&self) -> bool {
        matches!(self.verdict, Verdict::Accept(_) | Verdict::NoOp)
    }
}

impl Book {
    /// A heap and a frame allocator free the start of what they gave, and nothing else.
    pub(super) fn judge_foreign(&self, free: Free, addr: u64) -> Verdict {
        let is_of_frames = free.how == Frees::Frames;
        match self.at(addr).map(|held| held.kind) {
            Some(Kind::Frames) if is_of_frames => Verdict::Accept(addr),
            Some(Kind::Heap { .. }) if !is_of_frames => Verdict::Accept(addr),
            _ => Verdict::Refuse(Class::Wild, None),
        }
    }
}
