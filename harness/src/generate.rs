//! Making traces out of nothing, of the kind that goes deep.
//!
//! The one idea is swarm testing: every trace draws its own small world (`Swarm`) from what the
//! campaign permits ([`Profile`]): a few calls with wildly different weights, a ceiling for sizes,
//! a handful of registers, a machine. A mix of everything in every trace would look alike
//! everywhere. Inside a trace, phases that mostly allocate alternate with phases that mostly free,
//! and a `Scene` remembers which registers hold what, so that nearly every op means something.
//!
//! What an op is made of is in `ops`, and what single values look like in `draw`. Nobody here knows
//! whether an op succeeds.

mod boot;
mod caller;
pub(crate) mod draw;
pub(crate) mod flags;
mod foreign;
mod machine;
mod number;
mod ops;
mod pick;
mod profile;
mod scene;
#[cfg(test)]
mod test;

use crate::call::{ALL_CALLS, Call, MAX_ARGS, Yields};
use crate::op::{Arg, Faults, Op, Reg};
use crate::random::{Draw, one_of};
use crate::text::Whose;
use crate::trace::{Machine, Trace};
use crate::words::{Current, NR_TASKS, PAGE, Route};
use fastrand::Rng;

pub use machine::largest_machine;
pub(crate) use ops::generate_op;
use pick::Drawn;
use profile::LONG;
pub use profile::{CallSet, Profile, Share};
pub(crate) use scene::{Scene, Slot, makes_cache};

/// The number of calls in the language.
pub(crate) const NR_CALLS: usize = ALL_CALLS.len();

/// The small world of one trace.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    /// How often each call is drawn among its like; 0 for the calls that this trace leaves out.
    pub weights: [u32; NR_CALLS],
    /// The calls that it does not leave out.
    calls: Drawn,
    /// The share of frees that are wrong.
    pub misuse: Share,
    /// The share of allocations beside which a fault is injected.
    pub faults: Share,
    /// The share of flag words with `__GFP_NOFAIL`.
    pub nofail: Share,
    /// The share of flag words that are not plain `GFP_KERNEL`.
    pub variety: Share,
    /// The share of routable calls that must take the slab side.
    pub route_slab: Share,
    /// The share of routable calls that must take the vmalloc side.
    pub route_vmalloc: Share,
    /// The largest size drawn on purpose.
    pub ceiling: u64,
    /// The share of sizes that may reach for a high ceiling.
    pub reach: Share,
    /// The share of sizes about a huge page, for the calls that may get one.
    pub huge: Share,
    /// The share of orders that are the largest, on machines that have several such blocks; a
    /// quarter as many sizes are.
    pub top_orders: Share,
    /// The number of registers in use.
    pub registers: Reg,
    /// The share of calls that are made where sleeping is forbidden.
    pub interrupts: Share,
    /// The number of tasks.
    pub tasks: u8,
    /// The machine that the trace runs on.
    pub machine: Machine,
    /// Whether the trace may try to use up its machine.
    pub greedy: bool,
    /// Whose calls it makes.
    whose: Whose,
}

impl Swarm {
    /// Draws the world of one trace.
    pub(crate) fn draw(profile: &Profile, rng: &mut Rng) -> Self {
        let pressed = profile.pressure.hit(rng);
        let greedy = pressed || rng.u8(0..16) == 0;
        let routes = [0, 0, 100, 300, 500].map(Share);
        let mut machine = machine::machine(pressed, rng);
        if profile.policies.hit(rng) {
            machine::policy(&mut machine, rng);
        }
        // What is to run out must be asked for: a machine is used up by some dozens of allocations.
        let bytes = u64::from(machine.frames) * PAGE;
        let least_ceiling = if greedy { bytes / 16 } else { 0 };
        let weights = weights(&profile.calls.calls(), rng);
        let mut swarm = Self {
            weights,
            calls: Drawn::new(&weights),
            misuse: profile.misuse.draw(rng),
            faults: profile.faults.draw(rng),
            nofail: profile.nofail.draw(rng),
            variety: *one_of(&[0, 50, 200, 600].map(Share), rng),
            route_slab: *one_of(&routes, rng),
            route_vmalloc: *one_of(&routes, rng),
            ceiling: draw::ceiling(rng).max(least_ceiling),
            huge: if profile.huge.hit(rng) { Share(60) } else { Share(0) },
            top_orders: if machine.frames > 2048 { Share(60) } else { Share(0) },
            reach: if greedy { Share(rng.u16(0..=200)) } else { Share(30) },
            registers: if greedy { 32 << rng.u16(0..=2) } else { 4 << rng.u16(0..=5) },
            interrupts: *one_of(&[0, 0, 50, 300].map(Share), rng),
            tasks: *one_of(&[1, 2, 2, 4, 4, 4, NR_TASKS as u8, NR_TASKS as u8], rng),
            machine,
            greedy,
            whose: profile.calls.whose(),
        };
        if swarm.whose == Whose::Foreign {
            foreign::quieten(&mut swarm, rng);
        }
        swarm
    }

    /// Whether the trace has lived long enough to give memory back before it takes more.
    fn is_full(&self, scene: &Scene) -> bool {
        let bytes = u64::from(self.machine.frames) * PAGE;
        scene.nr_live() >= usize::from(self.registers) + scene.nr_boot()
            || (!self.greedy && scene.bytes_live() > bytes / 2)
    }
}

/// Chooses the calls of a trace, so that it can allocate, and mostly also free what it allocates.
fn weights(calls: &[Call], rng: &mut Rng) -> [u32; NR_CALLS] {
    let mut weights = [0; NR_CALLS];
    let kept = *one_of(&[250, 500, 750, 1000].map(Share), rng);
    for &call in calls.iter().filter(|call| !call.is_boot()) {
        if kept.hit(rng) {
            weights[call as usize] = 1 << rng.u32(0..7);
        }
    }
    let makers: Vec<Call> = calls
        .iter()
        .copied()
        .filter(|call| call.spec().yields == Yields::Memory && !call.is_boot())
        .collect();
    let beginners: Vec<Call> =
        makers.iter().copied().filter(|&call| ops::begins_with_nothing(call)).collect();
    if !beginners.iter().any(|&call| weights[call as usize] > 0) {
        let any = rng.one_of(&beginners).or_else(|| rng.one_of(calls));
        any.into_iter().for_each(|&call| weights[call as usize] = 8);
    }
    for &maker in &makers {
        let frees = maker.spec().freed_by;
        let has_free = frees.iter().any(|&free| weights[free as usize] > 0);
        if weights[maker as usize] > 0 && !has_free && rng.u8(0..16) > 0 {
            let free = frees.iter().find(|free| calls.contains(free));
            free.into_iter().for_each(|&free| weights[free as usize] = 8);
        }
        if weights[maker as usize] > 0
            && maker.needs_cache()
            && calls.contains(&Call::KmemCacheCreate)
        {
            weights[Call::KmemCacheCreate as usize] = 8;
        }
    }
    weights
}

/// The trace that a seed stands for.
pub fn of_seed(profile: &Profile, seed: u64) -> Trace {
    generate(profile, &mut Rng::with_seed(seed))
}

/// Makes a trace of 100 to 400 ops, 200 on average, or a long one.
pub fn generate(profile: &Profile, rng: &mut Rng) -> Trace {
    let swarm = Swarm::draw(profile, rng);
    let mut scene = Scene::default();
    let nr_usual = 100 + rng.index(0..=300).min(rng.index(0..=300));
    let is_long = profile.long > Share(0) && profile.long.hit(rng);
    let nr_ops = if is_long { LONG * nr_usual } else { nr_usual };
    let mut ops = boot::ops(profile, &swarm, rng);
    let is_booting = !ops.is_empty();
    ops.extend(caller::nest(&swarm, rng));
    ops.iter().for_each(|op| scene.observe(op));
    // The first phase grows.
    let mut making = Share(0);
    let mut phase_ends = 0;
    while ops.len() < nr_ops {
        if ops.len() >= phase_ends {
            phase_ends += rng.index(8..=64);
            let growing = making.0 < 500 || rng.u8(0..4) == 0;
            let growth = if swarm.greedy { 700..990 } else { 550..950 };
            making = Share(rng.u16(if growing { growth } else { 200..500 }));
        }
        let op = generate_op(&scene, &swarm, making, rng);
        scene.observe(&op);
        ops.push(op);
    }
    if is_booting && swarm.misuse.hit(rng) {
        ops.insert(rng.index(0..=ops.len()), boot::late_op(&swarm, rng));
    }
    Trace { machine: swarm.machine, ops, ..Trace::default() }
}

/// An op without a register, a route or a fault.
pub(crate) fn plain_op(call: Call, args: [Arg; MAX_ARGS]) -> Op {
    Op {
        dst: None,
        call,
        args,
        route: Route::Policy,
        faults: Faults::default(),
        caller: Current::default(),
        expect: None,
    }
}
