//! What a fuzz target does with its input.
//!
//! The engine sees a panic or nothing, and the person who watches sees what the inputs did: at
//! every doubling of their number one line of counts, so that a target whose inputs do nothing
//! shows within seconds. A script that watches names a file in `KVROUTE_REPORT` and finds the line
//! and the tables of `kvroute run` there, never more than a few hundred inputs old; the engine ends
//! the process without a word, so there is no last moment at which to print them.
//!
//! The engine itself is the target's; nothing here knows libFuzzer.

use crate::campaign::Campaign;
use crate::exec::{self, Expectations};
use crate::op::Class;
use crate::report::{self, grouped};
use crate::stats::Stats;
use crate::trace::Trace;
use crate::verdict::FUZZ_INPUT_OPTION;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The first line of counts comes after this many inputs.
const NR_INPUTS_FIRST: u64 = 1024;

/// The report is written anew after so many inputs, and while there are fewer at every doubling.
const NR_INPUTS_PER_REPORT: u64 = 256;

/// Where the report goes, if anybody wants one.
const REPORT: &str = "KVROUTE_REPORT";

/// What the inputs did so far, and where that is to be written.
struct Watch {
    stats: Stats,
    report: Option<PathBuf>,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Checks a trace; a failure is a panic that shows it whole.
///
/// # Panics
/// If an oracle objects.
pub fn fuzz(campaign: &Campaign, trace: &Trace) {
    match exec::run(campaign, trace, Expectations::Ignored) {
        Ok(counts) => WATCH.with_borrow_mut(|watch| {
            let new = || Watch {
                stats: Stats::new(campaign.lanes),
                report: env::var_os(REPORT).map(PathBuf::from),
            };
            watch.get_or_insert_with(new).add(&counts);
        }),
        Err(failure) => panic!("\n{failure}\n{}\n", repeat(campaign)),
    }
}

impl Watch {
    fn add(&mut self, counts: &Stats) {
        self.stats.add(counts);
        let nr_inputs = self.stats.nr_traces;
        if nr_inputs >= NR_INPUTS_FIRST && nr_inputs.is_power_of_two() {
            eprintln!("{}", pulse(&self.stats));
        }
        let is_due = nr_inputs.is_power_of_two() || nr_inputs.is_multiple_of(NR_INPUTS_PER_REPORT);
        let Some(path) = self.report.as_ref().filter(|_| is_due) else { return };
        let text = format!("{}\n{}", pulse(&self.stats), report::text(&self.stats));
        if let Err(error) = replace(path, &text) {
            eprintln!("kvroute: {}: {error}; no more reports", path.display());
            self.report = None;
        }
    }
}

/// Replaces a file, whose readers see the old text or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}

/// The command that repeats a failure, once the engine has written its input to a file.
fn repeat(campaign: &Campaign) -> String {
    let name = campaign.name;
    format!(
        "repeat: cargo kvroute check {FUZZ_INPUT_OPTION} {name} <the file that the engine keeps>"
    )
}

/// One line of counts.
fn pulse(stats: &Stats) -> String {
    let sum = |class: Class| -> u64 { stats.calls.iter().map(|calls| calls[class as usize]).sum() };
    let granted = [Class::Slab, Class::Pages, Class::Vmalloc].map(|class| grouped(sum(class)));
    let [slab, pages, vmalloc] = granted;
    let wrong_frees: u64 = crate::op::CLASSES
        .iter()
        .filter(|(class, ..)| class.is_wrong_free())
        .map(|(class, ..)| sum(*class))
        .sum();
    format!(
        "kvroute: {} inputs, {} ops each, {:.1} % executed, {} lines dropped; granted {slab} slab, \
         {pages} pages, {vmalloc} vmalloc; short {}; wrong frees {}; faults fired {}",
        grouped(stats.nr_traces),
        stats.nr_ops / stats.nr_traces.max(1),
        100.0 * stats.executed_share(),
        grouped(stats.nr_dropped_lines),
        grouped(sum(Class::NoMemory) + sum(Class::NoSpace) + sum(Class::Blocked)),
        grouped(wrong_frees),
        grouped(stats.nr_faults),
    )
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::campaign::ROUTED;

    #[test]
    fn the_pulse_shows_what_inputs_did() {
        let text = "r0 = kvmalloc(0x3000, GFP_KERNEL)\nkfree(r0)\nnonsense\n";
        let trace = Trace::parse_lenient(text.as_bytes());
        let stats = crate::check(&ROUTED, &trace).expect("no oracle objects");
        let pulse = pulse(&stats);
        assert!(
            pulse.contains("1 inputs, 2 ops each, 100.0 % executed, 1 lines dropped"),
            "{pulse}"
        );
        assert!(pulse.contains("granted 0 slab, 3 pages, 1 vmalloc"), "{pulse}");
    }
}
