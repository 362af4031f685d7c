//! `kvroute shrink`: a failing trace, made as short as it can be while the same oracle objects.
//!
//! The one idea: the search is `kvroute_harness::shrink`'s; here it is given its question, whether
//! a candidate still fails in the same way, and its answer is written down as a trace or as a test.

use crate::check::read_trace;
use crate::memory::MemoryOption;
use crate::{Outcome, Trouble, parse_campaign, say, write};
use kvroute_harness::campaign::Campaign;
use kvroute_harness::{Failure, Trace, check_expected, shrink};
use std::path::PathBuf;

/// Candidates that are tried at most; each is a run of the trace.
const NR_CANDIDATES_MAX: usize = 20_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaign in which the trace fails.
    #[arg(value_parser = parse_campaign)]
    campaign: &'static Campaign,
    /// The trace: a file written by people, or a fuzzer's artefact.
    file: PathBuf,
    /// Where the shrunk trace goes; standard output if it is not given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print a regression test in Rust instead of the trace.
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    memory: MemoryOption,
}

pub(crate) fn shrink(options: &Options) -> Outcome {
    let trace = read_trace(&options.file)?;
    options.memory.admit(options.campaign, &trace, &options.file)?;
    let Err(failure) = check_expected(options.campaign, &trace) else {
        let file = options.file.display();
        let message = format!("{file}: no oracle objects, so there is nothing to shrink");
        return Err(Trouble::Input(message));
    };
    let shrunk = shrink_failure(options.campaign, &failure);
    let mut kept = shrunk.trace.clone();
    kept.why = vec![format!("The {} oracle objects: {}", shrunk.oracle, shrunk.reason)];
    let text = if options.test { regression_test(&shrunk, &kept) } else { kept.to_string() };
    match &options.output {
        Some(path) => {
            write(path, &text)?;
            say(&format!("{}\n", Failure { file: Some(path.clone()), ..shrunk }));
        }
        None => say(&text),
    }
    Ok(())
}

/// The shortest trace found in which the same oracle objects, as a failure of its own.
pub(crate) fn shrink_failure(campaign: &'static Campaign, failure: &Failure) -> Failure {
    let mut shortest = failure.clone();
    shrink::shrink(&failure.trace, NR_CANDIDATES_MAX, |candidate| {
        match check_expected(campaign, candidate) {
            Err(found) if found.is_like(failure) => {
                shortest = *found;
                true
            }
            _ => false,
        }
    });
    shortest
}

/// A test to paste into `proptests/tests/`, which fails until the fault is mended.
fn regression_test(failure: &Failure, trace: &Trace) -> String {
    let name = failure.oracle.replace('-', "_");
    let campaign = failure.campaign;
    let body: String = trace.to_string().lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "#[test]\nfn {name}_objects_no_longer_in_{campaign}() {{\n    let trace = r#\"\n{body}    \"#;\n    \
         let trace = kvroute_harness::Trace::parse(trace).expect(\"the trace reads\");\n    \
         let campaign = &kvroute_harness::campaign::{};\n    \
         let verdict = kvroute_harness::check_expected(campaign, &trace);\n    \
         verdict.unwrap_or_else(|failure| panic!(\"{{failure}}\"));\n}}\n",
        campaign.to_uppercase()
    )
}
