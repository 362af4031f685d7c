//! The harness: traces, lanes, a reference model, oracles and campaigns for kernel-style
//! allocators.
//!
//! The one idea: there is one entry point, [`check`]. A fuzz target, a property test, the corpus
//! replay and the command line all hand it a campaign and a trace, and get counts or a [`Failure`].
//!
//! The modules are floors, and each uses only its own and those before it. `ARCHITECTURE.md` lists
//! them.

pub mod bound;
pub mod boundary;
mod bytes;
pub mod call;
pub mod caller;
pub mod campaign;
pub mod churn;
#[cfg(feature = "cli")]
pub mod cli;
pub mod exec;
pub mod fuzz;
pub mod generate;
pub mod lane;
mod model;
pub mod mutate;
pub mod op;
pub mod oracle;
pub mod paint;
pub mod random;
pub mod reach;
pub mod recorded;
pub mod recording;
pub mod relaxation;
pub mod report;
pub mod seed;
pub mod shrink;
pub mod stats;
pub mod subject;
pub mod sweep;
pub mod text;
pub mod trace;
pub mod verdict;
pub mod words;
#[cfg(all(unix, feature = "worker"))]
pub mod worker;

pub use campaign::{CAMPAIGNS, Campaign};
pub use fuzz::fuzz;
pub use model::linux::matrix as free_matrix;
pub use stats::Stats;
pub use trace::Trace;
pub use verdict::Failure;

use exec::Expectations;

/// Runs a trace down the lanes of a campaign. What the trace's comments expect is not looked at.
///
/// # Errors
/// The first objection of an oracle.
pub fn check(campaign: &Campaign, trace: &Trace) -> Result<Stats, Box<Failure>> {
    exec::run(campaign, trace, Expectations::Ignored)
}

/// As [`check`], and every `# -> …` comment must name the answer of the lane that follows the
/// trace.
///
/// # Errors
/// The first objection of an oracle, or the first answer that is not the expected one.
pub fn check_expected(campaign: &Campaign, trace: &Trace) -> Result<Stats, Box<Failure>> {
    exec::run(campaign, trace, Expectations::Checked)
}

/// The examples of the documents, which are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/your-caller.md")]
struct Documents;
