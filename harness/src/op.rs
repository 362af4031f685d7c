//! An op: one line of a trace, with what stands beside its call, and the classes of answers.
//!
//! The calls themselves are in `call`. This file does not know what one does; `subject` and `model`
//! do.

use crate::call::{Call, MAX_ARGS, MAX_LIST, Role};
use crate::words::{Context, Current, Gfp, Route};

/// The number of a memory register (`r0`, …) or cache register (`c0`, …).
pub type Reg = u16;

/// An address as a trace writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ptr {
    /// The address in a register plus an offset in bytes: `r3`, `r3+0x8`, `r3-0x1`.
    Reg(Reg, i64),
    /// A constant: `NULL` (0), `ZERO_SIZE_PTR` (16) or a hexadecimal number.
    Const(u64),
}

/// One argument. Its variant always agrees with the [`Role`] of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Any of the kinds that are numbers.
    Number(u64),
    /// GFP flags.
    Gfp(Gfp),
    /// An address.
    Ptr(Ptr),
    /// A cache register.
    Cache(Reg),
    /// The addresses in so many registers from this one on: `r0..r3`.
    Regs(Reg, u8),
}

/// Which calls of the fault sites fail during one op: the n-th from 1 on, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// `fail_nth`: counts the calls of all sites together.
    pub any: u16,
    /// `failslab`.
    pub slab: u16,
    /// `fail_page_alloc`.
    pub page_alloc: u16,
    /// `fail_vmap`.
    pub vmap: u16,
}

/// What stands beside a call and is no argument of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The failures to inject.
    pub faults: Faults,
    /// Who makes the call.
    pub caller: Current,
}

impl Setting {
    /// The harness itself calls, as the same task on the same CPU, and where it may sleep.
    pub fn of_harness(self) -> Self {
        let caller = Current { context: Context::Task, killed: 0, ..self.caller };
        Self { faults: Faults::default(), caller }
    }
}

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The register on the left of `=`, if the call yields something and the line keeps it.
    pub dst: Option<Reg>,
    /// The call.
    pub call: Call,
    /// The arguments; places beyond the call's own are `Number(0)`.
    pub args: [Arg; MAX_ARGS],
    /// `(route: …)`.
    pub route: Route,
    /// `(fail_nth: …, failslab: …, fail_page_alloc: …, fail_vmap: …)`.
    pub faults: Faults,
    /// `(task: …, cpu: …, context: …)`: who makes the call.
    pub caller: Current,
    /// `# -> …`: what the lane that follows the trace must answer.
    pub expect: Option<Class>,
}

impl Op {
    /// How many registers stand on the left of `=`, if any does. Those that the call does not fill
    /// hold NULL.
    pub fn nr_dst(&self) -> u16 {
        match self.call.spec().place(Role::Results).map(|place| self.args[place]) {
            Some(Arg::Number(nr)) => nr.clamp(1, MAX_LIST as u64) as u16,
            _ => 1,
        }
    }

    /// The register whose reference the op drops, if it names one.
    pub(crate) fn put_page(&self) -> Option<Reg> {
        match self.args[0] {
            Arg::Ptr(Ptr::Reg(register, 0)) if self.call == Call::PutPage => Some(register),
            _ => None,
        }
    }

    /// What stands beside the call.
    pub fn setting(&self) -> Setting {
        Setting { faults: self.faults, caller: self.caller }
    }
}

/// The class of an answer: what an expectation names and a report counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants are described in CLASSES")]
pub enum Class {
    Done,
    Yes,
    No,
    Slab,
    Pages,
    Vmalloc,
    Boot,
    Memory,
    ZeroSizePtr,
    NoMemory,
    Deadlock,
    NoSpace,
    Injected,
    Blocked,
    TooLarge,
    ZeroSize,
    Overflow,
    BadArgument,
    ImpossibleNofail,
    BadContext,
    Unbalanced,
    Busy,
    TooLate,
    WrongKind,
    WrongAllocator,
    WrongOrder,
    WrongSize,
    WrongCache,
    DoubleFree,
    Interior,
    Misaligned,
    Wild,
    OutOfBounds,
}

/// Every class of answer: its name in a trace, and its meaning. `CLASSES[class as usize]`.
pub static CLASSES: &[(Class, &str, &str)] = &[
    (Class::Done, "Done", "the call did what it was asked and yields no memory"),
    (Class::Yes, "Yes", "what was asked about the address is true"),
    (Class::No, "No", "what was asked about the address is not true"),
    (Class::Slab, "Slab", "memory in the direct map, an object of a slab cache"),
    (Class::Pages, "Pages", "memory in the direct map, a block of the page allocator"),
    (Class::Vmalloc, "Vmalloc", "memory in the vmalloc space"),
    (Class::Boot, "Boot", "memory in the direct map, kept from the page allocator for ever"),
    (Class::Memory, "Memory", "a block of a heap, or a run of frames"),
    (Class::ZeroSizePtr, "ZeroSizePtr", "ZERO_SIZE_PTR for a request of no bytes"),
    (Class::NoMemory, "NoMemory", "refused for want of page frames"),
    (Class::Deadlock, "Deadlock", "refused: no page, and nobody left to kill; Linux panics"),
    (
        Class::NoSpace,
        "NoSpace",
        "refused for want of room: in vmalloc space, the caller's range, or memblock's table",
    ),
    (Class::Injected, "Injected", "refused by failure injection"),
    (Class::Blocked, "Blocked", "a NOFAIL request that waits for its shortage to end"),
    (Class::TooLarge, "TooLarge", "refused: no such amount can ever be served"),
    (Class::ZeroSize, "ZeroSize", "refused: no bytes, of a call that gives whole pages"),
    (Class::Overflow, "Overflow", "refused: the array's size does not fit"),
    (
        Class::BadArgument,
        "BadArgument",
        "refused: an alignment, a range or a flag that means nothing",
    ),
    (Class::ImpossibleNofail, "ImpossibleNofail", "refused: a NOFAIL promise that cannot be kept"),
    (Class::BadContext, "BadContext", "refused: the call may sleep, and its caller may not"),
    (Class::Unbalanced, "Unbalanced", "refused: no such scope is the innermost open one"),
    (Class::Busy, "Busy", "refused: the cache still has live objects, or the range is taken"),
    (Class::TooLate, "TooLate", "refused: the boot allocator has handed its memory over"),
    (Class::WrongKind, "WrongKind", "conversion refused: it does not apply to such an address"),
    (Class::WrongAllocator, "WrongAllocator", "free refused: live memory of another allocator"),
    (Class::WrongOrder, "WrongOrder", "free refused: a block of another order"),
    (Class::WrongSize, "WrongSize", "free refused: the memory has another size, or fewer bytes"),
    (Class::WrongCache, "WrongCache", "free refused: an object of another cache"),
    (Class::DoubleFree, "DoubleFree", "free refused: already free"),
    (Class::Interior, "Interior", "free refused: inside live memory"),
    (Class::Misaligned, "Misaligned", "free refused: inside live memory, where nothing can start"),
    (Class::Wild, "Wild", "free refused: no memory that can be freed"),
    (Class::OutOfBounds, "OutOfBounds", "a write beyond the requested size, seen by the guard"),
];

impl Class {
    /// Whether it is a word for a free that was refused, but for one in a wrong context.
    pub fn is_wrong_free(self) -> bool {
        (Class::WrongAllocator..=Class::Wild).contains(&self)
    }

    /// The class's name in a trace.
    pub fn name(self) -> &'static str {
        CLASSES[self as usize].1
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn tables_are_in_the_order_of_their_enums() {
        for (place, (class, name, _)) in CLASSES.iter().enumerate() {
            assert_eq!(*class as usize, place, "{name}");
        }
    }
}
