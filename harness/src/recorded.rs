//! What a recorded kernel answered, held against the model and against a lane.
//!
//! The one idea: a recording is an oracle that costs nothing. For each request a real kernel said
//! whether it was served, from which side, how many bytes were set aside, and how kvmalloc asked
//! kmalloc first. Each of these is a [`Fact`]; it agrees, or differs by a named rule (the recorded
//! machine's memory and flags of caches are not in the recording), or differs without one. The last
//! means that the model or alloc-core is wrong about that kernel.
//!
//! The lane is the one that follows the policy. Nothing is run here (`exec`), and nothing is an
//! objection: a recording may be of a kernel that another version of the rules describes.

use crate::call::Call;
use crate::model::linux::kvmalloc::Policy;
use crate::model::linux::rules::{KMALLOC_MAX_CACHE, size_class};
use crate::op::{Arg, Class, Op, Reg};
use crate::recording::{Recording, Served, Told, UnderObject};
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_NOFAIL, __GFP_NORETRY, __GFP_RETRY_MAYFAIL, Gfp,
};
use crate::words::{PAGE, Route, order_of};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// What of an answer is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Served, or NULL.
    Granted,
    /// An object of a slab, a block of pages, or the vmalloc space.
    Kind,
    /// The bytes that were set aside: the size class, the block's order, or the cache's stride.
    Bytes,
    /// The flags with which kvmalloc asked kmalloc first (R5.1).
    FirstTry,
    /// The order of the block under objects (R1.1, R1.8): of blocks, not of requests.
    Order,
}

impl Fact {
    /// Every fact with its name in reports.
    pub const ALL: [(Fact, &'static str); 5] = [
        (Fact::Granted, "served or NULL"),
        (Fact::Kind, "slab, pages or vmalloc"),
        (Fact::Bytes, "bytes set aside"),
        (Fact::FirstTry, "kvmalloc's first try"),
        (Fact::Order, "order of the block below"),
    ];
}

/// A rule by which two right answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// R3.5: the request may fail, and the recorded machine had nothing for it.
    MayFail,
    /// R5.1: kvmalloc may take either side, and memory lay differently.
    EitherSide,
    /// The machine of the replay is smaller than the recorded one.
    SmallMachine,
    /// R2.2: the cache aligns objects to cache lines; whether it does is not in the recording.
    CacheLine,
    /// R2.3: the free pointer lies behind the object; whether it does is not in the recording.
    FreePointer,
}

impl Rule {
    /// Every rule with its sentence.
    pub const ALL: [(Rule, &'static str); 5] = [
        (Rule::MayFail, "the recorded machine had nothing for a request that may fail (R3.5)"),
        (Rule::EitherSide, "kvmalloc may take either side, and memory lay differently (R5.1)"),
        (Rule::SmallMachine, "the machine of the replay ran out of memory"),
        (Rule::CacheLine, "the cache aligns its objects to cache lines (R2.2)"),
        (Rule::FreePointer, "the cache has its free pointer behind the object (R2.3)"),
    ];
}

/// How one fact of one request compares.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparison {
    Agrees,
    By(Rule),
    /// What the kernel said, and what was expected.
    Differs(String),
}

/// How one kind of fact compared, over all requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests of which the fact is known.
    pub compared: u64,
    /// Those in which it is the same.
    pub agreed: u64,
    /// Those in which it differs by a rule.
    pub by_rule: BTreeMap<Rule, u64>,
}

impl Tally {
    /// Those in which it differs and no rule says why.
    pub fn unexplained(&self) -> u64 {
        self.compared - self.agreed - self.by_rule.values().sum::<u64>()
    }
}

/// A difference that no rule explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The line of the recording.
    pub line: u32,
    /// The request, as the trace has it.
    pub request: String,
    /// The fact.
    pub fact: Fact,
    /// What the kernel said, and what was expected.
    pub reason: String,
}

/// How a recorded kernel's answers compare.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// Requests for memory.
    pub requests: u64,
    /// Those in which every fact is the same.
    pub agreed: u64,
    /// Those in which every difference is by a rule.
    pub by_rule: u64,
    /// By kind of fact.
    pub facts: BTreeMap<Fact, Tally>,
    /// The first `Self::MOST_DIFFERENCES` that no rule explains.
    pub differences: Vec<Difference>,
    #[serde(skip)]
    policy: Policy,
    /// The object sizes of the cache registers.
    #[serde(skip)]
    caches: HashMap<Reg, u64>,
}

impl Agreement {
    /// How many differences are kept with their places; the others are counted.
    pub(crate) const MOST_DIFFERENCES: usize = 20;

    /// No request compared yet, only the blocks under objects.
    pub fn new(recording: &Recording) -> Self {
        let mut agreement = Self {
            requests: 0,
            agreed: 0,
            by_rule: 0,
            facts: BTreeMap::new(),
            differences: Vec::new(),
            policy: Policy::of(&recording.trace.machine),
            caches: HashMap::new(),
        };
        // If events were lost, a block may be another than the one that the object lies in.
        if recording.counts.lost == 0 {
            for block in &recording.under_objects {
                let place = || (block.line, format!("a block of order {}", block.order));
                agreement.tally(Fact::Order, order(block), place);
            }
        }
        agreement
    }

    /// Requests in which something differs that no rule explains.
    pub fn unexplained(&self) -> u64 {
        self.requests - self.agreed - self.by_rule
    }

    /// The share of requests in which everything agrees, in percent; `None` if there are none.
    pub fn percent(&self) -> Option<f64> {
        (self.requests > 0).then(|| 100.0 * self.agreed as f64 / self.requests as f64)
    }

    /// Compares an op's recorded answer with a lane's.
    pub fn compare(&mut self, recording: &Recording, index: usize, lane: Option<Class>) {
        let op = &recording.trace.ops[index];
        let (served, told) = (recording.served[index], recording.told[index]);
        if let (Call::KmemCacheCreate, Some(cache), Arg::Number(size)) =
            (op.call, op.dst, op.args[0])
        {
            self.caches.insert(cache, size);
        }
        let Some(request) = RecordedRequest::of(op, &self.caches) else { return };
        let facts = [
            (Fact::Granted, Some(granted(&request, served, lane))),
            (Fact::Kind, self.kind(&request, served, lane)),
            (Fact::Bytes, bytes(&request, served, told)),
            (Fact::FirstTry, self.first_try(&request, told)),
        ];
        self.enter(facts, || (recording.lines[index], op.to_string().trim_end().to_owned()));
    }

    fn enter(&mut self, facts: [(Fact, Option<Comparison>); 4], place: impl Fn() -> (u32, String)) {
        let (mut agrees, mut is_explained) = (true, true);
        for (fact, comparison) in facts {
            let Some(comparison) = comparison else { continue };
            agrees &= comparison == Comparison::Agrees;
            is_explained &= !matches!(comparison, Comparison::Differs(_));
            self.tally(fact, comparison, &place);
        }
        self.requests += 1;
        self.agreed += u64::from(agrees);
        self.by_rule += u64::from(!agrees && is_explained);
    }

    fn tally(&mut self, fact: Fact, comparison: Comparison, place: impl Fn() -> (u32, String)) {
        let tally = self.facts.entry(fact).or_default();
        tally.compared += 1;
        match comparison {
            Comparison::Agrees => tally.agreed += 1,
            Comparison::By(rule) => *tally.by_rule.entry(rule).or_default() += 1,
            Comparison::Differs(reason) if self.differences.len() < Self::MOST_DIFFERENCES => {
                let (line, request) = place();
                self.differences.push(Difference { line, request, fact, reason });
            }
            Comparison::Differs(_) => {}
        }
    }

    /// Which kind of memory served the request.
    fn kind(
        &self,
        request: &RecordedRequest,
        served: Served,
        lane: Option<Class>,
    ) -> Option<Comparison> {
        let lane = lane.filter(|class| is_memory(*class))?;
        let kernel = class_of(served)?;
        let may = self.may_be(request, kernel);
        Some(match (kernel == lane, may) {
            (true, true) => Comparison::Agrees,
            (false, true) if request.is_kvmalloc() => Comparison::By(Rule::EitherSide),
            _ => Comparison::Differs(format!(
                "the kernel served it from {}, the lane from {}",
                kernel.name(),
                lane.name()
            )),
        })
    }

    /// Whether a request may be served by memory of this kind.
    fn may_be(&self, request: &RecordedRequest, kind: Class) -> bool {
        let RecordedRequest { call, size, gfp, .. } = *request;
        let by_kmalloc = match size {
            0 => Class::ZeroSizePtr,
            1..=KMALLOC_MAX_CACHE => Class::Slab,
            _ => Class::Pages,
        };
        match call {
            Call::Kmalloc => kind == by_kmalloc,
            Call::KmemCacheAlloc => kind == Class::Slab,
            Call::AllocPages => kind == Class::Pages,
            Call::Kvmalloc => {
                let sides = self.policy.sides(size, gfp, Route::Policy);
                (sides.slab && kind == by_kmalloc) || (sides.vmalloc && kind == Class::Vmalloc)
            }
            _ => kind == Class::Vmalloc,
        }
    }

    /// The flags with which kvmalloc asked kmalloc first.
    fn first_try(&self, request: &RecordedRequest, told: Told) -> Option<Comparison> {
        let kernel = told.first_try?;
        let expected = self.policy.first_try(request.size, request.gfp, Route::Policy);
        Some(if kernel == expected {
            Comparison::Agrees
        } else {
            let Gfp(kernel) = kernel;
            let Gfp(expected) = expected;
            Comparison::Differs(format!("the kernel asked with {kernel:#x}, not {expected:#x}"))
        })
    }
}

/// What a recorded op asks for.
struct RecordedRequest {
    call: Call,
    /// Bytes; of a cache those of its objects.
    size: u64,
    gfp: Gfp,
}

impl RecordedRequest {
    fn of(op: &Op, caches: &HashMap<Reg, u64>) -> Option<Self> {
        let number = |arg| match arg {
            Arg::Number(number) => Some(number),
            _ => None,
        };
        let gfp = op.args.iter().find_map(|arg| match arg {
            Arg::Gfp(gfp) => Some(*gfp),
            _ => None,
        })?;
        let size = match (op.call, op.args[0]) {
            (Call::AllocPages, _) => PAGE.checked_shl(u32::try_from(number(op.args[1])?).ok()?)?,
            (_, Arg::Cache(cache)) => *caches.get(&cache)?,
            (_, arg) => number(arg)?,
        };
        Some(Self { call: op.call, size, gfp })
    }

    fn is_kvmalloc(&self) -> bool {
        self.call == Call::Kvmalloc
    }

    /// Whether NULL is a right answer on some machine: all but small requests that may sleep and
    /// have not said that they would rather fail (R3.5), and those that must not fail (R3.7).
    fn may_fail(&self) -> bool {
        const COSTLY: u64 = PAGE << 3;
        let Self { gfp, size, .. } = *self;
        let sleeps = gfp.has(__GFP_DIRECT_RECLAIM);
        let would_rather = gfp.has(__GFP_NORETRY) || gfp.has(__GFP_RETRY_MAYFAIL);
        let is_vmalloc = matches!(self.call, Call::VmallocGfp | Call::VmallocNodeRange);
        let may = !sleeps || would_rather || is_vmalloc || size > COSTLY;
        may && !(gfp.has(__GFP_NOFAIL) && sleeps)
    }
}

/// Whether the request was served at all.
fn granted(request: &RecordedRequest, served: Served, lane: Option<Class>) -> Comparison {
    use Class::{Blocked, Deadlock, NoMemory, NoSpace};
    let kernel = served != Served::Refused;
    let by_lane = lane.is_some_and(is_memory);
    match (kernel, by_lane, lane) {
        (true, true, _) | (false, false, _) => Comparison::Agrees,
        (false, true, _) if request.may_fail() => Comparison::By(Rule::MayFail),
        (true, false, Some(NoMemory | NoSpace | Blocked | Deadlock)) => {
            Comparison::By(Rule::SmallMachine)
        }
        (kernel, ..) => {
            let name = lane.map_or("no answer", Class::name);
            let said = if kernel { "served it" } else { "returned NULL, which it may not" };
            Comparison::Differs(format!("the kernel {said}, the lane says {name}"))
        }
    }
}

/// How many bytes were set aside.
fn bytes(request: &RecordedRequest, served: Served, told: Told) -> Option<Comparison> {
    let kernel = told.bytes_alloc.filter(|_| matches!(served, Served::Slab | Served::Pages))?;
    if request.call == Call::KmemCacheAlloc {
        return Some(stride(request.size, kernel));
    }
    let size = request.size;
    let expected = size_class(size).unwrap_or_else(|| PAGE << order_of(size));
    Some(if kernel == expected {
        Comparison::Agrees
    } else {
        Comparison::Differs(format!(
            "the kernel set {kernel} bytes aside, the model {expected} (slab debugging, KASAN, or \
             an architecture with another ARCH_KMALLOC_MINALIGN would do this)"
        ))
    })
}

/// The distance between a cache's objects, of which the recording tells no flags (R2.2, R2.3).
fn stride(size: u64, kernel: u64) -> Comparison {
    const WORD: u64 = 8;
    const CACHE_LINE: u64 = 64;
    let behind = size.saturating_add(WORD);
    // An object of at most half a cache line shares it with others.
    let mut line = CACHE_LINE;
    while size <= line / 2 && line > WORD {
        line /= 2;
    }
    let is = |bytes: u64, unit| bytes.checked_next_multiple_of(unit) == Some(kernel);
    match kernel {
        _ if is(size, WORD) => Comparison::Agrees,
        _ if is(size, line) => Comparison::By(Rule::CacheLine),
        _ if is(behind, WORD) || is(behind, line) => Comparison::By(Rule::FreePointer),
        _ => Comparison::Differs(format!(
            "the kernel's objects of {size} bytes lie {kernel} bytes apart, which neither alignment \
             nor the free pointer explains (slab debugging or KASAN would)"
        )),
    }
}

/// The order of a block: a large request's own, or of a slab one between that of a single object
/// and the largest that slabs have for several.
fn order(block: &UnderObject) -> Comparison {
    const MOST_FOR_SEVERAL: u32 = 3;
    let least = order_of(block.bytes_alloc);
    let most = if block.bytes_alloc > KMALLOC_MAX_CACHE { least } else { MOST_FOR_SEVERAL };
    if (least..=most).contains(&block.order.into()) {
        return Comparison::Agrees;
    }
    let bytes = block.bytes_alloc;
    Comparison::Differs(format!(
        "{bytes} bytes were set aside in it, for which the model has orders {least} to {most}"
    ))
}

fn is_memory(class: Class) -> bool {
    matches!(class, Class::Slab | Class::Pages | Class::Vmalloc | Class::ZeroSizePtr)
}

fn class_of(served: Served) -> Option<Class> {
    match served {
        Served::Slab => Some(Class::Slab),
        Served::Pages => Some(Class::Pages),
        Served::Vmalloc => Some(Class::Vmalloc),
        Served::ZeroSize => Some(Class::ZeroSizePtr),
        Served::Refused | Served::NotAnAllocation => None,
    }
}

#[cfg(test)]
mod test;
