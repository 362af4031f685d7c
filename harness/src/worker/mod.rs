//! Traces that run in another process, so that an allocator may die of one.
//!
//! A worker is the same program, started again in a mode of its own. It is started and not forked:
//! a fork copies one thread of several with all locks as they are, and a program that is begun anew
//! has nothing in it that earlier traces have spoilt. Whole traces go over and whole verdicts come
//! back. A worker that crashes, exits or does not come back from an op is a verdict like any other,
//! with the op at which it happened; the next trace has a new one.
//!
//! Nothing is judged here but whether there was an answer.

mod process;
mod slate;
mod wire;

pub use process::Patience;

use crate::campaign::Campaign;
use crate::exec::{self, End, Expectations, Explanation, Place};
use crate::seed::{self, Suspicion};
use crate::stats::Stats;
use crate::trace::Trace;
use crate::verdict::{AFTER_OTHERS, DEATH, Failure, HANG, NO_WORKER, SAYING};
use process::{Death, How, Process};
use slate::Marks;
use std::io;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::{Answer, Asked, Question, Source, Wish};

/// Workers, as many as are asked at once.
pub struct Workers {
    /// How one is started.
    start: Box<dyn Fn() -> Command + Send + Sync>,
    patience: Patience,
    idle: Mutex<Vec<Process>>,
}

impl Workers {
    /// Workers that `start` starts: a program, by its path, that calls [`serve`] with the same
    /// campaigns.
    pub fn new(start: impl Fn() -> Command + Send + Sync + 'static, patience: Patience) -> Self {
        Self { start: Box::new(start), patience, idle: Mutex::default() }
    }

    /// As [`check`](crate::check), or [`check_expected`](crate::check_expected), in a worker.
    ///
    /// # Errors
    /// As there; and a worker that did not answer.
    pub fn check(
        &self,
        campaign: &Campaign,
        trace: &Trace,
        expectations: Expectations,
    ) -> Result<Stats, Box<Failure>> {
        let asked = Asked::Trace(trace);
        let answer = self.ask(campaign, asked, Wish::of(expectations))?;
        answer.into_run(campaign, asked)
    }

    /// As [`check`](Self::check), of what a seed stands for. A worker finds that out for itself, so
    /// that nothing goes over but the number. What looks amiss in a churn, the worker's death among
    /// it, is judged by the trace.
    ///
    /// # Errors
    /// As there.
    pub fn check_seed(&self, campaign: &Campaign, seed: u64) -> Result<Stats, Box<Failure>> {
        let asked = Asked::Seed(seed);
        let suspicion = match self.ask(campaign, asked, Wish::of(Expectations::Ignored)) {
            Ok(answer) => match answer.suspicion() {
                None => return answer.into_run(campaign, asked),
                Some(suspicion) => suspicion,
            },
            Err(death) if seed::is_churn(campaign, seed) && death.oracle != NO_WORKER => {
                Suspicion { act: usize::MAX, why: death.reason }
            }
            Err(death) => return Err(death),
        };
        let judge = |trace: &Trace| self.check(campaign, trace, Expectations::Ignored);
        Err(seed::confirm(campaign, seed, suspicion, judge))
    }

    /// As [`exec::explain`], in a worker. Of a worker that died, the answers up to there are those
    /// that another one gives, which does not go to the end.
    pub fn explain(&self, campaign: &Campaign, trace: &Trace) -> Explanation {
        match self.ask(campaign, Asked::Trace(trace), Wish::Answers) {
            Ok(answer) => answer.into_explanation(campaign, Asked::Trace(trace)),
            Err(death) => {
                let mut before = trace.clone();
                before.ops.truncate(death.op);
                let asked = Asked::Trace(&before);
                let answer = self.ask(campaign, asked, Wish::AnswersBefore).unwrap_or_default();
                let mut explanation = answer.into_explanation(campaign, asked);
                explanation.answers.truncate(death.op);
                Explanation { failure: Some(death), ..explanation }
            }
        }
    }

    /// Asks a worker that has nothing to do. Of a generated trace, of which there are many, it is
    /// not known at which op one dies; the next one then writes down where it is at every turn.
    fn ask(&self, campaign: &Campaign, asked: Asked, wish: Wish) -> Result<Answer, Box<Failure>> {
        let ask = |marks| {
            let (campaign, source) = (campaign.name.to_owned(), asked.source());
            let question = Question { campaign, wish, source, marks };
            serde_json::to_vec(&question).expect("text can be written")
        };
        let failed = |death, after| Box::new(failure(campaign, asked, death, after));
        let idle = self.idle().pop();
        let alone = || self.ask_new(&ask(Marks::All));
        let answer = match idle {
            None => alone().map_err(|death| failed(death, After::Nothing))?,
            Some(mut process) => match process.ask(&ask(asked.marks()), self.patience) {
                Ok(answer) => {
                    self.idle().push(process);
                    answer
                }
                // Other traces have gone through this process. The verdict must be this one's own.
                Err(early) => Err(match alone() {
                    Err(death) => failed(death, After::Nothing),
                    Ok(_) => failed(early, After::Others),
                })?,
            },
        };
        // Who damages its process may also damage what that says.
        serde_json::from_slice(&answer).map_err(|error| {
            let reason = format!("the allocator's process answers what is no answer: {error}");
            let failure = asked.failure(campaign);
            Box::new(Failure { oracle: DEATH, reason, op: failure.trace.ops.len(), ..failure })
        })
    }

    fn ask_new(&self, question: &[u8]) -> Result<Vec<u8>, Death> {
        let mut process = Process::start((self.start)())?;
        let answer = process.ask(question, self.patience)?;
        self.idle().push(process);
        Ok(answer)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Process>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What went through a worker before the trace of which it died.
#[derive(Clone, Copy)]
enum After {
    Nothing,
    /// Other traces, without which it does not die.
    Others,
}

/// The failure of an allocator that took its process with it.
fn failure(campaign: &Campaign, asked: Asked, death: Death, after: After) -> Failure {
    let Death { how, place, said } = death;
    let oracle = match how {
        How::Ended(_) => DEATH,
        How::Hung(_) => HANG,
        How::NeverBegun(_) => NO_WORKER,
    };
    let mut reason = how.to_string();
    if let After::Others = after {
        reason += AFTER_OTHERS;
        if asked.marks() == Marks::Some {
            reason += "; it was at this op when it was last heard of";
        }
    }
    if !said.is_empty() {
        reason += &(SAYING.to_owned() + &said);
    }
    let lane = place.and_then(|place| campaign.lanes.get(place.lane)).map(|lane| lane.name);
    let op = place.map_or(0, |place| place.op);
    Failure { oracle, reason, op, lane, ..asked.failure(campaign) }
}

/// In a worker: runs what it is asked to down the lanes of these campaigns, until nobody asks any
/// more.
///
/// # Errors
/// This process was not started as a worker.
pub fn serve(campaigns: &[&Campaign]) -> io::Result<()> {
    exec::keep_panics_quiet();
    process::serve(|question, marker| {
        let question: Question = serde_json::from_slice(question).expect("a parent's question");
        let known = campaigns.iter().find(|campaign| campaign.name == question.campaign);
        let campaign = known.expect("the parent is the same program");
        let answer = answer(campaign, &question, marker.noting(question.marks));
        serde_json::to_vec(&answer).expect("numbers and text can be written")
    })
}

/// The answer to a question; `note` is told where the work on it is.
fn answer(campaign: &Campaign, question: &Question, mut note: impl FnMut(Place)) -> Answer {
    if let Source::Seed(seed) = question.source
        && let Some(led) = seed::lead(campaign, seed, &mut note)
    {
        return Answer::of_lead(led);
    }
    let trace = question.source.trace(campaign);
    match question.wish {
        Wish::Answers | Wish::AnswersBefore => {
            let end = if question.wish == Wish::Answers { End::Taken } else { End::LeftOut };
            Answer::of_explanation(exec::explain_noting(campaign, &trace, end, note))
        }
        wish => {
            let expectations = wish.expectations();
            Answer::of_run(exec::run_noting(campaign, &trace, expectations, note))
        }
    }
}
