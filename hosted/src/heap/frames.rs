//! A frame allocator as a subject: frames become addresses of real pages.
//!
//! A frame allocator gives numbers and touches no memory. The harness gives each number a page, so
//! that two holders of one frame see each other's bytes.
//!
//! It judges nothing.

use super::arena::{ALIGN_BYTES, Arena, PAGE, Wear};
use super::bytes;
use super::contract::FrameAllocator;
use kvroute_harness::call::{Call, Request, Role};
use kvroute_harness::op::Setting;
use kvroute_harness::subject::reference::layout_fault;
use kvroute_harness::subject::{Answer, Caps, Mismatch, Refusal, Reply, Subject};
use kvroute_harness::trace::Machine;
use std::collections::BTreeMap;

/// What is short when there is no run of frames.
const SHORT: Answer = Answer::Refused(Refusal::Pages { order: 0 });

/// A frame allocator that was booted, and what it has given.
struct Tenant<F> {
    /// None if it could not manage its first frames: it gives none.
    frames: Option<F>,
    /// Present until it is dropped. Its pages are given away as the allocator gets their frames.
    arena: Option<Arena>,
    /// How many frames each live run has, by its first.
    live: BTreeMap<usize, usize>,
    /// The frame behind the last one that it was given.
    end: usize,
}

/// Boots a frame allocator on the frames of a machine: as many as there are whole pages in its
/// region. The first one's number is the machine's offset modulo 64, so that runs of any number
/// begin anywhere.
///
/// # Errors
/// If the host has no memory.
pub fn boot<F: FrameAllocator + 'static>(machine: &Machine) -> Result<Box<dyn Subject>, String> {
    let nr_all = machine.frames as usize;
    let nr_first = match machine.region_bytes as usize {
        0 => nr_all,
        some => nr_all.min(some / PAGE),
    };
    let first = machine.region_offset as usize % 64;
    let mut arena = Arena::fresh((first + nr_all) * PAGE)?;
    arena.skip(first * PAGE);
    arena.give(nr_first * PAGE).ok_or("the host has no pages for the frames")?;
    let end = first + nr_first;
    let frames = F::boot(first..end);
    Ok(Box::new(Tenant { frames, arena: Some(arena), live: BTreeMap::new(), end }))
}

impl<F: FrameAllocator> Tenant<F> {
    fn arena(&self) -> &Arena {
        self.arena.as_ref().expect("present until dropped")
    }

    fn alloc(&mut self, count: u64, align: u64) -> Answer {
        let align = align.max(PAGE as u64);
        if let Some(fault) = layout_fault(count.saturating_mul(PAGE as u64), align) {
            return Answer::Refused(fault);
        }
        let (count, align) = (count as usize, align as usize);
        if align > PAGE && !F::ALIGNS {
            return Answer::Unsupported;
        }
        let frames = self.frames.as_mut().filter(|_| align <= ALIGN_BYTES);
        let Some(first) = frames.and_then(|frames| frames.alloc(count, align / PAGE)) else {
            return SHORT;
        };
        self.live.insert(first, count);
        let addr = (self.arena().start() as u64).wrapping_add(first.wrapping_mul(PAGE) as u64);
        Answer::Memory { addr, usable: (count * PAGE) as u64, bus: None }
    }

    fn dealloc(&mut self, addr: u64) -> Answer {
        let first = (addr as usize).wrapping_sub(self.arena().start()) / PAGE;
        let Some(count) = self.live.remove(&first) else { return Answer::Unsupported };
        if let Some(frames) = &mut self.frames {
            frames.dealloc(first, count);
        }
        Answer::Done
    }

    fn add(&mut self, count: usize) -> Answer {
        if !F::ADDS {
            return Answer::Unsupported;
        }
        let (Some(frames), Some(arena)) = (&mut self.frames, &mut self.arena) else { return SHORT };
        if arena.give(count.saturating_mul(PAGE)).is_none() {
            return SHORT;
        }
        frames.add(self.end..self.end + count);
        self.end += count;
        Answer::Done
    }
}

impl<F: FrameAllocator> Subject for Tenant<F> {
    fn caps(&self) -> Caps {
        F::GIVES_BACK.caps()
    }

    fn apply(&mut self, request: &Request, _setting: &Setting) -> Reply {
        let get = |role| request.get(role).unwrap_or(0);
        let answer = match request.call {
            Call::AllocFrames => self.alloc(get(Role::Count), get(Role::Align)),
            Call::DeallocFrames => self.dealloc(get(Role::Freed)),
            Call::AddFrames => self.add(get(Role::Count) as usize),
            _ => Answer::Unsupported,
        };
        Reply { answer, ..Reply::default() }
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> usize {
        bytes::read(self.arena().bytes(addr as usize, bytes.len()), bytes)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> usize {
        let Some(arena) = &mut self.arena else { return 0 };
        bytes::write(arena.bytes_mut(addr as usize, bytes.len()), bytes)
    }

    fn compare(&self, addr: u64, expected: &[u8]) -> Result<(), Mismatch> {
        bytes::compare(self.arena().bytes(addr as usize, expected.len()), expected)
    }
}

impl<F> Drop for Tenant<F> {
    fn drop(&mut self) {
        if let Some(arena) = self.arena.take() {
            arena.keep(Wear::Touched);
        }
    }
}
