//! Numbers that are drawn alike for every allocator: sizes, and ends of ranges.
//!
//! Which number a call gets is said in `draw`, and for those that are not Linux' in `foreign`.

use crate::random::{Draw, one_of};
use fastrand::Rng;

/// The sizes at which some allocator changes its mind, in order: the size classes, pages, the
/// costly order, `KMALLOC_MAX_SIZE`, `INT_MAX`.
pub(crate) const EDGES: &[u64] = &[
    0,
    1,
    8,
    16,
    32,
    64,
    96,
    128,
    192,
    256,
    512,
    1024,
    2048,
    0x1000,
    0x2000,
    0x3000,
    0x4000,
    0x5000,
    0x8000,
    0x1_0000,
    0x2_0000,
    0x8_0000,
    0x20_0000,
    0x40_0000,
    0x80_0000,
    0x7fff_ffff,
    0xffff_ffff,
    u64::MAX,
];

/// A size in bytes up to about `ceiling`.
pub(crate) fn size(ceiling: u64, rng: &mut Rng) -> u64 {
    if rng.bool() {
        let nr_edges = EDGES.iter().take_while(|edge| **edge <= ceiling).count();
        let edge = EDGES[rng.index(0..nr_edges)];
        *one_of(&[edge, edge, edge.saturating_sub(1), edge.saturating_add(1)], rng)
    } else {
        log_uniform(ceiling, rng)
    }
}

/// An end of a number's range, or a neighbour of a power of two.
pub(crate) fn extreme(rng: &mut Rng) -> u64 {
    match rng.u8(0..16) {
        0 => 0,
        1 => u64::MAX - rng.u64(0..2),
        _ => (1_u64 << rng.u32(0..64)).wrapping_add(rng.u64(0..3)).wrapping_sub(1),
    }
}

/// A number from 0 to `most` whose every magnitude is as likely.
pub(crate) fn log_uniform(most: u64, rng: &mut Rng) -> u64 {
    let bits = 64 - most.leading_zeros();
    let width = rng.u32(0..=bits);
    let most = most.min(1_u64.checked_shl(width).unwrap_or(0).wrapping_sub(1));
    rng.u64(most / 2..=most)
}
