//! `--memory`: the most that the machines of one trace may take.
//!
//! The one idea: what a trace may take is known before it runs, so one that could take all memory
//! of the host is refused with both numbers, and whoever has the memory says so.
//!
//! How it is counted is in `kvroute_harness::bound`.

use crate::output::shown;
use bytesize::ByteSize;
use kvroute_harness::bound::admit;
use kvroute_harness::{Campaign, Trace};
use std::path::Path;

#[derive(clap::Args)]
pub(crate) struct MemoryOption {
    /// The most memory that the simulated machines of one trace may take.
    #[arg(long, value_name = "SIZE", default_value = "2GiB")]
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
}
