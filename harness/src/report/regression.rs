//! A failing trace as a regression test in Rust: a file that goes into `proptests/tests/` as it is.
//!
//! The test says nothing of the fault but the trace and the campaign, so it stays true however the
//! fault is mended. Its name comes from the trace, so that no two are alike.

use crate::caller;
use crate::paint::mix;
use crate::verdict::Failure;
use std::fmt::Write;

/// A test that fails until the fault is mended.
pub fn regression_test(failure: &Failure) -> String {
    let mut trace = failure.trace.clone();
    trace.why = failure.why().iter().map(|line| anywhere(line)).collect();
    caller::mark(&mut trace);
    let trace = trace.to_string();
    let (campaign, oracle) = (failure.campaign, failure.oracle);
    let name = format!(
        "{}_of_{}_{:016x}",
        oracle.replace('-', "_"),
        campaign.replace('-', "_"),
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
    let place = campaign.replace('-', "_").to_uppercase();
    line(&format!("use kvroute_harness::campaign::{place};"));
    line("use kvroute_harness::{Trace, check_expected};");
    line("");
    line(&format!("const TRACE: &str = r{fence}\"\n{trace}\"{fence};"));
    line("");
    line("#[test]");
    line(&format!("fn {name}() {{"));
    line("    let trace = Trace::parse(TRACE).expect(\"the trace reads\");");
    line(&format!("    let verdict = check_expected(&{place}, &trace);"));
    line("    verdict.unwrap_or_else(|failure| panic!(\"{failure}\"));");
    line("}");
    out
}

/// A reason as it can stand in any source: what panicked may say signs that rustc refuses in a
/// literal, and in which folder of one machine it lies.
fn anywhere(reason: &str) -> String {
    let is_refused = |sign: char| {
        sign.is_control() || matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut line = String::new();
    for sign in reason.chars() {
        if is_refused(sign) { line.extend(sign.escape_unicode()) } else { line.push(sign) }
    }
    let words: Vec<String> = line.split(' ').map(without_folder).collect();
    words.join(" ")
}

/// A word that holds the path of a file from the root on, with the file's name alone.
fn without_folder(word: &str) -> String {
    let mut slashes = word.match_indices('/').map(|(at, _)| at);
    let first = slashes
        .find(|at| !word[..*at].ends_with(|sign: char| sign.is_alphanumeric() || sign == '.'));
    match (first, word.rfind('/')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", &word[..first], &word[last..])
        }
        _ => word.to_owned(),
    }
}

/// The same everywhere and for ever.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0, |hash, byte| mix(hash, byte.into()))
}
