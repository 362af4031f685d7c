//! Which boundaries the traces of a campaign reach.
//!
//! That nothing was found beyond a boundary means something only if the boundary was crossed. Each
//! one is a row: its name, the campaigns that must cross it, and how it is recognised from the
//! machine, from a step or from an answer; a campaign's traces are run, and the crossings counted.
//!
//! What happens at a boundary is judged by the oracles, as ever.

use crate::call::{Call, Frees, Role, Yields};
use crate::campaign::Campaign;
use crate::exec;
use crate::model::linux::rules::{INT_MAX, KMALLOC_MAX};
use crate::model::{Interface, Kind};
use crate::op::{CLASSES, Class, Op};
use crate::oracle::Step;
use crate::subject::Answer;
use crate::text::FAULT_SITES;
use crate::trace::{Limits, Machine, POLICIES, Trace};
use crate::verdict::Failure;
use crate::words::{CONTEXTS, Context, HUGE_PAGE, NR_ORDERS, PAGE};
use std::borrow::Borrow;
use std::cell::RefCell;

/// One boundary.
pub struct Boundary {
    /// What it is.
    pub name: String,
    /// The campaigns that must reach it: some thousand traces of each do.
    pub must: &'static [&'static str],
    seen: Seen,
}

/// What a boundary is recognised from.
enum Seen {
    Machine(fn(&Machine) -> bool),
    Policy(usize),
    Step(fn(&Step) -> bool),
    Context(Context),
    /// The fault site in this place, where its failure alone was injected.
    Site(usize),
    Class(Class),
}

type Campaigns = &'static [&'static str];
type OfMachine = (&'static str, Campaigns, fn(&Machine) -> bool);
type OfStep = (&'static str, Campaigns, fn(&Step) -> bool);

// The campaigns, by what they can reach.
const ALL: Campaigns =
    &["pages", "kmalloc", "vmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those whose machines are not short of anything.
const ROOMY: Campaigns = &["pages", "kmalloc", "vmalloc", "kvmalloc", "routed", "frees", "faults"];
/// Those that use every call.
const WHOLE: Campaigns = &["routed", "frees", "nofail", "faults"];
/// Those that call the page allocator.
const BLOCKS: Campaigns = &["pages", "kmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those that call kmalloc or kvmalloc.
const OBJECTS: Campaigns =
    &["kmalloc", "vmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those that ask for arrays, and ask about addresses.
const ARRAYS: Campaigns = &["kmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those that make caches.
const CACHES: Campaigns = &["kmalloc", "routed", "frees", "nofail", "faults"];
/// Those that make vmalloc areas.
const AREAS: Campaigns = &["vmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those that make blocks or areas, and take references to their pages.
const PAGED: Campaigns = &["pages", "vmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those that free after a grace period.
const QUEUEING: Campaigns =
    &["kmalloc", "vmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those that call kvmalloc.
const KV: Campaigns = &["kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those that take memory before the page allocator is there.
const BOOT: Campaigns = &["pages", "routed", "frees", "nofail", "faults"];
/// Those in which others use memory.
const OTHERS: Campaigns = &["pages", "kvmalloc", "routed", "frees", "nofail", "faults"];
/// Those of them that take much of it.
const HUNGRY: Campaigns = &["pages", "kvmalloc", "nofail"];

const MACHINES: &[OfMachine] = &[
    ("a machine of 64 frames", ALL, |m| m.frames == Limits::FRAMES.0),
    ("a machine of more than 2048 frames", ROOMY, |m| m.frames > 2048),
    ("a machine of three top blocks and more", ROOMY, |m| m.frames > 4096),
    ("a vmalloc space of 16 pages", ALL, |m| m.vmalloc_pages == Limits::VMALLOC_PAGES.0),
    ("a machine with 8 CPUs", ALL, |m| m.cpus == 8),
    ("a machine with 4 nodes", ALL, |m| m.nodes == 4),
    ("CPUs that keep 256 pages", ALL, |m| m.pcp_high >= 256),
    ("no reserve", ALL, |m| m.min_free == 0),
    ("a kvmalloc that never falls back", &["kvmalloc", "routed", "frees", "faults"], |m| {
        m.cutoff == Limits::CUTOFF.1
    }),
    ("a vmalloc space of more than a GiB", ROOMY, |m| m.vmalloc_pages > 1 << 18),
    ("a machine whose free memory is half in holes", ALL, |m| m.fragmented == 50),
    ("a machine whose free memory is all in holes", ALL, |m| m.fragmented == 100),
];

const STEPS: &[OfStep] = &[
    ("a block of order 10", &["pages"], |s| is_given(s) && order(s) == Some(NR_ORDERS - 1)),
    ("a request for order 11", BLOCKS, |s| order(s) == Some(NR_ORDERS)),
    ("a request for order 64 and more", &["pages"], |s| order(s).is_some_and(|order| order >= 64)),
    ("a top block set free where another is free", &["pages"], top_blocks_meet),
    ("the last frame taken", &["nofail"], |s| takes_frames(s) && s.record.after.nr_free_pages == 0),
    ("memory given below the min watermark", ALL, |s| {
        takes_frames(s) && s.record.after.nr_free_pages < s.min_free
    }),
    ("an area across the end of a page table (2 MiB)", &["vmalloc", "kvmalloc"], |s| {
        is_across(s, HUGE_PAGE)
    }),
    ("an area across the end of a middle directory (1 GiB)", &["vmalloc", "routed"], |s| {
        is_across(s, 1 << 30)
    }),
    ("an area whose page array is vmalloc's", &["vmalloc", "kvmalloc"], |s| {
        area(s).is_some_and(|(_, bytes)| bytes > 512 * PAGE)
    }),
    ("an area of huge pages", &["vmalloc", "kvmalloc"], is_huge),
    ("lazy areas beyond the threshold", AREAS, |s| {
        let is_asked_for = s.record.request.call == Call::VmUnmapAliases;
        // A reallocation may purge for want of room.
        let is_free = !s.record.request.freed().is_empty() && s.record.want.is_none();
        is_free && !is_asked_for && purges(s)
    }),
    ("an area that is freed at the next tick", AREAS, |s| s.record.after.nr_deferred_areas > 0),
    ("the end of a grace period with something to free", QUEUEING, |s| {
        s.record.request.call == Call::Tick && s.model.linux.nr_queued() > 0
    }),
    ("a page that outlives its free", PAGED, |s| {
        s.record.freeing.is_some_and(|freeing| {
            let mut shared = s.record.frames.iter().map(|frame| s.model.book.page(*frame));
            freeing.free.how != Frees::PutPage && shared.any(|page| s.model.linux.is_shared(page))
        })
    }),
    ("CPUs that together keep what one may", ALL, |s| {
        s.pcp_high > 0 && s.record.after.nr_per_cpu_pages >= s.pcp_high
    }),
    ("an object freed on another CPU", OBJECTS, is_freed_elsewhere),
    ("kmalloc of KMALLOC_MAX_SIZE", &["kmalloc"], |s| {
        is_given(s) && size(s) == Some(KMALLOC_MAX) && interface(s) == Some(Interface::Kmalloc)
    }),
    ("kvmalloc of INT_MAX", &["kvmalloc"], |s| is_kv(s) && size(s) == Some(INT_MAX)),
    ("kvmalloc of more than INT_MAX", KV, |s| is_kv(s) && size(s) > Some(INT_MAX)),
    ("an array whose size overflows", ARRAYS, |s| s.record.want.is_some_and(|w| w.size.is_none())),
    ("an array of more than 65536 elements", &["kmalloc", "kvmalloc"], |s| {
        is_given(s) && elements(s) > 1 << 16
    }),
    ("a cache of objects of more than a page", CACHES, |s| {
        let large = |size| size > PAGE && matches!(s.record.reply.answer, Answer::Cache(_));
        s.record.request.call == Call::KmemCacheCreate && s.record.request.size().is_some_and(large)
    }),
    ("a task that is the last", ALL, |s| s.record.caller.task == 7),
    ("a CPU that is the last", ALL, |s| s.record.caller.cpu == 7),
    ("a scope in a scope", WHOLE, |s| s.model.linux.scopes(s.record.caller.task).len() >= 2),
    ("32 scopes in each other", WHOLE, |s| s.model.linux.scopes(s.record.caller.task).len() == 32),
    ("a scope in 32 others", WHOLE, |s| {
        let depth = s.model.linux.scopes(s.record.caller.task).len();
        let is_refused = matches!(s.record.reply.answer, Answer::Refused(_));
        matches!(s.record.request.call, Call::MemallocNofsSave | Call::MemallocNoioSave)
            && depth == 32
            && is_refused
    }),
    ("a request that waits", ALL, |s| matches!(s.record.reply.answer, Answer::WouldBlock(_))),
    ("a waiter that is served", ALL, |s| s.record.retry.is_some() && is_given(s)),
    ("a waiter that no machine can serve", &["nofail"], |s| {
        s.record.retry == Some(crate::lane::Retry::Alone) && !is_given(s)
    }),
    ("a round of reclaim", ALL, |s| s.record.reply.effort.nr_reclaim_rounds > 0),
    ("a process killed", OTHERS, |s| s.record.reply.effort.nr_oom_kills > 0),
    ("a clean page dropped", HUNGRY, |s| drops(s, 0)),
    ("a dirty page written back", HUNGRY, |s| drops(s, 1)),
    ("a file system's page dropped", HUNGRY, |s| drops(s, 2)),
];

/// What lies beyond the machines that a trace can have, and why.
pub const BEYOND: &[&str] = &[
    "an area across the end of an upper directory (512 GiB): the largest vmalloc space has 16 GiB",
];

/// Every boundary.
pub fn boundaries() -> Vec<Boundary> {
    let boundary = |name: &str, must, seen| Boundary { name: name.to_owned(), must, seen };
    let machines = MACHINES.iter().map(|row| boundary(row.0, row.1, Seen::Machine(row.2)));
    let steps = STEPS.iter().map(|row| boundary(row.0, row.1, Seen::Step(row.2)));
    let policies = POLICIES
        .iter()
        .enumerate()
        .map(|(place, name)| boundary(&format!("kvmalloc of {name}"), KV, Seen::Policy(place)));
    let contexts = CONTEXTS.iter().map(|(name, context)| {
        // In a non-maskable interrupt kmalloc_nolock alone gives any.
        let must = if *context == Context::Nmi { CACHES } else { ALL };
        boundary(&format!("memory given in context {name}"), must, Seen::Context(*context))
    });
    let sites = FAULT_SITES.iter().enumerate().map(|(place, site)| {
        let must = match site.name {
            "failslab" => OBJECTS,
            "fail_vmap" => AREAS,
            _ => ALL,
        };
        boundary(&format!("a failure by {}", site.name), must, Seen::Site(place))
    });
    let classes = CLASSES.iter().map(|(class, name, _)| {
        boundary(&format!("the answer {name}"), answered_in(*class), Seen::Class(*class))
    });
    machines.chain(policies).chain(steps).chain(contexts).chain(sites).chain(classes).collect()
}

/// The campaigns that must be given an answer.
fn answered_in(class: Class) -> Campaigns {
    use Class::*;
    match class {
        Yes | No | Overflow => ARRAYS,
        Slab | ZeroSizePtr => OBJECTS,
        Vmalloc | NoSpace => AREAS,
        Boot | TooLate => BOOT,
        ZeroSize => &["pages", "vmalloc", "kvmalloc", "routed", "frees", "nofail", "faults"],
        Unbalanced => WHOLE,
        Memory => &["heap", "frames"],
        Busy => CACHES,
        WrongOrder => &["pages", "frees"],
        WrongSize => KV,
        WrongCache => &["kmalloc", "frees"],
        Done | Pages | NoMemory | Deadlock | Injected | Blocked | TooLarge | BadArgument
        | ImpossibleNofail | BadContext | WrongKind | WrongAllocator | DoubleFree | Interior
        | Misaligned | Wild | OutOfBounds => ALL,
    }
}

/// Runs a trace and counts how often it crosses each boundary; also the ops that were carried out.
///
/// # Errors
/// The first objection of an oracle.
pub fn reached(
    campaign: &Campaign,
    trace: &Trace,
    boundaries: &[impl Borrow<Boundary>],
) -> Result<(Vec<u64>, u64), Box<Failure>> {
    let counts = RefCell::new(vec![0_u64; boundaries.len()]);
    let stats = exec::witness(campaign, trace, &|step| {
        let op = trace.ops.get(step.record.id as usize);
        for (count, boundary) in counts.borrow_mut().iter_mut().zip(boundaries) {
            *count += u64::from(boundary.borrow().is_crossed_by(step, op));
        }
    })?;
    let mut counts = counts.into_inner();
    for (count, boundary) in counts.iter_mut().zip(boundaries) {
        *count += match boundary.borrow().seen {
            Seen::Machine(is_such) => u64::from(is_such(&trace.machine)),
            Seen::Policy(policy) => u64::from(trace.machine.policy as usize == policy),
            Seen::Class(class) => stats.calls.iter().map(|calls| calls[class as usize]).sum(),
            _ => 0,
        };
    }
    Ok((counts, stats.nr_lane_ops))
}

impl Boundary {
    /// Whether the traces of a campaign must reach it.
    pub fn is_due_in(&self, campaign: &Campaign) -> bool {
        self.must.contains(&campaign.name)
    }

    fn is_crossed_by(&self, step: &Step, op: Option<&Op>) -> bool {
        match self.seen {
            Seen::Step(is_such) => is_such(step),
            Seen::Context(context) => is_given(step) && step.record.caller.context == context,
            Seen::Site(place) => {
                let asked = op.is_some_and(|op| (FAULT_SITES[place].of)(&op.faults) > 0);
                asked && step.record.retry.is_none() && step.record.reply.nr_faults > 0
            }
            Seen::Machine(_) | Seen::Policy(_) | Seen::Class(_) => false,
        }
    }
}

fn is_given(step: &Step) -> bool {
    step.record.reply.answer.granted().iter().any(|addr| *addr > 16)
}

/// Whether a request was served with frames that were free.
fn takes_frames(step: &Step) -> bool {
    is_given(step) && step.record.after.nr_free_pages < step.record.before.nr_free_pages
}

fn interface(step: &Step) -> Option<Interface> {
    step.record.want.map(|want| want.interface)
}

fn size(step: &Step) -> Option<u64> {
    step.record.want.and_then(|want| want.size)
}

fn order(step: &Step) -> Option<u32> {
    match interface(step)? {
        Interface::Pages { order } => Some(order),
        _ => None,
    }
}

fn is_kv(step: &Step) -> bool {
    step.record.want.is_some_and(|want| matches!(want.interface, Interface::Kvmalloc { .. }))
}

/// The address and the bytes of a vmalloc area that was given.
fn area(step: &Step) -> Option<(u64, u64)> {
    match step.record.reply.answer {
        Answer::Memory { addr, usable, .. } if step.model.book.is_vmalloc(addr) => {
            Some((addr, usable))
        }
        _ => None,
    }
}

fn is_huge(step: &Step) -> bool {
    area(step).is_some_and(|(_, bytes)| bytes.is_multiple_of(HUGE_PAGE))
        && step.record.has_huge_pages()
}

/// Whether an area lies on both sides of a multiple of `unit`.
fn is_across(step: &Step, unit: u64) -> bool {
    area(step).is_some_and(|(at, bytes)| at / unit != (at + bytes - 1) / unit)
}

/// The elements of an array that is asked for; 0 where it is none.
fn elements(step: &Step) -> u64 {
    let spec = step.record.request.spec();
    let is_array = spec.yields == Yields::Memory;
    step.record.request.get(Role::Count).filter(|_| is_array).unwrap_or(0)
}

fn top_blocks_meet(step: &Step) -> bool {
    let [before, after] =
        [&step.record.before, &step.record.after].map(|facts| facts.nr_free_blocks[10]);
    step.record.want.is_none() && before > 0 && after > before
}

fn purges(step: &Step) -> bool {
    step.record.after.nr_lazy_pages < step.record.before.nr_lazy_pages
}

fn drops(step: &Step, kind: usize) -> bool {
    let [before, after] =
        [&step.record.before, &step.record.after].map(|facts| facts.nr_cache_pages[kind]);
    step.record.want.is_some() && after < before
}

fn is_freed_elsewhere(step: &Step) -> bool {
    let freed = step.record.request.freed().first().and_then(|addr| step.model.book.at(*addr));
    freed.is_some_and(|held| {
        held.kind == Kind::Kmalloc && held.cpu != usize::from(step.record.caller.cpu)
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::CAMPAIGNS;

    #[test]
    fn every_boundary_is_some_campaigns_to_reach_and_has_a_name_of_its_own() {
        let boundaries = boundaries();
        let mut names: Vec<&str> = boundaries.iter().map(|row| row.name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
        for Boundary { name, must, .. } in &boundaries {
            let is_known = |name: &&str| CAMPAIGNS.iter().any(|campaign| campaign.name == *name);
            assert!(!must.is_empty() && must.iter().all(is_known), "{name}: {must:?}");
        }
    }
}
