//! A trace: the machine to build and the calls to make on it.
//!
//! The one idea: a trace is the whole test case. Everything that could be random (routes, injected
//! failures, the size of the machine, the order in which free blocks are split) is written in it,
//! so the same trace gives the same verdict everywhere and for ever.
//!
//! Reading and writing the text form is in `text`; what a trace does is in `exec`.

use crate::op::Op;

/// The machine that a trace runs on: the header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Page frames.
    pub frames: u32,
    /// Pages of the vmalloc space.
    pub vmalloc_pages: u32,
    /// Frames that only entitled requests may take (the min watermark, R3.6).
    pub min_free: u32,
    /// Seed of the order in which the page allocator splits blocks; 0 splits in address order.
    pub shuffle: u32,
    /// The version of kvmalloc: its place in [`POLICIES`].
    pub policy: u32,
    /// Pages of the largest kvmalloc that never falls back; 0 leaves it to the version.
    pub cutoff: u32,
    /// CPUs.
    pub cpus: u32,
    /// Nodes, which share the frames.
    pub nodes: u32,
    /// The most pages of each node that each CPU keeps for itself.
    pub pcp_high: u32,
    /// Percent of the free frames that are single holes when the trace begins, the buddy of each
    /// held for ever (R8.3).
    pub fragmented: u32,
    /// Bytes that an allocator which is not Linux' is given at first; 0 for all of the frames.
    pub region_bytes: u32,
    /// How many bytes behind the start of a page those begin.
    pub region_offset: u32,
}

/// The versions of kvmalloc (R5.7) by name, the oldest first. Subjects and model know a version by
/// its name, so that one may be put in between.
pub const POLICIES: &[&str] = &[
    "rfc2016", "v4.12", "v4.18", "v5.15", "v5.17", "v6.1", "v6.12", "v6.16", "v6.18", "v6.19",
    "latest",
];

impl Default for Machine {
    fn default() -> Self {
        Self {
            frames: 2048,
            vmalloc_pages: 4096,
            min_free: 16,
            shuffle: 1,
            policy: Self::policy_named("v6.1"),
            cutoff: 0,
            cpus: 1,
            nodes: 1,
            pcp_high: 0,
            fragmented: 0,
            region_bytes: 0,
            region_offset: 0,
        }
    }
}

impl Machine {
    /// The place of a version in [`POLICIES`].
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn policy_named(name: &str) -> u32 {
        let place = POLICIES.iter().position(|known| *known == name);
        place.unwrap_or_else(|| panic!("no version is called {name}")) as u32
    }

    /// The name of the machine's version of kvmalloc.
    pub fn policy_name(&self) -> &'static str {
        POLICIES[self.policy as usize]
    }
}

/// The smallest and the largest value that each field of [`Machine`] may have.
pub struct Limits;

impl Limits {
    /// Frames: 256 KiB to 1 GiB of memory.
    pub const FRAMES: (u32, u32) = (64, 1 << 18);
    /// Pages of vmalloc space: up to 16 GiB.
    pub const VMALLOC_PAGES: (u32, u32) = (16, 1 << 22);
    /// The last version in [`POLICIES`].
    pub const POLICY: (u32, u32) = (0, POLICIES.len() as u32 - 1);
    /// A cutoff in pages; with the largest, kvmalloc never falls back.
    pub const CUTOFF: (u32, u32) = (0, 1 << 18);
    /// Pages that a CPU keeps.
    pub const PCP_HIGH: (u32, u32) = (0, 1 << 12);
    /// Bytes of a region: at most what there are frames for.
    pub const REGION_BYTES: (u32, u32) = (0, 1 << 30);
    /// A place in a page.
    pub const REGION_OFFSET: (u32, u32) = (0, 4095);
    /// A share of the free frames.
    pub const FRAGMENTED: (u32, u32) = (0, 100);
}

/// What the header says of the calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// Nothing.
    #[default]
    Unsaid,
    /// They are what a correct caller does: on every route no call is wrong, and all is freed.
    Correct,
}

/// A test case.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// The comment lines before the header: why the trace exists. Without the leading `#`.
    pub why: Vec<String>,
    /// The machine.
    pub machine: Machine,
    /// What the header says of the calls. Nothing believes it: it is for people, and the corpus is
    /// held to it.
    pub claim: Claim,
    /// The calls in order.
    pub ops: Vec<Op>,
    /// Lines of a fuzzer's input that meant nothing and were dropped; not part of the text.
    pub nr_dropped_lines: u32,
    /// Fields of such an input's header that ask for more or less than a fuzzer's machine has, and
    /// were brought within its limits; not part of the text either.
    pub nr_clamped_fields: u32,
}

impl Trace {
    /// The machine and the calls alone: its text is a line for that and one for each of those.
    pub(crate) fn bare(&self) -> Self {
        Self { why: Vec::new(), claim: Claim::Unsaid, ..self.clone() }
    }
}
