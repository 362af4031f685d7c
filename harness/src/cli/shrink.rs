//! `kvroute shrink`: a failing trace, made as short as it can be while the same oracle has the same
//! complaint.
//!
//! The search is `crate::shrink`'s; here it is given its question, whether a candidate
//! still fails in the same way, and its answer is written down as a trace or as a test.

use crate::campaign::Campaign;
use crate::cli::checker::IsolationOption;
use crate::cli::document::Document;
use crate::cli::input::{ReadingOption, as_read};
use crate::cli::memory::MemoryOption;
use crate::cli::output::{self, shown};
use crate::cli::{Outcome, finding, parse_campaign};
use crate::exec::Expectations;
use crate::{Failure, caller, report};
use serde_json::Value;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaign in which the trace fails.
    #[arg(value_parser = parse_campaign)]
    campaign: &'static Campaign,
    /// The trace; `-` is the standard input.
    file: PathBuf,
    #[command(flatten)]
    reading: ReadingOption,
    #[command(flatten)]
    memory: MemoryOption,
    #[command(flatten)]
    isolation: IsolationOption,
    /// Where the shrunk trace goes; standard output if it is not given, or is `-`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a regression test in Rust, a file for `proptests/tests/`, instead of the trace.
    #[arg(long)]
    test: bool,
    /// Print the verdict and the trace as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn shrink(options: &Options, document: &mut Document) -> Outcome {
    let reading = options.reading.reading();
    let trace = options.memory.read(&options.file, reading, |_| options.campaign)?;
    if let Some(as_read) = as_read(&trace, reading) {
        output::complain(&format!("{}: {as_read}", shown(&options.file)));
    }
    let checker = options.isolation.checker(options.campaign);
    let checked = checker.check(options.campaign, &trace, Expectations::Checked);
    let Err(failure) = checked else {
        let file = shown(&options.file);
        return Err(format!("{file}: no oracle objects, so there is nothing to shrink"));
    };
    let shrunk = finding::shrunk(options.campaign, &checker, &failure);
    // Ended by a signal, it is only shorter than it was.
    document.is_interrupted();
    document.put("shrunk_from_ops", trace.ops.len());
    let mut kept = shrunk.trace.clone();
    kept.why = shrunk.why();
    caller::mark(&mut kept);
    let test = options.test.then(|| report::regression_test(&shrunk));
    document.put("test", test.clone().map_or(Value::Null, Value::String));
    let text = test.unwrap_or_else(|| kept.to_string());
    match options.output.as_deref().filter(|path| path.as_os_str() != "-") {
        None => {
            document.say_finding(&text);
            document.failure(&shrunk);
        }
        Some(path) => {
            document.tell("", &shrunk);
            let saved = output::write(path, &text);
            let file = saved.is_ok().then(|| path.to_owned()).filter(|_| !options.test);
            let shrunk = Failure { file, ..shrunk };
            if let Some(command) = shrunk.command() {
                document.say(&format!("\nrepeat: {command}\n"));
            }
            document.failure(&shrunk);
            if let Err(message) = saved {
                document.say_finding(&format!("\n{text}"));
                document.error(Some(path), &message);
            }
        }
    }
    Ok(())
}
