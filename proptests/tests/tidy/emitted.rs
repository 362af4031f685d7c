//! What `kvroute shrink --test` writes keeps the rules, so it can go into the repository as it is.
//!
//! Every seed stands in for a failing trace, and every oracle in turn objects to one.
//!
//! Whether such a test fails as it should is not asked here.

use crate::{root, sources, walk};
use kvroute_harness::oracle::ORACLES;
use kvroute_harness::report::regression_test;
use kvroute_harness::verdict::{EXPECTATION, PANIC, Reading};
use kvroute_harness::{CAMPAIGNS, Failure, Trace};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Reasons as they are, and as a foreign allocator that panics may put them.
fn reasons() -> [String; 4] {
    let place = format!("no r\"#\"# for you\r, at {}/x/y.rs:3:4", ["/ho", "me"].concat());
    [
        "r0 has 0x40 bytes at 0xffff888000001000, of which 3 differ".to_owned(),
        "the lanes differ:\n  policy: Slab\n  slab:   NoMemory\n\n".to_owned(),
        "one\rtwo \u{202e} \"quoted\" \u{1b}[1m ".repeat(20),
        place,
    ]
}

/// A test for each seed, by the name of a file that it could have.
fn tests() -> Vec<(String, String)> {
    let oracles: Vec<&str> =
        ORACLES.iter().map(|oracle| oracle.name).chain([EXPECTATION, PANIC]).collect();
    let seeds = walk().into_iter().filter(|(name, _)| name.ends_with(".trace"));
    let texts = seeds.filter_map(|(name, text)| text.map(|text| (name, text)));
    let test = |(at, (name, text)): (usize, (String, String))| {
        let trace = Trace::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let folder = name.split('/').nth(1).unwrap_or_default();
        let campaign = CAMPAIGNS.iter().find(|campaign| campaign.name == folder);
        let failure = Failure {
            campaign: campaign.unwrap_or_else(|| panic!("{name}: no campaign")).name,
            lane: None,
            oracle: oracles[at % oracles.len()],
            reason: reasons()[at % reasons().len()].clone(),
            op: 0,
            trace,
            file: None,
            reading: Reading::Strict,
        };
        (format!("proptests/tests/emitted_{at}.rs"), regression_test(&failure))
    };
    texts.enumerate().map(test).collect()
}

#[test]
fn a_test_that_shrink_writes_keeps_the_rules() {
    let mut complaints = Vec::new();
    let (tests, mut names) = (tests(), Vec::new());
    for (name, text) in &tests {
        complaints.extend(sources::complaints(name, text));
        match syn::parse_file(text) {
            Ok(file) => names.extend(file.items.into_iter().filter_map(|item| match item {
                syn::Item::Fn(function) => Some(function.sig.ident.to_string()),
                _ => None,
            })),
            Err(error) => complaints.push(format!("{name}: {error}\n{text}")),
        }
        let is_odd = |sign: char| sign != '\n' && (sign.is_control() || sign == '\u{202e}');
        if text.contains(is_odd) {
            complaints.push(format!("{name}: a sign that rustc refuses in a literal"));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    assert!(tests.len() > 50, "only {} tests", tests.len());
    names.sort();
    names.dedup();
    assert_eq!(names.len(), tests.len(), "each has a name of its own");
}

#[test]
fn a_test_that_shrink_writes_is_formatted() {
    if !Command::new("rustfmt").arg("--version").output().is_ok_and(|run| run.status.success()) {
        println!("skipped: there is no rustfmt");
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emitted");
    fs::create_dir_all(&folder).expect("a folder for the tests");
    let check = |texts: &[(String, String)]| {
        let paths = texts.iter().map(|(name, text)| {
            let path = folder.join(name.replace('/', "-"));
            fs::write(&path, text).expect("a file");
            path
        });
        let mut run = Command::new("rustfmt");
        run.args(["--check", "--edition", "2024", "--config-path"])
            .arg(root().join("rustfmt.toml"));
        run.args(paths.collect::<Vec<_>>()).output().expect("rustfmt runs")
    };
    let mut tests = tests();
    let run = check(&tests);
    let said = [run.stdout, run.stderr].concat();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&said));
    // That it looks at all of them is seen when the last one is not.
    tests.last_mut().expect("a test").1 += "fn  f( ){}\n";
    assert!(!check(&tests).status.success(), "deaf");
}
