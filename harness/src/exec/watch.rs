//! Who looks on while a trace runs, and what is known when an allocator panics.
//!
//! What the executor knows of the op at hand (its number, the lane, the answers so far) stands
//! where a panic does not take it away.
//!
//! A watcher changes nothing.

use super::Expectations;
use super::panics::{last_panic_place, message};
use crate::campaign::Campaign;
use crate::oracle::View;
use crate::subject::Effort;
use crate::trace::Trace;
use crate::verdict::{Failure, PANIC, PANIC_AT};
use std::any::Any;

/// Somebody who sees the answers of all lanes to each op.
pub(super) trait Watch {
    /// A lane is about to work.
    fn turn(&mut self, _place: Place) {}

    /// Whether the end of the trace is wanted too, at which everything is freed.
    fn end(&self) -> End {
        End::Taken
    }

    /// All lanes have answered.
    fn op(&mut self, views: &[View]);

    /// A lane was objected to before all had answered; the answers up to there.
    fn unfinished_op(&mut self, views: &[View]);
}

/// Whether a run goes on after the last op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything is freed and held against a fresh machine.
    Taken,
    /// It is not.
    #[cfg(feature = "worker")]
    LeftOut,
}

/// A lane's turn at an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the op; past the last one for the end of the trace.
    pub(crate) op: usize,
    /// The place of the lane in its campaign.
    pub(crate) lane: usize,
}

/// A watcher of whole ops.
pub(super) struct AnswersOnly<F>(pub(super) F);

impl<F: FnMut(&[View])> Watch for AnswersOnly<F> {
    fn op(&mut self, views: &[View]) {
        (self.0)(views);
    }

    fn unfinished_op(&mut self, _views: &[View]) {}
}

/// Another watcher, and somebody who is told of every turn before it is taken.
#[cfg(feature = "worker")]
pub(super) struct Noting<W, F>(pub(super) W, pub(super) F, pub(super) End);

#[cfg(feature = "worker")]
impl<W: Watch, F: FnMut(Place)> Watch for Noting<W, F> {
    fn turn(&mut self, place: Place) {
        (self.1)(place);
    }

    fn end(&self) -> End {
        self.2
    }

    fn op(&mut self, views: &[View]) {
        self.0.op(views);
    }

    fn unfinished_op(&mut self, views: &[View]) {
        self.0.unfinished_op(views);
    }
}

/// What each lane answered to each op, for people to read.
pub struct Explanation {
    /// Per op the class of every lane's answer, or `skipped`. The last row is shorter if a lane was
    /// objected to before all had answered.
    pub answers: Vec<Vec<String>>,
    /// Where it ended, if an oracle objected.
    pub failure: Option<Box<Failure>>,
}

/// Runs a trace and keeps every answer.
pub fn explain(campaign: &Campaign, trace: &Trace) -> Explanation {
    let mut answers = Answers(Vec::new());
    let run = super::watch_closely(campaign, trace, Expectations::Checked, &mut answers, &|_| ());
    Explanation { answers: answers.0, failure: run.err() }
}

/// As [`explain`], and `note` is told of every turn before it is taken.
#[cfg(feature = "worker")]
pub(crate) fn explain_noting(
    campaign: &Campaign,
    trace: &Trace,
    end: End,
    note: impl FnMut(Place),
) -> Explanation {
    let mut answers = Noting(Answers(Vec::new()), note, end);
    let run = super::watch_closely(campaign, trace, Expectations::Checked, &mut answers, &|_| ());
    Explanation { answers: answers.0.0, failure: run.err() }
}

struct Answers(Vec<Vec<String>>);

impl Watch for Answers {
    fn op(&mut self, views: &[View]) {
        self.0.push(views.iter().map(|view| describe(view, "skipped")).collect());
    }

    fn unfinished_op(&mut self, views: &[View]) {
        self.op(views);
    }
}

/// A lane's answer for people to read, with what Linux does instead of refusing a free, and what
/// the op cost others.
pub(super) fn describe(view: &View, skipped: &'static str) -> String {
    let class = view.class.map_or(skipped, crate::op::Class::name);
    let Effort { nr_reclaim_rounds, nr_oom_kills, nr_warnings } = view.effort;
    let costs =
        [(nr_reclaim_rounds, "reclaimed"), (nr_oom_kills, "killed"), (nr_warnings, "warned")];
    let cost = |(nr, what): (u64, &str)| match nr {
        0 => None,
        1 => Some(what.to_owned()),
        _ => Some(format!("{what} {nr} times")),
    };
    let on_linux = view.on_linux.map(|verb| format!("Linux 6.1 {verb}"));
    let notes: Vec<String> =
        on_linux.into_iter().chain(costs.into_iter().filter_map(cost)).collect();
    if notes.is_empty() { class.to_owned() } else { format!("{class} ({})", notes.join(", ")) }
}

/// What is known of the op at hand.
#[derive(Default)]
pub(super) struct Progress {
    /// Its number; past the last one for the end of the trace.
    pub(super) op: usize,
    /// The lane that works on it; none between lanes.
    pub(super) lane: Option<&'static str>,
    /// What the lanes before it answered; nothing once the watcher has seen them all.
    pub(super) views: Vec<View>,
}

impl Progress {
    /// The failure of an allocator that panicked.
    pub(super) fn panicked(
        &self,
        campaign: &Campaign,
        trace: &Trace,
        panic: &(dyn Any + Send),
    ) -> Failure {
        let place = last_panic_place().map(|place| format!("{PANIC_AT}{place}"));
        let reason = message(panic).to_owned() + &place.unwrap_or_default();
        self.failure(campaign, trace, PANIC, reason)
    }

    /// A failure here.
    pub(super) fn failure(
        &self,
        campaign: &Campaign,
        trace: &Trace,
        oracle: &'static str,
        reason: String,
    ) -> Failure {
        let (lane, op) = (self.lane, self.op);
        Failure { lane, oracle, reason, op, ..Failure::without_reason(campaign.name, trace) }
    }
}
