//! What is live at a point of the recording, and the register that holds it.
//!
//! The one idea: an address (or a frame) has one owner at a time: a register of the trace, or the
//! kernel's own use inside a call that the trace makes as a whole. So the owner, not the place of
//! the event, decides what a free means: vmalloc's records may be freed by another task much later.
//!
//! This file does not write ops (`convert`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::machine::Meter;
use super::pages::frames;
use super::ranges::Ranges;
use crate::op::Reg;

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From kmalloc.
    Kmalloc,
    /// From the cache in this cache register.
    Cache(Reg),
    /// From kvmalloc.
    Kvmalloc,
    /// From vmalloc.
    Vmalloc,
    /// From the page allocator, a block of this order.
    Pages(u8),
}

/// A register in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    /// The register.
    pub(super) reg: Reg,
    /// What it holds.
    pub(super) kind: Origin,
    /// What it costs a machine to hold it.
    pub(super) cost: super::machine::Cost,
}

/// Who owns an address.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// The trace.
    Register(Live),
    /// A call that the trace makes as a whole; if it is vmalloc, of an area of so many pages.
    Internal { pages: u64 },
}

/// A block of pages, until its last page is free.
#[derive(Debug)]
struct Block {
    frames_left: u64,
    /// The register, or none if the block lies under an object or inside a call.
    live: Option<Live>,
    /// A part of it was freed alone.
    split: bool,
}

/// What freeing pages did.
#[derive(Debug, Default)]
pub(super) struct Released {
    /// Blocks in registers that are now free as a whole, and whether that took several calls.
    pub(super) whole: Vec<(Live, bool)>,
    /// Some of the pages were of a block in a register.
    pub(super) of_register: bool,
    /// Some of the pages were of an internal block.
    pub(super) internal: bool,
}

/// Everything that is live.
#[derive(Debug, Default)]
pub(super) struct Owners {
    owners: HashMap<u64, Owner>,
    blocks: Vec<Block>,
    /// The block that each allocated frame belongs to.
    frames: Ranges<usize>,
    /// Registers below `next_reg` that are free.
    free_regs: BinaryHeap<Reverse<Reg>>,
    next_reg: u32,
    /// What all live registers cost, now and at most.
    pub(super) meter: Meter,
}

impl Owners {
    /// The register that the next allocation will get: the lowest free one. `None` if all are used.
    pub(super) fn next_register(&self) -> Option<Reg> {
        match self.free_regs.peek() {
            Some(Reverse(reg)) => Some(*reg),
            None => Reg::try_from(self.next_reg).ok(),
        }
    }

    /// Takes the lowest free register for something of this kind.
    pub(super) fn take_register(
        &mut self,
        kind: Origin,
        cost: super::machine::Cost,
    ) -> Option<Live> {
        let reg = self.next_register()?;
        if self.free_regs.pop().is_none() {
            self.next_reg += 1;
        }
        self.meter.add(cost);
        Some(Live { reg, kind, cost })
    }

    /// Gives a register back.
    pub(super) fn return_register(&mut self, live: Live) {
        self.free_regs.push(Reverse(live.reg));
        self.meter.remove(live.cost);
    }

    /// How many registers are in use.
    pub(super) fn registers_in_use(&self) -> u64 {
        u64::from(self.next_reg) - self.free_regs.len() as u64
    }

    /// Sets the owner of an address. The one before, if any, was removed.
    pub(super) fn own(&mut self, ptr: u64, owner: Owner) {
        self.owners.insert(ptr, owner);
    }

    /// Removes the owner of an address.
    pub(super) fn disown(&mut self, ptr: u64) -> Option<Owner> {
        self.owners.remove(&ptr)
    }

    /// Enters a block of pages. The frames were released before.
    pub(super) fn add_block(&mut self, pfn: u64, order: u8, live: Option<Live>) {
        let number = self.blocks.len();
        self.blocks.push(Block { frames_left: 1 << order, live, split: false });
        self.frames.insert(frames(pfn, order), number);
    }

    /// Frees pages: perhaps a block, a part of one, or several, as far as they are known.
    pub(super) fn release(&mut self, pfn: u64, order: u8) -> Released {
        let mut released = Released::default();
        let call = frames(pfn, order);
        for (piece, number) in self.frames.remove(call.clone()) {
            let block = &mut self.blocks[number];
            block.frames_left -= piece.end - piece.start;
            released.of_register |= block.live.is_some();
            released.internal |= block.live.is_none();
            // What is left after this call's last page was not freed by this call.
            block.split |= piece.end == call.end && block.frames_left > 0;
            if block.frames_left > 0 {
                continue;
            }
            if let Some(live) = block.live.take() {
                released.whole.push((live, block.split));
            }
        }
        released
    }
}
