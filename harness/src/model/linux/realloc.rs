//! Reallocations of Linux: who knows the size of what it replaces, who is told, and who stays where
//! it is (R1.7, R5.5).

use crate::model::realloc::Replaced;
use crate::model::want::Old;
use crate::model::{Allocation, Interface, Kind, Model, Want};
use std::ops::Range;

impl Model {
    /// What a request asks for. A `kvrealloc` that knows what it replaces does not listen to its
    /// caller, and leaves mapped memory mapped (R5.5).
    pub(in crate::model) fn as_linux_wants(&self, want: Want) -> Want {
        let Some(Old { addr, size: Some(_) }) = want.from else { return want };
        if self.linux.policy().tells_old_size() {
            return want;
        }
        let is_area = self.book.is_vmalloc(addr);
        let interface = if is_area { Interface::Vmalloc { range: None } } else { want.interface };
        Want { interface, from: Some(Old { addr, size: None }), ..want }
    }

    /// What becomes of live memory that a request replaces.
    pub(in crate::model) fn replaced_by_linux<'a>(
        &self,
        want: &Want,
        from: Old,
        old: &'a Allocation,
    ) -> Replaced<'a> {
        let size = want.size.unwrap_or(0);
        let zeroed = |range: Range<u64>| if want.wants_zero() { range } else { 0..0 };
        let by_request = old.kind == Kind::Vmalloc && self.linux.policy().goes_by_last_request();
        match from.size {
            // What was asked for last counts: what a shrink gives up is cleared, and no more.
            None if by_request && self.stays(want) => {
                let end = old.size.max(size);
                let zeroed = zeroed(size..end);
                let kept_to = if zeroed.is_empty() { old.usable } else { size };
                Replaced { old, stays: true, kept: [0..kept_to, end..old.usable], zeroed }
            }
            None if by_request => Replaced::moved(old, want, old.size),
            // Who knows the size, as krealloc does, stays while there is room, and clears the room
            // that is left (R1.7).
            None if self.stays(want) => {
                let zeroed = zeroed(size..old.usable);
                Replaced { old, stays: true, kept: [0..size, 0..0], zeroed }
            }
            None => Replaced::moved(old, want, old.usable),
            // Who is told it does nothing unless it is told to grow (R5.5).
            Some(_) if self.stays(want) => {
                Replaced { old, stays: true, kept: [0..old.usable, 0..0], zeroed: 0..0 }
            }
            Some(old_size) => Replaced::moved(old, want, old_size),
        }
    }

    /// Whether a request is a reallocation of live memory that stays where it is, so that nothing
    /// is taken and nothing freed.
    pub(crate) fn stays(&self, want: &Want) -> bool {
        let size = want.size.unwrap_or(0);
        if let Interface::Heap(_) = want.interface {
            return false;
        }
        let old = want.from.and_then(|from| Some((from, self.book.at(from.addr)?)));
        old.is_some_and(|(from, old)| match from.size {
            None => (1..=old.usable).contains(&size),
            Some(old_size) => old_size >= size,
        })
    }
}
