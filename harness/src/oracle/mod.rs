//! Oracles: each decides whether what a lane did was legal.
//!
//! The one idea: an oracle looks at an `Event` and says nothing, or says what is wrong. It calls
//! nothing that changes anything, so every oracle runs on every event of every campaign. Each has
//! its file, its sentence, and tests that it barks on a planted fault and is silent on correct
//! conduct. Where it says nothing because it could not make sure, it names the relaxation, which is
//! counted.
//!
//! The deciding rules stand in `model`; what lanes may legally differ in stands in `agreement`
//! alone.

pub(crate) mod caller;
#[cfg(test)]
mod fixture;
mod generic;
mod jury;
mod linux;

pub(crate) use jury::Jury;

use crate::bytes::Damage;
use crate::call::Request;
use crate::lane::{Overrun, Probe, Record};
use crate::model::{Granted, Model, Want};
use crate::op::Class;
use crate::relaxation::Relaxed;
use crate::subject::{Answer, Caps, Effort, Facts, Pack};

/// Nothing to object to, or the objection. What passes only because the oracle could not make sure
/// is counted as a [relaxation](crate::relaxation) on the way.
pub(crate) type Judgement = Result<(), String>;

/// Something that happened in a run.
pub(crate) enum Event<'a> {
    /// A lane carried a request out; the book is as it was before.
    Step(&'a Step<'a>),
    /// The caller rewrote an allocation; what its bytes showed just before.
    Rewrite {
        /// The first wrong byte.
        damage: Option<Damage>,
    },
    /// The caller writes past an allocation's requested size.
    Overrun(Overrun),
    /// The caller writes where no memory of its own is; nothing was written.
    Stray,
    /// The caller names a cache that it has destroyed; nothing was asked.
    Destroyed,
    /// What the caller has left: the requests by which the harness frees or destroys it.
    Left(&'a [Request]),
    /// Now and then, and at the end: a look at everything.
    Check {
        /// The first wrong byte of all live memory.
        damage: Option<Damage>,
        /// What the subject finds wrong with its own structures.
        structure: Result<(), String>,
    },
    /// A byte beside the allocator's memory was written to: the first of them.
    Bounds(u64),
    /// A request of which no book knows: what it gives goes at once, unless somebody objects.
    Probe(&'a Probe),
    /// Everything has been freed.
    End(&'a End<'a>),
    /// A request that the fresh machine had granted, made once more after that.
    Again {
        /// The request.
        request: Request,
        /// The answer.
        answer: Answer,
    },
    /// What was served after one round of requests, asked for after another like it.
    Round {
        /// The request.
        request: Request,
        /// The answer.
        answer: Answer,
    },
    /// The waiters that asked again after one op, in the order in which they had begun to wait.
    Wakes(&'a [Wake]),
    /// All lanes carried the same op out; and where what was let pass is counted.
    Across(&'a [View], &'a Relaxed),
}

/// One request, as one lane carried it out.
pub(crate) struct Step<'a> {
    /// The book before the request.
    pub model: &'a Model,
    /// The min watermark of each node in frames.
    pub min_free: u64,
    /// The most pages of each node that each CPU keeps for itself.
    pub pcp_high: u64,
    /// What could be seen.
    pub record: &'a Record,
    /// Where what is let pass is counted.
    pub relaxed: &'a Relaxed,
}

impl Step<'_> {
    /// What was wanted and what was granted, if memory, or `ZERO_SIZE_PTR`, came of the request.
    /// Of several pieces it is the first.
    pub(crate) fn grant(&self) -> Option<(&Want, Granted)> {
        self.record.want.as_ref().zip(self.record.granted)
    }

    /// The same of every piece.
    pub(crate) fn grants(&self) -> impl Iterator<Item = (&Want, Granted)> {
        let want = self.record.want.as_ref();
        want.into_iter().flat_map(|want| self.record.grants().map(move |granted| (want, granted)))
    }
}

/// A waiter that asked again.
pub(crate) struct Wake {
    /// The op that made it; it may have asked several times.
    pub id: u32,
    /// Its request.
    pub request: Request,
    /// Whether it was served.
    pub is_served: bool,
}

/// The end of a lane's run, after every live allocation was freed and the allocator settled.
pub struct End<'a> {
    /// The counters of the fresh machine.
    pub at_boot: &'a Facts,
    /// The counters now.
    pub now: &'a Facts,
    /// Allocations that are still in the book.
    pub nr_live: usize,
}

/// What one lane's caller saw of an op.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The class of the answer; `None` if the op was skipped.
    pub class: Option<Class>,
    /// Whether the op is one of the kvmalloc calls.
    pub is_kv: bool,
    /// For a call on an address: the allocation it points into, how far, and whether that is
    /// kvmalloc's.
    pub(crate) target: Option<Target>,
    /// For a call on a cache: the op that made the cache which its register holds.
    pub cache: Option<u32>,
    /// The bytes that the allocations which it names may use; 0 without a target.
    pub usable: u64,
    /// For a free that was refused: what Linux 6.1 does in its place, if the subject knows.
    pub on_linux: Option<&'static str>,
    /// What the op cost others.
    pub effort: Effort,
}

/// What an address argument points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The op that made the allocation.
    pub id: u32,
    /// Bytes from its start.
    pub offset: u64,
    /// What the further addresses of a list point at, as one number.
    pub further: u64,
    /// Whether the address is not the memory's own: one of the direct map, of a page of it to which
    /// there are references. Once the memory is gone, the page is an allocation of its own there.
    pub is_shared: bool,
    /// Whether it, or what a further address points at, came through kvmalloc.
    pub is_kv: bool,
    /// Whether it, or a further address, points at nothing that is held: at memory that is free,
    /// or waits for the end of a grace period, or at none.
    pub is_free: bool,
}

/// A row of [`ORACLES`].
pub struct Oracle {
    /// The name in reports.
    pub name: &'static str,
    /// What it makes sure of, in one sentence.
    pub sentence: &'static str,
    /// Whose promise that is.
    pub pack: Pack,
    /// What a subject must be able to do to be judged.
    pub needs: Caps,
    /// The judgement on an event.
    pub(crate) judge: fn(&Event) -> Judgement,
}

/// Every oracle. Those of Linux come first: where both packs object, theirs is the sharper word.
pub static ORACLES: &[Oracle] = &[
    linux::contract::ORACLE,
    linux::device::ORACLE,
    linux::node::ORACLE,
    linux::huge::ORACLE,
    linux::routing::ORACLE,
    linux::realloc::ORACLE,
    linux::reuse::ORACLE,
    linux::wrong_free::ORACLE,
    linux::conversion::ORACLE,
    linux::context::ORACLE,
    linux::reclaim::ORACLE,
    linux::nofail::ORACLE,
    linux::injection::ORACLE,
    linux::accounting::ORACLE,
    linux::boot::ORACLE,
    generic::overlap::ORACLE,
    generic::contents::ORACLE,
    generic::promise::ORACLE,
    generic::free::ORACLE,
    generic::patience::ORACLE,
    generic::drain::ORACLE,
    generic::rounds::ORACLE,
    generic::bounds::ORACLE,
    generic::structure::ORACLE,
    generic::agreement::ORACLE,
    caller::ORACLE,
];
