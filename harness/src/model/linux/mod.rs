//! What a caller of Linux has been told beyond the book: caches and scopes, which object comes
//! next, what waits to be freed, where room is in the vmalloc space, and who balances the nodes.
//!
//! The rules stand here as well, and the matrix of frees. Of an allocator that does not claim to be
//! Linux nothing of this is asked, and it stays as it was at boot.

mod boot;
mod cache;
mod caller;
mod convert;
pub(crate) mod effort;
mod fate;
mod judge;
pub(crate) mod kswapd;
pub(crate) mod kvmalloc;
pub mod matrix;
mod realloc;
mod reference;
pub(crate) mod reuse;
pub(crate) mod room;
pub(crate) mod rules;
pub(crate) mod shortage;
pub(crate) mod space;
mod totals;
pub(crate) mod window;

use crate::model::{Allocation, Kind};
use crate::subject::Layout;
use crate::trace::Machine;
use crate::words::{CacheHandle, pages_of};
pub(crate) use cache::Cache;
use kswapd::Kswapd;
use kvmalloc::Policy;
use reference::SharedPage;
use reuse::Classes;
use space::Space;
use std::collections::BTreeMap;
use totals::Totals;

/// What the model knows of a lane as Linux.
pub(crate) struct Linux {
    policy: Policy,
    caches: BTreeMap<CacheHandle, Cache>,
    totals: Totals,
    space: Space,
    /// Whether the boot allocator has not handed over yet.
    is_early: bool,
    /// Which object of each size class comes next.
    classes: Classes,
    callers: caller::Callers,
    kswapd: Kswapd,
    /// The pages that somebody beside their holder has a reference to.
    shared: BTreeMap<u64, SharedPage>,
    /// The last thing freed, as long as nothing has happened since.
    just_freed: Option<(u64, Kind, u8)>,
}

impl Linux {
    /// What is known of a machine at its boot.
    pub(super) fn new(layout: &Layout, machine: &Machine) -> Self {
        Self {
            policy: Policy::of(machine),
            caches: BTreeMap::new(),
            totals: Totals::default(),
            space: Space::new(layout.vmalloc_start, layout.vmalloc_end, machine.cpus),
            is_early: true,
            classes: Classes::default(),
            callers: caller::Callers::default(),
            kswapd: Kswapd::default(),
            shared: BTreeMap::new(),
            just_freed: None,
        }
    }

    /// How kvmalloc decides.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The vmalloc space.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// As [`space`](Self::space), to change.
    pub(crate) fn space_mut(&mut self) -> &mut Space {
        &mut self.space
    }

    /// Who balances the nodes.
    pub(crate) fn kswapd(&self) -> &Kswapd {
        &self.kswapd
    }

    /// As [`kswapd`](Self::kswapd), to change.
    pub(crate) fn kswapd_mut(&mut self) -> &mut Kswapd {
        &mut self.kswapd
    }

    /// Takes note of an allocation that enters the book.
    pub(super) fn note_entered(&mut self, allocation: &Allocation) {
        self.just_freed = None;
        self.count(allocation, |total, amount| *total += amount);
        if allocation.kind == Kind::Vmalloc {
            self.space.enter(allocation.addr, pages_of(allocation.usable));
        }
        if let Some(reuse) = self.reuse_mut(allocation) {
            reuse.take(allocation.cpu, allocation.addr);
        }
    }

    /// Takes note of an allocation that a CPU has freed, and that is struck out of the book.
    pub(super) fn note_struck(&mut self, allocation: &Allocation, cpu: u8) {
        self.count(allocation, |total, amount| *total -= amount);
        if allocation.kind == Kind::Vmalloc {
            self.space.retire(allocation.addr);
        }
        if let Some(reuse) = self.reuse_mut(allocation) {
            reuse.free(cpu.into(), allocation.addr);
        }
        self.just_freed = Some((allocation.addr, allocation.kind, cpu));
    }
}
