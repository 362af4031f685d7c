//! Single ops: an allocation, a free of something live, a wrong free, what else a caller does.
//!
//! An op is made for a scene, so that it means something there.

use super::pick::pick;
use super::{Scene, Share, Slot, Swarm, caller, draw, flags, foreign, plain_op, scene};
use crate::call::{Call, Family, Frees, MAX_ARGS, MAX_LIST, Role};
use crate::op::{Arg, Op, Ptr, Reg};
use crate::random::Draw;
use crate::text::Whose;
use crate::words::PAGE;
use crate::words::gfp::__GFP_ZERO;
use fastrand::Rng;

/// Makes an op that means something in `scene`. `making` is the share of allocations among
/// allocations and frees.
pub(crate) fn generate_op(scene: &Scene, swarm: &Swarm, making: Share, rng: &mut Rng) -> Op {
    let make = !swarm.is_full(scene) && (scene.nr_live() == 0 || making.hit(rng));
    let other = if rng.u8(0..10) == 0 { other_op(scene, swarm, rng) } else { None };
    let op = other.or_else(|| if make { None } else { free_op(scene, swarm, rng) });
    let mut op = op
        .or_else(|| make_op(scene, swarm, rng))
        .or_else(|| other_op(scene, swarm, rng))
        .unwrap_or_else(|| blind_op(scene, swarm, rng));
    if swarm.whose == Whose::Linux {
        caller::assign(&mut op, swarm, rng);
    }
    op
}

/// Any call of the swarm at all, for profiles that cannot allocate.
fn blind_op(scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Op {
    let call = pick(&swarm.calls.all, swarm, rng, |_| true).unwrap_or(Call::VmUnmapAliases);
    plain_op(call, draw::args(call, scene, swarm, rng))
}

/// Whether an allocation needs no live memory: a heap has nothing to do with NULL, as `krealloc`
/// has.
pub(super) fn begins_with_nothing(call: Call) -> bool {
    call.spec().family != Family::Heap || !call.is_realloc()
}

/// An allocation.
fn make_op(scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Option<Op> {
    let nr_caches = scene.nr_caches();
    let has_nothing = |call: Call| scene.nr_live() == 0 && !begins_with_nothing(call);
    let may = |call: Call| (nr_caches > 0 || !call.needs_cache()) && !has_nothing(call);
    let call = pick(&swarm.calls.makers, swarm, rng, may);
    let Some(call) = call else { return create_op(scene, swarm, rng) };
    let mut op = plain_op(call, draw::args(call, scene, swarm, rng));
    if call.is_realloc() {
        return Some(realloc_op(op, scene, swarm, rng));
    }
    if rng.u8(0..16) > 0 {
        unzero_constructed(&mut op, scene);
    }
    // Memory that nobody keeps is freed at once; a register may also be given up by assignment.
    op.dst = match rng.u8(0..50) {
        0 => None,
        1 => Some(rng.u16(0..swarm.registers)),
        _ => Some(scene.free_register(swarm.registers, op.nr_dst(), rng)),
    };
    if call.spec().traits.routed {
        op.route = flags::route(swarm, rng);
    }
    if swarm.faults.hit(rng) {
        op.faults = flags::faults(rng);
    }
    Some(op)
}

/// Asks for an object as constructed where one that is zeroed would be refused.
fn unzero_constructed(op: &mut Op, scene: &Scene) {
    let [Arg::Cache(cache), Arg::Gfp(gfp), ..] = op.args else { return };
    if scene.has_ctor(cache) {
        if op.call == Call::KmemCacheZalloc {
            op.call = Call::KmemCacheAlloc;
        }
        op.args[1] = Arg::Gfp(gfp.without(__GFP_ZERO));
    }
}

/// Aims a reallocation at memory that it may replace, or at none.
fn realloc_op(mut op: Op, scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Op {
    let fitting = |slot: &Slot| scene::may_replace(op.call, slot.made_by);
    let mut tries = (0..8).filter_map(|_| scene.any_live(rng));
    let source = tries.find(|(_, slot)| fitting(slot)).map(|(register, _)| register);
    op.args[0] = Arg::Ptr(source.map_or(Ptr::Const(0), |register| Ptr::Reg(register, 0)));
    let bytes = source.map_or(0, |register| scene.bytes_in(register));
    for (arg, (_, kind)) in op.args.iter_mut().zip(op.call.spec().args) {
        match kind {
            Role::Held if rng.u8(0..8) == 0 => *arg = Arg::Number(rng.u64(0..=bytes)),
            Role::Held => *arg = Arg::Number(bytes),
            // Much of what grows doubles.
            Role::Size if rng.u8(0..3) == 0 && bytes < 0x8000 => *arg = Arg::Number(2 * bytes),
            _ => {}
        }
    }
    // What grows mostly stays in its variable.
    op.dst = match (source, rng.u8(0..4)) {
        (Some(register), 1..) => Some(register),
        _ => Some(scene.free_register(swarm.registers, 1, rng)),
    };
    if op.call.spec().traits.routed {
        op.route = flags::route(swarm, rng);
    }
    if swarm.faults.hit(rng) {
        op.faults = flags::faults(rng);
    }
    if let Some(register) = source.filter(|_| swarm.misuse.hit(rng)) {
        op.args[0] = Arg::Ptr(match scene.any_live(rng) {
            Some((any, _)) if rng.bool() => Ptr::Reg(any, 0),
            _ => elsewhere(register, scene, swarm, rng),
        });
    }
    op
}

/// A new cache, in a register that has none.
fn create_op(scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Option<Op> {
    let call = Call::KmemCacheCreate;
    let free = (0..4).find(|&cache| !scene.has_cache(cache))?;
    if swarm.weights[call as usize] == 0 {
        return None;
    }
    let mut op = plain_op(call, draw::args(call, scene, swarm, rng));
    op.dst = Some(free);
    Some(op)
}

/// A free: right, or spoilt in the swarm's share of cases.
fn free_op(scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Option<Op> {
    for _ in 0..4 {
        let (register, slot) = scene.any_live(rng)?;
        let frees = slot.made_by.spec().freed_by;
        // Nothing frees what was taken at boot, and its own call comes too late.
        if slot.made_by == Call::MemblockAlloc && swarm.misuse.hit(rng) {
            let late = scene::right_free(register, &slot, Call::MemblockFree);
            return Some(if rng.bool() { late } else { spoilt(late, scene, swarm, rng) });
        }
        let fits = |call: Call| {
            frees.contains(&call)
                && (call.spec().frees != Frees::KvfreeRcu || scene::head_fits(0, &slot))
        };
        if let Some(call) = pick(&swarm.calls.frees, swarm, rng, fits) {
            let mut op = scene::right_free(register, &slot, call);
            if let [_, Arg::Regs(first, nr), ..] = &mut op.args {
                *nr = scene.nr_alike(*first, rng.u8(1..=MAX_LIST as u8));
            }
            if call == Call::KvfreeSensitive && slot.bytes > 0 && rng.bool() {
                op.args[1] = Arg::Number(rng.u64(0..slot.bytes));
            }
            if call.spec().frees == Frees::KvfreeRcu && rng.bool() {
                let offset = rng.u64(0..=slot.bytes.min(PAGE)) & !7;
                let offset = if scene::head_fits(offset, &slot) { offset } else { 0 };
                op.args[1] = Arg::Number(offset);
            }
            let spoil = swarm.misuse.hit(rng);
            return Some(if spoil { spoilt(op, scene, swarm, rng) } else { op });
        }
    }
    None
}

/// The ops that neither allocate nor free memory.
fn other_op(scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Option<Op> {
    if rng.u8(0..4) == 0 {
        return world_op(scene, swarm, rng);
    }
    let Some((register, slot)) = scene.any_live(rng) else { return create_op(scene, swarm, rng) };
    let idle = scene.idle_cache(rng);
    let astray = swarm.misuse.hit(rng);
    let call = pick(&swarm.calls.others, swarm, rng, |call| match call {
        Call::Write => slot.bytes > 0,
        Call::Ksize => scene::has_ksize(slot.made_by),
        Call::KmemCacheDestroy => idle.is_some() && scene.nr_caches() > 1,
        Call::VirtToPage | Call::VirtToPhys => astray || scene::is_contiguous(slot.made_by),
        _ => true,
    })?;
    let mut args = [Arg::Number(0); MAX_ARGS];
    match call {
        Call::KmemCacheCreate => return create_op(scene, swarm, rng),
        Call::KmemCacheDestroy => args[0] = Arg::Cache(idle?),
        Call::Extend | Call::AddFrames => {
            args[0] = Arg::Number(foreign::extension(call.spec().family, rng));
        }
        Call::Write => {
            let (offset, len) = draw::inside(slot.bytes, rng);
            args = [
                Arg::Ptr(Ptr::Reg(register, 0)),
                Arg::Number(offset),
                Arg::Number(len),
                args[3],
                args[4],
            ];
            if swarm.misuse.hit(rng) {
                args[2] = Arg::Number(slot.bytes - offset + rng.u64(1..=16));
            }
        }
        Call::Ksize => args[0] = Arg::Ptr(Ptr::Reg(register, 0)),
        _ if call.spec().family == Family::Addresses => {
            let inside = if rng.bool() { 0 } else { draw::inside(slot.bytes.max(1), rng).0 };
            let anywhere = astray && rng.bool();
            let ptr = Ptr::Reg(register, inside as i64);
            args[0] = Arg::Ptr(if anywhere { elsewhere(register, scene, swarm, rng) } else { ptr });
        }
        _ => {}
    }
    Some(plain_op(call, args))
}

/// An address that is not of live memory, or beside it.
fn elsewhere(from: Reg, scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Ptr {
    match rng.u8(0..5) {
        0 | 1 => Ptr::Reg(scene.any_freed(rng).unwrap_or(from), 0),
        2 | 3 => Ptr::Reg(from, draw::interior(scene.bytes_in(from), rng)),
        _ => Ptr::Const(draw::wild(swarm, rng)),
    }
}

/// The ops that are about no memory in particular: scopes, ticks, and what else uses memory.
fn world_op(scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Option<Op> {
    let call = pick(&swarm.calls.worldly, swarm, rng, |_| true)?;
    let mut op = plain_op(call, draw::world_args(call, swarm, rng));
    if !scene::is_save(call) {
        return Some(op);
    }
    op.caller.task = rng.u8(0..swarm.tasks);
    // Half of the time a scope is closed, the innermost one unless something is to go wrong.
    if rng.bool() {
        let open = scene.innermost_scope(op.caller.task);
        op.call = match open {
            _ if swarm.misuse.hit(rng) => Call::MemallocNoioRestore,
            Some(Call::MemallocNofsSave) => Call::MemallocNofsRestore,
            Some(_) => Call::MemallocNoioRestore,
            None => return Some(op),
        };
    }
    Some(op)
}

/// Makes a right free wrong: a cell of the free matrix, where every call meets every kind of
/// address. The row is the register's memory, at its start, inside it, once it is freed, or
/// nobody's; the column any free of the trace, whatever its weight.
fn spoilt(op: Op, scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Op {
    let ([Arg::Ptr(Ptr::Reg(from, _)), ..]
    | [_, Arg::Ptr(Ptr::Reg(from, _)) | Arg::Regs(from, _), ..]) = op.args
    else {
        return op;
    };
    let Some(slot) = scene.slot(from) else { return op };
    let cache = scene.any_cache(rng);
    let may = |call: Call| !call.spec().has(Role::Cache) || cache.is_some();
    let frees: Vec<Call> = swarm.calls.frees.iter().copied().filter(|&call| may(call)).collect();
    let call = rng.one_of(&frees).copied().unwrap_or(op.call);
    let own = slot.made_by.needs_cache().then_some(slot.cache);
    let slot = Slot { cache: own.or(cache).unwrap_or(0), ..slot };
    let mut wrong = scene::right_free(from, &slot, call);
    if rng.u8(0..4) == 0 {
        draw::nudge_selectors(&mut wrong, rng);
    }
    let ptr = if rng.u8(0..8) < 3 { Ptr::Reg(from, 0) } else { elsewhere(from, scene, swarm, rng) };
    for arg in &mut wrong.args {
        match (arg, ptr) {
            (Arg::Ptr(old), _) => *old = ptr,
            // A list has no addresses but those in registers.
            (Arg::Regs(first, nr), Ptr::Reg(register, _)) => {
                (*first, *nr) = (register.saturating_sub(rng.u16(0..3)), rng.u8(1..=4));
            }
            _ => {}
        }
    }
    wrong
}
