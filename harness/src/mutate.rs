//! Changing traces: the fuzzer's custom mutator and crossover.
//!
//! The one idea: a mutation works on the parsed trace and what it makes is printed again, so a
//! mutant always means something. New ops are aimed at what is live at their place, as in a
//! generated trace.
//!
//! This file does not choose which mutants survive; the fuzzer's coverage does.

mod change;
#[cfg(test)]
mod test;

use crate::call::{Call, MAX_ARGS, Role, Yields};
use crate::generate::{
    Profile, Scene, Share, Swarm, draw, generate, generate_op, makes_cache, plain_op,
};
use crate::op::{Arg, Op};
use crate::random::{Draw, one_of};
use crate::text::{MACHINE_FIELDS, MAX_FUZZ_OPS, clamp_machine};
use crate::trace::{Machine, Trace};
use change::{change_op, nudged};
use fastrand::Rng;

/// Traces longer than this are cut rather than grown.
const LONG: usize = 512;

/// What a mutation works with.
struct Knife<'a> {
    profile: &'a Profile,
    swarm: Swarm,
    rng: &'a mut Rng,
}

/// One way to change a trace, and how often it is chosen.
type Mutation = (u32, fn(&mut Trace, &mut Knife<'_>));

/// Every mutation. Those at the end leave the number of ops as it is or lower it.
const MUTATIONS: &[Mutation] = &[
    (24, insert),
    (8, insert_pair),
    (6, insert_burst),
    (8, duplicate),
    (6, repeat_part),
    (10, delete),
    (4, delete_part),
    (6, swap),
    (6, move_op),
    (30, change_op),
    (4, change_machine),
];

/// The number of mutations at the start of [`MUTATIONS`] that make a trace longer.
const NR_GROWING: usize = 5;

/// The bytes that the requests of a light trace ask for together, about as in a generated one.
const LIGHT_TRACE_BYTES: u64 = 512 << 10;

/// Changes the trace in one to four ways. An empty trace becomes a generated one.
pub fn mutate(trace: &mut Trace, profile: &Profile, rng: &mut Rng) {
    if trace.ops.is_empty() {
        *trace = generate(profile, rng);
        return;
    }
    let mut swarm = Swarm::draw(profile, rng);
    swarm.machine = trace.machine;
    let mut knife = Knife { profile, swarm, rng };
    let nr_changes = [1, 1, 1, 2, 2, 3, 4][knife.rng.index(0..7)];
    for _ in 0..nr_changes {
        let first = if trace.ops.len() > LONG { NR_GROWING } else { 0 };
        choose(&MUTATIONS[first..], knife.rng)(trace, &mut knife);
    }
    mend_caches(trace, rng);
    trace.ops.truncate(MAX_FUZZ_OPS);
    lighten(trace, rng);
}

/// Points ops whose cache was never made, since its line is gone, at one that was; where there is
/// none, it makes one. A lane can only skip such an op, and in a corpus of mutants every tenth
/// would be one.
fn mend_caches(trace: &mut Trace, rng: &mut Rng) {
    let uses = |op: &Op| op.args.iter().any(|arg| matches!(arg, Arg::Cache(_)));
    let makes = |op: &Op| op.dst.is_some() && makes_cache(op);
    let first = trace.ops.iter().position(|op| uses(op) || makes(op));
    if let Some(first) = first.filter(|first| uses(&trace.ops[*first])) {
        let sizes = [Arg::Number(draw::size(0x1000, rng).max(1)), Arg::Number(8)];
        let mut args = [Arg::Number(0); MAX_ARGS];
        args[..2].copy_from_slice(&sizes);
        let make = Op { dst: Some(0), ..plain_op(Call::KmemCacheCreate, args) };
        trace.ops.insert(first, make);
    }
    let mut made = Vec::new();
    for op in &mut trace.ops {
        for arg in &mut op.args {
            if let Arg::Cache(register) = arg
                && !made.contains(register)
                && !made.is_empty()
            {
                *register = *one_of(&made, rng);
            }
        }
        match (op.call, op.dst, op.args[0]) {
            (_, Some(register), _) if makes_cache(op) => made.push(register),
            (Call::KmemCacheDestroy, _, Arg::Cache(register)) => {
                made.retain(|other| *other != register);
            }
            _ => {}
        }
    }
}

/// Makes most mutants light again. Large requests reach code of their own and so stay in a corpus,
/// and mutants of mutants of them would be larger and larger; but painting a megabyte costs as much
/// as a hundred small requests, and says no more than painting it once in a while.
fn lighten(trace: &mut Trace, rng: &mut Rng) {
    if rng.u8(0..16) == 0 {
        return;
    }
    let mut left = LIGHT_TRACE_BYTES;
    for op in &mut trace.ops {
        if bytes_of(op, &trace.machine) > left {
            for arg in op.args.iter_mut().zip(op.call.spec().args) {
                match arg {
                    (Arg::Number(number), (_, Role::Size)) => *number = draw::size(0x1000, rng),
                    (Arg::Number(number), (_, Role::Count | Role::Results | Role::Order)) => {
                        *number %= 2;
                    }
                    _ => {}
                }
            }
        }
        left = left.saturating_sub(bytes_of(op, &trace.machine));
    }
}

/// The bytes that an op has painted; what exceeds the machine is refused and costs nothing.
fn bytes_of(op: &Op, machine: &Machine) -> u64 {
    let spec = op.call.spec();
    if spec.yields != Yields::Memory {
        return 0;
    }
    let bytes = op.args.iter().zip(spec.args).fold(1_u64, |bytes, (arg, (_, kind))| {
        let factor = match (arg, kind) {
            (Arg::Number(number), Role::Size | Role::Count | Role::Results) => *number,
            (Arg::Number(order), Role::Order) => 0x1000_u64.checked_shl(*order as u32).unwrap_or(0),
            _ => 1,
        };
        bytes.saturating_mul(factor)
    });
    if bytes > u64::from(machine.frames) * 0x1000 { 0 } else { bytes }
}

/// Makes a trace of parts of both: their heads and tails, a part of one inside the other, or their
/// ops in turn. The machine is one of theirs.
pub fn cross(a: &Trace, b: &Trace, rng: &mut Rng) -> Trace {
    let machine = if rng.bool() { a.machine } else { b.machine };
    let (from, to) = part(&a.ops, rng);
    let (first, last) = part(&b.ops, rng);
    let mut ops = Vec::with_capacity(a.ops.len() + b.ops.len());
    match rng.u8(0..4) {
        0 => {
            ops.extend_from_slice(&a.ops[..to]);
            ops.extend_from_slice(&b.ops[first..]);
        }
        1 => {
            let (mut a, mut b) = (&a.ops[..], &b.ops[..]);
            while !a.is_empty() || !b.is_empty() {
                let (run, rest) = a.split_at(rng.index(0..=16).min(a.len()));
                ops.extend_from_slice(run);
                (a, b) = (b, rest);
            }
        }
        _ => {
            ops.extend_from_slice(&a.ops[..from]);
            ops.extend_from_slice(&b.ops[first..last]);
            ops.extend_from_slice(&a.ops[to..]);
        }
    }
    let mut trace = Trace { machine, ops, ..Trace::default() };
    mend_caches(&mut trace, rng);
    trace.ops.truncate(MAX_FUZZ_OPS);
    lighten(&mut trace, rng);
    trace
}

/// libFuzzer's custom mutator: changes the text in `bytes[..size]` to one of at most `max_size`
/// bytes and returns its length. One time in eight it leaves the work to `engine`, libFuzzer's own
/// mutation of bytes. The same `seed` makes the same mutant.
pub fn libfuzzer_mutate(
    bytes: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    profile: &Profile,
    engine: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut rng = Rng::with_seed(seed.into());
    if rng.u8(0..8) == 0 {
        return engine(bytes, size, max_size);
    }
    let mut trace = Trace::parse_lenient(&bytes[..size]);
    mutate(&mut trace, profile, &mut rng);
    let room = max_size.min(bytes.len());
    match print_within(&trace, &mut bytes[..room]) {
        // Not even the header fits.
        0 => engine(bytes, size, max_size),
        written => written,
    }
}

/// libFuzzer's custom crossover: writes a trace made of both texts and returns its length. The same
/// `seed` makes the same trace.
pub fn libfuzzer_cross(a: &[u8], b: &[u8], out: &mut [u8], seed: u32) -> usize {
    let mut rng = Rng::with_seed(seed.into());
    let (a, b) = (Trace::parse_lenient(a), Trace::parse_lenient(b));
    print_within(&cross(&a, &b, &mut rng), out)
}

/// Writes as many whole lines of the trace as `out` has room for, and returns their length.
fn print_within(trace: &Trace, out: &mut [u8]) -> usize {
    let mut text = Vec::with_capacity(out.len().min(64 * (trace.ops.len() + 2)));
    trace.print_into(&mut text);
    let mut len = text.len().min(out.len());
    if len < text.len() {
        len = text[..len].iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    }
    out[..len].copy_from_slice(&text[..len]);
    len
}

fn choose<T: Copy>(rows: &[(u32, T)], rng: &mut Rng) -> T {
    let mut left = rng.u32(0..rows.iter().map(|row| row.0).sum());
    for &(weight, value) in rows {
        if left < weight {
            return value;
        }
        left -= weight;
    }
    rows[0].1
}

/// The place of an op. The creation of a cache is seldom chosen, since many ops mean nothing
/// without it.
fn any_place(trace: &Trace, rng: &mut Rng) -> Option<usize> {
    let at = rng.one_of(0..trace.ops.len())?;
    let holds_others = trace.ops[at].call.spec().yields == Yields::Cache;
    if holds_others && rng.u8(0..4) > 0 { rng.one_of(0..trace.ops.len()) } else { Some(at) }
}

/// A part of the ops, from the first index up to the second.
fn part(ops: &[Op], rng: &mut Rng) -> (usize, usize) {
    let (a, b) = (rng.index(0..=ops.len()), rng.index(0..=ops.len()));
    (a.min(b), a.max(b))
}

/// A short part of the ops, at most 16 of them.
fn short_part(ops: &[Op], rng: &mut Rng) -> (usize, usize) {
    let from = rng.index(0..=ops.len());
    (from, (from + rng.index(1..=16)).min(ops.len()))
}

fn insert(trace: &mut Trace, knife: &mut Knife<'_>) {
    insert_some(trace, knife, 1);
}

fn insert_burst(trace: &mut Trace, knife: &mut Knife<'_>) {
    let nr_ops = knife.rng.index(2..=12);
    insert_some(trace, knife, nr_ops);
}

fn insert_some(trace: &mut Trace, knife: &mut Knife<'_>, nr_ops: usize) {
    let at = knife.rng.index(0..=trace.ops.len());
    let mut scene = Scene::after(&trace.ops[..at]);
    let making = Share(knife.rng.u16(200..900));
    let mut burst = Vec::with_capacity(nr_ops);
    for _ in 0..nr_ops {
        let op = generate_op(&scene, &knife.swarm, making, knife.rng);
        scene.observe(&op);
        burst.push(op);
    }
    trace.ops.splice(at..at, burst);
}

/// Inserts an allocation here and its free further down.
fn insert_pair(trace: &mut Trace, knife: &mut Knife<'_>) {
    let (from, to) = part(&trace.ops, knife.rng);
    let mut scene = Scene::after(&trace.ops[..from]);
    let make = generate_op(&scene, &knife.swarm, Share(1000), knife.rng);
    scene.observe(&make);
    let free = make.dst.and_then(|register| scene.free_of(register));
    if let Some(free) = free.filter(|free| knife.profile.calls.contains(free.call)) {
        trace.ops.insert(to, free);
    }
    trace.ops.insert(from, make);
}

fn duplicate(trace: &mut Trace, knife: &mut Knife<'_>) {
    let Some(&op) = knife.rng.one_of(&trace.ops) else { return };
    trace.ops.insert(knife.rng.index(0..=trace.ops.len()), op);
}

/// Splices a short part of the trace in at another place.
fn repeat_part(trace: &mut Trace, knife: &mut Knife<'_>) {
    let (from, to) = short_part(&trace.ops, knife.rng);
    let copy = trace.ops[from..to].to_vec();
    let at = knife.rng.index(0..=trace.ops.len());
    trace.ops.splice(at..at, copy);
}

fn delete(trace: &mut Trace, knife: &mut Knife<'_>) {
    if let Some(at) = any_place(trace, knife.rng) {
        trace.ops.remove(at);
    }
}

fn delete_part(trace: &mut Trace, knife: &mut Knife<'_>) {
    let (from, to) = if trace.ops.len() > LONG {
        part(&trace.ops, knife.rng)
    } else {
        short_part(&trace.ops, knife.rng)
    };
    trace.ops.drain(from..to);
}

fn swap(trace: &mut Trace, knife: &mut Knife<'_>) {
    let nr_ops = trace.ops.len();
    if nr_ops == 0 {
        return;
    }
    let a = knife.rng.index(0..nr_ops);
    // Neighbours make the smallest change; any two make the largest.
    let b = if knife.rng.bool() { a + 1 } else { knife.rng.index(0..nr_ops) };
    trace.ops.swap(a, b % nr_ops);
}

fn move_op(trace: &mut Trace, knife: &mut Knife<'_>) {
    if let Some(at) = any_place(trace, knife.rng) {
        let op = trace.ops.remove(at);
        trace.ops.insert(knife.rng.index(0..=trace.ops.len()), op);
    }
}

fn change_machine(trace: &mut Trace, knife: &mut Knife<'_>) {
    if knife.rng.bool() {
        trace.machine = Swarm::draw(knife.profile, knife.rng).machine;
    } else {
        let whose = knife.profile.calls.whose();
        let fields: Vec<_> = MACHINE_FIELDS.iter().filter(|it| it.concerns(whose)).collect();
        let field = one_of(&fields, knife.rng);
        let value = (field.of_mut)(&mut trace.machine);
        *value = nudged((*value).into(), knife.rng).min(u32::MAX.into()) as u32;
    }
    clamp_machine(&mut trace.machine);
    knife.swarm.machine = trace.machine;
}
