//! Dialects: how each tool prints what stands before an event's fields.
//!
//! The one idea: tools differ in one thing only, the head of a line; an event's name and fields are
//! the kernel's own words everywhere. A [`Dialect`] reads a head, and a [`Stranger`] is a text that
//! holds the same events in a form without them, and says which command prints a readable one.
//!
//! - tracefs and `trace-cmd report`: `TASK-PID [CPU] FLAGS TIME: event: …`
//! - `perf script`: `COMM PID [CPU] TIME: system:event: …`
//!
//! All heads have one fixed mark, the ` [cpu] ` column; a task's name before it may hold blanks,
//! slashes, dashes and brackets, so each such column is tried until one makes sense as a whole.
//! Lines that are no events are the business of `line`.

use super::error::LineError;
use super::fields::{decimal, hexadecimal, word};

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

/// The head of a line, and where the fields begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// What was running.
    pub(super) context: ContextKey,
    /// The event's name, without its system.
    pub(super) name: &'a str,
    /// What follows the name.
    pub(super) fields: &'a str,
}

/// What stands before and after a ` [cpu] ` column.
struct Columns<'a> {
    before: &'a str,
    cpu: u64,
    after: &'a str,
}

/// One tool's way to print a head.
struct Dialect {
    /// What a line looks like, for messages.
    shape: &'static str,
    /// Reads the head around a CPU column; what it does not understand it calls by name.
    read: for<'a> fn(&Columns<'a>) -> Result<Head<'a>, Doubt<'a>>,
}

/// The part of a head that is not what a dialect has there.
struct Doubt<'a> {
    found: &'a str,
    expected: &'static str,
}

static DIALECTS: &[Dialect] = &[
    Dialect { shape: "`TASK-PID [CPU] FLAGS TIME: event: …` (tracefs, trace-cmd)", read: ftrace },
    Dialect { shape: "`COMM PID [CPU] TIME: system:event: …` (perf script)", read: perf },
];

/// A form of the same events that is not read.
struct Stranger {
    looks_like: fn(&str) -> bool,
    /// What it is, and how to get another form.
    advice: &'static str,
}

static STRANGERS: &[Stranger] = &[
    Stranger {
        looks_like: is_perf_trace,
        advice: "a line of an event; this is the output of `perf trace`, which leaves the CPU out: \
                 record with `perf record` and print with `perf script`",
    },
    Stranger {
        looks_like: is_latency_format,
        advice: "a line of an event; this is the latency format: turn it off with \
                 `echo nolatency-format > trace_options` before reading `trace` \
                 (or leave out -l of `trace-cmd report`)",
    },
];

/// Reads the head of an event's line.
pub(super) fn read_head(line: &str) -> Result<Head<'_>, LineError> {
    let mut doubts = Vec::new();
    for columns in cpu_columns(line) {
        for dialect in DIALECTS {
            match (dialect.read)(&columns) {
                Ok(head) => return Ok(head),
                Err(doubt) => doubts.push(doubt),
            }
        }
    }
    let start = line.trim_ascii_start();
    if let Some(stranger) = STRANGERS.iter().find(|stranger| (stranger.looks_like)(line)) {
        return Err(LineError::new(line, start, stranger.advice));
    }
    // The doubt that arose last in the line comes from the dialect that understood most of it.
    let place = |doubt: &Doubt| doubt.found.as_ptr() as usize;
    match doubts.into_iter().max_by_key(place) {
        Some(Doubt { found, expected }) => Err(LineError::new(line, found, expected)),
        None => {
            let shapes: Vec<_> = DIALECTS.iter().map(|dialect| dialect.shape).collect();
            let expected = format!("a line of an event, {}", shapes.join(" or "));
            Err(LineError::new(line, start, expected))
        }
    }
}

/// The places where a line has a ` [000] ` column. More than a name can hold are not looked at.
fn cpu_columns(line: &str) -> impl Iterator<Item = Columns<'_>> {
    const MOST: usize = 4;
    let opens = line.match_indices(" [").map(|(place, _)| place + 1);
    let columns = opens.filter_map(|open| {
        let inside = &line[open + 1..];
        let end = inside.bytes().take(20).position(|b| b == b']')?;
        let (cpu, after) = (&inside[..end], &inside[end + 1..]);
        // A task may be called `a [b]`; only the CPU has three digits or more and blanks around it.
        let cpu = decimal(cpu).filter(|_| cpu.len() >= 3 && after.starts_with(' '))?;
        Some(Columns { before: &line[..open], cpu, after })
    });
    columns.take(MOST)
}

/// `   kworker/0:1-events-12  [000] d.h1.  3.44: kfree: …`, with a TGID in between or not.
fn ftrace<'a>(columns: &Columns<'a>) -> Result<Head<'a>, Doubt<'a>> {
    let Columns { before, cpu, after } = *columns;
    let pid = ftrace_pid(before)
        .ok_or(Doubt { found: before.trim_ascii(), expected: "`TASK-PID` before the CPU" })?;
    let (first, rest) = word(after);
    // With the option noirq-info the flags are left out, and everything counts as task context.
    let (flags, (stamp, rest)) =
        if is_timestamp(first) { ("", (first, rest)) } else { (first, word(rest)) };
    let rest = after_stamp(stamp, rest)?;
    let name = event_name(rest)?;
    Ok(Head { context: context(pid, cpu, flags), ..name })
}

/// `worker/3-net  4120 [001]  5120.10:  kmem:kfree: …`, with `PID/TID` or one of them.
fn perf<'a>(columns: &Columns<'a>) -> Result<Head<'a>, Doubt<'a>> {
    let Columns { before, cpu, after } = *columns;
    let before = before.trim_ascii_end();
    let (_, last) = before.rsplit_once(' ').unwrap_or(("", before));
    let tid = last.rsplit_once('/').map_or(last, |(_, tid)| tid);
    let pid = decimal(tid).ok_or(Doubt { found: last, expected: "a PID before the CPU" })?;
    let (stamp, rest) = word(after);
    let rest = after_stamp(stamp, rest)?;
    // A period may stand before the event: `10000 kmem:kfree:`.
    let (first, behind) = word(rest);
    let rest = if decimal(first).is_some() { behind } else { rest };
    let name = event_name(rest)?;
    Ok(Head { context: context(pid, cpu, ""), ..name })
}

/// What follows a timestamp.
fn after_stamp<'a>(stamp: &'a str, rest: &'a str) -> Result<&'a str, Doubt<'a>> {
    let expected = "a timestamp, `seconds.microseconds:`";
    if is_timestamp(stamp) { Ok(rest) } else { Err(Doubt { found: stamp, expected }) }
}

/// The name of an event and its fields; the context is filled in by the caller.
fn event_name(rest: &str) -> Result<Head<'_>, Doubt<'_>> {
    const STACK: &str = "<stack trace>";
    let context = ContextKey::Idle(0);
    if let Some(fields) = rest.trim_ascii_start().strip_prefix(STACK) {
        return Ok(Head { context, name: STACK, fields });
    }
    let (word, fields) = word(rest);
    // Without the colon it is a line of the function tracer: `vfs_read <-ksys_read`.
    let name = word.strip_suffix(':').unwrap_or(word);
    let name = name.rsplit_once(':').map_or(name, |(_, name)| name);
    if name.is_empty() {
        return Err(Doubt { found: word, expected: "the name of an event" });
    }
    Ok(Head { context, name, fields })
}

/// The PID in `   kworker/0:1-events-12  ` or `   busybox-99   (   97)  `.
fn ftrace_pid(before: &str) -> Option<u64> {
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

/// `     0.000 demo/300 kmem:kfree(call_site: 0x…, ptr: 0x…)`
fn is_perf_trace(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let is_time = words.next().is_some_and(|time| time.parse::<f64>().is_ok());
    is_time && words.take(4).any(|word| word.contains('(') && word.ends_with(':'))
}

/// `    demo-300       1d..1.    3us+: kfree: …`
fn is_latency_format(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    words.any(|word| {
        let time = word.trim_end_matches([':', '+', '!', '#', '*', '@', '$']);
        time.strip_suffix("us").is_some_and(|digits| decimal(digits).is_some())
    })
}

/// `    ffffffff81234567 __kmalloc+0x123 ([kernel.kallsyms])`, a line of a call chain.
pub(super) fn is_call_chain(line: &str) -> bool {
    let (address, symbol) = word(line);
    line.starts_with([' ', '\t'])
        && hexadecimal(address.trim_ascii()).is_some()
        && symbol.trim_ascii_end().ends_with(')')
        && symbol.contains('(')
}
