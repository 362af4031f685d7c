//! The lines of a text, one at a time.
//!
//! A recording may be of any length, its lines may not, so nothing here grows with the text. Tasks
//! may have names of any bytes; what is not UTF-8 is read as `?`, a byte for a byte, so that
//! columns stay true. A NUL means that it is no text at all.
//!
//! What a line says is in `line`.

use std::io::{self, BufRead, Read};

use super::error::{Problem, RecordingError};
use super::file::Broken;

/// The most bytes of a line. Lines of events have a few hundred.
const LONGEST_LINE: usize = 1 << 16;
/// The most bytes of a text: a small packed file must not take for ever.
const LONGEST_TEXT: u64 = 4 << 30;
/// The most lines, for the same reason: empty ones take next to nothing when packed.
const MOST_LINES: u64 = 64 << 20;

/// Reads lines from a text.
pub(super) struct Lines<R> {
    source: R,
    buffer: Vec<u8>,
    /// How many lines were read.
    pub(super) number: u64,
    nr_bytes: u64,
}

/// Whether a line has its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As every line that a tool printed to its end.
    Newline,
    /// The text ends here: perhaps it was cut, perhaps pasted.
    OfText,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: Vec::new(), number: 0, nr_bytes: 0 }
    }

    /// The next line, without its newline.
    pub(super) fn next(&mut self) -> Result<Option<(&str, End)>, RecordingError> {
        self.buffer.clear();
        let line = usize::try_from(self.number + 1).unwrap_or(usize::MAX);
        let longest = LONGEST_LINE as u64 + 1;
        let read = (&mut self.source).take(longest).read_until(b'\n', &mut self.buffer);
        self.nr_bytes += read.map_err(|error| unreadable(error, line))? as u64;
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if let Some(place) = self.buffer.iter().position(|byte| *byte == 0) {
            let expected = "text (what tracefs, `trace-cmd report` or `perf script` print)";
            return Err(odd(line, place, expected, "a NUL byte, so this is binary"));
        }
        if self.buffer.len() > LONGEST_LINE {
            let expected = "a line of an event, of at most 65536 bytes";
            return Err(odd(line, LONGEST_LINE, expected, "a line that goes on"));
        }
        let too_many =
            |what, limit| Err(RecordingError::at_line(line, Problem::TooMany { what, limit }));
        if self.nr_bytes > LONGEST_TEXT {
            return too_many("bytes of text", LONGEST_TEXT);
        }
        if self.number > MOST_LINES {
            return too_many("lines", MOST_LINES);
        }
        let end = if self.buffer.ends_with(b"\n") { End::Newline } else { End::OfText };
        while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
            self.buffer.pop();
        }
        Ok(Some((readable(&mut self.buffer), end)))
    }
}

/// The text in these bytes, with a `?` for each that is none.
fn readable(bytes: &mut [u8]) -> &str {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&bytes[from..]) {
        let start = from + error.valid_up_to();
        let end = error.error_len().map_or(bytes.len(), |length| start + length);
        bytes[start..end].fill(b'?');
        from = end;
    }
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A complaint about a byte of a line, counted from 0.
fn odd(line: usize, place: usize, expected: &str, found: &str) -> RecordingError {
    let problem = Problem::Malformed { expected: expected.to_owned(), found: found.to_owned() };
    RecordingError { file: None, line: Some(line), column: Some(place + 1), problem }
}

/// The complaint about a text that cannot be read on.
fn unreadable(error: io::Error, line: usize) -> RecordingError {
    let broken = error.get_ref().and_then(|inner| inner.downcast_ref::<Broken>());
    match broken.map(ToString::to_string) {
        Some(reason) => RecordingError::at_line(line, Problem::Compression { reason }),
        None => RecordingError::at_line(line, Problem::Io(error)),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<(String, End)>, String> {
        let mut lines = Lines::new(text);
        let mut read = Vec::new();
        while let Some((line, end)) = lines.next().map_err(|error| error.to_string())? {
            read.push((line.to_owned(), end));
        }
        Ok(read)
    }

    #[test]
    fn lines_are_split_and_the_last_is_known() {
        let expected = [("one", End::Newline), ("", End::Newline), ("two", End::OfText)];
        let expected = expected.map(|(line, end)| (line.to_owned(), end)).to_vec();
        assert_eq!(all(b"one\r\n\ntwo"), Ok(expected));
        assert_eq!(all(b""), Ok(vec![]));
    }

    #[test]
    fn bytes_that_are_no_text_keep_their_places() {
        let read = all(b"a\xff\xc3b \xf0\x9f\x92\x96 \xe2\x82").expect("a line");
        assert_eq!(read[0].0, "a??b \u{1f496} ??");
    }

    #[test]
    fn what_is_no_line_is_named_with_its_place() {
        let long = "x".repeat(LONGEST_LINE + 1);
        let complaint = all(format!("one\n{long}\n").as_bytes()).expect_err("a long line");
        assert!(complaint.starts_with("recording:2:65537: expected a line"), "{complaint}");
        let complaint = all(b"one\ntw\0\n").expect_err("a NUL");
        assert!(complaint.starts_with("recording:2:3: ") && complaint.contains("NUL"));
        assert!(all(format!("{}\n", "x".repeat(LONGEST_LINE - 1)).as_bytes()).is_ok());
    }
}
