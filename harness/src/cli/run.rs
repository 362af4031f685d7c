//! `kvroute run`: the direct driver, which generates traces and checks them as fast as it can.
//!
//! Trace `n` of a run comes from the seed and `n` alone, so a failure names the pair that repeats
//! it before its trace is shrunk and saved.
//!
//! There is no feedback from coverage here; `ci/fuzz.sh` has that.

use crate::bound::Bound;
use crate::campaign::Campaign;
use crate::cli::checker::IsolationOption;
use crate::cli::document::Document;
use crate::cli::memory::MemoryOption;
use crate::cli::{Outcome, finding, interrupt, output, parse_campaign, pool, ranges};
use crate::paint::mix;
use crate::seed::Kind;
use crate::subject::Pack;
use crate::{Failure, Stats, report};
use indicatif::{ProgressBar, ProgressStyle};
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaign.
    #[arg(value_parser = parse_campaign)]
    campaign: &'static Campaign,
    /// Stop after this many ops times lanes.
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = ranges::ops)]
    ops: Option<u64>,
    /// Stop after this many seconds (10 if neither is given).
    #[arg(long, value_name = "N", value_parser = ranges::seconds)]
    seconds: Option<u64>,
    /// Where the traces come from; the same seed gives the same traces.
    #[arg(long, default_value_t = 1, allow_hyphen_values = true, value_parser = ranges::seed)]
    seed: u64,
    /// How many threads; the report is the same for any number (as many as there are cores and
    /// memory for, if not given).
    #[arg(long, value_name = "N", value_parser = ranges::jobs)]
    jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    memory: MemoryOption,
    #[command(flatten)]
    isolation: IsolationOption,
    /// Of a campaign of heaps, which is led through churns and runs the traces of swarms, one of
    /// the two alone.
    #[arg(long, value_name = "KIND", value_enum)]
    only: Option<Kind>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Where a failing trace goes; `-` is standard output, and the report then goes to standard
    /// error.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How far a run goes.
enum Goal {
    Ops(u64),
    Time(Duration),
}

impl Goal {
    fn done(&self, stats: &Stats, start: Instant) -> u64 {
        match self {
            Goal::Ops(_) => stats.nr_lane_ops,
            Goal::Time(_) => start.elapsed().as_millis() as u64,
        }
    }

    fn total(&self) -> u64 {
        match self {
            Goal::Ops(ops) => *ops,
            Goal::Time(time) => time.as_millis() as u64,
        }
    }
}

/// Why a run ends.
enum End {
    Enough,
    Objection(u64, Box<Failure>),
}

pub(crate) fn run(options: &Options, document: &mut Document) -> Outcome {
    output::give_stdout_to(options.output.as_deref());
    if options.campaign.lanes.iter().any(|lane| lane.packs.contains(&Pack::Caller)) {
        return Err(format!(
            "the traces that `run` makes misuse memory on purpose, which is a failure of each in \
             campaign {0}; a caller as a trace is judged by `kvroute check {0} FILE`, and those in \
             Rust by `kvroute callers`",
            options.campaign.name
        ));
    }
    if options.only == Some(Kind::Churn) && options.campaign.churns.is_empty() {
        return Err(format!("campaign {} has no churns", options.campaign.name));
    }
    let jobs = options
        .memory
        .jobs(options.isolation.jobs(options.jobs), Bound::of_generated(options.campaign))?;
    let goal = match (options.ops, options.seconds) {
        (Some(ops), _) => Goal::Ops(ops),
        (None, seconds) => Goal::Time(Duration::from_secs(seconds.unwrap_or(10))),
    };
    let bar = ProgressBar::new(goal.total()).with_style(
        ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}").expect("a fixed template"),
    );
    let checker = options.isolation.checker(options.campaign);
    let start = Instant::now();
    let mut stats = Stats::new(options.campaign.lanes);
    let seed_of = |number| {
        let seed = mix(options.seed, number);
        options.only.map_or(seed, |kind| kind.seed(seed))
    };
    let work = |number| checker.check_seed(options.campaign, seed_of(number));
    let end = pool::in_order(jobs, work, |trace_number, result| {
        if trace_number.is_multiple_of(64) {
            bar.set_position(goal.done(&stats, start).min(goal.total()));
            bar.set_message(speed(&stats, start, jobs));
        }
        match result {
            Ok(counts) => stats.add(&counts),
            Err(failure) => return ControlFlow::Break(End::Objection(trace_number, failure)),
        }
        if goal.done(&stats, start) >= goal.total() || interrupt::received().is_some() {
            return ControlFlow::Break(End::Enough);
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    document.put("campaign", options.campaign.name);
    document.put("seed", options.seed);
    document.put("jobs", jobs.get());
    document.put("seconds", start.elapsed().as_secs_f64());
    document.put("counts", report::json(&stats));
    match end? {
        End::Objection(trace_number, failure) => {
            let how = how(options, trace_number);
            let output = options.output.as_deref();
            let by = (options.campaign, &checker);
            finding::shrink_and_keep(document, by, &failure, output, &how);
        }
        End::Enough => {
            let Options { campaign, seed, .. } = options;
            let ended = if document.is_interrupted() { " until it was ended" } else { "" };
            let (speed, counts) = (speed(&stats, start, jobs), report::text(&stats));
            let verdict = format!("campaign {}, seed {seed}: no objection{ended}", campaign.name);
            document.say(&format!("{verdict}\n{speed}\n{counts}"));
        }
    }
    Ok(())
}

fn speed(stats: &Stats, start: Instant, jobs: NonZero<usize>) -> String {
    let seconds = start.elapsed().as_secs_f64();
    let rate = stats.nr_lane_ops as f64 / seconds.max(1e-9) / 1e6;
    let nr_lane_ops = report::grouped(stats.nr_lane_ops);
    let threads = if jobs.get() == 1 { "thread" } else { "threads" };
    format!("{nr_lane_ops} lane-ops in {seconds:.1} s, {rate:.2} M/s on {jobs} {threads}")
}

/// What repeats a failure before its trace is saved.
fn how(options: &Options, trace_number: u64) -> String {
    let Options { campaign, seed, only, .. } = options;
    let only = only.map_or("", Kind::option);
    format!("kvroute run {} --seed {seed}{only}, trace {trace_number}", campaign.name)
}
