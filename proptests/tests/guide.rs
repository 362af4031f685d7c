//! `docs/which-allocator.md` says what the allocator's own table says.
//!
//! The one idea: the tables of the page are printed from `alloc_core::guide`, to which a test of
//! alloc-core holds the allocator. So what a person reads there is what the code does.
//!
//! The advice around the tables is written by hand.

use alloc_core::error::{ConvertCall, FreeCall};
use alloc_core::guide::{ALLOCATORS, Alignment, Allocator, CONVERSIONS, Contexts, Conversion};
use std::fs;
use std::path::Path;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/which-allocator.md");
    fs::read_to_string(path).expect("docs/which-allocator.md is readable")
}

/// Names as code, the way the page lists them.
fn code<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn contexts(contexts: Contexts) -> String {
    let Contexts { task, atomic, softirq, hardirq } = contexts;
    let all = [(task, "task"), (atomic, "atomic"), (softirq, "softirq"), (hardirq, "hardirq")];
    let names: Vec<&str> = all.into_iter().filter(|(may, _)| *may).map(|(_, name)| name).collect();
    if names.len() == all.len() { "any".into() } else { names.join(", ") }
}

fn alignment(alignment: Alignment) -> &'static str {
    match alignment {
        Alignment::Size => "8; a power of two to itself",
        Alignment::SizeUpToPage => "8; a power of two to itself, up to a page",
        Alignment::Cache => "the cache's, at least 8",
        Alignment::Page => "a page",
        Alignment::Block => "its size, as a power of two pages",
    }
}

/// The two tables of the allocators: what to call, and what one gets.
fn allocators() -> (String, String) {
    let calls = |row: &Allocator| {
        let frees = code(row.frees.iter().copied().map(FreeCall::name));
        let (alloc_in, free_in) = (contexts(row.alloc_in), contexts(row.free_in));
        let calls = code(row.calls.iter().copied());
        format!("| {} | {calls} | {frees} | {alloc_in} | {free_in} |\n", row.need)
    };
    let gets = |row: &Allocator| {
        let contiguous = if row.is_contiguous() { "yes" } else { "no" };
        let conversions = code(row.conversions().map(ConvertCall::name));
        let alignment = alignment(row.alignment);
        format!("| `{}` | {alignment} | {contiguous} | {conversions} |\n", row.calls[0])
    };
    let calls: String = ALLOCATORS.iter().map(calls).collect();
    let gets: String = ALLOCATORS.iter().map(gets).collect();
    (
        format!("| need | call | free | allocate in | free in |\n|---|---|---|---|---|\n{calls}"),
        format!("| call | aligned to | contiguous | conversions |\n|---|---|---|---|\n{gets}"),
    )
}

fn conversions() -> String {
    let line = |row: &Conversion| {
        let instead = row.instead.map_or_else(String::new, |call| format!("`{}`", call.name()));
        let Conversion { have, want, otherwise, .. } = row;
        format!("| {have} | {want} | `{}` | {instead} | {otherwise} |\n", row.call.name())
    };
    let lines: String = CONVERSIONS.iter().map(line).collect();
    format!(
        "| have | want | call | else | for any other address, Linux 6.1 |\n\
         |---|---|---|---|---|\n{lines}"
    )
}

#[track_caller]
fn check(what: &str, expected: &str) {
    assert!(page().contains(expected), "\nthe table of {what} should be:\n\n{expected}");
}

#[test]
fn the_allocators_are_all_there() {
    let (calls, gets) = allocators();
    check("calls", &calls);
    check("what one gets", &gets);
}

#[test]
fn the_conversions_are_all_there() {
    check("conversions", &conversions());
}

#[test]
fn barks_on_a_page_that_lags_behind() {
    let (calls, _) = allocators();
    let lagging = page().replace("`kvfree`", "`kfree`");
    assert!(!lagging.contains(&calls));
}
