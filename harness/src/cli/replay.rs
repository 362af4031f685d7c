//! `kvroute replay`: what a real kernel did, and what the lanes do with the same requests.
//!
//! A recording becomes a trace and runs down six lanes like any other trace. The kernel's own
//! answers are held against the policy lane and the model; the table shows, by call and size, from
//! which side the kernel served the requests and from which side each lane did. Asked 'what if',
//! two machines take the place of the six lanes.
//!
//! How a recording is read is in `crate::recording`.

mod agreement;
mod asked;
mod holds;
mod rows;

use crate::campaign::{REPLAY, ROUTED, SWEEP};
use crate::cli::checker::Checker;
use crate::cli::document::Document;
use crate::cli::memory::MemoryOption;
use crate::cli::output::{self, shown};
use crate::cli::{Outcome, finding};
use crate::exec::{self, Expectations};
use crate::op::Class;
use crate::recorded::Agreement;
use crate::recording::{Kernel, Recording};
use crate::report::grouped;
use crate::trace::Machine;
use crate::{Campaign, Failure, Stats, Trace, caller, check};
use rows::Rows;
use serde_json::{Value, json};
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
    pub(crate) json: bool,
    /// Write the trace that a recording becomes to this file (one recording only); `-` is standard
    /// output, and the report then goes to standard error.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    asked: asked::Asked,
    #[command(flatten)]
    memory: MemoryOption,
}

pub(crate) fn replay(options: &Options, document: &mut Document) -> Outcome {
    if options.trace.is_some() && options.paths.len() != 1 {
        return Err("--trace takes the trace of one recording".to_owned());
    }
    output::give_stdout_to(options.trace.as_deref());
    let mut recordings = Vec::new();
    for path in &options.paths {
        if document.is_interrupted() {
            break;
        }
        match replay_one(options, path, document) {
            Ok(recording) => recordings.extend(recording),
            Err(message) => document.error(Some(path), &message),
        }
    }
    document.put("recordings", recordings);
    Ok(())
}

/// Replays a recording and gives its numbers, unless an oracle objects.
fn replay_one(
    options: &Options,
    path: &Path,
    document: &mut Document,
) -> Result<Option<Value>, String> {
    let start = Instant::now();
    let recording = Recording::open_of(path, options.kernel).map_err(|error| error.to_string())?;
    let seconds_reading = start.elapsed().as_secs_f64();
    if recording.trace.ops.is_empty() {
        let reason = "holds no call that can be replayed, only parts of some and frees of memory \
                      that is older";
        let events = grouped(recording.counts.events);
        let message = format!("{}: {events} events: the recording {reason}", shown(path));
        return Err(format!("{message}\n{}", holds::as_text(&recording)));
    }
    let asked = options.asked.machine(&recording.trace.machine);
    admit(options, &recording.trace, asked, path)?;
    if let Some(file) = &options.trace {
        let mut trace = recording.trace.clone();
        trace.why = vec![format!("The recording {} as a trace.", path.display())];
        caller::mark(&mut trace);
        output::write(file, &trace.to_string())?;
    }
    let start = Instant::now();
    let replayed = match asked {
        Some(machine) => side_by_side(&recording, path, &machine),
        None => down_all_lanes(&recording, path),
    };
    let replayed = match replayed {
        Ok(replayed) => replayed,
        Err(failure) => {
            let how = format!("kvroute replay {}", shown(path));
            finding::announce(&how, &failure);
            let found = as_written(&failure);
            // Each recording has a trace of its own.
            let stem = path.file_name().unwrap_or_default().to_string_lossy();
            let kept = format!("replay-{stem}.failing.trace");
            finding::keep(document, found, Path::new(&kept), &how);
            return Ok(None);
        }
    };
    let seconds_running = start.elapsed().as_secs_f64();
    let rate = recording.counts.events as f64 / (seconds_reading + seconds_running);
    let header = format!(
        "{}: {} events, no objection\nread in {seconds_reading:.2} s, {} ops down {} lanes in \
         {seconds_running:.2} s: {} events/s, {:.2} M lane-ops/s",
        shown(path),
        grouped(recording.counts.events),
        grouped(recording.trace.ops.len() as u64),
        replayed.nr_lanes,
        grouped(rate as u64),
        replayed.nr_lane_ops as f64 / seconds_running / 1e6,
    );
    document.say(&format!("{header}\n{}\n{}\n", holds::as_text(&recording), replayed.text));
    let mut numbers = json!({
        "recording": path.to_string_lossy(), "counts": recording.counts, "kernel": recording.kernel,
        "peaks": recording.peaks, "seconds_reading": seconds_reading,
        "seconds_running": seconds_running, "events_per_second": rate,
    });
    if let (Value::Object(all), Value::Object(found)) = (&mut numbers, replayed.json) {
        all.extend(found);
    }
    Ok(Some(numbers))
}

/// Refuses a recording that may take more memory than allowed, on any machine that it is to run on.
fn admit(
    options: &Options,
    trace: &Trace,
    asked: Option<Machine>,
    path: &Path,
) -> Result<(), String> {
    let Some(machine) = asked else { return options.memory.admit(&REPLAY, trace, path) };
    options.memory.admit(&SWEEP, trace, path)?;
    options.memory.admit(&SWEEP, &Trace { machine, ..trace.clone() }, path)
}

/// What came of running a recording.
struct Replayed {
    nr_lanes: usize,
    nr_lane_ops: u64,
    text: String,
    json: Value,
}

/// The recording down the lanes of [`REPLAY`].
fn down_all_lanes(recording: &Recording, path: &Path) -> Result<Replayed, Box<Failure>> {
    let mut rows = Rows::new(REPLAY.lanes.iter().map(|lane| lane.name.to_owned()));
    let mut agreement = Agreement::new(recording);
    let stats = run(&REPLAY, &recording.trace, |index, classes| {
        rows.count(&recording.trace.ops[index], recording.served[index], 0, classes);
        agreement.compare(recording, index, classes[0]);
    })?;
    let peaks = stats.lanes.iter().map(|lane| grouped(lane.peak_pages)).collect();
    let table = rows.as_text(vec![("peak frames", peaks)]);
    Ok(Replayed {
        nr_lanes: stats.lanes.len(),
        nr_lane_ops: stats.nr_lane_ops,
        text: format!("{}\n{table}", agreement::as_text(&agreement, path)),
        json: json!({
            "agreement": agreement, "table": rows.as_json(),
            "stats": crate::report::json(&stats),
        }),
    })
}

/// The recording on its own machine, and on the one that was asked for.
fn side_by_side(
    recording: &Recording,
    path: &Path,
    machine: &Machine,
) -> Result<Replayed, Box<Failure>> {
    let mut rows = Rows::new(["as recorded", "as asked"].map(str::to_owned));
    let mut agreement = Agreement::new(recording);
    let own = run(&SWEEP, &recording.trace, |index, classes| {
        rows.count(&recording.trace.ops[index], recording.served[index], 0, classes);
        agreement.compare(recording, index, classes[0]);
    })?;
    let trace = Trace { machine: *machine, ..recording.trace.clone() };
    let asked = run(&SWEEP, &trace, |index, classes| {
        rows.count(&trace.ops[index], recording.served[index], 1, classes);
    })?;
    let machines = [&recording.trace.machine, machine];
    let stats = [&own, &asked].map(crate::report::json);
    let in_json = machines.map(asked::as_json);
    let [as_recorded, as_asked] = machines.map(asked::as_text);
    let table = rows.as_text(asked::costs(&[&own, &asked]));
    Ok(Replayed {
        nr_lanes: 2,
        nr_lane_ops: own.nr_lane_ops + asked.nr_lane_ops,
        text: format!(
            "{}\nas recorded: {as_recorded}\nas asked: {as_asked}\n\n{table}",
            agreement::as_text(&agreement, path)
        ),
        json: json!({
            "agreement": agreement, "table": rows.as_json(),
            "machines": in_json, "stats": stats,
        }),
    })
}

/// Runs a trace and shows the watcher each op's place and the class of every lane's answer.
fn run(
    campaign: &Campaign,
    trace: &Trace,
    mut watcher: impl FnMut(usize, &[Option<Class>]),
) -> Result<Stats, Box<Failure>> {
    let mut index = 0;
    let mut classes = Vec::new();
    exec::watch(campaign, trace, Expectations::Ignored, |views| {
        classes.clear();
        classes.extend(views.iter().map(|view| view.class));
        watcher(index, &classes);
        index += 1;
    })
}

/// A failing lane becomes a trace with its routes written out, which any campaign can check.
fn as_written(failure: &Failure) -> Failure {
    let mut trace = failure.trace.clone();
    let routing = REPLAY.lanes.iter().find(|lane| Some(lane.name) == failure.lane);
    if let Some(routing) = routing.map(|lane| lane.routing) {
        for (index, op) in trace.ops.iter_mut().enumerate() {
            if op.call.spec().traits.routed {
                op.route = routing.route(index as u32, op.route);
            }
        }
    }
    match check(&ROUTED, &trace) {
        Err(written) if written.is_like(failure) => {
            finding::shrunk(&ROUTED, &Checker::Here, &written)
        }
        _ => failure.clone(),
    }
}
