//! `kvroute live`: random routing in the running kernel, by the module in `live/`.
//!
//! The module decides, watches and reports; here its plan is set and taken back, what it tells is
//! put into tables, and a plan under which something fails is halved until it names one request.

mod claim;
mod command;
mod halve;
mod module;
mod plan;
mod report;
mod restore;
mod run;
mod shrink;
mod status;
mod stream;
mod told;
mod trial;

use crate::cli::Outcome;
use crate::cli::document::Document;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
    /// Where sysfs is, with debugfs in it.
    #[arg(long, global = true, value_name = "DIR", default_value = "/sys")]
    sys: PathBuf,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say whether the module is there, what its plan is, and what it has counted.
    Status(status::Options),
    /// Run a command under a plan, set the plan back, and say what was reported meanwhile.
    Run(run::Options),
    /// Halve a plan under which a command fails, until it names one request of one caller.
    Shrink(shrink::Options),
    /// Show what each caller of kvmalloc was given, and which were never served by vmalloc.
    Report(report::Options),
}

impl Options {
    /// What its documents are called, and whether they are JSON.
    pub(crate) fn kind(&self) -> (&'static str, bool) {
        match &self.command {
            Command::Status(options) => ("live status", options.json),
            Command::Run(_) => ("live run", false),
            Command::Shrink(_) => ("live shrink", false),
            Command::Report(options) => ("live report", options.json),
        }
    }
}

pub(crate) fn live(options: &Options, document: &mut Document) -> Outcome {
    match &options.command {
        Command::Status(_) => status::status(&options.sys, document),
        Command::Run(run) => run::run(run, &options.sys, document),
        Command::Shrink(shrink) => shrink::shrink(shrink, &options.sys, document),
        Command::Report(_) => report::report(&options.sys, document),
    }
}
