//! Every campaign under proptest.
//!
//! The one idea: one strategy for all of them. Its values are the traces that the harness
//! generates, and they shrink as the harness shrinks, so a property is one call of `check` and its
//! minimal input is a trace that can go into `corpus/` as it stands.
//!
//! The seed is fixed, so `cargo test` does the same every time; `PROPTEST_CASES` sets the number of
//! traces per campaign. Looking for new bugs is the fuzzer's business.

use kvroute_harness::generate::{Profile, generate};
use kvroute_harness::shrink::Shrinker;
use kvroute_harness::{Campaign, Trace, campaign, check, exec};
use proptest::prelude::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Traces per campaign, unless `PROPTEST_CASES` says otherwise.
const NR_TRACES: u32 = 512;

/// Candidates that may be tried to shorten a failing trace.
const NR_CANDIDATES_MAX: u32 = 20_000;

#[derive(Debug)]
struct Traces(&'static Profile);

impl Strategy for Traces {
    type Tree = TraceTree;
    type Value = Trace;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut rng = fastrand::Rng::with_seed(any::<u64>().new_tree(runner)?.current());
        let trace = generate(self.0, &mut rng);
        Ok(TraceTree { current: trace.clone(), shrinker: Shrinker::new(trace) })
    }
}

/// A trace and the simpler ones behind it.
struct TraceTree {
    current: Trace,
    shrinker: Shrinker,
}

impl TraceTree {
    /// Goes on to the next candidate, or back to the simplest failing trace when there is none.
    fn advance(&mut self) -> bool {
        let next = self.shrinker.candidate();
        let is_more = next.is_some();
        self.current = next.unwrap_or_else(|| self.shrinker.best().clone());
        is_more
    }
}

impl ValueTree for TraceTree {
    type Value = Trace;

    fn current(&self) -> Trace {
        self.current.clone()
    }

    /// The current trace fails.
    fn simplify(&mut self) -> bool {
        self.shrinker.accept();
        self.advance()
    }

    /// The current trace does not fail.
    fn complicate(&mut self) -> bool {
        self.shrinker.reject();
        self.advance()
    }
}

fn runner() -> TestRunner {
    let default = Config::default();
    let is_set = std::env::var_os("PROPTEST_CASES").is_some();
    let config = Config {
        cases: if is_set { default.cases } else { NR_TRACES },
        max_shrink_iters: NR_CANDIDATES_MAX,
        failure_persistence: None,
        ..default
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// No oracle objects to any trace of the campaign.
#[track_caller]
fn holds(campaign: &'static Campaign) {
    let verdict = runner().run(&Traces(&campaign.profile), |trace| {
        let failed = |failure: Box<_>| TestCaseError::fail(format!("\n\n{failure}\n"));
        check(campaign, &trace).map(|_| ()).map_err(failed)
    });
    if let Err(error) = verdict {
        panic!("campaign {}: {error}", campaign.name);
    }
}

#[test]
fn pages() {
    holds(&campaign::PAGES);
}

#[test]
fn kmalloc() {
    holds(&campaign::KMALLOC);
}

#[test]
fn vmalloc() {
    holds(&campaign::VMALLOC);
}

#[test]
fn kvmalloc() {
    holds(&campaign::KVMALLOC);
}

#[test]
fn routed() {
    holds(&campaign::ROUTED);
}

#[test]
fn frees() {
    holds(&campaign::FREES);
}

#[test]
fn nofail() {
    holds(&campaign::NOFAIL);
}

#[test]
fn faults() {
    holds(&campaign::FAULTS);
}

#[test]
fn heap() {
    holds(&campaign::HEAP);
}

#[test]
fn frames() {
    holds(&campaign::FRAMES);
}

#[test]
fn a_failing_trace_shrinks_to_its_cause() {
    let frees = |trace: &Trace| trace.to_string().matches("kvfree(").count();
    let verdict = runner().run(&Traces(&campaign::ROUTED.profile), |trace| match frees(&trace) {
        0 | 1 => Ok(()),
        _ => Err(TestCaseError::fail("two calls of kvfree")),
    });
    let Err(TestError::Fail(_, minimal)) = verdict else { panic!("no trace calls kvfree twice") };
    assert_eq!((minimal.ops.len(), frees(&minimal)), (2, 2), "{minimal}");
}

/// A machine that an earlier trace has used is as good as a fresh one, so answers do not depend on
/// what ran before.
#[test]
fn the_same_trace_gives_the_same_answers() {
    let traces: Vec<Trace> = (0..64)
        .map(|seed| generate(&campaign::ROUTED.profile, &mut fastrand::Rng::with_seed(seed)))
        .collect();
    let answers = |trace| exec::explain(&campaign::ROUTED, trace).answers;
    let forwards: Vec<_> = traces.iter().map(answers).collect();
    let mut backwards: Vec<_> = traces.iter().rev().map(answers).collect();
    backwards.reverse();
    assert!(forwards == backwards, "an answer depends on the traces that ran before");
}
