//! What a conversion has written so far, and what it remembers.
//!
//! What allocates is written by `convert`, what frees by `release`.

use crate::call::{Call, MAX_ARGS};
use crate::words::{Current, Route};
use std::collections::HashMap;

use super::event::What;
use super::nest::Nest;
use super::owners::Owners;
use super::read::Log;
use super::{Counts, Served, Told};
use crate::op::{Arg, Faults, Op, Reg};

/// The state of a conversion.
pub(super) struct Converter {
    pub(super) owners: Owners,
    pub(super) nest: Nest,
    /// The cache register of each pair of requested and allocated size.
    pub(super) caches: HashMap<(u64, u64), Reg>,
    /// The widest range that vmalloc was asked to search: the whole vmalloc space.
    pub(super) vmalloc_space: (u64, u64),
    pub(super) ops: Vec<Op>,
    pub(super) served: Vec<Served>,
    pub(super) told: Vec<Told>,
    pub(super) lines: Vec<u32>,
    pub(super) counts: Counts,
    /// The line of the event at hand.
    pub(super) line: u32,
}

impl Converter {
    pub(super) fn new(log: &Log) -> Self {
        let ranges = log.events.iter().filter_map(|event| match event.what {
            What::VmCall { range, .. } => Some(range),
            _ => None,
        });
        let widest = ranges.max_by_key(|(start, end)| end.saturating_sub(*start));
        Self {
            owners: Owners::default(),
            nest: Nest::new(log.contexts),
            caches: HashMap::new(),
            vmalloc_space: widest.unwrap_or_default(),
            ops: Vec::with_capacity(log.events.len()),
            served: Vec::with_capacity(log.events.len()),
            told: Vec::with_capacity(log.events.len()),
            lines: Vec::with_capacity(log.events.len()),
            counts: Counts::default(),
            line: 0,
        }
    }

    pub(super) fn emit(&mut self, op: Op, served: Served, told: Told) {
        self.ops.push(op);
        self.served.push(served);
        self.told.push(told);
        self.lines.push(self.line);
    }
}

/// An op without a register, route, fault or expectation.
pub(super) fn op(call: Call, given: &[Arg]) -> Op {
    let mut args = [Arg::Number(0); MAX_ARGS];
    args[..given.len()].copy_from_slice(given);
    let (route, faults) = (Route::default(), Faults::default());
    Op { dst: None, call, args, route, faults, caller: Current::default(), expect: None }
}
