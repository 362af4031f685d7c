//! Allocators that take their process with them: each such end is a verdict with its lane and op,
//! and shrinks.
//!
//! The program under test is `proptests/src/bin/mortal.rs`, which has the command line as anybody
//! has it who brings allocators of their own.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const TRACE: &str = "r0 = kmalloc(0x40, GFP_KERNEL)\nr1 = kmalloc(0x80, GFP_KERNEL)\nkfree(r0)\n\
                     r2 = kmalloc(0x3000, GFP_KERNEL)\nr3 = kmalloc(0x30, GFP_KERNEL)\nkfree(r1)\n";

/// What is left of it.
const SHRUNK: &str = "machine (frames: 2048, vmalloc_pages: 4096, min_free: 16, shuffle: 0x1)\n\
                      r0 = kmalloc(0x1000, GFP_KERNEL)\n";

/// A campaign, the oracle that must object, and the words of its reason.
const ENDS: &[(&str, &str, &str)] = &[
    ("crash", "death", "the allocator died of SIGABRT at this op"),
    ("fault", "death", "the allocator died of SIGSEGV at this op"),
    ("overflow", "death", "the allocator died of SIGABRT at this op, saying: thread 'main'"),
    ("abort", "death", "SIGABRT at this op, saying: free(): invalid pointer"),
    ("exit", "death", "the allocator ended its process with exit code 0 at this op"),
    ("spin", "hang", "the allocator used 50ms of the processor at this op, and goes on"),
    ("wait", "hang", "the allocator has not come back from this op for 500ms"),
];

fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mortal"));
    command.args(line.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    command
}

/// What a line prints, both outputs after each other, and its exit code.
fn said(folder: &Path, line: &str) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command(folder, line).output().expect("it starts");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("trace"), TRACE).expect("a file");
    folder
}

#[test]
fn every_end_is_a_verdict_with_its_lane_and_op_and_shrinks() {
    let folder = folder();
    for (campaign, oracle, reason) in ENDS {
        let (code, text) =
            said(folder.path(), &format!("check --isolate --op-millis 50 {campaign} trace trace"));
        assert_eq!(code, Some(1), "{campaign}: {text}");
        let head = format!("the {oracle} oracle objects in campaign {campaign}, lane mortal\n");
        let program = env!("CARGO_BIN_EXE_mortal");
        let repeat = format!("repeat: {program} check --isolate {campaign} trace");
        for words in [&head, *reason, "\n--> r2 = kmalloc(0x3000, ", &repeat, "failed: 2\n"] {
            assert!(text.contains(words), "{campaign}: {words:?} is not said: {text}");
        }
        let line = format!("shrink --isolate --op-millis 50 {campaign} trace -o small");
        let (code, text) = said(folder.path(), &line);
        assert_eq!(code, Some(1), "{campaign}: {text}");
        let small = std::fs::read_to_string(folder.path().join("small")).expect("a trace");
        assert!(small.ends_with(SHRUNK), "{campaign}: {small}");
    }
}

#[test]
fn answers_up_to_the_end_are_shown() {
    let (code, text) = said(folder().path(), "show exit trace");
    assert_eq!(code, Some(1));
    for row in ["right   mortal\n", "kfree(r0)                          Done     Done\n", "<death>"]
    {
        assert!(text.contains(row), "{row:?} is not shown: {text}");
    }
    // What is alive would be freed at the end, and of a free this one dies: nothing is.
    let (code, text) = said(folder().path(), "show free trace");
    assert_eq!(code, Some(1));
    assert!(text.contains("r1 = kmalloc(0x80, GFP_KERNEL)   Slab     Slab\n"), "{text}");
}

/// Whose programs do not know the campaign is no use as a command, nor is a trace that is not
/// enough, nor one of ours that generates no traces of its own.
#[test]
fn what_cannot_be_repeated_or_run_is_not_offered() {
    let folder = folder();
    let (_, text) = said(folder.path(), "check third trace trace trace trace");
    assert!(!text.contains("repeat:"), "{text}");
    for line in ["reach exit", "boundary exit", "reach callers"] {
        let (code, text) = said(folder.path(), line);
        assert_eq!(code, Some(2), "{line}: {text}");
        assert!(text.contains("no such campaign; there are pages"), "{line}: {text}");
    }
}

/// The third request ends the process, whichever trace it is in.
#[test]
fn what_other_traces_have_left_behind_is_told_apart() {
    let folder = folder();
    let (code, text) = said(folder.path(), "check third trace trace trace trace");
    assert_eq!(code, Some(1), "{text}");
    let after =
        "with exit code 3 at this op, after other traces in the same process and not without";
    assert!(text.contains(after) && text.contains("files checked: 4, failed: 1\n"), "{text}");
}

/// An allocator that lives is judged in a worker as it is here, to the last count.
#[test]
fn a_worker_counts_as_this_process_does() {
    let counts = |line: &str| {
        let (code, text) = said(folder().path(), line);
        assert_eq!(code, Some(0), "{text}");
        text.lines().filter(|line| !line.contains("lane-ops in")).collect::<Vec<_>>().join("\n")
    };
    let here = counts("run right --ops 20000 --seed 5 --jobs 1");
    assert!(here.contains("ops not comparable"), "{here}");
    assert_eq!(counts("run right --ops 20000 --seed 5 --jobs 2 --isolate"), here);
    assert_eq!(counts("run right --ops 20000 --seed 5 --in-process"), here);
}

#[test]
fn a_run_goes_on_after_a_death_and_shrinks_it() {
    let folder = folder();
    let began = Instant::now();
    let (code, text) = said(folder.path(), "run fault --ops 100000 --jobs 2");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--> r0 = kmalloc(0x1000, GFP_KERNEL)\n"), "{text}");
    assert!(folder.path().join("fault.failing.trace").exists(), "{text}");
    assert!(began.elapsed().as_secs() < 60, "a death and a new worker take milliseconds");
}

/// Who dies in a churn and not of its trace has an end that nothing repeats but the churn.
#[test]
fn a_death_in_a_churn_is_not_lost_where_its_trace_is_survived() {
    let (code, text) = said(folder().path(), "run churn --ops 100000 --jobs 1");
    assert_eq!(code, Some(1), "{text}");
    for words in ["the suspicion oracle objects in campaign churn", "the allocator died of SIGABRT"]
    {
        assert!(text.contains(words), "{words:?} is not said: {text}");
    }
    assert!(!text.contains("repeat:"), "{text}");
    let (code, text) = said(folder().path(), "run churn --only swarm --ops 10000 --jobs 1");
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = said(folder().path(), "run right --only churn");
    assert!(code == Some(2) && text.contains("right has no churns"), "{text}");
}

/// Ctrl-C is a wish, and ends no worker by itself: the run has its report.
#[test]
fn a_signal_ends_a_run_and_is_no_verdict() {
    let folder = folder();
    let mut run = command(folder.path(), "run right --isolate --jobs 2 --seconds 600");
    let mut run = run.process_group(0).stdout(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_secs(1));
    // As a terminal does, to the whole group.
    let group = format!("-{}", run.id());
    let sent = Command::new("kill").args(["-INT", "--", &group]).status().expect("there is kill");
    assert!(sent.success());
    let mut text = String::new();
    run.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert_eq!(run.wait().expect("it ends").code(), Some(130), "{text}");
    assert!(text.contains("no objection until it was ended"), "{text}");
}
