//! Devices, pipes, links, signals, and names that are no text.

use crate::common::{FAILING, Folder, GOOD, Said};
use crate::{expect, folder};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A line of each subcommand, and its exit code when nothing is wrong with the output.
const EACH: &[(&str, i32)] = &[
    ("run kmalloc --ops 1", 0),
    ("run kmalloc --ops 1 --json", 0),
    ("callers krealloc --seeds 1", 0),
    ("check routed good", 0),
    ("check routed failing", 1),
    ("check routed failing --json", 1),
    ("show routed good", 0),
    ("show routed failing", 1),
    ("shrink routed failing", 1),
    ("shrink routed failing --test", 1),
    ("reach kmalloc --ops 1", 1),
    ("reach kmalloc --ops 1 --json", 1),
    ("sweep kvmalloc --traces 1", 0),
    ("replay recording", 0),
    ("replay recording --json", 0),
    ("--help", 0),
    ("--version", 0),
];

fn with_recording() -> Folder {
    let folder = folder();
    let recording = "../corpus/recordings/kv-excerpt.trace.zst";
    let recording = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(recording);
    symlink(recording, folder.path().join("recording")).unwrap();
    folder
}

#[test]
fn a_full_disk_is_told_and_hides_no_finding() {
    let folder = with_recording();
    for (line, code) in EACH {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = folder.kvroute(line.split_whitespace());
        let said = Said::of(command.stdout(full).output().unwrap());
        assert_eq!(said.code, Some(if *code == 0 { 2 } else { *code }), "{line}: {said:?}");
        assert!(said.err.contains("standard output: No space left"), "{line}: {said:?}");
        let finding = match line.starts_with("reach") {
            true => "not reached by kmalloc: a machine of 64 frames",
            false => "the trace expects Vmalloc",
        };
        assert_eq!(said.err.contains(finding), *code == 1, "{line}: {said:?}");
    }
}

#[test]
fn a_closed_pipe_is_quiet_and_the_exit_code_tells_the_truth() {
    let folder = with_recording();
    for (line, code) in EACH {
        let mut command = folder.kvroute(line.split_whitespace());
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = Said::of(command.stdout(writer).output().unwrap());
        assert_eq!(said.code, Some(*code), "{line}: {said:?}");
        assert!(!said.err.contains("standard output"), "{line}: {said:?}");
    }
}

#[test]
fn full_standard_error_is_nobodys_business() {
    let folder = folder();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = folder.kvroute(["check", "routed", "missing", "failing"]);
    assert_eq!(command.stderr(full).output().unwrap().status.code(), Some(1));
}

#[test]
fn devices_pipes_and_links_stay_what_they_are() {
    let folder = folder();
    let shrink = |to: &str| {
        let said = folder.run(["shrink", "routed", "failing", "-o", to]);
        assert_eq!(said.code, Some(1), "{to}: {said:?}");
        said
    };
    shrink("/dev/null");
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    expect(&shrink("/dev/stdout"), &("/dev/stdout", 1, &["# The expectation oracle objects"]));
    expect(&shrink("/dev/full"), &("/dev/full", 1, &["machine (", "!/dev/full: No space"]));

    let target = folder.file("deep/target", "old");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("deep/target", folder.path().join("link")).unwrap();
    symlink("deep/new", folder.path().join("dangling")).unwrap();
    shrink("link");
    shrink("dangling");
    for name in ["link", "dangling"] {
        assert!(folder.path().join(name).is_symlink(), "{name}");
        let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.starts_with("# The expectation"), "{text}");
    }
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
    let names = std::fs::read_dir(folder.path().join("deep")).unwrap();
    assert_eq!(names.count(), 2, "nothing unfinished stays");

    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read_to_string(pipe).unwrap()
    });
    shrink("pipe");
    assert!(reader.join().unwrap().starts_with("# The expectation"));
    assert!(std::fs::metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_file_with_a_dash_for_a_name_leaves_the_report_on_standard_error() {
    let folder = with_recording();
    let said = folder.run(["replay", "recording", "--trace", "-"]);
    expect(&said, &("--trace -", 0, &["machine (", "!no objection"]));
    assert!(!said.out.contains("no objection"), "{said:?}");
    let mut command = folder.kvroute(["check", "routed", "-"]);
    command.stdin(File::open(folder.path().join("failing")).unwrap());
    expect(&Said::of(command.output().unwrap()), &("check -", 1, &["expects Vmalloc"]));
    let mut command = folder.kvroute(["check", "--json", "routed", "-"]);
    command.stdin(File::open(folder.path().join("failing")).unwrap());
    let said = Said::of(command.output().unwrap());
    let words = ["\"failure\"", "!standard input: the expectation"];
    expect(&said, &("check --json -", 1, &words));
}

#[test]
fn names_that_are_no_text_work_and_the_line_to_repeat_is_for_a_shell() {
    let folder = folder();
    let names: &[&[u8]] = &[b"\xff\xfe.trace", b"it's $HOME; x.trace", b"a b\n.trace"];
    for name in names {
        let name = OsStr::from_bytes(name);
        folder.file(name, FAILING);
        let said = folder.run([OsStr::new("check"), OsStr::new("routed"), name]);
        assert_eq!(said.code, Some(1), "{said:?}");
        let repeat = said.out.lines().find_map(|line| line.strip_prefix("repeat: cargo kvroute"));
        let repeat = format!("exec \"$0\" {}", repeat.expect("it says how to repeat it"));
        let mut again = Command::new("bash");
        again.args(["-c", &repeat, env!("CARGO_BIN_EXE_kvroute")]).current_dir(folder.path());
        let again = Said::of(again.output().unwrap());
        assert_eq!((again.code, &again.out), (Some(1), &said.out), "{repeat}");
        let json =
            folder.run([OsStr::new("check"), OsStr::new("--json"), OsStr::new("routed"), name]);
        assert!(serde_json::from_str::<serde_json::Value>(&json.out).is_ok(), "{json:?}");
        let said =
            folder.run([OsStr::new("shrink"), OsStr::new("routed"), name, OsStr::new("-o"), name]);
        assert_eq!(said.code, Some(1), "{said:?}");
    }
}

#[test]
fn a_folder_in_a_circle_is_walked_once() {
    let folder = Folder::new();
    folder.file("seeds/good", GOOD);
    symlink("..", folder.path().join("seeds/up")).unwrap();
    let said = folder.line("check routed seeds");
    expect(&said, &("circle", 2, &["checked: 1", "!a link to a folder that it lies in"]));
}

#[test]
fn a_signal_ends_the_work_with_what_there_is() {
    let folder = with_recording();
    let rows = [
        ("run routed --seconds 600", "INT", 130, "no objection until it was ended"),
        ("run routed --seconds 600 --jobs 1", "TERM", 143, "lane-ops in"),
        ("run routed --seconds 600 --json", "TERM", 143, "\"interrupted\": \"SIGTERM\""),
        ("reach routed --ops 1000000000", "TERM", 143, "boundary"),
        ("sweep kvmalloc --traces 1000000", "INT", 130, "there was no time for a whole row"),
    ];
    for (line, signal, code, word) in rows {
        let mut command = folder.kvroute(line.split_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_until_it_listens(child.id());
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, Some(code), "{line}: {said:?}");
        assert!(said.out.contains(word) && said.err.contains("ended by"), "{line}: {said:?}");
    }
}

/// Waits until the process has handlers of its own for both signals.
fn wait_until_it_listens(process: u32) {
    let start = Instant::now();
    let both = 1 << (2 - 1) | 1 << (15 - 1);
    while start.elapsed() < Duration::from_secs(60) {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        if u64::from_str_radix(caught.trim(), 16).unwrap() & both == both {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it does not listen");
}
