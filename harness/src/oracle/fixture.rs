//! Hand-made steps for the oracles' tests: a book, a request and an answer, without any allocator.

use super::{Event, Judgement, Oracle, Step};
use crate::call::Request;
use crate::lane::Record;
use crate::model::{Allocation, Contents, Kind, Model, Via, Want};
use crate::op::Faults;
use crate::relaxation::{Relaxation, Relaxed};
use crate::subject::Effort;
use crate::subject::{Answer, Epochs, Facts, Layout, Reply};
use crate::trace::Machine;
use crate::words::Current;
use std::rc::Rc;

/// First address of the direct map of the hand-made machine.
pub(super) const DIRECT: u64 = 0xffff_8880_0000_0000;
/// First address of its vmalloc space.
pub(super) const VMALLOC: u64 = 0xffff_c900_0000_0000;

/// An empty book of a machine of 64 frames and 64 pages of vmalloc space.
pub(super) fn model() -> Model {
    model_of(&Machine::default())
}

/// The same with the policy of this header.
pub(super) fn model_of(machine: &Machine) -> Model {
    model_with(64, machine)
}

/// The same with so many pages of vmalloc space.
pub(super) fn model_with(nr_vmalloc_pages: u64, machine: &Machine) -> Model {
    let layout = Layout {
        direct_start: DIRECT,
        direct_end: DIRECT + 64 * 4096,
        vmalloc_start: VMALLOC,
        vmalloc_end: VMALLOC + nr_vmalloc_pages * 4096,
    };
    Model::new(layout, machine)
}

/// Enters an allocation into a book; `frames` lie behind it.
pub(super) fn enter(model: &mut Model, addr: u64, size: u64, kind: Kind, frames: &[u32]) {
    let contents = Contents::Painted(1);
    let usable = if kind == Kind::Vmalloc { size.next_multiple_of(4096) } else { size };
    let via = Via::Own;
    let (cpu, reg, head) = (0, None, None);
    let allocation = Allocation { id: 7, addr, size, usable, kind, via, cpu, reg, head, contents };
    model.enter(allocation, frames);
}

/// Counters of a machine where everything is free.
pub(super) fn all_free() -> Facts {
    let mut facts = Facts {
        nr_managed_pages: 64,
        nr_free_pages: 64,
        nr_largest_hole_pages: 64,
        ..Facts::default()
    };
    facts.nr_free_blocks[6] = 1;
    facts
}

/// A record of a request and its answer, with nothing remarkable seen.
pub(super) fn record(request: Request, answer: Answer) -> Record {
    Record {
        id: 9,
        request,
        want: Want::of(&request),
        freeing: None,
        granted: None,
        further: Vec::new(),
        reply: Reply { answer, nr_faults: 0, epochs: Epochs::default(), effort: Effort::default() },
        before: all_free().into(),
        after: all_free().into(),
        damage: None,
        nonzero: None,
        unconstructed: None,
        unmapped: None,
        guard_page_mapped: false,
        unshared: None,
        remains: None,
        not_kept: None,
        old_frames: Vec::new(),
        frames: Vec::new(),
        frame_ends: Vec::new(),
        caller: Current::default(),
        faults: Faults::default(),
        retry: None,
    }
}

/// Memory granted at an address.
pub(super) fn memory(addr: u64, usable: u64) -> Answer {
    Answer::Memory { addr, usable, bus: None }
}

/// The oracle objects to the step, and its reason holds `word`.
#[track_caller]
pub(super) fn barks(oracle: &Oracle, model: &Model, record: &Record, word: &str) {
    let (judged, _) = judge(oracle, model, record);
    let reason = judged.expect_err("the oracle must object");
    assert!(reason.contains(word), "{reason:?} does not say {word:?}");
}

/// The oracle has nothing against the step.
#[track_caller]
pub(super) fn silent(oracle: &Oracle, model: &Model, record: &Record) {
    assert_eq!(judge(oracle, model, record).0, Ok(()));
}

/// The oracle has nothing against the step, and says that it could not make sure.
#[track_caller]
pub(super) fn relaxes(oracle: &Oracle, model: &Model, record: &Record, relaxation: Relaxation) {
    let (judged, relaxed) = judge(oracle, model, record);
    assert_eq!((judged, relaxed.nr(relaxation)), (Ok(()), 1), "{relaxation:?}");
}

fn judge(oracle: &Oracle, model: &Model, record: &Record) -> (Judgement, Relaxed) {
    let relaxed = Relaxed::default();
    let want = model.want(&record.request);
    let freeing = model.freeing(&record.request, record.caller.context);
    let usable = match record.reply.answer {
        Answer::Memory { usable, .. } | Answer::Several { usable, .. } => usable,
        _ => 0,
    };
    let addrs = record.reply.answer.granted().iter();
    let mut pieces = addrs.filter_map(|addr| Some(model.granted(want.as_ref()?, *addr, usable)));
    let (granted, further) = (pieces.next(), pieces.collect());
    let record = &Record { want, freeing, granted, further, ..record.clone() };
    let step = Step { model, min_free: 16, pcp_high: 16, record, relaxed: &relaxed };
    ((oracle.judge)(&Event::Step(&step)), relaxed)
}

/// The counters of a record, to change.
impl Record {
    pub(crate) fn before_mut(&mut self) -> &mut Facts {
        Rc::make_mut(&mut self.before)
    }

    pub(crate) fn after_mut(&mut self) -> &mut Facts {
        Rc::make_mut(&mut self.after)
    }
}
