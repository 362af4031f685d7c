//! A failing trace that was found: told first, saved second, never lost.
//!
//! What was found is on the screen before anything else is tried with it. If no file takes the
//! trace, the screen takes all of it.
//!
//! How it is made shorter is in `crate::shrink`.

use crate::campaign::Campaign;
use crate::cli::checker::Checker;
use crate::cli::document::Document;
use crate::cli::{interrupt, output};
use crate::exec::Expectations;
use crate::{Failure, caller, shrink};
use std::path::{Path, PathBuf};

/// Candidates that are tried at most; each is a run of the trace.
const NR_CANDIDATES_MAX: usize = 20_000;

/// Says in a line what was found and what repeats it, before its trace is made shorter.
pub(crate) fn announce(how: &str, failure: &Failure) {
    let Failure { oracle, reason, .. } = failure;
    let nr_ops = failure.trace.ops.len();
    let what = format!("the {oracle} oracle objects: {reason}");
    output::complain(&format!("{how}: {what}; shrinking a trace of {nr_ops} ops"));
}

/// Says at once what was found; then shrinks it, tells of it and saves it in a file, of the
/// campaign's name if none is given.
pub(crate) fn shrink_and_keep(
    document: &mut Document,
    (campaign, checker): (&'static Campaign, &Checker),
    failure: &Failure,
    path: Option<&Path>,
    how: &str,
) {
    announce(how, failure);
    let default = PathBuf::from(format!("{}.failing.trace", campaign.name));
    keep(document, shrunk(campaign, checker, failure), path.unwrap_or(&default), how);
}

/// Tells of a failure, and saves its trace under first lines that say why and how it was found.
pub(crate) fn keep(document: &mut Document, failure: Failure, path: &Path, how: &str) {
    let mut trace = failure.trace.clone();
    trace.why = failure.why();
    trace.why.push(format!("Found by {how}."));
    caller::mark(&mut trace);
    document.tell("", &Failure { file: None, ..failure.clone() });
    match output::write(path, &trace.to_string()) {
        Ok(()) if path.as_os_str() == "-" => document.failure(&Failure { file: None, ..failure }),
        Ok(()) => {
            let failure = Failure { file: Some(path.to_owned()), ..failure };
            if let Some(command) = failure.command() {
                document.say(&format!("\nrepeat: {command}\n"));
            }
            document.failure(&failure);
        }
        Err(message) => {
            let message = format!("{message}; the trace is saved nowhere");
            document.say_finding(&format!("\nthe whole trace:\n\n{trace}\n"));
            document.failure(&Failure { file: None, ..failure });
            document.error(Some(path), &message);
        }
    }
}

/// The shortest trace found in which the same oracle has the same complaint, as a failure of its
/// own. A signal ends the search early.
pub(crate) fn shrunk(campaign: &'static Campaign, checker: &Checker, failure: &Failure) -> Failure {
    let mut shortest = failure.clone();
    if !failure.is_of_its_trace() {
        return shortest;
    }
    shrink::shrink(&failure.trace, NR_CANDIDATES_MAX, |candidate| {
        if interrupt::received().is_some() {
            return false;
        }
        match checker.check(campaign, candidate, Expectations::Checked) {
            Err(found) if found.is_like(failure) => {
                shortest = *found;
                true
            }
            _ => false,
        }
    });
    shortest
}
