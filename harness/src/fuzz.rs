//! What a fuzz target does with its input.
//!
//! The one idea: the engine sees a panic or nothing, and the person who watches sees what the
//! inputs did: at every doubling of their number one line of counts, so that a target whose inputs
//! do nothing shows within seconds.
//!
//! The engine itself is the target's; nothing here knows libFuzzer.

use crate::campaign::Campaign;
use crate::op::Class;
use crate::report::grouped;
use crate::stats::Stats;
use crate::trace::Trace;
use std::cell::RefCell;

/// The first line of counts comes after this many inputs.
const NR_INPUTS_FIRST: u64 = 1024;

thread_local! {
    static STATS: RefCell<Option<Stats>> = const { RefCell::new(None) };
}

/// Checks a trace; a failure is a panic that shows it whole.
///
/// # Panics
/// If an oracle objects.
pub fn fuzz(campaign: &Campaign, trace: &Trace) {
    match crate::check(campaign, trace) {
        Ok(counts) => STATS.with_borrow_mut(|stats| {
            let stats = stats.get_or_insert_with(|| Stats::new(campaign.lanes));
            stats.add(&counts);
            if stats.nr_traces >= NR_INPUTS_FIRST && stats.nr_traces.is_power_of_two() {
                eprintln!("{}", pulse(stats));
            }
        }),
        Err(failure) => panic!("\n{failure}\n"),
    }
}

/// One line of counts.
fn pulse(stats: &Stats) -> String {
    let sum = |class: Class| -> u64 { stats.calls.iter().map(|calls| calls[class as usize]).sum() };
    let granted = [Class::Slab, Class::Pages, Class::Vmalloc].map(|class| grouped(sum(class)));
    let [slab, pages, vmalloc] = granted;
    let wrong_frees: u64 = crate::op::CLASSES
        .iter()
        .filter(|(class, ..)| *class >= Class::WrongAllocator && *class <= Class::Wild)
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
