//! A lane: one allocator, the route it must take, and the book of what its caller was told.
//!
//! The one idea: a lane carries a request out and writes down everything that could be seen of it
//! ([`Record`]): the answer, the allocator's counters before and after, the frames behind the memory,
//! the bytes. The oracles judge the record against the book; only then is the book brought up to date.
//!
//! A lane judges nothing and chooses nothing.

use crate::bytes::{self, Damage};
use crate::model::rules::{PAGE, Want};
use crate::model::{Allocation, Contents, Free, Kind, Model, Verdict};
use crate::op::{Arg, Call, Class, Faults, Op, Ptr, Reg, Route};
use crate::paint::mix;
use crate::subject::{Answer, CacheHandle, Facts, Refusal, Reply, Request, Subject};
use crate::trace::Machine;
use alloc_core::gfp::{__GFP_ZERO, GFP_KERNEL, Gfp};

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
    pub boot: fn(&Machine) -> Box<dyn Subject>,
}

/// Everything that could be seen of one request.
#[derive(Clone, Debug)]
pub struct Record {
    /// The op that the request serves.
    pub id: u32,
    /// The request.
    pub request: Request,
    /// What it asks for, if it asks for memory.
    pub want: Option<Want>,
    /// The answer.
    pub reply: Reply,
    /// The counters before.
    pub before: Facts,
    /// The counters after.
    pub after: Facts,
    /// The allocation that the request frees, if the book says that it frees one: what its bytes showed
    /// just before.
    pub damage: Option<Damage>,
    /// The first byte of granted memory that should be zero and is not.
    pub nonzero: Option<u64>,
    /// The first byte of granted memory that cannot be accessed.
    pub unmapped: Option<u64>,
    /// Whether the page behind a granted vmalloc area can be accessed although it must not.
    pub guard_page_mapped: bool,
    /// The frames behind the granted memory, or behind the memory about to be freed.
    pub frames: Vec<u32>,
    /// Whether this is a waiter asking again.
    pub is_retry: bool,
}

/// Why an op was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// A register that it names belongs to a NOFAIL request that still waits.
    Waiting,
    /// The cache register holds no cache.
    NoCache,
    /// The register to write through holds no memory.
    NoMemory,
    /// The allocator has no such call.
    Unsupported,
}

/// What an op asks of a lane.
pub enum Action {
    /// A request to the allocator.
    Request(Request),
    /// A write by the caller: the allocation's start, and the first byte past what is written.
    Write {
        /// Where the allocation starts.
        addr: u64,
        /// The end of the write, counted from there.
        end: u64,
    },
}

#[derive(Clone, Copy)]
enum Register {
    Address(u64),
    Waiting,
}

/// A NOFAIL request that would have slept.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// The op that made it.
    pub id: u32,
    /// Where the memory goes.
    pub dst: Option<Reg>,
    /// The request.
    pub request: Request,
}

/// One lane of a run.
pub struct Lane {
    /// What it is made of.
    pub spec: LaneSpec,
    /// The frames kept back from ordinary requests.
    pub min_free: u64,
    /// The counters of the fresh machine.
    pub at_boot: Facts,
    subject: Box<dyn Subject>,
    model: Model,
    facts: Facts,
    registers: Vec<Register>,
    caches: Vec<Option<CacheHandle>>,
    waiters: Vec<Waiter>,
    frames: Vec<u32>,
}

impl Lane {
    /// Boots the lane's allocator on a fresh machine.
    pub fn boot(spec: LaneSpec, machine: &Machine) -> Self {
        let subject = (spec.boot)(machine);
        let facts = subject.facts();
        Self {
            spec,
            min_free: machine.min_free.into(),
            at_boot: facts,
            model: Model::new(subject.layout()),
            subject,
            facts,
            registers: Vec::new(),
            caches: Vec::new(),
            waiters: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// The book.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The allocator.
    pub fn subject(&self) -> &dyn Subject {
        self.subject.as_ref()
    }

    /// The counters as last read.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The NOFAIL requests that wait.
    pub fn waiters(&self) -> &[Waiter] {
        &self.waiters
    }

    /// Takes the waiters out, for each to ask again.
    pub fn take_waiters(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.waiters)
    }

    /// Takes the longest waiter out.
    pub fn take_first_waiter(&mut self) -> Option<Waiter> {
        (!self.waiters.is_empty()).then(|| self.waiters.remove(0))
    }

    /// The address in a register, if it has one.
    pub fn register(&self, reg: Reg) -> Option<u64> {
        match self.registers.get(usize::from(reg)) {
            Some(Register::Address(addr)) => Some(*addr),
            _ => None,
        }
    }

    fn address(&self, ptr: Ptr) -> Result<u64, Skip> {
        match ptr {
            Ptr::Const(addr) => Ok(addr),
            Ptr::Reg(reg, offset) => match self.registers.get(usize::from(reg)) {
                None => Ok(0u64.wrapping_add_signed(offset)),
                Some(Register::Address(addr)) => Ok(addr.wrapping_add_signed(offset)),
                Some(Register::Waiting) => Err(Skip::Waiting),
            },
        }
    }

    fn cache(&self, reg: Reg) -> Result<CacheHandle, Skip> {
        self.caches.get(usize::from(reg)).copied().flatten().ok_or(Skip::NoCache)
    }

    /// A cache that no waiter will ask for an object, so that its caller may destroy it.
    fn unwaited(&self, cache: CacheHandle) -> Result<CacheHandle, Skip> {
        let asks = |waiter: &Waiter| matches!(waiter.request, Request::KmemCacheAlloc { cache: asked, .. } if asked == cache);
        if self.waiters.iter().any(asks) { Err(Skip::Waiting) } else { Ok(cache) }
    }

    /// The request that frees what the op's destination holds, if it holds something.
    pub fn release_before(&self, op: &Op) -> Result<Option<Request>, Skip> {
        let Some(dst) = op.dst else { return Ok(None) };
        if op.call == Call::KmemCacheCreate {
            let Some(cache) = self.caches.get(usize::from(dst)).copied().flatten() else {
                return Ok(None);
            };
            return Ok(Some(Request::KmemCacheDestroy { cache: self.unwaited(cache)? }));
        }
        match self.registers.get(usize::from(dst)) {
            Some(Register::Waiting) => Err(Skip::Waiting),
            Some(Register::Address(addr)) => {
                let held = self.model.at(*addr).filter(|held| held.reg == Some(dst));
                Ok(held.map(right_free))
            }
            None => Ok(None),
        }
    }

    /// Turns an op into what this lane has to do.
    pub fn resolve(&self, op: &Op, index: u32) -> Result<Action, Skip> {
        let route = self.spec.routing.route(index, op.route);
        let number = |place: usize| match op.args[place] {
            Arg::Number(number) => number,
            _ => 0,
        };
        let gfp = |place: usize| match op.args[place] {
            Arg::Gfp(gfp) => gfp,
            _ => Gfp(0),
        };
        let ptr = |place: usize| match op.args[place] {
            Arg::Ptr(ptr) => self.address(ptr),
            _ => Ok(0),
        };
        let cache = |place: usize| match op.args[place] {
            Arg::Cache(reg) => self.cache(reg),
            _ => Err(Skip::NoCache),
        };
        let order = |place: usize| number(place).min(u64::from(u32::MAX)) as u32;
        Ok(Action::Request(match op.call {
            Call::AllocPages => Request::AllocPages { gfp: gfp(0), order: order(1) },
            Call::GetFreePages => Request::GetFreePages { gfp: gfp(0), order: order(1) },
            Call::GetZeroedPage => Request::GetZeroedPage { gfp: gfp(0) },
            Call::FreePagesPage => Request::FreePagesPage { page: ptr(0)?, order: order(1) },
            Call::FreePages => Request::FreePages { addr: ptr(0)?, order: order(1) },
            Call::Kmalloc => Request::Kmalloc { size: number(0), gfp: gfp(1) },
            Call::Kzalloc => Request::Kmalloc { size: number(0), gfp: gfp(1) | __GFP_ZERO },
            Call::KmallocArray => {
                Request::KmallocArray { n: number(0), size: number(1), gfp: gfp(2) }
            }
            Call::Kcalloc => {
                Request::KmallocArray { n: number(0), size: number(1), gfp: gfp(2) | __GFP_ZERO }
            }
            Call::Kfree => Request::Kfree { addr: ptr(0)? },
            Call::Ksize => Request::Ksize { addr: ptr(0)? },
            Call::KmemCacheCreate => Request::KmemCacheCreate { size: number(0), align: number(1) },
            Call::KmemCacheAlloc => Request::KmemCacheAlloc { cache: cache(0)?, gfp: gfp(1) },
            Call::KmemCacheZalloc => {
                Request::KmemCacheAlloc { cache: cache(0)?, gfp: gfp(1) | __GFP_ZERO }
            }
            Call::KmemCacheFree => Request::KmemCacheFree { cache: cache(0)?, addr: ptr(1)? },
            Call::KmemCacheDestroy => {
                Request::KmemCacheDestroy { cache: self.unwaited(cache(0)?)? }
            }
            Call::Vmalloc => Request::Vmalloc { size: number(0), gfp: GFP_KERNEL },
            Call::Vzalloc => Request::Vmalloc { size: number(0), gfp: GFP_KERNEL | __GFP_ZERO },
            Call::VmallocGfp => Request::Vmalloc { size: number(0), gfp: gfp(1) },
            Call::VmallocNodeRange => Request::VmallocNodeRange {
                size: number(0),
                align: number(1),
                start: number(2),
                end: number(3),
                gfp: gfp(4),
            },
            Call::Vfree => Request::Vfree { addr: ptr(0)? },
            Call::VmUnmapAliases => Request::VmUnmapAliases,
            Call::Kvmalloc => Request::Kvmalloc { size: number(0), gfp: gfp(1), route },
            Call::Kvzalloc => {
                Request::Kvmalloc { size: number(0), gfp: gfp(1) | __GFP_ZERO, route }
            }
            Call::KvmallocArray => {
                Request::KvmallocArray { n: number(0), size: number(1), gfp: gfp(2), route }
            }
            Call::Kvcalloc => {
                let gfp = gfp(2) | __GFP_ZERO;
                Request::KvmallocArray { n: number(0), size: number(1), gfp, route }
            }
            Call::Kvfree => Request::Kvfree { addr: ptr(0)? },
            Call::Write => return self.resolve_write(ptr(0)?, number(1), number(2)),
        }))
    }

    fn resolve_write(&self, addr: u64, offset: u64, len: u64) -> Result<Action, Skip> {
        let held = self.model.at(addr).ok_or(Skip::NoMemory)?;
        Ok(Action::Write { addr: held.addr, end: offset.saturating_add(len) })
    }

    /// Carries a request out and writes down what could be seen of it.
    pub fn perform(&mut self, id: u32, request: Request, faults: Faults, is_retry: bool) -> Record {
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        let mut damage = None;
        if let Some((free, addr)) = free_of(&request)
            && let Verdict::Accept(addr) = self.model.judge_free(free, addr)
            && let Some(allocation) = self.model.at(addr)
        {
            damage = bytes::verify(self.subject.as_ref(), allocation);
            collect_frames(self.subject.as_ref(), addr, allocation.usable, &mut frames);
        }
        let reply = self.subject.apply(&request, faults);
        let before = std::mem::replace(&mut self.facts, self.subject.facts());
        let want = Want::of(&request);
        let mut record = Record {
            id,
            request,
            want,
            reply,
            before,
            after: self.facts,
            damage,
            nonzero: None,
            unmapped: None,
            guard_page_mapped: false,
            frames,
            is_retry,
        };
        if let (Some(want), Answer::Memory { addr, usable }) = (want, reply.answer) {
            self.look_at(&mut record, &want, addr, usable);
        }
        record
    }

    /// Looks at memory that was just granted, before anything is written to it.
    fn look_at(&self, record: &mut Record, want: &Want, addr: u64, usable: u64) {
        if addr <= 16 {
            return;
        }
        let subject = self.subject.as_ref();
        let (size, _) = self.model.promise(want);
        if want.wants_zero() {
            match bytes::first_nonzero(subject, addr, size) {
                Ok(nonzero) => record.nonzero = nonzero,
                Err(offset) => record.unmapped = Some(offset),
            }
        }
        record.unmapped = record.unmapped.or_else(|| bytes::first_unmapped(subject, addr, usable));
        if self.model.is_vmalloc(addr) && record.unmapped.is_none() {
            record.guard_page_mapped = subject.frame_of(addr + usable).is_some();
        }
        collect_frames(subject, addr, usable, &mut record.frames);
    }

    /// Brings the book up to date with a record that no oracle objected to.
    pub fn commit(&mut self, record: Record, dst: Option<Reg>) {
        // A purge happens before an area is taken and after one is freed, so the count after the call
        // is taken note of on both sides of the book's own change.
        self.model.note_lazy(record.after.nr_lazy_pages);
        self.enter_in_book(record, dst);
        self.model.note_lazy(self.facts.nr_lazy_pages);
    }

    fn enter_in_book(&mut self, record: Record, dst: Option<Reg>) {
        match record.reply.answer {
            Answer::Memory { addr, usable } => {
                if let Some(want) = record.want {
                    self.enter(&record, &want, addr, usable, dst);
                }
            }
            Answer::Refused(_) => {
                // A failed call may have left the allocator a slab of its own where memory was free.
                self.model.forget_just_freed();
                self.set_register(dst, Register::Address(0));
            }
            Answer::WouldBlock(_) => {
                self.model.forget_just_freed();
                self.set_register(dst, Register::Waiting);
                self.waiters.push(Waiter { id: record.id, dst, request: record.request });
            }
            Answer::Cache(handle) => {
                if let Request::KmemCacheCreate { size, align } = record.request {
                    self.model.enter_cache(handle, size, align);
                }
                set_at(&mut self.caches, dst, Some(handle), None);
                self.model.forget_just_freed();
            }
            Answer::Done => self.commit_done(&record),
            _ => {}
        }
        self.frames = record.frames;
    }

    /// Enters the last try of a waiter, which goes to no register and is not to wait any longer.
    pub fn commit_settled(&mut self, record: Record) {
        match record.reply.answer {
            Answer::WouldBlock(_) => {
                self.model.forget_just_freed();
                self.frames = record.frames;
            }
            _ => self.commit(record, None),
        }
    }

    fn commit_done(&mut self, record: &Record) {
        if let Some((free, addr)) = free_of(&record.request)
            && let Verdict::Accept(addr) = self.model.judge_free(free, addr)
        {
            self.model.strike(addr, &record.frames);
            return;
        }
        self.model.forget_just_freed();
        if let Request::KmemCacheDestroy { cache } = record.request {
            self.model.strike_cache(cache);
            for place in &mut self.caches {
                if *place == Some(cache) {
                    *place = None;
                }
            }
        }
    }

    fn enter(&mut self, record: &Record, want: &Want, addr: u64, usable: u64, dst: Option<Reg>) {
        self.set_register(dst, Register::Address(addr));
        if addr <= 16 {
            return;
        }
        let (size, _) = self.model.promise(want);
        let allocation = Allocation {
            id: record.id,
            addr,
            size,
            usable,
            kind: self.model.kind_of(want, addr),
            is_kv: matches!(want.family, crate::model::rules::Family::Kvmalloc { .. }),
            reg: dst,
            contents: self.choose_contents(record.id, addr, size),
        };
        bytes::write_all(self.subject.as_mut(), &allocation);
        self.model.enter(allocation, &record.frames);
    }

    /// One small allocation in eight keeps the bytes that the allocator left in it: its own metadata,
    /// now a caller's contents (a free-list link, a header).
    fn choose_contents(&self, id: u32, addr: u64, size: u64) -> Contents {
        const ECHO_BYTES_MAX: u64 = 256;
        let draw = mix(id.into(), 0);
        if size <= ECHO_BYTES_MAX && draw.is_multiple_of(8) {
            Contents::Echo(bytes::echo(self.subject.as_ref(), addr, size))
        } else {
            Contents::Painted(draw)
        }
    }

    fn set_register(&mut self, dst: Option<Reg>, value: Register) {
        if let Some(Register::Address(addr)) =
            dst.and_then(|dst| self.registers.get(usize::from(dst)).copied())
        {
            self.model.forget_register(addr);
        }
        set_at(&mut self.registers, dst, value, Register::Address(0));
    }

    /// The request that frees the memory a destination-less call was just given.
    pub fn release_of(&self, addr: u64) -> Option<Request> {
        self.model.at(addr).map(right_free)
    }

    /// The requests that free every live allocation.
    pub fn frees_at_end(&self) -> Vec<Request> {
        self.model.live().map(right_free).collect()
    }

    /// The requests that destroy every cache.
    pub fn destroys_at_end(&self) -> Vec<Request> {
        self.model.caches().map(|cache| Request::KmemCacheDestroy { cache }).collect()
    }

    /// Verifies an allocation and writes new contents to it; `id` keys them.
    pub fn rewrite(&mut self, id: u32, addr: u64) -> Option<Damage> {
        let allocation = self.model.at(addr)?;
        let damage = bytes::verify(self.subject.as_ref(), allocation);
        self.model.set_contents(addr, Contents::Painted(mix(id.into(), 1)));
        if let Some(allocation) = self.model.at(addr) {
            bytes::write_all(self.subject.as_mut(), allocation);
        }
        damage
    }

    /// Writes one byte just past an allocation's requested size, as a careless caller would, and says
    /// what the guard shows; then repairs it. `None` where there is no byte to write to.
    pub fn overrun(&mut self, addr: u64) -> Option<Option<Damage>> {
        let allocation = self.model.at(addr).filter(|held| held.size < held.usable)?;
        let end = allocation.addr + allocation.size;
        let byte = self.subject.span_mut(end, 1)?;
        byte[0] ^= 0xff;
        let seen = bytes::verify(self.subject.as_ref(), allocation);
        self.subject.span_mut(end, 1)?[0] ^= 0xff;
        Some(seen)
    }

    /// Looks at every byte of every live allocation.
    pub fn verify_all(&self) -> Option<Damage> {
        self.model.live().find_map(|held| bytes::verify(self.subject.as_ref(), held))
    }

    /// Has the allocator give back what it keeps for later, and reads the counters.
    pub fn settle(&mut self) -> Facts {
        self.subject.settle();
        self.facts = self.subject.facts();
        self.model.note_lazy(self.facts.nr_lazy_pages);
        self.facts
    }

    /// The class of an answer.
    pub fn classify(&self, record: &Record) -> Option<Class> {
        Some(match record.reply.answer {
            Answer::Memory { addr, .. } if addr <= 16 => Class::ZeroSizePtr,
            Answer::Memory { addr, .. } => {
                match record.want.map(|want| self.model.kind_of(&want, addr)) {
                    _ if self.model.is_vmalloc(addr) => Class::Vmalloc,
                    Some(Kind::Pages { .. } | Kind::LargeKmalloc) => Class::Pages,
                    _ => Class::Slab,
                }
            }
            Answer::Refused(refusal) => class_of_refusal(refusal),
            Answer::WouldBlock(_) => Class::Blocked,
            Answer::BadFree(refusal) => refusal.verdict,
            Answer::Busy(_) => Class::Busy,
            Answer::Cache(_) | Answer::Size(_) | Answer::Done => Class::Done,
            Answer::Unsupported => return None,
        })
    }
}

/// The class of a refusal.
pub fn class_of_refusal(refusal: Refusal) -> Class {
    match refusal {
        Refusal::Pages { .. } | Refusal::Mapping => Class::NoMemory,
        Refusal::VmallocSpace | Refusal::Range => Class::NoSpace,
        Refusal::Injected => Class::Injected,
        Refusal::TooLarge => Class::TooLarge,
        Refusal::ZeroSize => Class::ZeroSize,
        Refusal::Overflow => Class::Overflow,
        Refusal::BadArgument => Class::BadArgument,
        Refusal::ImpossibleNofail => Class::ImpossibleNofail,
    }
}

/// The free that a request is, and the address it frees.
pub fn free_of(request: &Request) -> Option<(Free, u64)> {
    match *request {
        Request::Kfree { addr } => Some((Free::Kfree, addr)),
        Request::Vfree { addr } => Some((Free::Vfree, addr)),
        Request::Kvfree { addr } => Some((Free::Kvfree, addr)),
        Request::KmemCacheFree { cache, addr } => Some((Free::Cache(cache), addr)),
        Request::FreePages { addr, order } | Request::FreePagesPage { page: addr, order } => {
            Some((Free::Pages(order), addr))
        }
        _ => None,
    }
}

/// The right call for an allocation, as its caller knows it.
fn right_free(held: &Allocation) -> Request {
    let addr = held.addr;
    match held.kind {
        _ if held.is_kv => Request::Kvfree { addr },
        Kind::Kmalloc | Kind::LargeKmalloc => Request::Kfree { addr },
        Kind::CacheObject(cache) => Request::KmemCacheFree { cache, addr },
        Kind::Pages { order } => Request::FreePages { addr, order },
        Kind::Vmalloc => Request::Vfree { addr },
    }
}

fn collect_frames(subject: &dyn Subject, addr: u64, len: u64, frames: &mut Vec<u32>) {
    let first = addr & !(PAGE - 1);
    let pages = (first..addr.saturating_add(len)).step_by(PAGE as usize);
    frames.extend(pages.filter_map(|page| subject.frame_of(page)));
}

/// Sets a place of a vector that grows on demand.
fn set_at<T: Clone>(places: &mut Vec<T>, at: Option<Reg>, value: T, empty: T) {
    let Some(at) = at.map(usize::from) else { return };
    if places.len() <= at {
        places.resize(at + 1, empty);
    }
    places[at] = value;
}
