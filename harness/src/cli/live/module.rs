//! The module on this machine: its parameters in sysfs and its files in debugfs.
//!
//! Both lie below one folder, so that a folder which looks like the module's can stand for it.

use super::claim;
use super::plan::{PARAMETERS, Plan};
use super::told::Told;
use crate::cli::output::{read, shown};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// A parameter is at most a page long.
const PARAMETER_BYTES_MAX: u64 = 1 << 16;

/// Where the module says what to do and what it saw.
pub(super) struct Module {
    parameters: PathBuf,
    debug: PathBuf,
    /// The module leaves out who has a file of its open: nothing of ours is routed, or counted.
    stats: File,
}

impl Module {
    /// The module below `sys`.
    ///
    /// # Errors
    /// It is not loaded, it tells nothing, or it does not tell us.
    pub(super) fn find(sys: &Path) -> Result<Self, String> {
        let parameters = sys.join("module/kvroute/parameters");
        if let Err(error) = fs::metadata(&parameters) {
            return Err(unless_root(&parameters, &error).unwrap_or_else(|| {
                format!(
                    "{}: the module is not loaded; docs/running-kernel.md says how to build it, \
                     and then: insmod kvroute.ko",
                    shown(&parameters)
                )
            }));
        }
        let debug = sys.join("kernel/debug/kvroute");
        if let Err(error) = fs::read_dir(&debug) {
            let mount = shown(&sys.join("kernel/debug"));
            return Err(unless_root(&debug, &error).unwrap_or_else(|| {
                format!(
                    "{}: {error}; is debugfs there? mount -t debugfs none {mount}",
                    shown(&debug)
                )
            }));
        }
        let path = debug.join("stats");
        let stats = File::open(&path).map_err(|error| {
            unless_root(&path, &error).unwrap_or_else(|| format!("{}: {error}", shown(&path)))
        })?;
        Ok(Self { parameters, debug, stats })
    }

    /// The same, for who is going to set its plan: until the lock is closed, nobody else may.
    ///
    /// # Errors
    /// Another has it.
    pub(super) fn claim(sys: &Path) -> Result<(Self, File), String> {
        let module = Self::find(sys)?;
        claim::claim(&module.stats)?;
        let lock = module.stats.try_clone().map_err(|error| format!("a lock: {error}"))?;
        Ok((module, lock))
    }

    /// Its plan.
    ///
    /// # Errors
    /// A parameter that cannot be read or is not understood.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for name in PARAMETERS {
            let path = self.parameters.join(name);
            readable(&path)?;
            let bytes = read(&path, PARAMETER_BYTES_MAX)?;
            let value = String::from_utf8_lossy(&bytes);
            plan.set(name, value.trim_end())
                .map_err(|what| format!("{}: line 1: {what}", shown(&path)))?;
        }
        Ok(plan)
    }

    /// What has to be written where, in this order, for it to have a plan.
    pub(super) fn settings(&self, plan: &Plan) -> Vec<(PathBuf, String)> {
        let all = ends(plan).into_iter().chain(plan.settings());
        all.map(|(name, value)| (self.parameters.join(name), value)).collect()
    }

    /// Has it decide nothing any more, and goes on counting for the same callers.
    ///
    /// # Errors
    /// A parameter that cannot be written.
    pub(super) fn switch_off(&self) -> Result<(), String> {
        let ends = ends(&Plan::default()).into_iter();
        self.write(ends.map(|(name, value)| (self.parameters.join(name), value)))
    }

    /// Gives it a plan. It is off while the plan is changed, and counts requests anew.
    ///
    /// # Errors
    /// A parameter that cannot be written.
    pub(super) fn set(&self, plan: &Plan) -> Result<(), String> {
        self.write(self.settings(plan))
    }

    fn write(&self, settings: impl IntoIterator<Item = (PathBuf, String)>) -> Result<(), String> {
        for (path, value) in settings {
            let opened = OpenOptions::new().write(true).truncate(true).open(&path);
            let written = opened.and_then(|mut file| file.write_all(value.as_bytes()));
            written.map_err(|error| {
                unless_root(&path, &error).unwrap_or_else(|| format!("{}: {error}", shown(&path)))
            })?;
        }
        Ok(())
    }

    /// What it has counted and reported.
    ///
    /// # Errors
    /// As [`Told::read`].
    pub(super) fn told(&self) -> Result<Told, String> {
        Told::read(&self.debug)
    }

    /// Its recording, a text that grows, as `kvroute replay` reads it.
    pub(super) fn recording(&self) -> PathBuf {
        self.debug.join("recording")
    }
}

/// What has to be written for a plan to decide nothing.
fn ends(plan: &Plan) -> Vec<(&'static str, String)> {
    let settings = plan.off().settings().into_iter();
    settings.filter(|(name, _)| ["fail", "permille"].contains(name)).collect()
}

/// Says what to do where a file may not be read.
fn readable(path: &Path) -> Result<(), String> {
    let refused = File::open(path).err();
    refused.and_then(|error| unless_root(path, &error)).map_or(Ok(()), Err)
}

/// What an error means to who is not root.
fn unless_root(path: &Path, error: &io::Error) -> Option<String> {
    let is_refused = error.kind() == ErrorKind::PermissionDenied;
    is_refused.then(|| format!("{}: only root may; run this as root", shown(path)))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn who_is_not_root_is_told_so() {
        let path = Path::new("a");
        let told = |kind| unless_root(path, &io::Error::from(kind));
        let words = "a: only root may; run this as root";
        assert_eq!(told(ErrorKind::PermissionDenied).as_deref(), Some(words));
        assert_eq!(told(ErrorKind::NotFound), None);
    }
}
