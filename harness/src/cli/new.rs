//! `kvroute new`: a crate that tests your own code, with one place to fill in.
//!
//! What is written stands in `harness/templates`, as it is but for names;
//! `proptests/tests/templates.rs` runs it.
//!
//! Nothing that is there already is written over.

use crate::cli::Outcome;
use crate::cli::document::Document;
use crate::cli::output::shown;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// The folder of the new crate; its name becomes the crate's.
    folder: PathBuf,
    #[command(flatten)]
    kind: Kind,
    /// The folder of kvroute's sources (the one that this program was built from, if not given).
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

/// What the crate is to test.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Kind {
    /// For code that takes memory.
    #[arg(long)]
    caller: bool,
}

/// A file of the new crate, and its text with names left open.
type Template = (&'static str, &'static str);

macro_rules! templates {
    ($folder:literal: $($file:literal = $template:literal),*) => {
        &[$(($file, include_str!(concat!("../../templates/", $folder, "/", $template)))),*]
    };
}

const CALLER: &[Template] = templates!("caller":
    "Cargo.toml" = "Cargo.toml.in",
    "src/lib.rs" = "src/lib.rs",
    "tests/plans.rs" = "tests/plans.rs",
    "fuzz/Cargo.toml" = "fuzz/Cargo.toml.in",
    "fuzz/fuzz_targets/plans.rs" = "fuzz/fuzz_targets/plans.rs");

pub(crate) fn new(options: &Options, document: &mut Document) -> Outcome {
    let Options { folder, kind: Kind { caller: _ }, path } = options;
    let name = crate_name(folder)?;
    let harness = harness(path.as_deref())?;
    // In a folder that was not there before, nothing is written over.
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    above.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::create_dir(folder)).map_err(
        |error| match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("{}: it is there already, and stays as it is", shown(folder))
            }
            _ => format!("{}: {error}", shown(folder)),
        },
    )?;
    for (file, template) in CALLER {
        let text = template.replace("{name}", &name).replace("{harness}", &harness);
        let file = folder.join(file);
        let parent = file.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&file, text));
        written.map_err(|error| format!("{}: {error}", shown(&file)))?;
    }
    document.say(&format!(
        "{folder} is a crate that tests code which takes memory.\n\n  \
         your code goes into      {folder}/src/lib.rs\n  \
         try all plans            cd {folder} && cargo test\n  \
         under a fuzz engine      cd {folder} && cargo fuzz run -s none plans\n",
        folder = shown(folder)
    ));
    Ok(())
}

/// The name of a crate that lies in this folder.
fn crate_name(folder: &Path) -> Result<String, String> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_letter = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || sign == '_';
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic());
    if begins && name.chars().all(is_letter) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "{}: no name of a crate; letters, digits, `-` and `_` are, from a letter on",
        shown(folder)
    ))
}

/// Where the harness lies, as a string of a manifest has it.
fn harness(kvroute: Option<&Path>) -> Result<String, String> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
    let harness = kvroute.map_or_else(|| built_from.to_owned(), |path| path.join("harness"));
    let found = harness.join("Cargo.toml").canonicalize();
    let found = found.map_err(|error| {
        let place = shown(&harness);
        format!("{place}: no sources of kvroute here ({error}); name their folder with --path")
    })?;
    let text = found.parent().and_then(Path::to_str);
    let text = text.filter(|text| !text.contains(['"', '\\']) && !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| format!("{}: no name for a manifest", shown(&harness)))
}
