//! The way of a trace through the harness, as `ARCHITECTURE.md` tells it, goes through functions
//! that there are.
//!
//! A row of its table names a file and a function of it. Whether one calls the next is not looked
//! at: what lies between them may change.

use crate::source;

/// More stations than this are not one way that a reader can keep in mind.
const MOST_STATIONS: usize = 8;

/// The files and functions that the section of a document names, row by row.
fn stations(document: &str) -> Vec<(&str, &str)> {
    let section = document.split("\n## One trace on its way\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let quoted = rows.map(|row| row.split('`').skip(1).step_by(2));
    quoted.filter_map(|mut quoted| Some((quoted.next()?, quoted.next()?))).collect()
}

/// What is wrong with the way, if `source` gives the text of a file.
fn complaints(document: &str, source: impl Fn(&str) -> String) -> Vec<String> {
    let stations = stations(document);
    let mut complaints = Vec::new();
    if !(1..=MOST_STATIONS).contains(&stations.len()) {
        complaints.push(format!("a way of {} stations", stations.len()));
    }
    for (file, function) in stations {
        let text = source(file);
        if !["(", "<"].iter().any(|after| text.contains(&format!("fn {function}{after}"))) {
            complaints.push(format!("{file} has no function {function}"));
        }
    }
    complaints
}

#[test]
fn a_trace_goes_the_way_that_is_told() {
    let found = complaints(&source("ARCHITECTURE.md"), source);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn barks_on_a_way_that_is_not_there() {
    let way = |rows: &str| {
        let document = format!("# A\n\n## One trace on its way\n\n|||\n|---|---|\n{rows}\n## B\n");
        complaints(&document, |_| "fn go(a: u8) {}\nfn stay<T>() {}".to_owned())
    };
    let row = "| `a.rs` | `go` | it goes |\n";
    assert_eq!(way(&format!("{row}| `a.rs` | `stay` | it stays |\n")), [""; 0]);
    assert_eq!(way("| `a.rs` | `g` | it goes |\n"), ["a.rs has no function g"]);
    assert_eq!(way(""), ["a way of 0 stations"]);
    assert_eq!(way(&row.repeat(9)), ["a way of 9 stations"]);
}
