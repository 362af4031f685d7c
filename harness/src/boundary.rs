//! The ends of every argument of every call, on machines in many states.
//!
//! The one idea: a call's arguments and what stands beside it are axes with few values each, and
//! any two axes meet in all their combinations, in every state of a machine; the others are drawn,
//! mostly so that they do not hide what the two do. The whole is far too large to be written down,
//! so a case is its number, and a block makes the same ops of it every time.
//!
//! What a case answers is judged as ever, by `check`'s executor; nothing is expected here.

mod state;
mod value;

use crate::bound::Bound;
use crate::call::{CALLS, CallSpec, MAX_ARGS, Role, Yields};
use crate::campaign::Campaign;
use crate::exec::{self, Expectations};
use crate::generate::plain_op;
use crate::op::{Arg, Op, Reg};
use crate::paint::mix;
use crate::random::Draw;
use crate::stats::Stats;
use crate::trace::{Machine, Trace};
use crate::verdict::Failure;
use crate::words::gfp::__GFP_NOFAIL;
use crate::words::{CONTEXTS, ROUTES};
use fastrand::Rng;
use state::{FIRST_TASK, State};
use value::Value;

/// Cases that share a machine at most.
const NR_CASES_A_MACHINE: usize = 128;
/// More ops than a case has, what it makes for its pointer included.
const NR_OPS_A_CASE: usize = 8;

/// Tasks that make requests that may wait, the one of ordinary cases left out.
const NR_WAITING_TASKS: u8 = FIRST_TASK - 1;

/// The register that a case's pointer is taken from, and where its memory goes.
const POINTER: Reg = 0;
/// Where a cache goes.
const NEW_CACHE: Reg = 2;

/// The CPUs that cases run on.
const CPUS: [u8; 3] = [0, 1, 7];

/// What a pointer's register holds, and how many bytes of it: one of every kind of memory, nothing,
/// and memory that has been freed.
const HOLDINGS: &[(u64, &str)] = &[
    (0, "r0 = kmalloc(0, GFP_KERNEL)"),
    (0x28, "r0 = kmalloc(0x28, GFP_KERNEL)"),
    (0x2000, "r0 = kmalloc(0x2000, GFP_KERNEL)"),
    (0x2001, "r0 = kmalloc(0x2001, GFP_KERNEL)"),
    (0x1000, "r0 = alloc_pages(GFP_KERNEL, 0)"),
    (0x4000, "r0 = alloc_pages(GFP_KERNEL|__GFP_COMP, 2)"),
    (0x3000, "r0 = alloc_pages_exact(0x3000, GFP_KERNEL)"),
    (0x1800, "r0 = dma_alloc_coherent(0x1800, GFP_KERNEL)"),
    (0x48, "r0 = kmem_cache_alloc(c0, GFP_KERNEL)"),
    (0x48, "r0 = kmem_cache_alloc(c1, GFP_KERNEL)"),
    (0x2fff, "r0 = vmalloc(0x2fff)"),
    (0x3000, "r0 = kvmalloc(0x3000, GFP_KERNEL) (route: slab)"),
    (0x3000, "r0 = kvmalloc(0x3000, GFP_KERNEL) (route: vmalloc)"),
    (0x1000, "r0 = alloc_pages(GFP_KERNEL, 0)\n__free_pages(r0, 0)"),
    (0x40, "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0)"),
    (0x40, "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree_rcu(r0, 0x0)"),
    (0x1000, "r0 = alloc_pages(GFP_KERNEL, 0)\nr1 = get_page(r0)"),
    (0x3000, "r0 = vmalloc(0x3000)\nvfree(r0)"),
    (0, "r0 = kmalloc(0xffffffffffffffff, GFP_KERNEL)"),
];

/// The same before the page allocator has its memory.
const EARLY_HOLDINGS: &[(u64, &str)] = &[
    (0x40, "r0 = memblock_alloc(0x40, 0x40)"),
    (0x2000, "r0 = memblock_alloc(0x2000, 0x1000)"),
    (0x40, "r0 = memblock_alloc(0x40, 0x40)\nmemblock_free(r0, 0x40)"),
];

/// The caches that cases may name.
const CACHES: &str = "c0 = kmem_cache_create(0x48, 0x8, 0)\nc1 = kmem_cache_create(0x48, 0x8, 0, 0x6b6b6b6b6b6b6b6b)";

/// What may differ between two cases of a block.
#[derive(Clone, Debug)]
enum Axis {
    /// The argument in this place, its values, and the places of its usual ones.
    Arg(usize, Role, Vec<Value>, Vec<u64>),
    /// What the pointer's register holds.
    Holding(Vec<(u64, Vec<Op>)>),
    Context,
    Route,
    Cpu,
}

impl Axis {
    fn of_arg(spec: &CallSpec, place: usize) -> Self {
        let kind = spec.args[place].1;
        let values = value::values(kind);
        let place_of = |usual: Value| values.iter().position(|value| *value == usual);
        let taken = |usual: Value| usual.taken_by(spec);
        let usual = value::usual(kind).into_iter().map(taken).filter_map(place_of);
        let usual = usual.map(|place| place as u64).collect();
        Axis::Arg(place, kind, values, usual)
    }

    fn len(&self) -> u64 {
        (match self {
            Axis::Arg(.., values, _) => values.len(),
            Axis::Holding(holdings) => holdings.len(),
            Axis::Context => CONTEXTS.len(),
            Axis::Route => ROUTES.len(),
            Axis::Cpu => CPUS.len(),
        }) as u64
    }

    /// The place of a value for a case that is about other axes.
    fn draw(&self, rng: &mut Rng) -> u64 {
        let is_usual = rng.u8(0..8) > 0;
        match self {
            Axis::Arg(.., usual) if is_usual => usual[rng.index(0..usual.len())],
            Axis::Context if is_usual => 0,
            _ => rng.u64(0..self.len()),
        }
    }
}

/// All cases of one call in one state.
#[derive(Debug)]
pub struct Block {
    spec: &'static CallSpec,
    state: State,
    axes: Vec<Axis>,
    /// Of each two axes: their places, and the number of the first case in which they meet.
    pairs: Vec<(usize, usize, u64)>,
    nr_cases: u64,
}

/// Every call in every state in which it can find anything new.
pub fn blocks() -> Vec<Block> {
    let in_state = |spec: &'static CallSpec| {
        let fits = move |state: &State| !state.is_of_another_version() || is_versioned(spec);
        state::states().into_iter().filter(fits).map(move |state| Block::new(spec, state))
    };
    // The lanes whose machines these are have no others.
    CALLS.iter().filter(|spec| !spec.family.is_foreign()).flat_map(in_state).collect()
}

/// What the cases of some blocks may take that share a machine.
pub fn bound(campaign: &Campaign, blocks: &[Block]) -> Bound {
    let of_state = |block: &Block| {
        let State { start, .. } = &block.state;
        let nr_ops = start.ops.len() + NR_CASES_A_MACHINE * NR_OPS_A_CASE;
        Bound::of_any(campaign, &start.machine, nr_ops)
    };
    let bounds = blocks.iter().map(of_state);
    bounds.max_by_key(|bound| bound.total()).expect("there is a block")
}

/// Whether the versions of kvmalloc may differ in what the call answers.
fn is_versioned(spec: &CallSpec) -> bool {
    spec.traits.routed || spec.name.contains("vmalloc") && spec.yields == Yields::Memory
}

/// Whether an argument names memory that a register holds.
fn names_memory((_, kind): &(&str, Role)) -> bool {
    kind.is_address() || *kind == Role::FreedList
}

fn ops_of(text: &str) -> Vec<Op> {
    Trace::parse(text).expect("a trace of the table").ops
}

impl Block {
    fn new(spec: &'static CallSpec, state: State) -> Self {
        let places = 0..spec.args.len();
        let mut axes: Vec<Axis> = places.map(|place| Axis::of_arg(spec, place)).collect();
        if spec.args.iter().any(names_memory) {
            let rows = if spec.call.is_boot() { EARLY_HOLDINGS } else { HOLDINGS };
            axes.push(Axis::Holding(rows.iter().map(|row| (row.0, ops_of(row.1))).collect()));
        }
        axes.extend([Axis::Context, Axis::Cpu]);
        if spec.traits.routed {
            axes.push(Axis::Route);
        }
        let mut pairs = Vec::new();
        let mut nr_cases = 0;
        for a in 0..axes.len() {
            for b in a + 1..axes.len() {
                pairs.push((a, b, nr_cases));
                nr_cases += axes[a].len() * axes[b].len();
            }
        }
        Self { spec, state, axes, pairs, nr_cases }
    }

    /// Case `number` of a sample of this block, the block at `place` of [`blocks`].
    pub fn sampled(&self, seed: u64, place: u64, number: u64) -> u64 {
        mix(mix(seed, place), number) % self.nr_cases()
    }

    /// The number of its cases.
    pub fn nr_cases(&self) -> u64 {
        self.nr_cases
    }

    /// The C name of its call.
    pub fn call(&self) -> &'static str {
        self.spec.name
    }

    /// What it tries, and where.
    pub fn name(&self) -> String {
        let Machine { policy, .. } = self.state.start.machine;
        let policy = crate::trace::POLICIES[policy as usize];
        format!("{} on a machine {}, {policy}", self.spec.name, self.state.name)
    }

    /// The ops of a case; the last one is its call.
    fn case(&self, number: u64) -> Vec<Op> {
        let mut rng = Rng::with_seed(mix(self.spec.call as u64, number));
        let mut at: Vec<u64> = self.axes.iter().map(|axis| axis.draw(&mut rng)).collect();
        let pair = self.pairs.partition_point(|(.., first)| *first <= number) - 1;
        let (a, b, first) = self.pairs[pair];
        let width = self.axes[b].len();
        (at[a], at[b]) = ((number - first) / width, (number - first) % width);
        let mut ops = Vec::new();
        let mut call = plain_op(self.spec.call, [Arg::Number(0); MAX_ARGS]);
        let mut held = 0;
        for (axis, &at) in self.axes.iter().zip(&at) {
            let at = at as usize;
            match axis {
                Axis::Arg(..) => {}
                Axis::Holding(holdings) => {
                    held = holdings[at].0;
                    ops.clone_from(&holdings[at].1);
                }
                Axis::Context => call.caller.context = CONTEXTS[at].1,
                Axis::Cpu => call.caller.cpu = CPUS[at],
                Axis::Route => call.route = ROUTES[at].1,
            }
        }
        for (axis, &at) in self.axes.iter().zip(&at) {
            if let Axis::Arg(place, kind, values, _) = axis {
                let machine = &self.state.start.machine;
                call.args[*place] = values[at as usize].arg(*kind, machine, POINTER, held);
            }
        }
        if self.spec.yields == Yields::Cache {
            call.dst = Some(NEW_CACHE);
        }
        ops.push(call);
        ops
    }

    /// Runs some of the cases down the lanes of a campaign, many on one machine. What an earlier
    /// case's request that waits has a lane skip is run again on another machine.
    ///
    /// # Errors
    /// The first objection of an oracle, with a trace of all cases that shared its machine.
    pub fn run(&self, campaign: &Campaign, cases: &[u64]) -> Result<Tally, Box<Failure>> {
        let mut tally = Tally::new(campaign);
        let mut left = cases.to_vec();
        while !left.is_empty() {
            let (trace, ends) = self.trace(&left);
            let mut skipped = Vec::new();
            let mut index = 0;
            let stats = exec::watch(campaign, &trace, Expectations::Ignored, |views| {
                if let Some(case) = ends.iter().position(|end| *end == index)
                    && views.iter().all(|view| view.class.is_none())
                {
                    skipped.push(left[case]);
                }
                index += 1;
            })?;
            tally.stats.add(&stats);
            // A machine's first case that is skipped always is.
            let is_first = skipped.first() == Some(&left[0]);
            let first = usize::from(is_first);
            tally.nr_skipped += first as u64;
            tally.nr_cases += (ends.len() - skipped.len() + first) as u64;
            left.drain(..ends.len());
            left.splice(0..0, skipped.drain(first..));
        }
        Ok(tally)
    }

    /// A trace of as many of the cases as may share a machine, and the place of each one's call.
    fn trace(&self, cases: &[u64]) -> (Trace, Vec<usize>) {
        let (machine, mut ops) = self.state.begin();
        let has_cache = |arg: &(&str, Role)| names_memory(arg) || arg.1 == Role::Cache;
        if self.spec.args.iter().any(has_cache) && !self.spec.call.is_boot() {
            ops.splice(0..0, ops_of(CACHES));
        }
        let mut ends = Vec::new();
        let mut nr_waiting = 0;
        for &number in cases.iter().take(NR_CASES_A_MACHINE) {
            let mut case = self.case(number);
            let call = case.last_mut().expect("a case has a call");
            if call.args.iter().any(|arg| matches!(arg, Arg::Gfp(gfp) if gfp.has(__GFP_NOFAIL))) {
                if nr_waiting == NR_WAITING_TASKS {
                    break;
                }
                nr_waiting += 1;
                call.caller.task = nr_waiting;
            }
            ops.append(&mut case);
            ends.push(ops.len() - 1);
        }
        (Trace { machine, ops, ..Trace::default() }, ends)
    }
}

/// What came of some cases.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Cases that were run.
    pub nr_cases: u64,
    /// Those of them that no lane could carry out.
    pub nr_skipped: u64,
    /// What the lanes answered.
    pub stats: Stats,
}

impl Tally {
    /// Nothing yet, for the lanes of a campaign.
    pub fn new(campaign: &Campaign) -> Self {
        Self { nr_cases: 0, nr_skipped: 0, stats: Stats::new(campaign.lanes) }
    }

    /// Adds what came of other cases.
    pub fn add(&mut self, other: &Tally) {
        self.nr_cases += other.nr_cases;
        self.nr_skipped += other.nr_skipped;
        self.stats.add(&other.stats);
    }
}
