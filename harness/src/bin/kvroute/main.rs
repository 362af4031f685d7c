//! The `kvroute` command line: run campaigns, check and shrink traces, replay
//! recordings and ask what another cutoff would have cost.
//!
//! The one idea: every subcommand is a few lines around one call of the library. A failure is a
//! trace on standard output or in a file, and exit code 1; bad input is a message with its place,
//! and exit code 2.
//!
//! Nothing is decided here that a fuzz target or a test would have to decide again.

mod boundary;
mod check;
mod memory;
mod plot;
mod pool;
mod replay;
mod run;
mod scale;
mod shrink;
mod sweep;

use clap::{Parser, Subcommand};
use kvroute_harness::campaign::{self, CAMPAIGNS, Campaign};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

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
    /// Check trace files, or folders of them: seeds and fuzzer artefacts alike.
    Check(check::Options),
    /// Print a trace as this version reads it, and the answer that each lane gives to each op.
    Show(check::ShowOptions),
    /// Shorten a failing trace as far as it still fails.
    Shrink(shrink::Options),
    /// Replay a recording of a real kernel (ftrace text, plain or .zst) down six lanes.
    Replay(replay::Options),
    /// Run recordings or a campaign under every cutoff of kvmalloc, in ever more fragmented memory.
    Sweep(sweep::Options),
    /// Show what an allocation costs when a thousand or a million are live.
    Scale(scale::Options),
}

/// Why a subcommand did not succeed.
enum Trouble {
    /// An oracle objects; everything has been said.
    Failure,
    /// The input or the machine is at fault.
    Input(String),
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Trouble::Input(message)
    }
}

type Outcome = Result<(), Trouble>;

/// What the last panic said, and where.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// An allocator under test may panic, which is a finding like any other, and shrinking one repeats
/// it a thousand times. So panics are silent here; one that nobody catches is a fault of this
/// program.
fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = panic.to_string();
        }
    }));
    match std::panic::catch_unwind(|| carry_out(&Arguments::parse().command)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(Trouble::Failure)) => ExitCode::from(1),
        Ok(Err(Trouble::Input(message))) => {
            eprintln!("kvroute: {message}");
            ExitCode::from(2)
        }
        Err(_) => {
            let last = LAST_PANIC.lock().map(|last| last.clone()).unwrap_or_default();
            eprintln!("kvroute: a fault of kvroute itself: {last}");
            ExitCode::from(101)
        }
    }
}

fn carry_out(command: &Command) -> Outcome {
    match command {
        Command::Run(options) => run::run(options),
        Command::Boundary(options) => boundary::boundary(options),
        Command::Check(options) => check::check(options),
        Command::Show(options) => check::show(options),
        Command::Shrink(options) => shrink::shrink(options),
        Command::Replay(options) => replay::replay(options),
        Command::Sweep(options) => sweep::sweep(options),
        Command::Scale(options) => scale::scale(options),
    }
}

/// Prints to standard output. A reader that has gone away has seen what it wanted.
fn say(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Reads the name of a campaign on the command line.
fn parse_campaign(name: &str) -> Result<&'static Campaign, String> {
    let known = || CAMPAIGNS.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
    campaign::by_name(name).ok_or_else(|| format!("no such campaign; there are {}", known()))
}

/// Reads a file, or says which and why not.
fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    std::fs::read(path).map_err(|error| Trouble::Input(format!("{}: {error}", path.display())))
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str) -> Outcome {
    let unfinished: PathBuf = {
        let mut name = path.as_os_str().to_owned();
        name.push(".unfinished");
        name.into()
    };
    std::fs::write(&unfinished, text)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|error| Trouble::Input(format!("{}: {error}", path.display())))
}
