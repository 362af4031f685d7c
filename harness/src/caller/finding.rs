//! A finding: the mistake of a caller, with the decisions that it needs, and nothing else.
//!
//! It is its own reproducer: the trace of what the caller did, an arrow at the call that was wrong,
//! and the plan to put back into a test.

use super::config::Phase;
use super::misuse::Misuse;
use super::plan::{Decision, Others, Plan};
use super::state::Told;
use crate::trace::Trace;
use crate::words::Route;
use std::fmt::{self, Debug, Display, Formatter};

/// The most runs that shrinking takes.
const NR_CANDIDATES_MAX: usize = 2000;
/// The most requests that a plan names where it can say 'all from one on'.
const NR_NAMED_MAX: u32 = 1000;
/// The lines of the trace that are shown before the arrow.
const NR_LINES_BEFORE: usize = 24;

/// A mistake of a caller.
#[derive(Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it did wrong.
    pub misuse: Misuse,
    /// The decisions that bring it about.
    pub plan: Plan,
    /// What the caller did, up to its mistake.
    pub trace: Trace,
    /// What showed it first.
    pub phase: Phase,
    /// The runs that it took.
    pub nr_runs: u64,
    /// The decisions before shrinking.
    pub nr_decisions_before: usize,
}

impl Finding {
    /// What a run under a plan has shown.
    pub fn new(misuse: Misuse, plan: Plan, told: Told) -> Self {
        // What is drawn from a seed is said request by request; what is said in a word stays so.
        let plan = if let Others::Random(_) = plan.others() { told.made } else { plan };
        let nr_decisions_before = nr_decisions(&plan);
        Self {
            misuse,
            plan,
            trace: told.trace,
            phase: Phase::Random,
            nr_runs: 0,
            nr_decisions_before,
        }
    }

    /// The number of decisions that a plan makes; all from one request on are one.
    pub fn nr_decisions_of(plan: &Plan) -> usize {
        nr_decisions(plan)
    }

    /// The number of decisions that it needs.
    pub fn nr_decisions(&self) -> usize {
        nr_decisions(&self.plan)
    }

    /// What the plan decides, for people.
    fn when(&self) -> String {
        let named =
            self.plan.decisions().map(|(number, what)| format!("request {number} {}", words(what)));
        let others = match self.plan.others() {
            Others::From(first, what) => {
                Some(format!("every request from {first} on {}", words(what)))
            }
            _ => None,
        };
        let parts: Vec<String> = named.chain(others).collect();
        if parts.is_empty() { "always".into() } else { format!("when {}", parts.join(", ")) }
    }
}

fn nr_decisions(plan: &Plan) -> usize {
    plan.decisions().len() + usize::from(plan.others() != Others::Natural)
}

/// A decision as a part of a sentence.
fn words(decision: Decision) -> String {
    let mut parts = Vec::new();
    if decision.route != Route::Policy {
        parts.push(format!("is served by {}", decision.route.name()));
    }
    if decision.fails {
        parts.push("fails".into());
    }
    let rest = Decision { route: Route::Policy, fails: false, ..decision };
    if rest != Decision::NATURAL {
        parts.push(format!("gets memory that is {rest}"));
    }
    parts.join(" and ")
}

/// Makes a finding's plan as small as it can be. `again` runs the caller under a plan, and says
/// what its mistake is, if it makes one, and what it did before.
pub fn shrink(
    mut best: Finding,
    mut again: impl FnMut(&Plan) -> Option<(Misuse, Trace)>,
) -> Finding {
    let mut left = NR_CANDIDATES_MAX;
    let mut attempt = |best: &mut Finding, plan: Plan| {
        let is_new = plan != best.plan && left > 0;
        left = left.saturating_sub(1);
        let Some((misuse, trace)) = (if is_new { again(&plan) } else { None }) else {
            return false;
        };
        let is_like = misuse.is_like(&best.misuse);
        if is_like {
            (best.misuse, best.plan, best.trace) = (misuse, plan, trace);
        }
        is_like
    };
    if attempt(&mut best, Plan::default()) {
        return best;
    }
    named_instead(&mut best, &mut attempt);
    drop_decisions(&mut best, &mut attempt);
    simplify_decisions(&mut best, &mut attempt);
    best
}

/// Tries to name the requests that count, where all of them from one on are decided alike.
fn named_instead(best: &mut Finding, attempt: &mut impl FnMut(&mut Finding, Plan) -> bool) {
    let Others::From(first, decision) = best.plan.others() else { return };
    let nr_requests = best.trace.ops.iter().filter(|op| op.dst.is_some()).count() as u32;
    let named = (first..=nr_requests.max(first)).map(|number| (number, decision));
    if nr_requests > NR_NAMED_MAX || !attempt(best, Plan::naming(named)) {
        // It needs all of them: from as late on as it can be.
        while let Others::From(first, decision) = best.plan.others() {
            if !attempt(best, Plan::of(Others::From(first + 1, decision))) {
                break;
            }
        }
    }
}

/// Drops what is not needed, in halves down to single decisions.
fn drop_decisions(best: &mut Finding, attempt: &mut impl FnMut(&mut Finding, Plan) -> bool) {
    let mut width = best.plan.decisions().len();
    while width > 0 {
        let mut from = 0;
        while from < best.plan.decisions().len() {
            let is_kept = |place: usize| !(from..from + width).contains(&place);
            let kept = best.plan.decisions().enumerate().filter(|(place, _)| is_kept(*place));
            let candidate = Plan::naming(kept.map(|(_, item)| item).collect::<Vec<_>>());
            if !attempt(best, candidate) {
                from += width;
            }
        }
        width /= 2;
    }
}

/// Takes from each decision what is not needed, one part after another.
fn simplify_decisions(best: &mut Finding, attempt: &mut impl FnMut(&mut Finding, Plan) -> bool) {
    let numbers: Vec<u32> = best.plan.decisions().map(|(number, _)| number).collect();
    for number in numbers {
        let mut is_simpler = true;
        while is_simpler {
            is_simpler = best.plan.decision(number).simpler().any(|simpler| {
                let others = best.plan.decisions().filter(|(of, _)| *of != number);
                let decisions: Vec<_> = others.chain([(number, simpler)]).collect();
                attempt(best, Plan::naming(decisions))
            });
        }
    }
}

impl Display for Finding {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "the caller breaks the rule '{}' {}", self.misuse.rule.name(), self.when())?;
        write!(out, "{}", self.misuse)?;
        writeln!(
            out,
            "  found:  in run {} ({}), shrunk from {} decisions to {}\n",
            self.nr_runs,
            self.phase.name(),
            self.nr_decisions_before,
            self.nr_decisions(),
        )?;
        let text = self.trace.to_string();
        let nr_lines = text.lines().count();
        let first = nr_lines.saturating_sub(NR_LINES_BEFORE);
        if first > 0 {
            writeln!(out, "    … {first} lines")?;
        }
        for (index, line) in text.lines().enumerate().skip(first) {
            let is_last = index + 1 == nr_lines && self.misuse.at.is_some();
            writeln!(out, "{}{line}", if is_last { "--> " } else { "    " })?;
        }
        write!(out, "\nrepeat: Config::new().plan(\"{}\")", self.plan)
    }
}

/// As `Display`, so that `unwrap` in a test shows the report.
impl Debug for Finding {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "\n{self}\n")
    }
}

impl std::error::Error for Finding {}
