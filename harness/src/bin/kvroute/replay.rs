//! `kvroute replay`: what a real kernel did, and what the lanes do with the same requests.
//!
//! The one idea: a recording becomes a trace and runs down six lanes like any other trace; the
//! table shows, by call and size, from which side the kernel served the requests and from which
//! side each lane did.
//!
//! How a recording is read is in `kvroute_harness::recording`.

mod holds;

use crate::{Outcome, Trouble, say, shrink, write};
use kvroute_harness::campaign::{REPLAY, ROUTED};
use kvroute_harness::exec::{self, Expectations};
use kvroute_harness::op::{Arg, Call, Class, Op};
use kvroute_harness::oracle::View;
use kvroute_harness::recording::{Kernel, Recording, Served};
use kvroute_harness::report::{grouped, table};
use kvroute_harness::{Failure, Stats, check};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Recordings: what tracefs, `trace-cmd report` or `perf script` print of the kmem events and
    /// the kvmalloc and vmalloc probes, plain or .zst.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The recorded kernel: what numbers of GFP flags mean, and which version of kvmalloc it has.
    /// Without it the recording's own header decides, or else Linux 6.1.
    #[arg(long, value_name = "VERSION")]
    kernel: Option<Kernel>,
    /// Print the tables as JSON.
    #[arg(long)]
    json: bool,
    /// Write the trace that a recording becomes to this file (one recording only).
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// How many requests a side served.
#[derive(Clone, Copy, Default)]
struct Sides {
    /// From the direct map: objects, and blocks of the page allocator.
    direct: u64,
    /// From the vmalloc space.
    vmalloc: u64,
    /// Not at all.
    refused: u64,
}

impl Sides {
    /// `direct/vmalloc`, and the refused ones if there are any.
    fn show(self) -> String {
        let Sides { direct, vmalloc, refused } = self;
        if refused == 0 {
            format!("{direct}/{vmalloc}")
        } else {
            format!("{direct}/{vmalloc} -{refused}")
        }
    }

    fn json(self) -> Value {
        json!({ "direct": self.direct, "vmalloc": self.vmalloc, "refused": self.refused })
    }
}

/// One line of the table.
struct Row {
    requests: u64,
    kernel: Sides,
    lanes: Vec<Sides>,
}

/// The lines of the table by call and size class.
type Rows = BTreeMap<(Call, SizeClass), Row>;

/// Sizes that the allocators treat alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SizeClass {
    /// Slab only: no fallback in kvmalloc.
    Page,
    /// A size class that spans pages.
    LargestClass,
    /// Blocks that the page allocator tries hard for.
    CheapBlock,
    /// Costly orders.
    CostlyBlock,
    /// Beyond kmalloc.
    Huge,
}

impl SizeClass {
    fn of(size: u64) -> Self {
        match size {
            0..=0x1000 => SizeClass::Page,
            0x1001..=0x2000 => SizeClass::LargestClass,
            0x2001..=0x8000 => SizeClass::CheapBlock,
            0x8001..=0x40_0000 => SizeClass::CostlyBlock,
            _ => SizeClass::Huge,
        }
    }

    fn name(self) -> &'static str {
        match self {
            SizeClass::Page => "to 4 KiB",
            SizeClass::LargestClass => "to 8 KiB",
            SizeClass::CheapBlock => "to 32 KiB",
            SizeClass::CostlyBlock => "to 4 MiB",
            SizeClass::Huge => "over 4 MiB",
        }
    }
}

pub(crate) fn replay(options: &Options) -> Outcome {
    if options.trace.is_some() && options.paths.len() != 1 {
        return Err(Trouble::Input("--trace takes the trace of one recording".into()));
    }
    let mut documents = Vec::new();
    for path in &options.paths {
        documents.push(replay_one(options, path)?);
    }
    if options.json {
        say(&format!("{:#}\n", Value::Array(documents)));
    }
    Ok(())
}

fn replay_one(options: &Options, path: &Path) -> Result<Value, Trouble> {
    let start = Instant::now();
    let recording = Recording::open_of(path, options.kernel).map_err(|error| error.to_string())?;
    let reading = start.elapsed().as_secs_f64();
    if let Some(file) = &options.trace {
        let mut trace = recording.trace.clone();
        trace.why = vec![format!("The recording {} as a trace.", path.display())];
        write(file, &trace.to_string())?;
    }
    let mut rows = Rows::new();
    let mut sizes = CacheSizes::new();
    let mut ops = recording.trace.ops.iter().zip(&recording.served);
    let start = Instant::now();
    let outcome = exec::watch(&REPLAY, &recording.trace, Expectations::Ignored, |views| {
        if let Some((op, served)) = ops.next() {
            count(&mut rows, &mut sizes, op, *served, views);
        }
    });
    let running = start.elapsed().as_secs_f64();
    let stats = outcome.map_err(|failure| fail(&failure))?;
    let rate = recording.counts.events as f64 / (reading + running);
    if !options.json {
        let header = format!(
            "{}: {} events, no objection\nread in {reading:.2} s, {} ops down {} lanes in \
             {running:.2} s: {} events/s, {:.2} M lane-ops/s",
            path.display(),
            grouped(recording.counts.events),
            grouped(stats.nr_ops),
            stats.lanes.len(),
            grouped(rate as u64),
            stats.nr_lane_ops as f64 / running / 1e6,
        );
        let (counts, rows) = (holds::as_text(&recording), rows_as_text(&rows, &stats));
        let legend = "served from the direct map / from the vmalloc space (- refused):";
        say(&format!("{header}\n{counts}\n{legend}\n\n{rows}\n"));
    }
    Ok(json!({
        "recording": path, "counts": recording.counts, "kernel": recording.kernel, "peaks": recording.peaks,
        "seconds_reading": reading, "seconds_running": running, "events_per_second": rate,
        "rows": rows_as_json(&rows), "stats": kvroute_harness::report::json(&stats),
    }))
}

/// The object sizes of the cache registers, since an allocation from a cache names no size.
type CacheSizes = BTreeMap<u16, u64>;

fn count(rows: &mut Rows, sizes: &mut CacheSizes, op: &Op, served: Served, views: &[View]) {
    if let (Call::KmemCacheCreate, Some(cache), Arg::Number(size)) = (op.call, op.dst, op.args[0]) {
        sizes.insert(cache, size);
    }
    if served == Served::NotAnAllocation {
        return;
    }
    let size = match (op.call, op.args[0], op.args[1]) {
        (Call::AllocPages, _, Arg::Number(order)) => {
            0x1000_u64.checked_shl(order as u32).unwrap_or(0)
        }
        (_, Arg::Cache(cache), _) => sizes.get(&cache).copied().unwrap_or(0),
        (_, Arg::Number(size), _) => size,
        _ => 0,
    };
    let row = rows.entry((op.call, SizeClass::of(size))).or_insert_with(|| Row {
        requests: 0,
        kernel: Sides::default(),
        lanes: vec![Sides::default(); views.len()],
    });
    row.requests += 1;
    match served {
        Served::Vmalloc => row.kernel.vmalloc += 1,
        Served::Refused => row.kernel.refused += 1,
        _ => row.kernel.direct += 1,
    }
    for (lane, view) in row.lanes.iter_mut().zip(views) {
        match view.class {
            Some(Class::Vmalloc) => lane.vmalloc += 1,
            Some(Class::Slab | Class::Pages | Class::ZeroSizePtr) => lane.direct += 1,
            _ => lane.refused += 1,
        }
    }
}

fn rows_as_text(rows: &Rows, stats: &Stats) -> String {
    let lanes = stats.lanes.iter().map(|lane| lane.name.to_owned());
    let head = ["call", "size", "requests", "kernel"].map(str::to_owned);
    let mut cells = vec![head.into_iter().chain(lanes).collect::<Vec<_>>()];
    for ((call, size), row) in rows {
        let first = [call.spec().name.to_owned(), size.name().to_owned(), grouped(row.requests)];
        let sides = std::iter::once(&row.kernel).chain(&row.lanes).map(|sides| sides.show());
        cells.push(first.into_iter().chain(sides).collect());
    }
    let peaks = stats.lanes.iter().map(|lane| grouped(lane.peak_pages));
    let first = ["peak frames", "", "", ""].map(str::to_owned);
    cells.push(first.into_iter().chain(peaks).collect());
    table(&cells)
}

fn rows_as_json(rows: &Rows) -> Value {
    let row = |((call, size), row): (&(Call, SizeClass), &Row)| {
        let lanes: Vec<Value> = row.lanes.iter().map(|sides| sides.json()).collect();
        json!({
            "call": call.spec().name, "size": size.name(), "requests": row.requests,
            "kernel": row.kernel.json(), "lanes": lanes,
        })
    };
    rows.iter().map(row).collect()
}

/// A failing lane becomes a trace with its routes written out, which any campaign can check.
fn fail(failure: &Failure) -> Trouble {
    let mut trace = failure.trace.clone();
    let routing = REPLAY.lanes.iter().find(|lane| Some(lane.name) == failure.lane);
    if let Some(routing) = routing.map(|lane| lane.routing) {
        for (index, op) in trace.ops.iter_mut().enumerate() {
            if op.call.spec().takes_route {
                op.route = routing.route(index as u32, op.route);
            }
        }
    }
    let found = match check(&ROUTED, &trace) {
        Err(written) if written.is_like(failure) => shrink::shrink_failure(&ROUTED, &written),
        _ => failure.clone(),
    };
    let path = PathBuf::from("replay.failing.trace");
    if let Err(trouble) = write(&path, &found.trace.to_string()) {
        return trouble;
    }
    say(&format!("{}\n", Failure { file: Some(path), ..found }));
    Trouble::Failure
}
