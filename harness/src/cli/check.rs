//! `kvroute check`: traces from files and folders, judged.
//!
//! With `--caller` it is not an allocator that is judged, but the traces, as code that takes
//! memory. Their own calls say then which allocator they are run with.
//!
//! One file that cannot be read, or one that fails, does not keep the others from being looked at.
//! All of them are counted.

use crate::campaign::{CALLERS, Campaign, of_caller};
use crate::cli::checker::{Checker, IsolationOption};
use crate::cli::document::Document;
use crate::cli::input::{Found, ReadingOption, as_read, files};
use crate::cli::memory::MemoryOption;
use crate::cli::output::shown;
use crate::cli::{Outcome, parse_campaign};
use crate::exec::Expectations;
use crate::verdict::Reading;
use crate::{Failure, Stats, Trace, report};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaign, which may be left out with `--caller`; behind it trace files, or folders of
    /// them; `-` is the standard input.
    #[arg(required = true, value_names = ["CAMPAIGN", "PATHS"], num_args = 1..)]
    named: Vec<PathBuf>,
    /// Judge the traces as callers: a wrong free, a leak, or a call that Linux warns of is a fault
    /// of the trace, and the route is named on which it is one. The campaign makes no difference.
    #[arg(long, conflicts_with = "isolate")]
    caller: bool,
    #[command(flatten)]
    reading: ReadingOption,
    #[command(flatten)]
    memory: MemoryOption,
    #[command(flatten)]
    isolation: IsolationOption,
    /// Print the verdicts and counts as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// The campaign in which the traces are judged, or none if they are as callers; and where they
    /// are.
    fn named(&self) -> Result<(Option<&'static Campaign>, &[PathBuf]), String> {
        let (first, rest) = self.named.split_first().unwrap_or_else(|| unreachable!("required"));
        let campaign = parse_campaign(&first.to_string_lossy());
        let (campaign, paths) = match (campaign, self.caller) {
            (Err(_), true) => (None, &self.named[..]),
            (Ok(_), true) => (None, rest),
            (Err(message), false) => return Err(format!("{}: {message}", shown(first))),
            (Ok(campaign), false) => (Some(campaign), rest),
        };
        match paths {
            [] => Err("no trace file is named".to_owned()),
            _ => Ok((campaign, paths)),
        }
    }
}

/// What has been checked so far, and how.
struct Checked {
    /// The campaign that all traces are judged in; without one each is as a caller.
    campaign: Option<&'static Campaign>,
    checker: Checker,
    reading: Reading,
    /// The counts of each campaign that a trace was judged in.
    stats: Vec<(&'static Campaign, Stats)>,
    files: Vec<Value>,
    nr_passed_over: usize,
}

pub(crate) fn check(options: &Options, document: &mut Document) -> Outcome {
    let (campaign, paths) = options.named()?;
    let mut checked = Checked {
        campaign,
        checker: options.isolation.checker(campaign.unwrap_or(&CALLERS)),
        reading: options.reading.reading(),
        stats: campaign
            .map(|campaign| (campaign, Stats::new(campaign.lanes)))
            .into_iter()
            .collect(),
        files: Vec::new(),
        nr_passed_over: 0,
    };
    for found in files(paths) {
        if document.is_interrupted() {
            break;
        }
        let (path, trace) = match found {
            Found::PassedOver => {
                checked.nr_passed_over += 1;
                continue;
            }
            Found::Unreadable(path, why) => {
                let message = format!("{}: {why}", shown(&path));
                (path, Err(message))
            }
            Found::File(path) => {
                let trace = options.memory.read(&path, checked.reading, |trace| {
                    campaign.unwrap_or_else(|| of_caller(trace))
                });
                (path, trace)
            }
        };
        let verdict = match trace {
            Ok(trace) => checked.judge(&path, &trace, document),
            Err(message) => {
                document.error(Some(&path), &message);
                "error"
            }
        };
        checked.files.push(json!({ "file": path.to_string_lossy(), "verdict": verdict }));
    }
    summarise(checked, document);
    Ok(())
}

impl Checked {
    /// Runs a trace, and tells what there is to tell.
    fn judge(&mut self, path: &Path, trace: &Trace, document: &mut Document) -> &'static str {
        let reading = self.reading;
        if let Some(as_read) = as_read(trace, reading) {
            document.say(&format!("{}: {as_read}\n", shown(path)));
        }
        let campaign = self.campaign.unwrap_or_else(|| of_caller(trace));
        match self.checker.check(campaign, trace, Expectations::Checked) {
            Ok(counts) => {
                self.add(campaign, &counts);
                if counts.nr_lane_ops == 0 {
                    let message = "every op was skipped in every lane, so nothing was tried";
                    document.warning(Some(path), &format!("{}: {message}", shown(path)));
                }
                "ok"
            }
            Err(failure) => {
                let failure = Failure { file: Some(path.to_owned()), reading, ..*failure };
                document.tell(&format!("{}:\n", shown(path)), &failure);
                document.say("\n");
                document.failure(&failure);
                "failure"
            }
        }
    }

    fn add(&mut self, campaign: &'static Campaign, counts: &Stats) {
        match self.stats.iter_mut().find(|(known, _)| known.name == campaign.name) {
            Some((_, stats)) => stats.add(counts),
            None => self.stats.push((campaign, counts.clone())),
        }
    }
}

fn summarise(checked: Checked, document: &mut Document) {
    let Checked { campaign, stats, files, nr_passed_over, .. } = checked;
    let [nr_failures, nr_errors, nr_warnings] = document.counts();
    let nr_checked = files.len() - nr_errors;
    let mut summary = format!("files checked: {nr_checked}, failed: {nr_failures}");
    let others = [
        ("not read", nr_errors),
        ("with a warning", nr_warnings),
        ("passed over (hidden, or no files)", nr_passed_over),
    ];
    for (what, count) in others.into_iter().filter(|(_, count)| *count > 0) {
        summary += &format!(", {what}: {count}");
    }
    let counts = stats.iter().map(|(_, stats)| report::text(stats)).collect::<String>();
    let counts = if nr_failures == 0 && nr_checked > 0 { counts } else { String::new() };
    document.say(&format!("{summary}\n{counts}"));
    document.put("files", files);
    document.put("passed_over", nr_passed_over);
    document.put("campaign", campaign.map(|campaign| campaign.name));
    let named = stats.iter().map(|(campaign, stats)| (campaign.name, report::json(stats)));
    document.put(
        "counts",
        match campaign {
            Some(_) => named.map(|(_, counts)| counts).next(),
            None => Some(named.collect()),
        },
    );
}
