//! Frees: what must come of a call that frees, by the address alone.
//!
//! The one idea: as in the kernel, a free is a function of the address and of what is live there,
//! never of how the caller came by it (sections 6.2 to 6.4 of the semantics reference). Live memory
//! has one right answer for each call; for free memory the name of the refusal depends on its
//! history, which only the last free tells.
//!
//! Nothing here changes the book.

use super::{Allocation, Kind, Model, rules::PAGE};
use crate::op::Class;
use crate::subject::{CacheHandle, Request};

/// A call that frees, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// `kfree`.
    Kfree,
    /// `kvfree`.
    Kvfree,
    /// `vfree`.
    Vfree,
    /// `kmem_cache_free` with this cache.
    Cache(CacheHandle),
    /// `free_pages` with this order.
    Pages(u32),
}

impl Free {
    /// The free that a request is, and the address it frees.
    pub fn of(request: &Request) -> Option<(Self, u64)> {
        match *request {
            Request::Kfree { addr } => Some((Free::Kfree, addr)),
            Request::Vfree { addr } => Some((Free::Vfree, addr)),
            Request::Kvfree { addr } => Some((Free::Kvfree, addr)),
            Request::KmemCacheFree { cache, addr } => Some((Free::Cache(cache), addr)),
            Request::FreePages { addr, order } | Request::FreePagesPage { page: addr, order } => {
                Some((Free::Pages(order), addr))
            }
            _ => None,
        }
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
    /// What must come of a free (sections 6.2 to 6.4 of the semantics reference).
    pub fn judge_free(&self, free: Free, addr: u64) -> Verdict {
        if addr == 0 {
            return match free {
                Free::Cache(_) => Verdict::Refuse(Class::Wild, None),
                _ => Verdict::NoOp,
            };
        }
        if addr <= 16 {
            return match free {
                Free::Kfree | Free::Kvfree => Verdict::NoOp,
                _ => Verdict::Refuse(Class::Wild, None),
            };
        }
        if let Some(allocation) = self.containing(addr) {
            return judge_live(free, allocation, addr);
        }
        if !self.is_direct(addr) && !self.is_vmalloc(addr) {
            return Verdict::Refuse(Class::Wild, None);
        }
        match self.just_freed {
            Some((freed, kind)) if freed == addr && kind != Kind::Vmalloc => {
                Verdict::Refuse(Class::DoubleFree, None)
            }
            _ => Verdict::RefuseSomehow,
        }
    }
}

fn judge_live(free: Free, allocation: &Allocation, addr: u64) -> Verdict {
    let offset = addr - allocation.addr;
    if offset != 0 {
        let step = if allocation.is_small() { 8 } else { PAGE };
        let inside = offset.is_multiple_of(step);
        let class = if inside { Class::Interior } else { Class::Misaligned };
        return Verdict::Refuse(class, Some(right_call(allocation.kind)));
    }
    let accept = Verdict::Accept(addr);
    let refuse = |class| Verdict::Refuse(class, Some(right_call(allocation.kind)));
    match (allocation.kind, free) {
        (Kind::Kmalloc | Kind::LargeKmalloc, Free::Kfree | Free::Kvfree) => accept,
        // Silent in SLUB, and documented since 6.4 (R2.7).
        (Kind::CacheObject(_), Free::Kfree | Free::Kvfree) => accept,
        (Kind::CacheObject(own), Free::Cache(given)) if own == given => accept,
        (Kind::CacheObject(_) | Kind::Kmalloc, Free::Cache(_)) => refuse(Class::WrongCache),
        (Kind::Pages { order }, Free::Pages(given)) if order == given => accept,
        (Kind::Pages { .. }, Free::Pages(_)) => refuse(Class::WrongOrder),
        (Kind::Vmalloc, Free::Vfree | Free::Kvfree) => accept,
        _ => refuse(Class::WrongAllocator),
    }
}

/// The call that frees memory of a kind, under the C name that a refusal gives.
pub fn right_call(kind: Kind) -> &'static str {
    match kind {
        Kind::Kmalloc | Kind::LargeKmalloc => "kfree",
        Kind::CacheObject(_) => "kmem_cache_free",
        Kind::Pages { .. } => "free_pages",
        Kind::Vmalloc => "vfree",
    }
}
