//! The state of a run: a request on its way from the caller to the allocator and back.
//!
//! The plan decides it, it is written down as a line of a trace, carried out, judged, and only then
//! entered in the book.

mod watched;

use super::config::Config;
use super::guards::Guards;
use super::holdings::{Given, Holdings};
use super::log::Log;
use super::misuse::{Misuse, Source};
use super::placement::{self, Placement};
use super::plan::{Decision, Filling, Place, Plan};
use crate::call::{Call, CallSpec, Family, Frees, Makes, Request, Role, Yields, ask};
use crate::model::Want;
use crate::model::linux::kvmalloc::Policy;
use crate::op::{Reg, Setting};
use crate::oracle::caller::{About, Rule, foreign, objection, warned_of};
use crate::paint::{ZEROS, mix, tile};
use crate::subject::{Answer, Layout, Reply, Subject};
use crate::trace::{Machine, Trace};
use crate::words::gfp::{__GFP_DIRECT_RECLAIM, __GFP_FS, __GFP_NOFAIL, __GFP_ZERO, GFP_KERNEL};
use crate::words::{Current, PAGE, Route};

/// How often a request that must not fail asks again before it counts as one that hangs.
const NR_TRIES: usize = 16;

/// What can be told of a run at its end.
pub struct Told {
    /// What was decided, request by request, without what made no difference.
    pub(super) made: Plan,
    /// The calls, as a trace.
    pub(super) trace: Trace,
    /// The requests for memory.
    pub(super) nr_requests: u32,
    /// Those that may fail, by their numbers.
    pub(super) failable: Vec<u32>,
    /// Those that were given none, by their numbers.
    pub(super) refused: Vec<u32>,
    /// Those of kvmalloc that were served by vmalloc.
    pub(super) nr_by_vmalloc: u32,
    /// The first mistake that it was stopped at.
    pub(super) misuse: Option<Misuse>,
    /// What is left that should not be.
    pub(super) left: Option<Misuse>,
}

/// A machine, its caller, and what is between them.
pub(super) struct State {
    pub(super) subject: Box<dyn Subject>,
    pub(super) layout: Layout,
    plan: Plan,
    pub(super) caller: Current,
    pub(super) held: Holdings,
    pub(super) log: Log,
    made: Vec<(u32, Decision)>,
    nr_requests: u32,
    failable: Vec<u32>,
    refused: Vec<u32>,
    nr_by_vmalloc: u32,
    calls_left: u32,
    by_policy: bool,
    /// What the machine's Linux does.
    policy: Policy,
    /// The task that is in a file system.
    pub(super) in_filesystem: Option<u8>,
    /// The first mistake.
    pub(super) misuse: Option<Misuse>,
    placement: Placement,
    /// What is watched, if the caller's accesses are not seen.
    guards: Option<Guards>,
}

impl State {
    /// Begins with a booted machine.
    pub(super) fn new(subject: Box<dyn Subject>, config: &Config, plan: Plan) -> Self {
        Self {
            layout: subject.layout(),
            subject,
            plan,
            caller: Current::default(),
            held: Holdings::default(),
            log: Log::default(),
            made: Vec::new(),
            nr_requests: 0,
            failable: Vec::new(),
            refused: Vec::new(),
            nr_by_vmalloc: 0,
            calls_left: config.calls_max,
            by_policy: config.by_policy,
            policy: Policy::of(&config.machine),
            in_filesystem: None,
            misuse: None,
            placement: Placement::on(&config.machine),
            guards: None,
        }
    }

    /// Begins with a booted machine whose memory the caller uses without being seen.
    pub(super) fn guarded(subject: Box<dyn Subject>, config: &Config, plan: Plan) -> Self {
        Self { guards: Some(Guards::default()), ..Self::new(subject, config, plan) }
    }

    /// What can be told of the run.
    pub(super) fn into_told(self, machine: Machine) -> Told {
        Told {
            made: Plan::naming(self.made),
            trace: self.log.into_trace(machine),
            nr_requests: self.nr_requests,
            failable: self.failable,
            refused: self.refused,
            nr_by_vmalloc: self.nr_by_vmalloc,
            misuse: self.misuse,
            left: self.held.left(),
        }
    }

    /// Where the caller finds what a device finds at an address of its bus.
    pub(super) fn addr_of_bus(&self, bus: u64) -> u64 {
        let direct = self.layout.direct_start.wrapping_add(bus);
        if let Some(coherent) = self.held.coherent_at(bus) {
            return coherent;
        }
        let frame = u32::try_from(bus / PAGE).ok();
        let pages = self.held.live().flat_map(|(addr, size)| (addr..addr + size).step_by(4096));
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
    ) -> Result<Answer, Box<Misuse>> {
        self.calls_left =
            self.calls_left.checked_sub(1).filter(|_| !self.held.is_full()).ok_or_else(|| {
                let says = format!(
                    "{request:?}, after all the calls that a run may make (`calls_max`) or all \
                     the memory that it can name"
                );
                Misuse::new(Rule::Endless, says)
            })?;
        self.check_guards(&request)?;
        self.check_pointers(&request, origins)?;
        let CallSpec { yields, makes, .. } = *request.spec();
        let is_request = yields != Yields::Nothing && makes != Makes::Reference;
        let decision = if is_request { self.decide(&request) } else { Decision::NATURAL };
        self.log.call(&self.held, &request, decision, (self.caller, origins));
        self.check_reentry(&request)?;
        let request = request.by(decision.route_of(&request));
        self.prepare(&request);
        let (reply, skew) = self.apply(&request, decision, origins, at);
        let warned = || warned_of(&Want::of(&request)?, &self.policy, reply.answer);
        if let Some((rule, says)) = objection(&request, reply, self.about(origins)).or_else(warned)
        {
            return Err(Misuse::new(rule, says).into());
        }
        let answer = self.enter(&request, reply.answer, skew, decision, at);
        self.guard_again(&request);
        Ok(answer)
    }

    /// For each word of a request, the memory that its address lies in, or that was there last.
    pub(super) fn remembered(&self, request: &Request) -> Vec<Option<Reg>> {
        let words = request.words().iter().zip(request.roles());
        let origin = |(word, role): (&u64, Role)| {
            let is_address = role.is_address() || role == Role::FreedList;
            if is_address { self.held.last_at(*word) } else { None }
        };
        words.map(origin).collect()
    }

    /// The allocations that the words of a request come from: those that are known, and for an
    /// address that was made of a number the one that it lies in.
    pub(super) fn known(&self, request: &Request, origins: &[Option<Reg>]) -> Vec<Option<Reg>> {
        let words = request.words().iter().zip(request.roles()).zip(origins);
        let origin = |((word, role), origin): ((&u64, Role), &Option<Reg>)| match origin {
            None if role.is_address() => self.held.containing(*word),
            known => *known,
        };
        words.map(origin).collect()
    }

    /// What the caller knows of the memory that it names.
    fn about(&self, origins: &[Option<Reg>]) -> About {
        let context = self.caller.context;
        let Some(reg) = origins.iter().flatten().next() else {
            return About { context, ..About::default() };
        };
        let given = self.held.given(*reg);
        let maker = given.request.spec();
        let right = maker.freed_by.first().map(|free| free.spec().name);
        let is_bold = maker.family == Family::Kvmalloc
            && given.size <= PAGE
            && given.addr >= self.layout.vmalloc_start;
        About { maker: Some(maker.name), right, is_bold, context }
    }

    /// Objects to a request of a file system that lets reclaim enter a file system.
    fn check_reentry(&self, request: &Request) -> Result<(), Box<Misuse>> {
        let gfp = request.gfp().unwrap_or(GFP_KERNEL);
        let enters = gfp.has(__GFP_FS) && gfp.has(__GFP_DIRECT_RECLAIM);
        let is_inside = self.in_filesystem == Some(self.caller.task);
        if !is_inside || !enters || self.held.is_in_scope(self.caller.task) {
            return Ok(());
        }
        if request.spec().yields == Yields::Nothing {
            return Ok(());
        }
        let says = format!("{request:?} inside a file system; Linux: lockdep's fs_reclaim report");
        Err(Misuse::new(Rule::Reentry, says).into())
    }

    /// What the plan decides for a request, without what could make no difference.
    fn decide(&mut self, request: &Request) -> Decision {
        self.nr_requests += 1;
        let mut decision = self.plan.decision(self.nr_requests);
        if !request.spec().traits.routed || self.by_policy {
            decision.route = Route::Policy;
        }
        match request.gfp() {
            Some(gfp) if gfp.has(__GFP_NOFAIL) => decision.fails = false,
            _ => self.failable.push(self.nr_requests),
        }
        if request.call.is_realloc() || request.nr_results() > 1 {
            decision.place = Place::Natural;
        }
        if self.has_contents(request) {
            decision.filling = Filling::Zeros;
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
        at: Source,
    ) -> (Reply, u64) {
        let setting = Setting { faults: decision.faults(), caller: self.caller };
        let given = |origin: &Option<Reg>| origin.map(|reg| *self.held.given(reg));
        let skewed = origins.iter().filter_map(given).find(|given| given.skew > 0);
        let old_skew = skewed.map_or(0, |given| given.skew);
        let request = placement::unskewed(request, old_skew);
        // What is replaced is moved to where the allocator knows it.
        let replaced = request.replaced().zip(skewed).map(|(old, given)| (old, given.size));
        let subject = self.subject.as_mut();
        if let Some((old, size)) = replaced {
            placement::move_bytes(subject, old + old_skew, old, size);
        }
        let (wide, skew) = self.placement.widened(&request, decision.place);
        let first = self.try_often(&wide, &setting, at);
        let subject = self.subject.as_mut();
        let reply = self.placement.choose(subject, &wide, &setting, decision.place, first);
        match (reply.answer, replaced) {
            (Answer::Size(_), _) => (reply, old_skew),
            (Answer::Memory { addr, .. }, _) if addr >= self.layout.vmalloc_start => (reply, 0),
            (Answer::Memory { .. }, _) => (reply, skew),
            (_, Some((old, size))) => {
                placement::move_bytes(subject, old, old + old_skew, size);
                (reply, 0)
            }
            _ => (reply, 0),
        }
    }

    /// Makes a request; one that must not fail waits, and asks again.
    fn try_often(&mut self, request: &Request, setting: &Setting, at: Source) -> Reply {
        let mut reply = self.subject.apply(request, setting);
        for _ in 0..NR_TRIES {
            if !matches!(reply.answer, Answer::WouldBlock(_)) {
                break;
            }
            self.subject.apply(&ask::tick(), &Setting::default());
            self.end_grace_period(at);
            reply = self.subject.apply(request, setting);
        }
        reply
    }

    /// Objects to pointers to what was freed, before the allocator sees their addresses. What an
    /// address is may be asked of any.
    fn check_pointers(
        &self,
        request: &Request,
        origins: &[Option<Reg>],
    ) -> Result<(), Box<Misuse>> {
        if request.spec().family == Family::Addresses {
            return Ok(());
        }
        let given = origins.iter().flatten().map(|reg| self.held.given(*reg));
        let is_nolock = request.call == Call::KfreeNolock;
        let is_foreign = |given: &Given| match given.request.spec().traits.nolock {
            _ if given.addr <= 16 => false,
            true => !is_nolock && self.policy.is_before("latest"),
            false => is_nolock,
        };
        if request.call.is_free() && given.clone().any(is_foreign) {
            return Err(Misuse::new(Rule::WrongFree, foreign(request)).into());
        }
        let mut freed = given.filter(|given| given.addr > 16 && given.freed_at.is_some());
        let Some(freed) = freed.next() else { return Ok(()) };
        let (name, maker) = (request.spec().name, freed.request.spec().name);
        let says = format!("{name} of memory of {maker} that is freed already");
        let rule = if request.call.is_free() { Rule::DoubleFree } else { Rule::UseAfterFree };
        Err(Misuse::new(rule, says).into())
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
        let given = Given {
            request: *request,
            addr: 0,
            skew: 0,
            size: 0,
            usable: 0,
            bus: None,
            asked_at: at,
            freed_at: None,
        };
        match answer {
            Answer::Memory { addr, usable, bus } => {
                let addr = addr + skew;
                let given = Given { addr, skew, bus, ..given };
                self.enter_memory(given, usable, decision.filling);
                return Answer::Memory { addr, usable, bus };
            }
            Answer::Several { addrs, .. } if addrs.is_empty() => {
                self.refused.push(self.nr_requests);
            }
            Answer::Several { addrs, usable } => {
                for addr in addrs.iter() {
                    self.enter_memory(Given { addr: *addr, ..given }, usable, decision.filling);
                }
            }
            Answer::Refused(_) => self.refused.push(self.nr_requests),
            Answer::Address(addr) if request.spec().makes == Makes::Reference => {
                self.held.enter_reference(Given { addr, size: PAGE, ..given });
            }
            Answer::Cache(handle) => {
                self.held.enter_cache(handle, request, at);
            }
            Answer::Done => match request.spec().frees {
                Frees::Destroy => {
                    if let Some(cache) = request.cache() {
                        self.held.destroy_cache(cache);
                    }
                }
                Frees::KvfreeRcu => {
                    let head = request.get(Role::Offset).unwrap_or(0);
                    request.freed().iter().for_each(|addr| self.held.queue(*addr, head));
                }
                Frees::Nothing if request.call == Call::Tick => self.end_grace_period(at),
                Frees::Nothing => self.note_scope(request.call, at),
                how => request.freed().iter().for_each(|addr| self.release(*addr, how, at)),
            },
            // What a red zone takes before the memory is not behind it.
            Answer::Size(size) => return Answer::Size(size - skew),
            _ => {}
        }
        answer
    }

    /// Enters memory, and fills it.
    fn enter_memory(&mut self, given: Given, usable: u64, filling: Filling) {
        let Given { request, addr, asked_at: at, .. } = given;
        let old = request.replaced().and_then(|old| self.held.starting(old));
        let nr_kept = old.map_or(0, |old| self.held.given(old).size);
        if let Some(old) = old {
            self.release(self.held.given(old).addr, request.spec().frees, at);
        }
        let size = self.size(&request, usable);
        let is_by_vmalloc = self.layout.vmalloc_start <= addr;
        self.nr_by_vmalloc += u32::from(request.spec().traits.routed && is_by_vmalloc);
        let given = Given { size, usable: usable.saturating_sub(given.skew), ..given };
        self.held.enter(given);
        self.placement.note(addr - given.skew, size + given.skew);
        if addr > 16 && !self.has_contents(&request) {
            self.paint(addr, nr_kept.min(size)..size, filling);
        }
        if let (true, Some(guards)) = (addr > 16, &mut self.guards) {
            Guards::surround(self.subject.as_mut(), &given);
            guards.pass_on(self.subject.as_ref(), &given);
        }
    }

    /// Writes down that the caller writes.
    pub(super) fn log_write(&mut self, addr: u64, len: u64, origin: Option<Reg>) {
        if let Some(reg) = origin.or_else(|| self.held.containing(addr)) {
            let start = addr.wrapping_sub(self.held.given(reg).addr);
            self.log.write(reg, start, len, self.caller);
        }
    }

    fn note_scope(&mut self, call: Call, at: Source) {
        match call {
            Call::MemallocNofsSave | Call::MemallocNoioSave => {
                self.held.open_scope(self.caller.task, at);
            }
            Call::MemallocNofsRestore | Call::MemallocNoioRestore => {
                self.held.close_scope(self.caller.task);
            }
            _ => {}
        }
    }

    /// The bytes that a caller may use of what it was given.
    fn size(&self, request: &Request, usable: u64) -> u64 {
        match request.spec().makes {
            Makes::Pages => usable,
            Makes::Object => request.cache().map_or(0, |cache| self.held.object_size(cache)),
            _ => request.bytes(),
        }
    }

    /// Whether what a request gives has contents that are promised.
    fn has_contents(&self, request: &Request) -> bool {
        let is_zeroed = request.gfp().is_some_and(|gfp| gfp.has(__GFP_ZERO));
        let is_constructed = request.cache().is_some_and(|cache| self.held.is_constructed(cache));
        request.spec().traits.zeroes || is_zeroed || is_constructed
    }

    /// Fills a part of fresh memory.
    fn paint(&mut self, addr: u64, part: std::ops::Range<u64>, filling: Filling) {
        let seed = mix(self.nr_requests.into(), addr);
        let mut at = part.start;
        while at < part.end {
            let tile = match filling {
                Filling::Junk => tile(at, (part.end - at).min(PAGE) as usize, seed),
                Filling::Zeros => &ZEROS[..(part.end - at).min(PAGE) as usize],
            };
            self.subject.paint(addr + at, tile);
            at += tile.len() as u64;
        }
    }
}
