//! Tidy: what the documents and the house rules say about the sources is true of the sources.
//!
//! A rule is a function from texts to complaints, with texts beside it that it must complain about,
//! so that a rule that has gone deaf is itself found. What there is to read is listed here, once.
//!
//! Formatting and lints are rustfmt's and clippy's business.

mod campaigns;
mod documents;
mod emitted;
mod parts;
mod sources;
mod way;

use sources::RULES;
use std::fs;
use std::path::{Path, PathBuf};

/// What is not part of the repository.
const IGNORED: [&str; 8] = [
    ".git",
    "target",
    "fuzz/target",
    "ci/no_std_probe/target",
    "zoo/target",
    "fuzz/corpus",
    "fuzz/artifacts",
    "fuzz/coverage",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the repository: its name from the root on, and what it says if it is a text.
fn walk() -> Vec<(String, Option<String>)> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).expect("a readable folder");
        for entry in entries.map(|entry| entry.expect("a readable folder")) {
            let path = folder.join(entry.file_name());
            let name = path.to_string_lossy().replace('\\', "/");
            if IGNORED.contains(&name.as_str()) || name.ends_with(".failing.trace") {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(path);
            } else {
                files.push((name, fs::read_to_string(entry.path()).ok()));
            }
        }
    }
    assert!(files.len() > 50, "the walk found only {} files", files.len());
    files.sort();
    files
}

fn source(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The names in `folder` without their extension, sorted.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("a readable folder");
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<_> = entries.filter_map(|entry| stem(entry.ok()?.path())).collect();
    names.sort();
    names
}

#[test]
fn sources_keep_the_rules() {
    let texts = walk().into_iter().filter_map(|(name, text)| Some((name, text?)));
    let complaints: Vec<_> =
        texts.flat_map(|(name, text)| sources::complaints(&name, &text)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_rule_is_about_some_file() {
    let files = walk();
    for rule in RULES {
        assert!(files.iter().any(|(name, _)| (rule.about)(name)), "idle: {}", rule.name);
    }
}
