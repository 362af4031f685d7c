//! The memory bound, held by a child process whose address space is limited to it.
//!
//! The largest legal machine is filled to the brim in every campaign, under a limit of the host.
//! The program refuses it with its reason, or runs to the end; it never dies.
//!
//! `ulimit -v` is what Linux's shells have; other systems do not run these tests.
#![cfg(target_os = "linux")]

use kvroute_harness::bound::Bound;
use kvroute_harness::campaign::{CAMPAIGNS, REPLAY, by_name};
use kvroute_harness::trace::{Limits, Trace};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

/// What the program itself takes of the address space: its code, its stack, the text of a trace.
const PROGRAM_BYTES: u64 = 48 << 20;

/// A machine with every limit at its end, of which all is taken in pieces and in blocks.
fn brim(frames: u32) -> String {
    let vmalloc_pages = frames.saturating_mul(16).min(Limits::VMALLOC_PAGES.1);
    let mut text = format!("machine (frames: {frames}, vmalloc_pages: {vmalloc_pages})\n");
    writeln!(text, "r0 = memblock_alloc({:#x}, 8)", u64::from(frames) * 0xe00).expect("a String");
    for register in 1..2000 {
        let call =
            ["kmalloc(0x7f0, GFP_KERNEL)", "vmalloc(0x7f31)", "kvmalloc(0x12345, GFP_KERNEL)"];
        writeln!(text, "r{register} = {}", call[register % 3]).expect("a String");
    }
    text
}

/// The same of an allocator that is not Linux', and gets its memory bit by bit.
fn foreign_brim(frames: u32) -> String {
    let mut text = format!("machine (frames: {frames}, region_bytes: 0x100000)\n");
    for register in 0..2000 {
        writeln!(text, "extend(0x9000)\nr{register} = alloc(0x4000, 1)").expect("a String");
    }
    text
}

/// Runs `kvroute check` with an address space of `bytes`.
fn check_within(bytes: u64, campaign: &str, name: &str, text: &str, more: &[&str]) -> Output {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("{campaign}-{name}.trace"));
    std::fs::write(&file, text).expect("the build's folder can be written");
    within(bytes).args(["check", campaign]).arg(file).args(more).output().expect("a shell")
}

/// The program, about to run with an address space of `bytes`.
fn within(bytes: u64) -> Command {
    let limited = format!("ulimit -v {} && exec \"$@\"", bytes / 1024);
    let mut command = Command::new("sh");
    // Each thread would reserve addresses for a heap of its own, most of which it never uses.
    command.env("MALLOC_ARENA_MAX", "1");
    command.args(["-c", &limited, "sh", env!("CARGO_BIN_EXE_kvroute")]);
    command
}

#[test]
fn the_largest_machine_is_refused_or_runs_to_its_end() {
    let text = brim(Limits::FRAMES.1);
    for campaign in CAMPAIGNS.iter().chain([&&REPLAY]) {
        let output = check_within(64 << 20, campaign.name, "small", &text, &["--memory", "16MiB"]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{}: {message}", campaign.name);
        assert!(message.contains("may take"), "{}: {message}", campaign.name);
        assert!(message.contains("the bound is 16.0 MiB"), "{}: {message}", campaign.name);
    }
    // One lane of it fits into the bound that is set if nothing is said.
    let output = check_within(2 << 30, "pages", "default", &text, &[]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{message}");
}

#[test]
fn what_is_admitted_stays_within_its_bound() {
    let linux = [("pages", 64), ("routed", 2048), ("routed", 16384), ("replay", 4096)];
    let linux = linux.map(|(campaign, frames)| (campaign, frames, brim(frames)));
    let small = "machine (frames: 65536)\nr0 = alloc(8, 8)\n".to_owned();
    let foreign = [("heap", 16384, foreign_brim(16384)), ("heap", 65536, small)];
    for (campaign, frames, text) in linux.into_iter().chain(foreign) {
        let trace = Trace::parse(&text).expect("a trace");
        let bound = Bound::of(by_name(campaign).expect("a campaign"), &trace).total();
        let memory = format!("{bound}");
        let name = frames.to_string();
        let more = ["--memory", &memory];
        let output = check_within(bound + PROGRAM_BYTES, campaign, &name, &text, &more);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{campaign} of {frames} frames: {message}");
    }
}

/// A line becomes an op of many times its length.
#[test]
fn a_text_of_short_lines_is_refused_before_it_is_parsed() {
    let text = "tick()\n".repeat(3 << 20);
    let output = check_within(128 << 20, "pages", "ticks", &text, &["--memory", "256MiB"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("to read its lines may take"), "{message}");
}

/// All threads together keep to the bound: as many as it admits run in it.
#[test]
fn threads_share_the_bound() {
    let memory = 256_u64 << 20;
    let run = |jobs: &str| {
        let mut command = within(memory + PROGRAM_BYTES);
        command.args(["run", "pages", "--ops", "1000000", "--memory", "256MiB", "--jobs", jobs]);
        let output = command.output().expect("a shell");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, message) = run("5");
    assert_eq!(code, Some(0), "{message}");
    let (code, message) = run("6");
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("6 are too many; the bound of all is 256.0 MiB"), "{message}");
}
