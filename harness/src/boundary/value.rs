//! The values at the ends of every argument.
//!
//! An argument's values follow from its kind: 0, 1, every power of two and its neighbours, the
//! largest that can be written, and every constant of the rules with its neighbours. Some ends are
//! not numbers but places (the end of the memory that a register holds, of the machine, of the
//! vmalloc space), and are counted from there.
//!
//! Which of them meet in one case is the parent's to say.

use crate::call::{CallSpec, MAX_LIST, NUMA_NO_NODE, Role};
use crate::op::{Arg, Ptr, Reg};
use crate::text::MAX_ORDER_WRITTEN;
use crate::trace::Machine;
use crate::words::gfp::{
    __GFP_COMP, __GFP_NOFAIL, __GFP_NORETRY, __GFP_NOWARN, __GFP_RETRY_MAYFAIL, __GFP_THISNODE,
    __GFP_ZERO, GFP_ATOMIC, GFP_KERNEL, GFP_NAMES, Gfp,
};
use crate::words::{PAGE_OFFSET, VMALLOC_START};

/// Bytes in a page.
const PAGE: u64 = 4096;

/// Numbers at which some rule changes its mind (R0.2, R1.1, R3.2, R5.1): what is aligned to, the
/// size classes that are no powers of two, a few pages, huge pages, `KMALLOC_MAX_SIZE` and
/// `INT_MAX` in bytes and in pages.
const CONSTANTS: &[u64] = &[
    10,
    0x48,
    24,
    96,
    192,
    3 * PAGE,
    0x1800,
    5 * PAGE,
    6 << 20,
    i32::MAX as u64,
    i32::MAX as u64 / PAGE * PAGE,
    i32::MAX as u64 / PAGE,
    u64::MAX - PAGE + 1,
    u64::MAX / 2,
];

/// One value of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    /// A number.
    Number(u64),
    /// So much more than the bytes that the pointer's register holds.
    Held(i64),
    /// So much more than the bytes of the machine's memory.
    Memory(i64),
    /// So much more than the bytes of the vmalloc space.
    Space(i64),
    /// GFP flags.
    Gfp(Gfp),
    /// A cache register.
    Cache(u16),
    /// So far into the memory of the pointer's register.
    Inside(i64),
    /// An address of its own.
    Address(u64),
    /// So far behind the end of the direct map.
    DirectEnd(i64),
    /// So far behind the end of the vmalloc space.
    SpaceEnd(i64),
}

/// The values of an argument of this kind, each once: several lists have the same ends.
pub(super) fn values(kind: Role) -> Vec<Value> {
    let mut values = listed(kind);
    values.sort_unstable();
    values.dedup();
    values
}

fn listed(kind: Role) -> Vec<Value> {
    let all = |most| numbers(most).into_iter().map(Value::Number);
    let and = |more: &[Value]| all(u64::MAX).chain(more.iter().copied()).collect();
    let about = |of: fn(i64) -> Value| [-4096, -1, 0, 1, 4096].map(of);
    match kind {
        Role::Size => {
            let ends = [about(Value::Memory), about(Value::Space)].concat();
            and(&ends)
        }
        Role::Held => and(&about(Value::Held)),
        Role::Phys => and(&about(Value::Memory)),
        Role::RangeStart | Role::RangeEnd => offsets_of_space(),
        Role::Count | Role::Align | Role::Offset | Role::SlabFlags | Role::Ctor => and(&[]),
        Role::Order => {
            let more = (0..14).chain(50..66).map(Value::Number);
            all(MAX_ORDER_WRITTEN).chain(more).collect()
        }
        Role::Node => {
            let nodes = [0, 1, 2, 3, 4, 5, 127, 128, 255, 256, 1 << 32, NUMA_NO_NODE - 1];
            nodes.into_iter().chain([NUMA_NO_NODE]).map(Value::Number).collect()
        }
        Role::Results => (0..=MAX_LIST as u64).map(Value::Number).collect(),
        Role::FreedList => (1..=MAX_LIST as u64).map(Value::Number).collect(),
        Role::Gfp => flag_words().into_iter().map(Value::Gfp).collect(),
        Role::Cache => vec![Value::Cache(0), Value::Cache(1)],
        Role::Freed | Role::Replaced | Role::Read | Role::Written => pointers(),
    }
}

/// Values of an argument of this kind that do not keep a call from going on: those of the axes that
/// a case is not about are mostly drawn from them.
pub(super) fn usual(kind: Role) -> Vec<Value> {
    let numbers = |numbers: &[u64]| numbers.iter().copied().map(Value::Number).collect();
    match kind {
        Role::Size => numbers(&[8, 0x48, 0x1000, 0x1800, 0x3000]),
        Role::Held => vec![Value::Held(0)],
        Role::Count => numbers(&[1, 3]),
        Role::Results | Role::FreedList => numbers(&[1, 4]),
        Role::Align => numbers(&[1, 8, 0x1000]),
        Role::Order => numbers(&[0, 1, 3]),
        Role::RangeStart | Role::RangeEnd => vec![Value::Number(0), Value::Space(0)],
        Role::Offset | Role::SlabFlags | Role::Ctor => numbers(&[0]),
        Role::Phys => numbers(&[0x8_0000]),
        Role::Node => numbers(&[0, NUMA_NO_NODE]),
        Role::Gfp => [GFP_KERNEL, GFP_KERNEL | __GFP_ZERO, GFP_ATOMIC].map(Value::Gfp).into(),
        Role::Cache => vec![Value::Cache(0)],
        Role::Freed | Role::Replaced | Role::Read | Role::Written => vec![Value::Inside(0)],
    }
}

/// 0, 1, the powers of two, the constants, `most`, and the neighbours of all of them.
fn numbers(most: u64) -> Vec<u64> {
    let powers = (0..64).map(|power| 1_u64 << power);
    let middles = powers.chain(CONSTANTS.iter().copied()).chain([0, most]);
    let near = |n: u64| [n.checked_sub(1), Some(n), n.checked_add(1)].into_iter().flatten();
    let mut numbers: Vec<u64> = middles.flat_map(near).filter(|n| *n <= most).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Places in the vmalloc space: about its ends, and at powers of two.
fn offsets_of_space() -> Vec<Value> {
    let near_start = [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, u64::MAX - PAGE, u64::MAX];
    let powers = (13..64).map(|power| 1 << power);
    let near_end = [-8192, -4097, -4096, -4095, -1, 0, 1, 4095, 4096, 4097].map(Value::Space);
    near_start.into_iter().chain(powers).map(Value::Number).chain(near_end).collect()
}

/// The single flags, alone and beside the two plain words, the composites, and words in which
/// flags contradict each other or mean nothing.
fn flag_words() -> Vec<Gfp> {
    let mut words = vec![Gfp(0), Gfp(u32::MAX), Gfp(1 << 31), Gfp(1 << 23)];
    for &(_, flag) in GFP_NAMES {
        words.extend([flag, GFP_KERNEL | flag, GFP_ATOMIC | flag]);
    }
    for also in [__GFP_NORETRY, __GFP_RETRY_MAYFAIL, __GFP_NOWARN, __GFP_ZERO, __GFP_THISNODE] {
        words.push(GFP_KERNEL | __GFP_NOFAIL | also);
        words.push(GFP_KERNEL | __GFP_COMP | also);
    }
    words.sort_unstable();
    words.dedup();
    words
}

/// Addresses in and about the memory of a register, and addresses of nobody.
fn pointers() -> Vec<Value> {
    let steps = (0..=24).chain([31, 32, 33, 47, 62]).map(|power| 1_i64 << power);
    let inside = steps.flat_map(|step| [step, -step]);
    let inside = [0, i64::MIN, i64::MAX].into_iter().chain(inside).map(Value::Inside);
    let ends = [-8, -1, 0, 1, 8].map(Value::Held);
    let places = [0, 16, PAGE_OFFSET, VMALLOC_START, u64::MAX];
    let near = places.into_iter().flat_map(|at| [at, at.wrapping_sub(1), at.wrapping_add(1)]);
    let powers = (1..64).map(|power| 1 << power);
    let end = [-4096, -1, 0, 1, 4096];
    let at_end = end.map(Value::DirectEnd).into_iter().chain(end.map(Value::SpaceEnd));
    inside.chain(ends).chain(near.chain(powers).map(Value::Address)).chain(at_end).collect()
}

impl Value {
    /// The value, without flags that a call does not take.
    pub(super) fn taken_by(self, spec: &CallSpec) -> Self {
        match self {
            Value::Gfp(flags) => Value::Gfp(Gfp(flags.0 & spec.flags().0)),
            value => value,
        }
    }

    /// The value as an argument, on this machine, beside a register that holds so many bytes.
    pub(super) fn arg(self, kind: Role, machine: &Machine, register: Reg, held: u64) -> Arg {
        match (self, kind) {
            (Value::Gfp(flags), _) => Arg::Gfp(flags),
            (Value::Cache(cache), _) => Arg::Cache(cache),
            (Value::Number(nr), Role::FreedList) => Arg::Regs(register, nr as u8),
            (Value::Inside(offset), _) => Arg::Ptr(Ptr::Reg(register, offset)),
            (Value::Held(more), role) if role.is_address() => {
                Arg::Ptr(Ptr::Reg(register, (held as i64).wrapping_add(more)))
            }
            (address, role) if role.is_address() => {
                Arg::Ptr(Ptr::Const(address.number(machine, held)))
            }
            (number, _) => Arg::Number(number.number(machine, held)),
        }
    }

    fn number(self, machine: &Machine, held: u64) -> u64 {
        let from = |pages: u32, more| (u64::from(pages) * PAGE).wrapping_add_signed(more);
        match self {
            Value::Number(number) | Value::Address(number) => number,
            Value::Held(more) => held.wrapping_add_signed(more),
            Value::Memory(more) => from(machine.frames, more),
            Value::DirectEnd(more) => PAGE_OFFSET + from(machine.frames, more),
            Value::SpaceEnd(more) => VMALLOC_START + from(machine.vmalloc_pages, more),
            Value::Space(more) => from(machine.vmalloc_pages, more),
            Value::Gfp(_) | Value::Cache(_) | Value::Inside(_) => 0,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::CALLS;

    /// The kinds of all arguments of all calls.
    fn kinds() -> impl Iterator<Item = Role> {
        CALLS.iter().flat_map(|spec| spec.args).map(|(_, kind)| *kind)
    }

    #[test]
    fn what_is_usual_is_a_value() {
        for kind in kinds() {
            let values = values(kind);
            assert!(usual(kind).iter().all(|usual| values.contains(usual)), "{kind:?}");
        }
    }

    #[test]
    fn no_value_is_there_twice() {
        for kind in kinds() {
            let values = values(kind);
            let nr_times = |value| values.iter().filter(|other| *other == value).count();
            assert!(values.iter().all(|value| nr_times(value) == 1), "{kind:?}");
        }
    }

    #[test]
    fn the_ends_of_every_kind_are_there() {
        let sizes = values(Role::Size);
        for power in 0..64 {
            for number in [(1_u64 << power) - 1, 1 << power, (1 << power) + 1] {
                assert!(sizes.contains(&Value::Number(number)), "{number:#x}");
            }
        }
        assert!(sizes.contains(&Value::Number(u64::MAX)));
        let orders = values(Role::Order);
        for order in [0, 1, 10, 11, 12, 51, 52, 63, 64, 65, 254, 255] {
            assert!(orders.contains(&Value::Number(order)), "{order}");
        }
        assert!(!orders.contains(&Value::Number(256)), "no trace can say that");
    }
}
