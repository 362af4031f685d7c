//! Reallocations: what must become of the memory that a call replaces.
//!
//! A reallocation is a request and a free in one, and each half keeps its own rules. What is left
//! to say is little: whether the memory has to stay where it is, and how many of its bytes go along
//! if it does not.
//!
//! Whether the call may take the memory at all is a free's question, and answered with the frees.

use super::{Allocation, Want};
use std::ops::Range;

/// Live memory that a reallocation replaces.
#[derive(Clone, Debug)]
pub(crate) struct Replaced<'a> {
    /// The memory.
    pub old: &'a Allocation,
    /// Whether it must stay where it is; a heap may choose.
    pub stays: bool,
    /// The bytes that the caller finds again, and behind them those that the call leaves alone.
    pub kept: [Range<u64>; 2],
    /// The bytes that read as zero, since the caller asked for that.
    pub zeroed: Range<u64>,
}

impl<'a> Replaced<'a> {
    /// Memory that may move, of which so many bytes go along.
    pub(super) fn moved(old: &'a Allocation, want: &Want, nr_kept: u64) -> Self {
        let size = want.size.unwrap_or(0);
        let nr_kept = nr_kept.min(size);
        let zeroed = if want.wants_zero() { nr_kept..size } else { 0..0 };
        Self { old, stays: false, kept: [0..nr_kept, 0..0], zeroed }
    }
}
