//! What Linux 6.1 does in the place of a refusal, where that follows from the book.
//!
//! The kernel looks at the first page of a block, at the slab, or at nothing, and not at what its
//! caller means. A few cells of the free matrix follow from that in one sentence each, and are
//! worked out a second time here; the words are those that refusals use.
//!
//! About memory that is not live nothing is said: its history decides.

use super::rules::KMALLOC_MAX_CACHE;
use crate::call::{Call, Request};
use crate::model::{Allocation, Kind, Model};
use crate::words::order_of;

impl Model {
    /// What Linux does with a refused free or `ksize`, if the book tells.
    pub(crate) fn on_linux(&self, request: &Request) -> Option<&'static str> {
        let addr = request.address()?;
        let held = self.book.containing(addr);
        match request.call {
            Call::Ksize => self.ksize_on_linux(addr),
            // Who is told a size, and is not to grow, gets back what it gave (R5.5).
            Call::Kvrealloc
                if self.linux.policy().tells_old_size() && request.held() >= request.size() =>
            {
                Some("returns it untouched")
            }
            Call::FreePagesExact if request.held() == Some(0) && held.is_some() => {
                Some("does nothing")
            }
            // The order counts from the head of the slab, and takes it from under its objects.
            Call::FreePages | Call::FreePagesPage => {
                let held = held.filter(|held| held.is_small())?;
                (request.order() > order_of(held.usable)).then_some("corrupts memory, silently")
            }
            // Asked for its size inside a block, Linux warns and says 0, so nothing is wiped.
            Call::KfreeSensitive => {
                let held = held.filter(|held| held.addr != addr)?;
                is_compound(held).then_some("warns, wipes nothing and frees all of it")
            }
            _ => None,
        }
    }

    fn ksize_on_linux(&self, addr: u64) -> Option<&'static str> {
        if self.book.is_vmalloc(addr) || !self.book.is_direct(addr) {
            return Some("oopses");
        }
        let held = self.book.containing(addr).filter(|held| held.kind != Kind::Boot)?;
        let is_told = held.is_small()
            || is_compound(held) && held.addr == addr && held.usable > KMALLOC_MAX_CACHE;
        Some(if is_told { "tells the size of what is there" } else { "warns and tells 0" })
    }
}

/// Whether the first page of an allocation stands for all of it.
fn is_compound(held: &Allocation) -> bool {
    match held.kind {
        Kind::LargeKmalloc => true,
        Kind::Pages { order, is_compound } => order > 0 && is_compound,
        _ => false,
    }
}
