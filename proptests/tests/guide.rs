//! `docs/which-allocator.md` says what the allocator's own table says.
//!
//! The tables of the page are printed from `alloc_core::guide`, to which a test of alloc-core holds
//! the allocator. So what a person reads there is what the code does. The contexts are tried here,
//! call by call, before the oracles.
//!
//! The advice around the tables is written by hand.

use alloc_core::error::{ConvertCall, FreeCall};
use alloc_core::guide::{ALLOCATORS, Alignment, Allocator, CONVERSIONS, Contexts, Conversion};
use kvroute_harness::call::{CALLS, Role};
use kvroute_harness::exec::explain;
use kvroute_harness::words::{CONTEXTS, Context};
use kvroute_harness::{CAMPAIGNS, Trace};
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

/// A call's arguments as a trace has them, for `size` bytes.
fn arguments(call: &str, size: u64, gfp: &str) -> String {
    let spec = CALLS.iter().find(|spec| spec.name == call).expect("the guide names known calls");
    let order = (size.div_ceil(4096)).next_power_of_two().ilog2();
    let argument = |(_, role): &(&str, Role)| match role {
        Role::Size | Role::Held => format!("{size:#x}"),
        Role::Gfp => gfp.into(),
        Role::Count | Role::Results => "1".into(),
        Role::Node => "0".into(),
        Role::Cache => "c0".into(),
        Role::Order => order.to_string(),
        Role::Align => "0x1000".into(),
        Role::RangeStart => "0x0".into(),
        Role::RangeEnd => "0x1000000".into(),
        Role::FreedList => "r0".into(),
        role if role.is_address() => "r0".into(),
        other => panic!("{call} takes a {other:?}"),
    };
    spec.args.iter().map(argument).collect::<Vec<_>>().join(", ")
}

/// What becomes of the last of a few ops, on a machine with room, whose oracles are all silent.
fn last_answer(ops: &str) -> String {
    let text = format!("machine (frames: 8192, vmalloc_pages: 8192)\n{ops}");
    let trace = Trace::parse(&text).unwrap_or_else(|error| panic!("{ops}: {error}"));
    let campaign = CAMPAIGNS.iter().find(|campaign| campaign.name == "frees").expect("a campaign");
    let shown = explain(campaign, &trace);
    if let Some(failure) = shown.failure {
        panic!("{failure}");
    }
    shown.answers.last().expect("an op")[0].clone()
}

/// The contexts in which a test of every call, with both sides of kvmalloc, has the answer.
fn where_all(test: impl Fn(&str, Context) -> bool) -> Contexts {
    let both = ["slab", "vmalloc"];
    let is_in = |context| both.iter().all(|route| test(route, context));
    let [task, atomic, softirq, hardirq, nmi] =
        CONTEXTS.iter().map(|(_, context)| is_in(*context)).collect::<Vec<_>>()[..]
    else {
        panic!("the guide knows five contexts")
    };
    assert!(!nmi, "any context is any but a non-maskable interrupt");
    Contexts { task, atomic, softirq, hardirq }
}

fn beside(call: &str, route: &str, context: Context) -> String {
    let takes_route = CALLS.iter().any(|spec| spec.name == call && spec.traits.routed);
    let route = if takes_route { format!("route: {route}, ") } else { String::new() };
    let (name, _) = CONTEXTS.iter().find(|(_, known)| *known == context).expect("a context");
    format!("({route}context: {name})")
}

const CACHE: &str = "c0 = kmem_cache_create(0x28, 0)\n";

/// Where a call allocates, with the flags that its context takes: whatever the size, so that
/// kvmalloc cannot hide behind its slab side.
fn allocates_in(row: &Allocator, call: &str) -> Contexts {
    let is_kv = row.mappings.len() > 1;
    let sizes: &[u64] = if is_kv { &[0x2000, 0x50_0000] } else { &[0x1000] };
    where_all(|route, context| {
        let gfp = if context == Context::Task { "GFP_KERNEL" } else { "GFP_ATOMIC" };
        sizes.iter().all(|size| {
            let (arguments, beside) = (arguments(call, *size, gfp), beside(call, route, context));
            let answer = last_answer(&format!("{CACHE}r0 = {call}({arguments}) {beside}\n"));
            ["Slab", "Pages", "Vmalloc"].contains(&answer.as_str())
        })
    })
}

/// Where a call frees what another has allocated in a task.
fn frees_in(call: &str, free: FreeCall) -> Contexts {
    where_all(|route, context| {
        let got = format!("{call}({})", arguments(call, 0x1000, "GFP_KERNEL"));
        let given = format!("{}({})", free.name(), arguments(free.name(), 0x1000, ""));
        let (task, there) = (beside(call, route, Context::Task), beside(free.name(), "", context));
        last_answer(&format!("{CACHE}r0 = {got} {task}\n{given} {there}\n")) == "Done"
    })
}

#[test]
fn every_call_is_for_the_contexts_that_the_page_names() {
    for row in ALLOCATORS {
        for call in row.calls {
            assert_eq!(allocates_in(row, call), row.alloc_in, "where {call} allocates");
            for free in row.frees {
                let actual = frees_in(call, *free);
                assert_eq!(actual, row.free_in, "where {} frees memory of {call}", free.name());
            }
        }
    }
}

/// Whether a page has this table, all of it, nothing more in it, and no other with its head.
fn has_table(page: &str, table: &str) -> bool {
    let head = table.lines().next().unwrap_or_default();
    let after = page.split_once(table).map(|(_, after)| after);
    page.lines().filter(|line| *line == head).count() == 1
        && after.is_some_and(|after| !after.starts_with('|'))
}

#[track_caller]
fn check(what: &str, expected: &str) {
    assert!(has_table(&page(), expected), "\nthe table of {what} should be:\n\n{expected}");
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
    let (calls, gets) = allocators();
    for table in [calls, gets, conversions()] {
        let page = page();
        let rows: Vec<&str> = table.lines().collect();
        let (first, last) = (rows[2].to_owned() + "\n", rows[rows.len() - 1].to_owned() + "\n");
        for lagging in [
            page.replace(&first, ""),
            page.replace(&last, ""),
            page.replace(&first, &first.replacen('`', "`k", 1)),
            page.replace(&first, &format!("{first}| a row |\n")),
            page.replace(&last, &format!("{last}| a row |\n")),
            page.clone() + &format!("\n{}\n|---|\n| an old table |\n", rows[0]),
        ] {
            assert!(lagging != page && !has_table(&lagging, &table), "deaf: {lagging}");
        }
    }
}
