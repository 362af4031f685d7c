//! Rules about single files.
//!
//! The one idea: a rule is a function from a file's text to complaints. Beside it stand texts on
//! which it must bark, one for each way to break it, and texts on which it must not.

use crate::parts::{Part, only, parts};

const LINES_PER_FILE_MAX: usize = 500;
const LINES_PER_FUNCTION_MAX: usize = 70;
const LINES_PER_TARGET_MAX: usize = 15;
const COLUMNS_MAX: usize = 100;

/// A rule about single files.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// Whether the rule is about the file of this name.
    pub(crate) about: fn(&str) -> bool,
    /// The complaints about a text.
    complaints: fn(&str) -> Vec<String>,
    /// Texts each of which must give one.
    barks_on: fn() -> Vec<String>,
    /// Texts that must give none.
    silent_on: fn() -> Vec<String>,
}

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "a Rust file opens with //!",
        about: is_rust,
        complaints: opening,
        barks_on: || vec!["use std::fs;\n".into(), "//!Text.\n".into(), "// Text.\n".into()],
        silent_on: || vec!["//! Text.\n".into()],
    },
    Rule {
        name: "a file is one subject",
        about: is_rust,
        complaints: file_length,
        barks_on: || vec!["\n".repeat(LINES_PER_FILE_MAX + 1)],
        silent_on: || vec!["\n".repeat(LINES_PER_FILE_MAX)],
    },
    Rule {
        name: "a function fits a screen",
        about: is_rust,
        complaints: function_length,
        barks_on: || LONG_HEADS.iter().map(|head| function(head, LINES_PER_FUNCTION_MAX)).collect(),
        silent_on: || vec![function("fn f() {", 60), function("impl S {", 90)],
    },
    Rule {
        name: "comments are no wider than code",
        about: is_rust,
        complaints: columns,
        barks_on: || {
            let (wide, words) = ("x".repeat(COLUMNS_MAX), "x y ".repeat(COLUMNS_MAX / 4));
            vec![format!("// {wide}\n"), format!("f(); // {words}\n"), format!("/* {words}\n*/\n")]
        },
        silent_on: || vec![format!("let a = \"// {}\";\n", "x".repeat(COLUMNS_MAX))],
    },
    Rule {
        name: "nothing is left unfinished",
        about: |_| true,
        complaints: |text| words(text, &UNFINISHED),
        barks_on: || UNFINISHED.iter().map(|halves| format!("    {}\n", halves.concat())).collect(),
        silent_on: || vec!["what is to do\n".into()],
    },
    Rule {
        name: "no place of one machine is named",
        about: |_| true,
        complaints: places,
        barks_on: || {
            let places = PLACES.iter().map(|halves| halves.concat());
            places
                .flat_map(|place| [format!("see {place}/here\n"), format!("in {place}\n")])
                .collect()
        },
        silent_on: || vec![format!("target{0} {0}orary\n", PLACES[1].concat())],
    },
    Rule {
        name: "a fuzz target is glue",
        about: |name| name.starts_with("fuzz/fuzz_targets/"),
        complaints: decisions,
        barks_on: || {
            let decisions =
                ["if a { f() }", "match a {}", "a && f()", "(a) || f()", "for a in b {}"];
            let mut texts = decisions.map(str::to_owned).to_vec();
            texts.push("//! Too long.\n".repeat(LINES_PER_TARGET_MAX + 1));
            texts
        },
        silent_on: || vec!["//! What if it is?\nfuzz!(|a: A| f(&A, &a));\n".into()],
    },
    Rule {
        name: "alloc-core stands alone",
        about: |name| name.starts_with("alloc-core/src/") && !is_test(name),
        complaints: foreign_words,
        barks_on: || {
            let test = "#[cfg(test)]\nmod test {\n    use std::vec;\n}\n";
            let file = "#[cfg(test)]\npub(crate) mod test_memory;\n";
            let mut texts = FOREIGN.map(|word| format!("{word}\n")).to_vec();
            texts.extend([test, file].map(|before| format!("{before}use ::std::vec;\n")));
            texts
        },
        silent_on: || {
            let test = "#[cfg(test)]\nmod test {\n    use std::vec;\n}\n";
            [test, "kmalloc::f() // std::f\n"].map(str::to_owned).to_vec()
        },
    },
    Rule {
        name: "alloc-core has no dependency",
        about: |name| name == "alloc-core/Cargo.toml",
        complaints: dependencies,
        barks_on: || {
            let tables =
                ["[dependencies]", " [dev-dependencies.libc]", "dependencies = { libc = \"0.2\" }"];
            tables.map(str::to_owned).to_vec()
        },
        silent_on: || vec!["# It has no dependencies.\n[lints]\n".into()],
    },
];

/// Words in two halves, so that this file does not contain them.
const UNFINISHED: [[&str; 2]; 7] = [
    ["to", "do!("],
    ["unimpl", "emented!("],
    ["db", "g!("],
    ["FIX", "ME"],
    ["XX", "X"],
    ["TO", "DO"],
    ["TB", "D"],
];

/// Beginnings of addresses that mean something on one machine only.
const PLACES: [[&str; 2]; 7] = [
    ["/wo", "rk"],
    ["/tm", "p"],
    ["/ho", "me"],
    ["/ro", "ot"],
    ["/Us", "ers"],
    ["index.cra", "tes.io"],
    ["static.cra", "tes.io"],
];

/// What a kernel's allocator must not know.
const FOREIGN: [&str; 9] = [
    "extern crate",
    "std::",
    "use std",
    "alloc::",
    "use alloc;",
    "use alloc as",
    "kvroute",
    "harness",
    "fuzzing",
];

/// Heads of functions, each written in another way.
const LONG_HEADS: [&str; 10] = [
    "fn f() {",
    "    pub(crate) fn f(&self) -> u8 {",
    "pub(in crate::a) const fn f() {",
    "unsafe extern \"system\" fn f() {",
    "pub async fn f(\n    a: u8,\n) {",
    "fn f<T>()\nwhere\n    T: Copy,\n{",
    "fn f(g: fn() -> u8) { // why g }",
    "fn f() {\n    let a = \"\n}\n\";",
    "fn f() {\n    let a = r#\"\n}\n\"#;",
    "fn f() {\n    /*\n}\n    */",
];

/// A function of so many lines within it.
fn function(head: &str, nr_lines: usize) -> String {
    let indent = &head[..head.len() - head.trim_start().len()];
    format!("{head}\n{}{indent}}}\n", "    g();\n".repeat(nr_lines))
}

/// What the rules have against a file.
pub(crate) fn complaints(name: &str, text: &str) -> Vec<String> {
    let rules = RULES.iter().filter(|rule| (rule.about)(name));
    let told = rules.flat_map(|rule| {
        let found = (rule.complaints)(text).into_iter();
        found.map(move |complaint| format!("{name}: {}: {complaint}", rule.name))
    });
    told.collect()
}

fn is_rust(name: &str) -> bool {
    name.ends_with(".rs")
}

/// Whether a file holds nothing but tests, by its name.
pub(crate) fn is_test(name: &str) -> bool {
    let is_so = |part: &str| part == "test" || part == "tests" || part.starts_with("test_");
    name.split('/').any(|part| is_so(part.trim_end_matches(".rs")))
}

fn opening(text: &str) -> Vec<String> {
    let opens = text.starts_with("//! ");
    (!opens).then(|| "it does not say what it is".to_owned()).into_iter().collect()
}

fn file_length(text: &str) -> Vec<String> {
    at_most(text.lines().count(), LINES_PER_FILE_MAX)
}

fn at_most(nr_lines: usize, most: usize) -> Vec<String> {
    (nr_lines > most).then(|| format!("{nr_lines} lines, at most {most}")).into_iter().collect()
}

/// A function begins at a line with `fn` and ends at the next `}` that stands in the same column.
fn function_length(text: &str) -> Vec<String> {
    let code = only(text, &[Part::Code]);
    let lines: Vec<&str> = code.lines().map(str::trim_end).collect();
    let mut complaints = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let indent = &line[..line.len() - words.len()];
        let Some((head, _)) = words.split_once("fn ") else { continue };
        let is_head = head.split_whitespace().all(|word| {
            ["const", "async", "unsafe", "extern"].contains(&word)
                || word.starts_with("pub")
                || word.ends_with(')')
        });
        if !is_head || words.ends_with(['}', ';']) {
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
    let parts = parts(text);
    let mut complaints = Vec::new();
    for (at, line) in parts.split(|(sign, _)| *sign == '\n').enumerate() {
        if line.iter().skip(COLUMNS_MAX).any(|(_, part)| *part == Part::Comment) {
            let nr_columns = line.len();
            complaints
                .push(format!("line {}: {nr_columns} columns, at most {COLUMNS_MAX}", at + 1));
        }
    }
    complaints
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

/// A place is a whole part of an address, and the first one.
fn places(text: &str) -> Vec<String> {
    let is_in_name = |sign: char| sign.is_alphanumeric() || sign == '_' || sign == '-';
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for place in PLACES.iter().map(|halves| halves.concat()) {
            let is_named = line.match_indices(&place).any(|(start, _)| {
                let after = &line[start + place.len()..];
                !line[..start].ends_with(is_in_name) && !after.starts_with(is_in_name)
            });
            if is_named {
                complaints.push(format!("line {}: `{place}`", at + 1));
            }
        }
    }
    complaints
}

fn decisions(text: &str) -> Vec<String> {
    let code = only(text, &[Part::Code]);
    let words = code.split(|sign: char| !sign.is_alphanumeric() && sign != '_');
    let deciding = words.filter(|word| ["if", "match", "for", "while", "loop"].contains(word));
    let joining = ["&&", "||"].into_iter().filter(|sign| code.contains(sign));
    let told = deciding.chain(joining).map(|word| format!("`{word}` decides something"));
    at_most(text.lines().count(), LINES_PER_TARGET_MAX).into_iter().chain(told).collect()
}

/// A source without the items, at the left margin, that are there only when tests are built.
fn without_tests(text: &str) -> String {
    let (mut kept, mut in_test) = (String::new(), false);
    for line in text.lines() {
        match line {
            "#[cfg(test)]" => in_test = true,
            _ if !in_test => kept = kept + line + "\n",
            _ => in_test = line != "}" && (line.starts_with(' ') || !line.ends_with(';')),
        }
    }
    kept
}

fn foreign_words(text: &str) -> Vec<String> {
    let code = only(&without_tests(text), &[Part::Code, Part::Literal]);
    let complaints = code.lines().flat_map(|line| {
        let found = FOREIGN.into_iter().filter(|word| {
            // `kmalloc::` is not `alloc::`.
            line.match_indices(word).any(|(at, _)| !line[..at].ends_with(char::is_alphanumeric))
        });
        found.map(move |word| format!("`{word}` in `{}`", line.trim()))
    });
    complaints.collect()
}

fn dependencies(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let named = lines.filter(|line| line.contains("dependencies"));
    named.map(|line| format!("there is `{}`", line.trim())).collect()
}

#[test]
fn every_rule_barks_on_each_way_to_break_it() {
    for rule in RULES {
        for text in (rule.barks_on)() {
            assert!(!(rule.complaints)(&text).is_empty(), "deaf: {}: {text}", rule.name);
        }
        for text in (rule.silent_on)() {
            assert_eq!((rule.complaints)(&text), Vec::<String>::new(), "{}: {text}", rule.name);
        }
    }
}

#[test]
fn every_rule_knows_the_files_that_it_is_about() {
    for (name, file, is_about) in [
        ("nothing is left unfinished", ".ci/run", true),
        ("nothing is left unfinished", ".github/workflows/ci.yml", true),
        ("a fuzz target is glue", "fuzz/fuzz_targets/routed.rs", true),
        ("alloc-core stands alone", "alloc-core/src/mm/pages.rs", true),
        ("alloc-core stands alone", "alloc-core/src/latest.rs", true),
        ("alloc-core stands alone", "alloc-core/src/testament.rs", true),
        ("alloc-core stands alone", "alloc-core/src/test_memory.rs", false),
        ("alloc-core stands alone", "alloc-core/src/pages/allocator/test.rs", false),
        ("alloc-core stands alone", "alloc-core/src/mm/test/vmalloc.rs", false),
        ("alloc-core stands alone", "harness/src/lib.rs", false),
    ] {
        let rule = RULES.iter().find(|rule| rule.name == name).expect("a rule");
        assert_eq!((rule.about)(file), is_about, "{name}: {file}");
    }
}
