//! Heaps that are led through churns: a right one passes, and each fault is seen by who leads,
//! alone, and objected to by its oracle once the churn is a trace.
//!
//! `KVROUTE_CHURN_ACTS` sets the number of acts.

#[macro_use]
mod faulty;

use faulty::list_heap::LIST_HEAP;
use kvroute_hosted::harness::campaign::Lead;
use kvroute_hosted::harness::churn::{Churn, Tally};
use kvroute_hosted::harness::seed::{self, Kind};
use kvroute_hosted::harness::{Campaign, Stats};
use kvroute_hosted::heap::OfGlobal;
use kvroute_hosted::heap_campaign;
use std::alloc::System;

/// A fault is seen within so many churns.
const NR_CHURNS_MAX: u64 = 64;

/// What only a call shows that churns have not.
const NOT_MET: &str = "WRITES_BEHIND_A_PIECE";

fn nr_acts() -> u64 {
    let wanted = std::env::var("KVROUTE_CHURN_ACTS");
    wanted.map_or(1_000_000, |nr| nr.parse().expect("a number of acts"))
}

/// The seeds that stand for churns.
fn seeds() -> impl Iterator<Item = u64> {
    (0..).map(|number| Kind::Churn.seed(4 * number))
}

/// What who leads a heap through the churn of a seed says of it.
fn suspicion(campaign: &Campaign, seed: u64) -> Option<String> {
    let mut churn = Churn::of_seed(seed, campaign.profile.calls);
    let led = std::panic::catch_unwind(move || campaign.churns[0](&mut churn, &mut |_| ()));
    led.map_or_else(|_| Some("a panic".to_owned()), Result::err)
}

#[test]
fn right_heaps_pass() {
    heap_campaign!(SYSTEM = "system" [OfGlobal<System>]);
    heap_campaign!(BOTH = "both" [faulty::list_heap::ListHeap, OfGlobal<System>]);
    for campaign in [&LIST_HEAP, &SYSTEM, &BOTH] {
        let mut stats = Stats::new(campaign.lanes);
        for seed in seeds() {
            stats.add(&seed::check(campaign, seed).unwrap_or_else(|failure| panic!("{failure}")));
            if stats.nr_lane_ops >= nr_acts() {
                break;
            }
        }
        assert!(stats.executed_share() > 0.7, "{}: {}", campaign.name, stats.executed_share());
    }
}

/// Some of its requests are refused although there is memory, so what it is asked once more in the
/// end must not be more than what was live together.
#[test]
fn a_right_heap_that_refuses_early_passes() {
    heap_campaign!(FOUR = "four"[faulty::Four]);
    for seed in seeds().take(64) {
        seed::check(&FOUR, seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn faults_are_seen_and_objected_to() {
    for (fault, campaign, oracle) in faulty_heaps!() {
        let seen =
            seeds().take(NR_CHURNS_MAX as usize).find(|it| suspicion(campaign, *it).is_some());
        let Some(seed) = seen else {
            assert_eq!(fault, NOT_MET, "nothing looks amiss");
            continue;
        };
        let failure = seed::check(campaign, seed).expect_err(fault);
        assert_eq!(failure.oracle, oracle, "{fault}, seed {seed}: {failure}");
    }
}

/// Who leads may be wrong, or see what no oracle does; neither may pass.
#[test]
fn what_nobody_else_objects_to_is_a_failure_too() {
    fn startled(churn: &mut Churn, _note: &mut dyn FnMut(usize)) -> Result<Tally, String> {
        churn.nth(10);
        Err("a shadow".to_owned())
    }
    static STARTLED: Campaign = Campaign { churns: &[startled as Lead], ..LIST_HEAP };
    let failure = seed::check(&STARTLED, Kind::Churn.seed(0)).expect_err("a suspicion");
    assert_eq!((failure.oracle, failure.op, failure.trace.ops.len()), ("suspicion", 10, 11));
    assert!(failure.reason.contains("a shadow"), "{failure}");
}

/// A churn is led as often as its seed says, and to the same end.
#[test]
fn a_churn_comes_to_what_its_trace_does() {
    for seed in seeds().take(4) {
        let led = seed::check(&LIST_HEAP, seed).expect("a right heap");
        let trace = Churn::of_seed(seed, LIST_HEAP.profile.calls).trace();
        let ran = kvroute_hosted::harness::check(&LIST_HEAP, &trace).expect("a right heap");
        assert_eq!((led.nr_ops, led.nr_lane_ops), (ran.nr_ops, ran.nr_lane_ops));
        assert!(led.calls == ran.calls && led.skips == ran.skips, "seed {seed}: other counts");
    }
}
