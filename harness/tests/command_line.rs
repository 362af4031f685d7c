//! The command line, as people who make mistakes meet it: each bad input has a message and an exit
//! code, and a finding reaches its reader whatever becomes of the output.
//!
//! What the subcommands compute is tested where it is computed.

mod common;

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
    ("check routed", 2, &["!required"]),
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

/// Every field of a document and of its failures stands in the page on them.
fn is_described(json: &serde_json::Value, page: &str) {
    let failures = json["failures"].as_array().into_iter().flatten();
    let objects = failures.chain([json, &json["counts"]]);
    for object in objects.filter_map(serde_json::Value::as_object) {
        for field in object.keys() {
            assert!(page.contains(&format!("`{field}`")), "docs/json.md does not have {field}");
        }
    }
}

#[test]
fn json_is_json_whatever_happens() {
    let folder = folder();
    let rows: &[(&str, i32, &str)] = &[
        ("check --json routed good", 0, "ok"),
        ("check --json routed failing missing", 1, "failure"),
        ("check --json routed missing", 2, "error"),
        ("run --json kmalloc --ops 1", 0, "ok"),
        ("sweep --json kmalloc --traces 1", 0, "ok"),
        ("show --json routed good", 0, "ok"),
        ("callers --json krealloc --seeds 1", 0, "ok"),
        ("callers --json missing", 2, "error"),
        ("show --json routed failing", 1, "failure"),
        ("show --json routed missing", 2, "error"),
        ("shrink --json routed failing", 1, "failure"),
        ("shrink --json routed failing -o no-such-folder/small", 1, "failure"),
        ("shrink --json routed good", 2, "error"),
        ("replay --json missing", 2, "error"),
        ("sweep --json missing", 2, "error"),
    ];
    let page = include_str!("../../docs/json.md");
    for (line, code, verdict) in rows {
        let said = folder.line(line);
        assert_eq!(said.code, Some(*code), "{line}: {said:#?}");
        let json: serde_json::Value = serde_json::from_str(&said.out).expect(line);
        assert_eq!(json["verdict"], *verdict, "{line}");
        is_described(&json, page);
        let nr = |name: &str| json[name].as_array().map(Vec::len);
        assert_eq!(nr("failures"), Some(usize::from(*code == 1)), "{line}");
        assert_eq!(
            nr("errors") > Some(0),
            line.contains("missing") || *code == 2 || line.contains("no-such"),
            "{line}"
        );
    }
    let said = folder.line("show --json routed failing");
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("a document");
    let row = &json["rows"][1];
    assert_eq!((&row["op"], &row["objected"]), (&1.into(), &true.into()), "{row}");
    assert!(
        row["answers"]["as-written"].as_str().is_some_and(|said| said.contains("Pages")),
        "{row}"
    );
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(2), "the failing row is the last");
    let fields = row.as_object().expect("a row").keys();
    fields.for_each(|field| assert!(page.contains(&format!("`{field}`")), "{field}"));
    let said = folder.line("reach --json kmalloc --ops 1");
    let json: serde_json::Value = serde_json::from_str(&said.out).expect("a document");
    assert_eq!((said.code, &json["verdict"]), (Some(1), &"failure".into()));
    is_described(&json, page);
    assert_eq!(json["unreached"]["a machine of 64 frames"], serde_json::json!(["kmalloc"]));
    assert!(json["reached"]["a block of order 10"]["kmalloc"].is_u64());
}

#[cfg(target_os = "linux")]
mod on_linux {
    //! Devices, pipes, links, signals, and names that are no text.

    use super::common::{FAILING, Folder, GOOD, Said};
    use super::{expect, folder};
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
            let repeat =
                said.out.lines().find_map(|line| line.strip_prefix("repeat: cargo kvroute"));
            let repeat = format!("exec \"$0\" {}", repeat.expect("it says how to repeat it"));
            let mut again = Command::new("bash");
            again.args(["-c", &repeat, env!("CARGO_BIN_EXE_kvroute")]).current_dir(folder.path());
            let again = Said::of(again.output().unwrap());
            assert_eq!((again.code, &again.out), (Some(1), &said.out), "{repeat}");
            let json =
                folder.run([OsStr::new("check"), OsStr::new("--json"), OsStr::new("routed"), name]);
            assert!(serde_json::from_str::<serde_json::Value>(&json.out).is_ok(), "{json:?}");
            let said = folder.run([
                OsStr::new("shrink"),
                OsStr::new("routed"),
                name,
                OsStr::new("-o"),
                name,
            ]);
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
}
