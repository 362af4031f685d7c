//! The executor: one trace down all lanes of a campaign, in lock step, judged at every step.
//!
//! The one idea: an op becomes a request in every lane; each request is carried out, judged against
//! the lane's book and only then entered in it; then the lanes' answers are judged together.
//! Waiting NOFAIL requests ask again after whatever freed something. The end of the trace frees
//! everything, with the same judgements.
//!
//! It decides nothing: what is legal is the oracles' business, what is done the lanes'.

mod end;
mod fresh;
mod largest;
mod panics;
mod runner;
mod watch;

use crate::campaign::Campaign;
use crate::lane::{Lane, LaneSpec};
use crate::op::Op;
use crate::oracle::{Event, Jury, Step, View};
use crate::stats::Stats;
use crate::subject::{Caps, Pack};
use crate::trace::Trace;
use crate::verdict::{EXPECTATION, Failure, NO_BOOT};
use runner::Runner;
use std::panic::{AssertUnwindSafe, catch_unwind};
use watch::{AnswersOnly, Progress, Watch, describe};

pub use panics::{catch_quietly, keep_panics_quiet, last_panic_place, message};
#[cfg(feature = "worker")]
use watch::Noting;
#[cfg(feature = "worker")]
pub(crate) use watch::explain_noting;
pub(crate) use watch::{End, Place};
pub use watch::{Explanation, explain};

/// An objection, before it is known where in the trace it arose.
type Objection = (&'static str, String);

/// Runs a trace.
///
/// # Errors
/// The first objection of an oracle. With `expectations`, also the first answer, of the lane that
/// follows the trace, that the trace does not expect.
pub fn run(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
) -> Result<Stats, Box<Failure>> {
    watch(campaign, trace, expectations, |_| ())
}

/// Runs a trace and shows `watcher` the answers of all lanes to each op. An allocator that panics
/// has failed like any other.
///
/// # Errors
/// As [`run`].
pub fn watch(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    watcher: impl FnMut(&[View]),
) -> Result<Stats, Box<Failure>> {
    watch_closely(campaign, trace, expectations, &mut AnswersOnly(watcher), &|_| ())
}

/// Runs a trace and shows `witness` every step of every lane before it is judged.
///
/// # Errors
/// As [`run`].
pub(crate) fn witness(
    campaign: &Campaign,
    trace: &Trace,
    witness: Witness,
) -> Result<Stats, Box<Failure>> {
    let nobody = &mut AnswersOnly(|_: &[View]| ());
    watch_closely(campaign, trace, Expectations::Ignored, nobody, witness)
}

/// Runs a trace, and `note` is told of every lane's turn before it is taken.
///
/// # Errors
/// As [`run`].
#[cfg(feature = "worker")]
pub(crate) fn run_noting(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    note: impl FnMut(Place),
) -> Result<Stats, Box<Failure>> {
    let watcher = &mut Noting(AnswersOnly(|_: &[View]| ()), note, End::Taken);
    watch_closely(campaign, trace, expectations, watcher, &|_| ())
}

/// Who is shown every step.
type Witness<'a> = &'a dyn Fn(&Step);

/// As [`watch`], and the watcher also sees an op that no more than some lanes have answered.
fn watch_closely(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    watcher: &mut impl Watch,
    witness: Witness,
) -> Result<Stats, Box<Failure>> {
    let mut progress = Progress::default();
    // Nothing that the closure touches is looked at after a panic but what stands in `progress`.
    let run = || run_lanes(campaign, trace, expectations, watcher, witness, &mut progress);
    let result = catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Box::new(progress.panicked(campaign, trace, panic.as_ref()))));
    if result.is_err() && progress.lane.is_some() && progress.op < trace.ops.len() {
        watcher.unfinished_op(&progress.views);
    }
    result
}

fn run_lanes(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    watcher: &mut impl Watch,
    witness: Witness,
    progress: &mut Progress,
) -> Result<Stats, Box<Failure>> {
    let mut stats = Stats::new(campaign.lanes);
    stats.nr_traces = 1;
    stats.nr_ops = trace.ops.len() as u64;
    stats.nr_dropped_lines = trace.nr_dropped_lines.into();
    let boot = |(place, spec): (usize, LaneSpec)| {
        watcher.turn(Place { op: 0, lane: place });
        let lane = Lane::boot(spec, &trace.machine).map_err(|reason| (spec.name, reason))?;
        Ok(Runner::of(place, lane, campaign.every_op, witness))
    };
    let runners: Result<Vec<Runner>, _> =
        campaign.lanes.iter().copied().enumerate().map(boot).collect();
    let mut runners = runners.map_err(|(lane, reason)| {
        progress.lane = Some(lane);
        Box::new(progress.failure(campaign, trace, NO_BOOT, reason))
    })?;
    let between = Jury::of(&[Pack::Generic], Caps::ALL);
    let fail = |progress: &Progress, (oracle, reason): Objection| {
        Box::new(progress.failure(campaign, trace, oracle, reason))
    };
    let mut seen = Vec::with_capacity(runners.len());
    for (index, op) in trace.ops.iter().enumerate() {
        progress.op = index;
        for runner in &mut runners {
            progress.lane = Some(runner.lane.spec.name);
            watcher.turn(Place { op: index, lane: runner.place });
            let view = runner.op(op, index, &mut stats);
            let view = view.map_err(|objection| fail(progress, objection))?;
            progress.views.push(view);
            if expectations == Expectations::Checked && runner.place == campaign.follows {
                as_expected(op, &view).map_err(|objection| fail(progress, objection))?;
            }
        }
        progress.lane = None;
        std::mem::swap(&mut seen, &mut progress.views);
        progress.views.clear();
        watcher.op(&seen);
        stats.nr_incomparable += u64::from(is_incomparable(&seen));
        let across = Event::Across(&seen, &stats.relaxed);
        between.judge(&across).map_err(|objection| fail(progress, objection))?;
    }
    if watcher.end() != End::Taken {
        return Ok(stats);
    }
    progress.op = trace.ops.len();
    for runner in &mut runners {
        progress.lane = Some(runner.lane.spec.name);
        watcher.turn(Place { op: progress.op, lane: runner.place });
        let lane = &mut stats.lanes[runner.place];
        runner.lane.hand_over();
        (lane.at_boot, lane.left) = (runner.lane.at_boot, *runner.lane.facts());
        runner.finish(&mut stats).map_err(|objection| fail(progress, objection))?;
        stats.excuse(runner.jury.excused(), runner.nr_steps);
    }
    Ok(stats)
}

/// Whether the op means different things in two lanes.
fn is_incomparable(views: &[View]) -> bool {
    let means = |view: &View| (view.target, view.cache);
    views.iter().any(|view| means(view) != means(&views[0]))
}

/// Whether the `# -> …` comments of a trace are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectations {
    /// An answer that differs is a failure.
    Checked,
    /// They are comments.
    Ignored,
}

fn as_expected(op: &Op, view: &View) -> Result<(), Objection> {
    match (op.expect, view.class) {
        (Some(expected), actual) if actual != Some(expected) => {
            let actual = describe(view, "nothing: the op was skipped");
            Err((EXPECTATION, format!("the trace expects {}, got {actual}", expected.name())))
        }
        _ => Ok(()),
    }
}
