//! The reference model: what one lane's caller has been told, and what follows from it.
//!
//! The one idea: the model judges. It keeps the book of live allocations by address and never asks
//! the allocator anything; from the book alone follow the verdict of every free, what may overlap,
//! what memory must contain, and what the allocator's counters must add up to.
//!
//! It does not predict where policy is free, and it keeps no contents: those follow from a seed.

mod allocation;
mod boot;
mod caller;
mod convert;
pub(crate) mod effort;
mod fate;
mod free;
mod grant;
mod judge;
pub(crate) mod kswapd;
pub(crate) mod kvmalloc;
pub mod matrix;
mod realloc;
mod reference;
mod reuse;
pub(crate) mod room;
pub(crate) mod rules;
pub(crate) mod shortage;
pub(crate) mod space;
pub(crate) mod window;

use crate::call::{Request, Role};
use crate::op::Reg;
use crate::subject::Layout;
use crate::trace::Machine;
use crate::words::{CacheHandle, PAGE, order_of, pages_of};
pub(crate) use allocation::{Allocation, Contents, Kind, RCU_HEAD, RCU_OFFSET_END, Via};
use boot::whose_frames;
pub(crate) use free::{Free, Verdict, right_call};
pub(crate) use grant::Granted;
pub(crate) use judge::Freeing;
use kswapd::Kswapd;
use kvmalloc::Policy;
use reference::SharedPage;
use reuse::Classes;
pub(crate) use reuse::Reuse;
use rules::{cache_alignment, size_class, vmalloc_cost};
use space::Space;
use std::collections::BTreeMap;

/// A cache that the caller made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache {
    /// The op that made it.
    pub id: u32,
    /// Bytes of an object.
    pub size: u64,
    /// The alignment that the caller may rely on.
    pub align: u64,
    /// The word that the constructor leaves all over a new object.
    pub ctor: Option<u64>,
    /// Live objects.
    pub nr_objects: u64,
    /// Which of its objects comes next.
    pub reuse: Reuse,
}

impl Cache {
    /// The cache that a request asks for; `id` is its op.
    pub(crate) fn asked_for(id: u32, request: &Request) -> Self {
        let size = request.size().unwrap_or(0);
        let align = request.get(Role::Align).unwrap_or(0);
        let align = cache_alignment(size, align, request.slab_flags());
        Self { id, size, align, ctor: request.ctor(), nr_objects: 0, reuse: Reuse::default() }
    }
}

/// Sums over the book, to hold against the allocator's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Frames of page blocks, exact and coherent ones included.
    pub nr_block_pages: u64,
    /// Frames of large kmalloc blocks.
    pub nr_large_kmalloc_pages: u64,
    /// Frames behind vmalloc areas, those of page arrays included.
    pub nr_vmalloc_pages: u64,
    /// Areas, those of page arrays included.
    pub nr_areas: u64,
    /// Pages of vmalloc space in areas, guards included.
    pub nr_area_pages: u64,
    /// Objects of the size classes.
    pub nr_kmalloc_objects: u64,
    /// Objects of caches.
    pub nr_cache_objects: u64,
}

/// Who uses a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FrameUse {
    Nobody,
    /// One allocation has all of it.
    Whole,
    /// This many objects lie in it.
    Shared(u16),
}

/// The book of one lane.
pub(crate) struct Model {
    layout: Layout,
    policy: Policy,
    live: BTreeMap<u64, Allocation>,
    frames: Vec<FrameUse>,
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

impl Model {
    /// An empty book about a machine.
    pub(crate) fn new(layout: Layout, machine: &Machine) -> Self {
        let nr_frames = ((layout.direct_end - layout.direct_start) / PAGE) as usize;
        Self {
            layout,
            policy: Policy::of(machine),
            live: BTreeMap::new(),
            frames: vec![FrameUse::Nobody; nr_frames],
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

    /// The live allocation that starts at `addr`.
    pub(crate) fn at(&self, addr: u64) -> Option<&Allocation> {
        self.live.get(&addr)
    }

    /// The live allocation whose range, guard page included, holds `addr`.
    pub(crate) fn containing(&self, addr: u64) -> Option<&Allocation> {
        let (_, allocation) = self.live.range(..=addr).next_back()?;
        (addr < allocation.end()).then_some(allocation)
    }

    /// Every live allocation in address order.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Allocation> {
        self.live.values()
    }

    /// The number of live allocations.
    pub(crate) fn nr_live(&self) -> usize {
        self.live.len()
    }

    /// The sums over the book.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Where the lane's memory lies.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
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

    /// A cache that has been made and not destroyed.
    pub(crate) fn cache(&self, handle: CacheHandle) -> Option<&Cache> {
        self.caches.get(&handle)
    }

    /// The caches that have been made and not destroyed.
    pub(crate) fn caches(&self) -> impl Iterator<Item = CacheHandle> {
        self.caches.keys().copied()
    }

    /// The word that the constructor of an allocation's cache left all over it.
    pub(crate) fn ctor_of(&self, kind: Kind) -> Option<u64> {
        let Kind::CacheObject(handle) = kind else { return None };
        self.caches.get(&handle)?.ctor
    }

    /// Whether an address lies in the vmalloc space.
    pub(crate) fn is_vmalloc(&self, addr: u64) -> bool {
        (self.layout.vmalloc_start..self.layout.vmalloc_end).contains(&addr)
    }

    /// Whether an address lies in the direct map.
    pub(crate) fn is_direct(&self, addr: u64) -> bool {
        (self.layout.direct_start..self.layout.direct_end).contains(&addr)
    }

    /// A live allocation whose range meets `start..end`.
    pub(crate) fn overlapping(&self, start: u64, end: u64) -> Option<&Allocation> {
        let (_, below) = self.live.range(..end).next_back()?;
        (below.end() > start).then_some(below)
    }

    /// The same, of others than the allocation at an address, if there is one. Live allocations lie
    /// apart, so only the last one can meet the range that begins before its end.
    pub(crate) fn overlapping_beside(
        &self,
        own: Option<u64>,
        start: u64,
        end: u64,
    ) -> Option<&Allocation> {
        let (_, below) = self.live.range(..end).rev().find(|(addr, _)| Some(**addr) != own)?;
        (below.end() > start).then_some(below)
    }

    /// Whether a frame is in use in a way that memory of `kind` cannot share.
    pub(crate) fn is_frame_taken(&self, frame: u32, kind: Kind) -> bool {
        let small = matches!(kind, Kind::Kmalloc | Kind::CacheObject(_));
        match self.frames.get(frame as usize) {
            None | Some(FrameUse::Whole) => true,
            Some(FrameUse::Shared(_)) => !small,
            Some(FrameUse::Nobody) => false,
        }
    }

    /// Enters an allocation. `frames` are the frames behind it, in order.
    pub(crate) fn enter(&mut self, allocation: Allocation, frames: &[u32]) {
        self.just_freed = None;
        for frame in whose_frames(&allocation, frames) {
            let place = &mut self.frames[*frame as usize];
            *place = match *place {
                FrameUse::Shared(nr) if allocation.is_small() => FrameUse::Shared(nr + 1),
                _ if allocation.is_small() => FrameUse::Shared(1),
                _ => FrameUse::Whole,
            };
        }
        self.count(&allocation, |total, amount| *total += amount);
        if allocation.kind == Kind::Vmalloc {
            self.space.enter(allocation.addr, pages_of(allocation.usable));
        }
        if let Some(reuse) = self.reuse_mut(&allocation) {
            reuse.take(allocation.cpu, allocation.addr);
        }
        self.live.insert(allocation.addr, allocation);
    }

    /// Strikes an allocation out; the frames behind it, in order, are nobody's from now on.
    pub(crate) fn strike(&mut self, addr: u64, frames: &[u32], cpu: u8) -> Option<Allocation> {
        let allocation = self.live.remove(&addr)?;
        for frame in whose_frames(&allocation, frames) {
            let place = &mut self.frames[*frame as usize];
            *place = match *place {
                FrameUse::Shared(nr) if nr > 1 => FrameUse::Shared(nr - 1),
                _ => FrameUse::Nobody,
            };
        }
        self.count(&allocation, |total, amount| *total -= amount);
        if allocation.kind == Kind::Vmalloc {
            self.space.retire(addr);
        }
        if let Some(reuse) = self.reuse_mut(&allocation) {
            reuse.free(cpu.into(), addr);
        }
        self.just_freed = Some((addr, allocation.kind, cpu));
        Some(allocation)
    }

    fn reuse_mut(&mut self, allocation: &Allocation) -> Option<&mut Reuse> {
        match allocation.kind {
            Kind::Kmalloc => Some(self.classes.of_mut(size_class(allocation.usable)?)),
            Kind::CacheObject(handle) => Some(&mut self.caches.get_mut(&handle)?.reuse),
            _ => None,
        }
    }

    /// The object that a CPU's request for memory of `kind` must get, if that is certain (R1.10).
    pub(crate) fn next_object(&self, kind: Kind, size: u64, cpu: usize) -> Option<u64> {
        match kind {
            Kind::Kmalloc => self.classes.of(size_class(size)?).next(cpu),
            Kind::CacheObject(handle) => self.caches.get(&handle)?.reuse.next(cpu),
            _ => None,
        }
    }

    /// The block of `order` that a CPU freed just now, and nothing has happened since.
    pub(crate) fn just_freed_block(&self, order: u32, cpu: u8) -> Option<u64> {
        let (addr, kind, freed_on) = self.just_freed?;
        let is_same = matches!(kind, Kind::Pages { order: freed, .. } if freed == order);
        (is_same && freed_on == cpu).then_some(addr)
    }

    /// Says that the allocator has given back what it kept for later, so that no object is known
    /// to come next.
    pub(crate) fn forget_reuse(&mut self) {
        self.classes = Classes::default();
        self.caches.values_mut().for_each(|cache| cache.reuse = Reuse::default());
    }

    /// The same for one cache.
    pub(crate) fn forget_reuse_of(&mut self, handle: CacheHandle) {
        if let Some(cache) = self.caches.get_mut(&handle) {
            cache.reuse = Reuse::default();
        }
    }

    /// The same for the class or the cache of an object.
    fn forget_reuse_like(&mut self, object: &Allocation) {
        if let Some(reuse) = self.reuse_mut(object) {
            *reuse = Reuse::default();
        }
    }

    /// Changes what a live allocation holds.
    pub(crate) fn set_contents(&mut self, addr: u64, contents: Contents) {
        if let Some(allocation) = self.live.get_mut(&addr) {
            allocation.contents = contents;
        }
    }

    /// Says that the first bytes of a live allocation were cleared, be they of its slack.
    pub(crate) fn clear(&mut self, addr: u64, nr_cleared: u64) {
        if let Some(held) = self.live.get_mut(&addr).filter(|_| nr_cleared > 0) {
            let before = std::mem::replace(&mut held.contents, Contents::Painted(0));
            held.contents = Contents::Cleared(nr_cleared, before.into());
        }
    }

    /// Says that a register no longer holds the allocation at an address, if it did.
    pub(crate) fn forget_register(&mut self, addr: u64, reg: Reg) {
        if let Some(allocation) = self.live.get_mut(&addr).filter(|held| held.reg == Some(reg)) {
            allocation.reg = None;
        }
    }

    /// Says that something happened after the last free, so that its address may be anything by
    /// now.
    pub(crate) fn forget_just_freed(&mut self) {
        self.just_freed = None;
    }

    /// Enters a cache.
    pub(crate) fn enter_cache(&mut self, handle: CacheHandle, cache: Cache) {
        self.caches.insert(handle, cache);
    }

    /// Strikes a cache out.
    pub(crate) fn strike_cache(&mut self, handle: CacheHandle) {
        self.caches.remove(&handle);
    }

    fn count(&mut self, allocation: &Allocation, add: fn(&mut u64, u64)) {
        let totals = &mut self.totals;
        match allocation.kind {
            Kind::Kmalloc => add(&mut totals.nr_kmalloc_objects, 1),
            Kind::CacheObject(handle) => {
                add(&mut totals.nr_cache_objects, 1);
                if let Some(cache) = self.caches.get_mut(&handle) {
                    add(&mut cache.nr_objects, 1);
                }
            }
            Kind::LargeKmalloc => {
                add(&mut totals.nr_large_kmalloc_pages, 1 << order_of(allocation.usable));
            }
            Kind::Pages { order, .. } | Kind::DmaCoherent { order } => {
                add(&mut totals.nr_block_pages, 1 << order);
            }
            Kind::PagesExact { nr_pages } => add(&mut totals.nr_block_pages, nr_pages),
            Kind::Boot | Kind::Heap { .. } | Kind::Frames => {}
            Kind::Vmalloc => {
                let cost = vmalloc_cost(pages_of(allocation.usable));
                add(&mut totals.nr_vmalloc_pages, cost.nr_pages);
                add(&mut totals.nr_areas, cost.nr_areas);
                add(&mut totals.nr_area_pages, cost.nr_area_pages);
            }
        }
    }
}

/// A live area, for the tests of this folder.
#[cfg(test)]
fn test_area(addr: u64, size: u64) -> Allocation {
    let contents = Contents::Painted(1);
    let (usable, kind, via) = (size.next_multiple_of(PAGE), Kind::Vmalloc, Via::Own);
    let (cpu, reg, head) = (0, None, None);
    Allocation { id: 1, addr, size, usable, kind, via, cpu, reg, head, contents }
}
