//! The catalogue of callers: what it claims of each case, and that the corrected twins are silent.

use kvroute_harness::caller::catalogue::{Case, cases};
use kvroute_harness::caller::{Config, Finding, Rule, explore};

/// Asks every case.
#[track_caller]
fn ask(question: impl Fn(&Case) -> Result<(), String>) {
    let complaint = |case: &Case| question(case).err().map(|why| format!("{}: {why}", case.name));
    let complaints: Vec<String> = cases().filter_map(complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn every_assumption_is_found_as_the_catalogue_says() {
    ask(|case| {
        let found = |config| explore(&config, case.wrong).err().ok_or("it is not found");
        let finding: Box<Finding> = found(Config::new())?;
        if (finding.misuse.rule, finding.phase) != (case.rule, case.phase) {
            return Err(format!("it should be {:?}, by {:?}\n{finding}", case.rule, case.phase));
        }
        let again = found(Config::new().plan(&finding.plan.to_string()))?;
        match again.misuse.is_like(&finding.misuse) {
            true => Ok(()),
            false => Err(format!("its plan shows another\n{finding}\n{again}")),
        }
    });
}

#[test]
fn every_twin_is_silent() {
    ask(|case| match explore(&Config::new(), case.right) {
        // What may fail was failed.
        Ok(explored) if explored.nr_refused > 0 || case.rule == Rule::Panic => Ok(()),
        Ok(explored) => Err(format!("{explored:?}")),
        Err(finding) => Err(format!("it is not silent\n{finding}")),
    });
}
