//! A heap and a frame allocator that are right, as a subject: a list of holes over simulated
//! memory.
//!
//! The one idea: it is as simple as an allocator can be, so that the campaigns of other people's
//! allocators can be run, shown and held to their seeds with nothing else at hand. First fit, an
//! exact size, neighbours merged at once, and all that it knows stands beside the memory.
//!
//! It is not fast, and no yardstick: the oracles do not know of it.

use super::{Answer, Cap, Caps, FlatMemory, Refusal, Reply, Subject};
use crate::call::{Call, Request, Role};
use crate::op::Setting;
use crate::trace::Machine;
use crate::words::PAGE;
use std::collections::BTreeMap;

/// Where its memory begins, but for the offset that the machine says.
const BASE: u64 = 0x1000_0000;

/// What is short when there is no hole.
const SHORT: Answer = Answer::Refused(Refusal::Pages { order: 0 });

/// The allocator.
struct Reference {
    /// The bytes that it has by now.
    memory: FlatMemory,
    /// How many it can be given yet.
    nr_left: u64,
    /// The start and the length of each hole; no two of them touch.
    holes: BTreeMap<u64, u64>,
    /// The start, the length and the alignment of what is live.
    live: BTreeMap<u64, (u64, u64)>,
}

/// Boots it on the memory of a machine.
///
/// # Errors
/// None: it boots on every machine.
pub fn boot(machine: &Machine) -> Result<Box<dyn Subject>, String> {
    let all = u64::from(machine.frames) * PAGE - u64::from(machine.region_offset);
    let nr_first = match machine.region_bytes {
        0 => all,
        some => all.min(some.into()),
    };
    let base = BASE + u64::from(machine.region_offset);
    let memory = FlatMemory::new(base, 0, 0);
    let mut reference =
        Reference { memory, nr_left: all, holes: BTreeMap::new(), live: BTreeMap::new() };
    reference.extend(nr_first);
    Ok(Box::new(reference))
}

/// What is wrong with a layout, if anything is.
pub fn layout_fault(size: u64, align: u64) -> Option<Refusal> {
    let most = i64::MAX as u64;
    match () {
        () if !align.is_power_of_two() => Some(Refusal::BadArgument),
        () if size == 0 => Some(Refusal::ZeroSize),
        () if size.checked_add(align - 1).is_none_or(|end| end > most) => Some(Refusal::TooLarge),
        () => None,
    }
}

impl Reference {
    fn alloc(&mut self, size: u64, align: u64) -> Answer {
        if let Some(fault) = layout_fault(size, align) {
            return Answer::Refused(fault);
        }
        let place = |(start, len): (&u64, &u64)| {
            let addr = start.checked_next_multiple_of(align)?;
            (addr.checked_add(size)? <= start + len).then_some((*start, *len, addr))
        };
        let Some((start, len, addr)) = self.holes.iter().find_map(place) else { return SHORT };
        self.holes.remove(&start);
        self.add_hole(start, addr - start);
        self.add_hole(addr + size, start + len - addr - size);
        self.live.insert(addr, (size, align));
        Answer::Memory { addr, usable: size, bus: None }
    }

    fn alloc_zeroed(&mut self, size: u64, align: u64) -> Answer {
        let answer = self.alloc(size, align);
        for addr in answer.granted() {
            self.memory.fill(*addr, size as usize, 0);
        }
        answer
    }

    fn dealloc(&mut self, addr: u64) -> Answer {
        if let Some((size, _)) = self.live.remove(&addr) {
            self.add_hole(addr, size);
        }
        Answer::Done
    }

    /// Grows or shrinks in place where there is room, and else moves.
    fn realloc(&mut self, addr: u64, size: u64) -> Answer {
        let Some((old, align)) = self.live.get(&addr).copied() else {
            return Answer::Unsupported;
        };
        if let Some(fault) = layout_fault(size, align) {
            return Answer::Refused(fault);
        }
        let room = old + self.holes.get(&(addr + old)).copied().unwrap_or(0);
        if size <= room {
            self.holes.remove(&(addr + old));
            self.add_hole(addr + size, room - size);
            self.live.insert(addr, (size, align));
            return Answer::Memory { addr, usable: size, bus: None };
        }
        let answer = self.alloc(size, align);
        for new in answer.granted() {
            self.memory.copy(addr, *new, old as usize);
            self.dealloc(addr);
        }
        answer
    }

    /// Gives it the next bytes, if there are so many.
    fn extend(&mut self, size: u64) -> Answer {
        if size > self.nr_left {
            return SHORT;
        }
        self.nr_left -= size;
        let start = self.memory.end();
        self.memory.grow(size as usize);
        self.add_hole(start, size);
        Answer::Done
    }

    /// Adds a hole, and merges it with those that it touches.
    fn add_hole(&mut self, mut start: u64, mut len: u64) {
        if len == 0 {
            return;
        }
        len += self.holes.remove(&(start + len)).unwrap_or(0);
        if let Some((before, nr)) = self.holes.range(..start).next_back().map(|(s, n)| (*s, *n))
            && before + nr == start
        {
            (start, len) = (before, nr + len);
        }
        self.holes.insert(start, len);
    }
}

impl Subject for Reference {
    fn caps(&self) -> Caps {
        Caps::of(&[Cap::GivesBack, Cap::Reuses])
    }

    fn apply(&mut self, request: &Request, _setting: &Setting) -> Reply {
        let get = |role| request.get(role).unwrap_or(0);
        let (size, align) = (get(Role::Size), get(Role::Align));
        let in_bytes = get(Role::Count).saturating_mul(PAGE);
        let answer = match request.call {
            Call::Alloc => self.alloc(size, align),
            Call::AllocZeroed => self.alloc_zeroed(size, align),
            Call::Dealloc | Call::DeallocFrames => self.dealloc(get(Role::Freed)),
            Call::Realloc => self.realloc(get(Role::Replaced), size),
            Call::Extend => self.extend(size),
            Call::AllocFrames => self.alloc(in_bytes, align.max(PAGE)),
            Call::AddFrames => self.extend(in_bytes),
            _ => Answer::Unsupported,
        };
        Reply { answer, ..Reply::default() }
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> usize {
        self.memory.read(addr, bytes)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> usize {
        self.memory.write(addr, bytes)
    }
}
