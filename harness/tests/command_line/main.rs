//! The command line, as people who make mistakes meet it: each bad input has a message and an exit
//! code, and a finding reaches its reader whatever becomes of the output.
//!
//! What the subcommands compute is tested where it is computed.

#[path = "../common/mod.rs"]
mod common;
mod json;
#[cfg(target_os = "linux")]
mod live;
#[cfg(target_os = "linux")]
mod on_linux;

use common::{FAILING, Folder, GOOD, Said};

/// Arguments, the exit code, and words that must be said: those of standard error begin with `!`.
type Row<'a> = (&'a str, i32, &'a [&'a str]);

/// A folder with a file for each kind of mistake.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("good", GOOD);
    folder.file("failing", FAILING);
    folder.file("empty", "");
    folder.file("comments", "# nothing else\n\n");
    folder.file("header", "machine (frames: 64)\n");
    folder.file("binary", b"r0 = vmalloc(1)\n\xff\xfe\x00");
    folder.file("crlf", GOOD.replace('\n', "\r\n"));
    folder.file("bom", format!("\u{feff}{GOOD}"));
    folder.file("utf16", GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
    folder.file("huge-number", "r0 = kmalloc(99999999999999999999, GFP_KERNEL)\n");
    folder.file("negative", "r0 = kmalloc(-1, GFP_KERNEL)\n");
    folder.file("huge-machine", "machine (frames: 262145)\nvfree(NULL)\n");
    folder.file("register", "r65536 = vmalloc(1)\n");
    folder.file("swapped", "c0 = vmalloc(1)\n");
    folder.file("unknown", "r0 = malloc(1)\n");
    folder.file("long-word", "x".repeat(100_000));
    folder.file("old-mac", "r0 = vmalloc(1)\rvfree(r0)\r");
    folder.file("zero-byte", "r0 = vmalloc(\0)\n");
    folder.file("escape", "r0 = vmalloc(\x1b[31m)\n");
    folder.file("below-0", "r0 = vmalloc(1)\nvfree(r-1)\n");
    folder.file("dst-below-0", "r-1 = vmalloc(1)\n");
    folder.file("fraction", "r0 = vmalloc(1.5)\n");
    folder.file("packed", b"\x28\xb5\x2f\xfd\x00");
    folder.file("ftrace", "# tracer: nop\n#\n");
    folder.file("lines", "tick()\n".repeat(10_000));
    folder.file("no-failure", "r0 = vmalloc(1) (fail_nth: 0)\n");
    folder.file("skipped", "kmem_cache_destroy(c0)\n");
    folder.file("crash-0123", "nonsense\nr0 = vmalloc(1)\n");
    folder.file("seeds/a/good", GOOD);
    folder.file("seeds/b/c/failing", FAILING);
    folder.file("seeds/b/unknown", "r0 = malloc(1)\n");
    folder.file("seeds/.hidden", "nothing");
    std::fs::create_dir(folder.path().join("nothing-in-it")).unwrap();
    folder
}

#[track_caller]
fn expect(said: &Said, row: &Row<'_>) {
    let (line, code, words) = row;
    assert_eq!(said.code, Some(*code), "{line}: {said:#?}");
    for word in *words {
        let (place, word) = match word.strip_prefix('!') {
            Some(word) => (&said.err, word),
            None => (&said.out, *word),
        };
        assert!(place.contains(word), "{line}: {word:?} is not said: {said:#?}");
    }
}

const MISTAKES: &[Row<'_>] = &[
    ("", 2, &["!Usage"]),
    ("frobnicate", 2, &["!frobnicate"]),
    ("check", 2, &["!required"]),
    ("check routed", 2, &["!no trace file is named"]),
    ("check --caller routed", 2, &["!no trace file is named"]),
    ("check --caller --isolate good", 2, &["!cannot be used with"]),
    ("check nonesuch good", 2, &["!no such campaign; there are pages"]),
    ("check routed good --frobnicate", 2, &["!--frobnicate"]),
    ("check routed missing", 2, &["!missing: No such file", "checked: 0", "not read: 1"]),
    ("check routed nothing-in-it", 2, &["!nothing-in-it: no file in this folder"]),
    ("check routed empty", 2, &["!empty: there is no call in it"]),
    ("check routed comments", 2, &["!comments: there is no call in it"]),
    ("check routed header", 2, &["!header: there is no call in it"]),
    ("check routed binary", 2, &["!binary: line 2: expected UTF-8", "!--fuzz-input"]),
    ("check routed utf16", 2, &["!utf16: line 1", "!--fuzz-input"]),
    ("check routed crlf", 0, &["checked: 1, failed: 0"]),
    ("check routed bom", 0, &["checked: 1, failed: 0"]),
    ("check routed huge-number", 2, &["!line 1, column 14: expected a number of bytes of at most"]),
    ("check routed negative", 2, &["!column 14: expected a number of bytes, found `-`"]),
    ("check routed huge-machine", 2, &["!frames between 64 and 262144"]),
    ("check routed register", 2, &["!a register number of at most 65535"]),
    ("check routed swapped", 2, &["!expected a memory register"]),
    ("check routed unknown", 2, &["!did you mean `kmalloc`?"]),
    ("check routed long-word", 2, &["!…(100003 characters)…"]),
    ("check routed no-failure", 2, &["!expected a count of calls from 1 on, found `0`"]),
    ("check routed old-mac", 2, &["!column 17", "!`vfree` behind a carriage return, which alone"]),
    ("check routed zero-byte", 2, &["!line 1, column 14: expected", "!found the character U+0000"]),
    ("check routed escape", 2, &["!column 14", "!found the character U+001B"]),
    ("check routed below-0", 2, &["!line 2, column 7: expected a register number", "!`r-1`"]),
    ("check routed dst-below-0", 2, &["!column 1: expected a register number", "!`r-1` ("]),
    ("check routed fraction", 2, &["!column 14: expected a number of bytes, found `1.5`"]),
    ("check routed packed", 2, &["!packed: this is a recording", "!`kvroute replay` reads it"]),
    ("check routed ftrace", 2, &["!ftrace: this is a recording of a kernel"]),
    ("check routed -", 2, &["!standard input: there is no call in it"]),
    ("run routed --seed -1", 2, &["!'-1'", "!from 0 to 18446744073709551615"]),
    ("sweep kmalloc --seed 1.5", 2, &["!'1.5'", "!from 0 to 18446744073709551615"]),
    ("check routed skipped", 0, &["!warning: skipped: every op was skipped", "with a warning: 1"]),
    ("check routed crash-0123", 2, &["!found `nonsense`", "!--fuzz-input"]),
    ("check --fuzz-input routed crash-0123", 0, &["fuzzer read it: 1 line dropped, machine as"]),
    ("check --fuzz-input routed binary", 0, &["fuzzer read it: 1 line dropped"]),
    ("check --fuzz-input routed huge-machine", 0, &["0 lines dropped, machine clamped (1 field)"]),
    ("check --fuzz-input routed long-word", 2, &["!no call in it", "!(1 lines did not parse"]),
    ("check --fuzz-input routed no-failure", 0, &["0 lines dropped"]),
    (
        "check routed seeds",
        1,
        &["checked: 2, failed: 1, not read: 1", "passed over", "b/c/failing:"],
    ),
    ("check routed missing good failing empty", 1, &["checked: 2, failed: 1, not read: 2"]),
    ("show routed missing", 2, &["!missing: No such file"]),
    ("show routed failing", 1, &["--> r1 = kvmalloc", "Pages <expectation>", "repeat: "]),
    ("shrink routed good", 2, &["!no oracle objects, so there is nothing to shrink"]),
    ("shrink routed seeds", 2, &["!seeds: "]),
    ("run", 2, &["!required"]),
    ("run routed --seconds 0", 2, &["!from 1 to 31536000"]),
    ("run routed --seconds 99999999999", 2, &["!from 1 to 31536000"]),
    ("run routed --ops 0", 2, &["!none would show nothing"]),
    ("run routed --ops -5", 2, &["!-5"]),
    ("run routed --ops 99999999999999999999999", 2, &["!a number from 1"]),
    ("run routed --jobs 0", 2, &["!from 1 to 1024"]),
    ("run routed --jobs 100000", 2, &["!from 1 to 1024 is wanted: each is a thread"]),
    ("run routed --ops 1 --seconds 1", 2, &["!cannot be used with"]),
    ("run routed --jobs 1024", 2, &["!in 4 lanes, and 1024 are too many; the bound of all is 2.0"]),
    ("run kmalloc --memory 0", 2, &["!from 64KiB to 16TiB"]),
    ("run kmalloc --memory 99999999999999999999GiB", 2, &["!from 64KiB to 16TiB"]),
    ("run kmalloc --memory much", 2, &["!from 64KiB to 16TiB"]),
    (
        "run kmalloc --memory 1MiB",
        2,
        &["!in 1 lane, and 1 are too many; the bound of all is 1.0 MiB"],
    ),
    ("reach kmalloc --memory 1MiB", 2, &["!in 1 lane, and 1 are too many"]),
    ("boundary --memory 1MiB", 2, &["!in 1 lane, and 1 are too many"]),
    ("sweep kmalloc --memory 1MiB", 2, &["!kmalloc: this machine and its trace may take"]),
    ("check routed good --memory 64KiB", 2, &["!good: this machine and its trace may take"]),
    (
        "check routed long-word --memory 64KiB",
        2,
        &["!longer than 65536 bytes, the bound of memory"],
    ),
    ("check routed lines --memory 1MiB", 2, &["!lines: to read its lines may take"]),
    ("run kmalloc --ops 1", 0, &["no objection"]),
    ("reach nonesuch", 2, &["!no such campaign; there are pages"]),
    ("reach --ops 0", 2, &["!none would show nothing"]),
    ("reach kmalloc --ops 1", 1, &["boundary ", "not reached by kmalloc: a machine of 64 frames"]),
    ("sweep", 2, &["!required"]),
    ("sweep nonesuch", 2, &["!nonesuch is neither a recording nor a campaign"]),
    ("sweep kmalloc --traces 0", 2, &["!from 1 to 1000000"]),
    ("sweep kmalloc --traces 99999999999", 2, &["!from 1 to 1000000 is wanted: each is run"]),
    ("sweep kmalloc --room 99", 2, &["!from 100 to 1000"]),
    ("sweep kmalloc --traces 1", 0, &["!warning: no kvmalloc request above a page"]),
    ("sweep good", 2, &["!good"]),
    ("replay missing", 2, &["!missing"]),
    ("replay good missing", 2, &["!good", "!missing"]),
    ("scale --pairs 0", 2, &["!from 1 to 1000000000"]),
    ("boundary --sample 0", 2, &["!from 1 to 1000000000"]),
    ("boundary --sample 9000000000000000000", 2, &["!from 1 to 1000000000"]),
    ("boundary --call nonesuch", 2, &["!nonesuch"]),
    ("boundary --call kfree --sample 1", 0, &["no objection"]),
    ("run callers", 2, &["!misuse memory on purpose", "!`kvroute check callers FILE`"]),
    ("run kmalloc --op-millis 0", 2, &["!from 1 to 3600000"]),
    ("new crate", 2, &["!--caller"]),
    ("new seeds --caller", 2, &["!seeds: it is there already, and stays as it is"]),
    ("new good --caller", 2, &["!good: it is there already"]),
    ("new 9lives --caller", 2, &["!9lives: no name of a crate"]),
    ("new crate --caller --path seeds", 2, &["!no sources of kvroute here", "!--path"]),
];

#[test]
fn every_mistake_has_its_message_and_its_exit_code() {
    let folder = folder();
    for row in MISTAKES {
        let said = folder.line(row.0);
        expect(&said, row);
        assert!(said.err.len() < 3000, "{}: no message is that long", row.0);
    }
}

#[test]
fn what_a_trace_means_does_not_hang_on_its_name() {
    let folder = Folder::new();
    let text = "machine (frames: 262144)\nr0 = alloc_pages(GFP_KERNEL, 10) # -> Pages\n".to_owned()
        + &"r1 = alloc_pages(GFP_KERNEL, 10)\nr2 = alloc_pages(GFP_KERNEL, 10)\n".repeat(2);
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let names = ["seed.trace", "crash-1", hash, "id:000000,sig:06,src:000000", "clusterfuzz-7-1"];
    let names = names.map(str::to_owned).into_iter().chain([format!("minimized-from-{hash}")]);
    let said = names.map(|name| {
        folder.file(&name, &text);
        ["", "--fuzz-input"].map(|option| {
            let said = folder.line(&format!("show {option} pages {name}"));
            said.out.replace(&name, "NAME") + &said.err
        })
    });
    let said: Vec<[String; 2]> = said.collect();
    assert!(said.iter().all(|one| *one == said[0]), "{said:#?}");
    assert!(said[0][0].contains("262144") && !said[0][0].contains("read as"), "{said:#?}");
    assert!(said[0][1].contains("machine clamped") && said[0][1].contains("frames: 16384"));
}

#[test]
fn a_new_crate_is_written_once() {
    let folder = Folder::new();
    let line = "new below/my-caller --caller";
    expect(
        &folder.line(line),
        &(line, 0, &["your code goes into      below/my-caller/src/lib.rs"]),
    );
    let manifest = folder.path().join("below/my-caller/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    assert!(text.contains("name = \"my-caller\"") && !text.contains("{name}"), "{text}");
    expect(&folder.line(line), &(line, 2, &["!it is there already"]));
}

#[test]
fn shrink_writes_the_trace_or_prints_it() {
    let folder = folder();
    let shrunk = "r0 = kvmalloc(0x2001, GFP_KERNEL)                 # -> Vmalloc\n";
    let said = folder.line("shrink routed failing");
    expect(&said, &("to standard output", 1, &["# The expectation oracle objects", shrunk]));
    let said = folder.line("shrink routed failing -o -");
    expect(&said, &("to standard output", 1, &["# The expectation oracle objects", shrunk]));
    let said = folder.line("shrink routed failing -o small");
    expect(&said, &("to a file", 1, &["repeat: cargo kvroute check routed small"]));
    let text = std::fs::read_to_string(folder.path().join("small")).unwrap();
    assert!(text.ends_with(shrunk), "{text}");
    let said = folder.line("shrink routed failing -o no-such-folder/small");
    let words: &[&str] =
        &["reason: the trace expects Vmalloc", shrunk, "!no-such-folder/small: No"];
    expect(&said, &("to nowhere", 1, words));
    assert!(!said.err.contains("unfinished"), "nobody has named that file: {said:?}");
    let said = folder.line("shrink routed failing -o seeds");
    expect(&said, &("to a folder", 1, &[shrunk, "!seeds: is a directory"]));
}

#[test]
fn a_trace_is_judged_as_a_caller_whatever_campaign_it_is_of() {
    let folder = Folder::new();
    folder.file("kv", "r0 = kvmalloc(0x3000, GFP_KERNEL)\nkfree(r0)\n");
    folder.file("heap", "r0 = alloc(0x40, 0x8)\nwrite(r0, 0x0, 0x1)\n");
    folder.file("right/linux", GOOD);
    folder.file("right/heap", "r0 = alloc(0x40, 0x8)\ndealloc(r0)\n");
    folder.file("wrong-answer", "kfree(NULL) # -> NoMemory\n");
    let kv: &[&str] = &["a fault of the caller, on the route always-vmalloc", "kvfree would be"];
    let repeat = "repeat: cargo kvroute check --caller heap";
    for row in [
        ("check routed kv", 0, &["failed: 0"][..]),
        ("check --caller kv", 1, kv),
        ("check --caller routed kv", 1, kv),
        ("check heap heap", 0, &["failed: 0"]),
        ("check --caller heap heap", 1, &["a fault of the caller, on the route reference", repeat]),
        ("check --caller right", 0, &["files checked: 2, failed: 0", "lanes 4", "lanes 1"]),
        ("check --caller right --json", 0, &["\"callers\": {", "\"callers-foreign\": {"]),
        ("shrink routed wrong-answer", 1, &["\ncaller (correct)\nkfree(NULL)"]),
        ("shrink routed kv", 2, &["!nothing to shrink"]),
        ("shrink callers kv", 1, &["shuffle: 0x1)\nr0 = kvmalloc("]),
    ] {
        expect(&folder.line(row.0), &row);
    }
}
