//! Floors: a module uses only modules of its own floor and of those below.
//!
//! The one idea: the layout of a crate is a list of floors, and a `use crate::…` that goes upwards
//! is a wall moved without saying so. The lists are those of `ARCHITECTURE.md`.
//!
//! Tests, the crate's face and the command line may use everything.

use std::fs;
use std::path::Path;

/// A crate, and the modules of each of its floors from the ground up.
struct Building {
    name: &'static str,
    floors: &'static [&'static [&'static str]],
}

const BUILDINGS: [Building; 2] = [
    Building {
        name: "alloc-core",
        floors: &[
            &["addr", "gfp", "task", "free_call", "error", "fate", "guide", "policy"],
            &["memory"],
            &["frame", "fault", "memblock"],
            &["pcp", "zone", "others"],
            &["page", "reclaim", "page_alloc"],
            &["page_exact"],
            &["cache", "cache_list", "slab", "kmem_cache"],
            &["page_table"],
            &["kmalloc", "vmap_tree", "vmap", "vm_struct"],
            &["vmalloc"],
            &["kvmalloc"],
            &["dma"],
            &["describe", "convert", "stat", "validate"],
            &["mm"],
        ],
    },
    Building {
        name: "harness",
        floors: &[
            &["op", "trace", "random"],
            &["text", "subject", "paint"],
            &["generate", "mutate", "shrink", "recording"],
            &["relaxation", "model"],
            &["bytes"],
            &["lane"],
            &["oracle", "stats"],
            &["verdict", "campaign"],
            &["bound"],
            &["exec"],
            &["boundary", "recorded", "report", "scale", "sweep"],
            &["fuzz"],
        ],
    },
];

impl Building {
    fn floor_of(&self, module: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.contains(&module))
    }

    /// The modules above its own floor that a module's text uses, tests left out.
    fn upward_uses(&self, module: &str, text: &str) -> Vec<String> {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let own = self.floor_of(module);
        let mut used: Vec<&str> = code
            .split("crate::")
            .skip(1)
            .map(|rest| rest.split(|sign: char| !(sign.is_alphanumeric() || sign == '_')))
            .filter_map(|mut words| words.next())
            .filter(|used| self.floor_of(used) > own)
            .collect();
        used.sort_unstable();
        used.dedup();
        used.into_iter().map(|used| format!("{module} uses {used}, which is above it")).collect()
    }
}

/// Every source file below a folder, with the module at the top of the crate that it belongs to.
fn sources(folder: &Path, module: Option<&str>, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let top = module.unwrap_or(&stem).to_owned();
        if path.is_dir() {
            sources(&path, Some(&top), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "test" {
            found.push((top, fs::read_to_string(&path).expect("a readable file")));
        }
    }
}

#[test]
fn nothing_reaches_upwards() {
    let mut complaints = Vec::new();
    for building in &BUILDINGS {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(building.name).join("src");
        let mut files = Vec::new();
        sources(&root, None, &mut files);
        for (module, text) in &files {
            let is_outside = ["lib", "bin"].contains(&module.as_str()) || module.contains("test");
            if is_outside {
                continue;
            }
            match building.floor_of(module) {
                Some(_) => complaints.extend(building.upward_uses(module, text)),
                None => complaints.push(format!("{}: {module} has no floor", building.name)),
            }
        }
    }
    complaints.sort();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn barks_on_a_use_that_goes_upwards() {
    let [core, harness] = &BUILDINGS;
    assert_eq!(core.upward_uses("page", "use crate::slab::Cache;\n").len(), 1);
    assert_eq!(harness.upward_uses("model", "let x = crate::exec::run();\n").len(), 1);
}

#[test]
fn silent_on_a_use_that_goes_downwards_and_on_tests() {
    let [core, _] = &BUILDINGS;
    let text =
        "use crate::addr::Pfn;\nuse crate::frame::Frame;\n#[cfg(test)]\nuse crate::mm::Mm;\n";
    assert_eq!(core.upward_uses("page", text), Vec::<String>::new());
}
