//! Parameters that are set back, whatever happens.
//!
//! The one idea: a shell of its own waits for the end of a pipe that only we hold, and then writes
//! what was there before. The end comes when we say so, and also when we panic, are killed, or a
//! second Ctrl-C ends us where we are. It holds the lock too, so nobody else sets a plan before.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Its arguments are files, each with what to write into it. It must not go by a signal.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM; read -r _; status=0; \
                      while [ $# -gt 0 ]; do printf %s \"$2\" >\"$1\" || status=1; shift 2; done; \
                      exit $status";

/// A promise to write into files.
pub(super) struct Restore(Child);

impl Restore {
    /// Promises to write each value into its file, in this order, and to hold the lock until then.
    ///
    /// # Errors
    /// There is no shell to do it.
    pub(super) fn promise(settings: &[(PathBuf, String)], lock: File) -> Result<Self, String> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh"]);
        for (path, value) in settings {
            shell.arg(path).arg(value);
        }
        // A terminal sends Ctrl-C to a whole group.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        // It says nothing: what it says goes to a file that is open for reading.
        shell.stdin(Stdio::piped()).stdout(lock).stderr(Stdio::null());
        let child = shell.spawn();
        child.map(Self).map_err(|error| format!("sh, which is to set the plan back: {error}"))
    }

    /// Keeps the promise now.
    ///
    /// # Errors
    /// A file took nothing.
    pub(super) fn keep(mut self) -> Result<(), String> {
        match self.end() {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err("the module's plan could not be set back; see its parameters".to_owned()),
            Err(error) => Err(format!("sh, which is to set the plan back: {error}")),
        }
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        drop(self.0.stdin.take());
        self.0.wait()
    }
}

impl Drop for Restore {
    /// An error on the way out has its own words, and waits until the plan is set back.
    fn drop(&mut self) {
        let _ = self.end();
    }
}
