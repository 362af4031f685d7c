//! A trace as a caller: whether its calls are what correct calling code does, on every route.
//!
//! A campaign judges an allocator, for which a wrong free that is refused is right. Here the same
//! trace is the program that is judged, and the allocators are those that are known to be right.

use crate::bound::admit;
use crate::campaign::of_caller;
use crate::exec::{self, Expectations};
use crate::trace::{Claim, Trace};
use crate::{Failure, Stats};

/// What a trace may take of the host's memory to be marked: as much as the command line lets a
/// trace have that nobody has said more of.
const MARKED_BYTES_MAX: u64 = 2 << 30;

/// Judges a trace as a caller. What its comments expect is not looked at.
///
/// # Errors
/// The first mistake of the caller, with the route on which it is one.
pub fn check_caller(trace: &Trace) -> Result<Stats, Box<Failure>> {
    exec::run(of_caller(trace), trace, Expectations::Ignored)
}

/// Has the header say whether the trace is a correct caller. Of one that would need too much memory
/// it says nothing.
pub fn mark(trace: &mut Trace) {
    let is_small = admit(of_caller(trace), trace, MARKED_BYTES_MAX).is_ok();
    trace.claim = match is_small && check_caller(trace).is_ok() {
        true => Claim::Correct,
        false => Claim::Unsaid,
    };
}
