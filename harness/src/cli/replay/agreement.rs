//! How a recorded kernel's answers agree with the policy lane and the model, for people to read.
//!
//! It shows a share of requests, then fact by fact, then every rule that explains a difference,
//! then what no rule explains, with its place.
//!
//! What is compared, and how, is in `crate::recorded`.

use crate::recorded::{Agreement, Fact, Rule, Tally};
use crate::report::{grouped, table};
use std::collections::BTreeMap;
use std::path::Path;

/// The whole comparison.
pub(super) fn as_text(agreement: &Agreement, path: &Path) -> String {
    let Some(percent) = agreement.percent() else {
        return "the recording has no request for memory, so there is nothing to compare\n"
            .to_owned();
    };
    let mut text = format!(
        "the recorded kernel and the policy lane agree in {} of {} requests ({percent:.2} %); {} differ by \
         a named rule, {} by none\n\n{}",
        grouped(agreement.agreed),
        grouped(agreement.requests),
        grouped(agreement.by_rule),
        grouped(agreement.unexplained()),
        facts(agreement),
    );
    for (rule, count) in rules(agreement) {
        let sentence = Rule::ALL.iter().find(|(known, _)| *known == rule);
        let sentence = sentence.map_or("", |(_, sentence)| sentence);
        text += &format!("\n  by a rule: {} {sentence}", grouped(count));
    }
    for difference in &agreement.differences {
        let (line, request, reason) = (difference.line, &difference.request, &difference.reason);
        text += &format!("\n  {}:{line}: {request}: {reason}", path.display());
    }
    let unexplained: u64 = agreement.facts.values().map(Tally::unexplained).sum();
    let more = unexplained.saturating_sub(agreement.differences.len() as u64);
    if more > 0 {
        text += &format!("\n  and {} more of this kind", grouped(more));
    }
    text + "\n"
}

/// A line for each kind of fact.
fn facts(agreement: &Agreement) -> String {
    let head = ["fact", "known", "agree", "by a rule", "unexplained"].map(str::to_owned);
    let mut cells = vec![head.to_vec()];
    for (fact, name) in Fact::ALL {
        let Some(tally) = agreement.facts.get(&fact) else { continue };
        let by_rule = tally.by_rule.values().sum();
        let numbers = [tally.compared, tally.agreed, by_rule, tally.unexplained()].map(grouped);
        cells.push(std::iter::once(name.to_owned()).chain(numbers).collect());
    }
    table(&cells)
}

/// How often each rule explains something.
fn rules(agreement: &Agreement) -> BTreeMap<Rule, u64> {
    let mut sums = BTreeMap::new();
    for (rule, count) in agreement.facts.values().flat_map(|tally| &tally.by_rule) {
        *sums.entry(*rule).or_default() += count;
    }
    sums
}
