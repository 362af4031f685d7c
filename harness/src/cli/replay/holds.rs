//! What a recording holds, for people to read: what it was read as, and what of it was not used.
//!
//! Whoever trusts a replay must be able to see what was left out of it. Every event, field and flag
//! that was not used stands here by name, as it does in the JSON.

use crate::recording::{DEFAULT_KERNEL, Recording, is_probe};
use crate::report::grouped;
use std::collections::BTreeMap;

/// Columns of a paragraph.
const WIDTH: usize = 100;

/// Everything that is known of a recording before it is replayed.
pub(super) fn as_text(recording: &Recording) -> String {
    let counts = &recording.counts;
    let unmatched: u64 = counts.frees_without_allocation.values().sum();
    let mut text = format!(
        "{} events nested in others; {} frees without a matching allocation, {} frees missed; \
         {} events lost, {} not used\nkfree of kvmalloc memory {}; other frees by a function that \
         does not fit {}; blocks freed in pieces {}\ncalls without return {}, returns without call \
         {}; addresses hidden {}; names of tasks with a newline {}\nstill live at the end {}; the \
         recorded kernel's peak {} frames\n{}\n",
        grouped(counts.nested),
        grouped(unmatched),
        grouped(counts.missed_frees),
        grouped(counts.lost),
        grouped(counts.unknown_events.values().sum()),
        grouped(counts.kfree_of_kvmalloc),
        grouped(counts.mismatched_frees),
        grouped(counts.split_blocks),
        grouped(counts.calls_without_return),
        grouped(counts.returns_without_call),
        grouped(counts.hidden_addresses),
        grouped(counts.split_names),
        grouped(counts.live_at_end),
        grouped(recording.peaks.frames),
        kernel(recording),
    );
    text += &names("events that were not used", &counts.unknown_events);
    text += &names("fields that were not used", &counts.unused_fields);
    text += &names("GFP flags without a meaning here, left out", &counts.unknown_flags);
    text += &probes(&counts.unknown_events);
    text
}

/// Which kernel the recording is of, and whether that mattered.
fn kernel(recording: &Recording) -> String {
    let numbers = grouped(recording.counts.flags_as_numbers);
    match recording.kernel {
        Some(kernel) => format!("recorded on Linux {kernel}; {numbers} GFP flags were numbers"),
        None => format!(
            "nothing says which kernel was recorded (--kernel does); {numbers} GFP flags were \
             numbers, read as Linux {DEFAULT_KERNEL} writes them"
        ),
    }
}

/// A paragraph of names and counts, or nothing.
fn names(title: &str, counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return String::new();
    }
    let mut text = format!("{title}:");
    let mut column = text.len();
    for (place, (name, count)) in counts.iter().enumerate() {
        let comma = if place + 1 < counts.len() { "," } else { "" };
        let item = format!(" {name} {}{comma}", grouped(*count));
        if column + item.len() > WIDTH {
            text += "\n ";
            column = 1;
        }
        column += item.len();
        text += &item;
    }
    text + "\n"
}

/// How the probes that were passed over would have been read.
fn probes(events: &BTreeMap<String, u64>) -> String {
    let passed: Vec<&str> =
        events.keys().map(String::as_str).filter(|name| is_probe(name)).collect();
    if passed.is_empty() {
        return String::new();
    }
    format!(
        "{}: probes without the fields that are read, which are size= gfp= (kvmalloc_node), size= \
         align= start= end= gfp= (__vmalloc_node_range), addr= (kvfree, vfree) and ret= (returns); \
         ci/record.sh sets them up\n",
        passed.join(", ")
    )
}
