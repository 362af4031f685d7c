//! A lane: one allocator, the route it must take, and the book of what its caller was told.
//!
//! The one idea: a lane carries a request out and writes down everything that could be seen of it
//! (`Record`): the answer, the allocator's counters before and after, the frames behind the
//! memory, the bytes. The oracles judge the record against the book; only then is the book brought
//! up to date.
//!
//! A lane judges nothing and chooses nothing. Its work is in parts: `resolve` turns an op into a
//! request, `perform` carries it out, `book` enters it.

mod book;
mod perform;
mod probe;
mod registers;
mod resolve;

pub(crate) use book::{IMITATED_BYTES_MAX, Overrun};
pub(crate) use perform::{Record, Retry};
pub(crate) use probe::Probe;
pub(crate) use resolve::Action;

use crate::call::{Request, ask};
use crate::model::{Allocation, Kind, Model};
use crate::op::{Class, Reg};
use crate::paint::mix;
use crate::subject::{Answer, Boot, Caps, Epochs, Facts, Pack, Refusal, Subject};
use crate::trace::Machine;
use crate::words::{Current, NR_TASKS, Route, Scope};
use registers::Registers;
pub(crate) use registers::Skip;
use std::rc::Rc;

/// How a lane chooses the side of kvmalloc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// As the trace says.
    AsWritten,
    /// The decision procedure of R5.1 always.
    Policy,
    /// The slab side wherever it can ever serve.
    AlwaysSlab,
    /// The vmalloc side wherever the caller may use it.
    AlwaysVmalloc,
    /// A side drawn for each line from this seed and the line's number.
    Random(u64),
}

impl Routing {
    /// The route of the op at `index`.
    pub fn route(self, index: u32, written: Route) -> Route {
        match self {
            Routing::AsWritten => written,
            Routing::Policy => Route::Policy,
            Routing::AlwaysSlab => Route::Slab,
            Routing::AlwaysVmalloc => Route::Vmalloc,
            Routing::Random(seed) => match mix(seed, index.into()) % 2 {
                0 => Route::Slab,
                _ => Route::Vmalloc,
            },
        }
    }
}

/// What a lane is made of.
#[derive(Clone, Copy, Debug)]
pub struct LaneSpec {
    /// Its name in reports.
    pub name: &'static str,
    /// How it routes.
    pub routing: Routing,
    /// Boots its allocator.
    pub boot: Boot,
    /// Whose promises it claims to keep.
    pub packs: &'static [Pack],
}

/// A NOFAIL request that would have slept.
///
/// ```text
///            ┌───► tried ────────────────► memory, or refused for ever: no waiter any more
///            │       │
///            │       │ WouldBlock
///            │       ▼
///            │    parked: its task makes no other call, its register stays empty,
///            │       │    and it remembers the epoch of what was short
///            │       │
///            ├───────┤ woken: the epoch has changed, or its own try freed something
///            └───────┤ a tick: all waiters ask, those that were not woken too
///                    │
///                    ▼
///                 alone: at the end of the trace, when all else is free, it asks once more
/// ```
///
/// Waiters ask in the order in which they came. One that is served by a mere tick although nothing
/// was given back has missed its wakeup, unless its shortage was injected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    /// The op that made it.
    pub id: u32,
    /// Where the memory goes.
    pub dst: Option<Reg>,
    /// The request.
    pub request: Request,
    /// Who makes it, and is blocked until it is served.
    pub caller: Current,
    /// What is short.
    pub shortage: Refusal,
    /// The number that changes when that shortage may have ended.
    pub epoch: u64,
    /// Whether its last try dropped cached pages or had a process killed, and still found too
    /// little. That has freed memory, so it asks again at once.
    pub took_from_others: bool,
    /// Whether the shortage was not real but injected, so that nothing has to end it.
    pub is_injected: bool,
}

impl Waiter {
    /// Whether something was given back since it asked last that may have ended its shortage.
    fn is_woken(&self, epochs: Epochs) -> bool {
        self.took_from_others || self.epoch != epochs.of(self.shortage)
    }
}

/// One lane of a run.
pub(crate) struct Lane {
    /// What it is made of.
    pub spec: LaneSpec,
    /// The frames of each node kept back from ordinary requests.
    pub min_free: u64,
    /// The most pages of each node that each CPU keeps for itself.
    pub pcp_high: u64,
    /// The counters of the fresh machine, at the end of its boot.
    pub at_boot: Facts,
    /// What its allocator can do.
    pub caps: Caps,
    nr_cpus: u8,
    subject: Box<dyn Subject>,
    model: Model,
    facts: Rc<Facts>,
    registers: Registers,
    waiters: Vec<Waiter>,
    epochs: Epochs,
    frames: Vec<u32>,
    /// The register that the next request to drop a reference is about.
    given_up: Option<Reg>,
}

impl Lane {
    /// Boots the lane's allocator on a fresh machine.
    ///
    /// # Errors
    /// Why the allocator does not boot.
    pub(crate) fn boot(spec: LaneSpec, machine: &Machine) -> Result<Self, String> {
        let subject = (spec.boot)(machine)?;
        let facts = subject.facts();
        Ok(Self {
            spec,
            min_free: (machine.min_free / machine.nodes).into(),
            pcp_high: machine.pcp_high.into(),
            at_boot: facts,
            caps: subject.caps(),
            nr_cpus: machine.cpus as u8,
            model: Model::new(subject.layout(), machine),
            subject,
            facts: facts.into(),
            registers: Registers::default(),
            waiters: Vec::new(),
            epochs: Epochs::default(),
            frames: Vec::new(),
            given_up: None,
        })
    }

    /// Says whose reference the next request drops, of all that there may be to its page.
    pub(crate) fn gives_up(&mut self, register: Option<Reg>) {
        self.given_up = register;
    }

    /// The book.
    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// The counters now.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The allocator.
    pub(crate) fn subject(&self) -> &dyn Subject {
        self.subject.as_ref()
    }

    /// Whether it is held to what only Linux promises.
    fn claims_linux(&self) -> bool {
        self.spec.packs.contains(&Pack::Linux)
    }

    /// The NOFAIL requests that wait.
    pub(crate) fn waiters(&self) -> &[Waiter] {
        &self.waiters
    }

    /// Takes out the waiters that ask again now, the longest first: all at a tick, else those whose
    /// shortage may have ended.
    pub(crate) fn take_woken(&mut self, is_tick: bool) -> Vec<Waiter> {
        let epochs = self.epochs;
        self.waiters.extract_if(.., |waiter| is_tick || waiter.is_woken(epochs)).collect()
    }

    /// Why a waiter asks again, now that others have asked before it.
    pub(crate) fn why_again(&self, waiter: &Waiter) -> Retry {
        if waiter.is_woken(self.epochs) {
            Retry::Woken
        } else if waiter.is_injected {
            Retry::Slept
        } else {
            Retry::SleptInVain
        }
    }

    /// Whether a task waits for a NOFAIL request of its own.
    pub(crate) fn is_blocked(&self, task: u8) -> bool {
        self.waiters.iter().any(|waiter| waiter.caller.task == task)
    }

    /// Takes the longest waiter out.
    pub(crate) fn take_first_waiter(&mut self) -> Option<Waiter> {
        (!self.waiters.is_empty()).then(|| self.waiters.remove(0))
    }

    /// Ends the boot, if it has not ended: the counters are now those of a fresh machine.
    pub(crate) fn hand_over(&mut self) {
        if self.model.linux.is_early() {
            self.subject.hand_over();
            self.model.hand_over();
            self.facts = self.counters();
            self.at_boot = *self.facts;
        }
    }

    /// Has the allocator give back what it keeps for later, and reads the counters.
    pub(crate) fn settle(&mut self) -> Facts {
        self.hand_over();
        self.subject.settle();
        self.facts = self.counters();
        self.model.linux.space_mut().purge();
        self.model.linux.forget_reuse();
        self.model.linux.forget_just_freed();
        self.model.linux.kswapd_mut().rest();
        *self.facts
    }

    /// The request that frees the memory a destination-less call was just given.
    pub(crate) fn release_of(&self, addr: u64) -> Option<Request> {
        self.model.book.at(addr).map(Allocation::right_free)
    }

    /// The requests that leave every scope, the innermost of each task first.
    pub(crate) fn restores_at_end(&self) -> Vec<Request> {
        let scopes =
            (0..NR_TASKS as u8).flat_map(|task| self.model.linux.scopes(task).iter().rev());
        let restore = |scope: &Scope| match scope {
            Scope::Nofs => ask::memalloc_nofs_restore(),
            Scope::Noio => ask::memalloc_noio_restore(),
        };
        scopes.map(restore).collect()
    }

    /// The requests that drop every reference, and then free every live allocation that can be
    /// freed, but for those that a waiting request replaces.
    pub(crate) fn frees_at_end(&self) -> Vec<Request> {
        let free = |held: &&Allocation| self.model.can_free(held) && !self.is_awaited(held.addr);
        let frees = self.model.book.live().filter(free).map(Allocation::right_free);
        self.model.linux.references().map(ask::put_page).chain(frees).collect()
    }

    /// The requests that destroy every cache.
    pub(crate) fn destroys_at_end(&self) -> Vec<Request> {
        self.model.linux.caches().map(ask::kmem_cache_destroy).collect()
    }

    /// The class of an answer.
    pub(crate) fn classify(&self, record: &Record) -> Option<Class> {
        Some(match record.reply.answer {
            Answer::Several { addrs, .. } if addrs.is_empty() => Class::Done,
            Answer::Memory { addr, .. } if addr <= 16 => Class::ZeroSizePtr,
            Answer::Memory { .. } | Answer::Several { .. } => {
                match record.granted.map(|it| it.kind) {
                    Some(Kind::Vmalloc) => Class::Vmalloc,
                    Some(Kind::Kmalloc | Kind::CacheObject(_)) => Class::Slab,
                    Some(Kind::Boot) => Class::Boot,
                    Some(Kind::Heap { .. } | Kind::Frames) => Class::Memory,
                    _ => Class::Pages,
                }
            }
            Answer::Refused(refusal) => refusal.class(),
            Answer::WouldBlock(_) => Class::Blocked,
            Answer::BadFree(refusal) => refusal.verdict,
            Answer::Busy(_) => Class::Busy,
            Answer::Flag(true) => Class::Yes,
            Answer::Flag(false) => Class::No,
            Answer::WrongKind(_) => Class::WrongKind,
            Answer::Frame(_) | Answer::Address(_) | Answer::Phys(_) => Class::Done,
            Answer::Cache(_) | Answer::Size(_) | Answer::Done => Class::Done,
            Answer::Unsupported => return None,
        })
    }
}
