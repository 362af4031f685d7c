//! `kvroute callers`: the catalogue of hidden assumptions, and what shows each of them.
//!
//! The callers and what they assume are `crate::caller::catalogue`'s. An assumption that
//! is not found as its row says, or a corrected twin that is objected to, is an objection.

use crate::caller::catalogue::{Case, cases};
use crate::caller::{Config, Explored, Finding, explore};
use crate::cli::document::Document;
use crate::cli::{Outcome, interrupt, ranges};
use crate::report::{grouped, table};
use serde_json::{Value, json};
use std::time::Instant;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only those whose name contains this.
    filter: Option<String>,
    /// Run every caller under so many random plans.
    #[arg(long, value_name = "N", default_value_t = 256, allow_hyphen_values = true,
        value_parser = ranges::plans)]
    seeds: u64,
    /// Show the report of each finding.
    #[arg(long)]
    reports: bool,
    /// Print the table as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What became of a case.
struct Row {
    case: &'static Case,
    finding: Option<Box<Finding>>,
    /// What it took to find it, in milliseconds.
    millis: f64,
    /// Whether it is found without random routing too.
    is_found_by_policy: bool,
    twin: Result<Explored, Box<Finding>>,
}

impl Row {
    fn of(case: &'static Case, options: &Options) -> Self {
        let config = Config::new().seeds(options.seeds);
        let began = Instant::now();
        let finding = explore(&config, case.wrong).err();
        let millis = began.elapsed().as_secs_f64() * 1e3;
        let is_found_by_policy = explore(&config.clone().by_policy(), case.wrong).is_err();
        let twin = explore(&config, case.right);
        Self { case, finding, millis, is_found_by_policy, twin }
    }

    /// What is not as the catalogue says.
    fn shortfalls(&self) -> impl Iterator<Item = String> {
        let name = self.case.name;
        let wrong = match &self.finding {
            None => Some(format!("'{name}' is not found")),
            Some(finding) => {
                let is_as_said =
                    (finding.misuse.rule, finding.phase) == (self.case.rule, self.case.phase);
                (!is_as_said).then(|| format!("'{name}' is found otherwise than its row says"))
            }
        };
        let twin = self.twin.as_ref().err();
        let right = twin.map(|_| format!("the corrected twin of '{name}' is objected to"));
        wrong.into_iter().chain(right)
    }

    fn cells(&self) -> Vec<String> {
        let name = self.case.name.to_owned();
        let Some(finding) = &self.finding else { return vec![name, "not found".into()] };
        vec![
            name,
            finding.misuse.rule.name().into(),
            finding.phase.name().into(),
            finding.nr_runs.to_string(),
            format!("{:.1}", self.millis),
            finding.nr_decisions().to_string(),
            if self.is_found_by_policy { "" } else { "yes" }.into(),
        ]
    }

    fn as_json(&self) -> Value {
        let found = |finding: &Finding| {
            json!({
                "rule": finding.misuse.rule.name(),
                "by": finding.phase.name(),
                "runs": finding.nr_runs,
                "decisions": finding.nr_decisions(),
                "plan": finding.plan.to_string(),
            })
        };
        json!({
            "name": self.case.name,
            "source": self.case.source,
            "found": self.finding.as_deref().map(found),
            "only_by_routing": self.finding.is_some() && !self.is_found_by_policy,
            "twin_found": self.twin.as_ref().err().map(|finding| found(finding)),
            "twin_runs": self.twin.as_ref().map_or(0, |explored| explored.nr_runs),
        })
    }
}

pub(crate) fn callers(options: &Options, document: &mut Document) -> Outcome {
    let filter = options.filter.as_deref().unwrap_or_default();
    let mut rows = Vec::new();
    for case in cases().filter(|case| case.name.contains(filter)) {
        if interrupt::received().is_some() {
            break;
        }
        rows.push(Row::of(case, options));
    }
    if rows.is_empty() && !document.is_interrupted() {
        return Err(format!("no caller's name contains '{filter}'"));
    }
    for row in &rows {
        let wrong = row.finding.as_ref().filter(|_| options.reports);
        for finding in wrong.into_iter().chain(row.twin.as_ref().err()) {
            document.say(&format!("{finding}\n\n"));
        }
    }
    document.say(&as_text(&rows));
    document.put("callers", rows.iter().map(Row::as_json).collect::<Vec<_>>());
    for row in &rows {
        for what in row.shortfalls() {
            document.shortfall("not as the catalogue says", &what);
        }
    }
    Ok(())
}

fn as_text(rows: &[Row]) -> String {
    let head = ["assumption", "rule", "found by", "runs", "ms", "decisions", "only by routing"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(Row::cells));
    let nr_found = rows.iter().filter(|row| row.finding.is_some()).count();
    let is_by_routing = |row: &&Row| row.finding.is_some() && !row.is_found_by_policy;
    let nr_by_routing = rows.iter().filter(is_by_routing).count();
    let twins = rows.iter().filter_map(|row| row.twin.as_ref().ok());
    let nr_twin_runs: u64 = twins.map(|explored| explored.nr_runs).sum();
    format!(
        "{}\nfound: {nr_found} of {}; only because of random routing: {nr_by_routing}\n\
         runs of corrected twins without an objection: {}\n",
        table(&cells),
        rows.len(),
        grouped(nr_twin_runs),
    )
}
