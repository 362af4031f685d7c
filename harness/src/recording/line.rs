//! One line of a recording: an event, or what tools print between events.
//!
//! What is no event is one of a few known notices, or the line is an error. The notices of all
//! tools are known in every recording: people paste them together.
//!
//! The heads of events are the business of `dialect`, their fields of `fields`.

use super::dialect::{Head, is_call_chain, read_head};
use super::error::LineError;
use super::fields::decimal;

/// What kind of line it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// An empty line, or one of a printed stack.
    Nothing,
    /// A header line, without the `#`.
    Comment(&'a str),
    /// A header line of `trace-cmd report`, which has no `#`.
    Header,
    /// The tracer lost this many events here; 1 if it did not say how many.
    Lost(u64),
    /// An event.
    TraceEvent(Head<'a>),
}

/// Reads a line, without its newline.
pub(super) fn read_line(line: &str) -> Result<Line<'_>, LineError> {
    let text = line.trim_ascii();
    if text.is_empty() || text.starts_with("=> ") {
        return Ok(Line::Nothing);
    }
    if let Some(comment) = text.strip_prefix('#') {
        return Ok(Line::Comment(comment));
    }
    if let Some(lost) = lost(text) {
        return Ok(Line::Lost(lost));
    }
    if is_header(text) {
        return Ok(Line::Header);
    }
    match read_head(line) {
        Ok(head) => Ok(Line::TraceEvent(head)),
        Err(_) if is_call_chain(line) => Ok(Line::Nothing),
        Err(error) => Err(error),
    }
}

/// `CPU:0 [LOST 123 EVENTS]` of tracefs, `CPU:1 [37 EVENTS DROPPED]` of trace-cmd, and
/// `… PERF_RECORD_LOST lost 12` of `perf script --show-lost-events`.
pub(crate) fn lost(text: &str) -> Option<u64> {
    if let Some((_, loss)) = text.split_once("PERF_RECORD_LOST") {
        let last = loss.split_ascii_whitespace().next_back().unwrap_or_default();
        return Some(decimal(last).unwrap_or(1));
    }
    let (cpu, loss) = text.strip_prefix("CPU:")?.split_once(" [")?;
    decimal(cpu)?;
    let words: Vec<&str> = loss.strip_suffix(']')?.split(' ').collect();
    match words[..] {
        ["LOST", "EVENTS"] | ["EVENTS", "DROPPED"] => Some(1),
        ["LOST", number, "EVENTS"] | [number, "EVENTS", "DROPPED"] => decimal(number),
        _ => None,
    }
}

/// `version = 6`, `cpus=2`, `CPU 0 is empty`
fn is_header(text: &str) -> bool {
    let empty = text.strip_prefix("CPU ").and_then(|rest| rest.strip_suffix(" is empty"));
    let number = text.strip_prefix("version = ").or(text.strip_prefix("cpus=")).or(empty);
    number.is_some_and(|number| decimal(number).is_some())
}

#[cfg(test)]
mod test {
    use super::super::dialect::ContextKey;
    use super::*;

    #[track_caller]
    fn event(line: &str) -> (ContextKey, &str, &str) {
        match read_line(line) {
            Ok(Line::TraceEvent(head)) => (head.context, head.name, head.fields.trim_ascii()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn notices_are_no_events() {
        for line in ["", "   ", " => kfree", " => 0xffffffff (unknown)"] {
            assert_eq!(read_line(line), Ok(Line::Nothing), "{line}");
        }
        for line in ["\tffffffff81234567 kfree+0x7 ([kernel.kallsyms])", "  7f12 [unknown] (/a b)"]
        {
            assert_eq!(read_line(line), Ok(Line::Nothing), "{line}");
        }
        for line in ["version = 6", "version = 7", "cpus=128", "CPU 12 is empty"] {
            assert_eq!(read_line(line), Ok(Line::Header), "{line}");
        }
        for (line, lost) in [
            ("CPU:0 [LOST 123 EVENTS]", 123),
            ("CPU:0 [LOST EVENTS]", 1),
            ("CPU:1 [37 EVENTS DROPPED]", 37),
            ("CPU:1 [EVENTS DROPPED]", 1),
            ("swapper     0 [000]     0.0: PERF_RECORD_LOST lost 12", 12),
        ] {
            assert_eq!(read_line(line), Ok(Line::Lost(lost)), "{line}");
        }
        assert!(read_line("CPU:1 [NO EVENTS]").is_err() && read_line("cpus=many").is_err());
    }

    #[test]
    fn names_of_tasks_hold_anything() {
        let task = ContextKey::Task(7);
        for line in [
            "       a [123] b-7  [001] .....  1.5: kfree: ptr=0",
            "  a-b- c] [x-7 (  -----) [001] d..1.  1.5: kfree: ptr=0",
            "  [000] 1.2: x-7 [001]  1.5: kfree: ptr=0",
            "a [123] 9: b  7 [001]  1.5:  kmem:kfree: ptr=0",
            "worker/3 net   6/7 [001]  1.5:   1 kmem:kfree: ptr=0",
            ": 7 [001]  1.5: kfree: ptr=0",
        ] {
            assert_eq!(event(line), (task, "kfree", "ptr=0"), "{line}");
        }
    }

    #[test]
    fn stacks_and_functions_have_names_too() {
        assert_eq!(event(" a-7 [001] .....  1.5: <stack trace>").1, "<stack trace>");
        assert_eq!(event(" a-7 [001] .....  1.5: vfs_read <-ksys_read").1, "vfs_read");
        assert_eq!(
            event(" a-7 [001] .....  1.5: kernel_stack:     <stack trace >").1,
            "kernel_stack"
        );
    }

    #[test]
    fn other_forms_are_refused_with_a_way_out() {
        for (line, advice) in [
            ("     0.210 demo/300 kmem:kfree(call_site: 0xff, ptr: 0xf8)", "`perf script`"),
            ("    demo-300       1.....    3us+: kfree: ptr=0", "nolatency-format"),
            ("    demo-300       1.....   48us : kfree: ptr=0", "nolatency-format"),
            ("hello, world", "(perf script)"),
            ("   a-1 [000] ..... noon: kfree: ptr=0", "a timestamp"),
        ] {
            let error = read_line(line).expect_err(line);
            assert!(error.expected.contains(advice), "{line}: {}", error.expected);
        }
    }
}
