//! Who makes a generated call: the task, the CPU, the context.
//!
//! A call in an interrupt means something only if it need not sleep, so a context is drawn for the
//! calls that can bear it, and the flags of most of them are made to fit.
//!
//! A task whose request waits is blocked, and with it all its later calls, so requests that may
//! wait are hardly ever made by the first task, which makes most of the others.

use super::Swarm;
use crate::call::{Call, MAX_ARGS, Yields};
use crate::op::{Arg, Op};
use crate::random::one_of;
use crate::words::Context;
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_FS, __GFP_NOFAIL, GFP_ATOMIC, GFP_NOWAIT, Gfp,
};
use fastrand::Rng;

/// Says who makes the call.
pub(super) fn assign(op: &mut Op, swarm: &Swarm, rng: &mut Rng) {
    if swarm.interrupts.hit(rng) {
        interrupt(op, swarm, rng);
    }
    op.caller.cpu = rng.u8(0..swarm.machine.cpus as u8);
    op.caller.killed = u8::from(rng.u8(0..32) == 0);
    let may_wait = op.args.iter().any(|arg| matches!(arg, Arg::Gfp(gfp) if may_wait(*gfp)));
    // A scope is closed by the task that opened it.
    let has_task = matches!(
        op.call,
        Call::MemallocNofsSave
            | Call::MemallocNofsRestore
            | Call::MemallocNoioSave
            | Call::MemallocNoioRestore
    );
    let (by_others, of) = if may_wait { (31, 32) } else { (1, 8) };
    if !has_task && swarm.tasks > 1 && rng.u8(0..of) < by_others {
        op.caller.task = rng.u8(1..swarm.tasks);
    }
}

/// Scopes in each other, about as many as a task can have, for one trace in many: on the machine
/// of a trace none is that deep by chance.
pub(super) fn nest(swarm: &Swarm, rng: &mut Rng) -> Vec<Op> {
    let saves = [Call::MemallocNofsSave, Call::MemallocNoioSave];
    if saves.iter().any(|&save| swarm.weights[save as usize] == 0) || rng.u8(0..16) > 0 {
        return Vec::new();
    }
    let task = rng.u8(0..swarm.tasks);
    let save = |rng: &mut Rng| {
        let mut op = super::plain_op(*one_of(&saves, rng), [Arg::Number(0); MAX_ARGS]);
        op.caller.task = task;
        op
    };
    (0..rng.u8(30..=34)).map(|_| save(rng)).collect()
}

/// Whether a request with these flags may have to wait: it must not fail, or may not have a process
/// killed and is tried for ever (R3.8).
fn may_wait(gfp: Gfp) -> bool {
    let is_persistent = gfp.has(__GFP_DIRECT_RECLAIM) && !gfp.has(__GFP_FS);
    gfp.has(__GFP_NOFAIL) || is_persistent
}

/// Moves the call to a context that may not sleep, if it can bear that.
fn interrupt(op: &mut Op, swarm: &Swarm, rng: &mut Rng) {
    let contexts = [Context::Atomic, Context::Softirq, Context::Hardirq];
    let wrong = swarm.misuse.hit(rng);
    // In a non-maskable interrupt little is right.
    let is_nmi = (wrong || op.call.spec().traits.nolock) && rng.u8(0..4) == 0;
    let context = if is_nmi { Context::Nmi } else { *one_of(&contexts, rng) };
    let is_area = matches!(op.call, Call::Vfree | Call::Kvfree);
    if !wrong && (op.call.sleeps() || (is_area && context == Context::Atomic)) {
        return;
    }
    op.caller.context = context;
    if wrong || op.call.spec().yields != Yields::Memory {
        return;
    }
    for arg in &mut op.args {
        if let Arg::Gfp(gfp) = arg
            && gfp.has(__GFP_DIRECT_RECLAIM)
        {
            *gfp = if rng.bool() { GFP_ATOMIC } else { GFP_NOWAIT };
        }
    }
}
