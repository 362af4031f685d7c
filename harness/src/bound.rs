//! How much of the host's memory a trace may take, known before anything is booted.
//!
//! The one idea: a simulated frame takes memory only once it is written in pieces, so the bound of
//! a lane is the smaller of two sums: what all its frames would take, and what its ops can write. A
//! large machine for a short trace is cheap, and a trace that could fill its machine is counted as
//! if it did.
//!
//! An allocator that is not Linux' owns its bytes, and so takes them all at once, and twice: poison
//! under real memory, or room in which a list of them grows.
//!
//! What the machines of ended traces took is kept for the next ones and is not more than the
//! largest bound of them. The program itself, and the text that a trace was read from, come on top.

use crate::call::{Role, Yields};
use crate::campaign::Campaign;
use crate::churn;
use crate::generate;
use crate::lane::IMITATED_BYTES_MAX;
use crate::model::Allocation;
use crate::model::linux::rules::KMALLOC_MAX;
use crate::op::{Arg, Op};
use crate::text::Whose;
use crate::trace::{Machine, Trace};
use crate::words::gfp::__GFP_NOFAIL;
use std::fmt;

/// Bytes in a page.
const PAGE: u64 = 4096;
/// What the bytes of a frame take, with the host allocator's own word or two.
const FRAME_BYTES: u64 = PAGE + 16;
/// What is kept of a frame besides: what it shows, who uses it, and whether it is held for ever
/// while a machine is fragmented.
const FRAME_NOTES_BYTES: u64 = 16 + 4 + 8;
/// An entry of the simulated page table.
const TABLE_ENTRY_BYTES: u64 = 4;
/// The frames that an op may write in pieces, however little it asks for: all of a slab whose
/// objects a constructor writes, slabs of descriptors, and page tables.
const OP_FRAMES: u64 = 24;
/// What a lane's book keeps of an allocation and of an area that waits for its purge: an entry in a
/// tree whose nodes are half full, and a copy of what the allocator left in the memory.
const BOOK_BYTES: u64 = 2 * size_of::<Allocation>() as u64 + 512;
/// What the bytes of an allocator that owns them are rounded up by, to an alignment and a number of
/// frames, and its red zones.
const ROUNDED_BYTES: u64 = 5 << 20;
/// The most allocations that are live at once, one for each register, and as many areas that wait.
const NR_ENTRIES_MAX: u64 = 2 << 16;

/// What a trace may take, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of each lane.
    pub lane: u64,
    /// The number of lanes.
    pub nr_lanes: u64,
    /// Of the list of ops.
    pub ops: u64,
}

impl Bound {
    /// The bound of a trace down the lanes of a campaign.
    pub fn of(campaign: &Campaign, trace: &Trace) -> Self {
        let any = Self::of_any(campaign, &trace.machine, trace.ops.len());
        let all = machine_bytes(&trace.machine, trace.machine.frames.into());
        let written = match owns_bytes(campaign) {
            false => machine_bytes(&trace.machine, frames_written(trace)),
            true => all,
        };
        Self { lane: any.lane - all + written, ..any }
    }

    /// The bound of any trace of so many ops down the lanes of a campaign, on a machine that is no
    /// larger than this.
    pub fn of_any(campaign: &Campaign, machine: &Machine, nr_ops: usize) -> Self {
        let (nr_ops, frames) = (nr_ops as u64, u64::from(machine.frames));
        Self {
            lane: machine_bytes(machine, frames)
                + nr_ops.min(NR_ENTRIES_MAX) * BOOK_BYTES
                + if owns_bytes(campaign) { own_bytes(frames, nr_ops) } else { 0 },
            nr_lanes: campaign.lanes.len() as u64,
            // A list may have grown to twice what it holds.
            ops: nr_ops * 2 * size_of::<Op>() as u64,
        }
    }

    /// The bound of what a campaign generates.
    pub fn of_generated(campaign: &Campaign) -> Self {
        let nr_acts_max = if campaign.churns.is_empty() { 0 } else { churn::NR_ACTS_MAX };
        let nr_ops_max = campaign.profile.nr_ops_max().max(nr_acts_max);
        Self::of_any(campaign, &generate::largest_machine(), nr_ops_max)
    }

    /// The number of lanes, in words.
    pub fn lanes(self) -> String {
        format!("{} {}", self.nr_lanes, if self.nr_lanes == 1 { "lane" } else { "lanes" })
    }

    /// Of all lanes and the ops together.
    pub fn total(self) -> u64 {
        self.nr_lanes * self.lane + self.ops
    }
}

/// What the ops of a text may take before anything is known of them: each line may be one, and what
/// is no op is kept as a comment or dropped.
pub fn text_bytes(text: &[u8]) -> u64 {
    let nr_lines = text.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    2 * text.len() as u64 + nr_lines * 2 * size_of::<Op>() as u64
}

/// What a machine of which so many frames were written in pieces takes.
fn machine_bytes(machine: &Machine, frames: u64) -> u64 {
    frames * FRAME_BYTES
        + u64::from(machine.frames) * FRAME_NOTES_BYTES
        + u64::from(machine.vmalloc_pages) * TABLE_ENTRY_BYTES
}

/// Whether the allocators of a campaign own their bytes: those that are not Linux'.
fn owns_bytes(campaign: &Campaign) -> bool {
    campaign.profile.calls.whose() == Whose::Foreign
}

/// What a lane of such an allocator takes besides: its bytes once more, and copies of those that
/// its blocks imitate. Live blocks lie apart, so all of them have no more bytes than the machine.
fn own_bytes(frames: u64, nr_ops: u64) -> u64 {
    let imitated = nr_ops.saturating_mul(IMITATED_BYTES_MAX).min(frames * PAGE);
    frames * PAGE + ROUNDED_BYTES + imitated
}

/// The most frames that a trace can have written in pieces.
fn frames_written(trace: &Trace) -> u64 {
    let all = u64::from(trace.machine.frames);
    // What cannot be had at once is tried again and again, each time with other frames perhaps.
    let may_wait =
        |op: &Op| op.args.iter().any(|arg| matches!(arg, Arg::Gfp(gfp) if gfp.has(__GFP_NOFAIL)));
    if trace.ops.iter().any(may_wait) {
        return all;
    }
    // Of the caches that may come to be; a constructor writes over whole slabs.
    let makes_cache = |op: &&Op| op.call.spec().yields == Yields::Cache;
    let objects = trace.ops.iter().filter(makes_cache).map(asked);
    let largest_object = objects.filter(|bytes| *bytes <= KMALLOC_MAX).max().unwrap_or(0);
    // Descriptors of all frames, and the roots of the page tables.
    let own = all / 128 + u64::from(trace.machine.vmalloc_pages) / (512 * 512) + OP_FRAMES;
    let by_op = |op: &Op| {
        let takes_object = op.args.iter().any(|arg| matches!(arg, Arg::Cache(_)));
        let bytes = if takes_object { largest_object } else { asked(op) };
        // Sizes are rounded up to a power of two of pages; more than the machine has is refused.
        let pages = bytes.div_ceil(PAGE).min(all).next_power_of_two();
        // Page tables and page arrays take two words for each page.
        pages + pages / 64 + OP_FRAMES
    };
    trace.ops.iter().map(by_op).fold(own, u64::saturating_add).min(all)
}

/// The bytes that an op asks for.
fn asked(op: &Op) -> u64 {
    let args = op.args.iter().zip(op.call.spec().args);
    args.fold(1, |bytes: u64, (arg, (_, kind))| match (arg, kind) {
        (Arg::Number(number), Role::Size | Role::Count) => bytes.saturating_mul(*number),
        (Arg::Number(order), Role::Order) => bytes.saturating_mul(PAGE << (*order).min(20)),
        _ => bytes,
    })
}

/// A trace whose machines may take more than they are allowed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// What it may take.
    pub bound: Bound,
    /// What is allowed, in bytes.
    pub limit: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes| bytesize::ByteSize(bytes).display().iec();
        let Self { bound, limit } = self;
        write!(f, "this machine and its trace may take {}", size(bound.total()))?;
        write!(f, " in {}; the bound is {}", bound.lanes(), size(*limit))
    }
}

/// Lets a trace pass that cannot take more than `limit` bytes.
///
/// # Errors
/// [`TooLarge`] with both numbers.
pub fn admit(campaign: &Campaign, trace: &Trace, limit: u64) -> Result<(), TooLarge> {
    let bound = Bound::of(campaign, trace);
    if bound.total() <= limit { Ok(()) } else { Err(TooLarge { bound, limit }) }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::campaign::{CAMPAIGNS, HEAP, REPLAY, ROUTED};
    use crate::generate::generate;
    use crate::subject::alloc_core::take_frames_kept;
    use crate::text::{MACHINE_FIELDS, MAX_FUZZ_OPS};
    use crate::trace::Limits;

    fn trace(text: &str) -> Trace {
        Trace::parse(text).expect("a trace")
    }

    /// The most that a trace of any length on any legal machine may take in one lane.
    fn largest_lane(campaign: &Campaign) -> u64 {
        let (frames, vmalloc_pages) = (Limits::FRAMES.1, Limits::VMALLOC_PAGES.1);
        let machine = Machine { frames, vmalloc_pages, ..Machine::default() };
        Bound::of_any(campaign, &machine, 1 << 30).lane
    }

    /// The most frames that any lane took for a trace.
    fn frames_taken(campaign: &Campaign, trace: &Trace) -> u64 {
        take_frames_kept();
        crate::check(campaign, trace).expect("no oracle objects");
        take_frames_kept().into_iter().max().unwrap_or(0)
    }

    #[test]
    fn no_generated_trace_takes_more_frames_than_its_bound() {
        for campaign in CAMPAIGNS {
            for seed in 0..100 {
                let mut trace = generate(&campaign.profile, &mut fastrand::Rng::with_seed(seed));
                // Short traces are the ones whose bound is not all of their machine.
                trace.ops.truncate(20);
                trace.machine.frames = trace.machine.frames.max(2048);
                let (taken, bound) = (frames_taken(campaign, &trace), frames_written(&trace));
                assert!(taken <= bound, "{} {seed}: {taken} of {bound}", campaign.name);
            }
        }
    }

    #[test]
    fn no_generated_trace_is_larger_than_the_largest() {
        for campaign in CAMPAIGNS {
            for seed in 0..3000 {
                let trace = generate(&campaign.profile, &mut fastrand::Rng::with_seed(seed));
                let (bound, most) = (Bound::of(campaign, &trace), Bound::of_generated(campaign));
                assert!(bound.total() <= most.total(), "{} {seed}", campaign.name);
                assert!(trace.machine.frames <= generate::largest_machine().frames);
            }
        }
    }

    #[test]
    fn memory_that_begins_in_the_middle_of_a_page_is_written_in_pieces() {
        let trace = trace("machine (frames: 16384)\nr0 = memblock_alloc(0x1000008, 8)\n");
        let (taken, bound) = (frames_taken(&ROUTED, &trace), frames_written(&trace));
        assert!((4097..=bound).contains(&taken) && bound < 16384, "{taken} of {bound}");
    }

    #[test]
    fn a_constructor_writes_over_the_largest_slabs() {
        let make = "machine (frames: 16384)\nc0 = kmem_cache_create(0x3ffff0, 8, 0, 0x6b)\n";
        let objects = (0..3).map(|r| format!("r{r} = kmem_cache_alloc(c0, GFP_KERNEL)\n"));
        let trace = trace(&(make.to_owned() + &objects.collect::<String>()));
        let (taken, bound) = (frames_taken(&ROUTED, &trace), frames_written(&trace));
        assert!((2048..=bound).contains(&taken), "{taken} of {bound}");
    }

    #[test]
    fn a_full_machine_is_counted_whole_and_a_short_trace_by_its_ops() {
        let header = "machine (frames: 262144, vmalloc_pages: 4194304)\n";
        let short = trace(&format!("{header}r0 = vmalloc(0x40000000)\nr1 = kmalloc(8, 0)\n"));
        assert_eq!(frames_written(&short), 1 << 18);
        let small = trace(&format!("{header}r1 = kmalloc(8, 0)\n"));
        assert!(frames_written(&small) < 3000);
        assert!(admit(&REPLAY, &small, 256 << 20).is_ok());
        let refusal = admit(&ROUTED, &short, 2 << 30).expect_err("four lanes of a GiB each");
        assert_eq!(
            refusal.to_string(),
            "this machine and its trace may take 4.1 GiB in 4 lanes; the bound is 2.0 GiB"
        );
    }

    #[test]
    fn a_request_that_waits_may_write_every_frame() {
        let waits = trace("machine (frames: 65536)\nr0 = kmalloc(8, GFP_KERNEL|__GFP_NOFAIL)\n");
        assert_eq!(frames_written(&waits), 65536);
    }

    #[test]
    fn no_lane_takes_more_than_the_stated_bound() {
        // 1.2 GiB and 3.2 GiB, as the reference of the trace language states.
        assert!(largest_lane(&ROUTED) < (12 << 30) / 10);
        assert!(largest_lane(&HEAP) < (32 << 30) / 10);
        // And 80 MiB and 220 MiB for an input of the fuzzer.
        let mut machine = Machine::default();
        MACHINE_FIELDS.iter().for_each(|field| *(field.of_mut)(&mut machine) = field.fuzz_limits.1);
        let lane = |campaign| Bound::of_any(campaign, &machine, MAX_FUZZ_OPS).lane;
        assert!(lane(&ROUTED) < 80 << 20, "{}", lane(&ROUTED));
        assert!(lane(&HEAP) < 220 << 20, "{}", lane(&HEAP));
    }
}
