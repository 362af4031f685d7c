//! `--memory`: the most that simulated machines may take, all that run at once together.
//!
//! What a trace may take is known before it runs, and what its text may take before it is parsed,
//! so whatever could take all memory of the host is refused with both numbers, and whoever has the
//! memory says so.
//!
//! How it is counted is in `crate::bound`.

use crate::bound::{Bound, TooLarge, admit};
use crate::cli::input::read_trace;
use crate::cli::output::shown;
use crate::cli::{pool, ranges};
use crate::verdict::Reading;
use crate::{Campaign, Trace};
use bytesize::ByteSize;
use std::num::NonZero;
use std::path::Path;

/// What a thread takes besides its machines: its stack, and results that wait for their turn.
const THREAD_BYTES: u64 = 4 << 20;

#[derive(clap::Args)]
pub(crate) struct MemoryOption {
    /// The most memory that simulated machines may take, those of all threads together.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = ranges::memory)]
    memory: ByteSize,
}

impl MemoryOption {
    /// Refuses a trace that may take more, in the words of its file.
    pub(crate) fn admit(
        &self,
        campaign: &Campaign,
        trace: &Trace,
        path: &Path,
    ) -> Result<(), String> {
        admit(campaign, trace, self.memory.as_u64())
            .map_err(|refusal| format!("{}: {refusal} (raise it with --memory)", shown(path)))
    }

    /// Refuses what is not made yet if it may take more, in the words of its name.
    pub(crate) fn admit_bound(&self, bound: Bound, name: &Path) -> Result<(), String> {
        let limit = self.memory.as_u64();
        let refusal = TooLarge { bound, limit };
        let message = format!("{}: {refusal} (raise it with --memory)", shown(name));
        if bound.total() <= limit { Ok(()) } else { Err(message) }
    }

    /// Reads a trace that may not take more, neither when it is read nor when it is run in the
    /// campaign that it is for.
    pub(crate) fn read<'a>(
        &self,
        path: &Path,
        reading: Reading,
        campaign: impl FnOnce(&Trace) -> &'a Campaign,
    ) -> Result<Trace, String> {
        let trace = read_trace(path, reading, self.memory.as_u64())?;
        self.admit(campaign(&trace), &trace, path).map(|()| trace)
    }

    /// How many threads may run traces of this bound: those asked for, or as many as there are
    /// cores and memory for.
    pub(crate) fn jobs(
        &self,
        asked: Option<NonZero<usize>>,
        bound: Bound,
    ) -> Result<NonZero<usize>, String> {
        let each = bound.total() + THREAD_BYTES;
        let most = usize::try_from(self.memory.as_u64() / each).unwrap_or(usize::MAX);
        let size = |bytes| ByteSize(bytes).display().iec();
        let jobs = asked.unwrap_or_else(|| pool::default_jobs().min(at_least_one(most)));
        if jobs.get() <= most {
            return Ok(jobs);
        }
        Err(format!(
            "each thread may take {} in {}, and {jobs} are too many; the bound of all is {} (raise \
             it with --memory)",
            size(each),
            bound.lanes(),
            size(self.memory.as_u64()),
        ))
    }
}

fn at_least_one(number: usize) -> NonZero<usize> {
    NonZero::new(number).unwrap_or(NonZero::<usize>::MIN)
}
