//! Reallocations: what must become of the memory that a call replaces.
//!
//! The one idea: a reallocation is a request and a free in one, and each half keeps its own rules.
//! What is left to say is little: whether the memory has to stay where it is, and how many of its
//! bytes go along if it does not (R1.7, R5.5).
//!
//! Whether the call may take the memory at all is a free's question, and answered with the frees.

use super::rules::{Family, Old, Want};
use super::{Allocation, Model};
use crate::subject::Request;
use alloc_core::gfp::__GFP_ZERO;

/// Live memory that a reallocation replaces.
#[derive(Clone, Copy, Debug)]
pub struct Replaced<'a> {
    /// The memory.
    pub old: &'a Allocation,
    /// Whether it must stay where it is.
    pub stays: bool,
    /// How many of its bytes the caller finds again.
    pub nr_kept: u64,
    /// From which byte on the memory reads as zero, if the caller asked for that.
    pub zero_from: Option<u64>,
}

impl Model {
    /// What a request asks for, or `None` if it asks for no memory. A `kvrealloc` that knows what
    /// it replaces leaves mapped memory mapped (R5.5).
    pub fn want(&self, request: &Request) -> Option<Want> {
        let want = Want::of(request)?;
        match (request, want.from) {
            (Request::Kvrealloc { .. }, Some(Old { addr, size: None }))
                if self.is_vmalloc(addr) =>
            {
                Some(Want { family: Family::Vmalloc { range: None }, ..want })
            }
            _ => Some(want),
        }
    }

    /// The live memory that a request replaces, if it is a reallocation of live memory.
    pub fn replaced(&self, want: &Want) -> Option<Replaced<'_>> {
        let from = want.from?;
        let old = self.at(from.addr)?;
        let (size, wants_zero) = (want.size.unwrap_or(0), want.gfp.has(__GFP_ZERO));
        Some(match from.size {
            // Who knows the size, as krealloc does, stays while there is room, and clears the room
            // that is left (R1.7).
            None if size > 0 && size <= old.usable => {
                let zero_from = wants_zero.then_some(size);
                Replaced { old, stays: true, nr_kept: size, zero_from }
            }
            None => {
                let zero_from = wants_zero.then_some(old.usable);
                Replaced { old, stays: false, nr_kept: old.usable.min(size), zero_from }
            }
            // Who is told it does nothing unless it is told to grow (R5.5).
            Some(old_size) if old_size >= size => {
                Replaced { old, stays: true, nr_kept: old.usable, zero_from: None }
            }
            Some(old_size) => {
                let zero_from = wants_zero.then_some(old_size);
                Replaced { old, stays: false, nr_kept: old_size, zero_from }
            }
        })
    }

    /// Whether memory granted at `addr` is the memory that the request was to replace.
    pub fn is_same(&self, want: &Want, addr: u64) -> bool {
        want.from.is_some_and(|old| old.addr == addr)
    }

    /// Enters memory that stayed where it was, with its size and contents, for what was there.
    pub fn renew(&mut self, allocation: Allocation) {
        self.just_freed = None;
        self.live.insert(allocation.addr, allocation);
    }
}
