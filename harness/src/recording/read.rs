//! The text of a recording, as a list of events.
//!
//! The one idea: nothing is skipped in silence. A line is read, or counted, or an error; and a
//! recording that announces more events than it holds is cut short, even if it ends with a newline.
//!
//! This file does not interpret events; `convert` does.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;

use super::dialect::{ContextKey, Head};
use super::error::{LineError, Problem, RecordingError, excerpt};
use super::event::{TraceEvent, What, read_event};
use super::fields::Fields;
use super::gfp::GfpReader;
use super::kernel::Kernel;
use super::line::{Line, read_line};
use super::lines::{End, Lines};
use super::tally::Tally;

/// The most events of a recording, so that reading one takes a bounded amount of memory.
const MOST_EVENTS: usize = 4 << 20;
/// The longest beginning of a line that a task's name with a newline in it can leave behind:
/// names have 15 bytes at most and are printed 16 wide.
const LONGEST_FRAGMENT: usize = 16;

/// What a text holds.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The allocation events, in order.
    pub(super) events: Vec<TraceEvent>,
    /// How many contexts they come from.
    pub(super) contexts: usize,
    /// Lines of text.
    pub(super) lines: u64,
    /// Events that the tracer says it lost.
    pub(super) lost: u64,
    /// Lines that are the beginning of a task's name with a newline in it.
    pub(super) split_names: u64,
    /// Events of other names.
    pub(super) unknown_events: BTreeMap<String, u64>,
    /// Fields of events that were not used, as `event.field`.
    pub(super) unused_fields: BTreeMap<String, u64>,
    /// GFP flags without a meaning here.
    pub(super) unknown_flags: BTreeMap<String, u64>,
    /// GFP flags that were numbers.
    pub(super) flags_as_numbers: u64,
    /// The recorded kernel, if anything says which it was.
    pub(super) kernel: Option<Kernel>,
}

/// Reads a whole recording. A `kernel` that is given overrules what the recording says.
pub(super) fn read_text(
    source: impl BufRead,
    kernel: Option<Kernel>,
) -> Result<Log, RecordingError> {
    let mut lines = Lines::new(source);
    let mut reader = Reader { is_told: kernel.is_some(), ..Reader::default() };
    reader.gfp.kernel = kernel;
    while let Some((line, end)) = lines.next()? {
        reader.line(line, end)?;
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    log: Log,
    gfp: GfpReader,
    /// Which kernel it was has been said from outside.
    is_told: bool,
    unknown_events: Tally,
    unused_fields: Tally,
    /// `event.field`, kept for its memory.
    field: String,
    contexts: HashMap<ContextKey, u32>,
    /// The latest context and its number: most lines come from the same one as the line before.
    latest: Option<(ContextKey, u32)>,
    /// The complaint about a line that may be the beginning of a task's name.
    fragment: Option<RecordingError>,
    /// Events met, of any name.
    met: u64,
    /// Events that the header announces.
    announced: u64,
}

impl Reader {
    fn line(&mut self, text: &str, end: End) -> Result<(), RecordingError> {
        self.log.lines += 1;
        let number = usize::try_from(self.log.lines).unwrap_or(usize::MAX);
        let read = match read_line(text) {
            Ok(Line::TraceEvent(head)) => {
                self.log.split_names += u64::from(self.fragment.take().is_some());
                return self.event(number, text, &head, end);
            }
            Err(error) if end == End::OfText => return Err(cut(number, text, &error)),
            Err(error) if text.len() <= LONGEST_FRAGMENT && self.fragment.is_none() => {
                self.fragment = Some(error.on(number));
                return Ok(());
            }
            read => read.map_err(|error| error.on(number))?,
        };
        if let Some(error) = self.fragment.take() {
            return Err(error);
        }
        match read {
            Line::Comment(comment) => self.comment(number, comment)?,
            Line::Lost(lost) => {
                self.log.lost = self.log.lost.saturating_add(lost);
                self.push(number, 0, What::Lost)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn event(
        &mut self,
        number: usize,
        text: &str,
        head: &Head<'_>,
        end: End,
    ) -> Result<(), RecordingError> {
        self.met += 1;
        let mut fields = Fields::new(text, head.fields);
        let read = match read_event(head.name, &mut fields, &mut self.gfp) {
            Ok(_) if end == End::OfText && !is_whole(fields.last_word()) => {
                Err(fields.error(fields.last_word(), "a newline after the last field"))
            }
            read => read,
        };
        let what = match read {
            Ok(Some(what)) => what,
            Ok(None) => {
                self.unknown_events.add(head.name);
                return Ok(());
            }
            Err(error) if end == End::OfText => return Err(cut(number, text, &error)),
            Err(error) => return Err(error.on(number)),
        };
        self.not_used(head.name, fields);
        let context = self.context(head.context);
        self.push(number, context, what)
    }

    fn not_used(&mut self, event: &str, fields: Fields<'_>) {
        for name in fields.not_used() {
            self.field.clear();
            self.field.push_str(event);
            self.field.push_str(if name.is_empty() { " (words that are no fields)" } else { "." });
            self.field.push_str(name);
            self.unused_fields.add(&self.field);
        }
    }

    fn push(&mut self, number: usize, context: u32, what: What) -> Result<(), RecordingError> {
        let too_many = |what, limit| {
            let problem = Problem::TooMany { what, limit };
            RecordingError::at_line(number, problem)
        };
        if self.log.events.len() == MOST_EVENTS {
            return Err(too_many("allocation events", MOST_EVENTS as u64));
        }
        let line = u32::try_from(number).map_err(|_| too_many("lines", u32::MAX.into()))?;
        self.log.events.push(TraceEvent { line, context, what });
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
            u32::try_from(self.contexts.len()).expect("there are no more contexts than events");
        let number = *self.contexts.entry(key).or_insert(next);
        self.latest = Some((key, number));
        number
    }

    /// The header lines that matter; the others explain the columns.
    fn comment(&mut self, number: usize, comment: &str) -> Result<(), RecordingError> {
        if let Some(tracer) = comment.strip_prefix(" tracer: ")
            && tracer.trim_ascii() != "nop"
        {
            let expected = "`# tracer: nop`, whose text has one event a line \
                            (`echo nop > current_tracer` before recording)"
                .to_owned();
            let problem = Problem::Malformed { expected, found: excerpt(tracer) };
            return Err(RecordingError::at_line(number, problem));
        }
        self.release(comment);
        match comment.strip_prefix(" entries-in-buffer/entries-written: ") {
            Some(entries) => self.entries(number, entries),
            None => Ok(()),
        }
    }

    /// `# os release : 6.1.0-56-amd64` of perf, and `# nop latency trace v1.1.5 on 6.1.0` of
    /// tracefs.
    fn release(&mut self, comment: &str) {
        let after =
            |mark| comment.split_once(mark).map(|(_, rest): (&str, &str)| rest.trim_ascii());
        let release = after(" os release :").or_else(|| after(" latency trace v1.1.5 on "));
        let release = release.and_then(|text| text.parse().ok());
        if !self.is_told && release.is_some() {
            self.gfp.kernel = release;
        }
    }

    fn entries(&mut self, number: usize, entries: &str) -> Result<(), RecordingError> {
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
        if let Some(error) = self.fragment {
            return Err(error);
        }
        if self.met < self.announced {
            let reason = format!(
                "the header announces {} events, the recording ends after {} \
                 (an excerpt made on purpose must leave that header line out)",
                self.announced, self.met
            );
            let line = usize::try_from(self.log.lines).unwrap_or(usize::MAX);
            return Err(RecordingError::at_line(line, Problem::Truncated { reason }));
        }
        self.log.unknown_events = self.unknown_events.into_counts();
        if self.log.events.iter().all(|event| event.what == What::Lost) {
            let others = self.log.unknown_events.into_keys().collect();
            return Err(RecordingError::whole(Problem::NoEvents { others }));
        }
        self.log.contexts = self.contexts.len().max(1);
        self.log.unused_fields = self.unused_fields.into_counts();
        self.log.unknown_flags = self.gfp.unknown.into_counts();
        self.log.flags_as_numbers = self.gfp.nr_numbers;
        self.log.kernel = self.gfp.kernel;
        Ok(self.log)
    }
}

/// Whether the last word of a text without a final newline cannot go on: a full address, NULL, or
/// a word that has an end.
fn is_whole(last: &str) -> bool {
    let (_, value) = last.split_once('=').unwrap_or(("", last));
    let digits = value.strip_prefix("0x").unwrap_or(value);
    let is_address = digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_address || value.ends_with(')') || ["true", "false", "-1", "NULL"].contains(&value)
}

/// The complaint about a last line that has no newline and cannot be trusted.
fn cut(number: usize, text: &str, error: &LineError) -> RecordingError {
    const LONGEST: usize = 40;
    let from = text.char_indices().rev().nth(LONGEST).map_or(0, |(place, _)| place);
    let reason = format!(
        "the last line has no newline and may be cut (…{}; expected {}): end it with a newline if \
         it is whole, or delete it",
        excerpt(&text[from..]),
        error.expected
    );
    RecordingError::at_line(number, Problem::Truncated { reason })
}
