//! `kvroute live shrink`: a plan under which a command fails, halved until it names one request.
//!
//! The command must pass without routing, and fail in the same way each time. The search is
//! `super::halve`'s, a run `super::trial`'s.

use super::command::Terminal;
use super::halve;
use super::module::Module;
use super::plan::{Plan, Way};
use super::restore::Restore;
use super::run::{asked_plan, refuse_off};
use super::told::Told;
use super::trial::{Kind, Place, Tried};
use crate::cli::document::Document;
use crate::cli::output::cut_words;
use crate::cli::{Outcome, interrupt};
use os_display::Quotable;
use std::ffi::OsString;
use std::path::Path;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The plan's words, as in run; together or one by one.
    #[arg(required = true)]
    words: Vec<String>,
    /// The command starts a guest under the plan in `KVROUTE_PLAN`, and leaves what the guest's
    /// module told in the folder `KVROUTE_TOLD`; this machine's module is not looked at.
    #[arg(long)]
    guests: bool,
    /// The command and its arguments, after --.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// A search, and what it has learnt.
struct Search<'a> {
    place: Place,
    command: &'a [OsString],
    document: &'a Document,
    nr_runs: usize,
}

pub(super) fn shrink(options: &Options, sys: &Path, document: &mut Document) -> Outcome {
    let plan = asked_plan(&options.words)?.unwrap_or_default();
    refuse_off(&plan)?;
    let (place, restore) = if options.guests {
        let folder =
            tempfile::tempdir().map_err(|error| format!("a folder for guests: {error}"))?;
        (Place::Guests(folder), None)
    } else {
        let (module, lock) = Module::claim(sys)?;
        let restore = Restore::promise(&module.settings(&module.plan()?), lock)?;
        (Place::Machine(module), Some(restore))
    };
    let command = &options.command;
    let mut search = Search { place, command, document, nr_runs: 0 };
    let found = search.search(&plan);
    let nr_runs = search.nr_runs;
    if let Some(Err(error)) = restore.map(Restore::keep) {
        document.error(None, &error);
    }
    if document.is_interrupted() {
        return Ok(());
    }
    let (smallest, kind) = found?;
    document.shortfall(&format!("found in {nr_runs} runs"), &sentence(&smallest, &kind));
    document.say(&format!("repeat: {}\n", repeat(options, &smallest)));
    Ok(())
}

impl Search<'_> {
    /// The smallest plan that fails as this one does, and how that is.
    fn search(&mut self, plan: &Plan) -> Result<(Plan, Kind), String> {
        if let Some(kind) = self.run(&Plan::default(), Terminal::Seen)?.kinds.first() {
            return Err(format!("it fails without routing too ({kind}), so there is no culprit"));
        }
        let tried = self.run(plan, Terminal::Seen)?;
        let Some(kind) = tried.kinds.first().cloned() else {
            let untold = match tried.told {
                Some(_) => "",
                None => "; nothing is left in KVROUTE_TOLD, so perhaps no guest has run",
            };
            return Err(format!("it does not fail under {plan}: nothing is to be shrunk{untold}"));
        };
        let told = self.telling(tried.told, plan)?;
        let mut nr_last = 0;
        let mut names = Vec::new();
        for caller in told.callers.iter().filter(|caller| caller.nr_planned > 0) {
            names.push(caller.name.clone());
            nr_last = nr_last.max(caller.nr_planned);
        }
        if names.is_empty() {
            return Err("no caller is told that the plan was asked about".to_owned());
        }
        let nr_names = names.len();
        let of = |names: &[String]| Plan { callers: names.join(","), ..plan.clone() };
        let names = halve::callers(names, |part| self.fails(&of(part), &kind))?;
        // Those that are needed together may be more than the module can be told by name.
        let are_all_needed = names.len() == nr_names;
        let chosen = if are_all_needed && nr_names > 1 { plan.clone() } else { of(&names) };
        // Where there was nothing to halve, or no half failed, it has failed only once so far.
        if are_all_needed && !self.fails(&chosen, &kind)? {
            return Err("it does not fail again, so it depends on more than the plan".to_owned());
        }
        let all = *plan.requests.start()..=nr_last.min(*plan.requests.end());
        let among = |requests| Plan { requests, ..chosen.clone() };
        let requests = halve::requests(all, |part| self.fails(&among(part.clone()), &kind))?;
        Ok((among(requests), kind))
    }

    /// What was told, or what a guest tells that is only watched.
    fn telling(&mut self, told: Option<Told>, plan: &Plan) -> Result<Told, String> {
        if let Some(told) = told {
            return Ok(told);
        }
        let watched = Plan { permille: 1000, fail: 0, way: Way::Policy, ..plan.clone() };
        let told = self.run(&watched, Terminal::Hidden)?.told;
        told.ok_or_else(|| "nothing is left in KVROUTE_TOLD, so no caller is known".to_owned())
    }

    /// Whether it fails in this way, and perhaps in others.
    fn fails(&mut self, plan: &Plan, kind: &Kind) -> Result<bool, String> {
        Ok(self.run(plan, Terminal::Hidden)?.kinds.contains(kind))
    }

    fn run(&mut self, plan: &Plan, terminal: Terminal) -> Result<Tried, String> {
        let tried = self.place.run(self.command, plan, terminal)?;
        if let Some(signal) = interrupt::received() {
            return Err(format!("ended by {}", signal.name()));
        }
        self.nr_runs += 1;
        let kinds: Vec<String> = tried.kinds.iter().map(Kind::to_string).collect();
        let kinds = if kinds.is_empty() { "passes".to_owned() } else { kinds.join(", ") };
        self.document.say(&cut_words(&format!("{:3}  {kinds:24}  {plan}\n", self.nr_runs)));
        Ok(tried)
    }
}

fn sentence(plan: &Plan, kind: &Kind) -> String {
    let (first, last) = (plan.requests.start(), plan.requests.end());
    let requests = match first == last {
        true => format!("request {first}"),
        // Neither half was enough.
        false => format!("more than one of the requests {first} to {last}"),
    };
    let way = plan.way.name();
    let what = match (plan.permille, plan.fail) {
        (_, 0) => format!("is served by {way}"),
        (0, _) => "fails".to_owned(),
        _ => format!("is served by {way} or fails"),
    };
    format!("fails only when {requests} of {} {what} ({kind})", plan.callers)
}

fn repeat(options: &Options, plan: &Plan) -> String {
    let words: Vec<_> = options.command.iter().map(|word| word.maybe_quote().to_string()).collect();
    let (plan, command) = (plan.to_string(), words.join(" "));
    match options.guests {
        true => format!("KVROUTE_PLAN={} {command}", plan.quote()),
        false => format!("kvroute live run {} -- {command}", plan.quote()),
    }
}
