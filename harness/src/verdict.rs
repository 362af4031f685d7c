//! A verdict: nothing to object to, or a failure with everything needed to repeat it.
//!
//! A failure fits on one screen and is its own reproducer: the oracle, its reason, the trace with
//! an arrow at the op, and the command that repeats it.
//!
//! Nothing here shortens the trace; `shrink` does.

use crate::op::Op;
use crate::oracle::{ORACLES, caller};
use crate::trace::Trace;
use os_display::Quotable;
use serde_json::{Value, json};
#[cfg(feature = "cli")]
use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Lines of the trace that are shown before and after the arrow.
const NR_LINES_BEFORE: usize = 24;
const NR_LINES_AFTER: usize = 2;

/// An objection to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The campaign that was run.
    pub campaign: &'static str,
    /// The lane in which it happened; none for an objection to the lanes' answers taken together.
    pub lane: Option<&'static str>,
    /// The oracle that objects, or `expectation`, or `panic`.
    pub oracle: &'static str,
    /// Why.
    pub reason: String,
    /// The op at which it was seen; past the last one for the end of the trace.
    pub op: usize,
    /// The whole test case.
    pub trace: Trace,
    /// The file that holds the trace, if there is one.
    pub file: Option<PathBuf>,
    /// How that file is to be read.
    pub reading: Reading,
}

/// How the text of a trace is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// As a person means it: the first mistake is an error.
    #[default]
    Strict,
    /// As the fuzz targets read their input: what means nothing is dropped, and the machine is
    /// brought within their limits.
    FuzzInput,
}

/// The option that has a file read as the fuzz targets read it.
pub const FUZZ_INPUT_OPTION: &str = "--fuzz-input";

/// The option that has a trace judged as a caller.
pub const CALLER_OPTION: &str = "--caller";

/// How the names of the campaigns begin that judge traces as callers. Every program has the option,
/// and not every one those campaigns.
pub(crate) const CALLERS: &str = "callers";

/// The oracle name of an answer that is not the one that the trace expects.
pub const EXPECTATION: &str = "expectation";

/// The oracle name of an allocator that panicked.
pub const PANIC: &str = "panic";

/// The oracle name of an allocator that does not boot on the trace's machine.
pub(crate) const NO_BOOT: &str = "no-boot";

/// The oracle name of an allocator that ended the worker process that it lived in.
pub const DEATH: &str = "death";

/// The oracle name of an allocator that did not come back from a request.
pub const HANG: &str = "hang";

/// The oracle name of a worker process that could not be started.
pub const NO_WORKER: &str = "no-worker";

/// The oracle name of a churn that looked amiss, and of which the trace does not.
pub const SUSPICION: &str = "suspicion";

/// Objections that no oracle makes, and what they are about.
const OTHERS: [(&str, &str); 7] = [
    (EXPECTATION, "the answer is the one that the trace expects"),
    (PANIC, "no request makes an allocator panic"),
    (NO_BOOT, "an allocator boots on every machine of a trace"),
    (DEATH, "no request ends the process that the allocator lives in"),
    (HANG, "every request comes to an end"),
    (NO_WORKER, "an allocator that is to be kept apart has a process of its own"),
    (SUSPICION, "what looks amiss in a churn is objected to in its trace"),
];

/// Every name under which something is objected to, and what it is about.
fn objectors() -> impl Iterator<Item = (&'static str, &'static str)> {
    ORACLES.iter().map(|oracle| (oracle.name, oracle.sentence)).chain(OTHERS)
}

/// The name of an objector, if there is one with this name.
#[cfg(feature = "worker")]
pub(crate) fn known_oracle(name: &str) -> Option<&'static str> {
    objectors().map(|(known, _)| known).find(|known| *known == name)
}

/// What stands between how an allocator died and what it printed last.
pub(crate) const SAYING: &str = ", saying: ";

/// What is said of an allocator that dies of what other traces have left.
pub(crate) const AFTER_OTHERS: &str =
    ", after other traces in the same process and not without them";

/// The option that has a trace run in a process of its own.
pub const ISOLATE_OPTION: &str = "--isolate";

/// How the program is called that knows the campaigns, if it is not ours.
static PROGRAM: OnceLock<String> = OnceLock::new();

/// Says how the program is called that knows the campaigns.
#[cfg(feature = "cli")]
pub(crate) fn name_program(program: &OsStr) {
    PROGRAM.get_or_init(|| program.maybe_quote().to_string());
}

fn program() -> &'static str {
    PROGRAM.get().map_or("cargo kvroute", String::as_str)
}

/// What stands between what a panic said and its place in the source.
pub(crate) const PANIC_AT: &str = ", at ";

impl Failure {
    /// What the oracle makes sure of.
    pub fn sentence(&self) -> &'static str {
        let mut objectors = objectors();
        objectors.find(|(name, _)| *name == self.oracle).map_or("", |(_, sentence)| sentence)
    }

    /// An objection to a trace as a whole, without a word of what it is.
    pub(crate) fn without_reason(campaign: &'static str, trace: &Trace) -> Self {
        Self {
            campaign,
            lane: None,
            oracle: EXPECTATION,
            reason: String::new(),
            op: 0,
            trace: trace.clone(),
            file: None,
            reading: Reading::Strict,
        }
    }

    /// The reason without what differs between traces that show one fault: numbers, addresses,
    /// lists of them, and names of flags are each one `#`.
    pub fn complaint(&self) -> String {
        match self.reason.rsplit_once(PANIC_AT) {
            // The place in the source is no number of the trace's.
            Some((text, place)) if self.oracle == PANIC => complaint(text) + PANIC_AT + place,
            // Which clock ran out first is chance.
            _ if self.oracle == HANG => "it does not come back".to_owned(),
            // What it printed is no part of the fault.
            _ if self.oracle == DEATH => {
                complaint(self.reason.split(SAYING).next().unwrap_or_default())
            }
            _ => complaint(&self.reason),
        }
    }

    /// Whether the trace alone shows it, so that it can be repeated and made shorter.
    pub(crate) fn is_of_its_trace(&self) -> bool {
        // What it printed is no word of ours.
        let ours = self.reason.split(SAYING).next().unwrap_or_default();
        let is_of_others = [DEATH, HANG].contains(&self.oracle) && ours.contains(AFTER_OTHERS);
        ![NO_WORKER, SUSPICION].contains(&self.oracle) && !is_of_others
    }

    /// Whether another failure is the same finding, so that a shorter trace still shows this one:
    /// the same oracle has the same complaint. Lane and op may differ, since a shorter trace can
    /// show a fault earlier and on another route.
    pub fn is_like(&self, other: &Failure) -> bool {
        self.oracle == other.oracle && self.complaint() == other.complaint()
    }

    /// The op at which it was seen, without what the trace expects of it; none for the end of the
    /// trace.
    pub fn call(&self) -> Option<String> {
        let op = self.trace.ops.get(self.op)?;
        Some(Op { expect: None, ..*op }.to_string())
    }

    /// The first lines of a file that keeps the trace: why it exists.
    pub fn why(&self) -> Vec<String> {
        let text = format!("The {} oracle objects: {}", self.oracle, self.reason);
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// The command that repeats the failure, for a shell; none as long as no file has the trace.
    pub fn command(&self) -> Option<String> {
        let mut option = match self.reading {
            Reading::Strict => String::new(),
            Reading::FuzzInput => format!(" {FUZZ_INPUT_OPTION}"),
        };
        if [DEATH, HANG].contains(&self.oracle) {
            option += &format!(" {ISOLATE_OPTION}");
        }
        let campaign = match self.campaign.starts_with(CALLERS) {
            true => CALLER_OPTION,
            false => self.campaign,
        };
        let file = self.file.as_ref().filter(|_| self.is_of_its_trace())?.maybe_quote();
        Some(format!("{} check{option} {campaign} {file}", program()))
    }

    /// The failure for scripts, as `docs/json.md` describes it.
    pub fn json(&self) -> Value {
        json!({
            "campaign": self.campaign,
            "lane": self.lane,
            "oracle": self.oracle,
            "rule": self.sentence(),
            "reason": self.reason,
            "complaint": self.complaint(),
            "op": self.op,
            "call": self.call(),
            "trace": self.trace.to_string(),
            "file": self.file.as_ref().map(|file| file.to_string_lossy()),
            "repeat": self.command(),
        })
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let lane = self.lane.map(|lane| format!(", lane {lane}")).unwrap_or_default();
        match self.lane {
            Some(lane) if self.oracle == caller::ORACLE.name => {
                writeln!(out, "a fault of the caller, on the route {lane}")?;
            }
            _ => {
                let Self { oracle, campaign, .. } = self;
                writeln!(out, "the {oracle} oracle objects in campaign {campaign}{lane}")?;
            }
        }
        writeln!(out, "  rule:   {}", self.sentence())?;
        writeln!(out, "  reason: {}", self.reason.trim_end().replace('\n', "\n          "))?;
        writeln!(out)?;
        let text = self.trace.bare().to_string();
        let mut lines = text.lines();
        writeln!(out, "    {}", lines.next().unwrap_or_default())?;
        let first = self.op.saturating_sub(NR_LINES_BEFORE);
        if first > 0 {
            writeln!(out, "    … {first} ops")?;
        }
        for (index, line) in lines.enumerate().skip(first) {
            if index > self.op + NR_LINES_AFTER {
                writeln!(out, "    … {} ops", self.trace.ops.len() - index)?;
                break;
            }
            let arrow = if index == self.op { "--> " } else { "    " };
            writeln!(out, "{arrow}{line}")?;
        }
        if self.op >= self.trace.ops.len() {
            writeln!(out, "--> {END_OF_TRACE}")?;
        }
        match self.command() {
            Some(command) => write!(out, "\nrepeat: {command}"),
            None => Ok(()),
        }
    }
}

/// What stands in the place of an op at the end of the trace.
pub const END_OF_TRACE: &str = "(end of the trace: everything is freed)";

impl std::error::Error for Failure {}

/// A reason without its numbers, lists and flags.
fn complaint(reason: &str) -> String {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut masked = String::new();
    let mut rest = reason;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| !is_inside(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let word = &rest[..end];
        let is_flag = word.starts_with("GFP_") || word.starts_with("__GFP_");
        masked += if first.is_ascii_digit() || is_flag { "#" } else { word };
        rest = &rest[end..];
    }
    // What is joined or listed may be longer or shorter.
    for joint in ["#|#", "#, #", "#..#", "#+#", "#_#", "-#"] {
        while masked.contains(joint) {
            masked = masked.replace(joint, "#");
        }
    }
    masked
}

#[cfg(test)]
mod test {
    use super::*;

    #[track_caller]
    fn same(one: &str, other: &str) {
        assert_eq!(complaint(one), complaint(other));
    }

    #[test]
    fn a_complaint_is_the_same_with_other_numbers_and_flags() {
        same("byte 0x10 of 0xffff888000001000 cannot", "byte 7 of 0x1000 cannot");
        same("gfp: GFP_KERNEL|__GFP_ZERO }", "gfp: GFP_NOFS }");
        same("left: [1, 2, 3]", "left: [4]");
        same("0x40+0x8 meets 0x80+0x10", "0x1+0x2 meets 0x3+0x4");
    }

    #[test]
    fn another_fault_is_another_complaint() {
        let one = complaint("callers hold 1 areas, the allocator counts 2");
        assert_ne!(one, complaint("callers hold 1 kmalloc objects, the allocator counts 2"));
        assert_eq!(one, "callers hold # areas, the allocator counts #");
        assert_ne!(complaint("got Slab"), complaint("got Vmalloc"));
    }
}
