//! A heap as a subject: requests become calls with layouts, and its answers are bounded to the
//! memory that it was given.
//!
//! The one idea: a heap is never believed. Where it says that memory is, the harness looks only if
//! that lies in what the heap was given, or, of a heap that takes its memory from the system, in
//! what is live; so a wild answer is a finding and no fault of the harness'.
//!
//! It judges nothing. What a heap does not have is answered with [`Answer::Unsupported`].

#![expect(unsafe_code, reason = "it calls heaps, whose promises are about raw memory")]

use super::arena::{ALIGN_BYTES, Wear};
use super::bytes;
use super::contract::{Growth, Heap, Home};
use super::housed::Housed;
use kvroute_harness::call::{Call, Request, Role};
use kvroute_harness::op::Setting;
use kvroute_harness::subject::reference::layout_fault;
use kvroute_harness::subject::{Answer, Cap, Caps, Mismatch, Reach, Refusal, Reply, Subject};
use kvroute_harness::trace::Machine;
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::slice;

/// A heap that was booted, and what it has given.
struct Tenant<H> {
    housed: Housed<H>,
    /// The layout of what is live, by its address.
    live: BTreeMap<usize, Layout>,
    /// The bytes that the live layouts have together.
    nr_live_bytes: usize,
    /// How many bytes were in use at first.
    nr_used_at_boot: usize,
}

/// Boots a heap on the memory of a machine.
///
/// # Errors
/// If the host has no memory.
pub fn boot<H: Heap + 'static>(machine: &Machine) -> Result<Box<dyn Subject>, String> {
    let housed = Housed::<H>::boot(machine, Wear::Touched)?;
    let nr_used_at_boot = housed.heap().map_or(0, H::used_bytes);
    let (live, nr_live_bytes) = (BTreeMap::new(), 0);
    Ok(Box::new(Tenant { housed, live, nr_live_bytes, nr_used_at_boot }))
}

/// What is short when a heap gives nothing.
const SHORT: Answer = Answer::Refused(Refusal::Pages { order: 0 });

/// The layout of a request, or why there is none.
fn layout(size: u64, align: u64) -> Result<Layout, Answer> {
    if let Some(fault) = layout_fault(size, align) {
        return Err(Answer::Refused(fault));
    }
    let (size, align) = (size as usize, align as usize);
    if align > ALIGN_BYTES {
        return Err(SHORT);
    }
    Layout::from_size_align(size, align).map_err(|_| Answer::Refused(Refusal::TooLarge))
}

/// How many bytes of live memory its caller may use.
fn usable<H: Heap>(heap: &H, ptr: NonNull<u8>, layout: Layout) -> usize {
    if H::USABLE_SIZE { heap.usable_size(ptr, layout) } else { layout.size() }
}

impl<H: Heap> Tenant<H> {
    /// Enters memory that was given, or says that there was none.
    fn granted(&mut self, ptr: Option<NonNull<u8>>, layout: Layout) -> Answer {
        let (Some(ptr), Some(heap)) = (ptr, self.housed.heap()) else { return SHORT };
        let addr = ptr.as_ptr() as usize;
        let usable = usable(heap, ptr, layout);
        self.live.insert(addr, layout);
        self.nr_live_bytes += layout.size();
        Answer::Memory { addr: addr as u64, usable: usable as u64, bus: None }
    }

    /// Whether the machine has so many bytes more. The system has, and would be used up.
    fn has_room(&self, nr_bytes: usize) -> bool {
        let nr_left = self.housed.nr_bytes.saturating_sub(self.nr_live_bytes);
        H::HOME == Home::REGIONS || nr_bytes <= nr_left
    }

    fn alloc(&mut self, layout: Layout) -> Answer {
        if !self.has_room(layout.size()) {
            return SHORT;
        }
        let ptr = self.housed.heap_mut().and_then(|heap| heap.alloc(layout));
        self.granted(ptr, layout)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Answer {
        if !H::ALLOC_ZEROED {
            return Answer::Unsupported;
        }
        if !self.has_room(layout.size()) {
            return SHORT;
        }
        let ptr = self.housed.heap_mut().and_then(|heap| heap.alloc_zeroed(layout));
        self.granted(ptr, layout)
    }

    /// Strikes live memory out.
    fn forget(&mut self, addr: usize) -> Option<(NonNull<u8>, Layout)> {
        let layout = self.live.remove(&addr)?;
        self.nr_live_bytes -= layout.size();
        Some((NonNull::new(addr as *mut u8)?, layout))
    }

    fn dealloc(&mut self, addr: usize) -> Answer {
        let Some((ptr, layout)) = self.forget(addr) else { return Answer::Unsupported };
        if let Some(heap) = self.housed.heap_mut() {
            // SAFETY: the heap gave this memory for this layout, and has not been given it back.
            unsafe { heap.dealloc(ptr, layout) };
        }
        Answer::Done
    }

    fn realloc(&mut self, addr: usize, size: u64) -> Answer {
        let Some(old) = self.live.get(&addr).copied() else { return Answer::Unsupported };
        let new = match layout(size, old.align() as u64) {
            Ok(new) if H::REALLOC => new,
            Ok(_) => return Answer::Unsupported,
            Err(refused) => return refused,
        };
        if !self.has_room(new.size()) {
            return SHORT;
        }
        let (Some(ptr), Some(heap)) = (NonNull::new(addr as *mut u8), self.housed.heap_mut())
        else {
            return SHORT;
        };
        // SAFETY: as in `dealloc`; the new layout was looked at.
        let Some(moved) = (unsafe { heap.realloc(ptr, old, new.size()) }) else { return SHORT };
        self.forget(addr);
        self.granted(Some(moved), new)
    }

    fn extend(&mut self, nr_bytes: usize) -> Answer {
        let (Some(heap), arena) = self.housed.both() else { return SHORT };
        let piece = match H::GROWTH {
            Growth::Never => return Answer::Unsupported,
            Growth::AtItsEnd => arena.give(nr_bytes),
            Growth::ByRegions => arena.give_apart(nr_bytes),
        };
        let Some(piece) = piece else { return SHORT };
        // SAFETY: nobody else was given the piece.
        unsafe { heap.extend(piece) };
        Answer::Done
    }

    /// Live memory of a heap that lives on the system's: the bytes at an address.
    fn live_bytes(&self, addr: usize, most: usize) -> Option<usize> {
        let (start, layout) = self.live.range(..=addr).next_back()?;
        let heap = self.housed.heap()?;
        let ptr = NonNull::new(*start as *mut u8)?;
        let end = start.checked_add(usable(heap, ptr, *layout))?;
        Some(end.checked_sub(addr)?.min(most))
    }

    fn bytes(&self, addr: u64, most: usize) -> &[u8] {
        let addr = addr as usize;
        if H::HOME == Home::REGIONS {
            return self.housed.arena().bytes(addr, most);
        }
        match self.live_bytes(addr, most) {
            // SAFETY: it is live memory of the harness, as whoever wrote the adapter promises.
            Some(len) => unsafe { slice::from_raw_parts(addr as *const u8, len) },
            None => &[],
        }
    }

    fn bytes_mut(&mut self, addr: u64, most: usize) -> &mut [u8] {
        let addr = addr as usize;
        if H::HOME == Home::REGIONS {
            return self.housed.arena_mut().bytes_mut(addr, most);
        }
        match self.live_bytes(addr, most) {
            // SAFETY: as in `bytes`.
            Some(len) => unsafe { slice::from_raw_parts_mut(addr as *mut u8, len) },
            None => &mut [],
        }
    }
}

impl<H: Heap> Subject for Tenant<H> {
    fn caps(&self) -> Caps {
        let mut caps = H::GIVES_BACK.caps();
        if H::HOME == Home::REGIONS {
            caps = caps.with(Cap::Bounds);
        }
        if H::USED_BYTES {
            caps = caps.with(Cap::Validation);
        }
        caps
    }

    fn apply(&mut self, request: &Request, _setting: &Setting) -> Reply {
        let get = |role| request.get(role).unwrap_or(0);
        let (size, align) = (get(Role::Size), get(Role::Align));
        let answer = match request.call {
            Call::Alloc => layout(size, align).map_or_else(|refused| refused, |it| self.alloc(it)),
            Call::AllocZeroed => {
                layout(size, align).map_or_else(|refused| refused, |it| self.alloc_zeroed(it))
            }
            Call::Dealloc => self.dealloc(get(Role::Freed) as usize),
            Call::Realloc => self.realloc(get(Role::Replaced) as usize, size),
            Call::Extend => self.extend(size as usize),
            _ => Answer::Unsupported,
        };
        Reply { answer, ..Reply::default() }
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> usize {
        bytes::read(self.bytes(addr, bytes.len()), bytes)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> usize {
        bytes::write(self.bytes_mut(addr, bytes.len()), bytes)
    }

    fn compare(&self, addr: u64, expected: &[u8]) -> Result<(), Mismatch> {
        bytes::compare(self.bytes(addr, expected.len()), expected)
    }

    fn validate(&self) -> Result<(), String> {
        let Some(heap) = self.housed.heap().filter(|_| H::USED_BYTES) else { return Ok(()) };
        let (used, live) = (heap.used_bytes(), self.nr_live_bytes);
        match () {
            () if used < live => Err(format!("{used:#x} bytes are in use, and {live:#x} live")),
            () if live == 0 && used != self.nr_used_at_boot => Err(format!(
                "{used:#x} bytes are in use when all is freed, {:#x} were at first",
                self.nr_used_at_boot
            )),
            () => Ok(()),
        }
    }

    fn trespass(&self, reach: Reach) -> Option<u64> {
        self.housed.arena().trespass(reach)
    }
}
