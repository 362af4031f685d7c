//! Checking every invariant over everything, from the frames up.
//!
//! The one idea: believe nothing. Every link is checked before it is followed and every walk is
//! bounded by what was found sound before it, so that a damaged structure yields a [`Corruption`]
//! and neither a panic nor an endless loop. The numbers of invariants are those in the
//! `# Invariants` of the types that hold them; each floor's checks are in a file of their own.
//!
//! Nothing is repaired.

mod areas;
mod pages;
mod slabs;

use crate::kmalloc::direct;
use crate::kvmalloc::Kvmalloc;
use crate::memory::Memory;
use crate::words::addr::{Paddr, Vaddr};
use core::fmt;

/// A broken invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// The number of the invariant.
    pub invariant: u8,
    /// What was found, as a sentence.
    pub what: &'static str,
    /// Where it was found: a frame or a descriptor in the direct map, or a vmalloc address.
    pub addr: Vaddr,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, what, addr } = self;
        write!(f, "invariant {invariant} is broken at {:#x}: {what}", addr.0)
    }
}

impl core::error::Error for Corruption {}

/// Demands that an invariant holds.
fn ensure(holds: bool, invariant: u8, what: &'static str, addr: Vaddr) -> Result<(), Corruption> {
    if holds { Ok(()) } else { Err(Corruption { invariant, what, addr }) }
}

/// As [`ensure`], about a descriptor in managed memory.
fn ensure_at(holds: bool, invariant: u8, what: &'static str, at: Paddr) -> Result<(), Corruption> {
    ensure(holds, invariant, what, direct(at))
}

impl<M: Memory> Kvmalloc<M> {
    /// Checks all floors, each on the ground of those below it.
    pub(crate) fn check(&self) -> Result<(), Corruption> {
        self.vmalloc.kmalloc.slab.pages.check()?;
        self.vmalloc.kmalloc.slab.check()?;
        self.vmalloc.check()?;
        self.check_queue()
    }

    /// Checks invariant 17. What is live is known to be sound.
    fn check_queue(&self) -> Result<(), Corruption> {
        for (place, object) in self.queued().enumerate() {
            let is_live = self.usable(object).is_ok_and(|nr_bytes| nr_bytes > 0);
            ensure(is_live, 17, "what is queued is no live memory", object)?;
            let again = self.queued().take(place).any(|other| other == object);
            ensure(!again, 17, "memory is queued twice", object)?;
        }
        Ok(())
    }
}
