//! What generated machines look like.
//!
//! Nearly all machines are small and alike, so that traces are fast and their answers are
//! comparable; each way to be otherwise (short of something, large, fragmented, with a vmalloc
//! space beyond a GiB, with another kvmalloc) is drawn by itself, so that they meet now and then.
//!
//! Every machine is within what an input of the fuzzer may ask for.

use super::draw::BEYOND_A_GIB;
use crate::random::one_of;
use crate::trace::{Limits, Machine};
use fastrand::Rng;

/// Top blocks of the largest machine.
const NR_TOP_BLOCKS_MAX: u32 = 9;

/// The machine of which none that is drawn takes more.
pub fn largest_machine() -> Machine {
    let frames = 1024 * NR_TOP_BLOCKS_MAX + 1023;
    Machine { frames, vmalloc_pages: BEYOND_A_GIB, ..Machine::default() }
}

/// A machine: mostly the default one, or one that is `pressed` for frames or vmalloc space.
pub(super) fn machine(pressed: bool, rng: &mut Rng) -> Machine {
    let mut machine = Machine::default();
    if pressed {
        let short_of = rng.u8(1..=3);
        if short_of & 1 != 0 {
            let most = 64 << rng.u32(0..=3);
            machine.frames = rng.u32(64..=most);
        }
        if short_of & 2 != 0 {
            let most = 16 << rng.u32(0..=4);
            machine.vmalloc_pages = rng.u32(16..=most);
        }
    }
    if rng.bool() {
        machine.shuffle = rng.u32(..);
    }
    if rng.u8(0..4) == 0 {
        machine.min_free = rng.u32(0..=32);
    }
    machine.cpus = *one_of(&[1, 1, 1, 1, 2, 2, 4, 8], rng);
    machine.nodes = *one_of(&[1, 1, 1, 1, 1, 1, 2, 4], rng);
    if rng.u8(0..4) == 0 {
        machine.pcp_high = 1 << rng.u32(0..=8);
    }
    if !pressed && rng.u8(0..64) == 0 {
        large(&mut machine, rng);
    }
    if !pressed && rng.u8(0..48) == 0 {
        machine.vmalloc_pages = BEYOND_A_GIB;
    }
    if rng.u8(0..32) == 0 {
        machine.fragmented = *one_of(&[10, 50, 90, 100], rng);
    }
    machine
}

/// Makes a machine of two to eight whole blocks of the top order, besides the one that its own
/// tables break: what merges there may have a free buddy of the top order.
fn large(machine: &mut Machine, rng: &mut Rng) {
    let rest = *one_of(&[0, 0, 1, 1023], rng);
    machine.frames = 1024 * rng.u32(3..=NR_TOP_BLOCKS_MAX) + rest;
    machine.vmalloc_pages = *one_of(&[4096, 16384], rng);
}

/// Another version of kvmalloc, and in one trace of four another cutoff: a few pages, or never.
pub(super) fn policy(machine: &mut Machine, rng: &mut Rng) {
    machine.policy = rng.u32(Limits::POLICY.0..=Limits::POLICY.1);
    if rng.u8(0..4) == 0 {
        machine.cutoff = *one_of(&[1, 2, 3, 8, 16, Limits::CUTOFF.1], rng);
    }
}
