//! Replays the corpus: every trace in `corpus/` gives the answers that it says it gives.
//!
//! The one idea: a seed is also a test. What it expects stands beside its calls, why it exists in
//! its first line, whether it is a correct caller in its header, and here all are held to it. The
//! recordings of real kernels in `corpus/recordings/` expect nothing but that no oracle objects.

use kvroute_harness::call::{CALLS, Call};
use kvroute_harness::caller::{check_caller, mark};
use kvroute_harness::campaign::REPLAY;
use kvroute_harness::exec::{self, Expectations};
use kvroute_harness::op::CLASSES;
use kvroute_harness::recorded::Agreement;
use kvroute_harness::recording::{Recording, Served};
use kvroute_harness::text::CORRECT_CALLER;
use kvroute_harness::trace::Claim;
use kvroute_harness::{CAMPAIGNS, Campaign, Trace, check_expected};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(campaign: &Campaign) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(campaign.name)
}

/// The name and the text of every seed of a campaign, in the order of their names.
fn seeds(campaign: &Campaign) -> Vec<(String, String)> {
    let folder = folder(campaign);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("corpus/{} cannot be read: {error}", campaign.name));
    let mut seeds: Vec<(String, String)> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .map(|path| {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (format!("corpus/{}/{name}", campaign.name), text)
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "corpus/{} holds no seed", campaign.name);
    seeds
}

fn every_seed() -> impl Iterator<Item = (&'static Campaign, String, String)> {
    CAMPAIGNS.iter().flat_map(|campaign| {
        seeds(campaign).into_iter().map(|(name, text)| (*campaign, name, text))
    })
}

fn parse(name: &str, text: &str) -> Trace {
    Trace::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn seeds_give_the_answers_they_expect() {
    let mut objections = Vec::new();
    for (campaign, name, text) in every_seed() {
        if let Err(failure) = check_expected(campaign, &parse(&name, &text)) {
            objections.push(format!("{name}: {failure}"));
        }
    }
    assert!(objections.is_empty(), "\n{}", objections.join("\n\n"));
}

/// The first line of a seed, if it says why the seed exists.
fn why(text: &str) -> Option<&str> {
    let why = text.lines().next().and_then(|line| line.strip_prefix("# "))?;
    let nr_letters = why.chars().filter(|sign| sign.is_alphabetic()).count();
    (nr_letters >= 16 && why.contains(' ') && !why.starts_with("->")).then_some(why)
}

/// What is wrong with the names and the first lines of seeds.
fn complaints(seeds: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut known = BTreeMap::new();
    for (name, text) in seeds {
        let stem = name.rsplit('/').next().and_then(|last| last.strip_suffix(".trace"));
        if stem.is_none_or(str::is_empty) {
            complaints.push(format!("{name}: a seed is called something.trace"));
        }
        let Some(why) = why(text) else {
            let rule = "the first line must be a `#` comment that says why the seed exists";
            complaints.push(format!("{name}: {rule}"));
            continue;
        };
        let calls = text.split_once('\n').map(|(_, calls)| calls).unwrap_or_default();
        for (part, which) in [(why, "first line"), (calls, "calls")] {
            if let Some(other) = known.insert(part, name) {
                complaints.push(format!("{name}: the {which} of {other}"));
            }
        }
    }
    complaints
}

#[test]
fn seeds_say_why_they_exist() {
    for campaign in CAMPAIGNS {
        assert_eq!(complaints(&seeds(campaign)), Vec::<String>::new());
    }
}

#[test]
fn barks_on_a_seed_that_does_not_say_why_it_exists() {
    let seed = |name: &str, text: &str| (format!("corpus/frees/{name}"), text.to_owned());
    let right = seed("a.trace", "# A double free, back to back.\nkfree(r0)\n");
    assert_eq!(complaints(std::slice::from_ref(&right)), Vec::<String>::new());
    for wrong in [
        seed("b.txt", "# Another reason, as good.\nkfree(r1)\n"),
        seed(".trace", "# Another reason, as good.\nkfree(r1)\n"),
        seed("b.trace", "kfree(r1)\n"),
        seed("b.trace", "# Short.\nkfree(r1)\n"),
        seed("b.trace", "# -> Slab and a long text\nkfree(r1)\n"),
        seed("b.trace", "# ------------------------\nkfree(r1)\n"),
        seed("b.trace", "# A double free, back to back.\nkfree(r1)\n"),
        seed("b.trace", "# Another reason, as good.\nkfree(r0)\n"),
    ] {
        assert_eq!(complaints(&[right.clone(), wrong.clone()]).len(), 1, "deaf: {wrong:?}");
    }
}

#[test]
fn seeds_read_back_as_they_were_written() {
    for (_, name, text) in every_seed() {
        let trace = parse(&name, &text);
        let printed = trace.to_string();
        assert_eq!(parse(&name, &printed), trace, "{name}");
        assert_eq!(parse(&name, &printed).to_string(), printed, "{name}");
    }
}

#[test]
fn seeds_expect_something_of_every_call() {
    for (_, name, text) in every_seed() {
        let trace = parse(&name, &text);
        let silent = trace.ops.iter().find(|op| op.expect.is_none());
        assert!(silent.is_none(), "{name}: no `# -> …` beside {}", silent.unwrap());
    }
}

#[test]
fn seeds_reach_every_call() {
    let ops: Vec<_> = every_seed().flat_map(|(_, name, text)| parse(&name, &text).ops).collect();
    for spec in CALLS {
        assert!(ops.iter().any(|op| op.call == spec.call), "no seed calls {}", spec.name);
    }
}

#[test]
fn seeds_reach_every_class_of_answer() {
    let ops: Vec<_> = every_seed().flat_map(|(_, name, text)| parse(&name, &text).ops).collect();
    for (class, word, meaning) in CLASSES {
        let reached = ops.iter().any(|op| op.expect == Some(*class));
        assert!(reached, "no seed expects {word} ({meaning})");
    }
}

/// What is wrong with what the header of a trace says of its calls.
fn false_claim(trace: &Trace) -> Option<String> {
    let mut marked = trace.clone();
    mark(&mut marked);
    match (trace.claim, marked.claim) {
        (Claim::Correct, Claim::Unsaid) => {
            let why = check_caller(trace).err().map(|failure| failure.to_string());
            Some(format!("no correct caller: {}", why.unwrap_or_default()))
        }
        (Claim::Unsaid, Claim::Correct) => {
            Some(format!("a correct caller: its header should have `{CORRECT_CALLER}`"))
        }
        _ => None,
    }
}

#[test]
fn seeds_that_are_correct_callers_say_so_and_no_others() {
    let mut complaints = Vec::new();
    let mut nr_correct = 0;
    for (_, name, text) in every_seed() {
        let trace = parse(&name, &text);
        nr_correct += usize::from(trace.claim == Claim::Correct);
        complaints.extend(false_claim(&trace).map(|what| format!("{name}: {what}")));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n\n"));
    assert!(nr_correct > 0, "no seed is a correct caller");
}

#[test]
fn barks_on_a_false_claim_and_on_one_that_is_not_made() {
    let claim = format!("{CORRECT_CALLER}\n");
    for (kv, heap) in [("kvfree(r0)", "dealloc(r0)"), ("kfree(r0)", "")] {
        let is_right = kv == "kvfree(r0)";
        for calls in [
            format!("r0 = kvmalloc(0x3000, GFP_KERNEL)\n{kv}\n"),
            format!("r0 = alloc(0x30, 0x8)\nwrite(r0, 0x0, 0x8)\n{heap}\n"),
        ] {
            let said = false_claim(&parse("said", &format!("{claim}{calls}")));
            let unsaid = false_claim(&parse("unsaid", &calls));
            assert_eq!((said.is_none(), unsaid.is_none()), (is_right, !is_right), "deaf: {calls}");
        }
    }
}

#[test]
fn a_wrong_expectation_is_an_objection() {
    let trace = Trace::parse("r0 = kmalloc(0x10, GFP_KERNEL) # -> Vmalloc").unwrap();
    let failure = check_expected(CAMPAIGNS[0], &trace).expect_err("kmalloc yields no Vmalloc");
    assert_eq!(failure.oracle, "expectation");
}

/// A recording of a real kernel has no expectations; that no oracle objects, and that the model
/// agrees with the recorded kernel as far as the named rules go, is the test.
#[test]
fn recordings_replay_without_objection() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/recordings");
    let mut nr_recordings = 0;
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let recording = Recording::open(&path).unwrap_or_else(|error| panic!("{error}"));
        let (mut agreement, mut index) = (Agreement::new(&recording), 0);
        let replayed = exec::watch(&REPLAY, &recording.trace, Expectations::Ignored, |views| {
            agreement.compare(&recording, index, views[0].class);
            index += 1;
        });
        let stats = replayed.unwrap_or_else(|failure| panic!("{}: {failure}", path.display()));
        assert_eq!(stats.nr_skipped(), 0, "{}", path.display());
        assert!(agreement.requests > 0, "{}: nothing was compared", path.display());
        // A difference that no rule explains is a fault of the model or of the allocator.
        assert!(agreement.differences.is_empty(), "{}: {agreement:?}", path.display());
        nr_recordings += 1;
    }
    assert!(nr_recordings > 0, "there is no recording");
}

/// One recording is of a kernel whose free memory lay in single pages, made as `docs/recording.md`
/// says: only there does kvmalloc fall back.
#[test]
fn a_recorded_kernel_fell_back_to_vmalloc() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/recordings/kv-fallback.trace.zst");
    let recording = Recording::open(&path).unwrap_or_else(|error| panic!("{error}"));
    let requests = recording.trace.ops.iter().zip(&recording.served);
    let fallbacks =
        requests.filter(|(op, served)| op.call == Call::Kvmalloc && **served == Served::Vmalloc);
    assert!(fallbacks.count() > 0, "no kvmalloc of the recorded kernel fell back");
}
