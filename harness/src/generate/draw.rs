//! What single values look like: sizes, counts, alignments, orders, addresses.
//!
//! The one idea: bugs live at edges. About half of all sizes stand on or beside an edge of some
//! allocator ([`EDGES`]), the rest is log-uniform, and the large ones are rare, since a trace that
//! asks for megabytes gets few answers.
//!
//! Flags, and what stands beside a call, are drawn in `flags`; calls are chosen in `generate`.

pub(crate) use super::number::{EDGES, extreme, size};

use super::number::log_uniform;
use super::scene::{self, Slot};
use super::{Scene, Swarm, flags, foreign};
use crate::call::{Call, CallSpec, MAX_ARGS, MAX_LIST, Makes, Role, Yields};
use crate::op::{Arg, Op, Ptr};
use crate::random::{one_of, weighted};
use crate::text::MAX_ORDER_WRITTEN;
use crate::words::gfp::*;
use crate::words::{Gfp, HUGE_PAGE, PAGE, PAGE_OFFSET, VMALLOC_START};
use fastrand::Rng;

/// The largest sizes that kmalloc and kvmalloc grant, and their neighbours.
const LARGEST: &[u64] = &[0x40_0000, 0x40_0001, 0x7fff_ffff, 0x8000_0000];

/// Pages of a vmalloc space that goes a little beyond a GiB.
pub(super) const BEYOND_A_GIB: u32 = (1 << 18) + (1 << 14);

/// Most sizes stay below this one, whatever the ceiling of their trace.
const USUAL_CEILING: u64 = 0x4000;

/// The largest size that a trace draws on purpose.
pub(crate) fn ceiling(rng: &mut Rng) -> u64 {
    let ceilings = &[
        (256, 25),
        (0x2000, 40),
        (0x4000, 15),
        (0x1_0000, 10),
        (1 << 20, 5),
        (8 << 20, 4),
        (u64::MAX, 1),
    ];
    weighted(ceilings, rng)
}

/// Arguments for a call: each of the kind that its place asks for.
pub(crate) fn args(call: Call, scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> [Arg; MAX_ARGS] {
    let spec = call.spec();
    let mut args = [Arg::Number(0); MAX_ARGS];
    for place in 0..spec.args.len() {
        args[place] = arg(spec, place, &args, scene, swarm, rng);
    }
    args
}

/// The largest size that is drawn on purpose for a call.
fn ceiling_for(spec: &CallSpec, swarm: &Swarm, rng: &mut Rng) -> u64 {
    swarm.ceiling.min(match spec.yields {
        // A cache makes many objects of its size, and none that is large.
        Yields::Cache => 0x2000,
        _ if swarm.reach.hit(rng) => u64::MAX,
        _ => USUAL_CEILING,
    })
}

/// The argument at `place`, which may depend on those before it.
pub(crate) fn arg(
    spec: &CallSpec,
    place: usize,
    args: &[Arg; MAX_ARGS],
    scene: &Scene,
    swarm: &Swarm,
    rng: &mut Rng,
) -> Arg {
    let before = |kind| {
        spec.args[..place].iter().zip(args).find_map(|((_, k), arg)| match arg {
            Arg::Number(number) if *k == kind => Some(*number),
            _ => None,
        })
    };
    let ceiling = ceiling_for(spec, swarm, rng);
    if let Some(number) = foreign::number(spec.family, spec.args[place].1, ceiling, rng) {
        return Arg::Number(number);
    }
    match spec.args[place].1 {
        Role::Size if spec.yields == Yields::Cache && rng.u8(0..32) > 0 => {
            Arg::Number(size(ceiling, rng).max(1))
        }
        Role::Size if swarm.top_orders.hit(rng) && rng.u8(0..4) == 0 => {
            Arg::Number(*one_of(LARGEST, rng))
        }
        Role::Size if may_be_huge(spec) && swarm.huge.hit(rng) => Arg::Number(huge_size(rng)),
        Role::Size => Arg::Number(match before(Role::Count) {
            Some(count) => element_size(count, ceiling, rng),
            None => size(ceiling, rng),
        }),
        Role::Held => Arg::Number(match args[0] {
            Arg::Ptr(Ptr::Reg(register, _)) => scene.bytes_in(register),
            _ => 0,
        }),
        Role::Count => Arg::Number(count(ceiling, rng)),
        Role::Results => Arg::Number(rng.u64(0..=MAX_LIST as u64)),
        Role::Align => Arg::Number(align(rng)),
        Role::Order if swarm.top_orders.hit(rng) => Arg::Number(rng.u64(8..=10)),
        Role::Order => Arg::Number(order(ceiling, rng)),
        Role::RangeStart => {
            let size = before(Role::Size);
            let across = size.and_then(|size| start_across_a_gib(size, swarm, rng));
            Arg::Number(across.unwrap_or_else(|| vmalloc_offset(None, swarm, rng)))
        }
        Role::RangeEnd => Arg::Number(vmalloc_offset(before(Role::RangeStart), swarm, rng)),
        Role::Offset => Arg::Number(size(64, rng)),
        Role::Phys => Arg::Number(rng.u64(0..u64::from(swarm.machine.frames) * PAGE)),
        Role::Gfp => Arg::Gfp(gfp(spec, swarm, rng)),
        Role::Read if spec.makes == Makes::Reference => Arg::Ptr(page(scene, swarm, rng)),
        Role::Freed | Role::Replaced | Role::Read | Role::Written => {
            let live = scene.any_live(rng);
            Arg::Ptr(live.map_or(Ptr::Const(0), |(register, _)| Ptr::Reg(register, 0)))
        }
        Role::FreedList => match scene.any_live(rng) {
            Some((register, _)) => Arg::Regs(register, scene.nr_alike(register, MAX_LIST as u8)),
            None => Arg::Regs(0, 1),
        },
        Role::Node => Arg::Number(flags::node(swarm, rng)),
        Role::Cache => Arg::Cache(scene.any_cache(rng).unwrap_or(0)),
        Role::SlabFlags => Arg::Number(flags::slab_flags(rng)),
        Role::Ctor => Arg::Number(ctor(rng)),
    }
}

/// Flags, and seldom some that the call does not take.
fn gfp(spec: &CallSpec, swarm: &Swarm, rng: &mut Rng) -> Gfp {
    // Pages of a huge area must not be compound: its caller's fault, which Linux grants.
    if may_be_huge(spec) && !swarm.misuse.hit(rng) {
        return flags::gfp(swarm, rng).without(__GFP_COMP);
    }
    if spec.traits.nolock && !swarm.misuse.hit(rng) {
        return *one_of(&[Gfp(0), Gfp(0), __GFP_ZERO, __GFP_ACCOUNT], rng);
    }
    flags::gfp(swarm, rng)
}

/// An address in memory that is pages, or seldom in any other.
fn page(scene: &Scene, swarm: &Swarm, rng: &mut Rng) -> Ptr {
    let is_aimed = !swarm.misuse.hit(rng);
    let fits = |slot: &Slot| !is_aimed || scene::has_pages(slot.made_by);
    let found = (0..8).filter_map(|_| scene.any_live(rng)).find(|(_, slot)| fits(slot));
    found.map_or(Ptr::Const(0), |(register, slot)| {
        let offset = if rng.bool() { 0 } else { inside(slot.bytes.max(1), rng).0 };
        Ptr::Reg(register, offset as i64)
    })
}

/// Whether the call may be answered with huge pages.
fn may_be_huge(spec: &CallSpec) -> bool {
    spec.traits.huge || (spec.traits.routed && spec.args[0].1 == Role::Size)
}

/// A size about a huge page or two, mostly beside a multiple.
fn huge_size(rng: &mut Rng) -> u64 {
    match rng.u8(0..4) {
        0 => rng.u64(HUGE_PAGE..=3 * HUGE_PAGE),
        1 => rng.u64(1..=2) * HUGE_PAGE - 1,
        _ => rng.u64(1..=2) * HUGE_PAGE + *one_of(&[0, 0, 1, PAGE], rng),
    }
}

fn count(ceiling: u64, rng: &mut Rng) -> u64 {
    match rng.u16(0..200) {
        // With any size but 0 and 1 the product does not fit.
        0 => u64::MAX,
        1 => (u64::MAX >> rng.u32(1..40)).saturating_add(rng.u64(0..2)),
        // More than 16 bits count, and yet the array is small enough to be had.
        2 if rng.u8(0..4) == 0 => (1 << 16) + rng.u64(0..3),
        2..=20 => log_uniform(ceiling.min(1 << 10), rng),
        _ => log_uniform(ceiling.min(1 << 5), rng).max(1),
    }
}

/// The size of an element, so that the whole array has a usual size.
fn element_size(count: u64, ceiling: u64, rng: &mut Rng) -> u64 {
    match rng.u16(0..200) {
        0 => (u64::MAX / count.max(1)).saturating_add(rng.u64(0..2)),
        _ if count > 1 << 16 => size(8, rng),
        1..=4 => 0,
        _ => (size(ceiling, rng) / count.max(1)).max(1),
    }
}

fn align(rng: &mut Rng) -> u64 {
    match rng.u8(0..64) {
        0 => *one_of(&[0, 3, 24, 5000, u64::MAX], rng),
        1..=3 => 1 << rng.u32(12..=21),
        4..=20 => 1,
        _ => 1 << rng.u32(0..=12),
    }
}

/// The word of a constructor, for a few caches.
fn ctor(rng: &mut Rng) -> u64 {
    match rng.u8(0..16) {
        0 => 1,
        1 => u64::MAX,
        2 => rng.u64(1..),
        _ => 0,
    }
}

/// An order: mostly a low one, and rarely one above the ceiling.
fn order(ceiling: u64, rng: &mut Rng) -> u64 {
    let highest = (ceiling / PAGE).checked_ilog2().map_or(0, u64::from).min(11);
    match rng.u16(0..512) {
        0 if rng.bool() => extreme(rng) & MAX_ORDER_WRITTEN,
        0 => rng.u64(0..=11),
        1..=3 => 11,
        4..=350 => 0,
        _ => rng.u64(0..=3).min(highest + 1).max(rng.u64(0..=highest) / 2),
    }
}

/// A start from which an area of a few pages goes across a GiB, where page tables of two levels
/// end: half of the time on the machines whose vmalloc space is so large.
fn start_across_a_gib(size: u64, swarm: &Swarm, rng: &mut Rng) -> Option<u64> {
    let is_large = swarm.machine.vmalloc_pages >= BEYOND_A_GIB;
    let nr_pages = size.div_ceil(PAGE);
    let may = is_large && (2..1 << 10).contains(&nr_pages) && rng.bool();
    may.then(|| (1 << 30) - rng.u64(1..nr_pages) * PAGE)
}

/// The start of a range of the vmalloc space, or its end if `start` is known.
fn vmalloc_offset(start: Option<u64>, swarm: &Swarm, rng: &mut Rng) -> u64 {
    let nr_pages = u64::from(swarm.machine.vmalloc_pages);
    let whole = nr_pages * PAGE;
    match (start, rng.u8(0..16)) {
        (None, 0..=9) => 0,
        (None, 10..=13) => rng.u64(0..nr_pages) * PAGE,
        (None, _) => rng.u64(0..whole),
        (Some(_), 0..=9) => whole,
        (Some(start), 10..=14) => {
            whole.min(start.saturating_add(log_uniform(nr_pages, rng).max(1) * PAGE))
        }
        // Sometimes before the start, or beyond the space.
        (Some(_), _) => rng.u64(0..=whole + PAGE),
    }
}

/// Arguments for a call about the memory of others: up to a quarter of the machine.
pub(super) fn world_args(call: Call, swarm: &Swarm, rng: &mut Rng) -> [Arg; MAX_ARGS] {
    let mut args = [Arg::Number(0); MAX_ARGS];
    for (arg, (_, kind)) in args.iter_mut().zip(call.spec().args) {
        *arg = match kind {
            Role::Gfp => Arg::Gfp(*one_of(&[Gfp(0), __GFP_IO, __GFP_FS], rng)),
            _ => Arg::Number(nr_pages_of_others(swarm, rng)),
        };
    }
    args
}

/// How much another user of memory takes: seldom a good part of the machine, unless its memory is
/// to become scarce.
fn nr_pages_of_others(swarm: &Swarm, rng: &mut Rng) -> u64 {
    let quarter = u64::from(swarm.machine.frames) / 4;
    let most = if swarm.greedy || rng.u8(0..4) == 0 { quarter } else { quarter.min(64) };
    log_uniform(most, rng)
}

/// An offset and a length within `bytes` (at least 1) bytes, often up to their very end.
pub(super) fn inside(bytes: u64, rng: &mut Rng) -> (u64, u64) {
    let offset = if rng.bool() { 0 } else { rng.u64(0..bytes) };
    let len = *one_of(&[bytes - offset, 1, 8, 64], rng);
    // Writing megabytes says no more than writing their last page.
    let offset = if len > 0x2000 { bytes - 0x1000 } else { offset };
    (offset, len.min(bytes - offset))
}

/// An offset from the start of memory of `bytes` bytes at which no free may be aimed.
pub(crate) fn interior(bytes: u64, rng: &mut Rng) -> i64 {
    let guard = bytes.min(1 << 32).next_multiple_of(PAGE);
    let (half, bytes) = (bytes.min(1 << 32) as i64 / 2, bytes.min(1 << 32) as i64);
    let offsets = [8, 16, 0x1000, 1, -8, -16, -0x1000, -1, half, bytes, guard as i64, 0x40];
    match *one_of(&offsets, rng) {
        0 => 8,
        offset => offset,
    }
}

/// An address that no allocation returned, or that only seems so.
pub(crate) fn wild(swarm: &Swarm, rng: &mut Rng) -> u64 {
    let frames = u64::from(swarm.machine.frames) * PAGE;
    let space = u64::from(swarm.machine.vmalloc_pages) * PAGE;
    let addresses = [
        0,
        16,
        1,
        17,
        0x40_0000,
        0x7fff_ffff_f000,
        PAGE_OFFSET,
        PAGE_OFFSET + rng.u64(0..frames),
        PAGE_OFFSET + rng.u64(0..frames) / PAGE * PAGE,
        PAGE_OFFSET + frames,
        PAGE_OFFSET - PAGE,
        VMALLOC_START,
        VMALLOC_START + rng.u64(0..space) / PAGE * PAGE,
        VMALLOC_START + space,
        VMALLOC_START + space - 1,
        VMALLOC_START - 1,
        0xffff_ffff_8100_0000,
        u64::MAX,
    ];
    *one_of(&addresses, rng)
}

/// Turns the order, the size and the cache of a free into others nearby.
pub(crate) fn nudge_selectors(op: &mut Op, rng: &mut Rng) {
    for (arg, (_, kind)) in op.args.iter_mut().zip(op.call.spec().args) {
        match (kind, arg) {
            (Role::Order, Arg::Number(order)) => {
                *order = if rng.bool() { *order + 1 } else { order.saturating_sub(1) };
                *order = (*order).min(11);
            }
            (Role::Held, Arg::Number(size)) => {
                let nudge = *one_of(&[PAGE, 1, *size], rng);
                *size =
                    if rng.bool() { size.wrapping_add(nudge) } else { *size - nudge.min(*size) };
            }
            (Role::Offset, Arg::Number(offset)) => *offset = log_uniform(2 * PAGE, rng),
            (Role::Cache, Arg::Cache(cache)) => *cache = (*cache ^ (1 << rng.u16(0..2))) & 7,
            _ => {}
        }
    }
}
