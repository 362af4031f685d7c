//! Hostile placement: of the places that the allocator could give, the one that hides least.
//!
//! The first object of a fresh slab is aligned to everything, and memory that was just freed is
//! given again, so that a caller that relies on either works for years. Here a request is made
//! several times over; the place that the plan wants is kept, and the others are given back. So a
//! caller only ever gets memory that a real allocator could have given it.

use super::plan::Place;
use crate::call::{Call, Frees, Makes, Request, Role};
use crate::model::linux::rules::KMALLOC_MAX;
use crate::model::{RCU_HEAD, RCU_OFFSET_END};
use crate::op::{Faults, Setting};
use crate::subject::{Answer, Reply, Subject};
use crate::trace::Machine;
use crate::words::PAGE;
use std::collections::BTreeSet;

/// How many places there are to choose from.
const NR_CANDIDATES: usize = 8;

/// What all memory of kmalloc is aligned to (`ARCH_KMALLOC_MINALIGN`).
const MINALIGN: u64 = 8;

/// What has been given so far.
pub(super) struct Placement {
    /// The end of what was given last.
    last_end: u64,
    /// Every address that was given.
    given: BTreeSet<u64>,
    /// Whether memory is aligned to the largest power of two that divides its size, as since 6.11.
    aligns_to_divisor: bool,
}

impl Placement {
    /// On a machine on which nothing has been given.
    pub(super) fn on(machine: &Machine) -> Self {
        let aligns_to_divisor = machine.policy >= Machine::policy_named("v6.12");
        Self { last_end: 0, given: BTreeSet::new(), aligns_to_divisor }
    }

    /// A request with room before its memory, and how much, where kmalloc promises no alignment to
    /// its size: sizes that are no power of two (R1.3). A debug kernel has a red zone there.
    pub(super) fn widened(&self, request: &Request, place: Place) -> (Request, u64) {
        let is_wide = place == Place::LeastAligned && !request.call.is_realloc();
        if !is_wide || !matches!(request.spec().makes, Makes::Kmalloc | Makes::Kvmalloc) {
            return (*request, 0);
        }
        let size = request.size().unwrap_or(0);
        let bytes = request.bytes();
        let divisor = 1 << bytes.trailing_zeros().min(PAGE.ilog2());
        let skew = if self.aligns_to_divisor { divisor.max(MINALIGN) } else { MINALIGN };
        if bytes < skew || bytes.is_power_of_two() || bytes > KMALLOC_MAX {
            return (*request, 0);
        }
        // At most to the next power of two: what is larger is a block of its own for any caller.
        let most = bytes.next_power_of_two();
        match request.get(Role::Count) {
            None if size + skew <= most => (request.with(Role::Size, size + skew), skew),
            Some(nr) if size >= skew && bytes + size <= most => {
                (request.with(Role::Count, nr + 1), skew)
            }
            _ => (*request, 0),
        }
    }

    /// Takes note of memory that was given.
    pub(super) fn note(&mut self, addr: u64, size: u64) {
        self.last_end = addr + size;
        self.given.insert(addr);
    }

    /// Gives back a reply whose memory lies where it is wanted, of `first` and of others like it.
    pub(super) fn choose(
        &self,
        subject: &mut dyn Subject,
        request: &Request,
        setting: &Setting,
        place: Place,
        first: Reply,
    ) -> Reply {
        let has_memory =
            |reply: &Reply| matches!(reply.answer, Answer::Memory { addr, .. } if addr > 16);
        if place == Place::Natural || !has_memory(&first) {
            return first;
        }
        let setting = Setting { faults: Faults::default(), ..*setting };
        let key = |reply: &Reply| self.key(place, reply.answer);
        let mut replies = vec![first];
        // No place is better than one whose key is 0.
        while replies.len() < NR_CANDIDATES && replies.last().is_some_and(|last| key(last) > 0) {
            let reply = subject.apply(request, &setting);
            if !has_memory(&reply) {
                break;
            }
            replies.push(reply);
        }
        let chosen = (0..replies.len()).min_by_key(|at| key(&replies[*at])).unwrap_or(0);
        for (at, reply) in replies.iter().enumerate() {
            if let (true, Answer::Memory { addr, .. }) = (at != chosen, reply.answer) {
                subject.apply(&free_of(request, addr), &setting.of_harness());
            }
        }
        replies[chosen]
    }

    /// The smaller, the better it is; 0 is as good as can be.
    fn key(&self, place: Place, answer: Answer) -> u64 {
        let Answer::Memory { addr, usable, .. } = answer else { return u64::MAX };
        match place {
            Place::Natural => 0,
            // Neighbours are as far apart as they are large.
            Place::LeastAligned => {
                addr.trailing_zeros().saturating_sub(usable.trailing_zeros()).into()
            }
            Place::PageEnd => (addr + usable).next_multiple_of(PAGE) - (addr + usable),
            Place::Touching => addr.abs_diff(self.last_end),
            Place::Fresh => self.given.contains(&addr).into(),
        }
    }
}

/// A request about memory of a caller's, as the allocator knows its address. What an address is,
/// and what is behind it, is asked of the address itself.
pub(super) fn unskewed(request: &Request, skew: u64) -> Request {
    let role = match request.call {
        Call::Ksize => Role::Read,
        call if call.is_realloc() => Role::Replaced,
        _ => Role::Freed,
    };
    // Where in the memory something is, is counted from its start as well.
    let inside = request.get(Role::Offset).map(|offset| match request.spec().frees {
        Frees::KvfreeRcu => head_at(offset, skew),
        _ => offset.wrapping_add(skew),
    });
    let request = inside.map_or(*request, |offset| request.with(Role::Offset, offset));
    match request.get(role) {
        Some(addr) => request.with(role, addr.wrapping_sub(skew)),
        None => request,
    }
}

/// Where the `rcu_head` of skewed memory goes: where the caller wants it, unless only the skew
/// moves it beyond what the kernel takes. Then it goes into the room before the caller's bytes, or
/// as far as it may.
fn head_at(offset: u64, skew: u64) -> u64 {
    match offset.wrapping_add(skew) {
        moved if offset >= RCU_OFFSET_END || moved < RCU_OFFSET_END => moved,
        _ if skew >= RCU_HEAD => 0,
        _ => RCU_OFFSET_END - MINALIGN,
    }
}

/// Copies bytes from one place to another, as far as both can be accessed.
pub(super) fn move_bytes(subject: &mut dyn Subject, from: u64, to: u64, len: u64) {
    let mut bytes = vec![0; len as usize];
    let nr_read = subject.read(from, &mut bytes);
    subject.write(to, &bytes[..nr_read]);
}

/// The request that gives back what another was given.
fn free_of(request: &Request, addr: u64) -> Request {
    let spec = request.spec();
    let free = spec.freed_by.first().expect("what makes memory names the call that frees it");
    let word = |role: Role| match role {
        Role::Freed => addr,
        Role::Order => request.order().into(),
        Role::Held => request.size().unwrap_or(0),
        role => request.get(role).unwrap_or(0),
    };
    let words: Vec<u64> = free.spec().args.iter().map(|(_, role)| word(*role)).collect();
    Request::new(*free, &words)
}
