//! The beginning of a trace: what is taken before there is a page allocator.
//!
//! The boot allocator answers only until the first other call, so what is to be asked of it is
//! drawn before all else, for one trace in some; and now and then one call comes too late.
//!
//! What is taken is put into registers that no other call is given, since it lives for ever.

use super::{Profile, Swarm, draw, plain_op};
use crate::call::{Call, MAX_ARGS};
use crate::op::{Arg, Op, Ptr, Reg};
use crate::random::{Draw, one_of};
use crate::words::PAGE;
use fastrand::Rng;

/// What has been taken so far, and how.
#[derive(Default)]
struct Ledger {
    /// The number of registers that have been given out.
    nr_registers: Reg,
    /// The register and the size of each allocation.
    allocated: Vec<(Reg, u64)>,
    /// The address and the size of each reservation.
    reserved: Vec<(u64, u64)>,
}

/// The calls of the boot allocator that a trace begins with.
pub(super) fn ops(profile: &Profile, swarm: &Swarm, rng: &mut Rng) -> Vec<Op> {
    if !profile.calls.contains(Call::MemblockAlloc) || rng.u8(0..8) > 0 {
        return Vec::new();
    }
    let mut taken = Ledger::default();
    let mut ops: Vec<Op> = (0..rng.index(1..=12)).map(|_| op(&mut taken, swarm, rng)).collect();
    // Enough to fill a table of 128 ranges, in one trace in many.
    if rng.u8(0..32) == 0 {
        ops.extend((0..rng.u64(128..=140)).map(|place| small(place, swarm, rng)));
        ops.extend((0..4).map(|_| op(&mut taken, swarm, rng)));
    }
    ops
}

/// A call that comes too late, after any that is not the boot allocator's.
pub(super) fn late_op(swarm: &Swarm, rng: &mut Rng) -> Op {
    let mut taken = Ledger::default();
    op(&mut taken, swarm, rng)
}

fn op(taken: &mut Ledger, swarm: &Swarm, rng: &mut Rng) -> Op {
    match rng.u8(0..12) {
        0..=5 => alloc(taken, swarm, rng),
        6 if !taken.reserved.is_empty() => {
            let (base, size) = taken.reserved.swap_remove(rng.index(0..taken.reserved.len()));
            let size = spoilt(size, swarm, rng);
            numbers(Call::MemblockPhysFree, [base, size])
        }
        7 | 8 if !taken.allocated.is_empty() => {
            let (register, size) = taken.allocated.swap_remove(rng.index(0..taken.allocated.len()));
            let offset = if swarm.misuse.hit(rng) { draw::interior(size, rng) } else { 0 };
            let mut op = numbers(Call::MemblockFree, [0, spoilt(size, swarm, rng)]);
            op.args[0] = Arg::Ptr(Ptr::Reg(register, offset));
            op
        }
        _ => reserve(taken, swarm, rng),
    }
}

/// Reserves a few bytes, somewhere else for each place.
fn small(place: u64, swarm: &Swarm, rng: &mut Rng) -> Op {
    let bytes = u64::from(swarm.machine.frames) * PAGE;
    numbers(Call::MemblockReserve, [bytes - (place + 1) * 128, rng.u64(1..=64)])
}

fn alloc(taken: &mut Ledger, swarm: &Swarm, rng: &mut Rng) -> Op {
    let size = size(swarm, rng);
    let align = match rng.u8(0..16) {
        0 => *one_of(&[3, 24, u64::MAX], rng),
        1..=5 => 0,
        _ => 1 << rng.u32(0..=14),
    };
    let register = swarm.registers + taken.nr_registers;
    let is_sound = (align == 0 || align.is_power_of_two()) && size > 0;
    let can_fit = size < u64::from(swarm.machine.frames) * PAGE;
    let mut op = numbers(Call::MemblockAlloc, [size, align]);
    if rng.u8(0..16) > 0 {
        op.dst = Some(register);
        taken.nr_registers += 1;
    }
    if op.dst.is_some() && is_sound && can_fit {
        taken.allocated.push((register, size));
    }
    op
}

fn reserve(taken: &mut Ledger, swarm: &Swarm, rng: &mut Rng) -> Op {
    let bytes = u64::from(swarm.machine.frames) * PAGE;
    // Not where the allocator keeps its own, but now and then.
    let lowest = if swarm.misuse.hit(rng) { 0 } else { bytes / 4 };
    let base = rng.u64(lowest..bytes);
    let base = if rng.bool() { base & !(PAGE - 1) } else { base };
    let size = size(swarm, rng);
    taken.reserved.push((base, size));
    numbers(Call::MemblockReserve, [base, size])
}

/// A size that leaves the page allocator something.
fn size(swarm: &Swarm, rng: &mut Rng) -> u64 {
    let bytes = u64::from(swarm.machine.frames) * PAGE;
    match rng.u8(0..32) {
        0 => *one_of(&[0, bytes, u64::MAX], rng),
        _ => draw::size((bytes / 32).min(0x2001), rng).max(1),
    }
}

fn spoilt(size: u64, swarm: &Swarm, rng: &mut Rng) -> u64 {
    if swarm.misuse.hit(rng) { size.wrapping_add(1) } else { size }
}

fn numbers(call: Call, numbers: [u64; 2]) -> Op {
    let mut args = [Arg::Number(0); MAX_ARGS];
    args[..2].copy_from_slice(&numbers.map(Arg::Number));
    plain_op(call, args)
}
