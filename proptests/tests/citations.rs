//! `docs/linux-6.1.md` states every rule that is cited, and nothing is cited that is not here.
//!
//! The one idea: a rule's number is a promise that a reader can look it up. So each one in the
//! code, the documents and the corpus must be stated in the page, each one stated must be cited,
//! and a text that is named by a file must be in the repository.
//!
//! Whether a rule is true of Linux no test here can tell; the page says how sure it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/linux-6.1.md";

/// Folders of texts that are not in the repository, in two halves each.
const ELSEWHERE: [[&str; 2]; 3] = [["see", "ds/"], ["refer", "ence/"], ["../sha", "red/"]];

/// What is not part of the repository, and what cargo writes.
const IGNORED: [&str; 5] = [".git", "fuzz/corpus", "fuzz/artifacts", "fuzz/coverage", "Cargo.lock"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every text that may cite: its name from the root on, and what it says.
fn texts() -> Vec<(String, String)> {
    let mut texts = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(place) = left.pop() {
        let path = root().join(&place);
        // Every workspace of the tree builds into a folder of this name.
        if place.ends_with("target") || IGNORED.iter().any(|at| place == Path::new(at)) {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a readable folder");
            left.extend(entries.map(|entry| place.join(entry.expect("an entry").file_name())));
        } else if let Ok(text) = fs::read_to_string(&path) {
            texts.push((place.to_string_lossy().into_owned(), text));
        }
    }
    assert!(texts.len() > 100, "the walk found only {} files", texts.len());
    texts
}

/// The numbers of rules in a text: R4.7, and R4 where a whole section is meant.
fn cited(text: &str) -> BTreeSet<String> {
    let is_word = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    let words = text.split(|sign: char| !is_word(sign) && sign != '.');
    let words = words.map(|word| word.trim_end_matches('.'));
    let is_number = |part: &str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let numbers = words.filter(|word| {
        word.strip_prefix('R').is_some_and(|number| number.split('.').all(is_number))
    });
    numbers.map(str::to_owned).collect()
}

/// The rules that the page states, and its sections.
fn stated(page: &str) -> Vec<String> {
    let heads = page.lines().filter_map(|line| {
        let rule = line.strip_prefix("**").and_then(|rest| rest.split("** ").next());
        rule.or_else(|| line.strip_prefix("## ")?.split(' ').next())
    });
    heads.filter(|head| cited(head).contains(*head)).map(str::to_owned).collect()
}

/// What is wrong between a page and the texts that cite it.
fn complaints(page: &str, texts: &[(String, String)]) -> Vec<String> {
    let stated = stated(page);
    let mut complaints = Vec::new();
    let mut all = BTreeSet::new();
    for (name, text) in texts {
        let cited = cited(text);
        let unknown = cited.iter().filter(|rule| !stated.contains(rule));
        complaints.extend(unknown.map(|rule| format!("{name} cites {rule}, which is not stated")));
        all.extend(cited);
    }
    for (at, rule) in stated.iter().enumerate() {
        if stated[..at].contains(rule) {
            complaints.push(format!("{rule} is stated twice"));
        }
        if rule.contains('.') && !all.contains(rule) {
            complaints.push(format!("{rule} is stated and never cited"));
        }
    }
    complaints.extend(page_complaints(page, &stated));
    complaints
}

/// What is wrong with a page by itself.
fn page_complaints(page: &str, stated: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    for line in page.lines().filter(|line| line.starts_with("**R")) {
        // The source stands last, in brackets.
        if ![") [V]", ") [S]", ") [H]"].iter().any(|mark| line.ends_with(mark)) {
            complaints.push(format!("no source, or not how sure it is: {line}"));
        }
    }
    let unknown = cited(page).into_iter().filter(|rule| !stated.contains(rule));
    complaints.extend(unknown.map(|rule| format!("the page cites {rule}, which is not stated")));
    for section in stated.iter().filter(|rule| !rule.contains('.')) {
        if !stated.iter().any(|rule| rule.starts_with(&format!("{section}."))) {
            complaints.push(format!("{section} has no rule"));
        }
    }
    complaints
}

#[test]
fn every_rule_cited_is_stated_and_every_rule_stated_is_cited() {
    let mut texts = texts();
    let own = [PAGE, "proptests/tests/citations.rs"];
    texts.retain(|(name, _)| !own.contains(&name.as_str()));
    let page = fs::read_to_string(root().join(PAGE)).expect("it is readable");
    let complaints = complaints(&page, &texts);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The names of texts of those folders in a text.
fn named_elsewhere(text: &str) -> Vec<&str> {
    let is_name = |sign: char| sign.is_ascii_alphanumeric() || "._/*-".contains(sign);
    let words = text.split(|sign: char| !is_name(sign)).map(|word| word.trim_end_matches('.'));
    let is_text = |word: &&str| {
        word.rsplit_once('.').is_some_and(|(stem, end)| !stem.ends_with('/') && !end.is_empty())
    };
    let folders = ELSEWHERE.map(|halves| halves.concat());
    words.filter(is_text).filter(|word| folders.iter().any(|at| word.contains(at))).collect()
}

#[test]
fn no_text_is_named_that_is_not_here() {
    let mut complaints = Vec::new();
    for (name, text) in texts() {
        let named = named_elsewhere(&text).into_iter();
        complaints.extend(named.map(|word| format!("{name} names {word}")));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
    let ends = ["a-text.txt", "a.html", "*.zst"];
    let words = ELSEWHERE.iter().flat_map(|halves| ends.map(|end| halves.concat() + end));
    for word in words {
        assert_eq!(named_elsewhere(&format!("as ({word}) says")), [word.as_str()]);
    }
}

#[test]
fn barks_on_each_way_to_cite_wrongly() {
    let page = "## R1 kmalloc\n\n**R1.1** A class. (`f`) [V]\n**R1.2** A size. (`g`) [S]\n";
    let texts = |text: &str| vec![("a.rs".to_owned(), text.to_owned())];
    let both = "as it is (R1.1, R1.2), and R1";
    assert_eq!(complaints(page, &texts(both)), Vec::<String>::new());
    for (page, text) in [
        (page.to_owned(), "only R1.1"),
        (page.to_owned(), "R1.1 R1.2 R1.3"),
        (page.to_owned(), "R1.1 R1.2 R2"),
        (page.to_owned(), "R1.1 R1.2 (R1.12)"),
        (page.to_owned(), "R1.1 R1.2, and R1.100."),
        (page.to_owned(), "R1.1 R1.2 R1.1.2"),
        (page.to_owned() + "As R1.3 says.\n", both),
        (page.to_owned() + "## R2 A section\n", both),
        (page.replace("R1.2", "R1.1"), "R1.1"),
        (page.replace(" [S]", ""), both),
        (page.replace("(`g`)", ""), both),
        (page.replace("A size. (`g`)", "A (small) size."), both),
    ] {
        assert_eq!(complaints(&page, &texts(text)).len(), 1, "deaf: {text} against {page}");
    }
}
