//! What a seed stands for in a campaign, and how that is checked.
//!
//! The one idea: a seed stands for a trace, and of some there is more to know. A campaign of heaps
//! may have them lead through a [`Churn`] at once, with a book of their own; so some of its seeds
//! are churns, and the others the traces of swarms. Whatever is amiss in a churn (an objection, a
//! panic, the death of the process) is a suspicion and no verdict: the churn is written out, up to
//! that act, and judged as every trace is. If nobody objects then, one of the two is wrong, and
//! that is a failure as well.
//!
//! A seed says by itself which of the two it is, so that nothing else goes to a worker.

use crate::call::Makes;
use crate::campaign::Campaign;
use crate::churn::{Churn, Tally};
use crate::exec::{self, Expectations, Place, catch_quietly, message};
use crate::generate;
use crate::lane::Skip;
use crate::op::Class;
use crate::stats::Stats;
use crate::trace::Trace;
use crate::verdict::{Failure, SUSPICION};

/// What the seeds of a campaign stand for that has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Kind {
    /// Long, busy and ordinary lives, judged in passing.
    Churn,
    /// Small worlds at the edges, as of every other campaign.
    Swarm,
}

impl Kind {
    /// What a seed stands for.
    fn of(campaign: &Campaign, seed: u64) -> Self {
        // A churn takes about three times as long as the trace of a swarm: each has half the time.
        let is_churn = !campaign.churns.is_empty() && seed.is_multiple_of(4);
        if is_churn { Self::Churn } else { Self::Swarm }
    }

    /// What has a run be of this kind alone.
    #[cfg(feature = "cli")]
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Churn => " --only churn",
            Self::Swarm => " --only swarm",
        }
    }

    /// A seed of this kind, made of any.
    pub fn seed(self, seed: u64) -> u64 {
        match self {
            Self::Churn => seed & !3,
            Self::Swarm => seed | 1,
        }
    }
}

/// What looked amiss in a churn.
pub(crate) struct Suspicion {
    /// The act at which it was seen; the largest number if that is not known.
    pub(crate) act: usize,
    pub(crate) why: String,
}

/// The trace that a seed stands for.
pub(crate) fn trace(campaign: &Campaign, seed: u64) -> Trace {
    match Kind::of(campaign, seed) {
        Kind::Churn => Churn::of_seed(seed, campaign.profile.calls).trace(),
        Kind::Swarm => generate::of_seed(&campaign.profile, seed),
    }
}

/// Checks what a seed stands for, in this process.
///
/// # Errors
/// As [`check`](crate::check).
pub fn check(campaign: &Campaign, seed: u64) -> Result<Stats, Box<Failure>> {
    let judge = |trace: &Trace| exec::run(campaign, trace, Expectations::Ignored);
    match lead(campaign, seed, &mut |_| ()) {
        None => judge(&trace(campaign, seed)),
        Some(led) => led.map_err(|suspicion| confirm(campaign, seed, suspicion, judge)),
    }
}

/// Whether a seed stands for a churn.
#[cfg(feature = "worker")]
pub(crate) fn is_churn(campaign: &Campaign, seed: u64) -> bool {
    Kind::of(campaign, seed) == Kind::Churn
}

/// Has every heap of a campaign lead the churn that a seed stands for, if it is one. `note` is told
/// now and then where that is.
pub(crate) fn lead(
    campaign: &Campaign,
    seed: u64,
    note: &mut dyn FnMut(Place),
) -> Option<Result<Stats, Suspicion>> {
    if Kind::of(campaign, seed) != Kind::Churn {
        return None;
    }
    let mut stats = Stats::new(campaign.lanes);
    stats.nr_traces = 1;
    for (lane, run) in campaign.churns.iter().enumerate() {
        let mut churn = Churn::of_seed(seed, campaign.profile.calls);
        let note = &mut |op| note(Place { op, lane });
        note(0);
        let result = catch_quietly(|| run(&mut churn, note));
        let result = result.unwrap_or_else(|panic| Err(message(panic.as_ref()).to_owned()));
        match result {
            Ok(tally) => count(&mut stats, lane, &tally),
            // The act at hand is the one that was drawn last.
            Err(why) => {
                return Some(Err(Suspicion { act: churn.nr_drawn().saturating_sub(1), why }));
            }
        }
        stats.nr_ops = churn.nr_drawn() as u64;
    }
    Some(Ok(stats))
}

/// Enters what became of a churn.
fn count(stats: &mut Stats, lane: usize, tally: &Tally) {
    for (call, nr_done, nr_refused, nr_meaningless) in tally.rows() {
        let is_free = call.spec().makes == Makes::Nothing;
        let class = if is_free { Class::Done } else { Class::Memory };
        stats.answers(lane, call, (class, nr_done));
        stats.answers(lane, call, (Class::NoMemory, nr_refused));
        stats.skips(call, Skip::Misuse, nr_meaningless);
    }
    stats.nr_checks += 1;
}

/// The verdict on a churn that looked amiss, by whoever judges traces.
pub(crate) fn confirm(
    campaign: &Campaign,
    seed: u64,
    suspicion: Suspicion,
    judge: impl FnOnce(&Trace) -> Result<Stats, Box<Failure>>,
) -> Box<Failure> {
    let Suspicion { act, why } = suspicion;
    let mut trace = trace(campaign, seed);
    trace.ops.truncate(act.saturating_add(1));
    let Err(failure) = judge(&trace) else {
        let reason = format!("led at once it came to this: {why}; as a trace nobody objects to it");
        let op = act.min(trace.ops.len());
        let failure = Failure::without_reason(campaign.name, &trace);
        return Box::new(Failure { oracle: SUSPICION, reason, op, ..failure });
    };
    failure
}
