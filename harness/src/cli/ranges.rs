//! The ranges of numbers on the command line.
//!
//! A number that cannot be meant is refused with its range and the reason, before anything is
//! allocated or waited for.

use bytesize::ByteSize;
use std::fmt::Display;
use std::num::NonZero;
use std::str::FromStr;

/// Threads: more than any machine has cores for.
pub(crate) fn jobs(text: &str) -> Result<NonZero<usize>, String> {
    let jobs = within(text, 1_usize, 1024, "each is a thread with a machine of its own")?;
    Ok(NonZero::new(jobs).unwrap_or(NonZero::<usize>::MIN))
}

/// Ops times lanes of a run.
pub(crate) fn ops(text: &str) -> Result<u64, String> {
    within(text, 1, 1_000_000_000_000_000, "none would show nothing, and that many take decades")
}

/// A seed.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    within(text, 0, u64::MAX, "each names traces of its own")
}

/// Seconds of a run.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    within(text, 1, 31_536_000, "none would show nothing, and that many are a year")
}

/// Milliseconds of an op.
pub(crate) fn millis(text: &str) -> Result<u64, String> {
    within(text, 1, 3_600_000, "none would end every op, and that many are an hour")
}

/// Traces of a sweep.
pub(crate) fn traces(text: &str) -> Result<u64, String> {
    within(text, 1, 1_000_000, "each is run under every cutoff at every level of fragmentation")
}

/// Random plans of a caller.
pub(crate) fn plans(text: &str) -> Result<u64, String> {
    within(text, 1, 1_000_000_000, "each is a run of every caller, and that many take days")
}

/// Memory in percent of what a recording needs.
pub(crate) fn room(text: &str) -> Result<u64, String> {
    within(text, 100, 1000, "with less it does not fit, and with more nothing is ever short")
}

/// Cases of a call in a state of the machine.
pub(crate) fn sample(text: &str) -> Result<NonZero<u64>, String> {
    let cases = within(text, 1, 1_000_000_000, "each is run in every state")?;
    Ok(NonZero::new(cases).unwrap_or(NonZero::<u64>::MIN))
}

/// Frees and allocations that are measured.
pub(crate) fn pairs(text: &str) -> Result<u64, String> {
    within(text, 1, 1_000_000_000, "none would show nothing, and that many take hours in each line")
}

/// Memory of simulated machines.
pub(crate) fn memory(text: &str) -> Result<ByteSize, String> {
    let (least, most) = (ByteSize::kib(64), ByteSize::tib(16));
    // A size that does not fit into 64 bits is read as the largest that does.
    let size = text.parse::<ByteSize>().ok().filter(|size| (least..=most).contains(size));
    size.ok_or_else(|| {
        "a size from 64KiB to 16TiB is wanted: no machine takes less, and all lanes of as many \
         threads as there can be do not take more"
            .to_owned()
    })
}

fn within<T>(text: &str, least: T, most: T, why: &str) -> Result<T, String>
where
    T: Copy + FromStr + PartialOrd + Display,
{
    let number = text.parse().ok().filter(|number| (&least..=&most).contains(&number));
    number.ok_or_else(|| format!("a number from {least} to {most} is wanted: {why}"))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn both_ends_are_taken_and_what_lies_beyond_is_not() {
        assert_eq!(
            (jobs("1").map(NonZero::get), jobs("1024").map(NonZero::get)),
            (Ok(1), Ok(1024))
        );
        for text in ["0", "1025", "-1", "", "1.5", "1e3", "99999999999999999999999"] {
            let error = jobs(text).unwrap_err();
            assert!(error.contains("from 1 to 1024") && error.contains("thread"), "{error}");
        }
        assert_eq!(
            (room("99").is_err(), room("100"), room("1001").is_err()),
            (true, Ok(100), true)
        );
    }
}
