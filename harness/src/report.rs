//! Reports: the counts of a run as text for people and as JSON for scripts.
//!
//! A verdict is worth what was exercised, so the report shows for every call how often it was
//! granted and on which side, and why it was refused; what was skipped; what failed by injection.
//!
//! Numbers only; which of them are good is said nowhere here.

mod regression;

pub use regression::regression_test;

use crate::call::CALLS;
use crate::op::{CLASSES, Class};
use crate::oracle::ORACLES;
use crate::stats::{Classes, SKIPS, Stats};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// Answers that give the caller what it asked for.
const GRANTED: [Class; 9] = [
    Class::Done,
    Class::Yes,
    Class::No,
    Class::Slab,
    Class::Pages,
    Class::Vmalloc,
    Class::Boot,
    Class::Memory,
    Class::ZeroSizePtr,
];

/// A count with its thousands set apart, as people read it.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// A table whose columns are as wide as their widest cell; the first is set left, the others right.
pub fn table(rows: &[Vec<String>]) -> String {
    let nr_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..nr_columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            match column {
                0 => write!(line, "  {cell:<width$}"),
                _ => write!(line, "  {cell:>width$}"),
            }
            .expect("a String takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The counts as text.
pub fn text(stats: &Stats) -> String {
    let mut out = String::new();
    let per_trace = stats.nr_ops / stats.nr_traces.max(1);
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    line(format!(
        "traces {}, ops {} ({per_trace} per trace), lanes {}: carried out {}",
        grouped(stats.nr_traces),
        grouped(stats.nr_ops),
        stats.lanes.len(),
        grouped(stats.nr_lane_ops),
    ));
    line(format!("executed {:.2} % of the ops{}", 100.0 * stats.executed_share(), skips(stats)));
    if stats.nr_dropped_lines > 0 {
        line(format!("{} lines did not parse and were dropped", grouped(stats.nr_dropped_lines)));
    }
    line(format!(
        "injected failures fired {}; NOFAIL waiters asked again {}, served {}, unservable {}",
        grouped(stats.nr_faults),
        grouped(stats.nr_retries),
        grouped(stats.nr_served),
        grouped(stats.nr_unservable),
    ));
    line(format!(
        "rounds of reclaim {}, processes killed {}, warnings {}",
        grouped(stats.effort.nr_reclaim_rounds),
        grouped(stats.effort.nr_oom_kills),
        grouped(stats.effort.nr_warnings),
    ));
    line(format!(
        "looks at everything {}; ops not comparable between lanes {}; frees by the harness {}",
        grouped(stats.nr_checks),
        grouped(stats.nr_incomparable),
        grouped(stats.nr_releases),
    ));
    out + &relaxed(stats)
        + &excused(stats)
        + "\n"
        + &calls_table(stats)
        + "\n"
        + &lanes_table(stats)
}

/// Where judgements were relaxed, and how often; nothing if all were strict.
fn relaxed(stats: &Stats) -> String {
    let used = stats.relaxed.used().map(|(name, nr)| format!("{name} {}", grouped(nr)));
    let used: Vec<String> = used.collect();
    if used.is_empty() { String::new() } else { format!("relaxed: {}\n", used.join(", ")) }
}

/// What the oracles could not judge, and how often; nothing if they could judge all.
fn excused(stats: &Stats) -> String {
    let needs = |name: &str| {
        let oracle = ORACLES.iter().find(|oracle| oracle.name == name);
        oracle.into_iter().flat_map(|oracle| oracle.needs.names()).collect::<Vec<_>>().join(", ")
    };
    let steps = stats
        .excused
        .iter()
        .map(|(name, nr)| format!("{name} {} (needs {})", grouped(*nr), needs(name)));
    let steps: Vec<String> = steps.collect();
    if steps.is_empty() { String::new() } else { format!("not judged: {}\n", steps.join(", ")) }
}

fn skips(stats: &Stats) -> String {
    let skipped = SKIPS.iter().zip(stats.skipped()).filter(|(_, count)| *count > 0);
    let reasons = skipped.map(|((_, why), count)| format!("{}: {why}", grouped(count)));
    let reasons: Vec<String> = reasons.collect();
    if reasons.is_empty() { String::new() } else { format!("; skipped {}", reasons.join(", ")) }
}

fn granted(classes: &[u64]) -> u64 {
    GRANTED.iter().map(|class| classes[*class as usize]).sum()
}

fn refusals(classes: &[u64]) -> String {
    let refused = CLASSES.iter().filter(|(class, ..)| !GRANTED.contains(class));
    let counted = refused.filter(|(class, ..)| classes[*class as usize] > 0);
    let words =
        counted.map(|(class, name, _)| format!("{name} {}", grouped(classes[*class as usize])));
    words.collect::<Vec<_>>().join(", ")
}

fn calls_table(stats: &Stats) -> String {
    let head = ["call", "granted", "slab", "pages", "vmalloc", "skipped"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut reasons = vec!["refused".to_owned()];
    for (spec, classes) in CALLS.iter().zip(&stats.calls) {
        let skipped: u64 = stats.skips[spec.call as usize].iter().sum();
        if classes.iter().sum::<u64>() + skipped == 0 {
            continue;
        }
        let unless_none = |count| if count == 0 { String::new() } else { grouped(count) };
        let side = |class: Class| unless_none(classes[class as usize]);
        rows.push(vec![
            spec.name.to_owned(),
            grouped(granted(classes)),
            side(Class::Slab),
            side(Class::Pages),
            side(Class::Vmalloc),
            unless_none(skipped),
        ]);
        reasons.push(refusals(classes));
    }
    let table = table(&rows);
    let lines = table.lines().zip(reasons).map(|(row, why)| format!("{row:<75}  {why}"));
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn lanes_table(stats: &Stats) -> String {
    let head = ["lane", "kv on slab", "kv on pages", "kv on vmalloc", "kv refused", "peak frames"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for lane in &stats.lanes {
        let kv = |class: Class| lane.kv_classes[class as usize];
        let total: u64 = lane.kv_classes.iter().sum();
        rows.push(vec![
            lane.name.to_owned(),
            grouped(kv(Class::Slab)),
            grouped(kv(Class::Pages)),
            grouped(kv(Class::Vmalloc)),
            grouped(total - granted(&lane.kv_classes)),
            grouped(lane.peak_pages),
        ]);
    }
    table(&rows)
}

/// The counts as JSON: classes by name, zeroes left out.
pub fn json(stats: &Stats) -> Value {
    let classes = |counts: &[u64]| -> Map<String, Value> {
        let counted = CLASSES.iter().zip(counts).filter(|(_, count)| **count > 0);
        counted.map(|((_, name, _), count)| ((*name).to_owned(), json!(count))).collect()
    };
    let answered = |counts: &&Classes| counts.iter().sum::<u64>() > 0;
    let calls: Map<String, Value> = CALLS
        .iter()
        .zip(&stats.calls)
        .filter(|(_, counts)| answered(counts))
        .map(|(spec, counts)| (spec.name.to_owned(), classes(counts).into()))
        .collect();
    let lanes: Vec<Value> = stats
        .lanes
        .iter()
        .map(|lane| {
            json!({
                "name": lane.name,
                "answers": classes(&lane.classes),
                "kvmalloc": classes(&lane.kv_classes),
                "peak_frames": lane.peak_pages,
            })
        })
        .collect();
    let skipped: Map<String, Value> = SKIPS
        .iter()
        .zip(stats.skipped())
        .filter(|(_, count)| *count > 0)
        .map(|((skip, _), count)| (format!("{skip:?}"), json!(count)))
        .collect();
    json!({
        "traces": stats.nr_traces,
        "ops": stats.nr_ops,
        "lane_ops": stats.nr_lane_ops,
        "executed_share": stats.executed_share(),
        "skipped": skipped,
        "dropped_lines": stats.nr_dropped_lines,
        "faults_fired": stats.nr_faults,
        "reclaim_rounds": stats.effort.nr_reclaim_rounds,
        "oom_kills": stats.effort.nr_oom_kills,
        "warnings": stats.effort.nr_warnings,
        "retries": stats.nr_retries,
        "waiters_served": stats.nr_served,
        "waiters_unservable": stats.nr_unservable,
        "checks": stats.nr_checks,
        "incomparable": stats.nr_incomparable,
        "relaxed": stats.relaxed.used().map(|(name, nr)| (name.to_owned(), json!(nr))).collect::<Map<String, Value>>(),
        "not_judged": stats.excused,
        "calls": calls,
        "lanes": lanes,
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::Call;
    use crate::campaign::ROUTED;

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (count, text) in [(0, "0"), (999, "999"), (1000, "1_000"), (1_234_567, "1_234_567")] {
            assert_eq!(grouped(count), text);
        }
    }

    #[test]
    fn every_answer_shows_in_both_forms() {
        let mut stats = Stats::new(ROUTED.lanes);
        stats.answer(2, Call::Kvmalloc, Class::Slab, true);
        stats.answer(3, Call::Kvmalloc, Class::NoSpace, true);
        let text = text(&stats);
        assert!(text.contains("kvmalloc") && text.contains("NoSpace 1"), "{text}");
        let json = json(&stats);
        assert_eq!(json["calls"]["kvmalloc"], json!({ "Slab": 1, "NoSpace": 1 }));
        assert_eq!(json["lanes"][3]["kvmalloc"]["NoSpace"], 1);
    }
}
