//! One line of ftrace text.
//!
//! The one idea: everything is a slice of the line, found from its one fixed mark, the `[cpu]`
//! column: the task's name before it may hold spaces, dashes and brackets. A line that has no such
//! column is not ftrace text, and says so with the column where the doubt began.
//!
//! This file knows the shape of lines and fields, not which events there are (`event`).

use super::error::LineError;

/// What kind of line it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// An empty line, or one of a printed stack.
    Nothing,
    /// A header line, without the `#`.
    Comment(&'a str),
    /// The tracer lost this many events here; 1 if it did not say how many.
    Lost(u64),
    /// An event.
    Event {
        /// What was running.
        context: ContextKey,
        /// The event's name.
        name: &'a str,
        /// What the event says.
        fields: Fields<'a>,
    },
}

/// What was running when an event happened: events of one context come in the order of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ContextKey {
    /// A task, by PID.
    Task(u64),
    /// The idle task of a CPU: all of them share PID 0.
    Idle(u64),
    /// A softirq on a CPU; it may have interrupted any task.
    Softirq(u64),
    /// A hardware interrupt on a CPU.
    Hardirq(u64),
    /// A non-maskable interrupt on a CPU.
    Nmi(u64),
}

/// Reads a line, without its newline.
pub(super) fn read_line(line: &str) -> Result<Line<'_>, LineError> {
    let text = line.trim_ascii_start();
    if text.is_empty() || text.starts_with("=> ") {
        return Ok(Line::Nothing);
    }
    if let Some(comment) = text.strip_prefix('#') {
        return Ok(Line::Comment(comment));
    }
    if let Some(lost) = lost(text) {
        return Ok(Line::Lost(lost));
    }
    event(line)
}

/// `CPU:0 [LOST 123 EVENTS]`
fn lost(text: &str) -> Option<u64> {
    let (_, loss) = text.strip_prefix("CPU:")?.split_once(" [LOST ")?;
    let number = loss.split(' ').next()?;
    Some(decimal(number).unwrap_or(1))
}

/// `    TASK-PID     [CPU] FLAGS  TIMESTAMP: name: fields`
fn event(line: &str) -> Result<Line<'_>, LineError> {
    let Some((before, cpu, after)) = split_at_cpu(line) else {
        let expected = "an ftrace line, `TASK-PID [CPU] FLAGS TIME: event: …`";
        return Err(LineError::new(line, line.trim_ascii_start(), expected));
    };
    let pid = pid(before)
        .ok_or_else(|| LineError::new(line, before.trim_ascii(), "`TASK-PID` before the CPU"))?;
    let (first, rest) = word(after);
    // With the option noirq-info the flags are left out, and everything counts as task context.
    let (flags, (stamp, rest)) =
        if is_timestamp(first) { ("", (first, rest)) } else { (first, word(rest)) };
    if !is_timestamp(stamp) {
        return Err(LineError::new(line, stamp, "a timestamp, `seconds.microseconds:`"));
    }
    let (word, rest) = word(rest);
    // Without the colon it is a line of the function tracer: `vfs_read <-ksys_read`.
    let name = word.strip_suffix(':').unwrap_or(word);
    if name.is_empty() {
        return Err(LineError::new(line, word, "the name of an event"));
    }
    Ok(Line::Event { context: context(pid, cpu, flags), name, fields: Fields { line, rest } })
}

/// Splits a line at its ` [000] ` column.
fn split_at_cpu(line: &str) -> Option<(&str, u64, &str)> {
    let mut from = 0;
    while let Some(found) = line[from..].find('[') {
        let open = from + found;
        from = open + 1;
        let length = line[from..].find(']')?;
        let (cpu, after) = (&line[from..from + length], &line[from + length + 1..]);
        // A task may be called `a [b]`; only the CPU has three digits or more and blanks around it.
        if cpu.len() >= 3
            && line[..open].ends_with(' ')
            && after.starts_with(' ')
            && let Some(cpu) = decimal(cpu)
        {
            return Some((&line[..open], cpu, after));
        }
    }
    None
}

/// The PID in `   kworker/0:1-events-12  ` or `   busybox-99   (   97)  `.
fn pid(before: &str) -> Option<u64> {
    let mut text = before.trim_ascii_end();
    if text.ends_with(')') {
        text = text[..text.rfind('(')?].trim_ascii_end();
    }
    decimal(text.rsplit_once('-')?.1)
}

/// What was running, from the flags column: `dNh1.` is a hardirq, `..s..` a softirq.
fn context(pid: u64, cpu: u64, flags: &str) -> ContextKey {
    // The column of each flag moved between kernel versions, but these letters are used in no
    // other.
    let running = flags.bytes().find(|flag| b"zZhHs".contains(flag));
    match running {
        Some(b'z' | b'Z') => ContextKey::Nmi(cpu),
        Some(b'h' | b'H') => ContextKey::Hardirq(cpu),
        Some(_) => ContextKey::Softirq(cpu),
        None if pid == 0 => ContextKey::Idle(cpu),
        None => ContextKey::Task(pid),
    }
}

fn is_timestamp(word: &str) -> bool {
    let Some(number) = word.strip_suffix(':') else { return false };
    number.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// The first word, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    match text.bytes().position(|b| b == b' ') {
        Some(end) => text.split_at(end),
        None => text.split_at(text.len()),
    }
}

/// The fields of an event, `key=value`, taken in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    line: &'a str,
    rest: &'a str,
}

impl<'a> Fields<'a> {
    /// The value of the next field called `key`; others before it are passed over.
    pub(super) fn take(&mut self, key: &str) -> Result<&'a str, LineError> {
        loop {
            let (field, rest) = word(self.rest);
            if field.is_empty() {
                return Err(LineError::new(self.line, rest, format!("the field `{key}=`")));
            }
            self.rest = rest;
            let value = field.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
            if let Some(value) = value {
                return Ok(value);
            }
        }
    }

    /// A number: hexadecimal with `0x`, decimal without.
    pub(super) fn number(&mut self, key: &str) -> Result<u64, LineError> {
        let text = self.take(key)?;
        let value = match text.strip_prefix("0x") {
            Some(digits) => hexadecimal(digits),
            None => decimal(text),
        };
        value.ok_or_else(|| self.error(text, format!("a number for `{key}=`")))
    }

    /// A number below `limit`.
    pub(super) fn number_below(&mut self, key: &str, limit: u64) -> Result<u64, LineError> {
        let before = self.rest;
        let value = self.number(key)?;
        if value < limit {
            return Ok(value);
        }
        Err(self.error(word(before).0, format!("`{key}=` below {limit:#x}")))
    }

    /// An address: hexadecimal with or without `0x`, or `(null)`. A hashed one serves as well.
    pub(super) fn pointer(&mut self, key: &str) -> Result<u64, LineError> {
        let text = self.take(key)?;
        if text == "(null)" {
            return Ok(0);
        }
        hexadecimal(text.strip_prefix("0x").unwrap_or(text))
            .ok_or_else(|| self.error(text, format!("an address for `{key}=`")))
    }

    /// A complaint about a part of this line.
    pub(super) fn error(&self, found: &str, expected: impl Into<String>) -> LineError {
        LineError::new(self.line, found, expected)
    }
}

/// Decimal digits and nothing else: the standard library's reader would take `+1`.
fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |value, digit| {
        let digit = (digit as char).to_digit(10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// One to sixteen hexadecimal digits and nothing else.
fn hexadecimal(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.bytes()
        .try_fold(0, |value, digit| Some(value << 4 | u64::from((digit as char).to_digit(16)?)))
}
