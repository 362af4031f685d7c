//! Scripts say what is wrong with their arguments, and end with exit code 2.
//!
//! The one idea: what a script refuses, it refuses before it touches the system, so these tests
//! need neither root nor tracefs. That `ci/record.sh` records is seen in a guest: see
//! `docs/recording.md`.

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

#[test]
fn the_document_on_recording_shows_the_probes_of_the_script() {
    let read = |name: &str| std::fs::read_to_string(root().join(name)).expect("a readable file");
    let (script, document) = (read("ci/record.sh"), read("docs/recording.md"));
    for probe in ["kv", "kvr", "kvf", "vm", "vmr", "vf"] {
        assert!(script.contains(&format!(":$group/{probe} ")), "ci/record.sh has no probe {probe}");
        assert!(document.contains(&format!(":kvroute/{probe} ")), "no probe {probe} documented");
    }
}
