//! `kvroute new`: a crate that tests your own code or allocator, with one place to fill in.
//!
//! What is written stands in `harness/templates`, as it is but for names;
//! `proptests/tests/templates.rs` and `hosted/tests/templates.rs` run it.
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

/// What is to be tested.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Kind {
    /// Rust code that takes memory.
    #[arg(long)]
    caller: bool,
    /// C code that takes memory.
    #[arg(long)]
    caller_c: bool,
    /// A heap: layouts in a region that it is given.
    #[arg(long)]
    heap: bool,
    /// A frame allocator.
    #[arg(long)]
    frames: bool,
    /// What implements `GlobalAlloc`.
    #[arg(long)]
    global: bool,
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

const CALLER_C: &[Template] = templates!("caller-c":
    "caller.c" = "caller.c",
    "explore.sh" = "explore.sh.in");

/// What all crates have that test an allocator.
const ALLOCATOR: &[Template] = templates!("allocator":
    "Cargo.toml" = "Cargo.toml.in",
    "src/main.rs" = "src/main.rs",
    "tests/traces.rs" = "tests/traces.rs",
    "fuzz/Cargo.toml" = "fuzz/Cargo.toml.in",
    "fuzz/fuzz_targets/traces.rs" = "fuzz/fuzz_targets/traces.rs");

const HEAP: &[Template] = templates!("allocator": "src/lib.rs" = "src/heap.rs");
const FRAMES: &[Template] = templates!("allocator": "src/lib.rs" = "src/frames.rs");
const GLOBAL: &[Template] = templates!("allocator": "src/lib.rs" = "src/global.rs");

/// What to do in the new folder `{folder}`.
const NEXT_CALLER: &str = "\
{folder} is a crate that tests code which takes memory.

  your code goes into      {folder}/src/lib.rs
  try all plans            cd {folder} && cargo test
  under a fuzz engine      cd {folder} && cargo fuzz run -s none plans
";
const NEXT_CALLER_C: &str = "\
{folder} tests C code which takes memory.

  your code goes into      {folder}/caller.c
  try all plans            sh {folder}/explore.sh
";
const NEXT_ALLOCATOR: &str = "\
{folder} is a crate that tests an allocator.

  your allocator goes into {folder}/src/lib.rs
  run traces on it         cd {folder} && cargo run --release -- run mine --seconds 10
  in tests                 cd {folder} && cargo test
  under a fuzz engine      cd {folder} && cargo fuzz run -s none traces
";

impl Kind {
    /// The files of the new folder, and what to do with it.
    fn files(&self) -> ([&'static [Template]; 2], &'static str) {
        match self {
            Self { caller: true, .. } => ([CALLER, &[]], NEXT_CALLER),
            Self { caller_c: true, .. } => ([CALLER_C, &[]], NEXT_CALLER_C),
            Self { frames: true, .. } => ([ALLOCATOR, FRAMES], NEXT_ALLOCATOR),
            Self { global: true, .. } => ([ALLOCATOR, GLOBAL], NEXT_ALLOCATOR),
            _ => ([ALLOCATOR, HEAP], NEXT_ALLOCATOR),
        }
    }
}

pub(crate) fn new(options: &Options, document: &mut Document) -> Outcome {
    let Options { folder, kind, path } = options;
    let name = crate_name(folder)?;
    let kvroute = sources(path.as_deref())?;
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
    let (files, next) = kind.files();
    for (file, template) in files.into_iter().flatten() {
        let text = template.replace("{name}", &name).replace("{kvroute}", &kvroute);
        let file = folder.join(file);
        let parent = file.parent().unwrap_or(folder);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&file, text));
        written.map_err(|error| format!("{}: {error}", shown(&file)))?;
    }
    document.say(&next.replace("{folder}", &shown(folder).to_string()));
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

/// Where the sources of kvroute lie, as a string of a manifest has it.
fn sources(kvroute: Option<&Path>) -> Result<String, String> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let root = kvroute.unwrap_or(&built_from);
    let found = root.join("harness/Cargo.toml").canonicalize();
    let found = found.map_err(|error| {
        let place = shown(root);
        format!("{place}: no sources of kvroute here ({error}); name their folder with --path")
    })?;
    let text = found.ancestors().nth(2).and_then(Path::to_str);
    let is_plain = |text: &&str| !text.contains(['"', '\\', '$', '`']);
    let text = text.filter(|text| is_plain(text) && !text.contains(char::is_control));
    text.map(str::to_owned).ok_or_else(|| format!("{}: no name for a manifest", shown(root)))
}
