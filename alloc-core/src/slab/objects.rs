//! Objects of one size, taken from slabs and given back (SLUB, R2).
//!
//! The one idea: free objects hold the free list (`free_list`), so a double free is found without
//! any word of our own per object: an object whose word is no link is certainly live.
//!
//! Objects of a cache with a constructor are constructed when their slab is made, and have the link
//! behind them, so that their contents outlive a free (R2.5). A link that a caller has overwritten
//! is noticed when the object is taken, and retires its slab.
//!
//! Which slab an object is taken from, and where a slab goes, is decided in `slabs`.

use crate::frames::frame::{Frame, FrameState, NO_FRAME};
use crate::memory::Memory;
use crate::slab::cache::{Cache, Geometry};
use crate::slab::free_list::{LINK_ADDRESS, decode_link, encode_link};
use crate::slab::slabs::SlabAllocator;
use crate::words::addr::{Paddr, Pfn};
use crate::words::error::{AllocError, FaultSite};
use crate::words::gfp::{__GFP_ZERO, Gfp};

/// A free was refused; nothing has changed. Why is found by asking what the address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// A place for an object in a slab, live or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object {
    pub(crate) cache: Cache,
    pub(crate) geometry: Geometry,
    slab: Pfn,
    frame: Frame,
    index: u32,
    /// Its first byte.
    pub(crate) start: Paddr,
    /// How far behind the first byte the address was that was asked for.
    pub(crate) offset: u64,
}

impl<M: Memory> SlabAllocator<M> {
    /// Takes an object from a cache.
    pub(crate) fn alloc(&mut self, cache: Cache, gfp: Gfp) -> Result<Paddr, AllocError> {
        self.pages.faults.check(FaultSite::Slab, gfp)?;
        self.take_object(cache, gfp)
    }

    /// [`Self::alloc`], past the place where a failure is injected.
    pub(crate) fn take_object(&mut self, cache: Cache, gfp: Gfp) -> Result<Paddr, AllocError> {
        let geometry = cache.geometry(&self.pages.memory);
        let mut slab = cache.active(&self.pages.memory, self.cpu());
        if slab != NO_FRAME && !self.is_on_node(slab) {
            slab = NO_FRAME;
        }
        let object = loop {
            if slab != NO_FRAME
                && let Some(object) = self.take(cache, geometry, slab)
            {
                break object;
            }
            slab = self.next_active(cache, geometry, gfp)?;
        };
        cache.count(&mut self.pages.memory, 1, 0);
        self.nr_live[geometry.owner as usize] += 1;
        if gfp.has(__GFP_ZERO) {
            self.pages.memory.zero(object, u64::from(geometry.size));
        }
        Ok(object)
    }

    /// Gives a live object back.
    pub(crate) fn free(&mut self, object: &Object) {
        let Object { cache, geometry, slab, mut frame, start, .. } = *object;
        self.pages.release_epoch += 1;
        let is_own = self.is_own(cache, slab);
        let memory = &mut self.pages.memory;
        let was_full = frame.inuse == frame.objects;
        frame.inuse -= 1;
        cache.count(memory, -1, 0);
        self.nr_live[geometry.owner as usize] -= 1;
        let map = self.pages.map;
        let link = Paddr(start.0 + geometry.link_offset());
        if is_own {
            let (next, nr) = map.kept(memory, slab);
            memory.store(link, encode_link(slab, next));
            map.set_kept(memory, slab, start.0, nr + 1);
        } else {
            let is_in_service = frame.state == FrameState::Slab;
            let next = if is_in_service { map.private(memory, slab) } else { 0 };
            memory.store(link, encode_link(slab, next));
            map.set_private(memory, slab, start.0);
        }
        map.set_frame(memory, slab, frame);
        if frame.frozen {
            let is_empty = frame.inuse == 0;
            self.nr_empty_slab_pages += if is_empty { frame.nr_pages() } else { 0 };
        } else if frame.state == FrameState::Slab {
            self.list_or_release(cache, slab, frame, was_full);
        } else if frame.inuse == 0 {
            self.release(cache, slab);
        }
    }

    /// Finds the object around an address in a slab; `None` in the slack behind the last one.
    pub(crate) fn object_at(&self, slab: Pfn, frame: Frame, at: Paddr) -> Option<Object> {
        let cache = Cache(self.pages.map.cache(&self.pages.memory, slab));
        let geometry = cache.geometry(&self.pages.memory);
        let inside = (at.0 - slab.to_phys().0) as u32;
        let index = inside.checked_div(geometry.size)?;
        if index >= u32::from(frame.objects) {
            return None;
        }
        let start = slab.to_phys().0 + u64::from(index * geometry.size);
        let offset = at.0 - start;
        Some(Object { cache, geometry, slab, frame, index, start: Paddr(start), offset })
    }

    /// Whether an object is live. Exact, as long as no caller writes to objects it has freed: only
    /// when the object's word looks like a link is the free list walked to make sure.
    pub(crate) fn is_live(&self, object: &Object) -> bool {
        let Object { geometry, slab, frame, index, start, .. } = *object;
        let memory = &self.pages.memory;
        let link_at = |object: u64| Paddr(object + geometry.link_offset());
        if index >= u32::from(frame.fresh) || frame.inuse == 0 {
            return false;
        }
        if decode_link(memory.load(link_at(start.0)), slab, frame, geometry).is_none() {
            return true;
        }
        if frame.state == FrameState::RetiredSlab {
            // Its free list is lost; the link is all the evidence there is.
            return false;
        }
        let is_on_list = |first: Option<u64>| {
            let mut free = first.unwrap_or(0);
            for _ in 0..frame.objects {
                if free == 0 || free == start.0 {
                    break;
                }
                let link = memory.load(link_at(free));
                free = decode_link(link, slab, frame, geometry).unwrap_or(0);
            }
            free == start.0
        };
        !self.free_lists(slab, frame, geometry).into_iter().any(|(first, _)| is_on_list(first))
    }

    /// The free lists of a slab in service, first what a CPU keeps for itself: of each the first
    /// object, 0 for none, `None` when it is none of the slab's, and how many it must hold.
    pub(crate) fn free_lists(
        &self,
        slab: Pfn,
        frame: Frame,
        geometry: Geometry,
    ) -> [(Option<u64>, u16); 2] {
        let (memory, map) = (&self.pages.memory, self.pages.map);
        let (kept, nr_kept) = if frame.frozen { map.kept(memory, slab) } else { (0, 0) };
        let nr_free = frame.fresh.saturating_sub(frame.inuse);
        let first = |at: u64| {
            let link = encode_link(slab, at);
            if at & !LINK_ADDRESS == 0 { decode_link(link, slab, frame, geometry) } else { None }
        };
        let rest = first(map.private(memory, slab));
        [(first(kept), nr_kept), (rest, nr_free.wrapping_sub(nr_kept))]
    }

    /// The object behind which one that this CPU frees would come, 0 for none.
    pub(crate) fn freed_last(&self, object: &Object) -> u64 {
        let Object { cache, slab, .. } = *object;
        let (memory, map) = (&self.pages.memory, self.pages.map);
        if self.is_own(cache, slab) { map.kept(memory, slab).0 } else { map.private(memory, slab) }
    }

    /// Takes an object from the active slab; `None` when it has none, or has just been retired.
    fn take(&mut self, cache: Cache, geometry: Geometry, slab: Pfn) -> Option<Paddr> {
        let (memory, map) = (&mut self.pages.memory, self.pages.map);
        let mut frame = map.frame(memory, slab);
        let (free, nr_kept) = map.kept(memory, slab);
        let (object, kept) = if nr_kept > 0 {
            let link = memory.load(Paddr(free + geometry.link_offset()));
            let next = decode_link(link, slab, frame, geometry);
            // The last free object must end the list, else a live one would be handed out.
            let Some(next) = next.filter(|&next| (next == 0) == (nr_kept == 1)) else {
                let cpu = self.cpu();
                cache.set_active(&mut self.pages.memory, cpu, NO_FRAME);
                self.retire(cache, slab, frame);
                return None;
            };
            (free, (next, nr_kept - 1))
        } else if frame.fresh < frame.objects {
            let index = u64::from(frame.fresh);
            frame.fresh += 1;
            (slab.to_phys().0 + index * u64::from(geometry.size), (0, 0))
        } else if map.private(memory, slab) != 0 {
            // What other CPUs have freed here is this one's now (`get_freelist`).
            map.freeze(memory, slab);
            return self.take(cache, geometry, slab);
        } else {
            return None;
        };
        // A live object must not look free, even if its owner never writes to it.
        memory.store(Paddr(object + geometry.link_offset()), 0);
        if frame.inuse == 0 {
            self.nr_empty_slab_pages -= frame.nr_pages();
        }
        frame.inuse += 1;
        map.set_kept(memory, slab, kept.0, kept.1);
        map.set_frame(memory, slab, frame);
        Some(Paddr(object))
    }
}

#[cfg(test)]
pub(crate) mod test;
