//! Flags, and what stands beside a call: its node, its route, the failures injected into it.
//!
//! Most requests are plain, so that their answers can be compared; how many are not, and in which
//! way, the swarm says.

use super::Swarm;
use crate::call::NUMA_NO_NODE;
use crate::op::Faults;
use crate::random::{one_of, weighted};
use crate::text::FAULT_SITES;
use crate::words::gfp::*;
use crate::words::{Gfp, Route, SLAB_FLAG_NAMES, SLAB_HWCACHE_ALIGN};
use fastrand::Rng;

/// Flag words to begin with, and how often each is drawn among those that are not plain.
const FLAG_WORDS: &[(Gfp, u32)] = &[
    (GFP_KERNEL, 40),
    (GFP_NOFS, 12),
    (GFP_NOIO, 12),
    (GFP_ATOMIC, 14),
    (GFP_NOWAIT, 12),
    (GFP_KERNEL_ACCOUNT, 4),
    (GFP_USER, 4),
    (GFP_HIGHUSER, 2),
];

/// Flags to add to a word that is not plain, each in this many thousandths.
const MODIFIERS: &[(Gfp, u16)] = &[
    (__GFP_ZERO, 200),
    (__GFP_NOWARN, 120),
    (__GFP_NORETRY, 100),
    (__GFP_RETRY_MAYFAIL, 100),
    (__GFP_COMP, 100),
    (__GFP_HIGH, 40),
    (__GFP_ACCOUNT, 30),
    (__GFP_NOMEMALLOC, 15),
    (__GFP_MEMALLOC, 10),
];

/// A flag word: plain `GFP_KERNEL`, or what the swarm's variety makes of it.
pub(crate) fn gfp(swarm: &Swarm, rng: &mut Rng) -> Gfp {
    let mut flags = GFP_KERNEL;
    if swarm.variety.hit(rng) {
        flags = weighted(FLAG_WORDS, rng);
        for &(flag, share) in MODIFIERS {
            if rng.u16(0..1000) < share {
                flags |= flag;
            }
        }
    }
    if swarm.nofail.hit(rng) {
        flags |= __GFP_NOFAIL;
    }
    if swarm.machine.nodes > 1 && rng.u8(0..16) == 0 {
        flags |= __GFP_THISNODE;
    }
    flags
}

/// A node of the machine, none, or seldom one that it does not have.
pub(super) fn node(swarm: &Swarm, rng: &mut Rng) -> u64 {
    match rng.u8(0..64) {
        0 => u64::from(swarm.machine.nodes) + rng.u64(0..2),
        1..=8 => NUMA_NO_NODE,
        _ => rng.u64(0..swarm.machine.nodes.into()),
    }
}

/// A single flag that a caller might set or forget.
pub(crate) fn modifier(rng: &mut Rng) -> Gfp {
    one_of(MODIFIERS, rng).0
}

/// The route beside a routable call.
pub(super) fn route(swarm: &Swarm, rng: &mut Rng) -> Route {
    if swarm.route_slab.hit(rng) {
        Route::Slab
    } else if swarm.route_vmalloc.hit(rng) {
        Route::Vmalloc
    } else {
        Route::Policy
    }
}

/// One fault, mostly in one of the first calls of its site.
pub(crate) fn faults(rng: &mut Rng) -> Faults {
    let count = match rng.u8(0..8) {
        0..=3 => 1,
        4..=6 => rng.u16(2..=4),
        _ => rng.u16(5..=64),
    };
    let mut faults = Faults::default();
    *(one_of(FAULT_SITES, rng).of_mut)(&mut faults) = count;
    faults
}

/// Flags of a cache: mostly none, and seldom some that are not known.
pub(super) fn slab_flags(rng: &mut Rng) -> u64 {
    match rng.u8(0..64) {
        0 => 1 << rng.u32(0..33),
        1..=3 => one_of(SLAB_FLAG_NAMES, rng).1,
        4..=16 => SLAB_HWCACHE_ALIGN.0.into(),
        _ => 0,
    }
}
