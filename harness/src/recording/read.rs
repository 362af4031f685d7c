//! The text of a recording, as a list of events.
//!
//! The one idea: nothing is skipped in silence. A line is read, or counted, or an error; and a
//! recording that announces more events than it holds is cut short, even if it ends with a newline.
//!
//! This file does not interpret events; `convert` does.

use std::collections::{BTreeMap, HashMap};

use super::error::{Problem, RecordingError, excerpt};
use super::event::{Event, What, read_event};
use super::gfp::GfpReader;
use super::line::{ContextKey, Line, read_line};

/// What a text holds.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The allocation events, in order.
    pub(super) events: Vec<Event>,
    /// How many contexts they come from.
    pub(super) contexts: usize,
    /// Lines of text.
    pub(super) lines: u64,
    /// Events that the tracer says it lost.
    pub(super) lost: u64,
    /// Events of other names.
    pub(super) unknown_events: BTreeMap<String, u64>,
    /// GFP flags without a meaning here.
    pub(super) unknown_flags: BTreeMap<String, u64>,
}

/// Reads a whole recording.
pub(super) fn read_text(text: &str) -> Result<Log, RecordingError> {
    refuse_binary(text)?;
    let mut reader = Reader::default();
    for (place, line) in text.split_inclusive('\n').enumerate() {
        reader.line(place + 1, line)?;
    }
    reader.finish()
}

/// A NUL in a text means that it is none: say that, not that some line looks odd.
fn refuse_binary(text: &str) -> Result<(), RecordingError> {
    let Some(place) = text.as_bytes().iter().position(|byte| *byte == 0) else { return Ok(()) };
    let before = &text.as_bytes()[..place];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    let (expected, found) = ("ftrace text".to_owned(), "a NUL byte, so this is binary".to_owned());
    let problem = Problem::Malformed { expected, found };
    Err(RecordingError { file: None, line: Some(line), column: Some(column), problem })
}

#[derive(Default)]
struct Reader<'a> {
    log: Log,
    gfp: GfpReader<'a>,
    contexts: HashMap<ContextKey, u32>,
    /// The latest context and its number: most lines come from the same one as the line before.
    latest: Option<(ContextKey, u32)>,
    /// Events met, of any name.
    met: u64,
    /// Events that the header announces.
    announced: u64,
}

impl<'a> Reader<'a> {
    fn line(&mut self, number: usize, line: &'a str) -> Result<(), RecordingError> {
        let Some(text) = line.strip_suffix('\n') else {
            let reason = format!("the last line has no newline and may be cut: {}", tail(line));
            return Err(RecordingError::at_line(number, Problem::Truncated { reason }));
        };
        self.log.lines += 1;
        let text = text.strip_suffix('\r').unwrap_or(text);
        match read_line(text).map_err(|error| error.on(number))? {
            Line::Nothing => {}
            Line::Comment(comment) => self.comment(number, comment)?,
            Line::Lost(lost) => {
                self.log.lost = self.log.lost.saturating_add(lost);
                self.push(number, 0, What::Lost)?;
            }
            Line::Event { context, name, fields } => {
                self.met += 1;
                let read = read_event(name, fields, &mut self.gfp);
                match read.map_err(|error| error.on(number))? {
                    Some(what) => {
                        let context = self.context(context);
                        self.push(number, context, what)?;
                    }
                    None => *self.log.unknown_events.entry(name.to_owned()).or_default() += 1,
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, number: usize, context: u32, what: What) -> Result<(), RecordingError> {
        let too_long = |_| RecordingError::at_line(number, Problem::TooMany { what: "lines" });
        let line = u32::try_from(number).map_err(too_long)?;
        self.log.events.push(Event { line, context, what });
        Ok(())
    }

    /// The number of a context.
    fn context(&mut self, key: ContextKey) -> u32 {
        if let Some((latest, number)) = self.latest
            && latest == key
        {
            return number;
        }
        let next =
            u32::try_from(self.contexts.len()).expect("there are no more contexts than lines");
        let number = *self.contexts.entry(key).or_insert(next);
        self.latest = Some((key, number));
        number
    }

    /// The two header lines that matter; the others explain the columns.
    fn comment(&mut self, number: usize, comment: &str) -> Result<(), RecordingError> {
        if let Some(tracer) = comment.strip_prefix(" tracer: ")
            && tracer.trim_ascii() != "nop"
        {
            let expected = "`# tracer: nop`, whose text has one event a line".to_owned();
            let problem = Problem::Malformed { expected, found: excerpt(tracer) };
            return Err(RecordingError::at_line(number, problem));
        }
        let Some(entries) = comment.strip_prefix(" entries-in-buffer/entries-written: ") else {
            return Ok(());
        };
        let counts = entries.split_ascii_whitespace().next().and_then(|word| word.split_once('/'));
        let numbers = counts.and_then(|(here, all)| Some((here.parse().ok()?, all.parse().ok()?)));
        let Some((in_buffer, written)) = numbers else {
            let expected = "two numbers, `in-buffer/written`".to_owned();
            let problem = Problem::Malformed { expected, found: excerpt(entries) };
            return Err(RecordingError::at_line(number, problem));
        };
        let written: u64 = written;
        self.announced = in_buffer;
        self.log.lost = self.log.lost.saturating_add(written.saturating_sub(in_buffer));
        Ok(())
    }

    fn finish(mut self) -> Result<Log, RecordingError> {
        if self.met < self.announced {
            let reason = format!(
                "the header announces {} events, the recording ends after {} \
                 (an excerpt made on purpose must leave that header line out)",
                self.announced, self.met
            );
            let line = usize::try_from(self.log.lines).unwrap_or(usize::MAX);
            return Err(RecordingError::at_line(line, Problem::Truncated { reason }));
        }
        if self.log.events.iter().all(|event| event.what == What::Lost) {
            return Err(RecordingError::whole(Problem::NoEvents));
        }
        self.log.contexts = self.contexts.len().max(1);
        self.log.unknown_flags = self.gfp.unknown;
        Ok(self.log)
    }
}

/// The end of a line, for a message about where it was cut.
fn tail(line: &str) -> String {
    const LONGEST: usize = 40;
    let from = line.char_indices().rev().nth(LONGEST).map_or(0, |(place, _)| place);
    format!("…{}", excerpt(&line[from..]))
}
