//! A verdict: nothing to object to, or a failure with everything needed to repeat it.
//!
//! The one idea: a failure fits on one screen and is its own reproducer: the oracle, its reason,
//! the trace with an arrow at the op, and the command that repeats it.
//!
//! Nothing here shortens the trace; `shrink` does.

use crate::oracle::ORACLES;
use crate::trace::Trace;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

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
    /// The oracle that objects, or `expectation`.
    pub oracle: &'static str,
    /// Why.
    pub reason: String,
    /// The op at which it was seen; past the last one for the end of the trace.
    pub op: usize,
    /// The whole test case.
    pub trace: Trace,
    /// The file that holds the trace, if there is one.
    pub file: Option<PathBuf>,
}

/// The oracle name of an answer that is not the one that the trace expects.
pub const EXPECTATION: &str = "expectation";

/// The oracle name of an allocator that panicked.
pub const PANIC: &str = "panic";

impl Failure {
    /// What the oracle makes sure of.
    pub fn sentence(&self) -> &'static str {
        let oracle = ORACLES.iter().find(|oracle| oracle.name == self.oracle);
        match oracle {
            Some(oracle) => oracle.sentence,
            None if self.oracle == PANIC => "no request makes an allocator panic",
            None => "the answer is the one that the trace expects",
        }
    }

    /// Whether another failure is the same finding, so that a shorter trace still shows this one.
    pub fn is_like(&self, other: &Failure) -> bool {
        // Of an allocator's panics, or of a trace's expectations, one is not like the other.
        let is_named = ORACLES.iter().any(|oracle| oracle.name == self.oracle);
        self.oracle == other.oracle && (is_named || self.reason == other.reason)
    }

    /// The command that repeats the failure.
    pub fn command(&self) -> String {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        let file = file.unwrap_or_else(|| "<the file with this trace>".into());
        format!("cargo kvroute check {} {file}", self.campaign)
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        let lane = self.lane.map(|lane| format!(", lane {lane}")).unwrap_or_default();
        writeln!(out, "the {} oracle objects in campaign {}{lane}", self.oracle, self.campaign)?;
        writeln!(out, "  rule:   {}", self.sentence())?;
        writeln!(out, "  reason: {}", self.reason)?;
        writeln!(out)?;
        let text = Trace { why: Vec::new(), ..self.trace.clone() }.to_string();
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
            writeln!(out, "--> (end of the trace: everything is freed)")?;
        }
        writeln!(out)?;
        write!(out, "repeat: {}", self.command())
    }
}

impl std::error::Error for Failure {}
