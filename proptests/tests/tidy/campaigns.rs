//! A campaign is a target is a folder of seeds is a row of the README.
//!
//! The table of campaigns is the rule. What must follow it is compared by functions that are given
//! all texts, so that a wrong one can be planted.

use crate::parts::{Part, only};
use crate::{names_in, source};
use kvroute_harness::CAMPAIGNS;

fn campaigns() -> Vec<String> {
    let mut names: Vec<_> = CAMPAIGNS.iter().map(|campaign| campaign.name.to_owned()).collect();
    names.sort();
    names
}

/// The names and the paths of the `[[bin]]` tables of a manifest, sorted.
fn bins(manifest: &str) -> Vec<(String, String)> {
    let value = |table: &str, key: &str| {
        let mut pairs = table.lines().filter_map(|line| line.split_once('='));
        let value = pairs.find(|(known, _)| known.trim() == key).map(|(_, value)| value.trim());
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let tables = manifest.split("[[bin]]").skip(1);
    let mut bins: Vec<_> =
        tables.map(|table| (value(table, "name"), value(table, "path"))).collect();
    bins.sort();
    bins
}

/// Whether a manifest builds each target from its own file.
fn builds(manifest: &str, campaigns: &[String]) -> bool {
    let path = |name: &String| (name.clone(), format!("fuzz_targets/{name}.rs"));
    bins(manifest) == campaigns.iter().map(path).collect::<Vec<_>>()
}

#[test]
fn a_campaign_is_a_target_is_a_folder_of_seeds() {
    let campaigns = campaigns();
    assert_eq!(names_in("fuzz/fuzz_targets"), campaigns, "files in fuzz/fuzz_targets");
    let manifest = source("fuzz/Cargo.toml");
    assert!(builds(&manifest, &campaigns), "[[bin]] tables in fuzz/Cargo.toml");
    let mut folders = names_in("corpus");
    folders.retain(|name| name != "recordings");
    assert_eq!(folders, campaigns, "folders in corpus/");
}

#[test]
fn barks_on_a_target_that_is_built_from_another_file() {
    let bin = |name: &str, path: &str| format!("[[bin]]\nname = \"{name}\"\npath = \"{path}\"\n");
    let right = bin("a", "fuzz_targets/a.rs") + &bin("b", "fuzz_targets/b.rs");
    let campaigns = ["a", "b"].map(str::to_owned);
    assert!(builds(&right, &campaigns));
    for manifest in [
        bin("a", "fuzz_targets/b.rs") + &bin("b", "fuzz_targets/a.rs"),
        right.clone() + "[[bin]]\nname=\"c\"\npath=\"fuzz_targets/c.rs\"\n",
        right.clone() + &bin("a", "fuzz_targets/a.rs"),
        bin("a", "fuzz_targets/a.rs"),
    ] {
        assert!(!builds(&manifest, &campaigns), "deaf: {manifest}");
    }
}

/// What is wrong with the target of a campaign.
fn target_complaints(campaign: &str, all: &[String], text: &str) -> Vec<String> {
    let code = only(text, &[Part::Code]);
    let words = || code.split(|sign: char| !sign.is_alphanumeric() && sign != '_');
    let mut complaints = Vec::new();
    let nr_told = words().filter(|word| *word == campaign.to_uppercase()).count();
    if nr_told != 3 {
        complaints.push("it is used, fuzzed, and the profile of its mutations".to_owned());
    }
    let others = all.iter().filter(|other| *other != campaign).map(|other| other.to_uppercase());
    let others = others.filter(|other| words().any(|word| word == other));
    complaints.extend(others.map(|other| format!("{other} is another campaign")));
    if !text.starts_with(&format!("//! The `{campaign}` campaign ")) {
        complaints.push("its //!".to_owned());
    }
    complaints
}

#[test]
fn a_target_fuzzes_the_campaign_of_its_name() {
    let campaigns = campaigns();
    for name in &campaigns {
        let text = source(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert_eq!(target_complaints(name, &campaigns, &text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn barks_on_a_target_that_fuzzes_another_campaign() {
    let campaigns = campaigns();
    let right = source("fuzz/fuzz_targets/vmalloc.rs");
    for text in [
        right.replace("VMALLOC", "KVMALLOC"),
        right.replace("VMALLOC", "FREES"),
        right.replace("fuzz(&VMALLOC", "/* VMALLOC */ fuzz(&FREES"),
        right.replace("&VMALLOC.profile", "&FREES.profile"),
        right.replace("`vmalloc`", "`kvmalloc`"),
    ] {
        assert!(!target_complaints("vmalloc", &campaigns, &text).is_empty(), "deaf: {text}");
    }
}

/// Whether the table of a document has these rows, in any order, and no others.
fn lists(document: &str, rows: &[String]) -> bool {
    let Some((_, after)) = document.split_once("\n| | after what |\n|---|---|\n") else {
        return false;
    };
    let mut listed: Vec<&str> = after.lines().take_while(|line| line.starts_with('|')).collect();
    let mut rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    listed.sort_unstable();
    rows.sort_unstable();
    listed == rows
}

#[test]
fn the_readme_lists_the_campaigns() {
    let row = |campaign: &&kvroute_harness::Campaign| {
        format!("| `{}` | {} |", campaign.name, campaign.sentence)
    };
    let rows: Vec<_> = CAMPAIGNS.iter().map(row).collect();
    let readme = source("README.md");
    assert!(lists(&readme, &rows), "README.md should list\n{}", rows.join("\n"));
    let (first, second) = (rows[0].clone() + "\n", rows[1].clone() + "\n");
    for wrong in [
        readme.replace(&first, ""),
        readme.replace(&first, &first.replace("| `", "| `x")),
        readme.replace(&first, &(first.clone() + "| `ghost` | A ghost. |\n")),
        readme.replace(&first, &second),
        readme.replace(&first, &first.repeat(2)),
    ] {
        assert!(!lists(&wrong, &rows), "deaf: {wrong}");
    }
}
