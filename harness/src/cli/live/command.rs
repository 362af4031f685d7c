//! A command of the user's, run under a plan.
//!
//! Ctrl-C and SIGTERM end it, at first with a word and then by force, so that what has to be done
//! after it is done.

use crate::cli::interrupt;
use std::ffi::{OsStr, OsString};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often a command is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a command has to end after a signal.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a command has of the terminal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    /// All of it.
    Shared,
    /// It is seen, and reads nothing: it runs several times, and its input is there once.
    Seen,
    Hidden,
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started.
pub(super) fn run(
    words: &[OsString],
    variables: &[(&str, &OsStr)],
    terminal: Terminal,
) -> Result<ExitStatus, String> {
    let [program, arguments @ ..] = words else { return Err("no command is given".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).envs(variables.iter().copied());
    if terminal != Terminal::Shared {
        command.stdin(Stdio::null());
    }
    if terminal == Terminal::Hidden {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    }
    let told = |error| format!("{}: {error}", program.to_string_lossy());
    let child = command.spawn().map_err(told)?;
    wait(child).map_err(told)
}

fn wait(mut child: Child) -> std::io::Result<ExitStatus> {
    let mut asked_at = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked_at {
            None if interrupt::received().is_some() => {
                ask_to_end(&child);
                asked_at = Some(Instant::now());
            }
            Some(since) if Instant::now().duration_since(since) > PATIENCE => child.kill()?,
            _ => {}
        }
        sleep(LOOK);
    }
}

/// Who does not hear it is killed a little later.
fn ask_to_end(child: &Child) {
    let process = child.id().to_string();
    let _ = Command::new("sh").args(["-c", "kill -TERM \"$1\"", "sh", &process]).status();
}

/// How a command ended, in words.
pub(super) fn in_words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}
