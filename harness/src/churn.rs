//! A churn: the busy life of a heap, long and cheap to draw.
//!
//! The one idea: it is a pure function of a seed and of the calls that a heap has, drawn act by act
//! and never with a look at an answer. So there are two readers of one churn: written out
//! ([`Churn::trace`]) it is a trace like any other; and who has the heap at hand can carry the acts
//! out at once, with nothing between, where a trace passes a dozen stations.
//!
//! A slot is a register. Up to [`NR_SLOTS`] blocks of one byte to [`SIZE_MAX`] live at once, small
//! ones as often as large ones are by magnitude; how many live goes up and down, and in the end all
//! are freed. What lies at the edges of a heap is for the traces of swarms, not for these.

#[cfg(test)]
mod test;

use crate::call::{Call, MAX_ARGS};
use crate::generate::CallSet;
use crate::op::{Arg, Faults, Op, Ptr, Reg};
use crate::paint::mix;
use crate::trace::{Machine, Trace};
use crate::words::{Current, PAGE, Route};

/// So many blocks live at most.
pub const NR_SLOTS: usize = 512;
/// The most bytes of a block.
pub const SIZE_MAX: usize = 16 << 10;

/// The frames of a machine on which nearly every request is served.
const FRAMES_ROOMY: u32 = 512;
/// Alignments by four random bits; the last place stands for those from two words on.
const ALIGNS: [usize; 15] = [8, 1, 2, 4, 8, 8, 8, 8, 8, 16, 16, 16, 16, 4, 1];
/// The acts of the shortest churn, and by how many bits the longest is longer.
const NR_ACTS_MIN: usize = 1 << 11;
const NR_ACTS_BITS: u64 = 5;
/// The most acts of a churn, with those that free all in the end.
pub(crate) const NR_ACTS_MAX: usize = (NR_ACTS_MIN << NR_ACTS_BITS) + NR_SLOTS;

/// What is done with the block of a slot. There is a block where an earlier act was granted one;
/// where it was refused, freeing and resizing mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A new one.
    Alloc {
        /// Its bytes.
        size: usize,
        /// Its alignment.
        align: usize,
    },
    /// A new one of zeroes.
    AllocZeroed {
        /// Its bytes.
        size: usize,
        /// Its alignment.
        align: usize,
    },
    /// It gets this size.
    Realloc {
        /// Its bytes.
        size: usize,
    },
    /// It is freed.
    Dealloc,
}

/// An act of a churn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Act {
    /// Its number.
    pub number: usize,
    /// The slot, below [`NR_SLOTS`].
    pub slot: usize,
    /// What is done.
    pub what: What,
}

/// A churn that has been drawn so far.
#[derive(Clone, Debug)]
pub struct Churn {
    machine: Machine,
    has_realloc: bool,
    has_zeroed: bool,
    state: u64,
    /// How many acts there are before all is freed.
    nr_busy: usize,
    nr_drawn: usize,
    /// How many blocks are to live, and the act at which that is drawn again.
    nr_wanted: usize,
    next_turn: usize,
    /// All slots; those that are taken stand first.
    slots: [u16; NR_SLOTS],
    nr_taken: usize,
    /// What was last asked for, by slot.
    sizes: [u16; NR_SLOTS],
}

/// The random bits of one act, taken from the low end.
struct Bits(u64);

impl Bits {
    fn take(&mut self, nr: u32) -> usize {
        let taken = self.0 & ((1 << nr) - 1);
        self.0 >>= nr;
        taken as usize
    }

    /// A number below this one, which is small beside 2^16.
    fn below(&mut self, end: usize) -> usize {
        (self.take(16) * end) >> 16
    }

    /// Each magnitude as often as another, and often a power of two or the size just above one.
    fn size(&mut self) -> usize {
        let power = 1 << ((self.take(4) * 15) >> 4);
        let (edge, below) = (self.take(3), self.take(14) & ((power - 1) >> 1));
        match edge {
            0 => power,
            1 => power / 2 + 1,
            _ => power - below,
        }
    }

    fn align(&mut self) -> usize {
        match ALIGNS.get(self.take(4)) {
            Some(align) => *align,
            None => match self.take(3) {
                7 => 1 << (12 + self.take(2)),
                bits => 32 << bits,
            },
        }
    }

    /// Another size of a block: as buffers grow, a little more or less, or any.
    fn resized(&mut self, size: usize) -> usize {
        let resized = match self.take(2) {
            0 => size * 2,
            1 => size + 1 + self.take(4),
            2 => size / 2,
            _ => self.size(),
        };
        resized.clamp(1, SIZE_MAX)
    }
}

impl Churn {
    /// The churn that a seed stands for, for a heap with these calls.
    pub fn of_seed(seed: u64, calls: CallSet) -> Self {
        let mut bits = Bits(mix(seed, 0));
        let frames = FRAMES_ROOMY >> if bits.take(1) == 0 { 0 } else { 1 + bits.take(1) };
        let region_offset = [0, 0, 0, 0, 1, 8, 24, 0x800][bits.take(3)];
        let cut = [0, 0, 0, bits.take(12) as u32][bits.take(2)];
        let region_bytes = (frames * PAGE as u32 - cut) * u32::from(cut > 0);
        Self {
            machine: Machine { frames, region_bytes, region_offset, ..Machine::default() },
            has_realloc: calls.contains(Call::Realloc),
            has_zeroed: calls.contains(Call::AllocZeroed),
            state: mix(seed, 1),
            nr_busy: NR_ACTS_MIN << bits.below(NR_ACTS_BITS as usize + 1),
            nr_drawn: 0,
            nr_wanted: 0,
            next_turn: 0,
            slots: std::array::from_fn(|slot| slot as u16),
            nr_taken: 0,
            sizes: [0; NR_SLOTS],
        }
    }

    /// The machine that it runs on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// How many acts have been drawn.
    pub fn nr_drawn(&self) -> usize {
        self.nr_drawn
    }

    /// What is left of it, written out.
    pub fn trace(self) -> Trace {
        Trace { machine: self.machine, ops: self.map(Act::op).collect(), ..Trace::default() }
    }

    /// One multiplication a draw (the generator known as wyrand).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.state) * u128::from(self.state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    /// Draws how many blocks are to live from here on, and for how long.
    fn turn(&mut self) {
        let mut bits = Bits(self.draw());
        self.nr_wanted = if bits.take(1) == 0 { NR_SLOTS } else { bits.below(NR_SLOTS) };
        self.next_turn = self.nr_drawn + 256 + bits.take(11);
    }

    /// A block in a slot that is not taken.
    fn make(&mut self, bits: &mut Bits) -> (usize, What) {
        let place = self.nr_taken + bits.below(NR_SLOTS - self.nr_taken);
        let slot = usize::from(self.slots[place]);
        self.slots.swap(place, self.nr_taken);
        self.nr_taken += 1;
        let (is_zeroed, size, align) = (bits.take(3) == 0, bits.size(), bits.align());
        self.sizes[slot] = size as u16;
        match is_zeroed && self.has_zeroed {
            true => (slot, What::AllocZeroed { size, align }),
            false => (slot, What::Alloc { size, align }),
        }
    }

    /// Another size for a slot that is taken, or its end.
    fn unmake(&mut self, bits: &mut Bits) -> (usize, What) {
        let place = bits.below(self.nr_taken);
        let slot = usize::from(self.slots[place]);
        if bits.take(2) == 0 && self.has_realloc {
            let size = bits.resized(self.sizes[slot].into());
            self.sizes[slot] = size as u16;
            return (slot, What::Realloc { size });
        }
        self.nr_taken -= 1;
        self.slots.swap(place, self.nr_taken);
        (slot, What::Dealloc)
    }
}

impl Iterator for Churn {
    type Item = Act;

    #[inline]
    fn next(&mut self) -> Option<Act> {
        let number = self.nr_drawn;
        let (slot, what) = if number < self.nr_busy {
            if number == self.next_turn {
                self.turn();
            }
            let mut bits = Bits(self.draw());
            let is_rather = bits.take(3) > 0;
            let makes = (self.nr_taken < self.nr_wanted) == is_rather;
            match (makes && self.nr_taken < NR_SLOTS) || self.nr_taken == 0 {
                true => self.make(&mut bits),
                false => self.unmake(&mut bits),
            }
        } else {
            self.nr_taken = self.nr_taken.checked_sub(1)?;
            (usize::from(self.slots[self.nr_taken]), What::Dealloc)
        };
        self.nr_drawn += 1;
        Some(Act { number, slot, what })
    }
}

impl What {
    /// The calls that there are.
    const CALLS: [Call; 4] = [Call::Alloc, Call::AllocZeroed, Call::Realloc, Call::Dealloc];

    /// The place of its call among those.
    fn place(self) -> usize {
        match self {
            Self::Alloc { .. } => 0,
            Self::AllocZeroed { .. } => 1,
            Self::Realloc { .. } => 2,
            Self::Dealloc => 3,
        }
    }
}

impl Act {
    /// The act as a line of a trace.
    fn op(self) -> Op {
        let register = self.slot as Reg;
        let (number, held) = (|it: usize| Arg::Number(it as u64), Arg::Ptr(Ptr::Reg(register, 0)));
        let (dst, first) = match self.what {
            What::Alloc { size, align } | What::AllocZeroed { size, align } => {
                (Some(register), [number(size), number(align)])
            }
            What::Realloc { size } => (Some(register), [held, number(size)]),
            What::Dealloc => (None, [held, number(0)]),
        };
        let mut args = [Arg::Number(0); MAX_ARGS];
        args[..first.len()].copy_from_slice(&first);
        let (route, caller, faults) = (Route::Policy, Current::default(), Faults::default());
        let call = What::CALLS[self.what.place()];
        Op { dst, call, args, route, faults, caller, expect: None }
    }
}

/// What became of the acts of a churn, by call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    done: [u64; What::CALLS.len()],
    refused: [u64; What::CALLS.len()],
    meaningless: [u64; What::CALLS.len()],
}

impl Tally {
    /// Memory was granted, or taken back.
    #[inline]
    pub fn done(&mut self, what: What) {
        self.done[what.place()] += 1;
    }

    /// There was no memory.
    #[inline]
    pub fn refused(&mut self, what: What) {
        self.refused[what.place()] += 1;
    }

    /// The slot held no block.
    #[inline]
    pub fn meaningless(&mut self, what: What) {
        self.meaningless[what.place()] += 1;
    }

    /// Each call with how often it was done, refused, and of no meaning.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (Call, u64, u64, u64)> {
        let row = |place| (self.done[place], self.refused[place], self.meaningless[place]);
        What::CALLS.into_iter().enumerate().map(move |(place, call)| {
            let (done, refused, meaningless) = row(place);
            (call, done, refused, meaningless)
        })
    }
}
