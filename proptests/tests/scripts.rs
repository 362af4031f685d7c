//! Scripts say what is wrong with their arguments, and end with exit code 2.
//!
//! What a script refuses, it refuses before it touches the system, so these tests need neither root
//! nor tracefs. That `ci/record.sh` records is seen in a guest: see `docs/recording.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a script is given, and a part of what it must say.
const REFUSED: &[(&[&str], &str)] = &[
    (&[], "for how long, or which command"),
    (&["--"], "for how long, or which command"),
    (&["soon"], "'soon' is not a number of seconds"),
    (&["0"], "'0' is not a number of seconds"),
    (&["-5"], "no option '-5'"),
    (&["5", "ls"], "'ls' after the seconds"),
    (&["-o"], "-o wants a value"),
    (&["-o", "", "5"], "-o wants a file"),
    (&["-b", "many", "5"], "'many' is not a number of MiB"),
    (&["-b", "99999999999999999999", "5"], "is not a number of MiB"),
    (&["-x", "5"], "no option '-x'"),
    (&["--", "no-such-command-here"], "no command 'no-such-command-here'"),
    (&["-o", "no/such/folder/file", "5"], "no folder no/such/folder"),
    (&["-o", "ci", "5"], "ci is a folder"),
    (&["-t", "no/such/tracefs", "5"], "no tracefs in no/such/tracefs"),
];

#[test]
fn record_refuses_what_it_cannot_do() {
    for (arguments, reason) in REFUSED {
        let mut run = Command::new("sh");
        run.arg("ci/record.sh").args(*arguments).current_dir(root());
        let output = run.output().expect("there is a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("record.sh: ") && said.contains(reason), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}: a complaint is no output");
        assert!(!said.contains("ci/record.sh: "), "{arguments:?}: the shell complains: {said}");
    }
}

/// The same of the scripts that start guests.
const GUESTS_REFUSED: &[(&str, &[&str], &str)] = &[
    ("live.sh", &["6.1", "nothing"], "no workload 'nothing'; there are cost files"),
    ("live.sh", &["6.1", "files", "now"], "what is 'now' after the kernel and the workload?"),
];

fn is_refused(script: &str, arguments: &[&str], seconds: &str, reason: &str) {
    let mut run = Command::new("bash");
    run.arg(format!("ci/{script}")).args(arguments).current_dir(root());
    let output = run.env("KVROUTE_GUEST_SECONDS", seconds).output().expect("there is a bash");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{script} {arguments:?}: {said}");
    let is_said = said.starts_with(&format!("{script}: ")) && said.contains(reason);
    assert!(is_said, "{script} {arguments:?}: {said}");
    assert!(output.stdout.is_empty(), "{script} {arguments:?}: a complaint is no output");
}

#[test]
fn guests_are_refused_what_they_cannot_do() {
    for (script, arguments, reason) in GUESTS_REFUSED {
        is_refused(script, arguments, "300", reason);
    }
}

#[test]
fn guests_are_refused_a_time_that_is_no_number() {
    is_refused("live.sh", &["6.1", "files"], "soon", "'soon' is not a number of seconds");
}

#[test]
fn a_caller_in_c_is_fuzzed_for_a_number_of_seconds() {
    let refused = |arguments, reason| is_refused("caller-c.sh", arguments, "300", reason);
    refused(&["--fuzz"], "'' is not a number of seconds");
    refused(&["--fuzz", "soon", "driver.c"], "'soon' is not a number of seconds");
    refused(&["--fuzz", "3"], "there is no file to fuzz");
}

/// Without a kernel to boot nothing is run, and that is said, and is no failure.
#[test]
fn guests_without_a_kernel_are_skipped() {
    let run = Command::new("bash").args(["ci/live.sh", "0.1"]).current_dir(root()).output();
    let output = run.expect("there is a bash");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.starts_with("skipped: no "), "{said}");
    assert!(said.contains("apt-get install"), "{said}");
}

/// The probes of a text, as in `p:group/kv function size=$arg1:u64`: the name of each with what it
/// prints. Those that name arguments, as some kernels can, stand beside others that number them.
fn probes(text: &str, group: &str) -> BTreeSet<String> {
    let mut probes = BTreeSet::new();
    for (at, _) in text.match_indices(group) {
        let is_probe = text[..at].rsplit(['"', '\n']).next().is_some_and(|kind| {
            kind == "p:" || kind == "$RETURNS:" || kind.starts_with('r') && kind.ends_with(':')
        });
        let definition = text[at + group.len()..].split(['"', '\n']).next().unwrap_or_default();
        let name = definition.split(' ').next().unwrap_or_default();
        let fields: Vec<&str> = definition.split(' ').filter(|word| word.contains('=')).collect();
        if is_probe && definition.contains("=$") {
            probes.insert(format!("{name} {}", fields.join(" ")));
        }
    }
    probes
}

/// A script with the numbers of arguments that it has on Linux 6.1, and signs as they are printed.
fn expanded(script: &str) -> String {
    script.replace("\\$", "$").replace("$((flags + 1))", "3").replace("$flags", "2")
}

/// The lists of probes in the loops of a text that go over them.
fn loops(text: &str) -> Vec<BTreeSet<&str>> {
    let heads = text.split("for probe in ").skip(1).filter_map(|rest| rest.split(';').next());
    heads.map(|names| names.split(' ').collect()).collect()
}

/// What differs between a script that records and the page that says how to do the same by hand.
fn recording_complaints(script: &str, page: &str) -> Vec<String> {
    let (actual, shown) = (probes(&expanded(script), "$group/"), probes(page, "kvroute/"));
    let differing = actual.symmetric_difference(&shown);
    let mut complaints: Vec<_> =
        differing.map(|probe| format!("in one of them: {probe}")).collect();
    let names: BTreeSet<&str> = actual.iter().filter_map(|probe| probe.split(' ').next()).collect();
    for (place, text) in [("the script", script), ("the page", page)] {
        if loops(text).is_empty() || loops(text).iter().any(|removed| *removed != names) {
            complaints.push(format!("{place} does not remove all probes"));
        }
    }
    complaints
}

#[test]
fn the_document_on_recording_shows_the_probes_of_the_script() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("a readable file");
    let (script, page) = (read("ci/record.sh"), read("docs/recording.md"));
    assert_eq!(probes(&expanded(&script), "$group/").len(), 6);
    assert_eq!(recording_complaints(&script, &page), Vec::<String>::new());
    let vf = "\"p:$group/vf vfree";
    for (script, page) in [
        (
            script.replace(vf, &format!("\"p:$group/vx vfree addr=\\$arg1:x64\"\n{vf}")),
            page.clone(),
        ),
        (script.replace(vf, "\"p:$group/vx vfree"), page.clone()),
        (script.replace("kv kvr kvf vm vmr vf;", "kv kvr kvf vm vmr;"), page.clone()),
        (script.clone(), page.replace("p:kvroute/vf ", "p:kvroute/vx ")),
        (
            script.clone(),
            page.replace("p:kvroute/vf ", "p:kvroute/vx vfree addr=$arg1:x64\np:kvroute/vf "),
        ),
        (script.clone(), page.replace("p:kvroute/vf vfree addr=", "p:kvroute/vf vfree address=")),
        (script.clone(), page.replace("vfree addr=$arg1", "vfree addr=$arg2")),
        (script.clone(), page.replace("kv kvr kvf vm vmr vf;", "kv kvr kvf vm vmr;")),
    ] {
        assert!(!recording_complaints(&script, &page).is_empty(), "deaf: {script}{page}");
    }
}
