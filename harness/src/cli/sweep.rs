//! `kvroute sweep`: what the same requests cost under other cutoffs and in fragmented memory.
//!
//! Every input is run once for each cutoff and each level of fragmentation, their costs are added
//! up, and one table per kind of cost shows cutoffs down and levels across; the figure shows the
//! same numbers.
//!
//! What is counted is decided in `crate::sweep`.

use crate::bound::Bound;
use crate::campaign::SWEEP;
use crate::cli::checker::Checker;
use crate::cli::document::Document;
use crate::cli::memory::MemoryOption;
use crate::cli::output::{self, shown};
use crate::cli::plot::{self, Grid};
use crate::cli::{Outcome, finding, interrupt, parse_campaign, ranges};
use crate::generate::{Profile, Share, generate, largest_machine};
use crate::paint::mix;
use crate::recording::Recording;
use crate::report::{grouped, table};
use crate::sweep::{COLUMNS, CUTOFFS, Column, Costs, LEVELS, prepare, run};
use crate::{Campaign, Failure, Trace};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Recordings (ftrace text, plain or .zst), or the names of campaigns.
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// How many traces of a campaign.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = ranges::traces)]
    traces: u64,
    /// Where a campaign's traces come from; the same seed gives the same traces.
    #[arg(long, default_value_t = 1, allow_hyphen_values = true, value_parser = ranges::seed)]
    seed: u64,
    /// The memory that a recording gets, in percent of what it needs at its peak.
    #[arg(long, default_value_t = 125, value_name = "PERCENT", value_parser = ranges::room)]
    room: u64,
    /// Print the numbers as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw the figure into this file; `-` is standard output, and the report then goes to standard
    /// error.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    memory: MemoryOption,
}

/// Where traces come from.
enum Source {
    /// The one of a recording.
    Recording(Box<Trace>),
    /// Many of a campaign, each made when it is wanted.
    Campaign(&'static Campaign),
}

pub(crate) fn sweep(options: &Options, document: &mut Document) -> Outcome {
    output::give_stdout_to(options.svg.as_deref());
    let sources = options.inputs.iter().map(|input| read(options, input));
    let sources = sources.collect::<Result<Vec<Source>, String>>()?;
    let names: Vec<String> = options.inputs.iter().map(|input| name(input)).collect();
    document.put("inputs", names.clone());
    let grid = match fill(options, &sources, document) {
        Ok(grid) => grid,
        Err(failure) => {
            let how = format!("kvroute sweep {}", names.join(" "));
            finding::shrink_and_keep(document, (&SWEEP, &Checker::Here), &failure, None, &how);
            return Ok(());
        }
    };
    document.put("rows", as_json(&grid));
    let Some(requests) = grid.first().map(|row| row[0].requests) else {
        document.say("there was no time for a whole row of the table\n");
        return Ok(());
    };
    if requests == 0 {
        let message =
            "no kvmalloc request above a page is in the inputs: no cutoff matters to them";
        document.warning(None, message);
    }
    document.say(&as_text(&names, &grid));
    match &options.svg {
        // The axis of the figure has all cutoffs.
        Some(_) if grid.len() < CUTOFFS.len() => Err("the figure is not drawn".to_owned()),
        Some(file) => output::write(file, &plot::draw(&names.join(", "), &grid)?),
        None => Ok(()),
    }
}

fn read(options: &Options, input: &Path) -> Result<Source, String> {
    let campaign = input.to_str().and_then(|name| parse_campaign(name).ok());
    // The machine is largest where most of its memory is holes.
    let most = LEVELS.iter().copied().max().unwrap_or(0);
    match campaign.filter(|_| !input.exists()) {
        Some(campaign) => {
            let largest = Trace { machine: largest_machine(), ..Trace::default() };
            let Trace { machine, ops, .. } = prepare(&largest, CUTOFFS[0], most);
            let bound = Bound::of_any(&SWEEP, &machine, campaign.profile.nr_ops_max() + ops.len());
            options.memory.admit_bound(bound, input).map(|()| Source::Campaign(campaign))
        }
        None if input.exists() => {
            let recording = Recording::open(input).map_err(|error| error.to_string())?;
            let mut trace = recording.trace;
            let frames = (recording.peaks.frames * options.room).div_ceil(100);
            trace.machine.frames = trace.machine.frames.min(frames as u32);
            options.memory.admit(&SWEEP, &prepare(&trace, CUTOFFS[0], most), input)?;
            Ok(Source::Recording(Box::new(trace)))
        }
        None => Err(format!("{} is neither a recording nor a campaign", shown(input))),
    }
}

impl Source {
    /// Each trace in turn, until one fails or a signal asks for the end.
    fn each<E>(
        &self,
        options: &Options,
        mut run: impl FnMut(&Trace) -> Result<(), E>,
    ) -> Result<(), E> {
        let nr_traces = match self {
            Source::Recording(_) => 1,
            Source::Campaign(_) => options.traces,
        };
        for number in (0..nr_traces).take_while(|_| interrupt::received().is_none()) {
            match self {
                Source::Recording(trace) => run(trace)?,
                Source::Campaign(campaign) => run(&generated(campaign, options.seed, number))?,
            }
        }
        Ok(())
    }
}

/// What a campaign generates, without what makes requests fail on purpose.
fn generated(campaign: &Campaign, seed: u64, number: u64) -> Trace {
    let plain = Profile {
        misuse: Share(0),
        faults: Share(0),
        nofail: Share(0),
        policies: Share(0),
        ..campaign.profile
    };
    generate(&plain, &mut fastrand::Rng::with_seed(mix(seed, number)))
}

/// Fills the table row by row. A signal ends it after the last whole row.
fn fill(
    options: &Options,
    sources: &[Source],
    document: &mut Document,
) -> Result<Grid, Box<Failure>> {
    let bar = ProgressBar::new((CUTOFFS.len() * LEVELS.len()) as u64);
    let mut grid = Grid::new();
    for &cutoff in CUTOFFS {
        let mut row = Vec::new();
        for &level in LEVELS {
            let mut sum = None;
            for source in sources {
                source.each(options, |trace| {
                    sum = Some(Costs::add(sum, run(&prepare(trace, cutoff, level))?));
                    Ok::<(), Box<Failure>>(())
                })?;
            }
            row.extend(sum);
            bar.inc(1);
        }
        if interrupt::received().is_some() {
            break;
        }
        grid.push(row);
    }
    bar.finish_and_clear();
    document.is_interrupted();
    Ok(grid)
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

fn as_json(grid: &Grid) -> Value {
    let rows = CUTOFFS.iter().zip(grid).flat_map(|(cutoff, row)| {
        let cell = |(level, costs): (&u32, &Costs)| {
            json!({ "cutoff": cutoff.name(), "fragmented": level, "costs": costs })
        };
        LEVELS.iter().zip(row).map(cell).collect::<Vec<Value>>()
    });
    rows.collect()
}
