//! The slab allocator: objects of one size, cut from blocks of pages (SLUB, R1.8 to R1.10, R2).
//!
//! The one idea: free objects hold the free list. The word in the middle of a free object (R2.3)
//! links to the next, and is marked so that it is recognised: an object whose word is no link of
//! its slab is certainly live, so a double free is found without any word of our own per object.
//!
//! A CPU takes objects from its *active* slab, which is frozen: it is on no list and is kept when
//! it is empty. Its free list is the CPU's own (`c->freelist`): what a CPU took last and then freed
//! is what it takes next (R1.10). What another CPU frees into the slab goes to a second list
//! (`slab->freelist`), which the owner takes over when its own has run out. A call that names a
//! node takes from a slab there, and makes that its CPU's active one. Other slabs with free objects
//! wait on the partial list, the last one that was full in front; full ones are on no list; empty
//! ones are given back at once.
//!
//! Objects of a cache with a constructor are constructed when their slab is made, and have the link
//! behind them instead, so that their contents outlive a free (R2.5).
//!
//! A link that a caller has overwritten retires its slab: no more objects are handed out of it, and
//! its pages are given back when the last one is freed.

use crate::frames::frame::{Frame, FrameState, NO_FRAME};
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::slab::cache::{Cache, CacheOwner, Geometry};
use crate::slab::cache_list::CacheList;
use crate::words::addr::{PAGE_SIZE, Paddr, Pfn};
use crate::words::error::{AllocError, FaultSite, Shortage};
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_KSWAPD_RECLAIM, __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_NORETRY,
    __GFP_NOWARN, __GFP_THISNODE, __GFP_ZERO, Gfp,
};

/// The upper bits of every link: no physical address and hardly any content looks like it.
const LINK_MARK: u64 = 0x5ab1 << 48;
const LINK_ADDRESS: u64 = ((1 << 48) - 1) & !7;
/// A link to another object.
const LINK_NEXT: u64 = 1;
/// The end of a free list; its address is the slab's own.
const LINK_END: u64 = 3;

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

/// All slabs of all caches, which own the page allocator.
///
/// # Invariants
/// 5. The free lists of a slab stay in it, have no cycle, and hold the objects handed out once and
///    freed, each on one of them.
/// 6. A cache's partial list holds its slabs that have both live and free objects, but the frozen,
///    each of which is the active slab of one CPU. Of empty slabs only frozen ones are kept.
/// 7. The counts of objects and of slabs equal a recount.
#[derive(Debug)]
pub(crate) struct SlabAllocator<M> {
    pub(crate) pages: PageAllocator<M>,
    pub(crate) caches: CacheList,
    pub(crate) nr_live: [u32; 3],
    pub(crate) nr_empty_slab_pages: u32,
    pub(crate) nr_corrupt_slabs: u32,
}

impl<M: Memory> SlabAllocator<M> {
    /// Takes an object from a cache.
    pub(crate) fn alloc(&mut self, cache: Cache, gfp: Gfp) -> Result<Paddr, AllocError> {
        if self.pages.faults.should_fail(FaultSite::Slab, gfp) {
            return Err(AllocError::NoMemory(Shortage::Injected(FaultSite::Slab)));
        }
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

    /// Whether a slab is this CPU's active one.
    fn is_own(&self, cache: Cache, slab: Pfn) -> bool {
        cache.active(&self.pages.memory, self.cpu()) == slab
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

    /// Replaces this CPU's active slab, which has nothing left or is another node's: by a partial
    /// slab, else by a new one. A call that names a node, and would be content with another, takes
    /// any object before it goes to the trouble of a new slab elsewhere.
    fn next_active(&mut self, cache: Cache, geo: Geometry, gfp: Gfp) -> Result<Pfn, AllocError> {
        let cpu = self.cpu();
        let is_wish = self.pages.node.is_some() && !gfp.has(__GFP_THISNODE);
        let slab = if let Some(partial) = self.partial_on_node(cache) {
            self.take_partial(cache, partial)
        } else if !is_wish {
            self.new_slab(cache, geo, gfp)?
        } else if let Ok(slab) = self.new_slab(cache, geo, light(gfp) | __GFP_THISNODE) {
            slab
        } else if let Some(active) = self.active_with_objects(cache) {
            return Ok(active);
        } else {
            match cache.partial(&self.pages.memory) {
                NO_FRAME => self.new_slab(cache, geo, gfp)?,
                partial => self.take_partial(cache, partial),
            }
        };
        let (memory, map) = (&mut self.pages.memory, self.pages.map);
        map.freeze(memory, slab);
        let old = cache.active(memory, cpu);
        cache.set_active(memory, cpu, slab);
        if old != NO_FRAME {
            self.deactivate(cache, old);
        }
        Ok(slab)
    }

    /// Whether a slab is where the call would have it, if it says so (`node_match`).
    fn is_on_node(&self, slab: Pfn) -> bool {
        self.pages.node.is_none_or(|node| self.pages.node_of(slab) == usize::from(node))
    }

    /// This CPU's active slab, wherever it is, if it has objects left.
    fn active_with_objects(&self, cache: Cache) -> Option<Pfn> {
        let slab = cache.active(&self.pages.memory, self.cpu());
        let has_objects = |slab: &Pfn| {
            let frame = self.pages.map.frame(&self.pages.memory, *slab);
            frame.inuse < frame.objects
        };
        Some(slab).filter(|slab| *slab != NO_FRAME).filter(has_objects)
    }

    /// The first partial slab where the call would have it.
    fn partial_on_node(&self, cache: Cache) -> Option<Pfn> {
        let mut slab = cache.partial(&self.pages.memory);
        while slab != NO_FRAME && !self.is_on_node(slab) {
            slab = self.pages.map.links(&self.pages.memory, slab).0;
        }
        Some(slab).filter(|slab| *slab != NO_FRAME)
    }

    fn take_partial(&mut self, cache: Cache, slab: Pfn) -> Pfn {
        let memory = &mut self.pages.memory;
        let mut partial = cache.partial(memory);
        self.pages.map.list_remove(memory, &mut partial, slab);
        cache.set_partial(memory, partial);
        slab
    }

    /// Puts a slab that was active where it belongs.
    fn deactivate(&mut self, cache: Cache, slab: Pfn) {
        let is_sound = self.merge_kept(cache, slab);
        let (memory, map) = (&mut self.pages.memory, self.pages.map);
        map.unfreeze(memory, slab);
        let frame = map.frame(memory, slab);
        if !is_sound {
            self.retire(cache, slab, frame);
            return;
        }
        if frame.inuse == 0 {
            self.nr_empty_slab_pages -= frame.nr_pages();
        }
        if frame.inuse < frame.objects {
            self.list_or_release(cache, slab, frame, true);
        }
    }

    /// Puts what the CPU of an active slab keeps in front of what others have freed there, as one
    /// list (`deactivate_slab`); false if it is damaged.
    fn merge_kept(&mut self, cache: Cache, slab: Pfn) -> bool {
        let (memory, map) = (&mut self.pages.memory, self.pages.map);
        let (frame, geo) = (map.frame(memory, slab), cache.geometry(memory));
        let ((first, nr_kept), others) = (map.kept(memory, slab), map.private(memory, slab));
        if nr_kept == 0 {
            return true;
        }
        if others != 0 {
            let mut last = first;
            for _ in 1..nr_kept {
                let link = memory.load(Paddr(last + geo.link_offset()));
                match decode_link(link, slab, frame, geo) {
                    Some(next) if next != 0 => last = next,
                    _ => return false,
                }
            }
            memory.store(Paddr(last + geo.link_offset()), encode_link(slab, others));
        }
        map.set_private(memory, slab, first);
        true
    }

    /// Takes pages for a slab: of the best order with no effort, else of the smallest with the
    /// caller's flags (R1.9).
    fn new_slab(&mut self, cache: Cache, geo: Geometry, gfp: Gfp) -> Result<Pfn, AllocError> {
        let gfp = gfp.without(__GFP_ZERO);
        let mut lightly = (gfp | __GFP_NORETRY | __GFP_NOWARN).without(__GFP_NOFAIL);
        if geo.order > geo.min_order && gfp.may_block() {
            lightly = light(gfp) | __GFP_NOMEMALLOC;
        }
        let (mut order, min_order) = (u32::from(geo.order), u32::from(geo.min_order));
        let slab = match self.pages.alloc_block(lightly, order, FrameState::Slab) {
            Ok(slab) => slab,
            Err(_) => {
                order = min_order;
                self.pages.alloc_block(gfp, order, FrameState::Slab)?
            }
        };
        let (memory, map) = (&mut self.pages.memory, self.pages.map);
        let objects = geo.objects(order);
        let frame = Frame { objects, ..Frame::block(FrameState::Slab, order) };
        map.set_frame(memory, slab, frame);
        map.set_private(memory, slab, 0);
        map.set_cache(memory, slab, cache.0);
        // Its other objects are as good as given back: who could take a page that a waiter may not
        // has made objects for that waiter, too.
        self.pages.release_epoch += 1;
        cache.count(memory, 0, 1);
        self.nr_empty_slab_pages += frame.nr_pages();
        if geo.has_ctor {
            self.construct(cache, geo, slab, objects);
        }
        Ok(slab)
    }

    /// Runs the constructor over every object of a new slab (R2.5).
    fn construct(&mut self, cache: Cache, geo: Geometry, slab: Pfn, objects: u16) {
        let memory = &mut self.pages.memory;
        let word = cache.ctor(memory);
        for index in 0..u64::from(objects) {
            let start = slab.to_phys().0 + index * u64::from(geo.size);
            for at in (start..start + geo.constructed_bytes()).step_by(8) {
                memory.store(Paddr(at), word);
            }
        }
    }

    /// Puts a slab that is no CPU's, and not full, where it belongs.
    fn list_or_release(&mut self, cache: Cache, slab: Pfn, frame: Frame, was_unlisted: bool) {
        let (memory, map) = (&mut self.pages.memory, self.pages.map);
        let mut partial = cache.partial(memory);
        match (was_unlisted, frame.inuse == 0) {
            (true, false) => map.list_push(memory, &mut partial, slab),
            (false, true) => map.list_remove(memory, &mut partial, slab),
            _ => {}
        }
        cache.set_partial(memory, partial);
        if frame.inuse == 0 {
            self.release(cache, slab);
        }
    }

    /// Takes a slab whose free list is damaged, and which is no longer active, out of service.
    #[cold]
    fn retire(&mut self, cache: Cache, slab: Pfn, frame: Frame) {
        self.nr_corrupt_slabs += 1;
        if frame.inuse == 0 {
            self.nr_empty_slab_pages -= frame.nr_pages();
            self.release(cache, slab);
        } else {
            let retired = Frame { state: FrameState::RetiredSlab, frozen: false, ..frame };
            self.pages.map.set_frame(&mut self.pages.memory, slab, retired);
        }
    }

    /// Gives the empty slabs back, which are active; returns how many pages that were.
    pub(crate) fn shrink(&mut self, cache: Cache) -> u32 {
        let mut nr_pages = 0;
        for cpu in 0..self.caches.nr_cpus() {
            let active = cache.active(&self.pages.memory, cpu);
            if active == NO_FRAME {
                continue;
            }
            let frame = self.pages.map.frame(&self.pages.memory, active);
            if frame.inuse == 0 {
                cache.set_active(&mut self.pages.memory, cpu, NO_FRAME);
                self.release(cache, active);
                nr_pages += frame.nr_pages();
            }
        }
        self.nr_empty_slab_pages -= nr_pages;
        nr_pages
    }

    /// The CPU that runs.
    const fn cpu(&self) -> u32 {
        self.pages.current.cpu as u32
    }

    fn release(&mut self, cache: Cache, slab: Pfn) {
        cache.count(&mut self.pages.memory, 0, -1);
        self.pages.free_block(slab);
    }

    /// The number of live objects of an owner.
    pub(crate) const fn nr_objects(&self, owner: CacheOwner) -> u32 {
        self.nr_live[owner as usize]
    }

    /// The number of pages of slabs that have live objects.
    pub(crate) const fn nr_slab_pages(&self) -> u32 {
        self.pages.nr_pages(FrameState::Slab) - self.nr_empty_slab_pages
    }
}

/// The flags of a try that is not worth any effort, since there is another way.
fn light(gfp: Gfp) -> Gfp {
    let effort = __GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM | __GFP_NOFAIL;
    (gfp | __GFP_NORETRY | __GFP_NOWARN).without(effort)
}

/// The word that a free object holds: its successor on the free list of `slab`, 0 for none.
fn encode_link(slab: Pfn, next: u64) -> u64 {
    if next == 0 { LINK_MARK | slab.to_phys().0 | LINK_END } else { LINK_MARK | next | LINK_NEXT }
}

/// The successor that a word names, 0 for none; `None` when it is no link of this slab.
pub(crate) fn decode_link(word: u64, slab: Pfn, frame: Frame, geo: Geometry) -> Option<u64> {
    if word & !LINK_ADDRESS & !7 != LINK_MARK {
        return None;
    }
    let (at, base) = (word & LINK_ADDRESS, slab.to_phys().0);
    match word & 7 {
        LINK_END => (at == base).then_some(0),
        LINK_NEXT => {
            let inside =
                at.checked_sub(base).filter(|&inside| inside < PAGE_SIZE << frame.order)?;
            let (inside, size) = (inside as u32, geo.size);
            (inside % size == 0 && inside / size < u32::from(frame.fresh)).then_some(at)
        }
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod test;
