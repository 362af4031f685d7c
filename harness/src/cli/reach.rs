//! `kvroute reach`: which boundaries the traces of each campaign reach, as a table.
//!
//! The boundaries are `crate::reach`'s; here a campaign's traces are made and run as
//! `kvroute run` does it, and a boundary that a campaign must reach and has not is an objection.
//!
//! What lies beyond a boundary is judged by the oracles, as ever.

use crate::bound::Bound;
use crate::cli::checker::Checker;
use crate::cli::document::Document;
use crate::cli::memory::MemoryOption;
use crate::cli::{Outcome, finding, interrupt, parse_our_campaign, pool, ranges};
use crate::generate::generate;
use crate::paint::mix;
use crate::reach::{BEYOND, Boundary, boundaries, reached};
use crate::report::{grouped, table};
use crate::{CAMPAIGNS, Campaign, Failure};
use serde_json::{Map, Value, json};
use std::ops::ControlFlow;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The campaigns (all if none is given).
    #[arg(value_parser = parse_our_campaign)]
    campaigns: Vec<&'static Campaign>,
    /// Run so many ops times lanes of each campaign.
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = ranges::ops)]
    ops: u64,
    /// Where the traces come from; the same seed gives the same traces.
    #[arg(long, default_value_t = 1, allow_hyphen_values = true, value_parser = ranges::seed)]
    seed: u64,
    #[command(flatten)]
    memory: MemoryOption,
    /// Print the table as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The table: a boundary's row has how often each campaign crossed it.
struct Reach {
    campaigns: Vec<&'static Campaign>,
    rows: Vec<(Boundary, Vec<u64>)>,
}

/// Why the traces of a campaign end.
enum End {
    Enough,
    Objection(u64, Box<Failure>),
}

pub(crate) fn reach(options: &Options, document: &mut Document) -> Outcome {
    let all = || CAMPAIGNS.to_vec();
    let campaigns = if options.campaigns.is_empty() { all() } else { options.campaigns.clone() };
    let rows = boundaries().into_iter().map(|boundary| (boundary, Vec::new())).collect();
    let mut reach = Reach { campaigns, rows };
    for campaign in reach.campaigns.clone() {
        match reach.run(campaign, options)? {
            End::Enough if document.is_interrupted() => break,
            End::Enough => {}
            End::Objection(number, failure) => {
                let seed = options.seed;
                let how = format!("kvroute reach {} --seed {seed}, trace {number}", campaign.name);
                finding::shrink_and_keep(
                    document,
                    (campaign, &Checker::Here),
                    &failure,
                    None,
                    &how,
                );
                return Ok(());
            }
        }
    }
    document.put("reached", reach.as_json());
    let unreached: Map<String, Value> = reach.unreached().collect();
    document.put("beyond", BEYOND);
    document.say(&reach.as_text());
    // What was not begun could have reached anything.
    if !document.is_interrupted() {
        for (name, campaigns) in &unreached {
            let campaigns = campaigns.as_array().into_iter().flatten().filter_map(Value::as_str);
            let campaigns = campaigns.collect::<Vec<&str>>().join(", ");
            document.shortfall(&format!("not reached by {campaigns}"), name);
        }
    }
    document.put("unreached", unreached);
    Ok(())
}

impl Reach {
    /// Runs the traces of a campaign and enters how often they cross each boundary.
    fn run(&mut self, campaign: &'static Campaign, options: &Options) -> Result<End, String> {
        let boundaries: Vec<&Boundary> = self.rows.iter().map(|(boundary, _)| boundary).collect();
        let mut sums = vec![0; boundaries.len()];
        let mut nr_lane_ops = 0;
        let jobs = options.memory.jobs(None, Bound::of_generated(campaign))?;
        let work = |number| {
            let mut rng = fastrand::Rng::with_seed(mix(options.seed, number));
            reached(campaign, &generate(&campaign.profile, &mut rng), &boundaries)
        };
        let end = pool::in_order(jobs, work, |number, result| {
            match result {
                Ok((counts, nr_ops)) => {
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                    nr_lane_ops += nr_ops;
                }
                Err(failure) => return ControlFlow::Break(End::Objection(number, failure)),
            }
            if nr_lane_ops >= options.ops || interrupt::received().is_some() {
                return ControlFlow::Break(End::Enough);
            }
            ControlFlow::Continue(())
        });
        self.rows.iter_mut().zip(sums).for_each(|((_, counts), sum)| counts.push(sum));
        end
    }

    /// The boundaries that have not been reached, and the campaigns that must reach them.
    fn unreached(&self) -> impl Iterator<Item = (String, Value)> {
        self.rows.iter().filter_map(|(boundary, counts)| {
            let cells = self.campaigns.iter().zip(counts);
            let missing = cells.filter(|(campaign, n)| **n == 0 && boundary.is_due_in(campaign));
            let names: Vec<&str> = missing.map(|(campaign, _)| campaign.name).collect();
            (!names.is_empty()).then(|| (boundary.name.clone(), names.into()))
        })
    }

    fn as_json(&self) -> Value {
        let row = |counts: &[u64]| -> Map<String, Value> {
            let counts = self.campaigns.iter().zip(counts);
            counts.map(|(campaign, count)| (campaign.name.to_owned(), json!(count))).collect()
        };
        let rows = self.rows.iter();
        let rows: Map<String, Value> =
            rows.map(|(boundary, counts)| (boundary.name.clone(), row(counts).into())).collect();
        rows.into()
    }

    fn as_text(&self) -> String {
        let names = self.campaigns.iter().map(|campaign| campaign.name.to_owned());
        let mut cells = vec![std::iter::once("boundary".to_owned()).chain(names).collect()];
        for (boundary, counts) in &self.rows {
            let counts = self.campaigns.iter().zip(counts).map(|(campaign, count)| {
                let mark = if boundary.is_due_in(campaign) { "*" } else { "" };
                format!("{mark}{}", grouped(*count))
            });
            cells.push(std::iter::once(boundary.name.clone()).chain(counts).collect());
        }
        let beyond: String = BEYOND.iter().map(|row| format!("out of reach: {row}\n")).collect();
        format!("{}\n*: the campaign must reach it\n{beyond}", table(&cells))
    }
}
