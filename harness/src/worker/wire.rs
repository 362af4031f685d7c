//! What parent and worker say to each other.
//!
//! A trace goes over as its own text, since that is the one form of a trace, or as the seed that it
//! is generated from, which a worker does for itself; what comes back is a verdict, or counts
//! without the many that are 0. All are JSON, which costs a small part of what a trace does.

use super::slate::Marks;
use crate::campaign::Campaign;
use crate::exec::{Expectations, Explanation};
use crate::oracle::ORACLES;
use crate::seed::{self, Suspicion};
use crate::stats::Stats;
use crate::trace::Trace;
use crate::verdict::{DEATH, Failure, known_oracle};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is wanted of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Wish {
    Verdict,
    /// A verdict, and answers that are as expected.
    Expected,
    /// Every answer of every lane.
    Answers,
    /// The same, without what follows the last op.
    AnswersBefore,
}

impl Wish {
    pub(super) fn of(expectations: Expectations) -> Self {
        match expectations {
            Expectations::Ignored => Self::Verdict,
            Expectations::Checked => Self::Expected,
        }
    }

    pub(super) fn expectations(self) -> Expectations {
        match self {
            Self::Verdict => Expectations::Ignored,
            Self::Expected | Self::Answers | Self::AnswersBefore => Expectations::Checked,
        }
    }
}

/// A question.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) campaign: String,
    pub(super) wish: Wish,
    pub(super) source: Source,
    pub(super) marks: Marks,
}

/// A trace that is asked about.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    Trace(&'a Trace),
    /// What the campaign's profile makes of this.
    Seed(u64),
}

impl Asked<'_> {
    /// What goes over.
    pub(super) fn source(self) -> Source {
        match self {
            Self::Trace(trace) => Source::Text(trace.to_string()),
            Self::Seed(seed) => Source::Seed(seed),
        }
    }

    /// How often a worker that has run others before has to say where it is.
    pub(super) fn marks(self) -> Marks {
        match self {
            Self::Trace(_) => Marks::All,
            Self::Seed(_) => Marks::Some,
        }
    }

    /// A failure of it.
    pub(super) fn failure(self, campaign: &Campaign) -> Failure {
        match self {
            Self::Trace(trace) => Failure::without_reason(campaign.name, trace),
            Self::Seed(seed) => {
                Failure::without_reason(campaign.name, &seed::trace(campaign, seed))
            }
        }
    }
}

/// How it goes over.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Source {
    Text(String),
    Seed(u64),
}

impl Source {
    /// The trace.
    pub(super) fn trace(&self, campaign: &Campaign) -> Trace {
        match self {
            Self::Text(text) => Trace::parse(text).expect("the text of a trace"),
            Self::Seed(seed) => seed::trace(campaign, *seed),
        }
    }
}

/// An answer.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The answers of the lanes, if they are wanted.
    answers: Vec<Vec<String>>,
    objection: Option<Objection>,
    /// What looked amiss in a churn, and its act.
    suspicion: Option<(usize, String)>,
    /// The counts that are not 0, by their place among all.
    counts: Vec<(usize, u64)>,
    excused: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
struct Objection {
    lane: Option<String>,
    oracle: String,
    reason: String,
    op: usize,
}

impl From<&Failure> for Objection {
    fn from(failure: &Failure) -> Self {
        let lane = failure.lane.map(str::to_owned);
        let (oracle, reason) = (failure.oracle.to_owned(), failure.reason.clone());
        Self { lane, oracle, reason, op: failure.op }
    }
}

impl Objection {
    fn into_failure(self, campaign: &Campaign, asked: Asked) -> Failure {
        let mut lanes = campaign.lanes.iter().map(|lane| lane.name);
        Failure {
            lane: lanes.find(|name| self.lane.as_deref() == Some(*name)),
            // Whose process is damaged may say anything.
            oracle: known_oracle(&self.oracle).unwrap_or(DEATH),
            reason: self.reason,
            op: self.op,
            ..asked.failure(campaign)
        }
    }
}

impl Answer {
    pub(super) fn of_run(result: Result<Stats, Box<Failure>>) -> Self {
        match result {
            Ok(mut stats) => {
                let counts = stats.counts_mut().into_iter().map(|count| *count).enumerate();
                let counts = counts.filter(|(_, count)| *count > 0).collect();
                let excused = stats.excused.iter().map(|(name, nr)| ((*name).to_owned(), *nr));
                Self { counts, excused: excused.collect(), ..Self::default() }
            }
            Err(failure) => Self { objection: Some((&*failure).into()), ..Self::default() },
        }
    }

    pub(super) fn of_lead(result: Result<Stats, Suspicion>) -> Self {
        result.map_or_else(
            |Suspicion { act, why }| Self { suspicion: Some((act, why)), ..Self::default() },
            |stats| Self::of_run(Ok(stats)),
        )
    }

    /// What looked amiss in a churn.
    pub(super) fn suspicion(&self) -> Option<Suspicion> {
        let (act, why) = self.suspicion.clone()?;
        Some(Suspicion { act, why })
    }

    pub(super) fn of_explanation(explanation: Explanation) -> Self {
        let objection = explanation.failure.map(|failure| (&*failure).into());
        Self { answers: explanation.answers, objection, ..Self::default() }
    }

    /// The result of a run, as if it had been one of this process.
    pub(super) fn into_run(self, campaign: &Campaign, asked: Asked) -> Result<Stats, Box<Failure>> {
        if let Some(objection) = self.objection {
            return Err(Box::new(objection.into_failure(campaign, asked)));
        }
        let mut stats = Stats::new(campaign.lanes);
        let mut counts = stats.counts_mut();
        for (place, count) in self.counts {
            if let Some(to) = counts.get_mut(place) {
                **to = count;
            }
        }
        if let Asked::Trace(trace) = asked {
            // The text has no line that was dropped.
            stats.nr_dropped_lines = trace.nr_dropped_lines.into();
        }
        let by_oracle = ORACLES.iter().map(|oracle| (oracle.name, self.excused.get(oracle.name)));
        stats.excused = by_oracle.filter_map(|(name, nr)| Some((name, *nr?))).collect();
        Ok(stats)
    }

    pub(super) fn into_explanation(self, campaign: &Campaign, asked: Asked) -> Explanation {
        let failure = self.objection.map(|it| Box::new(it.into_failure(campaign, asked)));
        Explanation { answers: self.answers, failure }
    }
}
