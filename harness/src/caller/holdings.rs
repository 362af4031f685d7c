//! What a caller was given, and what it has given back.
//!
//! Every allocation keeps its number for as long as the run lasts, so that a pointer to one that
//! was freed is never taken for a pointer to what lies there now.

use super::misuse::{Misuse, Source};
use crate::call::{Frees, MAX_LIST, Request};
use crate::model::RCU_HEAD;
use crate::op::{Ptr, Reg};
use crate::oracle::caller::Rule;
use crate::words::gfp::__GFP_COMP;
use crate::words::{CacheHandle, PAGE};
use std::collections::BTreeMap;

/// Memory that was given, and perhaps freed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    /// The request that it was given to.
    pub(super) request: Request,
    /// First byte.
    pub(super) addr: u64,
    /// How many bytes of the allocator's memory lie before it.
    pub(super) skew: u64,
    /// The bytes that the caller may use.
    pub(super) size: u64,
    /// The bytes that the allocator says it could use.
    pub(super) usable: u64,
    /// Where a device sees it, if it is coherent.
    pub(super) bus: Option<u64>,
    /// Where it was asked for.
    pub(super) asked_at: Source,
    /// Where it was freed.
    pub(super) freed_at: Option<Source>,
}

impl Given {
    /// The bytes that are its own, whoever may use them; at least one, for what has none.
    fn extent(&self) -> u64 {
        self.usable.max(self.size).max(1)
    }
}

/// A cache that was made.
#[derive(Clone, Copy, Debug)]
struct Cache {
    handle: CacheHandle,
    request: Request,
    made_at: Source,
    is_alive: bool,
}

/// Everything that a caller was given.
#[derive(Default)]
pub(super) struct Holdings {
    given: Vec<Given>,
    /// What is live, by its first byte.
    live: BTreeMap<u64, Reg>,
    /// What begins here is freed when a grace period ends, and may be read until then; and the
    /// offset of its `rcu_head`, which is the kernel's.
    queued: Vec<(u64, u64)>,
    /// The references to what is live, beside the first to each, by where it begins.
    references: Vec<u64>,
    caches: Vec<Cache>,
    /// The scopes that are open: whose, and where each was opened.
    scopes: Vec<(u8, Source)>,
}

impl Holdings {
    /// Enters memory, and says its number.
    pub(super) fn enter(&mut self, given: Given) -> Reg {
        let reg = self.next();
        if given.addr > 16 {
            self.live.insert(given.addr, reg);
        }
        self.given.push(given);
        reg
    }

    /// Whether there may be no number left for what a call gives.
    pub(super) fn is_full(&self) -> bool {
        self.given.len() + MAX_LIST > usize::from(Reg::MAX)
    }

    /// The number of what is given next.
    pub(super) fn next(&self) -> Reg {
        self.given.len() as Reg
    }

    /// Enters a reference to a page. To a block of the caller's own it is one more; an area's page
    /// is memory of its own, which the caller may still use when the area is gone.
    pub(super) fn enter_reference(&mut self, given: Given) {
        if self.live.contains_key(&given.addr) {
            self.references.push(given.addr);
            self.given.push(given);
        } else {
            self.enter(given);
        }
    }

    /// Takes note that what begins at an address was freed, or a reference to it dropped; the
    /// number of what is the allocator's again.
    pub(super) fn free(&mut self, addr: u64, how: Frees, at: Source) -> Option<Reg> {
        if let Some(place) = self.references.iter().position(|page| *page == addr) {
            self.references.swap_remove(place);
            self.keep_first_page(addr, how);
            return None;
        }
        let reg = self.live.remove(&addr)?;
        self.given[usize::from(reg)].freed_at = Some(at);
        Some(reg)
    }

    /// Of a block that is not compound the first page alone outlives its free (R3.13).
    fn keep_first_page(&mut self, addr: u64, how: Frees) {
        let Some(reg) = self.live.get(&addr).filter(|_| how != Frees::PutPage) else { return };
        let given = &mut self.given[usize::from(*reg)];
        if !given.request.gfp().is_some_and(|gfp| gfp.has(__GFP_COMP)) {
            given.size = given.size.min(PAGE);
            given.usable = given.usable.min(PAGE);
        }
    }

    /// Takes note that what begins at an address is freed when a grace period ends, and where its
    /// `rcu_head` is.
    pub(super) fn queue(&mut self, addr: u64, head: u64) {
        self.queued.extend(self.live.contains_key(&addr).then_some((addr, head)));
    }

    /// What is wrong with writing where the kernel keeps an `rcu_head`.
    pub(super) fn objection_to_write(&self, addr: u64, len: u64) -> Option<Misuse> {
        let meets = |(start, head): &&(u64, u64)| {
            let head = start + head;
            addr < head + RCU_HEAD && head < addr.saturating_add(len)
        };
        let (start, _) = self.queued.iter().find(meets)?;
        let given = self.given(*self.live.get(start)?);
        let says = format!(
            "{len} bytes in the rcu_head of memory of {} that is to be freed",
            given.request.spec().name
        );
        Some(Misuse::new(Rule::UseAfterFree, says))
    }

    /// Takes note that a grace period has ended: the numbers of what is the allocator's again.
    pub(super) fn end_grace_period(&mut self, at: Source) -> Vec<Reg> {
        let queued = std::mem::take(&mut self.queued);
        queued.into_iter().filter_map(|(addr, _)| self.free(addr, Frees::KvfreeRcu, at)).collect()
    }

    pub(super) fn given(&self, reg: Reg) -> &Given {
        &self.given[usize::from(reg)]
    }

    /// Whether a task has a scope open.
    pub(super) fn is_in_scope(&self, task: u8) -> bool {
        self.scopes.iter().any(|(of, _)| *of == task)
    }

    /// The live memory that was given, the first byte and the bytes of each.
    pub(super) fn live(&self) -> impl Iterator<Item = (u64, u64)> {
        self.live.values().map(|reg| self.given(*reg)).map(|given| (given.addr, given.size))
    }

    /// Where the coherent memory is that a device sees at an address of its bus.
    pub(super) fn coherent_at(&self, bus: u64) -> Option<u64> {
        self.live.values().map(|reg| self.given(*reg)).find_map(|given| {
            let offset = bus.checked_sub(given.bus?)?;
            (offset < given.size).then_some(given.addr + offset)
        })
    }

    /// The live memory that an address lies in.
    pub(super) fn containing(&self, addr: u64) -> Option<Reg> {
        let (start, reg) = self.live.range(..=addr).next_back()?;
        (addr - start < self.given(*reg).size).then_some(*reg)
    }

    /// The memory that an address lies in, or else what lay there last.
    pub(super) fn last_at(&self, addr: u64) -> Option<Reg> {
        let lay_there = |given: &Given| addr.wrapping_sub(given.addr) < given.extent();
        let last = || self.given.iter().rposition(lay_there).map(|place| place as Reg);
        self.containing(addr).or_else(last)
    }

    /// The memory that an address lies in, or beside: the nearest before it.
    pub(super) fn near(&self, addr: u64) -> Option<Reg> {
        let before = || self.live.range(..=addr).next_back().map(|(_, reg)| *reg);
        let is_near =
            |reg: &Reg| addr - self.given(*reg).addr < self.given(*reg).extent() + 2 * PAGE;
        self.last_at(addr).or_else(|| before().filter(is_near))
    }

    /// Whether some bytes have one in common with live memory.
    pub(super) fn meets(&self, addr: u64, len: u64) -> bool {
        let last = self.live.range(..addr + len).next_back();
        last.is_some_and(|(start, reg)| start + self.given(*reg).extent() > addr)
    }

    /// A mistake with its places: where it was made, and where memory of this number was asked for
    /// and freed, but for those that are known.
    pub(super) fn placed(&self, misuse: Misuse, about: Option<Reg>, at: Option<Source>) -> Misuse {
        let given = about.map(|reg| self.given(reg));
        Misuse {
            at: misuse.at.or(at),
            asked_at: misuse.asked_at.or(given.map(|given| given.asked_at)),
            freed_at: misuse.freed_at.or(given.and_then(|given| given.freed_at)),
            about: misuse.about.or(given.map(|given| given.addr)),
            ..misuse
        }
    }

    /// The live memory that begins at an address.
    pub(super) fn starting(&self, addr: u64) -> Option<Reg> {
        self.live.get(&addr).copied()
    }

    /// An address as a trace writes it.
    pub(super) fn written(&self, addr: u64, origin: Option<Reg>) -> Ptr {
        match origin {
            Some(reg) => Ptr::Reg(reg, addr.wrapping_sub(self.given(reg).addr) as i64),
            None => Ptr::Const(addr),
        }
    }

    /// What is wrong with using so many bytes.
    pub(super) fn objection(&self, addr: u64, len: u64, origin: Option<Reg>) -> Option<Misuse> {
        let Some(reg) = origin.or_else(|| self.containing(addr)) else {
            let says = match addr {
                0..4096 => format!("{len} bytes at {addr:#x}; Linux: a NULL pointer dereference"),
                _ => format!("{len} bytes at {addr:#x}; Linux: an oops, or somebody else's memory"),
            };
            return Some(Misuse::new(Rule::NoAddress, says));
        };
        let given = self.given(reg);
        let (name, size) = (given.request.spec().name, given.size);
        let offset = addr.wrapping_sub(given.addr) as i64;
        if given.freed_at.is_some() {
            let says = format!("{len} bytes at offset {offset} of freed memory of {name}");
            return Some(Misuse::new(Rule::UseAfterFree, says));
        }
        let is_inside = offset >= 0 && (offset as u64).checked_add(len).is_some_and(|e| e <= size);
        (!is_inside).then(|| {
            let says = format!("{len} bytes at offset {offset} of {size} bytes of {name}");
            Misuse::new(Rule::OutOfBounds, says)
        })
    }

    /// Takes note of a new cache, and says its number.
    pub(super) fn enter_cache(&mut self, handle: CacheHandle, request: &Request, made_at: Source) {
        self.caches.push(Cache { handle, request: *request, made_at, is_alive: true });
    }

    /// The number of the cache that is made next.
    pub(super) fn next_cache(&self) -> Reg {
        self.caches.len() as Reg
    }

    /// The number of a cache, or one that none has.
    pub(super) fn cache(&self, handle: CacheHandle) -> Reg {
        let place = self.caches.iter().rposition(|cache| cache.handle == handle);
        place.map_or(Reg::MAX, |place| place as Reg)
    }

    /// The request that made a cache.
    fn made_by(&self, handle: CacheHandle) -> Option<&Request> {
        self.caches.get(usize::from(self.cache(handle))).map(|cache| &cache.request)
    }

    /// The bytes of a cache's objects.
    pub(super) fn object_size(&self, handle: CacheHandle) -> u64 {
        self.made_by(handle).and_then(Request::size).unwrap_or(0)
    }

    /// Whether a cache's objects have a constructor.
    pub(super) fn is_constructed(&self, handle: CacheHandle) -> bool {
        self.made_by(handle).and_then(Request::ctor).is_some()
    }

    /// Takes note that a cache was destroyed.
    pub(super) fn destroy_cache(&mut self, handle: CacheHandle) {
        let place = usize::from(self.cache(handle));
        if let Some(cache) = self.caches.get_mut(place) {
            cache.is_alive = false;
        }
    }

    pub(super) fn open_scope(&mut self, task: u8, at: Source) {
        self.scopes.push((task, at));
    }

    /// Closes the innermost scope of a task.
    pub(super) fn close_scope(&mut self, task: u8) {
        if let Some(place) = self.scopes.iter().rposition(|(of, _)| *of == task) {
            self.scopes.remove(place);
        }
    }

    /// What is left at the end that should not be.
    pub(super) fn left(&self) -> Option<Misuse> {
        let is_left =
            |(addr, _): &(&u64, &Reg)| !self.queued.iter().any(|(queued, _)| queued == *addr);
        let left: Vec<Reg> = self.live.iter().filter(is_left).map(|(_, reg)| *reg).collect();
        if let Some(reg) = left.iter().min() {
            let bytes: u64 = left.iter().map(|reg| self.given(*reg).size).sum();
            let (first, nr) = (self.given(*reg), left.len());
            let name = first.request.spec().name;
            let others = if nr > 1 { format!(", the first of {nr}") } else { String::new() };
            let says = format!("memory of {name} is not freed{others}; {bytes} bytes are left");
            let leak = Misuse::new(Rule::Leak, says);
            return Some(self.placed(leak, Some(*reg), None));
        }
        if let Some(cache) = self.caches.iter().find(|cache| cache.is_alive) {
            let leak = Misuse::new(Rule::Leak, "a cache is not destroyed");
            return Some(Misuse { asked_at: Some(cache.made_at), ..leak });
        }
        let (_, opened) = self.scopes.last()?;
        let open = Misuse::new(Rule::OpenScope, "a scope is still open at the end");
        Some(Misuse { asked_at: Some(*opened), ..open })
    }
}
