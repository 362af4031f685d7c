//! `docs/trace-language.md` lists the calls, the properties and the classes that the tables have.
//!
//! The one idea: the lists in the page are printed from the same tables that parse and print a
//! trace, so the page cannot lag behind. The test shows the right text when it differs.
//!
//! What the calls mean is written by hand around the lists.

use kvroute_harness::Trace;
use kvroute_harness::call::{CALLS, Role, Yields};
use kvroute_harness::op::CLASSES;
use kvroute_harness::relaxation::RELAXATIONS;
use kvroute_harness::text::{CALLER_FIELDS, FAULT_SITES, MACHINE_FIELDS, MachineField, Written};
use kvroute_harness::words::{CONTEXTS, ROUTES};
use std::fs;
use std::path::Path;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trace-language.md");
    fs::read_to_string(path).expect("docs/trace-language.md is readable")
}

/// The fenced block of this name in a page, which has one.
fn block<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    let opening = format!("```text {name}\n");
    let mut blocks = page.split(&opening).skip(1);
    let (block, _) = blocks.next()?.split_once("```")?;
    blocks.next().is_none().then_some(block)
}

#[track_caller]
fn check(name: &str, expected: &str) {
    let page = page();
    let actual = block(&page, name);
    assert_eq!(actual, Some(expected), "\nthe block {name} should be:\n\n{expected}");
}

#[test]
fn barks_on_a_block_that_is_not_there_once() {
    let right = "```text calls\nf()\n```\n";
    assert_eq!(block(right, "calls"), Some("f()\n"));
    for page in ["", "```text call\nf()\n```\n", "```text calls\nf()\n", &right.repeat(2)] {
        assert_eq!(block(page, "calls"), None, "deaf: {page}");
    }
}

#[test]
fn the_calls_are_all_there() {
    let line = |spec: &kvroute_harness::call::CallSpec| {
        let dst = match spec.yields {
            Yields::Nothing => "",
            Yields::Memory if spec.has(Role::Results) => "rN..rM = ",
            Yields::Memory => "rN = ",
            Yields::Cache => "cN = ",
        };
        let names = |optional| {
            let args = spec.args.iter().filter(move |(_, kind)| kind.is_optional() == optional);
            let name = |(name, kind): &(&str, _)| match kind {
                Role::FreedList => format!("{name}..."),
                _ => (*name).to_owned(),
            };
            args.map(name).collect::<Vec<_>>().join(", ")
        };
        let (args, optional) = (names(false), names(true));
        let rest = if optional.is_empty() { optional } else { format!("[, {optional}]") };
        let route = if spec.traits.routed { "  (route)" } else { "" };
        let since = match spec.since {
            "" => String::new(),
            version => format!("  (since {version})"),
        };
        format!("{dst}{}({args}{rest}){route}{since}\n", spec.name)
    };
    check("calls", &CALLS.iter().map(line).collect::<String>());
}

#[test]
fn the_classes_are_all_there() {
    let line = |(_, name, meaning): &(_, &str, &str)| format!("{name:<17} {meaning}\n");
    check("classes", &CLASSES.iter().map(line).collect::<String>());
}

#[test]
fn the_relaxations_are_all_there() {
    let line = |(_, name, reason): &(_, &str, &str)| format!("{name:<17} {reason}\n");
    check("relaxations", &RELAXATIONS.iter().map(line).collect::<String>());
}

#[test]
fn the_properties_are_all_there() {
    let routes: Vec<&str> = ROUTES.iter().map(|(name, _)| *name).collect();
    let sites = FAULT_SITES.iter().map(|site| format!("{}: n\n", site.name)).collect::<String>();
    let callers = CALLER_FIELDS.iter().map(|field| format!("{}: n\n", field.name));
    let contexts: Vec<&str> = CONTEXTS.iter().map(|(name, _)| *name).collect();
    let (routes, contexts) = (routes.join(" | "), contexts.join(" | "));
    let callers = callers.collect::<String>();
    check("properties", &format!("route: {routes}\n{sites}{callers}context: {contexts}\n"));
}

#[test]
fn the_machine_is_all_there() {
    let machine = kvroute_harness::trace::Machine::default();
    let line = |field: &MachineField| {
        let (least, most) = field.limits;
        let value = |value: u32| match field.written {
            Written::Name(names) => names[value as usize].to_owned(),
            _ => value.to_string(),
        };
        let values = match field.written {
            Written::Name(names) => names.join(" | "),
            _ => format!("{least} to {most}"),
        };
        format!("{:<14} {values}, {} if not given\n", field.name, value((field.of)(&machine)))
    };
    check("machine", &MACHINE_FIELDS.iter().map(line).collect::<String>());
}

#[test]
fn the_example_reads_and_gives_what_it_expects() {
    let page = page();
    let example = block(&page, "example").expect("an example");
    let holds = |text: &str| {
        let trace = Trace::parse(text).map_err(|error| error.to_string())?;
        let silent = trace.ops.iter().find(|op| op.expect.is_none());
        silent.map_or(Ok(()), |op| Err(format!("no class beside {op}")))?;
        let verdict = kvroute_harness::check_expected(&kvroute_harness::campaign::ROUTED, &trace);
        verdict.map_err(|failure| failure.to_string())
    };
    holds(example).unwrap_or_else(|error| panic!("{error}"));
    for wrong in ["# -> Done", "", "# --> WrongAllocator", "# -> Nothing"] {
        let text = example.replace("# -> WrongAllocator", wrong);
        assert!(text != example && holds(&text).is_err(), "deaf: {wrong}");
    }
}
