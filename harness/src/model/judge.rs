//! What must come of a call that frees, by the address alone.
//!
//! The one idea: as in the kernel, a free is a function of the address and of what is live there,
//! never of how the caller came by it (R6.2 to R6.4). Live memory has one right answer for each
//! call; for free memory the name of the refusal depends on its history, which only the last free
//! tells.
//!
//! Nothing here changes the book.

use super::{Allocation, Free, Kind, Model, Verdict, right_call};
use crate::call::Request;
use crate::op::Class;
use crate::words::{Context, PAGE, order_of, pages_of};

/// A free: how, of what, and what must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeing {
    /// The call, as the model sees it.
    pub free: Free,
    /// The address that it frees.
    pub addr: u64,
    /// What must come of it.
    pub verdict: Verdict,
}

impl Freeing {
    /// The live allocation that is freed, if the call may free it.
    pub fn accepted(&self) -> Option<u64> {
        match self.verdict {
            Verdict::Accept(addr) => Some(addr),
            _ => None,
        }
    }

    /// Whether the caller may make the call.
    pub fn is_right(&self) -> bool {
        matches!(self.verdict, Verdict::Accept(_) | Verdict::NoOp)
    }
}

impl Model {
    /// The free that a request is, if it is one, made in a context.
    pub fn freeing(&self, request: &Request, context: Context) -> Option<Freeing> {
        let free = Free::of(request, self.policy().tells_old_size())?;
        let addr = request.freed()?;
        Some(Freeing { free, addr, verdict: self.judge_free(free, addr, context) })
    }

    /// What must come of a free (R6.2 to R6.4).
    fn judge_free(&self, free: Free, addr: u64, context: Context) -> Verdict {
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
            (Kind::DmaCoherent { order }, Free::DmaCoherent(size)) => {
                match size > 0 && order == order_of(size) {
                    // What was remapped for the device has to be unmapped (`dma_free_attrs`).
                    true if context == Context::Hardirq => refuse(Class::BadContext),
                    fits => sized(fits),
                }
            }
            // vfree may sleep, and knows it only in an interrupt (R4.13).
            (Kind::Vmalloc, _)
                if context == Context::Atomic
                    && (free.is_vfree() || free.is_kvfree())
                    && !(free.leaves(allocation.usable) && fits) =>
            {
                Verdict::Refuse(Class::BadContext, Some("vfree_atomic"))
            }
            (Kind::Vmalloc, Free::VfreeAtomic) => accept,
            (Kind::Vmalloc, _) if free.is_vfree() => accept,
            (Kind::Vmalloc, _) if free.is_kvfree() => sized(fits),
            _ => refuse(Class::WrongAllocator),
        }
    }
}
