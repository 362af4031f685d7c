//! `kvroute live`, over folders that look like the module's.
//!
//! Commands stand for callers: they read the parameters as the module would, and write into its
//! files what it would tell. That the real module does so is seen in guests, by `ci/live.sh`.

use crate::common::{Folder, Said};
use crate::json::is_described;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PARAMETERS: &[(&str, &str)] = &[
    ("permille", "0\n"),
    ("seed", "1\n"),
    ("route", "vmalloc\n"),
    ("size_min", "4097\n"),
    ("size_max", "2147483647\n"),
    ("callers", "*\n"),
    ("first", "1\n"),
    ("last", "18446744073709551615\n"),
    ("fail", "0\n"),
    ("edge", "N\n"),
];

const STATS: &str = "requests 20\nby_vmalloc 0\nby_slab 0\nby_policy 20\nfailed 0\nnot_legal 0\n\
                     refused 0\nuntracked 0\nfreed_as_slab 0\nfreed 12\nreported 0\nheld 8\nlost 0\n";

const CALLERS: &str = "# requests vmalloc slab failed reports planned caller\n\
                       12 2 10 0 0 12 ext4:ext4_fill_super+0x12\n8 0 8 0 0 0 vmlinux:seq_read+0x3\n";

const RECORDING: &str = "# os release : 6.1.0\n# tracer: nop\n\
    ip-90      [000] .....     1.000001: kvf: addr=0xffff888004ac0000 call_site=f+0x2/0x3\n";

/// What comes after it.
const RECORDED: &str = "\
    ip-90      [000] .....     3.950710: kv: size=9000 gfp=0xcc0 node=-1 request=1 route=slab caller=a:f+0x1\n\
    ip-90      [000] .....     3.950710: kvr: ret=0xffff888004ac0000\n\
    ip-90      [000] .....     4.110417: kvf: addr=0xffff888004ac0000 call_site=f+0x2/0x3\n";

/// A folder with a module that was just loaded, below `sys`.
fn machine() -> Folder {
    let folder = Folder::new();
    for (name, value) in PARAMETERS {
        folder.file(format!("sys/module/kvroute/parameters/{name}"), value);
    }
    tell(&folder, "stats", STATS);
    tell(&folder, "callers", CALLERS);
    tell(&folder, "reports", "# times rule caller\n");
    tell(&folder, "recording", RECORDING);
    folder
}

fn tell(folder: &Folder, name: &str, text: &str) {
    folder.file(format!("sys/kernel/debug/kvroute/{name}"), text);
}

fn parameter(folder: &Folder, name: &str) -> String {
    let path = folder.path().join("sys/module/kvroute/parameters").join(name);
    fs::read_to_string(path).unwrap().trim_end().to_owned()
}

/// The plan is as it was before, whatever form the numbers have.
fn is_set_back(folder: &Folder) -> bool {
    PARAMETERS.iter().all(|(name, value)| {
        let now = parameter(folder, name);
        now == value.trim_end() || (*name, now.as_str()) == ("edge", "0")
    })
}

/// Runs `kvroute live` with these words and a command for a shell.
fn live(folder: &Folder, line: &str, script: &str) -> Said {
    Said::of(command(folder, line, script).output().unwrap())
}

fn command(folder: &Folder, line: &str, script: &str) -> Command {
    let words = ["live", "--sys", "sys"].into_iter().chain(line.split_whitespace());
    folder.kvroute(words.chain(["--", "sh", "-c", script]))
}

#[track_caller]
fn is(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:#?}");
    for word in words {
        let there = said.out.contains(word) || said.err.contains(word);
        assert!(there, "{word:?} is not said: {said:#?}");
    }
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let remove = |folder: &Folder, name: &str| {
        let path = folder.path().join("sys").join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    };
    for (gone, words) in [
        ("module", &["sys/module/kvroute/parameters: the module is not loaded", "insmod"][..]),
        ("kernel/debug/kvroute", &["sys/kernel/debug/kvroute: No such", "mount -t debugfs"]),
        ("module/kvroute/parameters/edge", &["sys/module/kvroute/parameters/edge: No such file"]),
        ("kernel/debug/kvroute/callers", &["sys/kernel/debug/kvroute/callers: No such file"]),
    ] {
        let folder = machine();
        remove(&folder, gone);
        for line in ["status", "report", "status --json"] {
            let said = folder.line(&format!("live --sys sys {line}"));
            is(&said, 2, words);
        }
        is(&live(&folder, "run permille=1", "echo done >done"), 2, words);
        is(&live(&folder, "shrink permille=1", "echo done >done"), 2, words);
        let is_run = folder.path().join("done").exists();
        assert!(!is_run, "{gone}: the command was run");
    }
}

#[test]
fn what_is_not_understood_has_its_file_and_line() {
    for (name, text, words) in [
        ("stats", "requests 20\nby_vmalloc many\n", "stats: line 2: 'by_vmalloc many'"),
        ("stats", "requests 20\n", "stats: no count 'by_vmalloc'"),
        ("callers", "# requests\n1 2 3 4 5 a:f\n", "callers: line 2: '1 2 3 4 5 a:f'"),
        ("callers", "1 2 3 4 5 6 a:f b\n", "callers: line 1: "),
        ("reports", "# times\n-1 leak a:f\n", "reports: line 2: '-1 leak a:f'"),
    ] {
        let folder = machine();
        tell(&folder, name, text);
        is(&folder.line("live --sys sys report"), 2, &[words, "different versions"]);
    }
    let folder = machine();
    folder.file("sys/module/kvroute/parameters/route", "pages\n");
    is(&folder.line("live --sys sys status"), 2, &["parameters/route: line 1: 'pages' is not"]);
}

#[test]
fn arguments_that_cannot_be_meant_are_refused() {
    let folder = machine();
    for (line, words) in [
        ("run", "the plan permille=0 decides nothing; say what"),
        ("run seed=7", "the plan permille=0 seed=7 decides nothing"),
        ("run permille=1001", "'permille=1001': '1001' is not a number from 0 to 1000"),
        ("run ext4", "the plan's word 'ext4': a name, '=' and a value"),
        ("shrink permille=0", "the plan permille=0 decides nothing"),
    ] {
        is(&live(&folder, line, "echo done >done"), 2, &[words]);
    }
    is(&folder.line("live run permille=1"), 2, &["required"]);
    is(&folder.line("live shrink -- true"), 2, &["required"]);
    is(&folder.line("live"), 2, &["Usage"]);
    is(&folder.line("live --sys sys run permille=1 -- no-such-command"), 2, &["no-such-command: "]);
    assert!(!folder.path().join("done").exists() && is_set_back(&folder));
}

#[test]
fn the_state_is_said_as_text_and_as_json() {
    let page = include_str!("../../../docs/json.md");
    let folder = machine();
    is(&folder.line("live --sys sys status"), 0, &["loaded and off", "plan: permille=0", "lost"]);
    folder.file("sys/module/kvroute/parameters/permille", "500\n");
    folder.file("sys/module/kvroute/parameters/edge", "Y\n");
    let said = folder.line("live status --json --sys sys");
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    is_described(&json, page);
    assert_eq!((&json["on"], &json["plan"]), (&true.into(), &"permille=500 edge=1".into()));
    assert_eq!((&json["command"], &json["stats"]["held"]), (&"live status".into(), &8.into()));

    let said = folder.line("live --sys sys report");
    is(&said, 0, &["ext4:ext4_fill_super+0x12        12", "never served by vmalloc: 1 of 2\n"]);
    tell(&folder, "reports", "# times rule caller\n3 kfree-of-vmalloc ext4:ext4_fill_super+0x12\n");
    let said = folder.line("live --sys sys report");
    is(&said, 1, &["reported: kfree-of-vmalloc, memory of ext4:ext4_fill_super+0x12, 3 times"]);
    let said = folder.line("live --sys sys report --json");
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    is_described(&json, page);
    assert_eq!((said.code, &json["verdict"]), (Some(1), &"failure".into()));
    assert_eq!(json["never_vmalloc"], serde_json::json!(["vmlinux:seq_read+0x3"]));
    for row in [&json["callers"][0], &json["reports"][0]] {
        is_described(row, page);
        assert!(row["caller"] == "ext4:ext4_fill_super+0x12", "{row}");
    }
    assert_eq!(json["reports"][0]["times"], 3);
}

/// Takes ten requests, as a plan of permille=1000 would have them.
const ROUTED: &str = "cd sys/kernel/debug/kvroute; sed -i 's/^requests .*/requests 30/; s/^by_vmalloc .*/by_vmalloc 10/' stats; ";

#[test]
fn a_run_sets_the_plan_and_sets_it_back() {
    let folder = machine();
    let script = format!(
        "head -c 99 sys/module/kvroute/parameters/* >during; echo \"$KVROUTE_PLAN\" >plan; {ROUTED} \
         echo '{RECORDED}CPU:0 [LOST 12 EVENTS]' >>recording"
    );
    let said = live(&folder, "run --recording kept permille=1000 seed=7 callers=a:*,b:*", &script);
    is(&said, 0, &["plan: permille=1000 seed=7 callers=a:*,b:*\n", "requests: 10; routed to vm"]);
    let during = fs::read_to_string(folder.path().join("during")).unwrap();
    for (name, value) in [("callers", "a:*,b:*"), ("permille", "1000"), ("seed", "7")] {
        assert!(during.contains(&format!("parameters/{name} <==\n{value}")), "{during}");
    }
    let plan = fs::read_to_string(folder.path().join("plan")).unwrap();
    assert_eq!(plan, "permille=1000 seed=7 callers=a:*,b:*\n");
    assert!(is_set_back(&folder));
    is(&said, 0, &["recorded: kept, but for 12 records that came faster than they were read"]);
    // What was there before is not of this run.
    let kept = fs::read_to_string(folder.path().join("kept")).unwrap();
    assert_eq!(
        kept,
        format!("# os release : 6.1.0\n# tracer: nop\n{RECORDED}CPU:0 [LOST 12 EVENTS]\n")
    );
    is(&folder.line("replay kept"), 0, &["no objection"]);
}

/// What was recorded is in the file while the command runs, so that nothing is lost with us.
#[test]
fn a_recording_is_kept_as_it_comes() {
    let folder = machine();
    let script = format!(
        "{ROUTED} cat >>recording <<'END'\n{RECORDED}END\n\
         for i in $(seq 600); do ! grep -q kvr: ../../../../kept || exit 5; sleep .1; done"
    );
    let said = live(&folder, "run --recording kept permille=1000", &script);
    is(&said, 1, &["the command fails: exit code 5", "recorded: kept\n"]);
}

/// Two plans at once would be none.
#[test]
fn only_one_has_the_module() {
    let folder = machine();
    let mut first = command(&folder, "run permille=1000", ">begun; exec sleep 30");
    let mut child = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the command", || folder.path().join("begun").exists());
    for line in ["run permille=1", "shrink permille=1"] {
        let said = live(&folder, line, "echo done >done");
        is(&said, 2, &["another kvroute live run or shrink has the module"]);
        let who = format!(": process {}, ", child.id());
        // Where /proc does not name the folder's device, who it is cannot be seen.
        assert!(!said.err.contains(": process ") || said.err.contains(&who), "{said:?}");
    }
    is(&folder.line("live --sys sys status"), 0, &["loaded and on", "permille=1000"]);
    let kill = format!("kill -TERM {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    child.wait().unwrap();
    assert!(!folder.path().join("done").exists());
    is(&live(&folder, "run permille=1000", ROUTED), 0, &["requests: 10"]);
}

#[test]
fn a_run_without_words_keeps_the_modules_plan() {
    let folder = machine();
    folder.file("sys/module/kvroute/parameters/permille", "300\n");
    is(&live(&folder, "run", ROUTED), 0, &["plan: permille=300\n"]);
    assert_eq!(parameter(&folder, "permille"), "300");
}

/// What was found is told before what could not be done, and what the module could not keep too.
#[test]
fn a_run_loses_no_report() {
    let report = format!("{ROUTED} printf '# times rule caller\\n1 leak new:f+0x1\\n' >reports");
    let untold = format!("{ROUTED} sed -i 's/^reported .*/reported 1/' stats");
    let unasked =
        "cd sys/kernel/debug/kvroute; sed -i 's/^by_policy .*/by_policy 99/' stats; >callers";
    let full = |script: &str| format!("{script}\necho '{RECORDED}' >>recording");
    for (plan, script, code, words) in [
        (
            "permille=1000 --recording /dev/full",
            &*full(&report),
            1,
            "reported: leak, memory of new:",
        ),
        (
            "permille=1000 --recording /dev/full",
            &*full(ROUTED),
            2,
            "/dev/full: recorded in part: No space",
        ),
        ("permille=1000 --recording no/folder", "echo done >done", 2, "no/folder: No such file"),
        ("permille=1000 --recording -", ROUTED, 2, "name a file"),
        ("permille=1000", &untold, 1, "reported: 1 that the module has no place for"),
        ("permille=1000 route=policy", unasked, 1, "nothing was routed"),
    ] {
        let folder = machine();
        let said = live(&folder, &format!("run {plan}"), script);
        is(&said, code, &[words]);
        assert!(is_set_back(&folder) && !folder.path().join("done").exists(), "{script}");
    }
}

#[test]
fn a_run_tells_what_is_new() {
    let old = "# times rule caller\n2 leak old:f+0x1\n1 leak old:f+0x1\n";
    let report = "printf '# times rule caller\\n2 leak old:f+0x1\\n1 leak old:f+0x1\\n1 leak new:f+0x1\\n' >reports";
    for (script, code, words) in [
        (format!("{ROUTED} {report}"), 1, "reported: leak, memory of new:f+0x1\n"),
        (format!("{ROUTED} sed -i 's/^2 leak/4 leak/' reports"), 1, "memory of old:f+0x1, 2 times"),
        (ROUTED.to_owned(), 0, "reports 0"),
        (format!("{ROUTED} exit 3"), 1, "the command fails: exit code 3"),
        ("true".to_owned(), 1, "nothing was routed: no request fits the plan permille=1000"),
        (format!("{ROUTED} kill -KILL $$"), 1, "the command fails: signal: 9"),
        (format!("{ROUTED} echo nonsense >reports"), 2, "reports: line 1: 'nonsense'"),
    ] {
        let folder = machine();
        tell(&folder, "reports", old);
        let said = live(&folder, "run permille=1000", &script);
        is(&said, code, &[words]);
        assert_eq!(said.out.contains("reported: "), words.contains("memory of"), "{said:?}");
        assert!(is_set_back(&folder), "{script}");
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The first signal ends the command and says what there is; nothing keeps the plan.
#[test]
fn a_run_that_is_ended_sets_the_plan_back() {
    for (signal, code) in [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)] {
        let folder = machine();
        let script = format!("{ROUTED} >begun; exec sleep 30");
        let mut run = command(&folder, "run permille=1000", &script);
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = folder.path().join("sys/kernel/debug/kvroute/begun");
        wait_for("the command", || begun.exists());
        assert_eq!(parameter(&folder, "permille"), "1000");
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        if signal == "KILL" {
            // What it started holds its output, so only the plan is waited for.
            wait_for("the old plan", || is_set_back(&folder));
            continue;
        }
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains("ended by SIG") && said.out.contains("routed to"), "{said:?}");
        assert!(is_set_back(&folder), "{signal}");
    }
}

/// A command that does not hear the first Ctrl-C does not keep the second from ending the run.
#[test]
fn a_run_that_is_ended_at_once_sets_the_plan_back() {
    let folder = machine();
    let mut run = command(&folder, "run permille=1000", "trap '' TERM; >begun; exec sleep 30");
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the command", || folder.path().join("begun").exists());
    let began = Instant::now();
    let ended = || {
        let kill = format!("kill -INT {}", child.id());
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
        is_set_back(&folder)
    };
    wait_for("the old plan", ended);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // One that is asked but once is killed after ten seconds.
    assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
}

/// Three callers make five requests each; memory of request 3 of `b:g+0x2` is freed wrongly. Begins
/// with the plan in `callers`, `first`, `last` and `permille`; `told` is where to tell it.
const THIRD: &str = r#"
echo "$permille $callers $first $last" >>"$runs"
planned() { case ",$callers," in *",$1,"* | ",*,") echo 5 ;; *) echo 0 ;; esac; }
{ for name in a:f+0x1 b:g+0x2 c:h+0x3; do echo "5 5 0 0 0 $(planned "$name") $name"; done; } >"$told/callers"
if [ "$permille" -gt 0 ] && [ "$(planned b:g+0x2)" = 5 ] && [ "$first" -le 3 ] && { [ ${#last} -gt 9 ] || [ "$last" -ge 3 ]; }; then
  fault
fi
"#;

/// The plan as this machine's module has it.
const HERE: &str = r#"
told=sys/kernel/debug/kvroute runs=$PWD/runs
for name in callers first last permille; do eval "$name=\$(cat sys/module/kvroute/parameters/$name)"; done
fault() { echo "$(($(wc -l <"$told/reports"))) kfree-of-vmalloc b:g+0x2" >>"$told/reports"; }
"#;

/// The plan as a guest gets it.
const GUEST: &str = r#"
told=$KVROUTE_TOLD runs=$PWD/runs callers=* first=1 last=99 permille=0
set -f; for word in $KVROUTE_PLAN; do eval "${word%%=*}='${word#*=}'"; done
[ ! -e "$told/callers" ] && [ ! -e "$told/kind" ] || exit 9
echo kept >>"$told/own"
"#;

const STATS_OF_GUEST: &str =
    "cp sys/kernel/debug/kvroute/stats \"$told/stats\"; : >\"$told/reports\"; ";

const SENTENCE: &str = "fails only when request 3 of b:g+0x2 is served by vmalloc (";

#[test]
fn a_plan_is_shrunk_to_one_request_on_this_machine() {
    let folder = machine();
    let said = live(&folder, "shrink permille=900 size_min=1", &format!("{HERE}{THIRD}"));
    is(
        &said,
        1,
        &["found in 8 runs: ", SENTENCE, "(kfree-of-vmalloc)", "repeat: kvroute live run"],
    );
    assert!(said.out.contains("first=3 last=3 callers=b:g+0x2' -- sh -c"), "{said:?}");
    assert!(is_set_back(&folder));
    let runs = fs::read_to_string(folder.path().join("runs")).unwrap();
    assert!(runs.starts_with("0 * 1 "), "first without routing: {runs}");
}

/// A mistake of another caller, which is told first once in a while, does not lead the search away.
#[test]
fn a_search_keeps_to_what_it_began_with() {
    let folder = machine();
    let other = "n() { wc -l <\"$told/reports\"; }; other() { echo \"$(n) context a:f+0x1\" >>\"$told/reports\"; }\n\
                 [ \"$permille\" = 0 ] || [ \"$(wc -l <\"$runs\")\" = 1 ] || other\n";
    // What is told after it each time does not either, whatever its name.
    let same =
        "[ \"$permille\" = 0 ] || echo \"$(n) kfree-of-vmalloc a:f+0x1\" >>\"$told/reports\"\n";
    let said = live(&folder, "shrink permille=900", &format!("{HERE}{other}{THIRD}{same}"));
    is(&said, 1, &[SENTENCE, "(kfree-of-vmalloc)", "kfree-of-vmalloc, kfree-of-vmalloc, context "]);
}

#[test]
fn a_plan_is_shrunk_over_guests() {
    let folder = machine();
    fs::remove_dir_all(folder.path().join("sys/module")).unwrap();
    // Who reports, who only fails, who says how it fails, and who dies before it has told anything.
    for (fault, kind) in [
        ("echo '1 leak b:g+0x2' >\"$told/reports\"", "leak"),
        ("exit 5", "exit code 5"),
        ("echo 'a hang' >\"$told/kind\"; exit 1", "a hang"),
        ("rm \"$told/stats\" \"$told/callers\"; exit 6", "exit code 6"),
    ] {
        let _ = fs::remove_file(folder.path().join("runs"));
        let policy = "case $KVROUTE_PLAN in *policy*) permille=0 ;; esac; ";
        let script = format!("{GUEST}{policy}{STATS_OF_GUEST} fault() {{ {fault}; }}\n{THIRD}");
        let said = live(&folder, "shrink --guests permille=900", &script);
        is(&said, 1, &[SENTENCE, &format!("({kind})"), "repeat: KVROUTE_PLAN='permille=900 "]);
    }
}

#[test]
fn what_cannot_be_shrunk_is_said() {
    let none = "fault() { :; }";
    let full = "fault() { sed -i 's/^reported .*/reported 1/' \"$told/stats\"; }";
    let flaky = "fault() { [ \"$(wc -l <\"$runs\")\" != 2 ] || exit 4; }";
    for (script, words) in [
        ("exit 3".to_owned(), "it fails without routing too (exit code 3)"),
        (format!("{HERE}{none}{THIRD}"), "it does not fail under permille=900"),
        (format!("{HERE}{flaky}{THIRD}"), "it does not fail again, so it depends on more"),
        (format!("{HERE}{full}{THIRD}"), "the module's table of reports is full; load it anew"),
    ] {
        let folder = machine();
        let said = live(&folder, "shrink permille=900", &script);
        is(&said, 2, &[words]);
        assert!(is_set_back(&folder), "{script}");
    }
    let folder = machine();
    let said = live(&folder, "shrink --guests permille=900", "[ \"$KVROUTE_PLAN\" = permille=0 ]");
    is(&said, 2, &["nothing is left in KVROUTE_TOLD, so no caller is known"]);
}

/// The page shows the words that the program takes.
#[test]
fn the_page_names_every_subcommand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/running-kernel.md")).unwrap();
    for subcommand in ["status", "run", "report", "shrink"] {
        assert!(page.contains(&format!("kvroute live {subcommand}")), "{subcommand}");
    }
}
