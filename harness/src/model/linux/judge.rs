//! What must come of a call that frees, by the address alone.
//!
//! The one idea: as in the kernel, a free is a function of the address and of what is live there,
//! never of how the caller came by it (R6.2 to R6.4). Live memory has one right answer for each
//! call; for free memory the name of the refusal depends on its history, which only the last free
//! tells.
//!
//! Nothing here changes the book.

use super::matrix::{self, Cell, Spot};
use crate::call::Frees;
use crate::model::free::Told;
use crate::model::{Allocation, Free, Kind, Model, Verdict, right_call};
use crate::op::Class;
use crate::words::{Context, PAGE};

impl Model {
    /// What must come of a free (R6.2 to R6.4).
    pub(in crate::model) fn judge_free(&self, free: Free, addr: u64, context: Context) -> Verdict {
        match self.judge_address(free, addr, context) {
            Verdict::Accept(_) if context == Context::Nmi && !self.may_interrupt(free, addr) => {
                Verdict::Refuse(Class::BadContext, None)
            }
            verdict => verdict,
        }
    }

    /// Whether a free that is right may be made in an NMI as well, or is not refused as a free: a
    /// reallocation is refused as a request, nothing interrupts before the hand-over, and a
    /// reference that is not the last is only counted.
    fn may_interrupt(&self, free: Free, addr: u64) -> bool {
        match free.how {
            Frees::Krealloc | Frees::Kvrealloc | Frees::Vrealloc => true,
            Frees::Boot | Frees::KfreeNolock => true,
            Frees::PutPage => self.linux.is_shared(addr),
            _ => false,
        }
    }

    fn judge_address(&self, free: Free, addr: u64, context: Context) -> Verdict {
        if let (Frees::Boot, Told::Bytes(size)) = (free.how, free.told) {
            return self.judge_boot_free(addr, size);
        }
        if addr <= 16 {
            return judge_nothing(free, addr);
        }
        if free.how == Frees::PutPage && self.linux.is_shared(addr) {
            return Verdict::Accept(addr);
        }
        if let Some(allocation) = self.book.containing(addr) {
            return self.judge_live(free, allocation, addr, context);
        }
        if self.linux.deferred_at(addr).is_some() {
            return Verdict::Refuse(Class::DoubleFree, None);
        }
        if !self.book.is_direct(addr) && !self.book.is_vmalloc(addr) {
            return Verdict::Refuse(Class::Wild, None);
        }
        match self.linux.just_freed {
            Some((freed, kind, _)) if freed == addr && kind != Kind::Vmalloc => {
                Verdict::Refuse(Class::DoubleFree, None)
            }
            _ => Verdict::RefuseSomehow,
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
            Kind::CacheObject(_) if self.linux.ctor_of(held.kind).is_some() => {
                Spot::ConstructedObject
            }
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
