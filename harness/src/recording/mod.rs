//! Recordings of a real kernel: what tracefs, `trace-cmd report` or `perf script` print, as a trace
//! and what that kernel did with it.
//!
//! The one idea: a recording says what callers asked for *and* what the allocator did inside to
//! serve them. A trace makes only the former; a lane makes its own latter. So events nested in
//! another call are recognised and counted, addresses become registers, and beside each call of the
//! trace stands how the real kernel served it.
//!
//! What a recording cannot tell is counted, not guessed (see [`Counts`]):
//!
//! - Memory allocated before it began, and in bulk (`kmem_cache_alloc_bulk`), has no allocation
//!   event.
//! - Frees in bulk (`kfree_bulk`) have no event; they show when the address is allocated again.
//! - A cache's name stands only at its frees, so a cache of the trace is a pair of sizes. Caches of
//!   the same sizes are one here, much as the kernel merges them.
//!
//! This module runs nothing; it makes a trace for `exec` to run. Pages are of 4 KiB.
//!
//! A floor plan: `file` unpacks and `lines` splits; a `line` is an event with a head in some
//! `dialect` and with `fields`, which `event` reads (flags in `gfp`, whose numbers `kernel` knows);
//! `read` puts this together. `pages` finds the blocks under objects (by `ranges` of frames),
//! `nest` the calls inside calls, `owners` keeps what is live, `convert` and `release` write the
//! ops, `machine` sizes the machine.

mod convert;
mod converter;
mod dialect;
mod error;
mod event;
mod fields;
mod file;
mod gfp;
mod kernel;
mod line;
mod lines;
mod machine;
mod nest;
mod owners;
mod pages;
mod ranges;
mod read;
mod release;
mod tally;
#[cfg(test)]
mod test;
#[cfg(test)]
mod test_damage;
#[cfg(test)]
mod test_layouts;

use crate::words::Gfp;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

#[cfg(feature = "cli")]
pub(crate) use line::lost;

pub use error::{Problem, RecordingError};
pub use event::RecordedFree;
pub use kernel::{DEFAULT as DEFAULT_KERNEL, Kernel};
pub use machine::Peaks;

use crate::trace::Trace;

/// A recording, ready to be replayed.
#[derive(Clone)]
pub struct Recording {
    /// The calls that the recorded kernel's callers made, on a machine that has room for them.
    pub trace: Trace,
    /// For each op of the trace: how the recorded kernel served it.
    pub served: Vec<Served>,
    /// For each op of the trace: what else the recorded kernel tells of its answer.
    pub told: Vec<Told>,
    /// The blocks of pages that were seen to lie under objects.
    pub under_objects: Vec<UnderObject>,
    /// For each op of the trace: the line of the recording that it comes from.
    pub lines: Vec<u32>,
    /// What there was in the recording besides.
    pub counts: Counts,
    /// What the machine was sized for.
    pub peaks: Peaks,
    /// The recorded kernel, if its user or the recording says which it was.
    pub kernel: Option<Kernel>,
}

/// How the recorded kernel served a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Served {
    /// An object of a slab cache.
    Slab,
    /// A block of the page allocator: pages, or a large kmalloc request.
    Pages,
    /// The vmalloc space.
    Vmalloc,
    /// `ZERO_SIZE_PTR`.
    ZeroSize,
    /// Not at all: the call returned NULL.
    Refused,
    /// The call asks for no memory: a free, or the making of a cache.
    NotAnAllocation,
}

/// What a recorded kernel tells of its answer to a request, besides how it served it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The bytes that were set aside: an object's, or a block's.
    pub bytes_alloc: Option<u64>,
    /// The flags with which kvmalloc asked kmalloc first.
    pub first_try: Option<Gfp>,
}

/// A block of pages under objects: a slab, or a large kmalloc request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnderObject {
    /// The line of its allocation.
    pub line: u32,
    /// log2 of its pages.
    pub order: u8,
    /// The bytes that were set aside for the first object in it.
    pub bytes_alloc: u64,
}

/// What a recording holds, beyond the calls of its trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Lines of text.
    pub lines: u64,
    /// Allocation events.
    pub events: u64,
    /// Events of an allocator on behalf of another call, which the trace does not repeat.
    pub nested: u64,
    /// Events that were not used, by name: they have nothing to do with allocation, or are probes
    /// without the fields that are read.
    pub unknown_events: BTreeMap<String, u64>,
    /// Fields of events that were not used, as `event.field`.
    pub unused_fields: BTreeMap<String, u64>,
    /// GFP flags without a meaning here, by name; their bits are left out.
    pub unknown_flags: BTreeMap<String, u64>,
    /// GFP flags that were numbers, whose meaning depends on the recorded kernel.
    pub flags_as_numbers: u64,
    /// Lines that are the beginning of a task's name with a newline in it.
    pub split_names: u64,
    /// Allocations and frees whose address the kernel did not print (`(____ptrval____)`). The
    /// trace makes these allocations and lets go of them with the next one.
    pub hidden_addresses: u64,
    /// Events that the tracer says it lost.
    pub lost: u64,
    /// Frees of memory whose allocation is not in the recording; left out of the trace.
    pub frees_without_allocation: BTreeMap<RecordedFree, u64>,
    /// Allocations of memory that was still live: its free is not in the recording. The trace frees
    /// it at this point.
    pub missed_frees: u64,
    /// Page blocks that were freed in several calls. The trace frees them whole with the last one.
    pub split_blocks: u64,
    /// `kfree()` of memory from `kvmalloc()`. The trace calls `kvfree()`, since a lane may have
    /// served the request from the vmalloc side.
    pub kfree_of_kvmalloc: u64,
    /// Other frees by a function that does not fit the memory: the event of the right free and the
    /// next allocation were lost. The trace calls the function that fits.
    pub mismatched_frees: u64,
    /// Calls of kvmalloc or vmalloc whose return is not in the recording.
    pub calls_without_return: u64,
    /// Returns of kvmalloc or vmalloc whose call is not in the recording.
    pub returns_without_call: u64,
    /// Caches that the trace makes, one for each pair of requested and allocated size.
    pub caches: u64,
    /// Allocations still live at the end.
    pub live_at_end: u64,
    /// The address at which the recorded kernel's direct map began; `None` if the recording does
    /// not tell, and then pages under slabs count as requests of their own.
    pub direct_map_base: Option<u64>,
}

/// Whether an event of this name is a probe on one of the functions whose calls are read. It was
/// not used if it has not the fields that say what was called.
pub fn is_probe(name: &str) -> bool {
    event::probed_function(name).is_some()
}

impl Recording {
    /// Reads a file, plain or Zstandard.
    ///
    /// # Errors
    /// As [`Self::open_of`].
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        Self::open_of(path, None)
    }

    /// Reads a file of a kernel that is known; else it is taken from the recording if that says
    /// it, and [`DEFAULT_KERNEL`] decides what numbers mean if it does not.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`Self::from_bytes`].
    pub fn open_of(path: &Path, kernel: Option<Kernel>) -> Result<Self, RecordingError> {
        let read = file::open(path).and_then(|text| Self::read(text, kernel));
        read.map_err(|error| error.in_file(path))
    }

    /// Reads the bytes of a file, plain or Zstandard.
    ///
    /// # Errors
    /// If a Zstandard stream is damaged or cut short, or as [`Self::read`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordingError> {
        Self::read(file::text(bytes)?, None)
    }

    /// Reads text, of this kernel if one is given.
    ///
    /// # Errors
    /// The first line that is no line of a recording; a recording that is cut short or has no
    /// allocation event; more events or live allocations than can be replayed.
    pub fn read(text: impl BufRead, kernel: Option<Kernel>) -> Result<Self, RecordingError> {
        convert::convert(read::read_text(text, kernel)?)
    }

    /// Reads text that is in memory.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        Self::read(text.as_bytes(), None)
    }
}
