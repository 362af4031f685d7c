//! kvmalloc: contiguous memory if that is easy, mapped memory otherwise (R5).
//!
//! The one idea: the caller must not care which it got, so which it gets may be chosen. [`Route`]
//! makes that choice an argument: the kernel's own policy, or either side wherever that side
//! could ever serve the call (LWN 2017).

use crate::memory::Memory;
use crate::slab::objects::Refused;
use crate::vmalloc::area_pages::Vmalloc;
use crate::words::addr::{KMALLOC_MAX_SIZE, PAGE_SIZE, Vaddr};
use crate::words::error::AllocError;
use crate::words::gfp::{__GFP_DIRECT_RECLAIM, __GFP_ZERO, Gfp};
use crate::words::policy::{Course, OldSize, Rules};
use crate::words::task::Context;

/// Which side serves a kvmalloc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// The policy of the machine's version: by Linux 6.1's the slab side first, then vmalloc for
    /// more than a page (R5.1).
    #[default]
    Policy,
    /// The slab side only, without the fallback; the policy where slab can never serve the size.
    Slab,
    /// The vmalloc side at once; the policy where the caller may not use vmalloc.
    Vmalloc,
}

/// What waits for the end of a grace period: a list through the memory itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RcuQueue {
    /// The `rcu_head` of what was queued last.
    pub(crate) first: Vaddr,
    /// How much is queued.
    pub(crate) nr: u32,
}

impl RcuQueue {
    /// Nothing.
    pub(crate) const EMPTY: Self = Self { first: Vaddr::NULL, nr: 0 };
}

/// kvmalloc, which owns vmalloc.
///
/// # Invariants
/// 17. What is queued is live memory, each once, and as much as is counted.
#[derive(Debug)]
pub(crate) struct Kvmalloc<M> {
    pub(crate) vmalloc: Vmalloc<M>,
    pub(crate) rules: Rules,
    pub(crate) queue: RcuQueue,
}

impl<M: Memory> Kvmalloc<M> {
    /// `kvmalloc`, by the given route.
    pub(crate) fn kvmalloc(
        &mut self,
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Vaddr, AllocError> {
        if size == 0 {
            return Ok(Vaddr::ZERO_SIZE_PTR);
        }
        AllocError::check_caller(gfp, self.vmalloc.context())?;
        match route {
            Route::Slab if size <= KMALLOC_MAX_SIZE => self.vmalloc.kmalloc.kmalloc(size, gfp),
            Route::Vmalloc if self.rules.may_map(size, gfp) => self.mapped(size, gfp),
            _ => self.by_policy(size, gfp),
        }
    }

    /// `kvfree`: the address tells the side (R5.6).
    pub(crate) fn kvfree(&mut self, addr: Vaddr) -> Result<(), Refused> {
        if self.vmalloc.vmap.contains(addr) {
            self.vmalloc.vfree(addr)
        } else {
            self.vmalloc.kmalloc.kfree(addr)
        }
    }

    /// `kvfree_sensitive`: clears `len` bytes, no more and no fewer, and frees (R5.6).
    pub(crate) fn kvfree_sensitive(&mut self, addr: Vaddr, len: u64) -> Result<(), Refused> {
        if addr.is_zero_or_null() {
            return Ok(());
        }
        if len > self.usable(addr)? || !self.may_kvfree(addr) {
            return Err(Refused);
        }
        self.zero(addr, len);
        self.kvfree(addr)
    }

    /// `kvrealloc`, by the version's idea of who knows the size of the old memory (R5.5).
    pub(crate) fn kvrealloc(
        &mut self,
        addr: Vaddr,
        old_size: u64,
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Result<Vaddr, AllocError>, Refused> {
        let room = self.usable(addr)?;
        match self.rules.old_size() {
            // Linux reads beyond memory that has fewer bytes than its caller says.
            OldSize::Told if old_size > room => Err(Refused),
            OldSize::Told => self.grow(addr, old_size, size, gfp, route),
            OldSize::Whole => self.resize(addr, [room, room], size, gfp, route),
            OldSize::Requested => {
                let asked = self.vmalloc.requested(addr).unwrap_or(room);
                self.resize(addr, [asked, room], size, gfp, route)
            }
        }
    }

    /// `vrealloc`: of an area, or of NULL, which is no area yet. It came with 6.12; older versions
    /// do what it did then (R4.15).
    pub(crate) fn vrealloc(
        &mut self,
        addr: Vaddr,
        size: u64,
        gfp: Gfp,
    ) -> Result<Result<Vaddr, AllocError>, Refused> {
        match (addr, size) {
            (Vaddr::NULL, 0) => return Ok(Ok(Vaddr::NULL)),
            (Vaddr::NULL, _) => {
                let range = self.vmalloc.anywhere(size, gfp);
                return Ok(self.vmalloc.alloc(&range));
            }
            _ => {}
        }
        let room = self.vmalloc.usable(addr)?;
        let held = match self.rules.old_size() {
            OldSize::Told | OldSize::Whole => room,
            OldSize::Requested => self.vmalloc.requested(addr).unwrap_or(room),
        };
        self.resize(addr, [held, room], size, gfp, Route::Vmalloc)
    }

    /// `kvrealloc` of Linux 6.1: it shrinks nothing, and believes its caller what to copy. Memory
    /// that is not to grow is given back as it is, in any context.
    fn grow(
        &mut self,
        addr: Vaddr,
        old_size: u64,
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Result<Vaddr, AllocError>, Refused> {
        if size > old_size && !self.may_kvfree(addr) {
            return Err(Refused);
        }
        if size != 0
            && let Err(error) = AllocError::check_caller(gfp, self.vmalloc.context())
        {
            return Ok(Err(error));
        }
        if old_size >= size {
            return Ok(Ok(addr));
        }
        let moved = self.kvmalloc(size, gfp, route);
        self.replace(addr, old_size, moved)
    }

    /// `kvrealloc` since 6.12: `vrealloc` of what is mapped, which stays mapped, and of all else
    /// `krealloc` with kvmalloc behind it. The old memory counts with its first `held` bytes of
    /// `room`.
    fn resize(
        &mut self,
        addr: Vaddr,
        [held, room]: [u64; 2],
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Result<Vaddr, AllocError>, Refused> {
        let is_area = self.vmalloc.vmap.contains(addr);
        let stays = (1..=room).contains(&size);
        if !stays && !self.may_kvfree(addr) {
            return Err(Refused);
        }
        if size == 0 {
            if self.vmalloc.context() == Context::Nmi && !addr.is_zero_or_null() {
                return Ok(Err(AllocError::BadContext));
            }
            self.kvfree(addr)?;
            return Ok(Ok(if is_area { Vaddr::NULL } else { Vaddr::ZERO_SIZE_PTR }));
        }
        // Another area would need page tables, which are taken with GFP_KERNEL (R4.4), and who
        // looks for the old one takes a lock that interrupts must not take (`find_vm_area`).
        let sleeps = is_area && (!stays || self.vmalloc.context().in_interrupt());
        let strictest = if sleeps { gfp | __GFP_DIRECT_RECLAIM } else { gfp };
        for gfp in [strictest, gfp] {
            if let Err(error) = AllocError::check_caller(gfp, self.vmalloc.context()) {
                return Ok(Err(error));
            }
        }
        if stays {
            if gfp.has(__GFP_ZERO) {
                self.zero(Vaddr(addr.0 + size), held.saturating_sub(size));
            }
            self.vmalloc.set_requested(addr, size);
            return Ok(Ok(addr));
        }
        let moved = if is_area {
            let range = self.vmalloc.anywhere(size, gfp);
            self.vmalloc.alloc(&range)
        } else {
            self.kvmalloc(size, gfp, route)
        };
        self.replace(addr, held, moved)
    }

    /// Moves the first `len` bytes of `old` to the memory that was granted for it, and frees it.
    fn replace(
        &mut self,
        old: Vaddr,
        len: u64,
        moved: Result<Vaddr, AllocError>,
    ) -> Result<Result<Vaddr, AllocError>, Refused> {
        if let Ok(new) = moved {
            self.copy(old, new, len);
            self.kvfree(old)?;
        }
        Ok(moved)
    }

    /// Clears bytes of either side, as far as they lie in one page at a time.
    fn zero(&mut self, addr: Vaddr, len: u64) {
        let mut done = 0;
        while done < len {
            let from = Vaddr(addr.0 + done);
            let nr_bytes = (len - done).min(PAGE_SIZE - from.0 % PAGE_SIZE);
            if let Some(at) = self.vmalloc.phys(from) {
                self.vmalloc.memory_mut().zero_bytes(at, nr_bytes);
            }
            done += nr_bytes;
        }
    }

    /// Whether the caller is where it may free an address from the side that it lies on.
    fn may_kvfree(&self, addr: Vaddr) -> bool {
        !self.vmalloc.vmap.contains(addr) || self.vmalloc.context() != Context::Atomic
    }

    /// Copies bytes from either side to either side, as far as both lie in one page at a time.
    fn copy(&mut self, from: Vaddr, to: Vaddr, len: u64) {
        let mut done = 0;
        while done < len {
            let (from, to) = (Vaddr(from.0 + done), Vaddr(to.0 + done));
            let room = PAGE_SIZE - (from.0 % PAGE_SIZE).max(to.0 % PAGE_SIZE);
            let nr_bytes = (len - done).min(room);
            if let (Some(from), Some(to)) = (self.vmalloc.phys(from), self.vmalloc.phys(to)) {
                self.vmalloc.memory_mut().copy_bytes(from, to, nr_bytes);
            }
            done += nr_bytes;
        }
    }

    /// The bytes that the holder of an address may use, from either side.
    pub(crate) fn usable(&self, addr: Vaddr) -> Result<u64, Refused> {
        if self.vmalloc.vmap.contains(addr) {
            self.vmalloc.usable(addr)
        } else {
            self.vmalloc.kmalloc.usable(addr)
        }
    }

    /// The procedure of R5.1, by the rules of the machine's version.
    fn by_policy(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        let course = self.rules.course(size, gfp);
        let flags = match course {
            Course::Kmalloc => gfp,
            _ => self.rules.first_try(size, gfp),
        };
        let error = match self.vmalloc.kmalloc.kmalloc(size, flags) {
            Ok(addr) => return Ok(addr),
            Err(error) => error,
        };
        match course {
            Course::Kmalloc | Course::FirstTry => Err(error),
            _ if self.rules.is_too_large(size) => {
                Err(self.vmalloc.others_mut().refuse_too_large(gfp))
            }
            Course::Fallback => self.mapped(size, gfp),
            Course::Bug => Err(AllocError::BadContext),
        }
    }

    fn mapped(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        let range = self.vmalloc.anywhere(size, gfp);
        if self.rules.may_map_huge(gfp) {
            self.vmalloc.alloc_huge(&range)
        } else {
            self.vmalloc.alloc(&range)
        }
    }
}
