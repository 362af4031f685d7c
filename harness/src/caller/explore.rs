//! Exploring a caller: run it under one plan after another until it breaks a rule.
//!
//! The order is from what happens every day to what happens once in years: as the policy decides;
//! all by slab, all by vmalloc; each kind of hostile placement; each request failed once, and from
//! there on for ever; then random plans, in which all of that comes together. The first mistake
//! ends it, and is shrunk to the decisions that it needs.

use super::config::{Config, Phase};
use super::finding::{Finding, shrink};
use super::kernel::Kernel;
use super::misuse::Misuse;
use super::plan::{Decision, Filling, Others, Place, Plan};
use super::state::Told;
use crate::exec::catch_quietly;
use crate::oracle::caller::Rule;
use crate::words::Route;
use std::fmt::Debug;

/// What a caller without a mistake was put through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// Runs.
    pub nr_runs: u64,
    /// Requests for memory in all of them.
    pub nr_requests: u64,
    /// Those that were given none.
    pub nr_refused: u64,
    /// Requests to kvmalloc that vmalloc served.
    pub nr_by_vmalloc: u64,
    /// Requests for memory of an ordinary run.
    pub nr_sites: u32,
}

/// One run of a caller.
pub struct Run<T> {
    /// What it returned, or what it did wrong.
    pub result: Result<T, Misuse>,
    /// What it did.
    pub told: Told,
}

/// Runs a caller under a plan. The leaks at its end are its mistakes as well.
fn run<T, E: Debug>(
    config: &Config,
    plan: &Plan,
    caller: &impl Fn(&Kernel) -> Result<T, E>,
) -> Run<Result<T, E>> {
    let kernel = Kernel::boot(config, plan.clone());
    let result = catch_quietly(|| caller(&kernel));
    let result = result.map_err(|payload| match payload.downcast::<Misuse>() {
        Ok(misuse) => *misuse,
        Err(payload) => Misuse::panicked(payload.as_ref()),
    });
    let mut told = kernel.into_told(config.machine);
    let result = match (told.misuse.take(), result, told.left.take()) {
        (Some(misuse), ..) | (None, Ok(_), Some(misuse)) => Err(misuse),
        // One that panics has had no time to free.
        (None, result, _) => result,
    };
    Run { result, told }
}

/// Runs `caller` under one plan after another.
///
/// A caller is a function that is given a kernel, asks it for memory, uses the memory, frees it and
/// returns a result, or an error where it was given none. What it returns must not depend on what
/// memory it got. It must do the same whenever it is given the same.
///
/// # Errors
/// The first mistake, shrunk to the decisions that it needs.
pub fn explore<T: Debug + PartialEq, E: Debug>(
    config: &Config,
    caller: impl Fn(&Kernel) -> Result<T, E>,
) -> Result<Explored, Box<Finding>> {
    let mut usual: Option<Usual<T>> = None;
    search(config, &mut usual, |_, plan| run(config, plan, &caller)).map_err(|found| {
        let again = |plan: &Plan| {
            let (tried, _) = compared(run(config, plan, &caller), usual.as_ref());
            Some((tried.result.err()?, tried.told.trace))
        };
        Box::new(shrink(*found, again))
    })
}

/// Runs a caller under one plan after another, with `run`, and keeps what it usually does.
///
/// # Errors
/// The first mistake as it was found.
pub fn search<T: Debug + PartialEq, E: Debug>(
    config: &Config,
    usual: &mut Option<Usual<T>>,
    mut run: impl FnMut(Phase, &Plan) -> Run<Result<T, E>>,
) -> Result<Explored, Box<Finding>> {
    let mut explored = Explored::default();
    let mut attempt = |phase, plan: Plan| {
        let (tried, returned) = compared(run(phase, &plan), usual.as_ref());
        explored.note(&tried.told);
        if let Err(misuse) = tried.result {
            let found = Finding::new(misuse, plan, tried.told);
            return Err(Box::new(Finding { phase, nr_runs: explored.nr_runs, ..found }));
        }
        // What is usual is what the ordinary run does, which is the first.
        if explored.nr_runs == 1 {
            *usual = returned;
        }
        Ok(tried.told.failable)
    };
    let failable = attempt(Phase::Policy, Plan::default())?;
    match config.plan.clone() {
        Some(plan) => _ = attempt(Phase::Random, plan)?,
        None => {
            for (phase, plan) in plans(failable, config.seeds) {
                attempt(phase, plan)?;
            }
        }
    }
    Ok(explored)
}

/// What an ordinary run returned, and which of its requests were refused.
pub struct Usual<T> {
    value: T,
    refused: Vec<u32>,
}

/// A run that was given all that an ordinary one is given must return what that does, and one that
/// was given all it asked for must not return an error.
fn compared<T: Debug + PartialEq, E: Debug>(
    run: Run<Result<T, E>>,
    usual: Option<&Usual<T>>,
) -> (Run<()>, Option<Usual<T>>) {
    let Run { result, told } = run;
    let usual = usual.filter(|usual| usual.refused == told.refused);
    let broken = |rule, says| (Err(Misuse::new(rule, says)), None);
    let (result, returned) = match (result, usual) {
        (Ok(Ok(value)), Some(usual)) if value != usual.value => {
            let usual = &usual.value;
            let says = format!("it returns {value:?}, and in an ordinary run {usual:?}");
            broken(Rule::Difference, says)
        }
        (Ok(Err(error)), usual) if usual.is_some() || told.refused.is_empty() => {
            let says = format!("it returns {error:?} although it got all that it asked for");
            broken(Rule::Unprovoked, says)
        }
        (Ok(Ok(value)), _) => (Ok(()), Some(Usual { value, refused: told.refused.clone() })),
        (Ok(Err(_)), _) => (Ok(()), None),
        (Err(misuse), _) => (Err(misuse), None),
    };
    (Run { result, told }, returned)
}

/// The plans that follow an ordinary run, of which these requests may fail.
fn plans(failable: Vec<u32>, seeds: u64) -> impl Iterator<Item = (Phase, Plan)> {
    let all = |decision| Plan::of(Others::From(1, decision));
    let natural = Decision::NATURAL;
    let routings = [Route::Slab, Route::Vmalloc].map(|route| Decision { route, ..natural });
    let places = [Place::LeastAligned, Place::PageEnd, Place::Touching, Place::Fresh];
    let junk = Decision { filling: Filling::Junk, ..natural };
    let placements = places.map(|place| Decision { place, ..natural }).into_iter().chain([junk]);
    let failures = failable.into_iter().flat_map(|number| {
        [Plan::naming([(number, Decision::FAILS)]), Plan::of(Others::From(number, Decision::FAILS))]
    });
    let routings = routings.into_iter().map(move |decision| (Phase::Routing, all(decision)));
    let placements = placements.map(move |decision| (Phase::Placement, all(decision)));
    let failures = failures.map(|plan| (Phase::Failure, plan));
    let random = (0..seeds).map(|seed| (Phase::Random, Plan::of(Others::Random(seed))));
    routings.chain(placements).chain(failures).chain(random)
}

impl Explored {
    fn note(&mut self, told: &Told) {
        if self.nr_runs == 0 {
            self.nr_sites = told.nr_requests;
        }
        self.nr_runs += 1;
        self.nr_requests += u64::from(told.nr_requests);
        self.nr_refused += told.refused.len() as u64;
        self.nr_by_vmalloc += u64::from(told.nr_by_vmalloc);
    }
}

/// What a fuzz target for a caller does with the engine's bytes: they are the plan.
///
/// # Panics
/// With the report, if the caller makes a mistake.
pub fn fuzz<T: Debug + PartialEq, E: Debug>(
    bytes: &[u8],
    caller: impl Fn(&Kernel) -> Result<T, E>,
) {
    if let Err(finding) = explore(&Config::new().under(Plan::from_bytes(bytes)), caller) {
        panic!("{finding}");
    }
}

/// A fuzz target that runs a caller, whose plan the engine makes: the file says `#![no_main]`, and
/// its package depends on `libfuzzer-sys`.
#[macro_export]
macro_rules! fuzz_caller {
    ($caller:expr) => {
        ::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $crate::caller::fuzz(bytes, $caller));
    };
}
