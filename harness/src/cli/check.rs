//! `kvroute check`: traces from files and folders, judged.
//!
//! One file that cannot be read, or one that fails, does not keep the others from being looked at.
//! All of them are counted.

use crate::campaign::Campaign;
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
    /// The campaign.
    #[arg(value_parser = parse_campaign)]
    campaign: &'static Campaign,
    /// Trace files, or folders of them; `-` is the standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
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

/// What has been checked so far, and how.
struct Checked {
    campaign: &'static Campaign,
    checker: Checker,
    reading: Reading,
    stats: Stats,
    files: Vec<Value>,
    nr_passed_over: usize,
}

pub(crate) fn check(options: &Options, document: &mut Document) -> Outcome {
    let mut checked = Checked {
        campaign: options.campaign,
        checker: options.isolation.checker(options.campaign),
        reading: options.reading.reading(),
        stats: Stats::new(options.campaign.lanes),
        files: Vec::new(),
        nr_passed_over: 0,
    };
    for found in files(&options.paths) {
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
                let trace = options.memory.read(options.campaign, &path, checked.reading);
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
        match self.checker.check(self.campaign, trace, Expectations::Checked) {
            Ok(counts) => {
                self.stats.add(&counts);
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
    let counts =
        if nr_failures == 0 && nr_checked > 0 { report::text(&stats) } else { String::new() };
    document.say(&format!("{summary}\n{counts}"));
    document.put("campaign", campaign.name);
    document.put("files", files);
    document.put("passed_over", nr_passed_over);
    document.put("counts", report::json(&stats));
}
