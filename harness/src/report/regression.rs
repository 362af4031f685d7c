//! A failing trace as a regression test in Rust: a file that goes into `proptests/tests/` as it is.
//!
//! The one idea: the test says nothing of the fault but the trace and the campaign, so it stays
//! true however the fault is mended. Its name comes from the trace, so that no two are alike.

use crate::paint::mix;
use crate::verdict::Failure;
use std::fmt::Write;

/// A test that fails until the fault is mended.
pub fn regression_test(failure: &Failure) -> String {
    let mut trace = failure.trace.clone();
    trace.why = failure.why();
    let trace = trace.to_string();
    let (campaign, oracle) = (failure.campaign, failure.oracle);
    let name = format!(
        "{}_of_{campaign}_{:016x}",
        oracle.replace('-', "_"),
        hash(&failure.trace.to_string())
    );
    // The text may have quotation marks of its own, with such signs behind them.
    let fence = (1..).map(|nr| "#".repeat(nr)).find(|fence| !trace.contains(&format!("\"{fence}")));
    let fence = fence.unwrap_or_default();
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{text}").expect("a String takes everything");
    line(&format!(
        "//! The {oracle} oracle once objected to this trace of the campaign `{campaign}`."
    ));
    line("");
    line(&format!("use kvroute_harness::campaign::{};", campaign.to_uppercase()));
    line("use kvroute_harness::{Trace, check_expected};");
    line("");
    line(&format!("const TRACE: &str = r{fence}\"\n{trace}\"{fence};"));
    line("");
    line("#[test]");
    line(&format!("fn {name}() {{"));
    line("    let trace = Trace::parse(TRACE).expect(\"the trace reads\");");
    line(&format!("    let verdict = check_expected(&{}, &trace);", campaign.to_uppercase()));
    line("    verdict.unwrap_or_else(|failure| panic!(\"{failure}\"));");
    line("}");
    out
}

/// The same everywhere and for ever.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0, |hash, byte| mix(hash, byte.into()))
}
