//! The state of a run: a request on its way from the caller to the allocator and back.
//!
//! The plan decides it, it is written down as a line of a trace, carried out, judged, and only then
//! entered in the book.

use super::book::{Book, Given};
use super::config::{Config, Routing};
use super::log::Log;
use super::misuse::{Misuse, Source};
use super::placement::{self, Placement};
use super::plan::{Contents, Decision, Place, Plan};
use crate::call::{Call, Frees, Makes, Request, Role, Yields, ask};
use crate::op::{Reg, Setting};
use crate::oracle::caller::{About, Rule, objection};
use crate::paint::{ZEROS, mix, tile};
use crate::subject::{Answer, Layout, Reply, Subject};
use crate::trace::{Machine, Trace};
use crate::words::gfp::{__GFP_DIRECT_RECLAIM, __GFP_FS, __GFP_NOFAIL, __GFP_ZERO, GFP_KERNEL};
use crate::words::{Current, PAGE, Route};

/// How often a request that must not fail asks again before it counts as one that hangs.
const NR_TRIES: usize = 16;

/// What can be told of a run at its end.
pub(super) struct Told {
    /// What was decided, request by request, without what made no difference.
    pub(super) made: Plan,
    /// The calls, as a trace.
    pub(super) trace: Trace,
    /// The requests for memory.
    pub(super) nr_requests: u32,
    /// Those that were given none.
    pub(super) nr_refused: u32,
    /// Those of kvmalloc that were served by vmalloc.
    pub(super) nr_by_vmalloc: u32,
    /// What is left that should not be.
    pub(super) left: Option<Misuse>,
}

/// A machine, its caller, and what is between them.
pub(super) struct State {
    pub(super) subject: Box<dyn Subject>,
    pub(super) layout: Layout,
    plan: Plan,
    pub(super) caller: Current,
    pub(super) book: Book,
    pub(super) log: Log,
    made: Vec<(u32, Decision)>,
    nr_requests: u32,
    nr_refused: u32,
    nr_by_vmalloc: u32,
    calls_left: u32,
    routing: Routing,
    pub(super) is_in_filesystem: bool,
    placement: Placement,
}

impl State {
    /// Begins with a booted machine.
    pub(super) fn new(subject: Box<dyn Subject>, config: &Config, plan: Plan) -> Self {
        Self {
            layout: subject.layout(),
            subject,
            plan,
            caller: Current::default(),
            book: Book::default(),
            log: Log::default(),
            made: Vec::new(),
            nr_requests: 0,
            nr_refused: 0,
            nr_by_vmalloc: 0,
            calls_left: config.calls_max,
            routing: config.routing,
            is_in_filesystem: false,
            placement: Placement::on(&config.machine),
        }
    }

    /// What can be told of the run.
    pub(super) fn into_told(self, machine: Machine) -> Told {
        Told {
            made: Plan::naming(self.made),
            trace: self.log.into_trace(machine),
            nr_requests: self.nr_requests,
            nr_refused: self.nr_refused,
            nr_by_vmalloc: self.nr_by_vmalloc,
            left: self.book.left(),
        }
    }

    /// Where the caller finds what a device finds at an address of its bus.
    pub(super) fn addr_of_bus(&self, bus: u64) -> u64 {
        let direct = self.layout.direct_start.wrapping_add(bus);
        let frame = u32::try_from(bus / PAGE).ok();
        let pages = self.book.live().flat_map(|(addr, size)| (addr..addr + size).step_by(4096));
        let mut mapped = pages.filter(|page| self.layout.vmalloc_start <= *page);
        let page = mapped.find(|page| frame.is_some() && self.subject.frame_of(*page) == frame);
        page.map_or(direct, |page| page + bus % PAGE)
    }

    /// Carries a request out, and judges it.
    pub(super) fn step(
        &mut self,
        request: Request,
        origins: &[Option<Reg>],
        at: Source,
    ) -> Result<Answer, Misuse> {
        self.calls_left = self.calls_left.checked_sub(1).ok_or_else(|| {
            Misuse::new(Rule::Endless, format!("asks again and again: {request:?}"))
        })?;
        self.check_pointers(&request, origins)?;
        let is_request = request.spec().yields == Yields::Memory;
        let decision = if is_request { self.decide(&request) } else { Decision::NATURAL };
        self.log.call(&self.book, &request, decision, (self.caller, origins));
        self.check_reentry(&request)?;
        let request = request.by(decision.route_of(&request));
        let (reply, skew) = self.apply(&request, decision, origins);
        if let Some((rule, says)) = objection(&request, reply, self.about(origins)) {
            return Err(Misuse::new(rule, says));
        }
        Ok(self.enter(&request, reply.answer, skew, decision, at))
    }

    /// What the caller knows of the memory that it names.
    fn about(&self, origins: &[Option<Reg>]) -> About {
        let Some(reg) = origins.iter().flatten().next() else { return About::default() };
        let maker = self.book.given(*reg).request.spec();
        let right = maker.freed_by.first().map(|free| free.spec().name);
        About { maker: Some(maker.name), right }
    }

    /// Objects to a request of a file system that lets reclaim enter a file system.
    fn check_reentry(&self, request: &Request) -> Result<(), Misuse> {
        let gfp = request.gfp().unwrap_or(GFP_KERNEL);
        let enters = gfp.has(__GFP_FS) && gfp.has(__GFP_DIRECT_RECLAIM);
        if !self.is_in_filesystem || !enters || self.book.is_in_scope() {
            return Ok(());
        }
        if request.spec().yields == Yields::Nothing {
            return Ok(());
        }
        let says = format!("{request:?} inside a file system; Linux: lockdep's fs_reclaim report");
        Err(Misuse::new(Rule::Reentry, says))
    }

    /// What the plan decides for a request, without what could make no difference.
    fn decide(&mut self, request: &Request) -> Decision {
        self.nr_requests += 1;
        let mut decision = self.plan.decision(self.nr_requests);
        if !request.spec().traits.routed || self.routing == Routing::Policy {
            decision.route = Route::Policy;
        }
        if request.gfp().is_some_and(|gfp| gfp.has(__GFP_NOFAIL)) {
            decision.fails = false;
        }
        if request.call.is_realloc() || request.nr_results() > 1 {
            decision.place = Place::Natural;
        }
        if self.has_contents(request) {
            decision.contents = Contents::Zeros;
        }
        if decision.fails {
            decision = Decision::FAILS;
        }
        self.made.push((self.nr_requests, decision));
        decision
    }

    /// Carries a request out where the plan wants its memory, and says how many of its bytes lie
    /// before what the caller is given. The allocator knows nothing of those bytes, so an address
    /// goes to it without them.
    fn apply(
        &mut self,
        request: &Request,
        decision: Decision,
        origins: &[Option<Reg>],
    ) -> (Reply, u64) {
        let setting = Setting { faults: decision.faults(), caller: self.caller };
        let skew_of = |origin: &Option<Reg>| origin.map_or(0, |reg| self.book.given(reg).skew);
        let old_skew = origins.iter().map(skew_of).find(|skew| *skew > 0).unwrap_or(0);
        let request = placement::unskewed(request, old_skew);
        let replaced = request.replaced().filter(|_| old_skew > 0);
        let subject = self.subject.as_mut();
        if let Some(old) = replaced {
            placement::move_bytes(subject, old + old_skew, old, request.size().unwrap_or(0));
        }
        let (wide, skew) = self.placement.widened(&request, decision.place);
        let first = self.try_often(&wide, &setting);
        let subject = self.subject.as_mut();
        let reply = self.placement.choose(subject, &wide, &setting, decision.place, first);
        match (reply.answer, replaced) {
            (Answer::Memory { addr, .. }, _) if addr >= self.layout.vmalloc_start => (reply, 0),
            (Answer::Memory { .. }, _) => (reply, skew),
            (_, Some(old)) => {
                placement::move_bytes(subject, old, old + old_skew, request.size().unwrap_or(0));
                (reply, 0)
            }
            _ => (reply, 0),
        }
    }

    /// Makes a request; one that must not fail waits, and asks again.
    fn try_often(&mut self, request: &Request, setting: &Setting) -> Reply {
        let mut reply = self.subject.apply(request, setting);
        for _ in 0..NR_TRIES {
            if !matches!(reply.answer, Answer::WouldBlock(_)) {
                break;
            }
            self.subject.apply(&ask::tick(), &Setting::default());
            reply = self.subject.apply(request, setting);
        }
        reply
    }

    /// Objects to pointers to what was freed, before the allocator sees their addresses.
    fn check_pointers(&self, request: &Request, origins: &[Option<Reg>]) -> Result<(), Misuse> {
        let spec = request.spec();
        let freed = |reg: &&Reg| {
            let given = self.book.given(**reg);
            given.addr > 16 && given.freed_at.is_some()
        };
        let Some(reg) = origins.iter().flatten().find(freed) else { return Ok(()) };
        let (rule, of) = (self.book.given(*reg).request.spec().name, spec.name);
        Err(if request.call.is_free() {
            Misuse::new(Rule::DoubleFree, format!("{of} of memory of {rule} that is freed already"))
        } else {
            Misuse::new(Rule::UseAfterFree, format!("{of} of memory of {rule} that is freed"))
        })
    }

    /// Enters what came of a request; the answer as the caller sees it.
    fn enter(
        &mut self,
        request: &Request,
        answer: Answer,
        skew: u64,
        decision: Decision,
        at: Source,
    ) -> Answer {
        let given =
            Given { request: *request, addr: 0, skew: 0, size: 0, asked_at: at, freed_at: None };
        match answer {
            Answer::Memory { addr, usable, bus } => {
                let addr = addr + skew;
                let given = Given { addr, skew, ..given };
                self.enter_memory(given, usable, decision.contents);
                return Answer::Memory { addr, usable, bus };
            }
            Answer::Several { addrs, .. } if addrs.is_empty() => self.nr_refused += 1,
            Answer::Several { addrs, usable } => {
                for addr in addrs.iter() {
                    self.enter_memory(Given { addr: *addr, ..given }, usable, decision.contents);
                }
            }
            Answer::Refused(_) => self.nr_refused += 1,
            Answer::Cache(handle) => {
                self.book.enter_cache(handle, request, at);
            }
            Answer::Done => match request.spec().frees {
                Frees::Destroy => {
                    if let Some(cache) = request.cache() {
                        self.book.destroy_cache(cache);
                    }
                }
                Frees::Nothing => self.note_scope(request.call, at),
                _ => request.freed().iter().for_each(|addr| self.book.free(*addr, at)),
            },
            _ => {}
        }
        answer
    }

    /// Enters memory, and fills it.
    fn enter_memory(&mut self, given: Given, usable: u64, contents: Contents) {
        let Given { request, addr, asked_at: at, .. } = given;
        let old = request.replaced().and_then(|old| self.book.starting(old));
        let nr_kept = old.map_or(0, |old| self.book.given(old).size);
        if let Some(old) = old {
            self.book.free(self.book.given(old).addr, at);
        }
        let size = self.size(&request, usable);
        let is_by_vmalloc = self.layout.vmalloc_start <= addr;
        self.nr_by_vmalloc += u32::from(request.spec().traits.routed && is_by_vmalloc);
        self.book.enter(Given { size, ..given });
        self.placement.note(addr, size);
        if addr > 16 && !self.has_contents(&request) {
            self.paint(addr, nr_kept.min(size)..size, contents);
        }
    }

    /// Writes down that the caller writes.
    pub(super) fn log_write(&mut self, addr: u64, len: u64, origin: Option<Reg>) {
        if let Some(reg) = origin.or_else(|| self.book.containing(addr)) {
            let start = addr.wrapping_sub(self.book.given(reg).addr);
            self.log.write(reg, start, len, self.caller);
        }
    }

    fn note_scope(&mut self, call: Call, at: Source) {
        match call {
            Call::MemallocNofsSave | Call::MemallocNoioSave => self.book.open_scope(at),
            Call::MemallocNofsRestore | Call::MemallocNoioRestore => self.book.close_scope(),
            _ => {}
        }
    }

    /// The bytes that a caller may use of what it was given.
    fn size(&self, request: &Request, usable: u64) -> u64 {
        let elements = request.get(Role::Count).unwrap_or(1);
        match request.spec().makes {
            Makes::Pages | Makes::PagesExact | Makes::DmaCoherent => usable,
            Makes::Object => request.cache().map_or(0, |cache| self.book.object_size(cache)),
            _ => request.size().unwrap_or(0).saturating_mul(elements),
        }
    }

    /// Whether what a request gives has contents that are promised.
    fn has_contents(&self, request: &Request) -> bool {
        let is_zeroed = request.gfp().is_some_and(|gfp| gfp.has(__GFP_ZERO));
        let is_constructed = request.cache().is_some_and(|cache| self.book.is_constructed(cache));
        request.spec().traits.zeroes || is_zeroed || is_constructed
    }

    /// Fills a part of fresh memory.
    fn paint(&mut self, addr: u64, part: std::ops::Range<u64>, contents: Contents) {
        let seed = mix(self.nr_requests.into(), addr);
        let mut at = part.start;
        while at < part.end {
            let tile = match contents {
                Contents::Junk => tile(at, (part.end - at).min(PAGE) as usize, seed),
                Contents::Zeros => &ZEROS[..(part.end - at).min(PAGE) as usize],
            };
            self.subject.paint(addr + at, tile);
            at += tile.len() as u64;
        }
    }
}
