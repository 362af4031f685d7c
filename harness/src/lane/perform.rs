//! Carrying a request out, and writing down what could be seen of it.
//!
//! The one idea: the oracles judge a [`Record`] and nothing else, so whatever is worth judging is
//! looked at here: the bytes of memory just before it is freed and just after it is granted, the
//! frames behind it, the counters on both sides of the call.
//!
//! The book is read, and not changed.

use super::Lane;
use crate::bytes::{self, Damage};
use crate::call::{Call, Request};
use crate::model::{Freeing, Granted, Want};
use crate::op::{Faults, Setting};
use crate::subject::{Answer, Cap, Facts, Reply, Subject};
use crate::words::gfp::__GFP_THISNODE;
use crate::words::{Context, Current, HUGE_PAGE, PAGE};
use std::rc::Rc;

/// Frames of a huge page.
const NR_FRAMES_HUGE: usize = (HUGE_PAGE / PAGE) as usize;

/// Everything that could be seen of one request.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// The op that the request serves.
    pub id: u32,
    /// The request.
    pub request: Request,
    /// What it asks for, if it asks for memory.
    pub want: Option<Want>,
    /// The free that it is, if it is one.
    pub freeing: Option<Freeing>,
    /// The answer.
    pub reply: Reply,
    /// What came of it, if that is memory: the first piece.
    pub granted: Option<Granted>,
    /// The other pieces, where several were asked for.
    pub further: Vec<Granted>,
    /// The counters before.
    pub before: Rc<Facts>,
    /// The counters after.
    pub after: Rc<Facts>,
    /// The allocation that the request frees, if the book says that it frees one: what its bytes
    /// showed just before. Of a tick: what waited for it.
    pub damage: Option<Damage>,
    /// The first byte of granted memory that should be zero and is not.
    pub nonzero: Option<u64>,
    /// The first byte of a granted object that its constructor left otherwise.
    pub unconstructed: Option<u64>,
    /// The first byte of granted memory that cannot be accessed.
    pub unmapped: Option<u64>,
    /// Whether the page behind a granted vmalloc area can be accessed although it must not.
    pub guard_page_mapped: bool,
    /// The first byte of coherent memory where the device finds another frame than the processor.
    pub unshared: Option<u64>,
    /// The first byte that a free had to clear and has not, looked at just after.
    pub remains: Option<u64>,
    /// The first byte of memory with another size that is not what it was before.
    pub not_kept: Option<u64>,
    /// The frames behind the memory that was replaced.
    pub old_frames: Vec<u32>,
    /// The frames behind the granted memory, behind the memory about to be freed, or behind the
    /// address to convert.
    pub frames: Vec<u32>,
    /// Of several pieces: where among the frames those of each end.
    pub frame_ends: Vec<usize>,
    /// Who made the request.
    pub caller: Current,
    /// The failures that were to be injected.
    pub faults: Faults,
    /// Why this is a waiter asking again, if it is.
    pub retry: Option<Retry>,
}

impl Record {
    /// Every piece of memory that was granted.
    pub(crate) fn grants(&self) -> impl Iterator<Item = Granted> {
        self.granted.into_iter().chain(self.further.iter().copied())
    }

    /// The frames behind one of the pieces that were granted or are freed.
    pub(super) fn frames_of(&self, piece: usize) -> &[u32] {
        let end = |piece: usize| self.frame_ends.get(piece).copied();
        let start = piece.checked_sub(1).and_then(end).unwrap_or(0);
        &self.frames[start..end(piece).unwrap_or(self.frames.len())]
    }

    /// The node that a request takes from first: the one it names, or the one of its CPU.
    pub(crate) fn nearest_node(&self, want: &Want) -> u8 {
        want.node.unwrap_or(self.caller.cpu) % self.before.nr_nodes.max(1)
    }

    /// The only node that the request may take from, if there is but one of several.
    pub(crate) fn only_node(&self, want: &Want) -> Option<u8> {
        let is_bound = self.before.nr_nodes > 0 && want.gfp.has(__GFP_THISNODE);
        is_bound.then(|| self.nearest_node(want))
    }

    /// Whether the frames behind an area are whole huge pages.
    pub(crate) fn has_huge_pages(&self) -> bool {
        let is_block = |block: &[u32]| {
            block.len() == NR_FRAMES_HUGE
                && block[0].is_multiple_of(NR_FRAMES_HUGE as u32)
                && (block[0]..).zip(block).all(|(expected, actual)| expected == *actual)
        };
        !self.frames.is_empty() && self.frames.chunks(NR_FRAMES_HUGE).all(is_block)
    }
}

/// Why a waiter asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// Something was given back that may have ended its shortage.
    Woken,
    /// A tick has passed, and its shortage was injected.
    Slept,
    /// A tick has passed, and nothing was given back that could help.
    SleptInVain,
    /// The trace is over, and all else has been freed.
    Alone,
}

impl Lane {
    /// Has the allocator answer, whose caller then goes on.
    fn apply(&mut self, request: &Request, setting: &Setting) -> Reply {
        let reply = self.subject.apply(request, setting);
        self.subject.resume();
        self.epochs = reply.epochs;
        reply
    }

    /// Carries a request out and writes down what could be seen of it.
    pub(crate) fn perform(
        &mut self,
        id: u32,
        request: Request,
        setting: &Setting,
        retry: Option<Retry>,
    ) -> Record {
        if !request.call.is_boot() {
            self.hand_over();
        }
        let setting = &Setting { caller: self.as_understood(setting.caller), ..*setting };
        let mut frames = std::mem::take(&mut self.frames);
        frames.clear();
        let freeing = self.model.freeing(&request, setting.caller.context);
        let mut frame_ends = Vec::new();
        let (damage, nr_cleared) = match &freeing {
            Some(freeing) => self.look_before(freeing, &mut frames, &mut frame_ends),
            None if request.call == Call::Tick => (self.first_damage_queued(), 0),
            None => (None, 0),
        };
        if let Some(addr) = request.converted() {
            frames.extend(self.subject.frame_of(addr));
        }
        let reply = self.apply(&request, setting);
        let after = self.counters();
        let want = self.model.want(&request);
        let caller = Current { cpu: setting.caller.cpu % self.nr_cpus, ..setting.caller };
        let mut record = Record {
            id,
            request,
            want,
            freeing,
            reply,
            granted: None,
            further: Vec::new(),
            before: std::mem::replace(&mut self.facts, after.clone()),
            after,
            damage,
            nonzero: None,
            unconstructed: None,
            unmapped: None,
            guard_page_mapped: false,
            unshared: None,
            remains: None,
            not_kept: None,
            old_frames: Vec::new(),
            frames,
            frame_ends,
            caller,
            faults: setting.faults,
            retry,
        };
        match (want, reply.answer) {
            (Some(want), Answer::Memory { addr, usable, bus }) => {
                let granted = self.model.granted(&want, addr, usable);
                record.granted = Some(granted);
                self.look_at(&mut record, &want, granted);
                record.unshared = bus.and_then(|bus| self.first_unshared(bus, &record.frames));
            }
            (Some(want), Answer::Several { addrs, usable }) => {
                self.look_at_each(&mut record, &want, &addrs, usable);
            }
            (None, Answer::Done) if nr_cleared > 0 => {
                record.remains = self.first_remaining(&record, nr_cleared);
            }
            _ => {}
        }
        record
    }

    /// The counters now; those of before, if the subject does not count.
    pub(super) fn counters(&self) -> Rc<Facts> {
        if self.caps.has(Cap::Counters) {
            Rc::new(self.subject.facts())
        } else {
            self.facts.clone()
        }
    }

    /// Who makes the call, as far as the subject understands it: who knows no contexts is called
    /// where it may do anything.
    pub(super) fn as_understood(&self, caller: Current) -> Current {
        let knows = self.caps.has(Cap::Contexts);
        if knows { caller } else { Current { context: Context::Task, killed: 0, ..caller } }
    }

    /// What is wrong with memory whose readers have it until now, and no longer.
    fn first_damage_queued(&self) -> Option<Damage> {
        self.model.queued().find_map(|held| bytes::verify(self.subject.as_ref(), held))
    }

    /// Looks at memory that is about to be freed: what is wrong with its bytes, how many of them
    /// are to be cleared, and which frames are behind it.
    fn look_before(
        &mut self,
        freeing: &Freeing,
        frames: &mut Vec<u32>,
        frame_ends: &mut Vec<usize>,
    ) -> (Option<Damage>, u64) {
        let (mut damage, mut nr_cleared) = (None, 0);
        for &addr in freeing.accepted() {
            let Some(allocation) = self.model.book.at(addr) else { continue };
            damage = damage.or_else(|| bytes::verify(self.subject.as_ref(), allocation));
            collect_frames(self.subject.as_ref(), addr, allocation.usable, frames);
            if freeing.addrs.len() > 1 {
                frame_ends.push(frames.len());
            }
            nr_cleared = freeing.free.nr_cleared(allocation.usable);
            // Its holder must leave the object as it was constructed, for the next (R2.5).
            if let Some(word) = self.model.linux.ctor_of(allocation.kind) {
                bytes::construct(self.subject.as_mut(), addr, allocation.size, word);
            }
        }
        (damage, nr_cleared)
    }

    /// The first byte of coherent memory where a device does not find the frame in `frames`.
    fn first_unshared(&self, bus: u64, frames: &[u32]) -> Option<u64> {
        let pages = (0..).step_by(PAGE as usize).zip(frames);
        let differs = |offset, frame| self.subject.frame_of_bus(bus + offset) != Some(frame);
        pages.map(|(at, frame)| (at, *frame)).find(|(at, frame)| differs(*at, *frame)).map(|f| f.0)
    }

    /// The first of `nr_bytes` bytes, just freed, that was not cleared. The direct map still shows
    /// the frames. A small object may hold one word of the allocator's: its free list is there.
    fn first_remaining(&self, record: &Record, nr_bytes: u64) -> Option<u64> {
        let addr = *record.request.freed().first()?;
        let allocation = self.model.book.at(addr)?;
        let nr_words = usize::from(allocation.is_small());
        let direct = self.model.book.layout().direct_start;
        let frames = &record.frames;
        bytes::first_remaining(
            self.subject.as_ref(),
            direct,
            frames,
            addr % PAGE,
            nr_bytes,
            nr_words,
        )
    }

    /// Looks at several pieces of memory that were just granted. Of what is wrong with their bytes
    /// the first finding is kept.
    fn look_at_each(&self, record: &mut Record, want: &Want, addrs: &[u64], usable: u64) {
        for &addr in addrs {
            let granted = self.model.granted(want, addr, usable);
            match record.granted {
                None => record.granted = Some(granted),
                Some(_) => record.further.push(granted),
            }
            let found = (record.nonzero, record.unconstructed, record.unmapped);
            self.look_at(record, want, granted);
            record.nonzero = found.0.or(record.nonzero);
            record.unconstructed = found.1.or(record.unconstructed);
            record.unmapped = found.2.or(record.unmapped);
            record.frame_ends.push(record.frames.len());
        }
    }

    /// Looks at memory that was just granted, before anything is written to it.
    fn look_at(&self, record: &mut Record, want: &Want, granted: Granted) {
        let Granted { addr, usable, size, kind, .. } = granted;
        if want.from.is_some() {
            record.old_frames = std::mem::take(&mut record.frames);
        }
        if addr <= 16 {
            return;
        }
        let subject = self.subject.as_ref();
        let mut zeroed = 0..if want.wants_zero() { size } else { 0 };
        if let Some(replaced) = self.model.replaced(want) {
            let mut kept = replaced.kept.into_iter();
            record.not_kept =
                kept.find_map(|range| bytes::first_unlike(subject, replaced.old, addr, range));
            zeroed = replaced.zeroed;
        }
        match bytes::first_nonzero(subject, addr + zeroed.start, zeroed.end - zeroed.start) {
            Ok(nonzero) => record.nonzero = nonzero.map(|at| zeroed.start + at),
            Err(offset) => record.unmapped = Some(zeroed.start + offset),
        }
        if let Some(word) = self.model.linux.ctor_of(kind) {
            record.unconstructed = bytes::first_unconstructed(subject, addr, size, word);
        }
        record.unmapped = record.unmapped.or_else(|| bytes::first_unmapped(subject, addr, usable));
        if self.model.book.is_vmalloc(addr) && record.unmapped.is_none() {
            record.guard_page_mapped = subject.frame_of(addr + usable).is_some();
        }
        // Beyond a byte that cannot be accessed there is nothing to see, however far it would go.
        let seen = record.unmapped.map_or(usable, |at| at.min(usable));
        collect_frames(subject, addr, seen, &mut record.frames);
    }
}

fn collect_frames(subject: &dyn Subject, addr: u64, len: u64, frames: &mut Vec<u32>) {
    let first = addr & !(PAGE - 1);
    let pages = (first..addr.saturating_add(len)).step_by(PAGE as usize);
    frames.extend(pages.filter_map(|page| subject.frame_of(page)));
}
