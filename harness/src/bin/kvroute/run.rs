//! `kvroute run`: the direct driver, which generates traces and checks them as fast as it can.
//!
//! The one idea: trace `n` of a run comes from the seed and `n` alone, so a failure names the pair
//! that repeats it, and its shrunk trace is written to a file before anything else is said.
//!
//! There is no feedback from coverage here; `ci/fuzz.sh` has that.

use crate::{Outcome, Trouble, parse_campaign, pool, say, shrink, write};
use indicatif::{ProgressBar, ProgressStyle};
use kvroute_harness::campaign::Campaign;
use kvroute_harness::generate::generate;
use kvroute_harness::paint::mix;
use kvroute_harness::{Failure, Stats, check, report};
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
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    ops: Option<u64>,
    /// Stop after this many seconds (10 if neither is given).
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Where the traces come from; the same seed gives the same traces.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many threads; the report is the same for any number (all cores if not given).
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Where a failing trace goes.
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

pub(crate) fn run(options: &Options) -> Outcome {
    let goal = match (options.ops, options.seconds) {
        (Some(ops), _) => Goal::Ops(ops),
        (None, seconds) => Goal::Time(Duration::from_secs(seconds.unwrap_or(10))),
    };
    let bar = ProgressBar::new(goal.total()).with_style(
        ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}").expect("a fixed template"),
    );
    let start = Instant::now();
    let mut stats = Stats::new(options.campaign.lanes);
    let jobs = options.jobs.unwrap_or_else(pool::default_jobs);
    let work = |trace_number| {
        let seed = mix(options.seed, trace_number);
        let trace = generate(&options.campaign.profile, &mut fastrand::Rng::with_seed(seed));
        check(options.campaign, &trace)
    };
    let objection = pool::in_order(jobs, work, |trace_number, result| {
        if goal.done(&stats, start) >= goal.total() {
            return ControlFlow::Break(None);
        }
        if trace_number.is_multiple_of(64) {
            bar.set_position(goal.done(&stats, start).min(goal.total()));
            bar.set_message(speed(&stats, start, jobs));
        }
        match result {
            Ok(counts) => stats.add(&counts),
            Err(failure) => return ControlFlow::Break(Some((trace_number, failure))),
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    if let Some((trace_number, failure)) = objection {
        return Err(fail(options, trace_number, &failure)?);
    }
    if options.json {
        let mut counts = report::json(&stats);
        counts["campaign"] = options.campaign.name.into();
        counts["seed"] = options.seed.into();
        counts["jobs"] = jobs.get().into();
        counts["seconds"] = start.elapsed().as_secs_f64().into();
        say(&format!("{counts:#}\n"));
    } else {
        let Options { campaign, seed, .. } = options;
        let speed = speed(&stats, start, jobs);
        let counts = report::text(&stats);
        say(&format!("campaign {}, seed {seed}: no objection\n{speed}\n{counts}", campaign.name));
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

/// Shrinks a failing trace and writes it down.
fn fail(options: &Options, trace_number: u64, failure: &Failure) -> Result<Trouble, Trouble> {
    let found = format!(
        "kvroute run {} --seed {}, trace {trace_number}",
        options.campaign.name, options.seed
    );
    write_down(options.campaign, failure, &found, options.output.clone())
}

/// Shrinks a failing trace that `found_by` has found, and writes it to a file, of the campaign's
/// name if none is given.
pub(crate) fn write_down(
    campaign: &'static Campaign,
    failure: &Failure,
    found_by: &str,
    output: Option<PathBuf>,
) -> Result<Trouble, Trouble> {
    let shrunk = shrink::shrink_failure(campaign, failure);
    let path = output.unwrap_or_else(|| format!("{}.failing.trace", campaign.name).into());
    let mut trace = shrunk.trace.clone();
    trace.why = vec![
        format!("The {} oracle objects: {}", shrunk.oracle, shrunk.reason),
        format!("Found by {found_by}, and shrunk from {} ops.", failure.trace.ops.len()),
    ];
    write(&path, &trace.to_string())?;
    say(&format!("{}\n", Failure { file: Some(path), ..shrunk }));
    Ok(Trouble::Failure)
}
