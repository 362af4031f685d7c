//! Making a failing trace small enough to read.
//!
//! The one idea: the shrinker never runs a trace. It is a state machine that hands out the next
//! simpler candidate ([`Shrinker::candidate`]) and is told whether it still fails
//! ([`Shrinker::accept`], [`Shrinker::reject`]); the command line and proptest's value trees drive
//! the same one. First lines go, in halves down to single ones; then what stands beside the calls;
//! then flags and numbers get simpler; last the registers are renumbered. All of it is repeated
//! until nothing can be made simpler.
//!
//! It ends because every candidate is simpler in one fixed order: fewer ops, then fewer properties,
//! then simpler flags, then smaller numbers, then registers that count from 0.

#[cfg(test)]
mod test;

use crate::call::Yields;
use crate::generate::draw::EDGES;
use crate::op::{Arg, Faults, Op, Ptr, Reg};
use crate::text::{FAULT_SITES, MACHINE_FIELDS};
use crate::trace::{Machine, Trace};
use crate::words::gfp::{GFP_KERNEL, Gfp};
use crate::words::{Current, Route};

/// Shrinks `trace`, for which `fails` holds, as far as `budget_candidates` calls of `fails` go.
pub fn shrink(
    trace: &Trace,
    budget_candidates: usize,
    mut fails: impl FnMut(&Trace) -> bool,
) -> Trace {
    let mut shrinker = Shrinker::new(trace.clone());
    for _ in 0..budget_candidates {
        let Some(candidate) = shrinker.candidate() else { break };
        if fails(&candidate) {
            shrinker.accept();
        } else {
            shrinker.reject();
        }
    }
    shrinker.best
}

/// The state of a shrinking in progress.
#[derive(Clone, Debug)]
pub struct Shrinker {
    best: Trace,
    /// The candidate that has not been judged yet.
    trial: Option<Trace>,
    pass: Pass,
    /// Whether this round of passes has made the best simpler.
    progress: bool,
}

/// What is being tried.
#[derive(Clone, Copy, Debug)]
enum Pass {
    /// Dropping `width` ops that end `from_end` ops before the end. `dropped` says whether this
    /// sweep over the trace dropped any.
    Lines { width: usize, from_end: usize, dropped: bool },
    /// Edit number `edit` of the header.
    Header { edit: usize },
    /// Edit number `edit` of the op at `at`.
    Ops { kind: EditKind, at: usize, edit: usize },
    /// Counting the registers from 0.
    Registers { tried: bool },
    /// Nothing more can be tried.
    Done,
}

/// The edits of single ops, in the order in which they are tried over the whole trace.
#[derive(Clone, Copy, Debug)]
enum EditKind {
    Properties,
    Flags,
    Numbers,
}

impl Shrinker {
    /// Begins with a trace that fails.
    pub fn new(trace: Trace) -> Self {
        let pass = Pass::lines(&trace);
        Self { best: trace, trial: None, pass, progress: false }
    }

    /// The simplest trace so far that is known to fail.
    pub fn best(&self) -> &Trace {
        &self.best
    }

    /// The next trace that is simpler than the best; none if there is no more. A candidate that was
    /// neither accepted nor rejected counts as rejected.
    pub fn candidate(&mut self) -> Option<Trace> {
        if self.trial.is_some() {
            self.reject();
        }
        while self.trial.is_none() && !matches!(self.pass, Pass::Done) {
            self.trial = self.pass.apply(&self.best);
            if self.trial.is_none() {
                self.pass = self.next_pass();
            }
        }
        self.trial.clone()
    }

    /// The last candidate still fails, and becomes the best.
    pub fn accept(&mut self) {
        let Some(trial) = self.trial.take() else { return };
        self.best = trial;
        self.progress = true;
        match &mut self.pass {
            Pass::Lines { dropped, .. } => *dropped = true,
            // A number that was halved may be halved again.
            Pass::Header { edit } | Pass::Ops { edit, .. } => *edit = 0,
            Pass::Registers { tried } => *tried = true,
            Pass::Done => {}
        }
    }

    /// The last candidate does not fail any more.
    pub fn reject(&mut self) {
        if self.trial.take().is_none() {
            return;
        }
        match &mut self.pass {
            Pass::Lines { width, from_end, .. } => *from_end += *width,
            Pass::Header { edit } | Pass::Ops { edit, .. } => *edit += 1,
            Pass::Registers { tried } => *tried = true,
            Pass::Done => {}
        }
    }

    /// Where to go on when the pass has no candidate left at its place.
    fn next_pass(&mut self) -> Pass {
        let nr_ops = self.best.ops.len();
        match self.pass {
            Pass::Lines { width: 1, dropped: false, .. } => Pass::Header { edit: 0 },
            Pass::Lines { width, .. } => {
                Pass::Lines { width: (width / 2).max(1), from_end: 0, dropped: false }
            }
            Pass::Header { .. } => Pass::Ops { kind: EditKind::Properties, at: 0, edit: 0 },
            Pass::Ops { kind, at, .. } if at < nr_ops => Pass::Ops { kind, at: at + 1, edit: 0 },
            Pass::Ops { kind: EditKind::Properties, .. } => {
                Pass::Ops { kind: EditKind::Flags, at: 0, edit: 0 }
            }
            Pass::Ops { kind: EditKind::Flags, .. } => {
                Pass::Ops { kind: EditKind::Numbers, at: 0, edit: 0 }
            }
            Pass::Ops { kind: EditKind::Numbers, .. } => Pass::Registers { tried: false },
            Pass::Registers { .. } if self.progress => {
                self.progress = false;
                Pass::lines(&self.best)
            }
            Pass::Registers { .. } | Pass::Done => Pass::Done,
        }
    }
}

impl Pass {
    /// The first sweep drops halves.
    fn lines(trace: &Trace) -> Self {
        Self::Lines { width: (trace.ops.len() / 2).max(1), from_end: 0, dropped: false }
    }

    /// The candidate at this place, if there is one.
    fn apply(self, best: &Trace) -> Option<Trace> {
        // A recording is long, so it is copied only once there is something to try.
        match self {
            Self::Lines { width, from_end, .. } => {
                let end = best.ops.len().checked_sub(from_end).filter(|end| *end > 0)?;
                let mut trial = best.clone();
                trial.ops.drain(end.saturating_sub(width)..end);
                Some(trial)
            }
            Self::Header { edit } => {
                let machine = simpler_machine(best.machine, edit)?;
                Some(Trace { machine, ..best.clone() })
            }
            Self::Ops { kind, at, edit } => {
                let op = best.ops.get(at)?;
                let simpler = match kind {
                    EditKind::Properties => without_property(op, edit),
                    EditKind::Flags => simpler_flags(op, edit),
                    EditKind::Numbers => smaller_number(op, edit),
                }?;
                let mut trial = best.clone();
                trial.ops[at] = simpler;
                Some(trial)
            }
            Self::Registers { tried: false } => {
                let mut trial = best.clone();
                renumber(&mut trial);
                (trial != *best).then_some(trial)
            }
            Self::Registers { tried: true } | Self::Done => None,
        }
    }
}

/// The header with one more field at its default.
fn simpler_machine(machine: Machine, edit: usize) -> Option<Machine> {
    let default = Machine::default();
    let simpler = MACHINE_FIELDS.iter().filter_map(|field| {
        let mut simpler = machine;
        *(field.of_mut)(&mut simpler) = (field.of)(&default);
        (simpler != machine && simpler.min_free <= simpler.frames).then_some(simpler)
    });
    simpler.take(MACHINE_FIELDS.len()).nth(edit)
}

/// The op without its route, its caller, one of its faults, or its expectation.
fn without_property(op: &Op, edit: usize) -> Option<Op> {
    let route = Op { route: Route::Policy, ..*op };
    let faults = Op { faults: Faults::default(), ..*op };
    let expect = Op { expect: None, ..*op };
    let each_fault = FAULT_SITES.iter().map(|site| {
        let mut simpler = *op;
        *(site.of_mut)(&mut simpler.faults) = 0;
        simpler
    });
    let caller = Op { caller: Current::default(), ..*op };
    let edits = [route, faults, caller].into_iter().chain(each_fault).chain([expect]);
    edits.filter(|simpler| simpler != op).nth(edit)
}

/// The op with flags nearer to `GFP_KERNEL`: just that, or one bit nearer. What is left then says
/// which flags matter.
fn simpler_flags(op: &Op, edit: usize) -> Option<Op> {
    let mut edits = (0..op.args.len()).flat_map(|place| {
        let flags = match op.args[place] {
            Arg::Gfp(flags) => flags,
            _ => GFP_KERNEL,
        };
        let odd = Gfp(flags.0 ^ GFP_KERNEL.0);
        let bits = (0..32).map(|bit| Gfp(1 << bit)).filter(move |bit| odd.has(*bit));
        let nearer = bits.map(move |bit| Gfp(flags.0 ^ bit.0));
        let plain = (odd != Gfp(0)).then_some(GFP_KERNEL);
        plain.into_iter().chain(nearer).map(move |flags| with_arg(op, place, Arg::Gfp(flags)))
    });
    edits.nth(edit)
}

/// The op with a smaller number, offset, constant address or fault count.
fn smaller_number(op: &Op, edit: usize) -> Option<Op> {
    let in_args = (0..op.args.len()).flat_map(|place| {
        let number = match op.args[place] {
            Arg::Number(number) | Arg::Ptr(Ptr::Const(number)) => number,
            Arg::Ptr(Ptr::Reg(_, offset)) => offset.unsigned_abs(),
            Arg::Regs(_, nr) => u64::from(nr),
            Arg::Gfp(_) | Arg::Cache(_) => 0,
        };
        smaller(number).map(move |smaller| match op.args[place] {
            Arg::Ptr(Ptr::Const(_)) => with_arg(op, place, Arg::Ptr(Ptr::Const(smaller))),
            Arg::Ptr(Ptr::Reg(register, offset)) => {
                let offset = (smaller as i64).wrapping_mul(offset.signum());
                with_arg(op, place, Arg::Ptr(Ptr::Reg(register, offset)))
            }
            // A list has an address at least.
            Arg::Regs(first, _) => with_arg(op, place, Arg::Regs(first, smaller.max(1) as u8)),
            _ => with_arg(op, place, Arg::Number(smaller)),
        })
    });
    let without_first = (0..op.args.len()).filter_map(|place| match op.args[place] {
        Arg::Regs(first, nr @ 2..) => Some(with_arg(op, place, Arg::Regs(first + 1, nr - 1))),
        _ => None,
    });
    let in_faults = FAULT_SITES.iter().flat_map(|site| {
        // A count of 0 is no fault, which is a property to drop.
        smaller((site.of)(&op.faults).into()).filter(|count| *count > 0).map(|count| {
            let mut simpler = *op;
            *(site.of_mut)(&mut simpler.faults) = count as u16;
            simpler
        })
    });
    let edits = in_args.chain(without_first).chain(in_faults);
    edits.filter(|simpler| simpler != op).nth(edit)
}

fn with_arg(op: &Op, place: usize, arg: Arg) -> Op {
    let mut simpler = *op;
    simpler.args[place] = arg;
    simpler
}

/// Numbers below `number`, in the order in which they are worth a try: round ones, then the next
/// edge below, then steps down that get shorter, so that any threshold is found in few steps.
fn smaller(number: u64) -> impl Iterator<Item = u64> {
    let edge = EDGES.iter().rev().copied().find(|edge| *edge < number);
    let half = [number / 2];
    let steps =
        (2..64).map(move |shift| number - (number >> shift)).take_while(move |n| *n < number);
    let last = [number.saturating_sub(1)];
    let tries = [0, 1, 8].into_iter().chain(edge).chain(half).chain(steps).chain(last);
    tries.filter(move |next| *next < number)
}

/// Counts memory and cache registers from 0 in the order in which they first appear; or, where
/// lines name several memory registers that follow each other, in their own order.
fn renumber(trace: &mut Trace) {
    let (mut memory, mut caches) = (in_order(trace), Vec::new());
    for op in &mut trace.ops {
        for arg in &mut op.args {
            match arg {
                Arg::Ptr(Ptr::Reg(register, _)) | Arg::Regs(register, _) => {
                    *register = number_of(*register, &mut memory);
                }
                Arg::Cache(cache) => *cache = number_of(*cache, &mut caches),
                Arg::Ptr(Ptr::Const(_)) | Arg::Number(_) | Arg::Gfp(_) => {}
            }
        }
        if let Some(dst) = &mut op.dst {
            let is_cache = op.call.spec().yields == Yields::Cache;
            *dst = number_of(*dst, if is_cache { &mut caches } else { &mut memory });
        }
    }
}

/// The memory registers of a trace in their own order, if one of its lines names several that
/// follow each other.
fn in_order(trace: &Trace) -> Vec<Reg> {
    let ranges = |op: &Op| {
        let is_cache = op.call.spec().yields == Yields::Cache;
        let filled = op.dst.filter(|_| !is_cache).map(|dst| (dst, op.nr_dst()));
        let named = op.args.map(|arg| match arg {
            Arg::Ptr(Ptr::Reg(register, _)) => Some((register, 1)),
            Arg::Regs(first, nr) => Some((first, nr.into())),
            _ => None,
        });
        named.into_iter().chain([filled]).flatten()
    };
    if trace.ops.iter().flat_map(ranges).all(|(_, nr)| nr == 1) {
        return Vec::new();
    }
    let all = trace.ops.iter().flat_map(ranges);
    let mut registers: Vec<Reg> =
        all.flat_map(|(first, nr)| (0..nr).map(move |nth| first.saturating_add(nth))).collect();
    registers.sort_unstable();
    registers.dedup();
    registers
}

/// The place of the register among those seen, which it joins if it is new.
fn number_of(register: Reg, seen: &mut Vec<Reg>) -> Reg {
    let place = seen.iter().position(|known| *known == register).unwrap_or_else(|| {
        seen.push(register);
        seen.len() - 1
    });
    place as Reg
}
