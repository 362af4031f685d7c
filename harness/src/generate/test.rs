//! The promises of the generator, as figures over many seeds.

use super::*;
use crate::call::{Call, Yields};
use crate::campaign::{FRAMES, HEAP};
use crate::generate::CallSet;
use crate::op::{Class, Ptr};
use crate::trace::POLICIES;
use std::collections::BTreeSet;

static ORDINARY: Profile = Profile::new(CallSet::All);

fn traces(profile: &Profile, nr_traces: u64) -> impl Iterator<Item = Trace> {
    (0..nr_traces).map(move |seed| generate(profile, &mut Rng::with_seed(seed)))
}

/// What the ops of some traces come to, read in their scenes.
#[derive(Debug, Default)]
struct Figures {
    ops: u64,
    makes: u64,
    served_bytes: u64,
    served: u64,
    frees: u64,
    right_frees: u64,
    dead: u64,
    live: u64,
    calls: BTreeSet<Call>,
}

fn figures(traces: impl Iterator<Item = Trace>) -> Figures {
    let mut figures = Figures::default();
    for trace in traces {
        let mut scene = Scene::default();
        for op in &trace.ops {
            figures.ops += 1;
            figures.calls.insert(op.call);
            let names_nothing = op.args.iter().any(|arg| match arg {
                Arg::Ptr(Ptr::Reg(register, _)) => scene.slot(*register).is_none(),
                Arg::Cache(cache) => !scene.has_cache(*cache),
                _ => false,
            });
            figures.dead += u64::from(names_nothing);
            if op.call.is_free() {
                figures.frees += 1;
                figures.right_frees += u64::from(scene.freed_by(op).is_some());
            }
            scene.observe(op);
            figures.live += scene.nr_live() as u64;
            if op.call.spec().yields == Yields::Memory {
                figures.makes += 1;
                let bytes = op.dst.map_or(u64::MAX, |dst| scene.bytes_in(dst));
                if bytes <= 8 << 20 {
                    figures.served += 1;
                    figures.served_bytes += bytes;
                }
            }
        }
    }
    figures
}

#[test]
fn the_ordinary_mix_means_something() {
    let figures = figures(traces(&ORDINARY, 3000));
    let mean_ops = figures.ops / 3000;
    let mean_bytes = figures.served_bytes / figures.served;
    println!(
        "mean ops {mean_ops}, makes {:.3}, mean bytes {mean_bytes}, right frees {:.3}, \
         ops on empty registers {:.4}, live {}",
        figures.makes as f64 / figures.ops as f64,
        figures.right_frees as f64 / figures.frees as f64,
        figures.dead as f64 / figures.ops as f64,
        figures.live / figures.ops,
    );
    assert!((180..=220).contains(&mean_ops));
    assert!(mean_bytes < 5000);
    assert!(figures.right_frees * 100 >= figures.frees * 95);
    assert!(figures.dead * 100 <= figures.ops);
    assert!(figures.frees * 4 > figures.ops, "{figures:?}");
    let nr_calls = ALL_CALLS.iter().filter(|call| ORDINARY.calls.contains(**call)).count();
    assert_eq!(figures.calls.len(), nr_calls);
}

#[test]
fn misuse_is_what_the_profile_grants() {
    let profile = Profile { misuse: Share(400), ..ORDINARY };
    let wrong = figures(traces(&profile, 1000));
    let share = 1000 - wrong.right_frees * 1000 / wrong.frees;
    assert!((100..=200).contains(&share), "{share}");
    let none = figures(traces(&Profile { misuse: Share(0), ..ORDINARY }, 1000));
    assert_eq!(none.right_frees, none.frees);
}

/// Every call that frees meets memory of every call that allocates: the free matrix.
#[test]
fn misuse_reaches_every_cell_of_the_free_matrix() {
    let profile = Profile { misuse: Share(400), ..ORDINARY };
    let mut cells = std::collections::BTreeMap::<(Call, Call), u32>::new();
    for trace in traces(&profile, 4000) {
        let mut scene = Scene::default();
        for op in &trace.ops {
            let registers = op.args.iter().flat_map(|arg| match *arg {
                Arg::Ptr(Ptr::Reg(register, 0)) => register..register + 1,
                Arg::Regs(first, nr) => first..first + u16::from(nr),
                _ => 0..0,
            });
            let aimed_at = registers.filter_map(|register| scene.slot(register));
            for slot in aimed_at.filter(|slot| slot.live && op.call.is_free()) {
                *cells.entry((slot.made_by, op.call)).or_default() += 1;
            }
            scene.observe(op);
        }
    }
    let calls = |fits: fn(Call) -> bool| {
        let drawn = ALL_CALLS.iter().copied().filter(|&call| ORDINARY.calls.contains(call));
        drawn.filter(move |&call| fits(call))
    };
    for maker in calls(|call| call.spec().yields == Yields::Memory) {
        // Boot memory is given back before there is any other, or not at all.
        for free in calls(|call| call.is_free() && !call.is_boot()) {
            assert!(cells.contains_key(&(maker, free)), "{maker:?} is never given to {free:?}");
        }
    }
}

#[test]
fn a_trace_uses_no_call_beyond_its_profile() {
    static KV: [Call; 3] = [Call::Kvmalloc, Call::Kvcalloc, Call::Kvfree];
    let profile = Profile { misuse: Share(400), ..Profile::new(CallSet::These(&KV)) };
    for trace in traces(&profile, 300) {
        assert!(trace.ops.iter().all(|op| KV.contains(&op.call)), "{trace}");
    }
}

#[test]
fn odd_profiles_yield_traces_too() {
    static ODD: [&[Call]; 5] = [
        &[],
        &[Call::Kfree],
        &[Call::KmemCacheAlloc, Call::KmemCacheCreate],
        &[Call::KmemCacheAlloc],
        &[Call::Vmalloc],
    ];
    for calls in ODD {
        for trace in traces(&Profile::new(CallSet::These(calls)), 50) {
            assert!((100..=400).contains(&trace.ops.len()));
            let inside = |op: &Op| calls.is_empty() || calls.contains(&op.call);
            assert!(trace.ops.iter().all(inside), "{trace}");
        }
    }
}

#[test]
fn what_is_generated_can_be_written_and_fuzzed() {
    let profile = Profile { misuse: Share(400), faults: Share(400), ..ORDINARY };
    for trace in traces(&profile, 1000) {
        let text = trace.to_string();
        assert_eq!(Trace::parse(&text), Ok(trace.clone()));
        assert_eq!(Trace::parse_lenient(text.as_bytes()), trace);
    }
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    for seed in 0..50 {
        let [a, b] = [0, 1].map(|_| generate(&ORDINARY, &mut Rng::with_seed(seed)));
        assert_eq!(a, b);
    }
}

#[test]
fn there_are_machines_of_every_kind() {
    let swarms = (0..2000).map(|seed| Swarm::draw(&ORDINARY, &mut Rng::with_seed(seed)));
    let machines: Vec<Machine> = swarms.map(|swarm| swarm.machine).collect();
    let values = |field: fn(&Machine) -> u32| machines.iter().map(field).collect::<BTreeSet<_>>();
    assert_eq!(values(|machine| machine.nodes), [1, 2, 4].into());
    assert_eq!(values(|machine| machine.cpus), [1, 2, 4, 8].into());
    assert_eq!(values(|machine| machine.fragmented), [0, 10, 50, 90, 100].into());
    assert_eq!(values(|machine| machine.policy).len(), POLICIES.len());
    let plain = Machine::default();
    let is_rare = |unlike: &dyn Fn(&Machine) -> bool| {
        let nr_unlike = machines.iter().filter(|machine| unlike(machine)).count();
        (20..1500).contains(&nr_unlike)
    };
    assert!(is_rare(&|machine| machine.nodes == 2));
    assert!(is_rare(&|machine| machine.cpus > 1 && machine.pcp_high > 0));
    assert!(is_rare(&|machine| machine.frames < plain.frames));
    assert!(is_rare(&|machine| machine.vmalloc_pages < plain.vmalloc_pages));
    assert!(is_rare(&|machine| machine.min_free != plain.min_free));
    assert!(is_rare(&|machine| machine.shuffle != plain.shuffle));
    assert!(is_rare(&|machine| machine.cutoff > 0));
}

#[test]
fn some_worlds_have_faults_interrupts_and_promises_and_some_have_none() {
    let swarms = (0..500).map(|seed| Swarm::draw(&ORDINARY, &mut Rng::with_seed(seed)));
    let swarms: Vec<Swarm> = swarms.collect();
    let shares: [fn(&Swarm) -> Share; 5] = [
        |swarm| swarm.faults,
        |swarm| swarm.interrupts,
        |swarm| swarm.nofail,
        |swarm| swarm.misuse,
        |swarm| swarm.route_vmalloc,
    ];
    for (place, share) in shares.into_iter().enumerate() {
        let nr_with = swarms.iter().filter(|swarm| share(swarm) > Share(0)).count();
        assert!((50..450).contains(&nr_with), "{place}: {nr_with}");
    }
    assert!(swarms.iter().any(|swarm| swarm.tasks == 1));
    assert!(swarms.iter().any(|swarm| swarm.tasks > 4));
}

#[test]
fn a_few_machines_have_several_blocks_of_the_top_order() {
    let swarms = (0..4000).map(|seed| Swarm::draw(&ORDINARY, &mut Rng::with_seed(seed)));
    let large: Vec<Swarm> = swarms.filter(|swarm| swarm.machine.frames >= 3 << 10).collect();
    assert!((20..200).contains(&large.len()), "{} are large", large.len());
    assert!(large.iter().any(|swarm| swarm.machine.frames > 8 << 10));
    assert!(large.iter().all(|swarm| swarm.top_orders > Share(0)));
}

/// A trace that cannot begin says nothing. One frame allocator in eight has less than a frame at
/// first, and some of those get none later.
#[test]
fn hardly_a_trace_for_a_heap_allocates_nothing() {
    for (campaign, nr_least) in [(&HEAP, 392), (&FRAMES, 372)] {
        let grants = |trace: &Trace| {
            let stats = crate::check(campaign, trace).expect("no oracle objects");
            stats.lanes[0].classes[Class::Memory as usize] > 0
        };
        let nr_granting = traces(&campaign.profile, 400).filter(grants).count();
        assert!(nr_granting >= nr_least, "{}: {nr_granting} of 400 traces", campaign.name);
    }
}
