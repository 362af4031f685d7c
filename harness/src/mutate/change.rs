//! Mutations of one op.
//!
//! The one idea: what may change is read from the op's row in `CALLS`, by the kinds of its
//! arguments, so a new call is mutated without a line here.
//!
//! This file does not move, add or remove ops; its parent does.

use super::{Knife, any_place};
use crate::call::{CALLS, Call, CallSpec, MAX_LIST, Role, Yields};
use crate::generate::{Scene, Share, draw, flags, plain_op};
use crate::op::{Arg, Faults, Op, Ptr, Reg};
use crate::random::{Draw, one_of};
use crate::text::{CALLER_FIELDS, FAULT_SITES, MAX_ORDER_WRITTEN};
use crate::trace::Trace;
use crate::words::{CONTEXTS, Context, Current, Gfp, NR_ORDERS, ROUTES};
use fastrand::Rng;

/// Changes one part of one op: an argument, the call, the register, or what stands beside it.
pub(super) fn change_op(trace: &mut Trace, knife: &mut Knife<'_>) {
    let Some(at) = any_place(trace, knife.rng) else { return };
    let mut op = trace.ops[at];
    let spec = op.call.spec();
    match knife.rng.u8(0..17) {
        16 => change_caller(&mut op.caller, knife.rng),
        0..=8 => {
            // A call without arguments has but a caller.
            match knife.rng.one_of(0..spec.args.len()) {
                Some(place) => {
                    let scene = Scene::after(&trace.ops[..at]);
                    op.args[place] = change_arg(&op, place, &scene, knife);
                    // Such a request is refused for its size, unless its context forbids it first.
                    // Coverage would not reward one of the two changes without the other.
                    if is_beyond_all(spec.args[place].1, op.args[place]) && knife.rng.bool() {
                        forbid_sleep(&mut op.caller, knife.rng);
                    }
                }
                None => change_caller(&mut op.caller, knife.rng),
            }
        }
        9 | 10 => op = recast(op, &trace.ops[..at], knife),
        11 | 12 if spec.traits.routed => op.route = one_of(ROUTES, knife.rng).1,
        11..=13 => change_dst(&mut op, knife),
        _ if spec.yields == Yields::Nothing => change_dst(&mut op, knife),
        _ => change_faults(&mut op.faults, knife.rng),
    }
    trace.ops[at] = op;
}

/// Whether an argument asks for more than is ever granted.
fn is_beyond_all(kind: Role, arg: Arg) -> bool {
    match (kind, arg) {
        (Role::Order, Arg::Number(order)) => order >= NR_ORDERS as u64,
        (Role::Size | Role::Count, Arg::Number(number)) => number > i32::MAX as u64,
        _ => false,
    }
}

/// Moves the call to where nothing may sleep.
fn forbid_sleep(caller: &mut Current, rng: &mut Rng) {
    let mut contexts: Vec<Context> = CONTEXTS.iter().map(|(_, context)| *context).collect();
    contexts.retain(|context| *context != Context::Task);
    caller.context = *one_of(&contexts, rng);
}

fn change_arg(op: &Op, place: usize, scene: &Scene, knife: &mut Knife<'_>) -> Arg {
    let spec = op.call.spec();
    if knife.rng.u8(0..4) == 0 {
        return draw::arg(spec, place, &op.args, scene, &knife.swarm, knife.rng);
    }
    let rng = &mut *knife.rng;
    match (spec.args[place].1, op.args[place]) {
        (Role::Order, Arg::Number(order)) => Arg::Number(match rng.u8(0..16) {
            0..=2 => rng.u64(0..=MAX_ORDER_WRITTEN),
            3..=9 => (order + 1).min(11),
            _ => order.saturating_sub(1),
        }),
        (Role::SlabFlags, _) => draw::arg(spec, place, &op.args, scene, &knife.swarm, rng),
        (Role::Results, Arg::Number(_)) => Arg::Number(rng.u64(0..=MAX_LIST as u64)),
        (_, Arg::Number(_)) if rng.u8(0..6) == 0 => Arg::Number(draw::extreme(rng)),
        (_, Arg::Number(number)) => Arg::Number(nudged(number, rng)),
        (_, Arg::Gfp(flags)) => {
            // Of a call that takes few flags, one of those.
            let flag = Gfp(flags::modifier(rng).0 & spec.flags().0);
            match (flag, spec.traits.nolock) {
                (Gfp(0), true) => draw::arg(spec, place, &op.args, scene, &knife.swarm, rng),
                _ if flags.has(flag) => Arg::Gfp(flags.without(flag)),
                _ => Arg::Gfp(flags | flag),
            }
        }
        (_, Arg::Cache(cache)) => Arg::Cache(match scene.any_cache(rng) {
            Some(live) if rng.u8(0..8) > 0 => live,
            _ => nudged_register(cache, rng),
        }),
        (_, Arg::Ptr(ptr)) => Arg::Ptr(change_ptr(ptr, scene, knife)),
        (_, Arg::Regs(first, nr)) => match rng.u8(0..3) {
            0 => Arg::Regs(nudged_register(first, rng), nr),
            1 => Arg::Regs(first, rng.u8(1..=MAX_LIST as u8)),
            _ => Arg::Regs(first, nr.max(2) - 1),
        },
    }
}

fn change_ptr(ptr: Ptr, scene: &Scene, knife: &mut Knife<'_>) -> Ptr {
    let rng = &mut *knife.rng;
    // A campaign that grants no misuse gets hardly any from its mutator.
    let may_misuse = knife.profile.misuse > Share(0) && rng.u8(0..4) == 0;
    match (ptr, rng.u8(0..4)) {
        (Ptr::Reg(from, _), 0) if may_misuse => {
            Ptr::Reg(from, draw::interior(scene.bytes_in(from), rng))
        }
        (_, 1) if may_misuse => Ptr::Const(draw::wild(&knife.swarm, rng)),
        (_, 2) if may_misuse => Ptr::Reg(scene.any_freed(rng).unwrap_or(0), 0),
        (Ptr::Reg(from, 0), 3) => Ptr::Reg(nudged_register(from, rng), 0),
        (Ptr::Reg(from, offset), _) if offset != 0 => Ptr::Reg(from, offset / 2),
        _ => scene.any_live(rng).map_or(ptr, |(register, _)| Ptr::Reg(register, 0)),
    }
}

/// A number beside, twice, or half as large, or an edge.
pub(super) fn nudged(number: u64, rng: &mut Rng) -> u64 {
    match rng.u8(0..8) {
        0 | 1 => number.wrapping_add(1),
        2 | 3 => number.wrapping_sub(1),
        4 => number.saturating_mul(2),
        5 => number / 2,
        // The edges beside this number, or a likely one.
        6 => {
            let above = draw::EDGES.partition_point(|edge| *edge <= number);
            draw::EDGES[(above + rng.index(0..3)).saturating_sub(2).min(draw::EDGES.len() - 1)]
        }
        _ => draw::size(0x1_0000, rng),
    }
}

fn nudged_register(register: Reg, rng: &mut Rng) -> Reg {
    let near = [register.wrapping_add(1), register.saturating_sub(1), rng.u16(0..4), register ^ 1];
    *one_of(&near, rng)
}

fn change_dst(op: &mut Op, knife: &mut Knife<'_>) {
    if op.call.spec().yields == Yields::Nothing {
        return;
    }
    op.dst = match (op.dst, knife.rng.u8(0..8)) {
        (Some(_), 0) => None,
        (Some(register), _) => Some(nudged_register(register, knife.rng)),
        (None, _) => Some(knife.rng.u16(0..8)),
    };
}

/// Moves the call to another task, CPU or context.
fn change_caller(caller: &mut Current, rng: &mut Rng) {
    match rng.u8(0..4) {
        0 if *caller != Current::default() => *caller = Current::default(),
        1 => caller.context = one_of(CONTEXTS, rng).1,
        _ => {
            let field = one_of(CALLER_FIELDS, rng);
            let number = (field.of_mut)(caller);
            *number = (*number + rng.u8(1..field.end)) % field.end;
        }
    }
}

fn change_faults(faults: &mut Faults, rng: &mut Rng) {
    let drawn = flags::faults(rng);
    if *faults == Faults::default() {
        *faults = drawn;
        return;
    }
    match rng.u8(0..4) {
        0 => *faults = Faults::default(),
        1 => *faults = drawn,
        2 => FAULT_SITES.iter().for_each(|site| {
            let count = (site.of_mut)(faults);
            *count += u16::from(*count > 0 && *count < u16::MAX);
        }),
        _ => FAULT_SITES.iter().for_each(|site| {
            let count = (site.of_mut)(faults);
            *count = (*count).max((site.of)(&drawn));
        }),
    }
}

/// Turns the op into one of another call that yields the same and keeps what arguments it can,
/// mostly a call with the same arguments.
fn recast(op: Op, before: &[Op], knife: &mut Knife<'_>) -> Op {
    let old = op.call.spec();
    let alike = |new: &CallSpec| {
        let kinds = |spec: &CallSpec| spec.args.iter().map(|arg| arg.1).collect::<Vec<_>>();
        new.args.len() == old.args.len() && kinds(new) == kinds(old)
    };
    let any_shape = knife.rng.u8(0..4) == 0;
    let calls: Vec<Call> = CALLS
        .iter()
        .filter(|new| new.yields == old.yields && new.call != old.call && !new.call.is_boot())
        .filter(|new| knife.profile.calls.contains(new.call) && (any_shape || alike(new)))
        .map(|new| new.call)
        .collect();
    let Some(&call) = knife.rng.one_of(&calls) else { return op };
    let scene = Scene::after(before);
    let new = call.spec();
    let mut recast = plain_op(call, draw::args(call, &scene, &knife.swarm, knife.rng));
    let mut unused: Vec<(Role, Arg)> =
        old.args.iter().zip(op.args).map(|((_, kind), arg)| (*kind, arg)).collect();
    for (arg, (_, kind)) in recast.args.iter_mut().zip(new.args) {
        if let Some(place) = unused.iter().position(|(old, _)| old == kind) {
            *arg = unused.remove(place).1;
        }
    }
    recast.dst = op.dst;
    recast.faults = op.faults;
    recast.caller = op.caller;
    recast.route = if new.traits.routed { op.route } else { recast.route };
    recast
}
