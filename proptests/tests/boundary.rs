//! The ends of every argument of every call, a sample of them, on machines in many states.
//!
//! What `kvroute boundary` runs whole is here a few cases of each call in each state, always the
//! same ones, down one lane and down the four routed lanes. A failure is shrunk to a trace that can
//! go into `corpus/` as it stands.
//!
//! The whole takes too long for every change; the nightly runs it.

use kvroute_harness::boundary::{Block, Tally, blocks};
use kvroute_harness::{Campaign, Failure, campaign, check, shrink};

/// Candidates that may be tried to shorten a failing trace.
const NR_CANDIDATES_MAX: usize = 5_000;

/// Runs `nr_each` cases of each call in each state.
#[track_caller]
fn holds(campaign: &'static Campaign, nr_each: u64) -> Tally {
    let mut sum = Tally::new(campaign);
    for (place, block) in (0..).zip(&blocks()) {
        let draw = |number| block.sampled(1, place, number);
        let cases: Vec<u64> = (0..nr_each).map(draw).collect();
        match block.run(campaign, &cases) {
            Ok(tally) => sum.add(&tally),
            Err(failure) => panic!("{}: {}", block.name(), shrunk(campaign, &failure)),
        }
    }
    sum
}

fn shrunk(campaign: &'static Campaign, failure: &Failure) -> Failure {
    let mut shortest = failure.clone();
    shrink::shrink(&failure.trace, NR_CANDIDATES_MAX, |candidate| {
        let found = check(campaign, candidate).err().filter(|found| found.is_like(failure));
        found.map(|found| shortest = *found).is_some()
    });
    shortest
}

#[test]
fn no_oracle_objects_at_the_end_of_an_argument() {
    let tally = holds(&campaign::FREES, 24);
    assert!(tally.nr_cases > 25_000, "only {} cases", tally.nr_cases);
    assert!(tally.nr_skipped * 50 < tally.nr_cases, "{} were skipped", tally.nr_skipped);
}

#[test]
fn no_oracle_objects_at_the_end_of_an_argument_on_any_route() {
    let tally = holds(&campaign::ROUTED, 6);
    assert!(tally.nr_skipped * 50 < tally.nr_cases, "{} were skipped", tally.nr_skipped);
}

/// The first and the last case of every block are run; all together there are millions.
#[test]
fn every_call_has_cases_in_every_state() {
    let blocks = blocks();
    let nr_cases: u64 = blocks.iter().map(Block::nr_cases).sum();
    for block in &blocks {
        let ends = [0, block.nr_cases() - 1];
        let run = block.run(&campaign::FREES, &ends);
        run.unwrap_or_else(|failure| panic!("{}: {failure}", block.name()));
    }
    assert!(nr_cases > 1_000_000, "{nr_cases} cases in all");
}
