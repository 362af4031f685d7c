//! The command line: run campaigns, check and shrink traces, replay recordings and ask what another
//! cutoff would have cost.
//!
//! It is a library, so that who brings allocators and campaigns of their own has the same commands
//! for them: their program is a call of [`main`], as the binary `kvroute` is.
//!
//! Every subcommand is a few lines around one call of the library, and enters what it meets in a
//! `Document`. Its exit code is 1 for an objection, 2 for bad input or a report that could not be
//! written, and that of the signal if one ended it early.
//!
//! Nothing is decided here that a fuzz target or a test would have to decide again.

mod boundary;
mod callers;
mod check;
mod checker;
mod document;
mod finding;
mod input;
mod interrupt;
mod live;
mod memory;
mod new;
mod output;
mod plot;
mod pool;
mod ranges;
mod reach;
mod replay;
mod run;
mod scale;
mod show;
mod shrink;
mod sweep;

use crate::campaign::{self, Campaign};
use crate::{exec, verdict};
use clap::{Parser, Subcommand};
use document::Document;
use std::panic::UnwindSafe;
use std::process::ExitCode;
use std::sync::OnceLock;

/// The version, and the commit that this was built from.
const VERSION: &str = git_version::git_version!(
    args = ["--always", "--dirty=-modified", "--abbrev=12", "--exclude=*"],
    prefix = concat!(env!("CARGO_PKG_VERSION"), " ("),
    suffix = ")",
    fallback = concat!(env!("CARGO_PKG_VERSION"), " (not built from a repository)")
);

/// Differential testing of kernel-style allocators under random routing.
#[derive(Parser)]
#[command(version = VERSION, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate traces and run them, without a fuzz engine.
    Run(run::Options),
    /// Try the ends of every argument of every call, on machines in many states.
    Boundary(boundary::Options),
    /// Show which boundaries of machines, requests and answers each campaign reaches.
    Reach(reach::Options),
    /// Check trace files, or folders of them: seeds and fuzzer artefacts alike.
    Check(check::Options),
    /// Print a trace as this version reads it, and the answer that each lane gives to each op.
    Show(show::Options),
    /// Shorten a failing trace as far as it still fails with the same complaint.
    Shrink(shrink::Options),
    /// Replay a recording of a real kernel (ftrace text, plain or .zst) down six lanes.
    Replay(replay::Options),
    /// Run recordings or a campaign under every cutoff of kvmalloc, in ever more fragmented memory.
    Sweep(sweep::Options),
    /// Run the catalogue of callers with hidden assumptions, and show what finds each.
    Callers(callers::Options),
    /// Write a crate that tests your own code, with one place to fill in.
    New(new::Options),
    /// Show what an allocation costs when a thousand or a million are live.
    Scale(scale::Options),
    /// Route the requests of the running kernel, with the module in `live/`.
    Live(live::Options),
}

/// What a subcommand comes to: what it found is in the document; an error is an input or a machine
/// that kept it from going on.
type Outcome = Result<(), String>;

/// The campaigns that may be named. Reading an argument has no other way to them.
static CAMPAIGNS: OnceLock<&[&Campaign]> = OnceLock::new();

/// Does what the arguments of the process ask for; `run`, `check`, `show` and `shrink` know
/// `campaigns`, and what asks about Linux' calls knows ours. A program calls it once. What it
/// returns is how the process ends: 1 for an objection, 2 for bad input, that of the signal if one
/// ended it.
///
/// An allocator under test may panic, which is a finding like any other; a panic that nobody
/// catches is a fault of this program.
pub fn main(campaigns: &'static [&'static Campaign]) -> ExitCode {
    CAMPAIGNS.get_or_init(|| campaigns);
    if !std::ptr::eq(campaigns, campaign::EVERY)
        && let Some(program) = std::env::args_os().next()
    {
        verdict::name_program(&program);
    }
    exec::keep_panics_quiet();
    #[cfg(unix)]
    if std::env::args_os().skip(1).eq([checker::WORKER]) {
        return guarded(|| checker::serve(campaigns));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    interrupt::listen();
    guarded(|| carry_out(&arguments.command))
}

/// A panic that nobody has caught is told as what it is.
fn guarded(work: impl FnOnce() -> ExitCode + UnwindSafe) -> ExitCode {
    std::panic::catch_unwind(work).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        let place = exec::last_panic_place().unwrap_or_default();
        output::complain(&format!("a fault of kvroute itself, at {place}: {text}"));
        ExitCode::from(101)
    })
}

/// Help and the version go to standard output, as reports do; what is wrong with the arguments does
/// not.
fn explain(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        output::complain_of_arguments(&error.render().to_string());
        return ExitCode::from(2);
    }
    output::note(error.print());
    document::exit_code(0)
}

fn carry_out(command: &Command) -> ExitCode {
    let (name, as_json) = match command {
        Command::Run(options) => ("run", options.json),
        Command::Boundary(_) => ("boundary", false),
        Command::Check(options) => ("check", options.json),
        Command::Show(options) => ("show", options.json),
        Command::Shrink(options) => ("shrink", options.json),
        Command::Reach(options) => ("reach", options.json),
        Command::Replay(options) => ("replay", options.json),
        Command::Sweep(options) => ("sweep", options.json),
        Command::Callers(options) => ("callers", options.json),
        Command::New(_) => ("new", false),
        Command::Scale(options) => ("scale", options.json),
        Command::Live(options) => options.kind(),
    };
    let mut document = Document::new(name, as_json);
    let outcome = match command {
        Command::Run(options) => run::run(options, &mut document),
        Command::Boundary(options) => boundary::boundary(options, &mut document),
        Command::Check(options) => check::check(options, &mut document),
        Command::Show(options) => show::show(options, &mut document),
        Command::Shrink(options) => shrink::shrink(options, &mut document),
        Command::Reach(options) => reach::reach(options, &mut document),
        Command::Replay(options) => replay::replay(options, &mut document),
        Command::Sweep(options) => sweep::sweep(options, &mut document),
        Command::Callers(options) => callers::callers(options, &mut document),
        Command::New(options) => new::new(options, &mut document),
        Command::Scale(options) => scale::scale(options, &mut document),
        Command::Live(options) => live::live(options, &mut document),
    };
    if let Err(message) = outcome {
        document.error(None, &message);
    }
    document.end()
}

/// Reads the name of a campaign on the command line.
fn parse_campaign(name: &str) -> Result<&'static Campaign, String> {
    named(CAMPAIGNS.get().copied().unwrap_or_default(), name)
}

/// Reads the name of a campaign of ours whose traces can be generated and run in this process.
fn parse_our_campaign(name: &str) -> Result<&'static Campaign, String> {
    named(campaign::CAMPAIGNS, name)
}

fn named(campaigns: &[&'static Campaign], name: &str) -> Result<&'static Campaign, String> {
    let known = || campaigns.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
    let found = campaigns.iter().copied().find(|campaign| campaign.name == name);
    found.ok_or_else(|| format!("no such campaign; there are {}", known()))
}
