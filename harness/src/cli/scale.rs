//! `kvroute scale`: what an allocation and a free cost when a thousand or a million are live.
//!
//! The words that the allocator loads and stores say whether its cost is flat, and come out the
//! same everywhere; the time beside them is of this machine and this moment. The harness around it,
//! with all its checks, has time alone.
//!
//! What is done is decided in `crate::subject::alloc_core::scale`.

use crate::campaign::KMALLOC;
use crate::cli::document::Document;
use crate::cli::{Outcome, ranges};
use crate::report::{grouped, table};
use crate::subject::alloc_core::scale::{Bench, CASES, Work};
use crate::{Trace, check};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Frees and allocations to measure in each line.
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = ranges::pairs)]
    pairs: u64,
    /// Print the numbers as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Live allocations.
const LEVELS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The same under all checks, where each needs a register.
const CHECKED_LEVELS: [u64; 3] = [1_000, 10_000, 60_000];
/// Frees and allocations under all checks.
const CHECKED_PAIRS: u64 = 60_000;

/// One line of the table.
struct Row {
    what: &'static str,
    nr_live: u64,
    work: Option<Work>,
    nanoseconds: f64,
}

pub(crate) fn scale(options: &Options, document: &mut Document) -> Outcome {
    let mut rows = Vec::new();
    for &(case, what, most) in CASES {
        for nr_live in LEVELS.into_iter().filter(|nr_live| *nr_live <= most) {
            if document.is_interrupted() {
                break;
            }
            let mut bench = Bench::new(case, nr_live);
            // What the first frees find is still in the order in which it was allocated.
            bench.replace(nr_live);
            let start = Instant::now();
            let work = Some(bench.replace(options.pairs));
            let nanoseconds = start.elapsed().as_nanos() as f64 / options.pairs as f64;
            rows.push(Row { what, nr_live, work, nanoseconds });
        }
    }
    for nr_live in CHECKED_LEVELS {
        if document.is_interrupted() {
            break;
        }
        rows.push(checked(nr_live)?);
    }
    document.put("rows", rows.iter().map(as_json).collect::<Value>());
    document.say(&as_text(&rows));
    Ok(())
}

/// The time of a pair in a trace that keeps so many allocations, all oracles judging.
fn checked(nr_live: u64) -> Result<Row, String> {
    let text = |nr_pairs: u64| {
        let mut text = String::from("machine (frames: 16384)\n");
        let mut rng = fastrand::Rng::with_seed(nr_live);
        for register in 0..nr_live {
            writeln!(text, "r{register} = kmalloc(0x40, GFP_KERNEL)").expect("a String");
        }
        for _ in 0..nr_pairs {
            let register = rng.u64(0..nr_live);
            writeln!(text, "kfree(r{register})\nr{register} = kmalloc(0x40, GFP_KERNEL)")
                .expect("a String");
        }
        text
    };
    let seconds = |nr_pairs| {
        let trace = Trace::parse(&text(nr_pairs)).map_err(|error| error.to_string())?;
        let start = Instant::now();
        check(&KMALLOC, &trace).map_err(|failure| failure.to_string())?;
        Ok::<f64, String>(start.elapsed().as_secs_f64())
    };
    // What making and freeing them all takes is not part of it, nor the first use of the machine.
    seconds(0)?;
    let idle = seconds(0)?;
    let nanoseconds = (seconds(CHECKED_PAIRS)? - idle) * 1e9 / CHECKED_PAIRS as f64;
    Ok(Row { what: "kmalloc(64), all checks", nr_live, work: None, nanoseconds })
}

fn as_text(rows: &[Row]) -> String {
    let head = ["a free and an allocation", "live", "words loaded", "stored", "ns"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for Row { what, nr_live, work, nanoseconds } in rows {
        let of = |number: fn(&Work) -> f64| {
            work.as_ref().map_or(String::new(), |work| format!("{:.1}", number(work)))
        };
        cells.push(vec![
            (*what).to_owned(),
            grouped(*nr_live),
            of(|work| work.loads),
            of(|work| work.stores),
            format!("{nanoseconds:.0}"),
        ]);
    }
    table(&cells)
}

fn as_json(row: &Row) -> Value {
    json!({
        "what": row.what, "live": row.nr_live, "nanoseconds": row.nanoseconds,
        "loads": row.work.map(|work| work.loads), "stores": row.work.map(|work| work.stores),
    })
}
