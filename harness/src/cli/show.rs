//! `kvroute show`: a trace as this version reads it, and what each lane answers to each op.
//!
//! It prints a table with a row for every op that was run, the failing one included, so that what
//! led to an objection can be read from it. The verdict stands below.

use crate::campaign::Campaign;
use crate::cli::checker::IsolationOption;
use crate::cli::document::Document;
use crate::cli::input::{ReadingOption, as_read};
use crate::cli::memory::MemoryOption;
use crate::cli::output::shown;
use crate::cli::{Outcome, parse_campaign};
use crate::exec::Explanation;
use crate::text::CORRECT_CALLER;
use crate::trace::Claim;
use crate::verdict::END_OF_TRACE;
use crate::{Failure, report};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaign down whose lanes the trace is run.
    #[arg(value_parser = parse_campaign)]
    campaign: &'static Campaign,
    /// The trace; `-` is the standard input.
    file: PathBuf,
    #[command(flatten)]
    reading: ReadingOption,
    #[command(flatten)]
    memory: MemoryOption,
    #[command(flatten)]
    isolation: IsolationOption,
    /// Print the answers as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn show(options: &Options, document: &mut Document) -> Outcome {
    let reading = options.reading.reading();
    let trace = options.memory.read(&options.file, reading, |_| options.campaign)?;
    if let Some(as_read) = as_read(&trace, reading) {
        document.say(&format!("{}: {as_read}\n\n", shown(&options.file)));
    }
    let explanation = options.isolation.checker(options.campaign).explain(options.campaign, &trace);
    let claim =
        if trace.claim == Claim::Correct { format!("{CORRECT_CALLER}\n") } else { String::new() };
    let why: String = trace.why.iter().map(|why| format!("# {why}\n")).collect();
    let text = trace.bare().to_string();
    let machine = text.lines().next().unwrap_or_default();
    let table = table(options.campaign, &text, &explanation);
    document.say(&format!("{why}{machine}\n{claim}{table}"));
    document.put("campaign", options.campaign.name);
    document.put("machine", machine);
    document.put("rows", as_json(options.campaign, &text, &explanation));
    if let Some(failure) = explanation.failure {
        let failure = Failure { file: Some(options.file.clone()), reading, ..*failure };
        document.tell("\n", &failure);
        document.failure(&failure);
    }
    Ok(())
}

/// The lines of the ops that were run, the failing one included, with their numbers.
fn lines<'a>(
    text: &'a str,
    explanation: &Explanation,
) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
    let at = explanation.failure.as_deref().map_or(0, |failure| failure.op + 1);
    let nr_rows = explanation.answers.len().max(at);
    text.lines().skip(1).chain([END_OF_TRACE]).enumerate().take(nr_rows)
}

/// A row for each op, with an arrow at the one that was objected to.
fn table(campaign: &Campaign, text: &str, explanation: &Explanation) -> String {
    let names = campaign.lanes.iter().map(|lane| lane.name.to_owned());
    let mut rows = vec![std::iter::once(String::new()).chain(names).collect::<Vec<_>>()];
    let failure = explanation.failure.as_deref();
    let at = failure.map(|failure| failure.op);
    for (index, line) in lines(text, explanation) {
        let mark = match at {
            None => "",
            Some(at) if at == index => "--> ",
            Some(_) => "    ",
        };
        let mut row = vec![format!("{mark}{line}")];
        row.extend(explanation.answers.get(index).into_iter().flatten().cloned());
        if let Some(failure) = failure.filter(|failure| failure.op == index) {
            objection(campaign, failure, &mut row);
        }
        rows.push(row);
    }
    report::table(&rows)
}

/// The same rows: the op and what each lane answered; a lane that was not asked any more is absent.
fn as_json(campaign: &Campaign, text: &str, explanation: &Explanation) -> Value {
    let at = explanation.failure.as_deref().map(|failure| failure.op);
    let row = |(index, line): (usize, &str)| {
        let answers = explanation.answers.get(index).into_iter().flatten();
        let named = campaign.lanes.iter().zip(answers);
        let answers: Map<String, Value> =
            named.map(|(lane, answer)| (lane.name.to_owned(), answer.trim().into())).collect();
        json!({ "op": index, "call": line, "answers": answers, "objected": at == Some(index) })
    };
    lines(text, explanation).map(row).collect()
}

/// Writes the oracle's name where the lane's answer stands or would have stood.
fn objection(campaign: &Campaign, failure: &Failure, row: &mut Vec<String>) {
    let place = campaign.lanes.iter().position(|lane| Some(lane.name) == failure.lane);
    let Some(place) = place else { return };
    row.resize(row.len().max(place + 2), String::new());
    let cell = &mut row[place + 1];
    *cell = match &cell[..] {
        "" => format!("<{}>", failure.oracle),
        answer => format!("{answer} <{}>", failure.oracle),
    };
}
