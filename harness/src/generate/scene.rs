//! What a trace has left in its registers so far, as far as its text tells.
//!
//! The one idea: optimism. A scene believes that every allocation succeeds unless it clearly
//! cannot, and that every right free frees. That is enough to aim ops at live registers; the truth,
//! with failures and recycled addresses, is the model's business.

use super::foreign;
use crate::call::{Call, Family, Frees, MAX_ARGS, Makes, Role, Yields};
use crate::op::{Arg, Faults, Op, Ptr, Reg};
use crate::random::Draw;
use crate::words::{NR_ORDERS, NR_TASKS, PAGE, SLAB_FLAG_NAMES, order_of};
use fastrand::Rng;

/// Registers beyond these are not followed; only traces that are not ours use them.
const NR_REGISTERS: usize = 256;

/// Whether `ksize` may look at what `maker` returns.
pub(super) fn has_ksize(maker: Call) -> bool {
    matches!(maker.spec().makes, Makes::Kmalloc | Makes::Object)
}

/// Whether what `maker` returns is sure to be physically contiguous.
pub(super) fn is_contiguous(maker: Call) -> bool {
    !matches!(maker.spec().makes, Makes::Vmalloc | Makes::Kvmalloc)
}

/// Whether what `maker` returns may be pages to which references can be taken.
pub(super) fn has_pages(maker: Call) -> bool {
    matches!(maker.spec().makes, Makes::Pages | Makes::Vmalloc | Makes::Kvmalloc | Makes::Reference)
}

/// Whether the call opens a scope.
pub(super) fn is_save(call: Call) -> bool {
    matches!(call, Call::MemallocNofsSave | Call::MemallocNoioSave)
}

/// Whether the call closes a scope.
pub(super) fn is_restore(call: Call) -> bool {
    matches!(call, Call::MemallocNofsRestore | Call::MemallocNoioRestore)
}

/// Whether the call is about no memory in particular.
pub(super) fn is_worldly(call: Call) -> bool {
    matches!(call.spec().family, Family::Scopes | Family::World)
}

/// Whether a reallocation may replace what `maker` returns: it frees what it replaces.
pub(super) fn may_replace(realloc: Call, maker: Call) -> bool {
    let free = realloc.spec().freed_by.first();
    free.is_some_and(|free| maker.spec().freed_by.contains(free))
}

/// What a memory register holds, or has held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    /// The call that made it.
    pub made_by: Call,
    /// The bytes asked for.
    pub bytes: u64,
    /// The cache that it came from, 0 where there is none.
    pub cache: Reg,
    /// Whether it has not been freed yet.
    pub live: bool,
}

/// Whether an `rcu_head` can begin so far into what the register holds.
pub(super) fn head_fits(offset: u64, slot: &Slot) -> bool {
    offset < PAGE && offset.is_multiple_of(8) && offset + 16 <= slot.bytes
}

/// The free of `register` by `call`, with the order and the cache that belong to it.
pub(super) fn right_free(register: Reg, slot: &Slot, call: Call) -> Op {
    let mut args = [Arg::Number(0); MAX_ARGS];
    for (arg, (_, kind)) in args.iter_mut().zip(call.spec().args) {
        *arg = match kind {
            role if role.is_address() => Arg::Ptr(Ptr::Reg(register, 0)),
            Role::FreedList => Arg::Regs(register, 1),
            Role::Cache => Arg::Cache(slot.cache),
            Role::Held => Arg::Number(slot.bytes),
            Role::Offset => Arg::Number(0),
            _ => Arg::Number(order_of(slot.bytes).into()),
        };
    }
    super::plain_op(call, args)
}

/// What a cache register holds.
#[derive(Clone, Copy, Debug)]
struct Cache {
    /// Bytes of an object.
    size: u64,
    /// Whether its objects are constructed, so that none can be had zeroed.
    has_ctor: bool,
}

/// The registers after some ops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    slots: Vec<Option<Slot>>,
    /// The live registers, in no order.
    live: Vec<Reg>,
    /// The registers freed last.
    freed: Vec<Reg>,
    /// The live caches.
    caches: Vec<Option<Cache>>,
    /// The open scopes of each task, by the calls that opened them.
    scopes: [Vec<Call>; NR_TASKS],
    bytes_live: u64,
    /// The number of live registers that hold what was taken at boot.
    nr_boot: usize,
}

impl Scene {
    /// The scene after these ops.
    pub(crate) fn after(ops: &[Op]) -> Self {
        let mut scene = Self::default();
        ops.iter().for_each(|op| scene.observe(op));
        scene
    }

    /// Takes note of the next op.
    pub(crate) fn observe(&mut self, op: &Op) {
        if let Some(register) = self.freed_by(op) {
            let nr = op.args.iter().find_map(|arg| match arg {
                Arg::Regs(_, nr) => Some(*nr),
                _ => None,
            });
            (0..nr.unwrap_or(1).into()).for_each(|nth| self.bury(register + nth));
        }
        match (op.call.spec().yields, op.dst) {
            (Yields::Memory, Some(register)) => {
                (0..op.nr_dst()).for_each(|nth| self.assign(register.saturating_add(nth), op));
            }
            (Yields::Cache, Some(cache)) if usize::from(cache) < NR_REGISTERS => {
                let place = usize::from(cache);
                self.caches.resize(self.caches.len().max(place + 1), None);
                let sound = makes_cache(op) && op.faults == Faults::default();
                let size = number(op, Role::Size).unwrap_or(0);
                let has_ctor = number(op, Role::Ctor) != Some(0);
                self.caches[place] = sound.then_some(Cache { size, has_ctor });
            }
            _ => {}
        }
        let scopes = &mut self.scopes[usize::from(op.caller.task) % NR_TASKS];
        if is_save(op.call) {
            scopes.push(op.call);
        } else if is_restore(op.call) {
            scopes.pop();
        }
        if op.call == Call::KmemCacheDestroy
            && let Arg::Cache(cache) = op.args[0]
            && !self.is_busy(cache)
            && let Some(place) = self.caches.get_mut(usize::from(cache))
        {
            *place = None;
        }
    }

    fn assign(&mut self, register: Reg, op: &Op) {
        let place = usize::from(register);
        if place >= NR_REGISTERS {
            return;
        }
        self.bury(register);
        self.slots.resize(self.slots.len().max(place + 1), None);
        let cache = op.args.iter().find_map(|arg| match arg {
            Arg::Cache(cache) => Some(*cache),
            _ => None,
        });
        let (bytes, order) = (self.bytes_asked(op), number(op, Role::Order).unwrap_or(0));
        let frees = op.call.spec().freed_by;
        let by_size = matches!(op.call, Call::AllocPagesExact | Call::DmaAllocCoherent);
        // The largest block and KMALLOC_MAX_SIZE, and more than any machine here has.
        let most = if by_size || frees.contains(&Call::Kfree) { 4 << 20 } else { 1 << 32 };
        let cannot = bytes.is_none_or(|bytes| bytes > most)
            || order >= NR_ORDERS as u64
            || (bytes == Some(0) && (by_size || frees[0] == Call::Vfree))
            || number(op, Role::Results) == Some(0)
            || (op.call.spec().family.is_foreign()
                && !foreign::can_be_served(number(op, Role::Align), bytes))
            || cache.is_some_and(|cache| !self.has_cache(cache));
        self.slots[place] = bytes.filter(|_| !cannot).map(|bytes| {
            self.live.push(register);
            self.bytes_live += bytes;
            self.nr_boot += usize::from(op.call.is_boot());
            Slot { made_by: op.call, bytes, cache: cache.unwrap_or(0), live: true }
        });
    }

    /// The bytes that an allocation asks for; none if their number does not fit.
    fn bytes_asked(&self, op: &Op) -> Option<u64> {
        if let Arg::Cache(cache) = op.args[0] {
            return self.cache(cache).map(|cache| cache.size);
        }
        match number(op, Role::Size) {
            Some(size) => size.checked_mul(number(op, Role::Count).unwrap_or(1)),
            None if op.call.spec().family == Family::Frames => {
                number(op, Role::Count)?.checked_mul(PAGE)
            }
            None => {
                let order = number(op, Role::Order).unwrap_or(0);
                Some(PAGE << order.min(50))
            }
        }
    }

    /// The live register that `op` rightly frees, for good or for other memory; of several the
    /// first.
    pub(super) fn freed_by(&self, op: &Op) -> Option<Reg> {
        let (register, nr) = op.args.iter().find_map(|arg| match arg {
            Arg::Ptr(Ptr::Reg(register, 0)) => Some((*register, 1)),
            Arg::Regs(first, nr) => Some((*first, *nr)),
            _ => None,
        })?;
        let slot = self.slot(register).filter(|slot| slot.live)?;
        if self.nr_alike(register, nr) < nr {
            return None;
        }
        if op.call.is_realloc() && may_replace(op.call, slot.made_by) {
            return Some(register);
        }
        let mut args = right_free(register, &slot, op.call).args.map(|arg| match arg {
            Arg::Regs(first, _) => Arg::Regs(first, nr),
            arg => arg,
        });
        // Any part of a secret may be cleared.
        if let (Call::KvfreeSensitive, Arg::Number(len)) = (op.call, op.args[1]) {
            args[1] = Arg::Number(len.min(slot.bytes));
        }
        // An rcu_head may be anywhere in the memory.
        if let (Frees::KvfreeRcu, Arg::Number(offset)) = (op.call.spec().frees, op.args[1]) {
            args[1] = Arg::Number(if head_fits(offset, &slot) { offset } else { 0 });
        }
        let right = slot.made_by.spec().freed_by.contains(&op.call) && args == op.args;
        right.then_some(register)
    }

    fn bury(&mut self, register: Reg) {
        let Some(Some(slot)) = self.slots.get_mut(usize::from(register)) else { return };
        if !slot.live {
            return;
        }
        slot.live = false;
        self.bytes_live -= slot.bytes;
        self.nr_boot -= usize::from(slot.made_by.is_boot());
        self.live.retain(|live| *live != register);
        self.freed.push(register);
        if self.freed.len() > 8 {
            self.freed.remove(0);
        }
    }

    /// How many live registers from this one on hold what the same calls free, up to `most`.
    pub(super) fn nr_alike(&self, first: Reg, most: u8) -> u8 {
        let Some(slot) = self.slot(first) else { return 1 };
        let is_alike = |nth: &u8| {
            let other = self.slot(first.saturating_add((*nth).into()));
            other.is_some_and(|other| {
                let has_same_free = other.made_by.spec().freed_by == slot.made_by.spec().freed_by;
                other.live && other.cache == slot.cache && has_same_free
            })
        };
        1 + (1..most).take_while(is_alike).count() as u8
    }

    /// What the register holds, or held before it was freed.
    pub(crate) fn slot(&self, register: Reg) -> Option<Slot> {
        self.slots.get(usize::from(register)).copied().flatten()
    }

    /// The natural free of a live register.
    pub(crate) fn free_of(&self, register: Reg) -> Option<Op> {
        let slot = self.slot(register).filter(|slot| slot.live)?;
        let call = *slot.made_by.spec().freed_by.first()?;
        Some(right_free(register, &slot, call))
    }

    /// The number of live registers.
    pub(crate) fn nr_live(&self) -> usize {
        self.live.len()
    }

    /// The number of registers that hold what was taken at boot.
    pub(crate) fn nr_boot(&self) -> usize {
        self.nr_boot
    }

    /// The bytes asked for by all live registers.
    pub(crate) fn bytes_live(&self) -> u64 {
        self.bytes_live
    }

    /// The bytes asked for by this register, live or not.
    pub(crate) fn bytes_in(&self, register: Reg) -> u64 {
        self.slot(register).map_or(0, |slot| slot.bytes)
    }

    /// A live register.
    pub(crate) fn any_live(&self, rng: &mut Rng) -> Option<(Reg, Slot)> {
        let register = *rng.one_of(&self.live)?;
        Some((register, self.slot(register)?))
    }

    /// A register that was freed lately and has not been assigned since.
    pub(crate) fn any_freed(&self, rng: &mut Rng) -> Option<Reg> {
        let register = *rng.one_of(&self.freed)?;
        self.slot(register).filter(|slot| !slot.live)?;
        Some(register)
    }

    /// A register below `limit` that is not live, nor are the others of so many from it on, if
    /// there is one.
    pub(crate) fn free_register(&self, limit: Reg, nr: u16, rng: &mut Rng) -> Reg {
        let start = rng.u16(0..limit);
        let mut registers = (start..limit).chain(0..start);
        let is_free = |r: Reg| !self.slot(r).is_some_and(|slot| slot.live);
        registers.find(|&r| (0..nr).all(|nth| is_free(r + nth))).unwrap_or(start)
    }

    /// The call that opened the innermost scope of a task.
    pub(super) fn innermost_scope(&self, task: u8) -> Option<Call> {
        self.scopes[usize::from(task) % NR_TASKS].last().copied()
    }

    /// The number of live caches.
    pub(crate) fn nr_caches(&self) -> usize {
        self.caches.iter().flatten().count()
    }

    /// Whether the register holds a live cache.
    pub(crate) fn has_cache(&self, cache: Reg) -> bool {
        self.cache(cache).is_some()
    }

    fn cache(&self, cache: Reg) -> Option<Cache> {
        self.caches.get(usize::from(cache)).copied().flatten()
    }

    /// Whether the objects of a live cache are constructed.
    pub(crate) fn has_ctor(&self, cache: Reg) -> bool {
        self.cache(cache).is_some_and(|cache| cache.has_ctor)
    }

    /// A live cache.
    pub(crate) fn any_cache(&self, rng: &mut Rng) -> Option<Reg> {
        let nr_caches = self.nr_caches();
        let skip = if nr_caches == 0 { return None } else { rng.index(0..nr_caches) };
        let mut live = (0..).zip(&self.caches).filter(|(_, size)| size.is_some());
        live.nth(skip).map(|(cache, _)| cache)
    }

    /// A live cache without live objects, or now and then one with some.
    pub(crate) fn idle_cache(&self, rng: &mut Rng) -> Option<Reg> {
        let cache = self.any_cache(rng)?;
        (!self.is_busy(cache) || rng.u8(0..16) == 0).then_some(cache)
    }

    fn is_busy(&self, cache: Reg) -> bool {
        let from_cache = |slot: Slot| slot.made_by.needs_cache() && slot.cache == cache;
        self.live.iter().filter_map(|&register| self.slot(register)).any(from_cache)
    }
}

/// Whether an op asks for a cache that an allocator can make, and that is not very large.
pub(crate) fn makes_cache(op: &Op) -> bool {
    let [size, align, flags, ctor] = [Role::Size, Role::Align, Role::SlabFlags, Role::Ctor]
        .map(|kind| number(op, kind).unwrap_or(0));
    let has_size = (1..=1 << 20).contains(&size) || (size == 0 && ctor != 0);
    let is_aligned = align == 0 || (align.is_power_of_two() && align <= 1 << 16);
    let known = SLAB_FLAG_NAMES.iter().fold(0, |all, (_, flag)| all | flag);
    let is_known = flags & !known == 0;
    op.call.spec().yields == Yields::Cache && has_size && is_aligned && is_known
}

/// The argument of this kind, if the call has one.
fn number(op: &Op, kind: Role) -> Option<u64> {
    op.call.spec().args.iter().zip(&op.args).find_map(|((_, k), arg)| match arg {
        Arg::Number(number) if *k == kind => Some(*number),
        _ => None,
    })
}
