//! Exploring a caller with real pointers: as the harness does it, in child processes.
//!
//! One child explores, until the caller's first mistake ends it. Each plan that might be a smaller
//! one is tried in a child of its own, and the smallest once more, with stacks.

use super::child::{self, report_of};
use super::current;
use super::kernel::Kernel;
use super::report::{self, Report, Told};
use super::returned::Returned;
use super::stacks::Stacks;
use kvroute_harness::caller::{self, Config, Explored, Phase, Plan, Run, Usual, search, shrink};
use std::fmt::{self, Debug, Display, Formatter};

/// A mistake of a caller, with the stacks that belong to it.
pub struct Finding {
    /// The mistake and the decisions that it needs.
    pub finding: caller::Finding,
    /// Whose stacks they are, and the stacks: `at`, `asked`, `freed`.
    pub stacks: Vec<(String, String)>,
}

/// Why an exploration came to no good end.
pub enum Failure {
    /// The caller made a mistake.
    Found(Box<Finding>),
    /// Nothing can be said of the caller: the host refused something.
    Trouble(String),
}

impl Display for Finding {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}", self.finding)?;
        let stacks = self.stacks.iter();
        stacks.into_iter().try_for_each(|(whose, stack)| write!(out, "\nstack '{whose}':\n{stack}"))
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found(finding) => Display::fmt(finding, out),
            Self::Trouble(what) => write!(out, "the caller could not be explored: {what}"),
        }
    }
}

/// As `Display`, so that `unwrap` in a test shows the report.
impl Debug for Failure {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "\n{self}\n")
    }
}

impl std::error::Error for Failure {}

/// Runs `caller` under one plan after another, on real memory.
///
/// A caller is as in the harness, but that it may be any code that finds its allocator in this
/// thread. It must free what it asks for, and not use other threads for that.
///
/// # Errors
/// The first mistake, shrunk to the decisions that it needs; or why nothing can be said.
pub fn explore<T: Debug + PartialEq, E: Debug>(
    config: &Config,
    caller: impl Fn(&Kernel) -> Result<T, E>,
) -> Result<Explored, Failure> {
    let told = match report_of(|| explore_here(config, false, &caller)) {
        Report::Explored(counts) => return Ok(report::counted(counts)),
        Report::Trouble(what) => return Err(Failure::Trouble(what)),
        Report::Found(told) => told,
    };
    let found = told.finding().map_err(Failure::Trouble)?;
    let again = |plan: &Plan, stacks: bool| -> Option<(Box<Told>, caller::Finding)> {
        let config = config.clone().under(plan.clone());
        match report_of(|| explore_here(&config, stacks, &caller)) {
            Report::Found(told) => told.finding().ok().map(|finding| (told, finding)),
            _ => None,
        }
    };
    let finding = shrink(found, |plan| {
        let (_, finding) = again(plan, false)?;
        Some((finding.misuse, finding.trace))
    });
    let told = again(&finding.plan, true);
    let stacks = told.map(|(told, _)| told.stacks).unwrap_or_default();
    Err(Failure::Found(Box::new(Finding { finding, stacks })))
}

/// Tries a caller under the plan that a fuzz engine's bytes stand for, in this process: a mistake
/// is told on standard error, and aborts it.
pub fn fuzz<T: Debug + PartialEq, E: Debug>(
    bytes: &[u8],
    caller: impl Fn(&Kernel) -> Result<T, E>,
) {
    let config = Config::new().under(Plan::from_bytes(bytes));
    if let Err(finding) = search_here(&config, false, &caller) {
        report::found(&finding);
    }
}

/// Explores a caller in this process, which ends with it.
fn explore_here<T: Debug + PartialEq, E: Debug>(
    config: &Config,
    wants_stacks: bool,
    caller: &impl Fn(&Kernel) -> Result<T, E>,
) {
    match search_here(config, wants_stacks, caller) {
        Ok(explored) => report::explored(explored),
        Err(finding) => report::found(&finding),
    }
}

/// Runs a caller under one plan after another in this process. Most mistakes end it.
fn search_here<T: Debug + PartialEq, E: Debug>(
    config: &Config,
    wants_stacks: bool,
    caller: &impl Fn(&Kernel) -> Result<T, E>,
) -> Result<Explored, Box<caller::Finding>> {
    let mut usual: Option<Usual<Returned<T>>> = None;
    search(config, &mut usual, |phase: Phase, plan: &Plan| {
        report::begin(config, phase, plan);
        if report::is_child() {
            child::restart_clock();
        }
        let stacks = if wants_stacks { Stacks::wanted() } else { Stacks::default() };
        let kernel = Kernel::new();
        let run = || match current::as_caller(|| caller(&kernel)) {
            Ok(value) => Ok(Returned::of(value)),
            Err(error) => Err(Returned::of(error)),
        };
        let (result, told, left) = current::run(config, plan.clone(), stacks, run);
        let result = match (result, left) {
            (Ok(_), Some(misuse)) => Err(misuse),
            (result, _) => result,
        };
        Run { result, told }
    })
}
