//! What a run did: the counts that show whether a green verdict means anything.
//!
//! Every op is counted as granted, refused (and why) or skipped (and why), in every lane, so that a
//! campaign that grants nothing is seen at a glance.
//!
//! The counts are sums and can be added up over runs, but for a lane's first and last counters;
//! printing them is in `report`.

use crate::call::{CALLS, Call};
use crate::lane::{LaneSpec, Record, Skip};
use crate::op::{CLASSES, Class};
use crate::oracle::Oracle;
use crate::relaxation::Relaxed;
use crate::subject::{Effort, Facts};
use std::collections::BTreeMap;

/// The reasons to skip an op, in the order in which [`Skips`] counts them.
pub(crate) const SKIPS: [(Skip, &str); 7] = [
    (Skip::Waiting, "its register belongs to a request that waits"),
    (Skip::Blocked, "its task waits"),
    (Skip::NoCache, "its cache register holds no cache"),
    (Skip::Destroyed, "the cache in its cache register is destroyed"),
    (Skip::NoMemory, "its register holds no memory to write to"),
    (Skip::Unsupported, "the allocator has no such call"),
    (Skip::Misuse, "it is wrong, and the allocator would not refuse it"),
];

/// Counts of one call: how often each class of answer came, over all lanes.
pub(crate) type Classes = [u64; CLASSES.len()];

/// Counts of one call: how often it was skipped for each reason, over all lanes.
pub(crate) type Skips = [u64; SKIPS.len()];

/// Counts of one lane.
#[derive(Clone, Debug, Default)]
pub struct LaneStats {
    /// The lane's name.
    pub name: &'static str,
    /// Answers by class.
    pub classes: Vec<u64>,
    /// Answers to the kvmalloc calls by class.
    pub kv_classes: Vec<u64>,
    /// The most frames in use at once.
    pub peak_pages: u64,
    /// The counters of the fresh machine of the last trace.
    pub at_boot: Facts,
    /// The counters after its last op, before the harness frees what is left.
    pub left: Facts,
}

/// Counts of a run, or of many.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Traces that were run.
    pub nr_traces: u64,
    /// Ops that the traces hold.
    pub nr_ops: u64,
    /// Ops times lanes that were carried out.
    pub nr_lane_ops: u64,
    /// Frees that the harness made itself: registers assigned again, and the end of the trace.
    pub nr_releases: u64,
    /// Answers by call and class.
    pub calls: Vec<Classes>,
    /// Ops times lanes that were skipped, by call and reason.
    pub skips: Vec<Skips>,
    /// The lanes, in the campaign's order.
    pub lanes: Vec<LaneStats>,
    /// Injected failures that fired.
    pub nr_faults: u64,
    /// What requests have cost others.
    pub effort: Effort,
    /// Tries of waiting NOFAIL requests.
    pub nr_retries: u64,
    /// Waiting requests that were served.
    pub nr_served: u64,
    /// Waiting requests that even the fresh machine could not serve.
    pub nr_unservable: u64,
    /// Looks at all memory and all structures.
    pub nr_checks: u64,
    /// Ops whose answers could not be compared between lanes.
    pub nr_incomparable: u64,
    /// Lines of fuzzer input that did not parse.
    pub nr_dropped_lines: u64,
    /// Answers that passed because a judgement was relaxed.
    pub relaxed: Relaxed,
    /// Steps that an oracle could not judge, since the subject lacks what it needs.
    pub excused: BTreeMap<&'static str, u64>,
}

impl Stats {
    /// Counts for a run down these lanes.
    pub fn new(lanes: &[LaneSpec]) -> Self {
        let lane = |spec: &LaneSpec| LaneStats {
            name: spec.name,
            classes: vec![0; CLASSES.len()],
            kv_classes: vec![0; CLASSES.len()],
            peak_pages: 0,
            at_boot: Facts::default(),
            left: Facts::default(),
        };
        Self {
            calls: vec![[0; CLASSES.len()]; CALLS.len()],
            skips: vec![[0; SKIPS.len()]; CALLS.len()],
            lanes: lanes.iter().map(lane).collect(),
            ..Self::default()
        }
    }

    /// Counts an answer in a lane.
    pub fn answer(&mut self, lane: usize, call: Call, class: Class, is_kv: bool) {
        self.nr_lane_ops += 1;
        self.calls[call as usize][class as usize] += 1;
        self.lanes[lane].classes[class as usize] += 1;
        if is_kv {
            self.lanes[lane].kv_classes[class as usize] += 1;
        }
    }

    /// Counts so many answers of a class in a lane.
    pub(crate) fn answers(&mut self, lane: usize, call: Call, (class, nr): (Class, u64)) {
        self.nr_lane_ops += nr;
        self.calls[call as usize][class as usize] += nr;
        self.lanes[lane].classes[class as usize] += nr;
    }

    /// Counts an op that a lane skipped.
    pub(crate) fn skip(&mut self, call: Call, skip: Skip) {
        self.skips[call as usize][skip as usize] += 1;
    }

    /// Counts so many ops that a lane skipped.
    pub(crate) fn skips(&mut self, call: Call, skip: Skip, nr: u64) {
        self.skips[call as usize][skip as usize] += nr;
    }

    /// Counts the steps of a lane that some oracles could not judge.
    pub(crate) fn excuse(&mut self, oracles: &[&Oracle], nr_steps: u64) {
        for oracle in oracles {
            *self.excused.entry(oracle.name).or_default() += nr_steps;
        }
    }

    /// Counts what a request cost.
    pub(crate) fn request(&mut self, lane: usize, record: &Record) {
        self.nr_faults += u64::from(record.reply.nr_faults);
        self.count_effort(record.reply.effort);
        let Facts { nr_managed_pages, nr_free_pages, .. } = *record.after;
        let lane = &mut self.lanes[lane];
        lane.peak_pages = lane.peak_pages.max(nr_managed_pages.saturating_sub(nr_free_pages));
    }

    /// Adds the counts of another run of the same campaign.
    pub fn add(&mut self, other: &Stats) {
        self.nr_traces += other.nr_traces;
        self.nr_ops += other.nr_ops;
        self.nr_lane_ops += other.nr_lane_ops;
        self.nr_releases += other.nr_releases;
        self.nr_faults += other.nr_faults;
        self.count_effort(other.effort);
        self.nr_retries += other.nr_retries;
        self.nr_served += other.nr_served;
        self.nr_unservable += other.nr_unservable;
        self.nr_checks += other.nr_checks;
        self.nr_incomparable += other.nr_incomparable;
        self.nr_dropped_lines += other.nr_dropped_lines;
        self.relaxed.add_all(&other.relaxed);
        for (name, nr) in &other.excused {
            *self.excused.entry(name).or_default() += nr;
        }
        for (sums, counts) in self.calls.iter_mut().zip(&other.calls) {
            add_all(sums, counts);
        }
        for (sums, counts) in self.skips.iter_mut().zip(&other.skips) {
            add_all(sums, counts);
        }
        for (sum, lane) in self.lanes.iter_mut().zip(&other.lanes) {
            add_all(&mut sum.classes, &lane.classes);
            add_all(&mut sum.kv_classes, &lane.kv_classes);
            sum.peak_pages = sum.peak_pages.max(lane.peak_pages);
            (sum.at_boot, sum.left) = (lane.at_boot, lane.left);
        }
    }

    /// Every count of a run, in one order: so they go to another process. Those that oracles have
    /// not judged are known by name, and a lane's counters stay with whoever asked for them.
    #[cfg(feature = "worker")]
    pub(crate) fn counts_mut(&mut self) -> Vec<&mut u64> {
        let Self {
            nr_traces,
            nr_ops,
            nr_lane_ops,
            nr_releases,
            calls,
            skips,
            lanes,
            nr_faults,
            effort,
            nr_retries,
            nr_served,
            nr_unservable,
            nr_checks,
            nr_incomparable,
            nr_dropped_lines,
            relaxed,
            excused: _,
        } = self;
        let Effort { nr_reclaim_rounds, nr_oom_kills, nr_warnings } = effort;
        let single = [
            nr_traces,
            nr_ops,
            nr_lane_ops,
            nr_releases,
            nr_faults,
            nr_reclaim_rounds,
            nr_oom_kills,
            nr_warnings,
            nr_retries,
            nr_served,
            nr_unservable,
            nr_checks,
            nr_incomparable,
            nr_dropped_lines,
        ];
        let by_call = calls.iter_mut().flatten().chain(skips.iter_mut().flatten());
        let lanes = lanes.iter_mut().flat_map(|lane| {
            let LaneStats { name: _, classes, kv_classes, peak_pages, at_boot: _, left: _ } = lane;
            classes.iter_mut().chain(kv_classes).chain([peak_pages])
        });
        single.into_iter().chain(by_call).chain(relaxed.counts_mut()).chain(lanes).collect()
    }

    fn count_effort(&mut self, effort: Effort) {
        self.effort.nr_reclaim_rounds += effort.nr_reclaim_rounds;
        self.effort.nr_oom_kills += effort.nr_oom_kills;
        self.effort.nr_warnings += effort.nr_warnings;
    }

    /// Ops times lanes that were skipped.
    pub fn nr_skipped(&self) -> u64 {
        self.skips.iter().flatten().sum()
    }

    /// Ops times lanes that were skipped, by reason.
    pub fn skipped(&self) -> Skips {
        let mut sums = Skips::default();
        for counts in &self.skips {
            add_all(&mut sums, counts);
        }
        sums
    }

    /// The share of ops that were carried out, from 0 to 1.
    pub fn executed_share(&self) -> f64 {
        self.nr_lane_ops as f64 / (self.nr_lane_ops + self.nr_skipped()).max(1) as f64
    }
}

fn add_all(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn reasons_are_in_the_order_of_their_enum() {
        for (place, (skip, why)) in SKIPS.iter().enumerate() {
            assert_eq!(*skip as usize, place, "{why}");
        }
    }
}
