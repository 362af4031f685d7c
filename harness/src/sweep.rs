//! What kvmalloc costs when its cutoff is another, and when memory is fragmented.
//!
//! 'different places have different cutoff thresholds for switch from kmalloc to vmalloc; has
//! anyone done an analysis of those?' (the RFC of 2016). All of them lie on one line ([`CUTOFFS`]),
//! from vmalloc at once above a page to kmalloc alone, with Linux in the middle; a trace is run
//! once for each, on the same machine in the same shape.
//!
//! Every run is judged by all oracles. Which cutoff is good is said nowhere here.

use crate::call::Role;
use crate::campaign::SWEEP;
use crate::exec::{self, Expectations};
use crate::op::{Arg, Class, Op};
use crate::stats::{LaneStats, Stats};
use crate::trace::{Limits, Trace};
use crate::verdict::Failure;
use crate::words::Route;
use serde::Serialize;

/// Bytes in a page.
const PAGE: u64 = 4096;

/// Where a caller switches from kmalloc to vmalloc, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// Larger requests go to vmalloc without a try of kmalloc; smaller ones as in Linux.
    AtOnceAbove(u32),
    /// Larger requests fall back to vmalloc when kmalloc has nothing; smaller ones do not. Linux's
    /// is one page.
    FallbackAbove(u32),
    /// kmalloc alone.
    Never,
}

/// All cutoffs, from the most vmalloc to none.
pub const CUTOFFS: &[Cutoff] = &[
    Cutoff::AtOnceAbove(1),
    Cutoff::AtOnceAbove(2),
    Cutoff::AtOnceAbove(4),
    Cutoff::AtOnceAbove(8),
    Cutoff::AtOnceAbove(16),
    Cutoff::AtOnceAbove(32),
    Cutoff::AtOnceAbove(64),
    Cutoff::FallbackAbove(1),
    Cutoff::FallbackAbove(2),
    Cutoff::FallbackAbove(4),
    Cutoff::FallbackAbove(8),
    Cutoff::FallbackAbove(16),
    Cutoff::FallbackAbove(32),
    Cutoff::FallbackAbove(64),
    Cutoff::Never,
];

/// Percent of the free frames that are single holes.
pub const LEVELS: &[u32] = &[0, 25, 50, 75, 90];

impl Cutoff {
    /// How people read it.
    pub fn name(self) -> String {
        match self {
            Cutoff::AtOnceAbove(pages) => format!("at once above {pages}"),
            Cutoff::FallbackAbove(1) => "Linux: fallback above 1".to_owned(),
            Cutoff::FallbackAbove(pages) => format!("fallback above {pages}"),
            Cutoff::Never => "never".to_owned(),
        }
    }
}

/// What a trace, or many, cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Costs {
    /// kvmalloc requests above a page that the machine's memory could hold.
    pub requests: u64,
    /// Those that vmalloc served.
    pub vmalloc: u64,
    /// Those that nobody served.
    pub failed: u64,
    /// Other requests that found no memory or no space.
    pub others_failed: u64,
    /// Page tables of the vmalloc space, at the end.
    pub page_tables: u64,
    /// Flushes of cached translations.
    pub tlb_flushes: u64,
    /// Rounds of direct reclaim.
    pub reclaim_rounds: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// The smallest of the largest free orders left behind; none if no frame was.
    pub largest_order: Option<u32>,
}

/// A kind of cost, as tables and figures show it.
pub struct Column {
    /// What it is.
    pub name: &'static str,
    /// The number, if there is one.
    pub of: fn(&Costs) -> Option<f64>,
    /// Decimals worth showing.
    decimals: usize,
}

/// Every kind of cost.
pub static COLUMNS: &[Column] = &[
    Column { name: "requests served by vmalloc, percent", of: Costs::vmalloc_share, decimals: 1 },
    Column { name: "page tables at the end", of: |c| Some(c.page_tables as f64), decimals: 0 },
    Column { name: "TLB flushes", of: |c| Some(c.tlb_flushes as f64), decimals: 0 },
    Column { name: "rounds of direct reclaim", of: |c| Some(c.reclaim_rounds as f64), decimals: 0 },
    Column { name: "OOM kills", of: |c| Some(c.oom_kills as f64), decimals: 0 },
    Column { name: "requests that failed", of: |c| Some(c.failed as f64), decimals: 0 },
    Column {
        name: "other requests that failed",
        of: |c| Some(c.others_failed as f64),
        decimals: 0,
    },
    Column { name: "largest free order left", of: |c| c.largest_order.map(f64::from), decimals: 0 },
];

impl Column {
    /// The number as a cell of a table.
    pub fn show(&self, costs: &Costs) -> String {
        (self.of)(costs).map_or("none".to_owned(), |value| format!("{value:.*}", self.decimals))
    }
}

impl Costs {
    fn vmalloc_share(&self) -> Option<f64> {
        (self.requests > 0).then(|| 100.0 * self.vmalloc as f64 / self.requests as f64)
    }

    /// Adds what another trace cost; the first has nothing to be compared with.
    pub fn add(sum: Option<Self>, other: Self) -> Self {
        let Some(sum) = sum else { return other };
        Self {
            requests: sum.requests + other.requests,
            vmalloc: sum.vmalloc + other.vmalloc,
            failed: sum.failed + other.failed,
            others_failed: sum.others_failed + other.others_failed,
            page_tables: sum.page_tables + other.page_tables,
            tlb_flushes: sum.tlb_flushes + other.tlb_flushes,
            reclaim_rounds: sum.reclaim_rounds + other.reclaim_rounds,
            oom_kills: sum.oom_kills + other.oom_kills,
            largest_order: sum.largest_order.min(other.largest_order),
        }
    }
}

/// What else runs on the machine, in shares of the memory that the trace has for itself: page
/// cache of each kind and a few processes, for reclaim and the OOM killer to take.
const OTHERS: [(&str, u32); 6] = [
    ("add_to_page_cache({}, 0)", 4),
    ("add_to_page_cache({}, __GFP_IO)", 8),
    ("add_to_page_cache({}, __GFP_FS)", 8),
    ("start_process({})", 16),
    ("start_process({})", 16),
    ("start_process({})", 16),
];

/// The trace under a cutoff, on a machine with as much free memory as its own and with
/// `fragmented` percent of that in single holes. Other users of memory fill single holes too, so
/// that what is taken from them makes no large blocks.
pub fn prepare(trace: &Trace, cutoff: Cutoff, fragmented: u32) -> Trace {
    let mut trace = trace.clone();
    let machine = &mut trace.machine;
    let own = machine.frames;
    let others = OTHERS.map(|(call, share)| (call, own / share));
    let nr_others: u32 = others.iter().map(|(_, nr_pages)| nr_pages).sum();
    let holes = u64::from(own) * u64::from(fragmented) / 100 + u64::from(nr_others);
    // As many frames are held as there are holes, and they are taken off what the trace needs.
    let frames = u64::from(own) + u64::from(nr_others) + holes;
    machine.frames = frames.min(Limits::FRAMES.1.into()) as u32;
    machine.fragmented = (holes * 100).div_ceil(u64::from(own + nr_others)) as u32;
    machine.cutoff = match cutoff {
        Cutoff::AtOnceAbove(_) => 0,
        Cutoff::FallbackAbove(pages) => pages,
        Cutoff::Never => Limits::CUTOFF.1,
    };
    for op in trace.ops.iter_mut().filter(|op| op.call.spec().traits.routed) {
        op.route = match cutoff {
            Cutoff::AtOnceAbove(pages) if size(op) > u64::from(pages) * PAGE => Route::Vmalloc,
            _ => Route::Policy,
        };
    }
    let others = others.into_iter().filter(|(_, nr_pages)| *nr_pages > 0);
    let others = others.map(|(call, nr_pages)| call.replace("{}", &nr_pages.to_string()));
    let others = others.collect::<Vec<_>>().join("\n");
    trace.ops.splice(0..0, Trace::parse(&others).expect("OTHERS are ops").ops);
    trace
}

/// Runs a prepared trace and counts what it cost.
///
/// # Errors
/// The first objection of an oracle.
pub fn run(trace: &Trace) -> Result<Costs, Box<Failure>> {
    let mut costs = Costs::default();
    let memory = u64::from(trace.machine.frames) * PAGE;
    let mut ops = trace.ops.iter();
    let stats = exec::watch(&SWEEP, trace, Expectations::Ignored, |views| {
        if let (Some(op), Some(class)) = (ops.next(), views[0].class) {
            costs.count(op, class, memory);
        }
    })?;
    costs.settle(&stats);
    Ok(costs)
}

impl Costs {
    fn count(&mut self, op: &Op, class: Class, memory: u64) {
        use Class::{Blocked, Deadlock, NoMemory, NoSpace, TooLarge, Vmalloc};
        let failed = matches!(class, NoMemory | NoSpace | Blocked | Deadlock);
        if !op.call.spec().traits.routed {
            self.others_failed += u64::from(failed);
        } else if (PAGE + 1..=memory).contains(&size(op)) {
            self.requests += 1;
            self.vmalloc += u64::from(class == Vmalloc);
            self.failed += u64::from(failed || class == TooLarge);
        }
    }

    fn settle(&mut self, stats: &Stats) {
        let LaneStats { at_boot, left, .. } = &stats.lanes[0];
        let largest = left.nr_free_blocks.iter().rposition(|nr| *nr > 0);
        self.largest_order = largest.map(|order| order as u32);
        self.page_tables = left.nr_page_table_pages;
        self.tlb_flushes = left.nr_tlb_flushes - at_boot.nr_tlb_flushes;
        self.reclaim_rounds = stats.effort.nr_reclaim_rounds;
        self.oom_kills = stats.effort.nr_oom_kills;
    }
}

/// The bytes that a request asks for; of an array whose size does not fit, more than there are.
fn size(op: &Op) -> u64 {
    let numbers = op.call.spec().args.iter().zip(&op.args);
    numbers.fold(1, |bytes: u64, ((_, kind), arg)| match (kind, arg) {
        (Role::Size | Role::Count, Arg::Number(number)) => bytes.saturating_mul(*number),
        _ => bytes,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    fn costs(cutoff: Cutoff, fragmented: u32) -> Costs {
        let text = "machine (frames: 256, min_free: 0)\nr0 = kvmalloc(0x1000, GFP_KERNEL)\n\
                    r1 = kvmalloc(0x3000, GFP_KERNEL)\nr2 = kvmalloc(0x9000, GFP_KERNEL)\n\
                    r3 = alloc_pages(GFP_KERNEL, 3)\n";
        run(&prepare(&Trace::parse(text).unwrap(), cutoff, fragmented)).unwrap()
    }

    #[test]
    fn requests_go_where_the_cutoff_says() {
        let sides = |cutoff, level| {
            let Costs { requests, vmalloc, failed, others_failed, .. } = costs(cutoff, level);
            (requests, vmalloc, failed, others_failed)
        };
        assert_eq!(sides(Cutoff::AtOnceAbove(1), 0), (2, 2, 0, 0));
        assert_eq!(sides(Cutoff::AtOnceAbove(4), 0), (2, 1, 0, 0));
        assert_eq!(sides(Cutoff::FallbackAbove(1), 0), (2, 0, 0, 0));
        assert_eq!(sides(Cutoff::FallbackAbove(1), 100), (2, 2, 0, 1));
        assert_eq!(sides(Cutoff::FallbackAbove(4), 100), (2, 1, 1, 1));
        assert_eq!(sides(Cutoff::Never, 100), (2, 0, 2, 1));
    }

    #[test]
    fn a_fragmented_machine_has_as_much_memory_in_smaller_pieces() {
        let free = |level| {
            let trace = prepare(&Trace::default(), Cutoff::Never, level);
            let stats = exec::run(&SWEEP, &trace, Expectations::Ignored).unwrap();
            (stats.lanes[0].left.nr_free_pages, stats.lanes[0].left.nr_free_blocks[0])
        };
        let (whole, _) = free(0);
        for level in [25, 50, 90, 100] {
            let (pages, holes) = free(level);
            assert!(pages.abs_diff(whole) * 50 < whole, "{level}: {pages} of {whole}");
            let share = u64::from(holes) * 100 / pages;
            assert!(share.abs_diff(level.into()) <= 2, "{level}: {share}");
        }
    }

    #[test]
    fn the_same_run_costs_the_same() {
        assert_eq!(costs(Cutoff::FallbackAbove(1), 90), costs(Cutoff::FallbackAbove(1), 90));
    }
}
