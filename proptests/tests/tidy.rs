//! Tidy: what the documents and the house rules say about the sources is true of the sources.
//!
//! The one idea: a rule is a function from a file's text to complaints, with a text that it must
//! complain about beside it, so that a rule that has gone deaf is itself found. Rules about single
//! files are rows of [`RULES`]; below them stand the few that compare files with each other.
//!
//! Formatting and lints are rustfmt's and clippy's business.

use kvroute_harness::CAMPAIGNS;
use std::fs;
use std::path::{Path, PathBuf};

const LINES_PER_FILE_MAX: usize = 500;
const LINES_PER_FUNCTION_MAX: usize = 70;
const LINES_PER_TARGET_MAX: usize = 15;
const COLUMNS_MAX: usize = 100;

/// A rule about single files.
struct Rule {
    name: &'static str,
    /// Whether the rule is about the file of this name.
    about: fn(&str) -> bool,
    /// The complaints about a text.
    complaints: fn(&str) -> Vec<String>,
    /// A text that must give one.
    planted: fn() -> String,
}

const RULES: &[Rule] = &[
    Rule {
        name: "a Rust file opens with //!",
        about: is_rust,
        complaints: opening,
        planted: || "use std::fs;\n".into(),
    },
    Rule {
        name: "a file is one subject",
        about: is_rust,
        complaints: file_length,
        planted: || "\n".repeat(LINES_PER_FILE_MAX + 1),
    },
    Rule {
        name: "a function fits a screen",
        about: is_rust,
        complaints: function_length,
        planted: || format!("    fn long() {{\n{}    }}\n", "\n".repeat(LINES_PER_FUNCTION_MAX)),
    },
    Rule {
        name: "comments are no wider than code",
        about: is_rust,
        complaints: columns,
        planted: || format!("// {}\n", "x".repeat(COLUMNS_MAX)),
    },
    Rule {
        name: "nothing is left unfinished",
        about: |name| is_rust(name) || name.ends_with(".sh") || name.ends_with(".md"),
        complaints: |text| words(text, &UNFINISHED),
        planted: || format!("    {}\n", UNFINISHED[0].concat()),
    },
    Rule {
        name: "no place of one machine is named",
        about: |_| true,
        complaints: |text| words(text, &PLACES),
        planted: || format!("see {}here\n", PLACES[0].concat()),
    },
    Rule {
        name: "a fuzz target is glue",
        about: |name| name.starts_with("fuzz/fuzz_targets/"),
        complaints: target_length,
        planted: || "//! Too long.\n".repeat(LINES_PER_TARGET_MAX + 1),
    },
    Rule {
        name: "alloc-core stands alone",
        about: |name| name.starts_with("alloc-core/src/") && !name.contains("test"),
        complaints: foreign_words,
        planted: || "extern crate alloc;\n".into(),
    },
    Rule {
        name: "alloc-core has no dependency",
        about: |name| name == "alloc-core/Cargo.toml",
        complaints: dependencies,
        planted: || "[dependencies]\nlibc = \"0.2\"\n".into(),
    },
];

/// Words in two halves, so that this file does not contain them.
const UNFINISHED: [[&str; 2]; 5] =
    [["to", "do!("], ["unimpl", "emented!("], ["db", "g!("], ["FIX", "ME"], ["XX", "X"]];

/// Beginnings of addresses that mean something on one machine only.
const PLACES: [[&str; 2]; 5] =
    [["/wo", "rk/"], ["/tmp", "/"], ["/ho", "me/"], ["/ro", "ot/"], ["index.cra", "tes.io"]];

fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

fn opening(text: &str) -> Vec<String> {
    let opens = text.starts_with("//! ");
    (!opens).then(|| "it does not say what it is".to_owned()).into_iter().collect()
}

fn file_length(text: &str) -> Vec<String> {
    at_most(text.lines().count(), LINES_PER_FILE_MAX)
}

fn target_length(text: &str) -> Vec<String> {
    at_most(text.lines().count(), LINES_PER_TARGET_MAX)
}

fn at_most(nr_lines: usize, most: usize) -> Vec<String> {
    (nr_lines > most).then(|| format!("{nr_lines} lines, at most {most}")).into_iter().collect()
}

/// A function begins at a line with `fn` and ends at the next `}` that stands in the same column.
fn function_length(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        let head = words.split("fn ").next().unwrap_or_default();
        let is_head = head.split_whitespace().all(|word| {
            ["const", "async", "unsafe", "extern", "\"C\""].contains(&word)
                || word.starts_with("pub")
                || word.ends_with(')')
        });
        if !words.contains("fn ") || !is_head || words.ends_with(['}', ';']) {
            continue;
        }
        let end = format!("{indent}}}");
        let nr_lines = lines[first..].iter().position(|line| *line == end).unwrap_or(0) + 1;
        if nr_lines > LINES_PER_FUNCTION_MAX {
            complaints.push(format!("line {}: a function of {nr_lines} lines", first + 1));
        }
    }
    complaints
}

/// Code is broken by rustfmt, and strings are not to be broken at all, so this is about comments.
fn columns(text: &str) -> Vec<String> {
    let is_wide =
        |line: &str| line.trim_start().starts_with("//") && line.chars().count() > COLUMNS_MAX;
    let complaint = |(at, line): (usize, &str)| {
        format!("line {}: {} columns, at most {COLUMNS_MAX}", at + 1, line.chars().count())
    };
    text.lines().enumerate().filter(|(_, line)| is_wide(line)).map(complaint).collect()
}

fn words(text: &str, unwanted: &[[&str; 2]]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in unwanted.iter().map(|halves| halves.concat()) {
            if line.contains(&word) {
                complaints.push(format!("line {}: `{word}`", at + 1));
            }
        }
    }
    complaints
}

/// What a kernel's allocator must not know. Its unit tests, at the end of a file, may use `std`.
fn foreign_words(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\npub(crate) mod").next().unwrap_or_default();
    let code = code.split("#[cfg(test)]\nmod test {").next().unwrap_or_default();
    let not_comment = |line: &&str| !line.trim_start().starts_with("//");
    let foreign = ["extern crate", "std::", "alloc::", "kvroute", "harness", "fuzzing"];
    let complaints = code.lines().filter(not_comment).flat_map(|line| {
        let found = foreign.into_iter().filter(|word| {
            // `kmalloc::` is not `alloc::`.
            line.match_indices(word).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
        });
        found.map(move |word| format!("`{word}` in `{}`", line.trim()))
    });
    complaints.collect()
}

fn dependencies(text: &str) -> Vec<String> {
    let tables = text.lines().filter(|line| line.starts_with('[') && line.contains("dependencies"));
    tables.map(|table| format!("there is a table {table}")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text file of the repository: its name from the root on, and what it says.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).expect("a readable folder");
        for entry in entries.map(|entry| entry.expect("a readable folder")) {
            let path = folder.join(entry.file_name());
            let name = path.to_string_lossy().replace('\\', "/");
            if path.file_name().is_some_and(|last| last == "target" || last == ".git") {
                continue;
            }
            // What the fuzzer keeps is not part of the repository.
            if ["fuzz/corpus", "fuzz/artifacts", "fuzz/coverage"].contains(&name.as_str()) {
                continue;
            }
            if entry.path().is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(entry.path()) {
                sources.push((name, text));
            }
        }
    }
    assert!(sources.len() > 50, "the walk found only {} files", sources.len());
    sources
}

fn source(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn sources_keep_the_rules() {
    let mut complaints = Vec::new();
    for (name, text) in sources() {
        for rule in RULES.iter().filter(|rule| (rule.about)(&name)) {
            let found = (rule.complaints)(&text).into_iter();
            complaints.extend(found.map(|complaint| format!("{name}: {}: {complaint}", rule.name)));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_rule_barks() {
    for rule in RULES {
        assert!(!(rule.complaints)(&(rule.planted)()).is_empty(), "deaf: {}", rule.name);
    }
}

#[test]
fn every_rule_is_about_some_file() {
    let sources = sources();
    for rule in RULES {
        assert!(sources.iter().any(|(name, _)| (rule.about)(name)), "idle: {}", rule.name);
    }
}

/// The names in `folder` without their extension, sorted.
fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect("a readable folder");
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut names: Vec<_> = entries.filter_map(|entry| stem(entry.ok()?.path())).collect();
    names.sort();
    names
}

/// The values of `key = "…"` in the `[[bin]]` tables of a manifest, sorted.
fn bin_values(manifest: &str, key: &str) -> Vec<String> {
    let bins = manifest.split("[[bin]]").skip(1).flat_map(str::lines);
    let values = bins.filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
    let mut values: Vec<_> = values.map(|value| value.trim_matches('"').to_owned()).collect();
    values.sort();
    values
}

#[test]
fn a_campaign_is_a_target_is_a_folder_of_seeds() {
    let mut campaigns: Vec<_> = CAMPAIGNS.iter().map(|campaign| campaign.name.to_owned()).collect();
    campaigns.sort();
    let manifest = source("fuzz/Cargo.toml");
    assert_eq!(names_in("fuzz/fuzz_targets"), campaigns, "files in fuzz/fuzz_targets");
    assert_eq!(bin_values(&manifest, "name"), campaigns, "[[bin]] tables in fuzz/Cargo.toml");
    let paths: Vec<_> = campaigns.iter().map(|name| format!("fuzz_targets/{name}.rs")).collect();
    assert_eq!(bin_values(&manifest, "path"), paths, "paths in fuzz/Cargo.toml");
    let mut folders = names_in("corpus");
    folders.retain(|name| name != "recordings");
    assert_eq!(folders, campaigns, "folders in corpus/");
}

#[test]
fn a_target_fuzzes_the_campaign_of_its_name() {
    for campaign in CAMPAIGNS {
        let text = source(&format!("fuzz/fuzz_targets/{}.rs", campaign.name));
        let place = campaign.name.to_uppercase();
        let told = text.matches(&place).count();
        assert_eq!(told, 3, "{}: used, fuzzed, and the profile of its mutations", campaign.name);
        assert!(text.contains(&format!("`{}`", campaign.name)), "{}: its //!", campaign.name);
    }
}

/// What a document writes in backquotes that looks like a file or folder of the repository.
fn named_files(document: &str) -> Vec<&str> {
    let quoted = document.split('`').skip(1).step_by(2);
    let looks_like_one = |word: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        word.chars().all(plain) && (word.contains('/') || word.ends_with(".md"))
    };
    quoted.filter(looks_like_one).collect()
}

#[test]
fn documents_name_files_that_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = source(document);
        assert_eq!(text.matches("```").count() % 2, 0, "{document}: an open code block");
        let prose: String = text.split("```").step_by(2).collect();
        let named = named_files(&prose);
        assert!(!named.is_empty(), "{document} names no file");
        for name in named {
            assert!(root().join(name).exists(), "{document}: there is no {name}");
        }
    }
    assert_eq!(named_files("see `ci/fuzz.sh` and `a word`"), ["ci/fuzz.sh"]);
}

#[test]
fn the_code_map_is_complete() {
    let map = source("ARCHITECTURE.md");
    for (name, _) in sources() {
        let is_mapped = |crate_name: &str| {
            let Some(inside) = name.strip_prefix(crate_name) else { return true };
            let module = inside.split('/').next().unwrap_or(inside);
            let is_test = inside.split('/').any(|part| part.starts_with("test"));
            is_test || map.contains(&format!("`{crate_name}{module}`"))
        };
        let known = is_mapped("alloc-core/src/") && is_mapped("harness/src/");
        assert!(known, "ARCHITECTURE.md does not name {name} or its folder");
    }
}

#[test]
fn commands_in_the_readme_can_be_run() {
    let readme = source("README.md");
    let blocks = readme.split("```sh").skip(1).filter_map(|block| block.split("```").next());
    let commands: Vec<_> = blocks.flat_map(str::lines).filter(|line| !line.is_empty()).collect();
    assert!(commands.len() > 4, "the README shows {} commands", commands.len());
    let run = source(".ci/run") + &source("ci/check.sh");
    assert!(run.contains("cargo test --workspace"), ".ci/run runs the README's test command");
    for command in commands {
        for word in command.split('#').next().unwrap_or_default().split_whitespace() {
            let is_file = word.starts_with("ci/") || word.starts_with("corpus/");
            // Of a pattern, its folder must be there.
            let path = word.find('*').map_or(word, |star| &word[..star]);
            let path = if path == word { path } else { path.trim_end_matches(|c| c != '/') };
            assert!(!is_file || root().join(path).exists(), "README: there is no {word}");
        }
    }
}

#[test]
fn the_readme_lists_the_campaigns() {
    let readme = source("README.md");
    for campaign in CAMPAIGNS {
        let row = format!("| `{}` | {} |\n", campaign.name, campaign.sentence);
        assert!(readme.contains(&row), "README.md: no row {row}");
    }
}
