//! `kvroute live run`: a command under a plan.
//!
//! The plan is taken back before anything is said, and by `super::restore` also if nothing can be
//! said any more. What the command says is its own; an exit code of it that is not 0 is an
//! objection, like a report, and like a plan that was to decide requests and came to none.

use super::command::{self, Terminal};
use super::module::Module;
use super::plan::{Plan, Way};
use super::report::{counted, tell_of};
use super::restore::Restore;
use super::stream::Stream;
use super::told::{Counts, Told};
use crate::cli::Outcome;
use crate::cli::document::Document;
use crate::cli::output::shown;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The plan's words, as permille=500 seed=7 callers=ext4:*; those that are not said are as if
    /// the module had just been loaded. With none, the plan stays the module's own.
    words: Vec<String>,
    /// Keep in this file what the module records meanwhile, for `kvroute replay`.
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// The command and its arguments, after --. It finds the plan in `KVROUTE_PLAN`.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(super) fn run(options: &Options, sys: &Path, document: &mut Document) -> Outcome {
    let asked = asked_plan(&options.words)?;
    if options.recording.as_deref() == Some(Path::new("-")) {
        return Err("--recording -: what the command says goes there; name a file".to_owned());
    }
    let (module, lock) = Module::claim(sys)?;
    let own = module.plan()?;
    let plan = asked.unwrap_or_else(|| own.clone());
    refuse_off(&plan)?;
    let restore = Restore::promise(&module.settings(&own), lock)?;
    let before = module.told()?;
    let keep = |path: &PathBuf| Stream::begin(&module.recording(), path);
    let recording = options.recording.as_ref().map(keep).transpose()?;
    module.set(&plan)?;
    let start = Instant::now();
    let text = plan.to_string();
    let variables = [("KVROUTE_PLAN", OsStr::new(&text))];
    let status = command::run(&options.command, &variables, Terminal::Shared)?;
    let seconds = start.elapsed().as_secs_f64();
    module.switch_off()?;
    let after = module.told()?;
    let kept = restore.keep();
    let counts = after.counts.since(&before.counts);
    document.say(&format!("plan: {plan}\n{} ({seconds:.1} s)\n", command::in_words(status)));
    document.say(&format!("{}\n", counted(&counts)));
    let is_ended = document.is_interrupted();
    let reports = after.reports_since(&before);
    tell_of(&reports, document);
    let nr_untold = after.nr_untold_since(&before);
    if nr_untold > 0 {
        let what = format!("{nr_untold} that the module has no place for; see the log");
        document.shortfall("reported", &what);
    }
    if !is_ended && !status.success() {
        document.shortfall("the command fails", &command::in_words(status));
    }
    if !is_ended && nr_decided(&plan, &counts, &after) == 0 {
        document.shortfall("nothing was routed", &format!("no request fits the plan {plan}"));
    }
    // What was found comes before what could not be done.
    if let Some(recording) = recording {
        tell_recorded(recording, document);
    }
    if let Err(error) = kept {
        document.error(None, &error);
    }
    Ok(())
}

/// The plan that some words say; none if there are none.
pub(super) fn asked_plan(words: &[String]) -> Result<Option<Plan>, String> {
    if words.is_empty() { Ok(None) } else { words.join(" ").parse().map(Some) }
}

/// A run under a plan that decides nothing shows nothing.
pub(super) fn refuse_off(plan: &Plan) -> Outcome {
    if plan.is_off() {
        return Err(format!(
            "the plan {plan} decides nothing; say what it is to do, as in permille=500, or fail=3"
        ));
    }
    Ok(())
}

/// How many requests were decided as the plan says. Of those that are only watched, the module
/// counts all as Linux's own, and by caller those that the plan was asked about.
fn nr_decided(plan: &Plan, counts: &Counts, after: &Told) -> u64 {
    let nr_routed = match plan.way {
        _ if plan.permille == 0 => 0,
        Way::Vmalloc => counts.of("by_vmalloc"),
        Way::Slab => counts.of("by_slab"),
        Way::Policy => after.callers.iter().map(|caller| caller.nr_planned).sum(),
    };
    nr_routed + counts.of("failed")
}

fn tell_recorded(recording: Stream, document: &mut Document) {
    let path = recording.path().to_owned();
    match recording.end() {
        Ok(0) => document.say(&format!("recorded: {}\n", shown(&path))),
        Ok(nr_lost) => document.say(&format!(
            "recorded: {}, but for {nr_lost} records that came faster than they were read\n",
            shown(&path)
        )),
        Err(error) => document.error(Some(&path), &error),
    }
}
