//! A heap that is led through a churn: its acts are calls at once, with a book of 512 places.
//!
//! The one idea: each byte that a heap has given is written by its holder, all of what is called
//! usable, and read once more before it is given back; so to give a byte twice, to lose one in a
//! move, and to write into what is live all show as bytes that are not what they were. Nothing is
//! looked up for that. What is left is where memory lies, and what there is beside it and after it.
//!
//! Nothing is judged for good here: what is amiss is judged by the churn's trace. The reasons are
//! short for that, and no act pays for more.

#![expect(unsafe_code, reason = "it calls heaps, whose promises are about raw memory")]

use super::arena::{Arena, Wear};
use super::contract::{GivesBack, Heap, Home};
use super::housed::Housed;
use super::pattern::{is_painted, is_painted_from, is_zero, paint};
use kvroute_harness::churn::{Act, Churn, NR_SLOTS, Tally, What};
use kvroute_harness::subject::Reach;
use std::alloc::Layout;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

/// All that is beside the blocks is looked at every so many acts, and at the end.
const LOOK_INTERVAL_ACTS: usize = 64;
/// It is told every so many acts which one is at hand: these share the time that one act may take.
const NOTE_INTERVAL_ACTS: usize = 8;
/// So many requests of the fresh heap are made once more at the end.
const NR_AGAIN: usize = 8;

/// What is live in a slot.
#[derive(Clone, Copy)]
struct Block {
    ptr: NonNull<u8>,
    layout: Layout,
    usable: usize,
    /// The key of what it holds.
    key: u64,
}

/// A heap on its way through a churn.
struct Way<'a, H> {
    heap: &'a mut H,
    arena: &'a Arena,
    region: Range<usize>,
    blocks: [Option<Block>; NR_SLOTS],
    nr_live_bytes: usize,
    /// How many bytes may be live.
    nr_bytes_max: usize,
    nr_used_at_boot: usize,
    /// The most that the fresh heap gives at once, and what it gave first.
    largest: usize,
    first: Vec<Layout>,
    /// Whether a block was freed or resized.
    has_let_go: bool,
    tally: Tally,
}

/// Leads a heap through a churn; `note` is told now and then which act is at hand.
///
/// # Errors
/// What is amiss. It is a suspicion: the churn's trace decides.
pub fn lead<H: Heap>(churn: &mut Churn, note: &mut dyn FnMut(usize)) -> Result<Tally, String> {
    let mut housed = Housed::<H>::boot(churn.machine(), Wear::Whole)?;
    let (region, nr_bytes_max) = (housed.region.clone(), housed.nr_bytes);
    let (Some(heap), arena) = housed.both() else { return Ok(nothing_granted(churn)) };
    let mut way = Way::<H> {
        nr_used_at_boot: heap.used_bytes(),
        heap,
        arena,
        region,
        blocks: [None; NR_SLOTS],
        nr_live_bytes: 0,
        nr_bytes_max,
        largest: 0,
        first: Vec::with_capacity(NR_AGAIN),
        has_let_go: false,
        tally: Tally::default(),
    };
    if H::GIVES_BACK == GivesBack::All {
        way.largest = way.largest_grant();
    }
    for act in churn.by_ref() {
        way.act(act)?;
        if act.number % NOTE_INTERVAL_ACTS == 0 {
            note(act.number);
        }
        if act.number % LOOK_INTERVAL_ACTS == 0 {
            way.look(Reach::Near)?;
        }
    }
    note(churn.nr_drawn());
    way.end()?;
    Ok(way.tally)
}

/// Of a heap that could do nothing with its region.
fn nothing_granted(churn: &mut Churn) -> Tally {
    let mut tally = Tally::default();
    for act in churn {
        match act.what {
            What::Alloc { .. } | What::AllocZeroed { .. } => tally.refused(act.what),
            What::Realloc { .. } | What::Dealloc => tally.meaningless(act.what),
        }
    }
    tally
}

impl Block {
    /// Its first bytes, no more than are usable.
    fn bytes(&self, nr_bytes: usize) -> &[u8] {
        // SAFETY: the block was found to lie in the heap's region, or its author vouches for it;
        // nobody else runs while it is looked at.
        unsafe { slice::from_raw_parts(self.ptr.as_ptr(), nr_bytes) }
    }

    fn paint(&mut self) {
        // SAFETY: as above, and the block is the harness' to write to.
        paint(unsafe { slice::from_raw_parts_mut(self.ptr.as_ptr(), self.usable) }, self.key);
    }
}

impl<H: Heap> Way<'_, H> {
    fn act(&mut self, act: Act) -> Result<(), String> {
        let key = (act.number as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93);
        match act.what {
            What::Alloc { size, align } | What::AllocZeroed { size, align } => {
                self.alloc(act, layout(size, align)?, key)
            }
            What::Realloc { size } => self.realloc(act, size, key),
            What::Dealloc => self.dealloc(act),
        }
    }

    fn has_room(&self, nr_bytes: usize) -> bool {
        let nr_left = self.nr_bytes_max.saturating_sub(self.nr_live_bytes);
        H::HOME == Home::REGIONS || nr_bytes <= nr_left
    }

    fn alloc(&mut self, act: Act, layout: Layout, key: u64) -> Result<(), String> {
        let is_zeroed = matches!(act.what, What::AllocZeroed { .. });
        let ptr = match self.has_room(layout.size()) {
            false => None,
            true if is_zeroed => self.heap.alloc_zeroed(layout),
            true => self.heap.alloc(layout),
        };
        let Some(ptr) = ptr else {
            self.tally.refused(act.what);
            return Ok(());
        };
        // Who gives all back is to give it again, which holds of what was live together.
        let is_of_first = H::GIVES_BACK != GivesBack::All || !self.has_let_go;
        if is_of_first && self.first.len() < NR_AGAIN {
            self.first.push(layout);
        }
        let block = self.block(ptr, layout, key)?;
        if is_zeroed && !is_zero(block.bytes(layout.size())) {
            return Err(format!("{} bytes at {ptr:?} are to be zero", layout.size()));
        }
        self.enter(act, block);
        Ok(())
    }

    /// A block, if it lies where it may.
    fn block(&self, ptr: NonNull<u8>, layout: Layout, key: u64) -> Result<Block, String> {
        let start = ptr.as_ptr() as usize;
        let is_aligned = start & (layout.align() - 1) == 0;
        let is_inside = H::HOME != Home::REGIONS || self.region.contains(&start);
        let usable = match H::USABLE_SIZE && is_inside {
            true => self.heap.usable_size(ptr, layout),
            false => layout.size(),
        };
        let nr_room = self.region.end.wrapping_sub(start);
        let fits = H::HOME != Home::REGIONS || usable <= nr_room;
        if is_aligned && is_inside && fits && usable >= layout.size() {
            return Ok(Block { ptr, layout, usable, key });
        }
        Err(format!("{usable} bytes at {ptr:?} are no answer to {layout:?}"))
    }

    /// Writes to a block that is new or was resized, and enters it.
    fn enter(&mut self, act: Act, mut block: Block) {
        block.paint();
        self.nr_live_bytes += block.layout.size();
        self.blocks[act.slot] = Some(block);
        self.tally.done(act.what);
    }

    fn realloc(&mut self, act: Act, size: usize, key: u64) -> Result<(), String> {
        let Some(old) = self.blocks[act.slot] else {
            self.tally.meaningless(act.what);
            return Ok(());
        };
        self.has_let_go = true;
        let new = layout(size, old.layout.align())?;
        let nr_kept = old.layout.size().min(size);
        if !is_painted_from(old.bytes(old.usable), nr_kept, old.key) {
            return Err(odd(&old, act));
        }
        let moved = match self.has_room(size) {
            // SAFETY: the heap gave this memory for this layout, and has not been given it back.
            true => unsafe { self.heap.realloc(old.ptr, old.layout, size) },
            false => None,
        };
        let Some(ptr) = moved else {
            self.tally.refused(act.what);
            let is_kept = is_painted(old.bytes(nr_kept), old.key);
            return if is_kept { Ok(()) } else { Err(odd(&old, act)) };
        };
        let block = self.block(ptr, new, key)?;
        if !is_painted(block.bytes(nr_kept), old.key) {
            return Err(odd(&block, act));
        }
        self.nr_live_bytes -= old.layout.size();
        self.enter(act, block);
        Ok(())
    }

    fn dealloc(&mut self, act: Act) -> Result<(), String> {
        let Some(block) = self.blocks[act.slot].take() else {
            self.tally.meaningless(act.what);
            return Ok(());
        };
        self.has_let_go = true;
        if !is_painted(block.bytes(block.usable), block.key) {
            return Err(odd(&block, act));
        }
        self.nr_live_bytes -= block.layout.size();
        // SAFETY: as in `realloc`.
        unsafe { self.heap.dealloc(block.ptr, block.layout) };
        self.tally.done(act.what);
        Ok(())
    }

    /// Looks at what is beside the blocks: the ends of the region, and the heap's own count.
    fn look(&self, reach: Reach) -> Result<(), String> {
        let trespass = match H::HOME == Home::REGIONS {
            true => self.arena.trespass(reach),
            false => None,
        };
        if let Some(addr) = trespass {
            return Err(format!("the byte at {addr:#x} is not the heap's"));
        }
        let used = if H::USED_BYTES { self.heap.used_bytes() } else { self.nr_live_bytes };
        if used < self.nr_live_bytes {
            return Err(format!("{used} bytes are in use, and {} live", self.nr_live_bytes));
        }
        Ok(())
    }

    /// Everything is freed: asks for what the fresh heap gave, as the end of a trace does.
    fn end(&mut self) -> Result<(), String> {
        let used = self.heap.used_bytes();
        if H::USED_BYTES && used != self.nr_used_at_boot {
            return Err(format!("{used} bytes are in use when all is freed"));
        }
        match H::GIVES_BACK {
            GivesBack::Nothing => return self.look(Reach::Everywhere),
            GivesBack::All => self.again(self.largest, "at first")?,
            GivesBack::ForLater => {
                self.round()?;
                self.largest = self.largest_grant();
            }
        }
        self.round()?;
        self.again(self.largest, "before a round of the first requests")?;
        self.look(Reach::Everywhere)
    }

    /// Asks for so many bytes, which were given before.
    fn again(&mut self, size: usize, when: &str) -> Result<(), String> {
        match size == 0 || self.gives(size) {
            true => Ok(()),
            false => Err(format!("{size} bytes were given {when}, and are not again")),
        }
    }

    /// Makes the first requests once more, and frees what they give.
    fn round(&mut self) -> Result<(), String> {
        let mut held = [None; NR_AGAIN];
        for (place, layout) in held.iter_mut().zip(&self.first) {
            *place = self.heap.alloc(*layout).map(|ptr| (ptr, *layout));
            if place.is_none() && H::GIVES_BACK == GivesBack::All {
                return Err(format!("{layout:?} is not granted again"));
            }
        }
        for (ptr, layout) in held.into_iter().flatten() {
            // SAFETY: it was just given.
            unsafe { self.heap.dealloc(ptr, layout) };
        }
        Ok(())
    }

    /// Whether so many bytes are given, which are then taken back.
    fn gives(&mut self, size: usize) -> bool {
        let layout = Layout::from_size_align(size, 1).ok().filter(|_| self.has_room(size));
        let given = layout.and_then(|layout| Some((self.heap.alloc(layout)?, layout)));
        // SAFETY: it was just given.
        given.map(|(ptr, layout)| unsafe { self.heap.dealloc(ptr, layout) }).is_some()
    }

    /// The most bytes that are given at once.
    fn largest_grant(&mut self) -> usize {
        let (mut given, mut refused) = (0, 2 * self.nr_bytes_max);
        while refused - given > 1 {
            let between = given.midpoint(refused);
            match self.gives(between) {
                true => given = between,
                false => refused = between,
            }
        }
        given
    }
}

/// A layout of a churn.
fn layout(size: usize, align: usize) -> Result<Layout, String> {
    Layout::from_size_align(size, align).map_err(|error| format!("no layout of a churn: {error}"))
}

#[cold]
fn odd(block: &Block, act: Act) -> String {
    let (at, size) = (block.ptr, block.layout.size());
    format!("the {size} bytes at {at:?} of r{} are not what was written to them", act.slot)
}
