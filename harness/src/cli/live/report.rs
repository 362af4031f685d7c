//! `kvroute live report`: what each caller of kvmalloc was given, and what was reported.
//!
//! A caller that vmalloc has never served is one of which nothing is known, so they are listed.
//! Something reported is an objection.

use super::module::Module;
use super::told::{Caller, Counts, Report, Told};
use crate::cli::Outcome;
use crate::cli::document::Document;
use crate::report::{grouped, table};
use serde_json::{Value, json};
use std::path::Path;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Print the tables as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn report(sys: &Path, document: &mut Document) -> Outcome {
    let module = Module::find(sys)?;
    let (plan, told) = (module.plan()?, module.told()?);
    document.say(&format!("plan: {plan}\n{}\n\n{}", counted(&told.counts), as_text(&told)));
    document.put("plan", plan.to_string());
    document.put("stats", json!(told.counts.all()));
    document.put("callers", told.callers.iter().map(caller_as_json).collect::<Vec<_>>());
    document.put("never_vmalloc", never_by_vmalloc(&told).collect::<Vec<_>>());
    document.put("reports", told.reports.iter().map(report_as_json).collect::<Vec<_>>());
    tell_of(&told.reports, document);
    Ok(())
}

/// Reports are objections.
pub(super) fn tell_of(reports: &[Report], document: &mut Document) {
    for Report { nr_times, rule, caller } in reports {
        let times = if *nr_times == 1 { String::new() } else { format!(", {nr_times} times") };
        document.shortfall("reported", &format!("{rule}, memory of {caller}{times}"));
    }
}

/// A line of what was decided.
pub(super) fn counted(counts: &Counts) -> String {
    let nr = |name: &str| grouped(counts.of(name));
    format!(
        "requests: {}; routed to vmalloc {}, to slab {}; by Linux's own policy {}; failed by the \
         plan {}; not in the tables {}; reports {}",
        nr("requests"),
        nr("by_vmalloc"),
        nr("by_slab"),
        nr("by_policy"),
        nr("failed"),
        nr("untracked"),
        nr("reported"),
    )
}

fn never_by_vmalloc(told: &Told) -> impl Iterator<Item = &str> {
    let never = told.callers.iter().filter(|caller| caller.nr_vmalloc == 0);
    never.map(|caller| caller.name.as_str())
}

fn as_text(told: &Told) -> String {
    let head = ["caller", "requests", "vmalloc", "slab", "failed", "reports"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    cells.extend(told.callers.iter().map(|caller| row(&caller.name, numbers(caller))));
    let total = told.callers.iter().map(numbers).fold([0; 5], |mut sums, caller| {
        sums.iter_mut().zip(caller).for_each(|(sum, nr)| *sum += nr);
        sums
    });
    cells.push(row("all", total));
    let never: Vec<&str> = never_by_vmalloc(told).collect();
    let mut text = table(&cells);
    text += &format!("\nnever served by vmalloc: {} of {}\n", never.len(), told.callers.len());
    never.iter().for_each(|name| text += &format!("  {name}\n"));
    text
}

fn numbers(caller: &Caller) -> [u64; 5] {
    let Caller { nr_requests, nr_vmalloc, nr_slab, nr_failed, nr_reports, .. } = caller;
    [*nr_requests, *nr_vmalloc, *nr_slab, *nr_failed, *nr_reports]
}

fn row(name: &str, numbers: [u64; 5]) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(numbers.map(grouped)).collect()
}

fn caller_as_json(caller: &Caller) -> Value {
    json!({
        "caller": caller.name,
        "requests": caller.nr_requests,
        "vmalloc": caller.nr_vmalloc,
        "slab": caller.nr_slab,
        "failed": caller.nr_failed,
        "reports": caller.nr_reports,
    })
}

fn report_as_json(report: &Report) -> Value {
    json!({ "rule": report.rule, "caller": report.caller, "times": report.nr_times })
}
