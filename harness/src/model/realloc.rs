//! Reallocations: what must become of the memory that a call replaces.
//!
//! A reallocation is a request and a free in one, and each half keeps its own rules. What is left
//! to say is little: whether the memory has to stay where it is, and how many of its bytes go along
//! if it does not (R1.7, R5.5).
//!
//! Whether the call may take the memory at all is a free's question, and answered with the frees.

use super::rules::{Interface, Old, Want};
use super::{Allocation, Kind, Model};
use crate::call::Request;
use crate::words::gfp::__GFP_ZERO;
use std::ops::Range;

/// Live memory that a reallocation replaces.
#[derive(Clone, Debug)]
pub(crate) struct Replaced<'a> {
    /// The memory.
    pub old: &'a Allocation,
    /// Whether it must stay where it is; a heap may choose.
    pub stays: bool,
    /// The bytes that the caller finds again, and behind them those that the call leaves alone.
    pub kept: [Range<u64>; 2],
    /// The bytes that read as zero, since the caller asked for that.
    pub zeroed: Range<u64>,
}

impl Model {
    /// What a request asks for, or `None` if it asks for no memory. A `kvrealloc` that knows what
    /// it replaces does not listen to its caller, and leaves mapped memory mapped (R5.5). A block
    /// of a heap keeps the alignment that it was asked for with.
    pub(crate) fn want(&self, request: &Request) -> Option<Want> {
        let want = Want::of(request)?;
        if let (Interface::Heap(_), Some(from)) = (want.interface, want.from) {
            let align = match self.at(from.addr)?.kind {
                Kind::Heap { align } => align,
                _ => 1,
            };
            return Some(Want { interface: Interface::Heap(align), ..want });
        }
        let Some(Old { addr, size: Some(_) }) = want.from else { return Some(want) };
        if self.policy().tells_old_size() {
            return Some(want);
        }
        let is_area = self.is_vmalloc(addr);
        let interface = if is_area { Interface::Vmalloc { range: None } } else { want.interface };
        Some(Want { interface, from: Some(Old { addr, size: None }), ..want })
    }

    /// The live memory that a request replaces, if it is a reallocation of live memory.
    pub(crate) fn replaced(&self, want: &Want) -> Option<Replaced<'_>> {
        let from = want.from?;
        let old = self.at(from.addr)?;
        let size = want.size.unwrap_or(0);
        let zeroed = |range: Range<u64>| if want.gfp.has(__GFP_ZERO) { range } else { 0..0 };
        let moved = |nr_kept: u64| Replaced {
            old,
            stays: false,
            kept: [0..nr_kept.min(size), 0..0],
            zeroed: zeroed(nr_kept.min(size)..size),
        };
        let by_request = old.kind == Kind::Vmalloc && self.policy().goes_by_last_request();
        if let Kind::Heap { .. } = old.kind {
            return Some(moved(old.size));
        }
        Some(match from.size {
            // What was asked for last counts: what a shrink gives up is cleared, and no more.
            None if by_request && self.stays(want) => {
                let end = old.size.max(size);
                let zeroed = zeroed(size..end);
                let kept_to = if zeroed.is_empty() { old.usable } else { size };
                Replaced { old, stays: true, kept: [0..kept_to, end..old.usable], zeroed }
            }
            None if by_request => moved(old.size),
            // Who knows the size, as krealloc does, stays while there is room, and clears the room
            // that is left (R1.7).
            None if self.stays(want) => {
                let zeroed = zeroed(size..old.usable);
                Replaced { old, stays: true, kept: [0..size, 0..0], zeroed }
            }
            None => moved(old.usable),
            // Who is told it does nothing unless it is told to grow (R5.5).
            Some(_) if self.stays(want) => {
                Replaced { old, stays: true, kept: [0..old.usable, 0..0], zeroed: 0..0 }
            }
            Some(old_size) => moved(old_size),
        })
    }

    /// Whether a request is a reallocation of live memory that stays where it is, so that nothing
    /// is taken and nothing freed.
    pub(crate) fn stays(&self, want: &Want) -> bool {
        let size = want.size.unwrap_or(0);
        if let Interface::Heap(_) = want.interface {
            return false;
        }
        let Some((from, old)) = want.from.and_then(|from| Some((from, self.at(from.addr)?))) else {
            return false;
        };
        match from.size {
            None => (1..=old.usable).contains(&size),
            Some(old_size) => old_size >= size,
        }
    }

    /// Whether memory granted at `addr` is the memory that the request was to replace.
    pub(crate) fn is_same(&self, want: &Want, addr: u64) -> bool {
        want.from.is_some_and(|old| old.addr == addr)
    }

    /// Enters memory that stayed where it was, with its size and contents, for what was there.
    pub(crate) fn renew(&mut self, allocation: Allocation) {
        self.just_freed = None;
        self.live.insert(allocation.addr, allocation);
    }
}
