//! Traces from files that people and fuzzers wrote.
//!
//! What a file means depends on its bytes and on `--fuzz-input`, and never on its name. Without the
//! option the first mistake is an error with its place; with it a file is read as the fuzz targets
//! read their input, and how much of it they would not have seen is said.
//!
//! Folders are walked whole, in the order of their names.

use crate::cli::output::{read, shown};
use crate::verdict::{FUZZ_INPUT_OPTION, Reading};
use crate::{Trace, bound};
use bytesize::ByteSize;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// How recordings begin: packed by Zstandard, or as tracefs prints them.
const RECORDING_STARTS: &[&[u8]] = &[b"\x28\xb5\x2f\xfd", b"# tracer:"];

/// The option that says how files are read.
#[derive(clap::Args)]
pub(crate) struct ReadingOption {
    /// Read the traces as the fuzz targets do: drop lines that do not parse, and bring the machine
    /// within their limits. For artefacts and corpora of any engine.
    #[arg(long)]
    fuzz_input: bool,
}

impl ReadingOption {
    pub(crate) fn reading(&self) -> Reading {
        if self.fuzz_input { Reading::FuzzInput } else { Reading::Strict }
    }
}

/// Reads a trace that takes at most `limit` bytes while it is parsed.
///
/// # Errors
/// It cannot be read or parsed, or has nothing to run.
pub(crate) fn read_trace(path: &Path, reading: Reading, limit: u64) -> Result<Trace, String> {
    let bytes = read(path, limit)?;
    if RECORDING_STARTS.iter().any(|start| bytes.starts_with(start)) {
        let what = "this is a recording of a kernel and no trace; `kvroute replay` reads it";
        return Err(format!("{}: {what}", shown(path)));
    }
    let needed = bound::text_bytes(&bytes);
    if needed > limit {
        let [needed, limit] = [needed, limit].map(|bytes| ByteSize(bytes).display().iec());
        let what = format!("to read its lines may take {needed}; the bound is {limit}");
        return Err(format!("{}: {what} (raise it with --memory)", shown(path)));
    }
    let trace = match reading {
        Reading::Strict => parse(&bytes).map_err(|what| {
            let hint =
                format!("(an input or artefact of a fuzzer is read with {FUZZ_INPUT_OPTION})");
            format!("{}: {what} {hint}", shown(path))
        })?,
        Reading::FuzzInput => Trace::parse_lenient(&bytes),
    };
    if trace.ops.is_empty() {
        let dropped = match trace.nr_dropped_lines {
            0 => String::new(),
            nr_dropped => format!(" ({nr_dropped} lines did not parse and were dropped)"),
        };
        return Err(format!("{}: there is no call in it, so nothing to run{dropped}", shown(path)));
    }
    Ok(trace)
}

fn parse(bytes: &[u8]) -> Result<Trace, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: expected UTF-8 text")
    })?;
    // An editor's mark at the beginning says only that this is UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Trace::parse(text).map_err(|error| error.to_string())
}

/// How a trace was read, where that is not as it stands in its file.
pub(crate) fn as_read(trace: &Trace, reading: Reading) -> Option<String> {
    let fields = match trace.nr_clamped_fields {
        0 => "machine as written".to_owned(),
        1 => "machine clamped (1 field)".to_owned(),
        nr_fields => format!("machine clamped ({nr_fields} fields)"),
    };
    let lines = if trace.nr_dropped_lines == 1 { "line" } else { "lines" };
    (reading == Reading::FuzzInput).then(|| {
        format!("read as the fuzzer read it: {} {lines} dropped, {fields}", trace.nr_dropped_lines)
    })
}

/// What is found where the user points.
pub(crate) enum Found {
    /// A file to read.
    File(PathBuf),
    /// Something in a folder that is no trace: hidden, or no regular file.
    PassedOver,
    /// A place that cannot be looked at, and why.
    Unreadable(PathBuf, String),
}

/// The files to read: those named, and those in the folders named, in order.
pub(crate) fn files(paths: &[PathBuf]) -> Vec<Found> {
    paths.iter().flat_map(|path| if path.is_dir() { walk(path) } else { named(path) }).collect()
}

fn named(path: &Path) -> Vec<Found> {
    vec![Found::File(path.to_owned())]
}

fn walk(folder: &Path) -> Vec<Found> {
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut found = Vec::new();
    let mut entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) if entry.depth() > 0 && is_hidden(entry.file_name()) => {
                found.push(Found::PassedOver);
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
            }
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) if entry.file_type().is_file() => found.push(Found::File(entry.into_path())),
            Ok(_) => found.push(Found::PassedOver),
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                let why = match error.io_error() {
                    Some(error) => error.to_string(),
                    None => "a link to a folder that it lies in".to_owned(),
                };
                found.push(Found::Unreadable(path, why));
            }
        }
    }
    if !found.iter().any(|found| matches!(found, Found::File(_) | Found::Unreadable(..))) {
        found.push(Found::Unreadable(folder.to_owned(), "no file in this folder".to_owned()));
    }
    found
}
