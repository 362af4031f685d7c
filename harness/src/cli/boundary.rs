//! `kvroute boundary`: the ends of every argument of every call, all of them or a sample.
//!
//! The cases are `crate::boundary`'s; here they are dealt out to threads in parts, and a
//! failure is shrunk and written down as `kvroute run` does it.
//!
//! Nothing is drawn here but the numbers of a sample.

use crate::boundary::{self, Block, Tally};
use crate::campaign::{Campaign, FREES};
use crate::cli::checker::Checker::Here;
use crate::cli::document::Document;
use crate::cli::memory::MemoryOption;
use crate::cli::{Outcome, finding, interrupt, output, parse_our_campaign, pool, ranges};
use crate::report;
use indicatif::{ProgressBar, ProgressStyle};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

/// Cases that a thread takes at once.
const NR_CASES_A_PART: u64 = 4096;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaign whose lanes are run.
    #[arg(value_parser = parse_our_campaign, default_value = FREES.name)]
    campaign: &'static Campaign,
    /// Run so many cases of each call in each state (all if not given).
    #[arg(long, value_name = "N", value_parser = ranges::sample)]
    sample: Option<NonZero<u64>>,
    /// Where a sample comes from; the same seed gives the same cases.
    #[arg(long, default_value_t = 1, allow_hyphen_values = true, value_parser = ranges::seed)]
    seed: u64,
    /// Only the calls whose C name has this in it.
    #[arg(long, value_name = "PART")]
    call: Option<String>,
    /// How many threads (as many as there are cores and memory for, if not given).
    #[arg(long, value_name = "N", value_parser = ranges::jobs)]
    jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    memory: MemoryOption,
    /// Where a failing trace goes; `-` is standard output, and the report then goes to standard
    /// error.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A part of a block: which, and which of its cases.
struct Part<'a> {
    block: &'a Block,
    cases: Vec<u64>,
}

pub(crate) fn boundary(options: &Options, document: &mut Document) -> Outcome {
    output::give_stdout_to(options.output.as_deref());
    let part = options.call.as_deref().unwrap_or_default();
    let mut blocks = boundary::blocks();
    blocks.retain(|block| block.call().contains(part));
    if blocks.is_empty() {
        return Err(format!("no call has '{part}' in its name"));
    }
    let size = |block: &Block| options.sample.map_or(block.nr_cases(), NonZero::get);
    let total: u64 = blocks.iter().map(size).sum();
    // Where each block's parts begin, so that a part is found by its number.
    let parts = |block: &Block| size(block).div_ceil(NR_CASES_A_PART);
    let starts: Vec<u64> = blocks
        .iter()
        .scan(0, |sum, block| Some(std::mem::replace(sum, *sum + parts(block))))
        .collect();
    let nr_parts = blocks.iter().map(parts).sum::<u64>();
    let part = |number: u64| {
        let place = starts.partition_point(|start| *start <= number) - 1;
        let block = &blocks[place];
        let from = (number - starts[place]) * NR_CASES_A_PART;
        let numbers = from..(from + NR_CASES_A_PART).min(size(block));
        let draw = |number| match options.sample {
            Some(_) => block.sampled(options.seed, place as u64, number),
            None => number,
        };
        Part { block, cases: numbers.map(draw).collect() }
    };
    let work = |number| {
        (number < nr_parts).then(|| {
            let Part { block, cases } = part(number);
            block.run(options.campaign, &cases)
        })
    };
    let start = Instant::now();
    let bar = bar(total);
    let mut sum = Tally::new(options.campaign);
    let jobs = options.memory.jobs(options.jobs, boundary::bound(options.campaign, &blocks))?;
    let objection = pool::in_order(jobs, work, |number, result| match result {
        None => ControlFlow::Break(None),
        Some(Err(failure)) => ControlFlow::Break(Some((number, failure))),
        Some(Ok(tally)) => {
            bar.set_message(part(number).block.name());
            bar.inc(tally.nr_cases);
            sum.add(&tally);
            match interrupt::received() {
                Some(_) => ControlFlow::Break(None),
                None => ControlFlow::Continue(()),
            }
        }
    });
    bar.finish_and_clear();
    if let Some((number, failure)) = objection? {
        let Options { campaign, output, .. } = options;
        let how = format!("kvroute boundary {}, {}", campaign.name, part(number).block.name());
        finding::shrink_and_keep(document, (campaign, &Here), &failure, output.as_deref(), &how);
        return Ok(());
    }
    let mut calls: Vec<&str> = blocks.iter().map(Block::call).collect();
    calls.dedup();
    let ended = if document.is_interrupted() { " until it was ended" } else { "" };
    let seconds = start.elapsed().as_secs_f64();
    let cases = counted(&sum, calls.len());
    let campaign = options.campaign.name;
    document.say(&format!(
        "campaign {campaign}: no objection{ended} to {cases}, in {seconds:.1} s\n{}",
        report::text(&sum.stats),
    ));
    Ok(())
}

/// How many cases were run, and of how many calls.
fn counted(sum: &Tally, nr_calls: usize) -> String {
    format!(
        "{} cases of {nr_calls} calls, {} of which no lane could carry out",
        report::grouped(sum.nr_cases),
        report::grouped(sum.nr_skipped),
    )
}

fn bar(nr_cases: u64) -> ProgressBar {
    let template = "{wide_bar} {human_pos} of {human_len} cases, {eta} left  {msg}";
    let style = ProgressStyle::with_template(template).expect("a fixed template");
    ProgressBar::new(nr_cases).with_style(style)
}
