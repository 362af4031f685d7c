//! Which boundaries the traces of a campaign reach.
//!
//! The one idea: that nothing was found beyond a boundary means something only if the boundary was
//! crossed. Each one is a row: its name, and how it is recognised from the machine, from a step or
//! from an answer; a campaign's traces are run, and the crossings counted.
//!
//! What happens at a boundary is judged by the oracles, as ever.

use crate::campaign::Campaign;
use crate::exec;
use crate::model::rules::{Family, HUGE_PAGE, INT_MAX, KMALLOC_MAX, NR_ORDERS, PAGE};
use crate::model::{Free, Kind};
use crate::op::{CLASSES, CONTEXTS, Class, Op};
use crate::oracle::Step;
use crate::subject::{Answer, Request};
use crate::text::FAULT_SITES;
use crate::trace::{Limits, Machine, POLICIES, Trace};
use crate::verdict::Failure;
use alloc_core::task::Context;
use std::borrow::Borrow;
use std::cell::RefCell;

/// How often a boundary is crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Often {
    /// In some thousand traces of all campaigns.
    Often,
    /// In some hundred thousand.
    Seldom,
}

/// One boundary.
pub struct Boundary {
    /// What it is.
    pub name: String,
    /// How often it is crossed.
    pub often: Often,
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

type OfMachine = (&'static str, Often, fn(&Machine) -> bool);
type OfStep = (&'static str, Often, fn(&Step) -> bool);

use Often::{Often as Common, Seldom};

const MACHINES: &[OfMachine] = &[
    ("a machine of 64 frames", Common, |m| m.frames == Limits::FRAMES.0),
    ("a machine of more than 2048 frames", Common, |m| m.frames > 2048),
    ("a machine of three top blocks and more", Common, |m| m.frames > 4096),
    ("a vmalloc space of 16 pages", Common, |m| m.vmalloc_pages == Limits::VMALLOC_PAGES.0),
    ("a machine with 8 CPUs", Common, |m| m.cpus == 8),
    ("a machine with 4 nodes", Common, |m| m.nodes == 4),
    ("CPUs that keep 256 pages", Common, |m| m.pcp_high >= 256),
    ("no reserve", Common, |m| m.min_free == 0),
    ("a kvmalloc that never falls back", Common, |m| m.cutoff == Limits::CUTOFF.1),
];

const STEPS: &[OfStep] = &[
    ("a block of order 10", Common, |s| is_given(s) && order(s) == Some(NR_ORDERS - 1)),
    ("a request for order 11", Common, |s| order(s) == Some(NR_ORDERS)),
    ("a request for order 64 and more", Common, |s| order(s).is_some_and(|order| order >= 64)),
    ("a top block set free where another is free", Common, top_blocks_meet),
    ("the last frame taken", Common, |s| takes_frames(s) && s.record.after.nr_free_pages == 0),
    ("memory given below the min watermark", Common, |s| {
        takes_frames(s) && s.record.after.nr_free_pages < s.min_free
    }),
    ("an area across the end of a page table", Common, |s| {
        area(s).is_some_and(|(at, bytes)| at / HUGE_PAGE != (at + bytes - 1) / HUGE_PAGE)
    }),
    ("an area whose page array is vmalloc's", Common, |s| {
        area(s).is_some_and(|(_, bytes)| bytes > 512 * PAGE)
    }),
    ("an area of huge pages", Common, is_huge),
    ("lazy areas beyond the threshold", Common, |s| {
        let is_asked_for = matches!(s.record.request, Request::VmUnmapAliases);
        // A reallocation may purge for want of room.
        let is_free = Free::of(&s.record.request).is_some() && s.record.want.is_none();
        is_free && !is_asked_for && purges(s)
    }),
    ("an area that is freed at the next tick", Common, |s| s.record.after.nr_deferred_areas > 0),
    ("CPUs that together keep what one may", Common, |s| {
        s.pcp_high > 0 && s.record.after.nr_per_cpu_pages >= s.pcp_high
    }),
    ("an object freed on another CPU", Common, is_freed_elsewhere),
    ("kmalloc of KMALLOC_MAX_SIZE", Common, |s| {
        is_given(s) && size(s) == Some(KMALLOC_MAX) && family(s) == Some(Family::Kmalloc)
    }),
    ("kvmalloc of INT_MAX", Seldom, |s| is_kv(s) && size(s) == Some(INT_MAX)),
    ("kvmalloc of more than INT_MAX", Common, |s| is_kv(s) && size(s) > Some(INT_MAX)),
    ("an array whose size overflows", Common, |s| s.record.want.is_some_and(|w| w.size.is_none())),
    ("a cache of objects of more than a page", Common, |s| {
        let large = |size| size > PAGE && matches!(s.record.reply.answer, Answer::Cache(_));
        matches!(s.record.request, Request::KmemCacheCreate { size, .. } if large(size))
    }),
    ("a task that is the last", Common, |s| s.record.caller.task == 7),
    ("a CPU that is the last", Common, |s| s.record.caller.cpu == 7),
    ("a scope in a scope", Common, |s| s.model.scopes(s.record.caller.task).len() >= 2),
    ("a request that waits", Common, |s| matches!(s.record.reply.answer, Answer::WouldBlock(_))),
    ("a waiter that is served", Common, |s| s.record.retry.is_some() && is_given(s)),
    ("a waiter that no machine can serve", Common, |s| {
        s.record.retry == Some(crate::lane::Retry::Alone) && !is_given(s)
    }),
    ("a round of reclaim", Common, |s| s.record.reply.effort.nr_reclaim_rounds > 0),
    ("a process killed", Common, |s| s.record.reply.effort.nr_oom_kills > 0),
    ("a clean page dropped", Common, |s| drops(s, 0)),
    ("a dirty page written back", Common, |s| drops(s, 1)),
    ("a file system's page dropped", Common, |s| drops(s, 2)),
];

/// Every boundary.
pub fn boundaries() -> Vec<Boundary> {
    let boundary = |name: &str, often, seen| Boundary { name: name.to_owned(), often, seen };
    let machines = MACHINES.iter().map(|row| boundary(row.0, row.1, Seen::Machine(row.2)));
    let steps = STEPS.iter().map(|row| boundary(row.0, row.1, Seen::Step(row.2)));
    let policies = POLICIES
        .iter()
        .enumerate()
        .map(|(place, name)| boundary(&format!("kvmalloc of {name}"), Common, Seen::Policy(place)));
    let contexts = CONTEXTS.iter().map(|(name, context)| {
        boundary(&format!("memory given in context {name}"), Common, Seen::Context(*context))
    });
    let sites = FAULT_SITES.iter().enumerate().map(|(place, site)| {
        boundary(&format!("a failure by {}", site.name), Common, Seen::Site(place))
    });
    let classes = CLASSES.iter().map(|(class, name, _)| {
        boundary(&format!("the answer {name}"), often(*class), Seen::Class(*class))
    });
    machines.chain(policies).chain(steps).chain(contexts).chain(sites).chain(classes).collect()
}

fn often(class: Class) -> Often {
    match class {
        Class::Unbalanced | Class::TooLate => Seldom,
        _ => Common,
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
    /// Its name, with a word on how often it is to be expected.
    pub fn title(&self) -> String {
        match self.often {
            Common => self.name.clone(),
            Seldom => format!("{} (seldom)", self.name),
        }
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
    matches!(step.record.reply.answer, Answer::Memory { addr, .. } if addr > 16)
}

/// Whether a request was served with frames that were free.
fn takes_frames(step: &Step) -> bool {
    is_given(step) && step.record.after.nr_free_pages < step.record.before.nr_free_pages
}

fn family(step: &Step) -> Option<Family> {
    step.record.want.map(|want| want.family)
}

fn size(step: &Step) -> Option<u64> {
    step.record.want.and_then(|want| want.size)
}

fn order(step: &Step) -> Option<u32> {
    match family(step)? {
        Family::Pages { order } => Some(order),
        _ => None,
    }
}

fn is_kv(step: &Step) -> bool {
    step.record.want.is_some_and(|want| matches!(want.family, Family::Kvmalloc { .. }))
}

/// The address and the bytes of a vmalloc area that was given.
fn area(step: &Step) -> Option<(u64, u64)> {
    match step.record.reply.answer {
        Answer::Memory { addr, usable, .. } if step.model.is_vmalloc(addr) => Some((addr, usable)),
        _ => None,
    }
}

fn is_huge(step: &Step) -> bool {
    let frames = &step.record.frames;
    let is_block = |frames: &[u32]| {
        frames[0].is_multiple_of(512) && frames.windows(2).all(|two| two[1] == two[0] + 1)
    };
    area(step).is_some_and(|(_, bytes)| bytes.is_multiple_of(HUGE_PAGE))
        && frames.len() >= 512
        && frames.chunks_exact(512).all(is_block)
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
    let freed = Free::of(&step.record.request).and_then(|(_, addr)| step.model.at(addr));
    freed.is_some_and(|held| {
        held.kind == Kind::Kmalloc && held.cpu != usize::from(step.record.caller.cpu)
    })
}
