//! What traces for heaps and frame allocators look like that are not Linux'.
//!
//! Their bugs live at other edges: regions of odd sizes that begin between two pages, pieces added
//! that are too small for a header, alignments above a page and above the largest slab, sizes at
//! the end of what a layout may have.
//!
//! Nothing of Linux is drawn here, and none of this for Linux.

use super::{Share, Swarm, number};
use crate::call::{Family, Role};
use crate::random::{one_of, weighted};
use crate::trace::{Limits, Machine};
use crate::words::PAGE;
use fastrand::Rng;

/// The most bytes that a layout may have, its alignment included.
const LAYOUT_BYTES_MAX: u64 = i64::MAX as u64;

/// The frames of the largest machine.
const FRAMES_MAX: u64 = 1024;

/// The bits of the largest alignment: 2 MiB, a huge page.
const ALIGN_BITS_MAX: u32 = 21;

/// Makes a world of one task, in which nobody interrupts and nothing is injected.
pub(super) fn quieten(swarm: &mut Swarm, rng: &mut Rng) {
    swarm.machine = machine(swarm.greedy, rng);
    swarm.tasks = 1;
    swarm.interrupts = Share(0);
    swarm.top_orders = Share(0);
    // Half of a small region is little; what no region can hold is asked for now and then.
    let bytes = u64::from(swarm.machine.frames) * PAGE;
    swarm.ceiling = swarm.ceiling.min(bytes);
}

/// A machine: how much memory there is, how much of it there is at first, and where that begins.
fn machine(is_greedy: bool, rng: &mut Rng) -> Machine {
    let most = if is_greedy { 128 } else { FRAMES_MAX as u32 };
    let frames = rng.u32(Limits::FRAMES.0..=most);
    let all = frames * PAGE as u32;
    let region_bytes = match rng.u8(0..8) {
        0..=3 => 0,
        4 => rng.u32(1..=all / PAGE as u32) * PAGE as u32,
        5 => rng.u32(1..=1024),
        _ => rng.u32(1024..=all),
    };
    let region_offset = match rng.u8(0..8) {
        0 => rng.u32(0..=Limits::REGION_OFFSET.1),
        1 | 2 => *one_of(&[1, 4, 8, 16, 24, 64, 0x800, 0xff8], rng),
        _ => 0,
    };
    Machine { frames, region_bytes, region_offset, ..Machine::default() }
}

/// The argument that plays a part, if it is drawn otherwise than for Linux.
pub(super) fn number(family: Family, role: Role, ceiling: u64, rng: &mut Rng) -> Option<u64> {
    match (family, role) {
        (Family::Heap, Role::Size) => Some(size(ceiling, rng)),
        (Family::Heap, Role::Align) => Some(align(rng)),
        (Family::Frames, Role::Count) => Some(count(ceiling, rng)),
        (Family::Frames, Role::Align) => Some(align(rng).max(PAGE)),
        _ => None,
    }
}

/// A size of a block: as for Linux, but hardly ever 0, and seldom the most that there can be.
fn size(ceiling: u64, rng: &mut Rng) -> u64 {
    match rng.u8(0..64) {
        0 => LAYOUT_BYTES_MAX - number::log_uniform(0x1_0000, rng),
        1 => rng.u64(0..=1),
        _ => number::size(ceiling, rng).max(1),
    }
}

/// Whether a request for so many bytes is one that an allocator of a usual machine may serve.
pub(super) fn can_be_served(align: Option<u64>, bytes: Option<u64>) -> bool {
    let is_aligned = align.is_none_or(u64::is_power_of_two);
    is_aligned && bytes.is_some_and(|bytes| (1..FRAMES_MAX * PAGE).contains(&bytes))
}

/// An alignment: mostly that of a word or two, and now and then one that no slab has.
fn align(rng: &mut Rng) -> u64 {
    let bits = match rng.u8(0..64) {
        0 => return *one_of(&[0, 3, 24, 5000, u64::MAX, 1 << 63], rng),
        1..=2 => rng.u32(12..=ALIGN_BITS_MAX),
        3..=12 => rng.u32(5..=12),
        _ => weighted(&[(0, 2), (1, 1), (2, 2), (3, 6), (4, 4)], rng),
    };
    1 << bits
}

/// A number of frames, mostly a few.
fn count(ceiling: u64, rng: &mut Rng) -> u64 {
    match rng.u8(0..64) {
        0 => *one_of(&[0, u64::MAX, u64::MAX / PAGE, (1 << 51) + 1], rng),
        1..=4 => number::log_uniform((ceiling / PAGE).max(64), rng),
        _ => number::log_uniform(16, rng).max(1),
    }
}

/// By how many bytes or frames an allocator is given more: often a piece too small for a header.
pub(super) fn extension(family: Family, rng: &mut Rng) -> u64 {
    match (family, rng.u8(0..4)) {
        (Family::Frames, _) => number::log_uniform(64, rng),
        (_, 0) => rng.u64(1..=64),
        (_, 1) => rng.u64(1..=8) * PAGE,
        _ => number::log_uniform(0x1_0000, rng).max(1),
    }
}
