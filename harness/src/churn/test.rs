//! A churn is what it says: the same for a seed, within its bounds, and full of life.

use super::*;

fn of_seed(seed: u64) -> Churn {
    Churn::of_seed(seed, CallSet::Of("heap"))
}

#[test]
fn a_seed_means_the_same_acts_on_every_machine() {
    let hash = |seed: u64| {
        of_seed(seed).trace().to_string().bytes().fold(0, |hash, byte| mix(hash, byte.into()))
    };
    assert_eq!(
        (0..4).map(hash).fold(0, mix),
        0x3a63_6808_6c42_c037,
        "the acts of a seed have changed"
    );
}

#[test]
fn the_text_is_the_churn() {
    let trace = of_seed(5).trace();
    assert_eq!(Trace::parse(&trace.to_string()).expect("a trace"), trace);
    assert_eq!(trace.ops.len(), of_seed(5).count());
}

#[test]
fn blocks_are_within_bounds_and_all_are_freed() {
    for seed in 0..16 {
        let mut live = [None; NR_SLOTS];
        let mut most = 0;
        for act in of_seed(seed) {
            let held = &mut live[act.slot];
            match act.what {
                What::Alloc { size, align } | What::AllocZeroed { size, align } => {
                    assert!(held.is_none() && (1..=SIZE_MAX).contains(&size));
                    assert!(align.is_power_of_two());
                    *held = Some(size);
                }
                What::Realloc { size } => {
                    assert!(held.is_some() && (1..=SIZE_MAX).contains(&size));
                    *held = Some(size);
                }
                What::Dealloc => assert!(held.take().is_some()),
            }
            most = most.max(live.iter().flatten().count());
        }
        assert_eq!(live, [None; NR_SLOTS]);
        assert!(most > 100, "seed {seed}: {most}");
    }
}

#[test]
fn every_size_alignment_and_call_comes() {
    let (mut powers, mut aligns, mut calls) = ([0; 15], [0; 16], [0; 4]);
    for act in (0..16).flat_map(of_seed) {
        calls[act.what.place()] += 1;
        if let What::Alloc { size, align } = act.what {
            powers[size.next_power_of_two().ilog2() as usize] += 1;
            aligns[align.ilog2() as usize] += 1;
        }
    }
    assert!(powers.iter().all(|nr| *nr > 500), "{powers:?}");
    assert!(aligns.iter().all(|nr| *nr > 50), "{aligns:?}");
    assert!(calls.iter().all(|nr| *nr > 5000), "{calls:?}");
}

#[test]
fn what_a_heap_has_not_is_not_asked_for() {
    let calls = CallSet::Had("heap", |call| matches!(call, Call::Alloc | Call::Dealloc));
    let mut acts = Churn::of_seed(1, calls).map(|act| act.what);
    assert!(acts.all(|what| matches!(what, What::Alloc { .. } | What::Dealloc)));
}
