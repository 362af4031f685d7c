//! A run of a caller whose accesses nobody sees: what it may not write to is put in place before it
//! goes on, and looked at when it comes back.

use super::State;
use crate::call::{Frees, Makes, Request};
use crate::caller::guards::Guards;
use crate::caller::holdings::Given;
use crate::caller::misuse::{Misuse, Source};
use crate::op::Reg;

impl State {
    /// What the caller has written since its last call where it may not, if it has.
    pub(in super::super) fn changed(&self) -> Option<Misuse> {
        let guards = self.guards.as_ref()?;
        let (reg, misuse) = guards.changed(self.subject.as_ref(), &self.held)?;
        Some(self.held.placed(misuse, Some(reg), None))
    }

    /// The live memory that a request frees or replaces.
    fn given_up(&self, request: &Request) -> Vec<Given> {
        let addrs = request.freed().iter().copied().chain(request.replaced());
        addrs.filter_map(|addr| Some(*self.held.given(self.held.starting(addr)?))).collect()
    }

    /// Objects to what the caller has written since its last call.
    pub(super) fn check_guards(&self, request: &Request) -> Result<(), Box<Misuse>> {
        if self.guards.is_none() {
            return Ok(());
        }
        let zone = |given: &Given| Guards::broken_zone(self.subject.as_ref(), given);
        let broken = || self.given_up(request).iter().find_map(zone);
        self.changed().or_else(broken).map_or(Ok(()), |misuse| Err(misuse.into()))
    }

    /// Takes back what was put around memory that is about to be freed or replaced.
    pub(super) fn prepare(&mut self, request: &Request) {
        // Until a grace period ends, others may read what is queued.
        if self.guards.is_none() || request.spec().frees == Frees::KvfreeRcu {
            return;
        }
        for given in self.given_up(request) {
            let is_constructed =
                given.request.cache().is_some_and(|cache| self.held.is_constructed(cache));
            let is_slab = given.addr < self.layout.vmalloc_start
                && matches!(
                    given.request.spec().makes,
                    Makes::Kmalloc | Makes::Kvmalloc | Makes::Object
                );
            match request.replaced() {
                Some(_) => Guards::lift(self.subject.as_mut(), &given),
                // A constructed object stays constructed, and a page may have other holders.
                None if is_constructed || !is_slab => {}
                None => Guards::spoil(self.subject.as_mut(), &given),
            }
        }
    }

    /// The caller goes on: what it may not change from now on.
    pub(super) fn guard_again(&mut self, request: &Request) {
        let Some(guards) = &mut self.guards else { return };
        // What was to be replaced, and was not, has its red zone again.
        let kept = request.replaced().and_then(|old| self.held.starting(old));
        if let Some(reg) = kept {
            Guards::surround(self.subject.as_mut(), self.held.given(reg));
        }
        guards.renew(self.subject.as_ref(), &self.held);
    }

    /// Takes note that the memory that begins at an address was freed.
    pub(super) fn release(&mut self, addr: u64, how: Frees, at: Source) {
        let reg = self.held.free(addr, how, at);
        self.watch(reg.as_slice());
    }

    /// Takes note that what was queued is freed.
    pub(super) fn end_grace_period(&mut self, at: Source) {
        let regs = self.held.end_grace_period(at);
        self.watch(&regs);
    }

    /// What had these numbers is the allocator's again.
    fn watch(&mut self, regs: &[Reg]) {
        if let Some(guards) = &mut self.guards {
            regs.iter().for_each(|reg| guards.watch(*reg, self.held.given(*reg)));
        }
    }
}
