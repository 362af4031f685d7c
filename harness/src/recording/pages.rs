//! Which page blocks lie under objects: slabs and large kmalloc requests.
//!
//! The one idea: an object's address lies in the direct map, a page block has a frame number, and
//! the two meet once the base of the direct map is known. The kernel randomises the base in steps
//! of 1 GiB and prints it nowhere; but a slab's block is followed at once by its first object, so
//! each such pair votes for a base. A block in which any object event falls between its allocation
//! and its free is then an object's, not a caller's. With hashed addresses nothing votes, and all
//! page events count as requests of their own.
//!
//! The unit is the page frame.

use std::collections::{BTreeSet, HashMap};

use super::UnderObject;
use super::event::{PAGE_SHIFT, RecordedFree, TraceEvent, What};
use super::ranges::Ranges;

/// 1 GiB in frames: the step in which the base of the direct map is randomised.
const BASE_STEP: u64 = 1 << (30 - PAGE_SHIFT);
/// The first frame number of the kernel's half of the address space, seen as an address.
const KERNEL_HALF: u64 = 1 << (63 - PAGE_SHIFT);

/// What the page events of a recording are.
#[derive(Debug, Default)]
pub(super) struct PageRoles {
    /// The address at which the direct map begins, if the recording tells.
    pub(super) base: Option<u64>,
    /// For each event, by its place: it is a page event on behalf of an object.
    pub(super) under_object: Vec<bool>,
    /// The blocks under objects, in the order of their first objects.
    pub(super) blocks: Vec<UnderObject>,
}

/// Finds the roles of all page events.
pub(super) fn page_roles(events: &[TraceEvent], contexts: usize) -> PageRoles {
    let mut under_object = vec![false; events.len()];
    let mut blocks = Vec::new();
    let base = direct_map_base(events, contexts);
    if let Some(base) = base {
        let mut sweep = Sweep::new(base, &mut under_object);
        for (place, event) in events.iter().enumerate() {
            blocks.extend(sweep.first_object(event, events));
            sweep.event(place, event);
        }
    }
    mark_failed_attempts(events, contexts, &mut under_object);
    PageRoles { base: base.map(|frames| frames << PAGE_SHIFT), under_object, blocks }
}

/// The base of the direct map, in frames, by the vote of block and first object.
fn direct_map_base(events: &[TraceEvent], contexts: usize) -> Option<u64> {
    let mut votes: HashMap<u64, u64> = HashMap::new();
    let mut latest_block: Vec<Option<(u64, u64)>> = vec![None; contexts];
    for event in events {
        let latest = &mut latest_block[event.context as usize];
        match event.what {
            What::PageAlloc { pfn: Some(pfn), order, .. } => *latest = Some((pfn, 1 << order)),
            What::Object { ptr: Some(ptr), .. } => {
                let base = latest.take().and_then(|block| base_for(ptr >> PAGE_SHIFT, block));
                if let Some(base) = base {
                    *votes.entry(base).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    let all: u64 = votes.values().sum();
    // By chance a vote is for a wrong base once in 2^18 pairs; a true base wins by far.
    votes.into_iter().find(|(_, votes)| votes * 2 > all).map(|(base, _)| base)
}

/// The base with which the object's frame lies in the block, if there is one.
fn base_for(frame: u64, (pfn, frames): (u64, u64)) -> Option<u64> {
    let distance = frame.checked_sub(pfn)?;
    let inside = distance % BASE_STEP;
    let base = distance - inside;
    (inside < frames && base >= KERNEL_HALF).then_some(base)
}

/// One pass over the events that follows which block each frame belongs to.
struct Sweep<'a> {
    base: u64,
    under_object: &'a mut [bool],
    /// The place of the allocation that each frame comes from.
    blocks: Ranges<usize>,
    /// Frames of which no allocation was seen, and which hold objects.
    older: BTreeSet<u64>,
}

impl<'a> Sweep<'a> {
    fn new(base: u64, under_object: &'a mut [bool]) -> Self {
        Self { base, under_object, blocks: Ranges::default(), older: BTreeSet::new() }
    }

    fn event(&mut self, place: usize, event: &TraceEvent) {
        match event.what {
            What::Object { ptr: Some(ptr), .. }
            | What::Free {
                call: RecordedFree::Kfree | RecordedFree::KmemCacheFree,
                ptr: Some(ptr),
            } => {
                self.object(ptr);
            }
            What::PageAlloc { pfn: Some(pfn), order, .. } => {
                self.no_longer_older(&frames(pfn, order));
                self.blocks.insert(frames(pfn, order), place);
            }
            What::PageFree { pfn, order } => self.under_object[place] = self.free(pfn, order),
            _ => {}
        }
    }

    /// The block under an object that is allocated, if none was seen in it before.
    fn first_object(&self, event: &TraceEvent, events: &[TraceEvent]) -> Option<UnderObject> {
        let What::Object { ptr: Some(ptr), bytes_alloc, .. } = event.what else { return None };
        let block = self.blocks.get((ptr >> PAGE_SHIFT).checked_sub(self.base)?)?;
        let What::PageAlloc { order, .. } = events[block].what else { return None };
        let is_first = !self.under_object[block];
        is_first.then_some(UnderObject { line: events[block].line, order, bytes_alloc })
    }

    /// An object lives, or lived until now, at this address.
    fn object(&mut self, ptr: u64) {
        let Some(frame) = (ptr >> PAGE_SHIFT).checked_sub(self.base) else { return };
        match self.blocks.get(frame) {
            Some(block) => self.under_object[block] = true,
            None => {
                self.older.insert(frame);
            }
        }
    }

    /// Whether these frames held objects.
    fn free(&mut self, pfn: u64, order: u8) -> bool {
        let mut held_objects = self.no_longer_older(&frames(pfn, order));
        for (_, block) in self.blocks.remove(frames(pfn, order)) {
            held_objects |= self.under_object[block];
        }
        held_objects
    }

    /// Forgets that these frames held objects; whether any did.
    fn no_longer_older(&mut self, frames: &std::ops::Range<u64>) -> bool {
        let held: Vec<u64> = self.older.range(frames.clone()).copied().collect();
        for frame in &held {
            self.older.remove(frame);
        }
        !held.is_empty()
    }
}

/// The frames of a block.
pub(super) fn frames(pfn: u64, order: u8) -> std::ops::Range<u64> {
    pfn..pfn + (1 << order)
}

/// Marks the failed page requests that slab made: it asks for a large block first and is content
/// with a smaller one, or fails the object's request.
fn mark_failed_attempts(events: &[TraceEvent], contexts: usize, under_object: &mut [bool]) {
    let mut attempts: Vec<Vec<usize>> = vec![Vec::new(); contexts];
    for (place, event) in events.iter().enumerate() {
        let waiting = &mut attempts[event.context as usize];
        match event.what {
            What::PageAlloc { pfn: None, .. } => waiting.push(place),
            What::PageAlloc { .. } if !under_object[place] => waiting.clear(),
            What::PageAlloc { .. } | What::Object { ptr: Some(0), .. } => {
                for attempt in waiting.drain(..) {
                    under_object[attempt] = true;
                }
            }
            _ => waiting.clear(),
        }
    }
}
