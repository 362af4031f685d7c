//! From an op to what a lane has to do: registers become addresses, and the op a request.
//!
//! Nothing is carried out here.

use super::{Lane, Skip, Waiter};
use crate::call::{Call, Frees, List, MAX_ARGS, MAX_LIST, Request, Role, ask};
use crate::model::Allocation;
use crate::op::{Arg, Op, Reg};
use crate::subject::Cap;
use crate::words::{CacheHandle, Context};

/// What an op asks of a lane.
pub(crate) enum Action {
    /// A request to the allocator.
    Request(Request),
    /// A write by the caller: the allocation's start, and the first byte past what is written.
    Write {
        /// Where the allocation starts.
        addr: u64,
        /// The end of the write, counted from there.
        end: u64,
    },
}

impl Lane {
    /// Turns an op into what this lane has to do.
    pub(crate) fn resolve(&self, op: &Op, index: u32) -> Result<Action, Skip> {
        if self.is_blocked(op.caller.task) {
            return Err(Skip::Blocked);
        }
        let request = self.request(op, index)?;
        if op.call == Call::Write {
            let get = |role| request.get(role).unwrap_or(0);
            let (addr, end) =
                (get(Role::Written), get(Role::Offset).saturating_add(get(Role::Size)));
            // Who writes to a page that he shares writes to its holder's memory.
            let held =
                self.model.book.at(addr).map(|held| (held, 0)).or_else(|| self.model.behind(addr));
            // What is unlinked has readers, and nobody who writes.
            let held = held.filter(|(held, _)| held.head.is_none());
            let (held, start) = held.ok_or(Skip::NoMemory)?;
            return Ok(Action::Write { addr: held.addr, end: end.saturating_add(start) });
        }
        let is_awaited = request.freed().iter().any(|addr| self.is_awaited(*addr));
        match () {
            () if is_awaited => Err(Skip::Waiting),
            () if self.is_misuse(&request, self.as_understood(op.caller).context) => {
                Err(Skip::Misuse)
            }
            () => Ok(Action::Request(request)),
        }
    }

    /// Whether a request does harm to an allocator that does not refuse it.
    fn is_misuse(&self, request: &Request, context: Context) -> bool {
        if self.caps.has(Cap::WrongFrees) {
            return false;
        }
        let is_lost = |addr| addr > 16 && self.model.book.at(addr).is_none();
        self.model.freeing(request, context).is_some_and(|freeing| !freeing.is_right())
            || request.get(Role::Read).is_some_and(is_lost)
    }

    /// Whether an address points into memory that a waiting request is to replace.
    pub(super) fn is_awaited(&self, addr: u64) -> bool {
        let replaces = |waiter: &Waiter| {
            let old = waiter.request.replaced();
            let held = self.model.book.containing(addr);
            old.zip(held).is_some_and(|(old, held)| old == held.addr)
        };
        self.waiters.iter().any(replaces)
    }

    /// The op's call with every register resolved.
    fn request(&self, op: &Op, index: u32) -> Result<Request, Skip> {
        let (mut words, mut list) = ([0; MAX_ARGS], None);
        let args = op.args.iter().zip(op.call.spec().args);
        for (word, (arg, (_, role))) in words.iter_mut().zip(args) {
            *word = match (*arg, role) {
                // A trace names physical addresses by their place in the direct map.
                (Arg::Number(at), Role::Phys) => {
                    self.model.book.layout().direct_start.saturating_add(at)
                }
                (Arg::Number(number), _) => number,
                (Arg::Gfp(gfp), _) => gfp.0.into(),
                (Arg::Ptr(ptr), _) => self.registers.resolve(ptr)?,
                (Arg::Cache(reg), _) => self.registers.cache(reg)?.0,
                (Arg::Regs(first, nr), _) => {
                    list = Some(self.addresses(first, nr)?);
                    0
                }
            };
        }
        let mut request = Request::new(op.call, &words);
        if let Some(list) = list {
            request = request.with_list(list);
        }
        if let (Frees::Destroy, Some(cache)) = (op.call.spec().frees, request.cache()) {
            self.unwaited(cache)?;
        }
        let is_routed = op.call.spec().traits.routed;
        Ok(if is_routed { request.by(self.spec.routing.route(index, op.route)) } else { request })
    }

    /// The addresses in so many registers from one on.
    fn addresses(&self, first: Reg, nr: u8) -> Result<List, Skip> {
        let mut addrs = [0; MAX_LIST];
        let addrs = &mut addrs[..usize::from(nr).min(MAX_LIST)];
        for (addr, nth) in addrs.iter_mut().zip(0..) {
            let reg = first.saturating_add(nth);
            *addr = self.registers.address(reg).ok_or(Skip::Waiting)?;
        }
        Ok(List::of(addrs))
    }

    /// The request that frees what one of the registers holds that the op is to fill, counted from
    /// the first, if it holds something.
    pub(crate) fn release_before(&self, op: &Op, nth: u16) -> Result<Option<Request>, Skip> {
        let Some(dst) = op.dst.and_then(|dst| dst.checked_add(nth)) else { return Ok(None) };
        if op.call == Call::KmemCacheCreate {
            let Ok(cache) = self.registers.cache(dst) else { return Ok(None) };
            return Ok(Some(ask::kmem_cache_destroy(self.unwaited(cache)?)));
        }
        let addr = self.registers.address(dst).ok_or(Skip::Waiting)?;
        let held = self.model.book.at(addr).filter(|held| held.reg == Some(dst));
        // A reallocation itself frees what it replaces.
        let source = self.pointer(op);
        let replaces =
            |held: &&Allocation| source.is_some_and(|at| (held.addr..held.end()).contains(&at));
        match held.filter(|held| self.model.can_free(held) && !replaces(held)) {
            Some(held) if self.is_awaited(held.addr) => Err(Skip::Waiting),
            None if self.model.linux.holds_reference(dst, addr) => Ok(Some(ask::put_page(addr))),
            held => Ok(held.map(Allocation::right_free)),
        }
    }

    /// A cache that no waiter will ask for an object, so that its caller may destroy it.
    fn unwaited(&self, cache: CacheHandle) -> Result<CacheHandle, Skip> {
        if self.waiters.iter().any(|waiter| waiter.request.cache() == Some(cache)) {
            Err(Skip::Waiting)
        } else {
            Ok(cache)
        }
    }

    /// The address that the op's pointer argument names, if it has one.
    pub(crate) fn pointer(&self, op: &Op) -> Option<u64> {
        let ptr = op.args.iter().find_map(|arg| match arg {
            Arg::Ptr(ptr) => Some(*ptr),
            _ => None,
        });
        self.registers.resolve(ptr?).ok()
    }

    /// The addresses that the op's argument names which is a list, if it has one.
    pub(crate) fn pointers(&self, op: &Op) -> Option<List> {
        op.args.iter().find_map(|arg| match arg {
            Arg::Regs(first, nr) => self.addresses(*first, *nr).ok(),
            _ => None,
        })
    }

    /// The op that made the cache which an op names, if it names one that is there.
    pub(crate) fn named_cache(&self, op: &Op) -> Option<u32> {
        let handle = op.args.iter().find_map(|arg| match arg {
            Arg::Cache(reg) => self.registers.cache(*reg).ok(),
            _ => None,
        });
        self.model.linux.cache(handle?).map(|cache| cache.id)
    }
}
