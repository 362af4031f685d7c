//! Documents name files that are there, and show commands that can be run.
//!
//! What a document says of the repository is looked up in a list of its files. The list is given,
//! so that a small one can stand in for the repository when a fault is planted.
//!
//! Only commands of ours are looked at; what a shell or another program does is not.

use crate::sources::is_test;
use crate::{source, walk};
use kvroute_harness::CAMPAIGNS;

/// What cargo is asked for in documents.
const CARGO_COMMANDS: [&str; 4] = ["kvroute", "fuzz", "test", "install"];

/// Folders of the fuzzer's, which are there once it has run.
const FUZZED: [&str; 2] = ["fuzz/corpus", "fuzz/artifacts"];

/// What documents speak about.
struct House {
    files: Vec<String>,
    /// The source of the command line.
    command_line: String,
}

impl House {
    fn here() -> Self {
        let files = walk();
        let is_of_cli = |name: &str| name.starts_with("harness/src/cli/");
        let cli = files.iter().filter(|(name, _)| is_of_cli(name));
        let command_line = cli.filter_map(|(_, text)| text.as_deref()).collect();
        Self { command_line, files: files.into_iter().map(|(name, _)| name).collect() }
    }

    /// Whether there is such a file or folder, or one that fits the pattern.
    fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let fits = |name: &str| match path.split_once('*') {
            Some((before, after)) => {
                name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after))
            }
            None => {
                name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        };
        FUZZED.iter().any(|folder| path.starts_with(folder))
            || self.files.iter().any(|name| fits(name))
    }

    /// Whether a path begins with a folder of the repository; Linux has other folders.
    fn is_ours(&self, path: &str) -> bool {
        let first = path.split_once('/').map(|(first, _)| first);
        first.is_some_and(|first| {
            self.files.iter().any(|name| name.starts_with(&format!("{first}/")))
        })
    }
}

/// What is in backquotes and what a link leads to, outside of blocks.
fn named(document: &str) -> Vec<&str> {
    let prose = || document.split("```").step_by(2);
    let quoted = prose().flat_map(|text| text.split('`').skip(1).step_by(2));
    let links = prose().flat_map(|text| text.split("](").skip(1));
    quoted.chain(links.filter_map(|rest| rest.split([')', '#']).next())).collect()
}

/// What a text names that looks like a file or folder of the repository, and is not there.
fn missing_files(house: &House, name: &str, text: &str) -> Vec<String> {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "/._-".contains(sign);
    let is_at_root = !name.contains('/');
    let is_one = |word: &str| {
        let is_path = word.contains('/') && (is_at_root || house.is_ours(word));
        word.chars().all(is_plain) && (is_path || word.ends_with(".md"))
    };
    let missing = named(text).into_iter().filter(|word| is_one(word) && !house.has(word));
    missing.map(|word| format!("{name}: there is no {word}")).collect()
}

/// The lines of the blocks of a document that are for a shell, without their comments.
fn commands(document: &str) -> Vec<&str> {
    let blocks = document.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines);
    lines.map(|line| line.split(" # ").next().unwrap_or_default()).collect()
}

/// What is wrong with a command.
fn command_complaints(house: &House, command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split_whitespace().collect();
    let mut complaints = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            complaints.push(format!("`{command}`: {what}"));
        }
    };
    for word in words.iter().filter(|word| house.is_ours(word)) {
        must(house.has(word), format!("there is no {word}"));
    }
    let is_campaign = |word: &&str| CAMPAIGNS.iter().any(|campaign| campaign.name == *word);
    match words.as_slice() {
        ["cargo", "kvroute", subcommand, rest @ ..] => {
            let is_known = house.command_line.contains(&format!("({subcommand}::Options)"));
            must(is_known, format!("no subcommand {subcommand}"));
            if ["run", "check", "show", "shrink"].contains(subcommand) {
                must(rest.first().is_some_and(is_campaign), "no campaign".into());
            }
            // What stands behind is a command of its own.
            let ours = rest.iter().take_while(|word| **word != "--");
            for option in ours.filter_map(|word| word.strip_prefix("--")) {
                let field = format!(" {}: ", option.replace('-', "_"));
                must(house.command_line.contains(&field), format!("no option {option}"));
            }
        }
        ["cargo", "fuzz", "run", rest @ ..] | ["ci/fuzz.sh", rest @ ..] => {
            must(rest.iter().any(is_campaign), "no campaign".into());
        }
        ["cargo", subcommand, ..] => {
            must(CARGO_COMMANDS.contains(subcommand), format!("no cargo {subcommand}"));
        }
        _ => {}
    }
    complaints
}

/// What is wrong with a document.
fn complaints(house: &House, name: &str, text: &str) -> Vec<String> {
    if !text.matches("```").count().is_multiple_of(2) {
        return vec![format!("{name}: an open code block")];
    }
    let commands = commands(text).into_iter();
    let told = commands.flat_map(|command| command_complaints(house, command));
    let told = told.map(|complaint| format!("{name}: {complaint}"));
    missing_files(house, name, text).into_iter().chain(told).collect()
}

#[test]
fn documents_name_what_there_is() {
    let house = House::here();
    let documents = house.files.iter().filter(|name| name.ends_with(".md"));
    let mut found = Vec::new();
    let (mut nr_named, mut nr_commands) = (0, 0);
    for name in documents {
        let text = source(name);
        found.extend(complaints(&house, name, &text));
        nr_named += named(&text).len();
        nr_commands += commands(&text).len();
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    assert!(nr_named > 100 && nr_commands > 10, "{nr_named} names and {nr_commands} commands");
}

/// A comment says where something else is, and that moves.
#[test]
fn comments_name_files_that_exist() {
    let house = House::here();
    let mut found = Vec::new();
    for (name, text) in walk() {
        let Some(text) = text.filter(|_| name.ends_with(".rs")) else { continue };
        let comments = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
        found.extend(comments.flat_map(|line| missing_files(&house, &name, line)));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn barks_on_what_is_not_there() {
    let files = ["README.md", "docs/a.md", "ci/fuzz.sh", "corpus/frees/a.trace"];
    let command_line = "Run(run::Options)\n seconds: u64,\n Replay(replay::Options)".to_owned();
    let house = House { files: files.map(str::to_owned).to_vec(), command_line };
    for (name, text) in [
        ("README.md", "`ci/nowhere.sh`"),
        ("README.md", "`kernel/nowhere.c`"),
        ("README.md", "`nowhere.md`"),
        ("docs/a.md", "`ci/nowhere.sh`"),
        ("docs/a.md", "`ci/fuzz`"),
        ("docs/a.md", "[it](ci/nowhere.sh)"),
        ("docs/a.md", "![it](ci/nowhere.svg)"),
        ("docs/a.md", "[it](nowhere.md#part)"),
        ("docs/a.md", "```sh\n"),
        ("docs/a.md", "```sh\nci/nowhere.sh 3 # why\n```"),
        ("docs/a.md", "```sh\nsudo ci/nowhere.sh\n```"),
        ("docs/a.md", "```sh\nci/fuzz.sh nothing 60\n```"),
        ("docs/a.md", "```sh\ncargo kvroute replay corpus/frees/*.zst\n```"),
        ("docs/a.md", "```sh\ncargo kvroute walk\n```"),
        ("docs/a.md", "```sh\ncargo kvroute run nothing\n```"),
        ("docs/a.md", "```sh\ncargo kvroute run frees --hours 3\n```"),
        ("docs/a.md", "```sh\ncargo fuzz run nothing\n```"),
        ("docs/a.md", "```sh\ncargo walk\n```"),
    ] {
        assert_eq!(complaints(&house, name, text).len(), 1, "deaf: {name}: {text}");
    }
    let right = "`ci/fuzz.sh`, `mm/slub.c`, [a](https://a.b/c), `corpus/`, fuzz/corpus/x\n\
                 ```sh\nci/fuzz.sh frees 60   # ci/nowhere.sh\ncargo kvroute replay corpus/frees/*.trace\n\
                 cargo kvroute run frees --seconds 1 -- a --b\ncargo fuzz run -s none frees fuzz/corpus/frees\n```\n";
    assert_eq!(complaints(&house, "docs/a.md", right), Vec::<String>::new());
}

/// The files of the crates with a map that it does not name, nor a folder that holds them.
fn unmapped<'a>(map: &str, files: &'a [String]) -> Vec<&'a str> {
    let is_named = |name: &str| map.contains(&format!("`{name}`"));
    let is_mapped = |name: &str, crate_name: &str| {
        let Some(inside) = name.strip_prefix(crate_name) else { return true };
        let ends = inside.match_indices('/').map(|(at, _)| crate_name.len() + at);
        let folder = name.strip_suffix("mod.rs").filter(|_| inside != "mod.rs");
        is_test(inside)
            || ends.chain([name.len()]).any(|end| is_named(&name[..end]))
            || folder.is_some_and(|folder| map.contains(&format!("`{folder}")))
    };
    let crates = ["alloc-core/src/", "harness/src/", "hosted/src/"];
    let names = files.iter().map(String::as_str);
    names.filter(|name| !crates.iter().all(|crate_name| is_mapped(name, crate_name))).collect()
}

#[test]
fn the_code_map_is_complete() {
    let map = source("ARCHITECTURE.md");
    assert_eq!(unmapped(&map, &House::here().files), [""; 0], "not in ARCHITECTURE.md");
    let files = [
        "harness/src/a.rs",
        "harness/src/b/c.rs",
        "harness/src/testament.rs",
        "alloc-core/src/b/a.rs",
        "alloc-core/src/b/mod.rs",
        "harness/src/a/test.rs",
        "fuzz/src/a.rs",
    ];
    let owned = files.map(str::to_owned);
    assert_eq!(unmapped("`harness/src/d.rs`", &owned), files[..5]);
    assert_eq!(unmapped("`harness/src/a.rs` `harness/src/b`", &owned), files[2..5]);
    assert_eq!(unmapped("`alloc-core/src/b/c.rs`", &owned), files[..4]);
    assert_eq!(unmapped("`alloc-core/src/b/a.rs`", &owned), files[..3]);
}

/// Whether a script has a step that runs this command, whatever the step is called.
fn has_step(script: &str, command: &str) -> bool {
    let steps = script.lines().filter_map(|line| line.strip_prefix("step \""));
    steps.filter_map(|step| step.split_once('"')).any(|(_, runs)| runs.trim() == command)
}

#[test]
fn the_checks_run_all_tests() {
    assert!(source(".ci/run").contains("exec ci/check.sh"));
    let tests = "cargo test --workspace";
    assert!(commands(&source("README.md")).iter().any(|command| command.trim() == tests));
    assert!(has_step(&source("ci/check.sh"), tests));
    for wrong in ["# step \"a\" cargo test --workspace", "step \"cargo test --workspace\" true"] {
        assert!(!has_step(wrong, tests), "deaf: {wrong}");
    }
}
