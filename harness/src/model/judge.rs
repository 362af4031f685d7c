//! What must come of a call that frees, by the address alone.
//!
//! The one idea: as in the kernel, a free is a function of the address and of what is live there,
//! never of how the caller came by it (R6.2 to R6.4). Live memory has one right answer for each
//! call; for free memory the name of the refusal depends on its history, which only the last free
//! tells.
//!
//! Nothing here changes the book.

use super::free::Told;
use super::matrix::{self, Cell, Spot};
use super::{Allocation, Free, Kind, Model, Verdict, right_call};
use crate::call::{Frees, List, Request};
use crate::op::Class;
use crate::words::{Context, PAGE};

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

impl Model {
    /// The free that a request is, if it is one, made in a context.
    pub(crate) fn freeing(&self, request: &Request, context: Context) -> Option<Freeing> {
        let free = Free::of(request, self.policy().tells_old_size())?;
        let addrs = List::of(request.freed());
        // A reallocation is refused as a request, and nothing interrupts before the hand-over.
        // A reference that is not the last is only counted.
        let counts = free.how == Frees::PutPage && self.is_shared(*addrs.first()?);
        let is_apart = request.replaced().is_some()
            || matches!(free.how, Frees::Boot | Frees::KfreeNolock)
            || counts;
        let is_forbidden = context == Context::Nmi && !is_apart;
        let mut decisive = (*addrs.first()?, Verdict::NoOp);
        for (place, &addr) in addrs.iter().enumerate() {
            decisive = match self.judge_free(free, addr, context) {
                Verdict::Accept(_) if is_forbidden => {
                    (addr, Verdict::Refuse(Class::BadContext, None))
                }
                // What comes before it in the list is free by then.
                Verdict::Accept(_) if addrs[..place].contains(&addr) => {
                    (addr, Verdict::Refuse(Class::DoubleFree, None))
                }
                verdict if place == 0 => (addr, verdict),
                Verdict::Accept(_) | Verdict::NoOp => continue,
                verdict => (addr, verdict),
            };
            if !matches!(decisive.1, Verdict::Accept(_) | Verdict::NoOp) {
                break;
            }
        }
        let (addr, verdict) = decisive;
        Some(Freeing { free, addrs, addr, verdict })
    }

    /// What must come of a free (R6.2 to R6.4).
    fn judge_free(&self, free: Free, addr: u64, context: Context) -> Verdict {
        if let (Frees::Boot, Told::Bytes(size)) = (free.how, free.told) {
            return self.judge_boot_free(addr, size);
        }
        if free.how.is_foreign() {
            return self.judge_foreign(free, addr);
        }
        if addr <= 16 {
            return judge_nothing(free, addr);
        }
        if free.how == Frees::PutPage && self.is_shared(addr) {
            return Verdict::Accept(addr);
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

    /// A heap and a frame allocator free the start of what they gave, and nothing else.
    fn judge_foreign(&self, free: Free, addr: u64) -> Verdict {
        let is_of_frames = free.how == Frees::Frames;
        match self.at(addr).map(|held| held.kind) {
            Some(Kind::Frames) if is_of_frames => Verdict::Accept(addr),
            Some(Kind::Heap { .. }) if !is_of_frames => Verdict::Accept(addr),
            _ => Verdict::Refuse(Class::Wild, None),
        }
    }

    fn judge_live(&self, free: Free, held: &Allocation, addr: u64, context: Context) -> Verdict {
        let Some(spot) = self.spot(held) else {
            // In Linux a reserved page enters the free list (R6.2).
            return Verdict::Refuse(Class::Wild, None);
        };
        let refuse = |class| Verdict::Refuse(class, Some(right_call(held.kind)));
        let offset = addr - held.addr;
        if offset != 0 {
            let step = if held.is_small() { 8 } else { PAGE };
            let inside = offset.is_multiple_of(step);
            return refuse(if inside { Class::Interior } else { Class::Misaligned });
        }
        // Whatever the call, it is freed already.
        if held.head.is_some() {
            return Verdict::Refuse(Class::DoubleFree, None);
        }
        let fits = free.fits(held);
        match matrix::cell(spot, free.how) {
            Cell::Wrong(class) => refuse(class),
            // What stays where it is puts nobody to sleep.
            Cell::RightBut(bad) if bad == context && spot == Spot::Vmalloc => {
                match fits && free.leaves(held.usable) {
                    true => Verdict::Accept(addr),
                    false => Verdict::Refuse(Class::BadContext, Some("vfree_atomic")),
                }
            }
            Cell::RightBut(bad) if bad == context && fits => refuse(Class::BadContext),
            // Who may not free does not look at whose the object is.
            _ if !fits && free.how == Frees::Object && context == Context::Nmi => {
                Verdict::Refuse(Class::BadContext, None)
            }
            _ if !fits => refuse(matrix::misfit(free.how)),
            _ => Verdict::Accept(addr),
        }
    }

    /// The row of the free matrix; none for memory that is nobody's to free.
    fn spot(&self, held: &Allocation) -> Option<Spot> {
        Some(match held.kind {
            Kind::Kmalloc => Spot::KmallocObject,
            Kind::CacheObject(_) if self.ctor_of(held.kind).is_some() => Spot::ConstructedObject,
            Kind::CacheObject(_) => Spot::CacheObject,
            Kind::LargeKmalloc => Spot::LargeKmalloc,
            Kind::Pages { order: 0, .. } => Spot::OnePage,
            Kind::Pages { is_compound: true, .. } => Spot::Compound,
            Kind::Pages { .. } => Spot::Block,
            Kind::PagesExact { .. } => Spot::PagesExact,
            Kind::DmaCoherent { .. } => Spot::DmaCoherent,
            Kind::Vmalloc => Spot::Vmalloc,
            Kind::Boot | Kind::Heap { .. } | Kind::Frames => return None,
        })
    }
}

/// What must come of a free of no memory.
fn judge_nothing(free: Free, addr: u64) -> Verdict {
    let spot = if addr == 0 { Spot::Null } else { Spot::ZeroSizePtr };
    match (matrix::cell(spot, free.how), free.told) {
        // There is no byte that could be copied.
        (_, Told::Resize { copied: Some(1..), .. }) => Verdict::Refuse(Class::WrongSize, None),
        (Cell::Wrong(class), _) => Verdict::Refuse(class, None),
        _ => Verdict::NoOp,
    }
}
