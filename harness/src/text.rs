//! The text form of a trace: the one format that people, the fuzzer and the corpus share.
//!
//! The one idea: the tables say which words exist and this module only knows the punctuation. Calls
//! and their arguments come from [`CALLS`](crate::call::CALLS), flags from `GFP_NAMES`, classes
//! from `CLASSES`, and what stands in parentheses from [`FAULT_SITES`] and [`MACHINE_FIELDS`] here.
//!
//! ```text
//! # kvfree() must accept memory from either side.
//! machine (frames: 2048, vmalloc_pages: 4096, min_free: 16, shuffle: 0x1)
//! r0 = kvmalloc(0x3000, GFP_KERNEL|__GFP_ZERO) (route: vmalloc, fail_nth: 1)
//! kvfree(r0+0x8)                                    # -> Interior
//! ```
//!
//! A file that a person names is read strictly ([`Trace::parse`](crate::trace::Trace::parse)); the
//! fuzzer's input is read leniently ([`Trace::parse_lenient`](crate::trace::Trace::parse_lenient)).
//! This module does not judge whether a trace makes sense.

mod arguments;
mod cursor;
mod parse;
mod print;
#[cfg(test)]
mod test;
mod words;

use crate::op::Faults;
use crate::trace::{Limits, Machine, POLICIES, Trace};
use crate::words::{Current, NR_CPUS, NR_NODES, NR_TASKS};
use arbitrary::{Arbitrary, Unstructured};

pub use words::ParseError;

/// The most ops that the lenient reader keeps, so that no input takes for ever.
pub const MAX_FUZZ_OPS: usize = 1024;

/// The largest order that can be written. The allocator refuses all but the first few.
pub const MAX_ORDER_WRITTEN: u64 = 255;

/// The line of the header that says that a trace is a correct caller.
pub const CORRECT_CALLER: &str = "caller (correct)";

/// A fault site: the name of its property, and the place of its count.
#[derive(Debug)]
pub struct FaultSite {
    /// The property.
    pub name: &'static str,
    /// The count, to read.
    pub of: fn(&Faults) -> u16,
    /// The count, to write.
    pub of_mut: fn(&mut Faults) -> &mut u16,
}

/// Every fault site, in the order in which they are printed.
pub static FAULT_SITES: &[FaultSite] = &[
    FaultSite { name: "fail_nth", of: |f| f.any, of_mut: |f| &mut f.any },
    FaultSite { name: "failslab", of: |f| f.slab, of_mut: |f| &mut f.slab },
    FaultSite { name: "fail_page_alloc", of: |f| f.page_alloc, of_mut: |f| &mut f.page_alloc },
    FaultSite { name: "fail_vmap", of: |f| f.vmap, of_mut: |f| &mut f.vmap },
];

/// A number that says who makes a call: its property, and where it is kept.
#[derive(Debug)]
pub struct CallerField {
    /// The property.
    pub name: &'static str,
    /// The number, to read.
    pub of: fn(&Current) -> u8,
    /// The number, to write.
    pub of_mut: fn(&mut Current) -> &mut u8,
    /// One more than the largest number.
    pub end: u8,
}

/// Every such number, in the order in which they are printed.
pub static CALLER_FIELDS: &[CallerField] = &[
    CallerField { name: "task", of: |c| c.task, of_mut: |c| &mut c.task, end: NR_TASKS as u8 },
    CallerField { name: "cpu", of: |c| c.cpu, of_mut: |c| &mut c.cpu, end: NR_CPUS as u8 },
    CallerField { name: "killed", of: |c| c.killed, of_mut: |c| &mut c.killed, end: 2 },
];

/// A field of the header line.
#[derive(Debug)]
pub struct MachineField {
    /// The name in the header.
    pub name: &'static str,
    /// The field, to read.
    pub of: fn(&Machine) -> u32,
    /// The field, to write.
    pub of_mut: fn(&mut Machine) -> &mut u32,
    /// The smallest and the largest value of a trace that a person names.
    pub limits: (u32, u32),
    /// The same for an input of the fuzzer, which must not ask for a giant machine.
    pub fuzz_limits: (u32, u32),
    /// How a value is written.
    pub written: Written,
    /// Whether the header always has the field, or only where it is not at its default.
    pub shown: Shown,
    /// To whom it means something.
    pub whose: Whose,
}

impl MachineField {
    /// Whether it means something to Linux, or to others.
    pub(crate) fn concerns(&self, side: Whose) -> bool {
        self.whose == Whose::All || self.whose == side
    }
}

/// How the value of a field of the header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// As a number that counts something.
    Decimal,
    /// As a pattern of bits.
    Hexadecimal,
    /// As the name in its place.
    Name(&'static [&'static str]),
}

/// When a field of the header is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// In every header, so that a trace means the same when the default machine changes.
    Always,
    /// Where it differs from its default, which will not change.
    IfSet,
}

/// The allocators to which a field of the header means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Every one.
    All,
    /// Linux.
    Linux,
    /// Those that are not Linux.
    Foreign,
}

/// Every field of the header, in the order in which they are printed. `min_free` may not exceed
/// `frames` on top of its own limits.
pub static MACHINE_FIELDS: &[MachineField] = &[
    MachineField {
        name: "frames",
        of: |m| m.frames,
        of_mut: |m| &mut m.frames,
        limits: Limits::FRAMES,
        fuzz_limits: (64, 16384),
        written: Written::Decimal,
        shown: Shown::Always,
        whose: Whose::All,
    },
    MachineField {
        name: "vmalloc_pages",
        of: |m| m.vmalloc_pages,
        of_mut: |m| &mut m.vmalloc_pages,
        limits: Limits::VMALLOC_PAGES,
        // A little beyond a GiB, where a page table of the level above ends.
        fuzz_limits: (16, (1 << 18) + (1 << 14)),
        written: Written::Decimal,
        shown: Shown::Always,
        whose: Whose::Linux,
    },
    MachineField {
        name: "min_free",
        of: |m| m.min_free,
        of_mut: |m| &mut m.min_free,
        limits: (0, Limits::FRAMES.1),
        fuzz_limits: (0, 4096),
        written: Written::Decimal,
        shown: Shown::Always,
        whose: Whose::Linux,
    },
    MachineField {
        name: "shuffle",
        of: |m| m.shuffle,
        of_mut: |m| &mut m.shuffle,
        limits: (0, u32::MAX),
        fuzz_limits: (0, u32::MAX),
        written: Written::Hexadecimal,
        shown: Shown::Always,
        whose: Whose::Linux,
    },
    MachineField {
        name: "policy",
        of: |m| m.policy,
        of_mut: |m| &mut m.policy,
        limits: Limits::POLICY,
        fuzz_limits: Limits::POLICY,
        written: Written::Name(POLICIES),
        shown: Shown::IfSet,
        whose: Whose::Linux,
    },
    MachineField {
        name: "cutoff",
        of: |m| m.cutoff,
        of_mut: |m| &mut m.cutoff,
        limits: Limits::CUTOFF,
        fuzz_limits: Limits::CUTOFF,
        written: Written::Decimal,
        shown: Shown::IfSet,
        whose: Whose::Linux,
    },
    MachineField {
        name: "cpus",
        of: |m| m.cpus,
        of_mut: |m| &mut m.cpus,
        limits: (1, NR_CPUS as u32),
        fuzz_limits: (1, NR_CPUS as u32),
        written: Written::Decimal,
        shown: Shown::IfSet,
        whose: Whose::Linux,
    },
    MachineField {
        name: "nodes",
        of: |m| m.nodes,
        of_mut: |m| &mut m.nodes,
        limits: (1, NR_NODES as u32),
        fuzz_limits: (1, NR_NODES as u32),
        written: Written::Decimal,
        shown: Shown::IfSet,
        whose: Whose::Linux,
    },
    MachineField {
        name: "pcp_high",
        of: |m| m.pcp_high,
        of_mut: |m| &mut m.pcp_high,
        limits: Limits::PCP_HIGH,
        fuzz_limits: Limits::PCP_HIGH,
        written: Written::Decimal,
        shown: Shown::IfSet,
        whose: Whose::Linux,
    },
    MachineField {
        name: "fragmented",
        of: |m| m.fragmented,
        of_mut: |m| &mut m.fragmented,
        limits: Limits::FRAGMENTED,
        fuzz_limits: Limits::FRAGMENTED,
        written: Written::Decimal,
        shown: Shown::IfSet,
        whose: Whose::Linux,
    },
    MachineField {
        name: "region_bytes",
        of: |m| m.region_bytes,
        of_mut: |m| &mut m.region_bytes,
        limits: Limits::REGION_BYTES,
        fuzz_limits: (0, 1 << 26),
        written: Written::Hexadecimal,
        shown: Shown::IfSet,
        whose: Whose::Foreign,
    },
    MachineField {
        name: "region_offset",
        of: |m| m.region_offset,
        of_mut: |m| &mut m.region_offset,
        limits: Limits::REGION_OFFSET,
        fuzz_limits: Limits::REGION_OFFSET,
        written: Written::Hexadecimal,
        shown: Shown::IfSet,
        whose: Whose::Foreign,
    },
];

/// Brings every field of the header within what an input of the fuzzer may ask for.
pub fn clamp_machine(machine: &mut Machine) {
    for field in MACHINE_FIELDS {
        let value = (field.of_mut)(machine);
        *value = (*value).clamp(field.fuzz_limits.0, field.fuzz_limits.1);
    }
    machine.min_free = machine.min_free.min(machine.frames);
}

/// The fuzzer's input is the text itself, so every byte string is a trace.
impl<'a> Arbitrary<'a> for Trace {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let rest = u.bytes(u.len())?;
        Ok(Trace::parse_lenient(rest))
    }

    fn arbitrary_take_rest(u: Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Trace::parse_lenient(u.take_rest()))
    }

    fn size_hint(_depth: usize) -> (usize, Option<usize>) {
        (0, None)
    }
}
