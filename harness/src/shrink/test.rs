//! The shrinker finds what is smallest for predicates that are made up, ends, and does so every
//! time.

use super::*;
use crate::call::Call;
use crate::generate::{CallSet, Profile, Share, generate};
use fastrand::Rng;

static PROFILE: Profile =
    Profile { misuse: Share(300), faults: Share(300), ..Profile::new(CallSet::All) };

/// Shrinks a trace without a limit, and checks that every candidate is new and simpler.
fn shrunk(trace: &Trace, fails: impl Fn(&Trace) -> bool) -> (Trace, usize) {
    assert!(fails(trace));
    let mut nr_candidates = 0;
    let small = shrink(trace, usize::MAX, |candidate| {
        nr_candidates += 1;
        assert!(nr_candidates < 100_000, "does not end");
        fails(candidate)
    });
    assert!(fails(&small));
    (small, nr_candidates)
}

fn generated(seed: u64) -> Trace {
    generate(&PROFILE, &mut Rng::with_seed(seed))
}

fn count(trace: &Trace, call: Call) -> usize {
    trace.ops.iter().filter(|op| op.call == call).count()
}

#[track_caller]
fn check(trace: &str, fails: impl Fn(&Trace) -> bool, expected: &str) {
    let trace = Trace::parse(trace).unwrap();
    let (small, _) = shrunk(&trace, fails);
    let lines: Vec<String> = small.ops.iter().map(ToString::to_string).collect();
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn lines_that_do_not_matter_go() {
    let fails = |trace: &Trace| count(trace, Call::Kmalloc) > 0 && count(trace, Call::Vfree) > 0;
    let mut nr_tried = 0;
    for trace in (0..300).map(generated).filter(|trace| fails(trace)) {
        let (small, nr_candidates) = shrunk(&trace, fails);
        assert_eq!(small.ops.len(), 2, "{small}");
        assert_eq!(small.machine, Machine::default());
        assert!(nr_candidates < 1000, "{nr_candidates}");
        nr_tried += 1;
    }
    assert!(nr_tried > 20);
}

#[test]
fn what_is_left_is_1_minimal() {
    // An awkward predicate: an odd number of allocations and at least three frees.
    let fails = |trace: &Trace| {
        let makes = trace.ops.iter().filter(|op| op.dst.is_some()).count();
        makes % 2 == 1 && trace.ops.len() - makes >= 3
    };
    for trace in (0..100).map(generated).filter(|trace| fails(trace)) {
        let (small, _) = shrunk(&trace, fails);
        for at in 0..small.ops.len() {
            let mut smaller = small.clone();
            smaller.ops.remove(at);
            assert!(!fails(&smaller), "{small}");
        }
    }
}

#[test]
fn everything_becomes_plain() {
    let any = |trace: &Trace| trace.ops.len() == 3;
    check(
        "machine (frames: 64, min_free: 3, vmalloc_pages: 16)\n\
         r7 = kvcalloc(12, 0x4000, GFP_NOFS|__GFP_ZERO) (route: slab, failslab: 3, fail_vmap: 1)\n\
         c9 = kmem_cache_create(0x60, 0x20)\n\
         kmem_cache_free(c9, r7-0x10) # -> Done",
        any,
        "r0 = kvcalloc(0, 0x0, GFP_KERNEL)\n\
         c0 = kmem_cache_create(0x0, 0x0)\n\
         kmem_cache_free(c0, r0)",
    );
}

#[test]
fn thresholds_are_found_exactly() {
    for least in [0_u64, 1, 2, 7, 9, 4095, 4097, 3_000_001, u64::MAX - 1] {
        let fails = |trace: &Trace| match trace.ops.first().map(|op| op.args[0]) {
            Some(Arg::Number(size)) => size >= least,
            _ => false,
        };
        let trace = Trace::parse("r0 = vmalloc(0xffffffffffffffff)").unwrap();
        let (small, nr_candidates) = shrunk(&trace, fails);
        assert_eq!(small.ops[0].args[0], Arg::Number(least));
        assert!(nr_candidates < 3000, "{least}: {nr_candidates}");
    }
}

#[test]
fn only_the_bits_and_properties_that_matter_stay() {
    let fails = |trace: &Trace| {
        trace.ops.iter().any(|op| {
            matches!(op.args[1], Arg::Gfp(flags) if flags.0 & 0x8100 == 0x8100)
                && op.faults.slab >= 2
        })
    };
    check(
        "kfree(NULL)\nr5 = kmalloc(0x123, GFP_ATOMIC|__GFP_ZERO|__GFP_NOFAIL) (fail_nth: 9, failslab: 7)",
        fails,
        "r0 = kmalloc(0x0, GFP_KERNEL|__GFP_ZERO|__GFP_NOFAIL) (failslab: 2)",
    );
    let negative = |trace: &Trace| {
        trace.ops.iter().any(|op| matches!(op.args[0], Arg::Ptr(Ptr::Reg(_, ..=-5))))
    };
    check("kfree(r3-0x8000000000000000)", negative, "kfree(r0-0x5)");
}

#[test]
fn what_a_later_pass_makes_possible_is_tried_again() {
    // The line that does not matter goes only once the number is small.
    let fails = |trace: &Trace| match trace.ops.first().map(|op| op.args[0]) {
        Some(Arg::Number(size)) => trace.ops.len() >= 2 || size == 0,
        _ => false,
    };
    check("r0 = vmalloc(0x40)\nvfree(r0)", fails, "r0 = vmalloc(0x0)");
}

#[test]
fn a_trace_that_always_fails_becomes_empty() {
    let (small, _) = shrunk(&generated(1), |_| true);
    assert_eq!((small.ops.len(), small.machine), (0, Machine::default()));
    let (same, _) = shrunk(&generated(1), |trace| *trace == generated(1));
    assert_eq!(same, generated(1));
}

#[test]
fn it_ends_for_any_verdicts() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let mut verdicts = rng.fork();
        let share = rng.u8(0..=100);
        let mut shrinker = Shrinker::new(generated(seed));
        let mut nr_candidates = 0;
        while shrinker.candidate().is_some() {
            nr_candidates += 1;
            assert!(nr_candidates < 1_000_000, "does not end");
            if verdicts.u8(0..100) < share { shrinker.accept() } else { shrinker.reject() }
        }
    }
}

#[test]
fn every_candidate_reads_back() {
    let mut rng = Rng::with_seed(3);
    let mut shrinker = Shrinker::new(generated(3));
    while let Some(candidate) = shrinker.candidate() {
        assert_ne!(candidate, *shrinker.best());
        assert_eq!(Trace::parse(&candidate.to_string()), Ok(candidate));
        if rng.u8(0..8) == 0 { shrinker.accept() } else { shrinker.reject() }
    }
}

#[test]
fn a_budget_is_kept_and_the_same_trace_shrinks_alike() {
    let trace = generated(4);
    let mut nr_candidates = 0;
    shrink(&trace, 17, |_| {
        nr_candidates += 1;
        false
    });
    assert_eq!(nr_candidates, 17);
    let fails = |trace: &Trace| trace.ops.len() > 9;
    assert_eq!(shrunk(&trace, fails), shrunk(&trace, fails));
}
