//! Which call comes next, among those that a trace uses.
//!
//! A swarm sorts its calls once by what they are drawn for, so that a draw looks only at calls that
//! may fit and not at the whole language.
//!
//! How often each call is drawn is the swarm's business.

use super::{NR_CALLS, Swarm, scene};
use crate::call::{ALL_CALLS, Call, Yields};
use fastrand::Rng;

/// The calls of one trace, by what they are drawn for.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// All of them.
    pub(super) all: Vec<Call>,
    /// Those that return memory.
    pub(super) makers: Vec<Call>,
    /// Those that free memory.
    pub(super) frees: Vec<Call>,
    /// Those about no memory in particular.
    pub(super) worldly: Vec<Call>,
    /// Those that neither return nor free memory, and are about some.
    pub(super) others: Vec<Call>,
}

impl Drawn {
    /// The calls with a weight.
    pub(super) fn new(weights: &[u32; NR_CALLS]) -> Self {
        let drawn = |fits: &dyn Fn(Call) -> bool| {
            let kept = ALL_CALLS.iter().copied().filter(|&call| weights[call as usize] > 0);
            kept.filter(|&call| fits(call)).collect()
        };
        let makes = |call: Call| call.spec().yields == Yields::Memory;
        Self {
            all: drawn(&|_| true),
            makers: drawn(&makes),
            frees: drawn(&Call::is_free),
            worldly: drawn(&|call| scene::is_worldly(call) && !scene::is_restore(call)),
            others: drawn(&|call| !(makes(call) || call.is_free() || scene::is_worldly(call))),
        }
    }
}

/// One of these calls, of which `fits` holds, by its weight in the swarm.
pub(super) fn pick(
    calls: &[Call],
    swarm: &Swarm,
    rng: &mut Rng,
    fits: impl Fn(Call) -> bool,
) -> Option<Call> {
    let weight = |call: Call| swarm.weights[call as usize];
    let fitting = || calls.iter().copied().filter(|&call| fits(call));
    let total: u32 = fitting().map(weight).sum();
    let mut left = if total == 0 { return None } else { rng.u32(0..total) };
    fitting().find(|&call| {
        let found = left < weight(call);
        left = left.wrapping_sub(weight(call));
        found
    })
}
