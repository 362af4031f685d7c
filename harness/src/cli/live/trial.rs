//! One run of a command under a plan, and whether it fails: on this machine, or where the command
//! starts a guest.
//!
//! On the machine the module gets the plan and tells what it saw. A command that starts guests
//! gives them the plan of `KVROUTE_PLAN` itself, and leaves in the folder `KVROUTE_TOLD` what a
//! guest's module told (`stats`, `callers` and `reports` of debugfs), and in a file `kind`, if it
//! knows it, a line about the kind of failure. What else it puts there stays to the search's end.

use super::command::{self, Terminal};
use super::module::Module;
use super::plan::Plan;
use super::told::{Report, Told};
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use tempfile::TempDir;

/// Where a command is run under a plan.
pub(super) enum Place {
    /// On this machine, whose module gets the plan.
    Machine(Module),
    /// In guests, who tell in this folder.
    Guests(TempDir),
}

/// One way to fail. A run may fail in several, and two runs fail alike if they share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As a guest said.
    Said(String),
    /// A rule was broken with memory of this caller.
    Reported { rule: String, caller: String },
    /// The command ended so.
    Ended(String),
}

impl Display for Kind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(words) | Self::Ended(words) => out.write_str(words),
            Self::Reported { rule, .. } => out.write_str(rule),
        }
    }
}

/// What a run came to.
pub(super) struct Tried {
    /// In which ways it failed, with the weightiest first; none if it did not.
    pub(super) kinds: Vec<Kind>,
    /// What the module told; a guest that hangs or dies tells nothing.
    pub(super) told: Option<Told>,
}

/// What a guest leaves behind.
const LEFT: [&str; 4] = ["stats", "callers", "reports", "kind"];

impl Place {
    /// Runs a command under a plan.
    ///
    /// # Errors
    /// The command cannot be started, or what the module told is not understood, or is not all: a
    /// run that fails in a way for which its table has no place would seem to pass.
    pub(super) fn run(
        &self,
        command: &[OsString],
        plan: &Plan,
        terminal: Terminal,
    ) -> Result<Tried, String> {
        let text = plan.to_string();
        let mut variables = vec![("KVROUTE_PLAN", OsStr::new(&text))];
        let before = match self {
            Self::Machine(module) => {
                let before = module.told()?;
                module.set(plan)?;
                before
            }
            Self::Guests(folder) => {
                forget(folder.path())?;
                variables.push(("KVROUTE_TOLD", folder.path().as_os_str()));
                Told::default()
            }
        };
        let status = command::run(command, &variables, terminal)?;
        let (said, told) = match self {
            Self::Machine(module) => {
                module.switch_off()?;
                (None, Some(module.told()?))
            }
            Self::Guests(folder) => (said_kind(folder.path()), told_in(folder.path())?),
        };
        if told.as_ref().is_some_and(|told| told.nr_untold_since(&before) > 0) {
            return Err("the module's table of reports is full; load it anew".to_owned());
        }
        let new = told.as_ref().map(|told| told.reports_since(&before)).unwrap_or_default();
        let reported = |Report { rule, caller, .. }| Kind::Reported { rule, caller };
        let ended = (!status.success()).then(|| Kind::Ended(command::in_words(status)));
        let kinds = said.map(Kind::Said).into_iter().chain(new.into_iter().map(reported));
        Ok(Tried { kinds: kinds.chain(ended).collect(), told })
    }
}

fn forget(folder: &Path) -> Result<(), String> {
    for name in LEFT {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(format!("{}: {error}", folder.join(name).display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn said_kind(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join("kind")).ok()?;
    text.lines().next().map(str::to_owned).filter(|kind| !kind.is_empty())
}

fn told_in(folder: &Path) -> Result<Option<Told>, String> {
    if folder.join("stats").exists() { Told::read(folder).map(Some) } else { Ok(None) }
}
