//! What the module tells: counts, callers and reports, in files of debugfs, or in a folder to which
//! a guest's were copied.
//!
//! This is the one place that reads them. A line that is not understood is an error with its file
//! and its number, as it may mean another version of the module.

use crate::cli::output::{read, shown};
use std::collections::BTreeMap;
use std::path::Path;

/// More than any of the files holds: a caller takes a line of at most some hundred bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What the module has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(BTreeMap<String, u64>);

/// The counts that a reader of the module's needs.
const NEEDED: [&str; 8] =
    ["requests", "by_vmalloc", "by_slab", "by_policy", "failed", "reported", "held", "lost"];

impl Counts {
    /// The count of this name.
    pub(super) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All of them, by name.
    pub(super) fn all(&self) -> &BTreeMap<String, u64> {
        &self.0
    }

    /// What was counted since `before`. What is held may also have become less.
    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |(name, nr): (&String, &u64)| (name.clone(), nr.saturating_sub(before.of(name)));
        Self(self.0.iter().map(less).collect())
    }
}

/// A place in the kernel that asks for memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// `module:function+offset`.
    pub(super) name: String,
    pub(super) nr_requests: u64,
    pub(super) nr_vmalloc: u64,
    pub(super) nr_slab: u64,
    pub(super) nr_failed: u64,
    pub(super) nr_reports: u64,
    /// Requests since the plan's callers were set; 0 if it is none of them.
    pub(super) nr_planned: u64,
}

/// A rule that was broken with memory of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) nr_times: u64,
    pub(super) rule: String,
    /// Whose memory it was, or a dash.
    pub(super) caller: String,
}

impl Report {
    /// Whether the same rule was broken with memory of the same caller.
    fn is_like(&self, other: &Self) -> bool {
        (&self.rule, &self.caller) == (&other.rule, &other.caller)
    }
}

/// All of it at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) counts: Counts,
    pub(super) callers: Vec<Caller>,
    pub(super) reports: Vec<Report>,
}

impl Told {
    /// What is in a folder.
    ///
    /// # Errors
    /// A file that cannot be read, or a line of it that is not understood.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let counts = lines(&folder.join("stats"), count)?.into_iter().collect();
        let counts = Counts(counts);
        if let Some(missing) = NEEDED.iter().find(|name| !counts.0.contains_key(**name)) {
            let file = shown(&folder.join("stats"));
            return Err(format!("{file}: no count '{missing}'; {OTHER_VERSION}"));
        }
        let callers = lines(&folder.join("callers"), caller)?;
        let reports = lines(&folder.join("reports"), report)?;
        Ok(Self { counts, callers, reports })
    }

    /// The reports that there were not before, summed by rule and caller; what the module has told
    /// first comes first.
    pub(super) fn reports_since(&self, before: &Self) -> Vec<Report> {
        let earlier = before.by_rule_and_caller();
        let mut new = self.by_rule_and_caller();
        for report in &mut new {
            let nr_before = earlier.iter().find(|other| other.is_like(report));
            let nr_before = nr_before.map_or(0, |other| other.nr_times);
            report.nr_times = report.nr_times.saturating_sub(nr_before);
        }
        new.retain(|report| report.nr_times > 0);
        new
    }

    /// How many reports have come since `before` for which the module's table had no place.
    pub(super) fn nr_untold_since(&self, before: &Self) -> u64 {
        let nr_told: u64 = self.reports_since(before).iter().map(|report| report.nr_times).sum();
        self.counts.since(&before.counts).of("reported").saturating_sub(nr_told)
    }

    /// A line of the module's is one pair of stacks, so there may be several for a rule and caller.
    fn by_rule_and_caller(&self) -> Vec<Report> {
        let mut sums: Vec<Report> = Vec::new();
        for report in &self.reports {
            match sums.iter_mut().find(|sum| sum.is_like(report)) {
                Some(sum) => sum.nr_times += report.nr_times,
                None => sums.push(report.clone()),
            }
        }
        sums
    }
}

const OTHER_VERSION: &str = "the module and this program are of different versions";

/// The lines of a file, but for its heading.
fn lines<T>(path: &Path, parse: fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let bytes = read(path, FILE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let parsed = numbered.map(|(at, line)| {
        parse(line).ok_or_else(|| {
            let (file, number) = (shown(path), at + 1);
            format!("{file}: line {number}: '{line}' is not understood; {OTHER_VERSION}")
        })
    });
    parsed.collect()
}

/// As many words as are wanted, and no more.
fn words<const N: usize>(line: &str) -> Option<[&str; N]> {
    line.split_whitespace().collect::<Vec<_>>().try_into().ok()
}

fn count(line: &str) -> Option<(String, u64)> {
    let [name, nr] = words(line)?;
    Some((name.to_owned(), nr.parse().ok()?))
}

fn caller(line: &str) -> Option<Caller> {
    let [requests, vmalloc, slab, failed, reports, planned, name] = words(line)?;
    Some(Caller {
        name: name.to_owned(),
        nr_requests: requests.parse().ok()?,
        nr_vmalloc: vmalloc.parse().ok()?,
        nr_slab: slab.parse().ok()?,
        nr_failed: failed.parse().ok()?,
        nr_reports: reports.parse().ok()?,
        nr_planned: planned.parse().ok()?,
    })
}

fn report(line: &str) -> Option<Report> {
    let [times, rule, caller] = words(line)?;
    let nr_times = times.parse().ok()?;
    Some(Report { nr_times, rule: rule.to_owned(), caller: caller.to_owned() })
}
