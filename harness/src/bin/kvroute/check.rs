//! `kvroute check` and `kvroute show`: traces from files, judged and explained.
//!
//! The one idea: a file that a person names is read strictly. If that fails and the bytes are a
//! fuzzer's artefact, it is read as the fuzzer read it, and the number of dropped lines is said.

use crate::memory::MemoryOption;
use crate::{Outcome, Trouble, parse_campaign, read, say};
use kvroute_harness::campaign::Campaign;
use kvroute_harness::{Failure, Stats, Trace, check_expected, exec, report};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaign.
    #[arg(value_parser = parse_campaign)]
    campaign: &'static Campaign,
    /// Trace files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    memory: MemoryOption,
    /// Print the verdicts and counts as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ShowOptions {
    /// The campaign down whose lanes the trace is run.
    #[arg(value_parser = parse_campaign)]
    campaign: &'static Campaign,
    /// The trace.
    file: PathBuf,
    #[command(flatten)]
    memory: MemoryOption,
}

/// Whether a file is a fuzzer's artefact, by the names that libFuzzer gives.
fn is_artefact(path: &Path) -> bool {
    const PREFIXES: [&str; 5] = ["crash-", "leak-", "timeout-", "oom-", "slow-unit-"];
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_hash = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Reads a trace strictly, or leniently if it is a fuzzer's artefact.
pub(crate) fn read_trace(path: &Path) -> Result<Trace, Trouble> {
    let bytes = read(path)?;
    if is_artefact(path) {
        let trace = Trace::parse_lenient(&bytes);
        if trace.nr_dropped_lines > 0 {
            let nr_dropped = trace.nr_dropped_lines;
            eprintln!("{}: {nr_dropped} lines did not parse and were dropped", path.display());
        }
        return Ok(trace);
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        format!("{}: line {line}: expected UTF-8 text", path.display())
    })?;
    Trace::parse(text).map_err(|error| Trouble::Input(format!("{}: {error}", path.display())))
}

/// The files to check: those named, and those in the folders named, in order.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let trouble = |error| Trouble::Input(format!("{}: {error}", path.display()));
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(trouble)? {
            inside.push(entry.map_err(trouble)?.path());
        }
        inside.retain(|path| path.is_file());
        inside.sort();
        if inside.is_empty() {
            return Err(Trouble::Input(format!("{}: no file in this folder", path.display())));
        }
        files.append(&mut inside);
    }
    Ok(files)
}

pub(crate) fn check(options: &Options) -> Outcome {
    let mut stats = Stats::new(options.campaign.lanes);
    let mut verdicts = Vec::new();
    let mut nr_failures = 0;
    let files = files(&options.paths)?;
    for path in &files {
        let trace = read_trace(path)?;
        options.memory.admit(options.campaign, &trace, path)?;
        match check_expected(options.campaign, &trace) {
            Ok(counts) => {
                stats.add(&counts);
                verdicts.push(json!({ "file": path, "verdict": "ok" }));
            }
            Err(failure) => {
                nr_failures += 1;
                verdicts.push(json!({
                    "file": path, "verdict": "failure", "oracle": failure.oracle,
                    "lane": failure.lane, "op": failure.op, "reason": failure.reason,
                }));
                if !options.json {
                    let failure = Failure { file: Some(path.clone()), ..*failure };
                    say(&format!("{}:\n{failure}\n\n", path.display()));
                }
            }
        }
    }
    if options.json {
        let counts = report::json(&stats);
        let campaign = options.campaign.name;
        let all = json!({ "campaign": campaign, "files": verdicts, "counts": counts });
        say(&format!("{all:#}\n"));
    } else {
        let counts = if nr_failures == 0 { report::text(&stats) } else { String::new() };
        say(&format!("files checked: {}, failed: {nr_failures}\n{counts}", files.len()));
    }
    if nr_failures == 0 { Ok(()) } else { Err(Trouble::Failure) }
}

pub(crate) fn show(options: &ShowOptions) -> Outcome {
    let trace = read_trace(&options.file)?;
    options.memory.admit(options.campaign, &trace, &options.file)?;
    let shown = exec::explain(options.campaign, &trace);
    let names = options.campaign.lanes.iter().map(|lane| lane.name.to_owned());
    let mut rows = vec![std::iter::once(String::new()).chain(names).collect::<Vec<_>>()];
    let text = Trace { why: Vec::new(), ..trace.clone() }.to_string();
    for (line, answers) in text.lines().skip(1).zip(&shown.answers) {
        rows.push(std::iter::once(line.to_owned()).chain(answers.iter().cloned()).collect());
    }
    let why: String = trace.why.iter().map(|why| format!("# {why}\n")).collect();
    let machine = text.lines().next().unwrap_or_default();
    say(&format!("{why}{machine}\n{}", report::table(&rows)));
    match shown.failure {
        Some(failure) => {
            let failure = Failure { file: Some(options.file.clone()), ..*failure };
            say(&format!("\n{failure}\n"));
            Err(Trouble::Failure)
        }
        None => Ok(()),
    }
}
