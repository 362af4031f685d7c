//! Invariants 5 to 7: slabs, their free lists, and caches.

use super::{Corruption, ensure, ensure_at};
use crate::frames::frame::{Frame, FrameState, NO_FRAME};
use crate::memory::Memory;
use crate::slab::cache::{Cache, Geometry};
use crate::slab::free_list::decode_link;
use crate::slab::slabs::SlabAllocator;
use crate::words::addr::{Paddr, Pfn, Vaddr};

/// What a walk over all slabs, or over all caches, adds up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    nr_live: [u32; 3],
    nr_slabs: u32,
    nr_partial: u32,
    nr_frozen: u32,
    nr_empty_pages: u32,
}

impl<M: Memory> SlabAllocator<M> {
    /// Checks invariants 5 to 7, given 1 to 4.
    pub(crate) fn check(&self) -> Result<(), Corruption> {
        let mut by_slab = Sums::default();
        for (slab, frame) in self.pages.heads().filter(|(_, frame)| frame.is_slab()) {
            self.check_slab(slab, frame, &mut by_slab)?;
        }
        let by_cache = self.check_caches()?;
        let nowhere = Vaddr::NULL;
        ensure(by_slab == by_cache, 7, "slabs and caches count differently", nowhere)?;
        let same = by_slab.nr_live == self.nr_live;
        ensure(same, 7, "the count of live objects is off", nowhere)?;
        let same = by_slab.nr_empty_pages == self.nr_empty_slab_pages;
        ensure(same, 7, "the count of pages of empty slabs is off", nowhere)
    }

    /// Whether a live object of `cache` starts at `at`.
    pub(super) fn is_object_of(&self, cache: Cache, at: Paddr) -> bool {
        let head = self.pages.map.head_of(&self.pages.memory, at);
        head.is_some_and(|(slab, frame)| {
            frame.is_slab()
                && self.pages.map.cache(&self.pages.memory, slab) == cache.0
                && self
                    .object_at(slab, frame, at)
                    .is_some_and(|object| object.offset == 0 && self.is_live(&object))
        })
    }

    fn is_cache(&self, cache: Cache) -> bool {
        self.caches.is_boot_cache(cache) || self.is_object_of(self.caches.kmem_cache(), cache.0)
    }

    fn check_slab(&self, slab: Pfn, frame: Frame, sums: &mut Sums) -> Result<(), Corruption> {
        let (memory, addr) = (&self.pages.memory, slab.to_virt());
        let cache = Cache(self.pages.map.cache(memory, slab));
        ensure(self.is_cache(cache), 7, "a slab belongs to no cache", addr)?;
        let geometry = cache.geometry(memory);
        ensure(geometry.size >= 8, 7, "a cache has objects of no size", direct_of(cache))?;
        let objects = geometry.objects(u32::from(frame.order));
        ensure(objects == frame.objects, 7, "a slab holds another number of objects", addr)?;
        let sound = frame.inuse <= frame.fresh && frame.fresh <= frame.objects;
        ensure(sound, 7, "a slab has more live objects than it can", addr)?;
        if frame.state == FrameState::Slab {
            self.check_free_lists(slab, frame, geometry)?;
            let is_active = (0..self.caches.nr_cpus()).any(|cpu| cache.active(memory, cpu) == slab);
            ensure(is_active == frame.frozen, 6, "a slab is frozen but not active", addr)?;
            ensure(is_active || frame.inuse > 0, 6, "an empty slab is kept but not active", addr)?;
            sums.nr_frozen += u32::from(is_active);
            sums.nr_empty_pages += if frame.inuse == 0 { frame.nr_pages() } else { 0 };
            sums.nr_partial += u32::from(!is_active && frame.inuse < frame.objects);
        } else {
            let sound = frame.inuse > 0 && !frame.frozen;
            ensure(sound, 6, "an empty retired slab is kept, or is active", addr)?;
        }
        sums.nr_live[geometry.owner as usize] += u32::from(frame.inuse);
        sums.nr_slabs += 1;
        Ok(())
    }

    /// A walk that ends after as many links as there are freed objects meets each of them once; and
    /// lists with different last objects have none in common.
    fn check_free_lists(&self, slab: Pfn, frame: Frame, geo: Geometry) -> Result<(), Corruption> {
        let [kept, others] = self.free_lists(slab, frame, geo);
        let fits = kept.1 <= frame.fresh - frame.inuse;
        ensure(fits, 5, "a CPU keeps more objects than are free", slab.to_virt())?;
        let [last, other_last] =
            [kept, others].map(|(first, nr)| self.check_free_list(slab, frame, geo, first, nr));
        let (last, other_last) = (last?, other_last?);
        let apart = last == 0 || last != other_last;
        ensure(apart, 5, "two free lists run together", slab.to_virt())
    }

    /// Checks one free list; returns its last object, 0 for none.
    fn check_free_list(
        &self,
        slab: Pfn,
        frame: Frame,
        geo: Geometry,
        first: Option<u64>,
        nr: u16,
    ) -> Result<u64, Corruption> {
        let damaged = "a free list leaves its slab, or a freed object was written to";
        ensure(first.is_some(), 5, damaged, slab.to_virt())?;
        let (mut free, mut last) = (first.unwrap_or(0), 0);
        for _ in 0..nr {
            ensure(free != 0, 5, "a free list is too short", slab.to_virt())?;
            let link = self.pages.memory.load(Paddr(free + geo.link_offset()));
            let next = decode_link(link, slab, frame, geo);
            ensure_at(next.is_some(), 5, damaged, Paddr(free))?;
            (last, free) = (free, next.unwrap_or(0));
        }
        ensure(free == 0, 5, "a free list is too long, or has a cycle", slab.to_virt())?;
        Ok(last)
    }

    fn check_caches(&self) -> Result<Sums, Corruption> {
        let memory = &self.pages.memory;
        let mut sums = Sums::default();
        let (mut prev, mut cache) = (Cache::NONE, self.caches.first());
        let (nr_made, _) = self.caches.kmem_cache().counts(memory);
        let nr_expect = self.caches.nr_boot_caches() + nr_made;
        let mut nr_actual = 0;
        while cache != Cache::NONE {
            ensure(self.is_cache(cache), 7, "the list of caches is broken", direct_of(cache))?;
            let linked = cache.prev(memory) == prev && nr_actual < nr_expect;
            ensure(linked, 7, "the links of the list of caches disagree", direct_of(cache))?;
            self.check_cache(cache, &mut sums)?;
            (prev, cache, nr_actual) = (cache, cache.next(memory), nr_actual + 1);
        }
        ensure(nr_actual == nr_expect, 7, "a cache is on no list", Vaddr::NULL)?;
        Ok(sums)
    }

    fn check_cache(&self, cache: Cache, sums: &mut Sums) -> Result<(), Corruption> {
        let (memory, map) = (&self.pages.memory, self.pages.map);
        let (nr_live, nr_slabs) = cache.counts(memory);
        let is_own = |slab: Pfn| {
            slab.0 < map.nr_frames()
                && map.frame(memory, slab).state == FrameState::Slab
                && map.cache(memory, slab) == cache.0
        };
        for active in (0..self.caches.nr_cpus()).map(|cpu| cache.active(memory, cpu)) {
            if active != NO_FRAME {
                ensure(
                    is_own(active),
                    6,
                    "an active slab is none of the cache's",
                    direct_of(cache),
                )?;
                let frame = map.frame(memory, active);
                sums.nr_frozen += 1;
                sums.nr_empty_pages += if frame.inuse == 0 { frame.nr_pages() } else { 0 };
            }
        }
        let (mut prev, mut slab, mut nr) = (NO_FRAME, cache.partial(memory), 0);
        while slab != NO_FRAME {
            ensure(is_own(slab), 6, "a partial list leaves the cache", slab.to_virt())?;
            let frame = map.frame(memory, slab);
            let is_partial = 0 < frame.inuse && frame.inuse < frame.objects && !frame.frozen;
            ensure(is_partial, 6, "a slab on a partial list is not partial", slab.to_virt())?;
            let (next, back) = map.links(memory, slab);
            let linked = back == prev && nr < nr_slabs;
            ensure(linked, 6, "the links of a partial list disagree", slab.to_virt())?;
            (prev, slab, nr) = (slab, next, nr + 1);
        }
        let owner = cache.geometry(memory).owner;
        let total = sums.nr_live[owner as usize].checked_add(nr_live);
        let slabs = sums.nr_slabs.checked_add(nr_slabs);
        let sound = total.is_some() && slabs.is_some();
        ensure(sound, 7, "the counts of a cache are impossible", direct_of(cache))?;
        sums.nr_live[owner as usize] = total.unwrap_or(0);
        sums.nr_slabs = slabs.unwrap_or(0);
        sums.nr_partial += nr;
        Ok(())
    }
}

const fn direct_of(cache: Cache) -> Vaddr {
    crate::kmalloc::direct(cache.0)
}
