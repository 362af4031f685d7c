//! Where a trace runs: in this process, or with `--isolate` in a worker, of which it may take the
//! process.
//!
//! What a worker is and how it can end is in `crate::worker`.

use crate::campaign::{Campaign, Isolation};
use crate::cli::{output, ranges};
use crate::exec::{self, Expectations, Explanation};
use crate::seed;
#[cfg(unix)]
use crate::worker::{self, Patience, Workers};
use crate::{Failure, Stats, Trace};
use std::num::NonZero;
#[cfg(unix)]
use std::process::ExitCode;
use std::time::Duration;

/// What a worker is started with instead of a subcommand.
#[cfg(unix)]
pub(crate) const WORKER: &str = "--worker";

#[derive(clap::Args)]
pub(crate) struct IsolationOption {
    /// Run traces in processes of their own, so that a crash, an exit or a call that never returns
    /// is a verdict. Campaigns over real memory do, unless --in-process is given.
    #[arg(long)]
    isolate: bool,
    /// Run traces in this process, be the memory real: a debugger sees them. But a crash or an exit
    /// ends the whole command, whatever its exit code then is, and a hang is waited for.
    #[arg(long, conflicts_with = "isolate")]
    in_process: bool,
    /// The processor time that an op may take in such a process, in milliseconds; a call that waits
    /// for something may take ten times as much time.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = ranges::millis,
        conflicts_with = "in_process")]
    op_millis: u64,
}

/// Runs traces.
pub(crate) enum Checker {
    /// In this process.
    Here,
    /// In others.
    #[cfg(unix)]
    Apart(Workers),
}

impl IsolationOption {
    /// How many threads are asked for: one in this process, if none are said, since allocators on
    /// real memory may be one for a whole process.
    pub(crate) fn jobs(&self, asked: Option<NonZero<usize>>) -> Option<NonZero<usize>> {
        asked.or(self.in_process.then_some(NonZero::<usize>::MIN))
    }

    /// What runs the traces of a campaign.
    pub(crate) fn checker(&self, campaign: &Campaign) -> Checker {
        let is_apart = self.isolate || campaign.isolation == Isolation::Worker;
        if is_apart && !self.in_process {
            Checker::apart(Duration::from_millis(self.op_millis))
        } else {
            Checker::Here
        }
    }
}

impl Checker {
    #[cfg(unix)]
    fn apart(patience: Duration) -> Self {
        // The link leads to the program that runs, even if its file has been replaced meanwhile.
        let this = "/proc/self/exe";
        let this = std::fs::exists(this).is_ok_and(|is_there| is_there).then_some(this.into());
        let this = this.or_else(|| std::env::current_exe().ok()).unwrap_or_default();
        let start = move || {
            let mut command = std::process::Command::new(&this);
            command.arg(WORKER);
            command
        };
        Self::Apart(Workers::new(start, Patience::of_processor(patience)))
    }

    #[cfg(not(unix))]
    fn apart(_patience: Duration) -> Self {
        output::complain("there are no worker processes here; traces run in this one");
        Self::Here
    }

    /// Runs a trace.
    pub(crate) fn check(
        &self,
        campaign: &Campaign,
        trace: &Trace,
        expectations: Expectations,
    ) -> Result<Stats, Box<Failure>> {
        match self {
            Checker::Here => exec::run(campaign, trace, expectations),
            #[cfg(unix)]
            Checker::Apart(workers) => workers.check(campaign, trace, expectations),
        }
    }

    /// Runs what a seed stands for.
    pub(crate) fn check_seed(&self, campaign: &Campaign, seed: u64) -> Result<Stats, Box<Failure>> {
        match self {
            Checker::Here => seed::check(campaign, seed),
            #[cfg(unix)]
            Checker::Apart(workers) => workers.check_seed(campaign, seed),
        }
    }

    /// Runs a trace and keeps every answer.
    pub(crate) fn explain(&self, campaign: &Campaign, trace: &Trace) -> Explanation {
        match self {
            Checker::Here => exec::explain(campaign, trace),
            #[cfg(unix)]
            Checker::Apart(workers) => workers.explain(campaign, trace),
        }
    }
}

/// Runs traces until the process that asks for them has gone.
#[cfg(unix)]
pub(crate) fn serve(campaigns: &[&Campaign]) -> ExitCode {
    match worker::serve(campaigns) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("a worker is started by `--isolate` alone: {error}"));
            ExitCode::from(2)
        }
    }
}
