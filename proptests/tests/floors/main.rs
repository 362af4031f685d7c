//! Floors: a file uses only files that stand before its own in the lists of `ARCHITECTURE.md`.
//!
//! The one idea: the lists are the rule. A file may use those of the rows above its own and those
//! before it in its row, so nothing reaches upwards and no two files use each other. Inside a
//! folder that is listed as one there is no list: there neither files nor folders may use each
//! other in a circle. A folder's own file and what the folder holds are one subject, and may.
//!
//! One folder is a border: what names alloc-core stands in the subject that translates it, so that
//! the model and the oracles cannot have learnt from it what they judge it by.
//!
//! Another is the model's: the rules of Linux are in a room of their own, and the generic oracles
//! and what they judge by do not look in there.
//!
//! Tests may use everything.

mod graph;
mod names;

use graph::{Graph, Texts};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The crates with floors.
const CRATES: [&str; 3] = ["alloc-core", "harness", "hosted"];

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every source below a folder, by its place there.
fn texts(folder: &Path, skipped: &[&str]) -> Texts {
    let mut texts = Texts::new();
    let mut folders = vec![String::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner)).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let last = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = if inner.is_empty() { last } else { format!("{inner}/{last}") };
            if path.is_dir() && !skipped.contains(&name.as_str()) {
                folders.push(name);
            } else if name.ends_with(".rs") {
                texts.insert(name, fs::read_to_string(&path).expect("a readable file"));
            }
        }
    }
    texts
}

/// The modules of a crate in the order in which the section about its floors lists their files.
fn floors(document: &str, crate_name: &str) -> Vec<String> {
    let start = format!("`{crate_name}/src/");
    let section = document.split(&format!("## Floors of {crate_name}\n")).nth(1);
    let section = section.and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    let places = section.lines().filter(|line| line.starts_with('|'));
    let places = places.flat_map(|line| line.split(&start).skip(1));
    let mut floors = Vec::new();
    for place in places.filter_map(|rest| rest.split('`').next()) {
        let module = place.trim_end_matches(".rs").to_owned();
        if floors.last() != Some(&module) {
            floors.push(module);
        }
    }
    floors
}

/// The place in the list that a file has: its own, or else that of the innermost folder that is
/// listed. A folder's own file stands with the last of what the list has of the folder.
fn floor_of(floors: &[String], file: &str) -> Option<usize> {
    let module = file.trim_end_matches(".rs");
    let mut outwards = std::iter::successors(Some(module), |inner| Some(inner.rsplit_once('/')?.0));
    let listed = outwards.find_map(|place| floors.iter().position(|floor| floor == place));
    let folder = module.strip_suffix("mod");
    listed
        .or_else(|| floors.iter().rposition(|floor| folder.is_some_and(|it| floor.starts_with(it))))
}

/// The uses of files that stand further down in the list, and what the list lacks.
fn upward_uses(graph: &Graph, floors: &[String]) -> Vec<String> {
    let floor_of = |file: &str| floor_of(floors, file);
    let mut complaints = graph.complaints.clone();
    let unlisted = graph.modules.keys().filter(|file| floor_of(file).is_none());
    complaints.extend(unlisted.map(|file| format!("{file} has no floor")));
    let twice =
        floors.iter().filter(|floor| floors.iter().filter(|other| other == floor).count() > 1);
    complaints.extend(twice.map(|floor| format!("{floor} stands on two floors")));
    let upward = graph.uses.iter().filter(|((from, to), _)| floor_of(to) > floor_of(from));
    complaints.extend(upward.map(|((from, to), by)| format!("{from} uses {to}, above it: {by}")));
    complaints
}

/// Whether one of two modules holds the other.
fn is_kin(a: &[String], b: &[String]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// The two modules that lean on each other when one file uses another: the files' own, or of what
/// their innermost common folder holds, those that the files are in.
fn side_by_side<'a>(from: &'a [String], to: &'a [String]) -> (&'a [String], &'a [String]) {
    let nr_common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    (&from[..=nr_common], &to[..=nr_common])
}

/// The uses by which files, or whole folders, lean on each other; a folder's own file and its
/// contents are left out.
fn circles(graph: &Graph) -> Vec<String> {
    let module = |file: &String| graph.modules.get(file).map_or(&[][..], Vec::as_slice);
    let mut next: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    let between = graph.uses.iter().filter(|((from, to), _)| !is_kin(module(from), module(to)));
    let between: Vec<_> = between.collect();
    for ((from, to), _) in &between {
        let (from, to) = side_by_side(module(from), module(to));
        next.entry(from).or_default().insert(to);
    }
    let leads = |from: &[String], to: &[String]| {
        let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(module) = left.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module) {
                left.extend(next.get(module).into_iter().flatten());
            }
        }
        false
    };
    let closing = between.iter().filter(|((from, to), _)| {
        let (from, to) = side_by_side(module(from), module(to));
        leads(to, from)
    });
    closing.map(|((from, to), by)| format!("in a circle, {from} uses {to}: {by}")).collect()
}

/// The lines of the harness that name alloc-core outside the subject that translates it.
fn namings(texts: &Texts) -> Vec<String> {
    const BORDER: &str = "subject/alloc_core";
    let outside = texts.iter().filter(|(file, _)| !file.starts_with(BORDER));
    let lines = outside.flat_map(|(file, text)| {
        text.lines().enumerate().map(move |(number, line)| (file, number + 1, line.trim_start()))
    });
    let names = |line: &str| {
        let mut before = line.split("alloc_core").collect::<Vec<_>>();
        before.pop();
        let is_folder = |before: &&str| before.ends_with("subject::") || before.ends_with("mod ");
        !line.starts_with("//") && !before.iter().all(is_folder)
    };
    let found = lines.filter(|(_, _, line)| names(line));
    found.map(|(file, number, line)| format!("{file}:{number}: {line}")).collect()
}

#[test]
fn only_its_subject_names_alloc_core() {
    let found = namings(&texts(&root().join("harness/src"), &[]));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn barks_on_a_file_that_names_alloc_core() {
    for (file, line, is_right) in [
        ("model/rules.rs", "use alloc_core::Mm;", false),
        ("model/rules.rs", "fn f() { ::alloc_core::boot() }", false),
        ("model/rules.rs", "use crate::subject::alloc_core::boot;", true),
        ("model/rules.rs", "// alloc_core", true),
        ("subject/mod.rs", "pub mod alloc_core;", true),
        ("subject/alloc_core/words.rs", "use alloc_core::Mm;", true),
    ] {
        let texts: Texts = [(file.to_owned(), line.to_owned())].into();
        assert_eq!(namings(&texts).is_empty(), is_right, "{file}: {line}");
    }
}

/// The uses of Linux' rules by what any allocator is judged by: the generic oracles, and the files
/// of the model but the one that joins its two rooms.
fn learnt_from_linux(graph: &Graph) -> Vec<String> {
    let is_generic = |file: &str| match file.strip_prefix("model/") {
        Some(file) => !file.contains('/') && file != "mod.rs",
        None => file.starts_with("oracle/generic/"),
    };
    let of_linux = |file: &str| file.starts_with("model/linux/");
    let found = graph.uses.iter().filter(|((from, to), _)| is_generic(from) && of_linux(to));
    found.map(|((from, to), by)| format!("{from} uses {to}: {by}")).collect()
}

#[test]
fn what_any_allocator_is_judged_by_knows_nothing_of_linux() {
    let graph = Graph::of(&texts(&root().join("harness/src"), &["bin"]), "lib.rs");
    let found = learnt_from_linux(&graph);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn barks_on_a_generic_file_that_knows_linux() {
    let text = "use crate::model::linux::Linux; fn f(linux: &Linux) { linux.rule() }";
    for (generic, nr_found) in [("book", 1), ("mod", 0)] {
        let files = [
            ("lib.rs", "mod model;"),
            ("model/mod.rs", if generic == "mod" { text } else { "" }),
            ("model/book.rs", if generic == "book" { text } else { "" }),
            ("model/linux/mod.rs", "pub struct Linux; impl Linux { pub fn rule(&self) {} }"),
        ];
        let mut texts: Texts = files.map(|(file, text)| (file.to_owned(), text.to_owned())).into();
        texts.entry("model/mod.rs".to_owned()).or_default().insert_str(0, "mod book; mod linux; ");
        assert_eq!(learnt_from_linux(&Graph::of(&texts, "lib.rs")).len(), nr_found, "{generic}");
    }
}

#[test]
fn nothing_reaches_upwards_or_goes_round() {
    let document = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("it is readable");
    let mut complaints = Vec::new();
    for name in CRATES {
        let graph = Graph::of(&texts(&root().join(name).join("src"), &["bin"]), "lib.rs");
        let floors = floors(&document, name);
        let found = upward_uses(&graph, &floors).into_iter().chain(circles(&graph));
        complaints.extend(found.map(|complaint| format!("{name}: {complaint}")));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// A crate of three floors, with these texts put in the place of its own or beside them.
fn planted(changes: &[(&str, &str)]) -> Vec<String> {
    planted_on(&["low", "mid", "top", "lib"], changes)
}

fn planted_on(floors: &[&str], changes: &[(&str, &str)]) -> Vec<String> {
    let own = [
        ("lib.rs", "mod low; mod mid; mod top; pub use top::Top; pub fn face() {}"),
        ("low.rs", "pub struct Low { pub inner: u8 }\npub fn low() {}"),
        ("mid/mod.rs", "mod a;\nmod b;\npub struct Mid;\nimpl Mid { pub fn mid(&self) {} }"),
        ("mid/a.rs", "use super::Mid;\npub struct A;"),
        ("mid/b.rs", "use super::a::A;"),
        ("top.rs", "use crate::mid::Mid;\npub struct Top;\nimpl Mid { pub fn more(&self) {} }"),
    ];
    let mut texts: Texts = own.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    texts.extend(changes.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    let graph = Graph::of(&texts, "lib.rs");
    let floors: Vec<String> = floors.iter().map(|floor| (*floor).to_owned()).collect();
    upward_uses(&graph, &floors).into_iter().chain(circles(&graph)).collect()
}

/// Texts each of which reaches upwards, and the files where they stand.
const UPWARD: [(&str, &str); 26] = [
    ("low.rs", "use crate::top::Top;"),
    ("low.rs", "#[cfg(test)]\nuse std::vec;\nuse crate::top::Top;"),
    ("low.rs", "#[cfg(test)]\nmod test {}\nfn f() { crate::top::f() }"),
    ("low.rs", "#[cfg(not(test))]\nuse crate::top::Top;"),
    ("low.rs", "#[cfg(feature = \"latest\")]\nuse crate::top::Top;"),
    ("low.rs", "#[cfg(any(test, unix))]\nuse crate::top::Top;"),
    ("low.rs", "#[cfg(all(unix, not(test)))]\nuse crate::top::Top;"),
    ("low.rs", "#[derive(crate::top::Derive)]\nstruct Low;"),
    ("low.rs", "fn f() { crate::top::m!() }"),
    ("low.rs", "trait Low { fn f() { crate::top::f() } }"),
    ("low.rs", "use crate::{mid::Mid, std};"),
    ("low.rs", "use crate::{\n    mid::{self as other, Mid},\n};"),
    ("low.rs", "use crate::top as low_too;"),
    ("low.rs", "pub use crate::top::*;"),
    ("low.rs", "use super::top::Top;"),
    ("low.rs", "use crate::Top;"),
    ("low.rs", "use super::*;\nfn f(_: Top) {}"),
    ("low.rs", "fn f() { crate::face() }"),
    ("low.rs", "fn f() { use crate::top::Top; }"),
    ("low.rs", "mod inner { use super::super::top::Top; }"),
    ("low.rs", "fn f() { assert!(crate::top::f(), \"no\"); }"),
    ("low.rs", "macro_rules! m { () => { $crate::top::f() } }"),
    ("low.rs", "macro_rules! m { () => { use crate::{low, top::Top}; } }"),
    ("low.rs", "impl crate::top::Top {}"),
    ("mid/a.rs", "use super::super::top::Top;"),
    ("mid/mod.rs", "mod a;\nmod b;\npub struct Mid;\nimpl Mid { fn f(&self) { self.more() } }"),
];

#[test]
fn barks_on_uses_that_go_upwards() {
    for plant in UPWARD {
        let complaints = planted(&[plant]);
        assert!(complaints.iter().any(|text| text.contains("above it")), "deaf: {plant:?}");
    }
}

/// Where a folder's files are listed one by one, their order holds, and its own file is last.
#[test]
fn barks_inside_a_folder_whose_files_are_listed() {
    let listed = |changes: &[(&str, &str)]| {
        let complaints = planted_on(&["low", "mid/a", "mid/b", "top", "lib"], changes);
        complaints.into_iter().filter(|text| text.contains("above it")).collect::<Vec<_>>()
    };
    let folder = ("mid/mod.rs", "mod a;\nmod b;\npub use b::B;\npub struct Mid;");
    let right = [folder, ("mid/a.rs", "pub struct A;"), ("mid/b.rs", "use super::a::A;")];
    assert_eq!(listed(&right), Vec::<String>::new());
    assert_eq!(listed(&[right[0], ("mid/a.rs", "use super::b::B;"), right[2]]).len(), 1);
    assert_eq!(listed(&[right[0], ("mid/a.rs", "use super::Mid;"), right[2]]).len(), 1);
    let complaints = planted_on(&["low", "mid/a", "top", "lib"], &right);
    assert!(complaints.contains(&"mid/b.rs has no floor".to_owned()), "{complaints:?}");
}

#[test]
fn barks_on_circles() {
    for plant in [
        ("mid/a.rs", "use super::b;\npub struct A;"),
        ("mid/a.rs", "use crate::mid::b::{self};\npub struct A;"),
        ("mid/b.rs", "pub use super::a::A;\nimpl A { pub fn b(&self) {} pub fn f() {} }"),
    ] {
        let a = "pub struct A;\nimpl A { fn f(&self) { self.b() } fn g() { Self::f() } }";
        let changes =
            if plant.0 == "mid/b.rs" { vec![plant, ("mid/a.rs", a)] } else { vec![plant] };
        let complaints = planted(&changes);
        assert_eq!(complaints.len(), 2, "deaf: {plant:?}: {complaints:?}");
    }
}

/// No file comes back to itself here, but a folder and the file beside it lean on each other.
#[test]
fn barks_on_circles_of_folders() {
    let folders = [
        ("mid/mod.rs", "mod b;\nmod inner;\npub struct Mid;"),
        ("mid/inner/mod.rs", "mod c;\npub mod d;"),
        ("mid/inner/d.rs", "pub struct D;"),
        ("mid/b.rs", "use super::inner::d::D;\npub struct B;"),
        ("mid/inner/c.rs", ""),
    ];
    let without_a = |changes: &[(&str, &str)]| {
        let complaints = planted(changes).into_iter();
        complaints.filter(|text| !text.contains("mid/a.rs")).collect::<Vec<_>>()
    };
    assert_eq!(without_a(&folders), Vec::<String>::new());
    let plant = [&folders[..4], &[("mid/inner/c.rs", "use crate::mid::b::B;")]].concat();
    assert_eq!(without_a(&plant).len(), 2, "deaf: {:?}", without_a(&plant));
}

#[test]
fn barks_on_what_it_cannot_read() {
    for (plant, complaint) in [
        (("lost.rs", ""), "no module leads there"),
        (("low.rs", "mod nowhere;"), "no file for the module nowhere"),
        (("low.rs", "fn"), "low.rs"),
        (("low.rs", "extern crate self as other;"), "second name"),
        (("low.rs", "include!(\"x\");"), "include!"),
        (("lib.rs", "mod low; mod mid; mod top; mod new;"), "no file for the module new"),
    ] {
        let complaints = planted(&[plant]);
        assert!(complaints.iter().any(|text| text.contains(complaint)), "deaf: {plant:?}");
    }
    let new = [("lib.rs", "mod low; mod mid; mod top; mod new;"), ("new.rs", "")];
    assert_eq!(planted(&new), ["new.rs has no floor"]);
}

#[test]
fn barks_on_a_file_that_stands_on_two_floors() {
    let document = "## Floors of a\n| `a/src/low.rs`, `a/src/top.rs` and `a/src/top` |\n\
                    | `a/src/low.rs` |\n\n## B\n| `a/src/mid.rs` |\n";
    let floors = floors(document, "a");
    assert_eq!(floors, ["low", "top", "low"]);
    let complaints = upward_uses(&Graph::default(), &floors);
    assert!(complaints.iter().all(|text| text == "low stands on two floors"), "{complaints:?}");
    assert!(!complaints.is_empty(), "deaf");
}

#[test]
fn silent_on_uses_that_go_downwards_and_on_tests() {
    assert_eq!(planted(&[]), Vec::<String>::new());
    for text in [
        "#[cfg(test)]\nuse crate::top::Top;",
        "#[cfg(all(unix, test))]\nuse crate::top::Top;",
        "#[cfg(test)]\nmod test { use crate::top::Top; }",
        "#[test]\nfn f() { crate::top::f() }",
        "#[cfg(test)]\nmod test;",
        "use std::fmt;\nfn top() { fmt::top() }",
    ] {
        let test = ("low/test.rs", "use crate::top::Top;");
        let has_test = text.contains("mod test;");
        let changes = if has_test { vec![("low.rs", text), test] } else { vec![("low.rs", text)] };
        assert_eq!(planted(&changes), Vec::<String>::new(), "{text}");
    }
}
