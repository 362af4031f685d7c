//! `kvroute sweep`: what the same requests cost under other cutoffs and in fragmented memory.
//!
//! The one idea: every input is run once for each cutoff and each level of fragmentation, their
//! costs are added up, and one table per kind of cost shows cutoffs down and levels across; the
//! figure shows the same numbers.
//!
//! What is counted is decided in `kvroute_harness::sweep`.

use crate::memory::MemoryOption;
use crate::{Outcome, Trouble, parse_campaign, plot, say, write};
use indicatif::ProgressBar;
use kvroute_harness::campaign::SWEEP;
use kvroute_harness::generate::{Profile, Share, generate};
use kvroute_harness::paint::mix;
use kvroute_harness::recording::Recording;
use kvroute_harness::report::{grouped, table};
use kvroute_harness::sweep::{COLUMNS, CUTOFFS, Column, Costs, LEVELS, prepare, run};
use kvroute_harness::{Campaign, Failure, Trace};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Recordings (ftrace text, plain or .zst), or the names of campaigns.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// How many traces of a campaign.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    traces: u64,
    /// Where a campaign's traces come from; the same seed gives the same traces.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The memory that a recording gets, in percent of what it needs at its peak.
    #[arg(long, default_value_t = 125, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(100..=1000))]
    room: u64,
    /// Print the numbers as JSON.
    #[arg(long)]
    json: bool,
    /// Draw the figure into this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    memory: MemoryOption,
}

/// The costs of all inputs: a row for each cutoff, a cell for each level.
pub(crate) type Grid = Vec<Vec<Costs>>;

pub(crate) fn sweep(options: &Options) -> Outcome {
    let mut traces = Vec::new();
    for input in &options.inputs {
        traces.append(&mut read(options, input)?);
    }
    let grid = fill(&traces)?;
    let names: Vec<String> = options.inputs.iter().map(|input| name(input)).collect();
    if let Some(file) = &options.svg {
        let figure = plot::draw(&names.join(", "), &grid).map_err(Trouble::Input)?;
        write(file, &figure)?;
    }
    if options.json {
        say(&format!("{:#}\n", as_json(&names, &grid)));
    } else {
        say(&as_text(&names, &grid));
    }
    Ok(())
}

/// The traces of an input: the one of a recording, or many of a campaign.
fn read(options: &Options, input: &Path) -> Result<Vec<Trace>, Trouble> {
    let campaign = input.to_str().and_then(|name| parse_campaign(name).ok());
    match campaign.filter(|_| !input.exists()) {
        Some(campaign) => Ok(generated(options, campaign)),
        None if input.exists() => {
            let recording = Recording::open(input).map_err(|error| error.to_string())?;
            let mut trace = recording.trace;
            let frames = (recording.peaks.frames * options.room).div_ceil(100);
            trace.machine.frames = trace.machine.frames.min(frames as u32);
            // The machine is largest where most of its memory is holes.
            let most = LEVELS.iter().copied().max().unwrap_or(0);
            options.memory.admit(&SWEEP, &prepare(&trace, CUTOFFS[0], most), input)?;
            Ok(vec![trace])
        }
        None => Err(Trouble::Input(format!(
            "{} is neither a recording nor a campaign",
            input.display()
        ))),
    }
}

/// What a campaign generates, without what makes requests fail on purpose.
fn generated(options: &Options, campaign: &Campaign) -> Vec<Trace> {
    let plain = Profile {
        misuse: Share(0),
        faults: Share(0),
        nofail: Share(0),
        policies: Share(0),
        ..campaign.profile
    };
    let trace = |number| generate(&plain, &mut fastrand::Rng::with_seed(mix(options.seed, number)));
    (0..options.traces).map(trace).collect()
}

fn fill(traces: &[Trace]) -> Result<Grid, Trouble> {
    let bar = ProgressBar::new((CUTOFFS.len() * LEVELS.len()) as u64);
    let mut grid = Grid::new();
    for &cutoff in CUTOFFS {
        let mut row = Vec::new();
        for &level in LEVELS {
            let mut sum = None;
            for trace in traces {
                let costs = run(&prepare(trace, cutoff, level)).map_err(|failure| {
                    bar.finish_and_clear();
                    fail(&failure)
                })?;
                sum = Some(Costs::add(sum, costs));
            }
            row.extend(sum);
            bar.inc(1);
        }
        grid.push(row);
    }
    bar.finish_and_clear();
    Ok(grid)
}

fn fail(failure: &Failure) -> Trouble {
    let path = PathBuf::from("sweep.failing.trace");
    if let Err(trouble) = write(&path, &failure.trace.to_string()) {
        return trouble;
    }
    say(&format!("{}\n", Failure { file: Some(path), ..failure.clone() }));
    Trouble::Failure
}

fn name(input: &Path) -> String {
    input.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn as_text(names: &[String], grid: &Grid) -> String {
    let requests = grid[0][0].requests;
    let mut text = format!(
        "{}: {} kvmalloc requests above a page\nacross: percent of free memory in single holes\n",
        names.join(", "),
        grouped(requests)
    );
    for column in COLUMNS {
        text += &format!("\n{}\n\n{}", column.name, as_table(column, grid));
    }
    text
}

fn as_table(column: &Column, grid: &Grid) -> String {
    let levels = LEVELS.iter().map(|level| format!("{level} %"));
    let mut rows = vec![std::iter::once("cutoff in pages".to_owned()).chain(levels).collect()];
    for (cutoff, costs) in CUTOFFS.iter().zip(grid) {
        let cells = costs.iter().map(|costs| column.show(costs));
        rows.push(std::iter::once(cutoff.name()).chain(cells).collect());
    }
    table(&rows)
}

fn as_json(names: &[String], grid: &Grid) -> Value {
    let rows = CUTOFFS.iter().zip(grid).flat_map(|(cutoff, row)| {
        let cell = |(level, costs): (&u32, &Costs)| {
            json!({ "cutoff": cutoff.name(), "fragmented": level, "costs": costs })
        };
        LEVELS.iter().zip(row).map(cell).collect::<Vec<Value>>()
    });
    json!({ "inputs": names, "rows": rows.collect::<Vec<Value>>() })
}
