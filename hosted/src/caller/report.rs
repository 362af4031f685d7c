//! What a child process tells its parent, in one line, before it ends.
//!
//! The run that is going on when a caller is stopped never returns, so what is to be said of it is
//! kept here: the phase, the plan, and how many runs there have been.

use super::exit;
use super::stacks::Stacks;
use crate::machine::Trouble;
use kvroute_harness::Trace;
use kvroute_harness::caller::{
    Config, Explored, Finding, Misuse, PHASES, Phase, Plan, RULES, Session, Source,
};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;

/// What a child says.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    /// The caller made no mistake: runs, requests, those refused, those by vmalloc, and sites.
    Explored([u64; 5]),
    /// It made one.
    Found(Box<Told>),
    /// Nothing can be said of it.
    Trouble(String),
}

/// A place in a source: file, line and column.
type Place = (String, u32, u32);

/// A finding, in the words of its text.
#[derive(Serialize, Deserialize)]
pub(super) struct Told {
    phase: usize,
    nr_runs: u64,
    rule: usize,
    says: String,
    at: Option<Place>,
    asked_at: Option<Place>,
    freed_at: Option<Place>,
    panicked_at: Option<String>,
    about: Option<u64>,
    plan: String,
    trace: String,
    pub(super) stacks: Vec<(String, String)>,
}

/// The run that is going on.
struct Ongoing {
    config: Config,
    phase: Phase,
    plan: Plan,
}

thread_local! {
    static PIPE: RefCell<Option<File>> = const { RefCell::new(None) };
    static ONGOING: RefCell<Option<Ongoing>> = const { RefCell::new(None) };
    static NR_RUNS: Cell<u64> = const { Cell::new(0) };
    /// The stacks of the run that has ended.
    static STACKS: RefCell<Option<Stacks>> = const { RefCell::new(None) };
}

/// This process is a child from now on, and tells what it has to through a pipe.
pub(super) fn listen(pipe: File) {
    PIPE.set(Some(pipe));
}

/// Whether this process is a child that tells its parent what comes of it.
pub(super) fn is_child() -> bool {
    PIPE.with_borrow(Option::is_some)
}

/// A run begins.
pub(super) fn begin(config: &Config, phase: Phase, plan: &Plan) {
    NR_RUNS.set(NR_RUNS.get() + 1);
    ONGOING.set(Some(Ongoing { config: config.clone(), phase, plan: plan.clone() }));
}

/// Keeps the stacks of a run whose end may still show a mistake.
pub(super) fn keep_stacks(stacks: Stacks) {
    STACKS.set(Some(stacks));
}

/// Tells what came of it, and ends the process: a child's, or one that a fuzz engine watches.
pub(super) fn send(report: &Report) -> ! {
    let Some(mut pipe) = PIPE.take() else { cry(report) };
    let text = serde_json::to_vec(report).unwrap_or_default();
    // Without a reader there is nobody to tell that either.
    let _ = pipe.write_all(&text);
    exit::now()
}

/// Tells people, and ends the process as an engine knows a crash.
fn cry(report: &Report) -> ! {
    match report {
        Report::Found(told) => match told.finding() {
            Ok(finding) => eprintln!("{finding}"),
            Err(trouble) => eprintln!("{trouble}"),
        },
        Report::Trouble(what) => eprintln!("{what}"),
        Report::Explored(_) => {}
    }
    std::process::abort()
}

/// The host cannot go on.
pub(super) fn trouble(trouble: Trouble) -> ! {
    send(&Report::Trouble(trouble.to_string()))
}

/// The caller was stopped in the middle of a run.
pub(super) fn stopped(misuse: Misuse, session: Session, stacks: Stacks) -> ! {
    let Some(Ongoing { config, phase, plan }) = ONGOING.take() else {
        send(&Report::Trouble(format!("outside a run: {misuse}")))
    };
    keep_stacks(stacks);
    let (told, _) = session.end(&config);
    found(&Finding { phase, ..Finding::new(misuse, plan, told) })
}

/// The caller's mistake.
pub(super) fn found(finding: &Finding) -> ! {
    let place = |source: Source| (source.file.to_owned(), source.line, source.column);
    let Misuse { rule, says, at, asked_at, freed_at, panicked_at, about } = finding.misuse.clone();
    let stacks = STACKS.take().map(|stacks| stacks.of(about)).unwrap_or_default();
    send(&Report::Found(Box::new(Told {
        phase: finding.phase as usize,
        nr_runs: NR_RUNS.get(),
        rule: rule as usize,
        says,
        at: at.map(place),
        asked_at: asked_at.map(place),
        freed_at: freed_at.map(place),
        panicked_at,
        about,
        plan: finding.plan.to_string(),
        trace: finding.trace.to_string(),
        stacks,
    })))
}

/// All of it was tried, and nothing was found.
pub(super) fn explored(explored: Explored) -> ! {
    let Explored { nr_runs, nr_requests, nr_refused, nr_by_vmalloc, nr_sites } = explored;
    let counts = [nr_runs, nr_requests, nr_refused, nr_by_vmalloc, nr_sites.into()];
    send(&Report::Explored(counts))
}

/// The counts of an exploration.
pub(super) fn counted(counts: [u64; 5]) -> Explored {
    let [nr_runs, nr_requests, nr_refused, nr_by_vmalloc, nr_sites] = counts;
    Explored { nr_runs, nr_requests, nr_refused, nr_by_vmalloc, nr_sites: nr_sites as u32 }
}

/// A text that is kept for ever, once.
fn interned(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = texts.get(text) {
        return known;
    }
    let kept: &'static str = String::leak(text.to_owned());
    texts.insert(kept);
    kept
}

impl Told {
    /// The finding that was told, or why it is none.
    pub(super) fn finding(&self) -> Result<Finding, String> {
        let place = |place: &Option<Place>| {
            let (file, line, column) = place.as_ref()?;
            Some(Source { file: interned(file), line: *line, column: *column })
        };
        let plan: Plan = self.plan.parse().map_err(|error| format!("{error}"))?;
        let (rule, phase) = (RULES.get(self.rule), PHASES.get(self.phase));
        let (Some((rule, ..)), Some((phase, _))) = (rule, phase) else {
            return Err("a rule or a phase that there is not".into());
        };
        let misuse = Misuse {
            rule: *rule,
            says: self.says.clone(),
            at: place(&self.at),
            asked_at: place(&self.asked_at),
            freed_at: place(&self.freed_at),
            panicked_at: self.panicked_at.clone(),
            about: self.about,
        };
        Ok(Finding {
            nr_decisions_before: Finding::nr_decisions_of(&plan),
            misuse,
            plan,
            trace: Trace::parse(&self.trace).map_err(|error| error.to_string())?,
            phase: *phase,
            nr_runs: self.nr_runs,
        })
    }
}
