//! What can be wrong with a recording, said so that a person can find the place.
//!
//! Every complaint names the file, the line and, where it helps, the column, and says what was
//! expected and what stands there instead. Nothing here decides what is wrong.
//!
//! Lines and columns count from 1; columns count bytes.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a recording could not be read.
#[derive(Debug)]
pub enum Problem {
    /// The file could not be read at all.
    Io(io::Error),
    /// The Zstandard stream is cut short or damaged.
    Compression {
        /// What the decoder said.
        reason: String,
    },
    /// A line that is not what a recording has there.
    Malformed {
        /// What should stand here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// The recording stops before its end.
    Truncated {
        /// What shows that something is missing.
        reason: String,
    },
    /// The recording is whole, but nothing in it is about allocation.
    NoEvents {
        /// The names of the events that it holds.
        others: Vec<String>,
    },
    /// There is more of something than can be read or replayed.
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The most that there may be.
        limit: u64,
    },
}

/// A recording that cannot be read, and where.
#[derive(Debug)]
pub struct RecordingError {
    /// The file, if the recording came from one.
    pub file: Option<PathBuf>,
    /// The line, if one is to blame.
    pub line: Option<usize>,
    /// The column in that line, if one is to blame.
    pub column: Option<usize>,
    /// What is wrong there.
    pub problem: Problem,
}

impl RecordingError {
    /// An error of the recording as a whole.
    pub(super) fn whole(problem: Problem) -> Self {
        Self { file: None, line: None, column: None, problem }
    }

    /// An error on a line.
    pub(super) fn at_line(line: usize, problem: Problem) -> Self {
        Self { file: None, line: Some(line), column: None, problem }
    }

    /// The same error, known to be in `file`.
    #[must_use]
    pub(super) fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_path_buf());
        self
    }
}

/// What is wrong with one line; the reader adds the line's number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineError {
    /// The column, from 1.
    pub(super) column: usize,
    /// What should stand there.
    pub(super) expected: String,
    /// What stands there.
    pub(super) found: String,
}

impl LineError {
    /// A complaint about `found`, which must be a part of `line`.
    pub(super) fn new(line: &str, found: &str, expected: impl Into<String>) -> Self {
        // Both slices come from one text, so the difference of their places is the column.
        let column = (found.as_ptr() as usize).saturating_sub(line.as_ptr() as usize) + 1;
        Self { column, expected: expected.into(), found: excerpt(found) }
    }

    /// The complaint with its line.
    pub(super) fn on(self, line: usize) -> RecordingError {
        let problem = Problem::Malformed { expected: self.expected, found: self.found };
        RecordingError { file: None, line: Some(line), column: Some(self.column), problem }
    }
}

/// The beginning of a text, short enough for a message and without control characters.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.is_empty() {
        return "the end of the line".to_owned();
    }
    let shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(LONGEST).is_some() { "…" } else { "" };
    format!("`{shown}{more}`")
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}", file.display())?,
            None => f.write_str("recording")?,
        }
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::Compression { reason } => {
                write!(f, "the Zstandard stream is damaged or cut short: {reason}")
            }
            Self::Malformed { expected, found } => write!(f, "expected {expected}, found {found}"),
            Self::Truncated { reason } => write!(f, "truncated: {reason}"),
            Self::NoEvents { others } => {
                f.write_str(
                    "no allocation events: expected the tracepoints kmem:* or the probes of \
                     ci/record.sh (kv, kvr, kvf, vm, vmr, vf)",
                )?;
                let few: Vec<&str> = others.iter().take(5).map(String::as_str).collect();
                if few.is_empty() { Ok(()) } else { write!(f, ", found {}", few.join(", ")) }
            }
            Self::TooMany { what, limit } => write!(
                f,
                "too many {what}, at most {limit} can be replayed: record a shorter stretch, or \
                 keep the lines before this one (`head -n`, without the header line \
                 entries-in-buffer)"
            ),
        }
    }
}

impl Error for RecordingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.problem {
            Problem::Io(error) => Some(error),
            _ => None,
        }
    }
}
