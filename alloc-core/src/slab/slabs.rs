//! The life of a slab: made, active, partial, full, given back (SLUB, R1.8 to R1.10).
//!
//! A slab that a CPU takes objects from, its *active* one, is frozen: it is on no list, is kept
//! when it is empty, and one of its free lists is the CPU's own.
//!
//! ```text
//!                     the active one has nothing left, or is another node's
//!                  ┌───────────────────────────────────────────────────────┐
//!                  │                                                       ▼
//!  new slab ──► active ◄──────────────── partial ◄────────────────────── full
//!     ▲            │    taken off the    on the list    first object     on no list
//!     │            │    list's front     of its cache   freed: put       │
//!     │            │ shrunk or              │           in front         │
//!     │            │ replaced when          │ last object                │ the only object
//!     │            ▼ empty                  ▼ freed                      ▼ freed
//!  ═══╧════════════╧════════════ page allocator ═════════════════════════╧═══════════
//! ```
//!
//! What is replaced with objects left becomes partial instead of full. A slab with a damaged free
//! list is retired from wherever it is: no object is taken from it any more, and its pages go back
//! when its last one is freed.
//!
//! An active slab has two free lists (`c->freelist` and `slab->freelist`). What its CPU frees comes
//! in front of the first, and is the next that it takes (R1.10). What another CPU frees here comes
//! in front of the second, which the owner takes over when the first has run out. Then come the
//! objects that were never handed out. With two live objects of nine:
//!
//! ```text
//!  ┌──────┬──────┬──────┬──────┬──────┬──────┬──────┬──────┬──────┐
//!  │ 0    │ 1    │ 2    │ 3    │ 4    │ 5    │ 6    │ 7    │ 8    │    inuse 2, objects 9
//!  │ free │ live │ free │ live │ free │ free │ never handed out   │
//!  └──────┴──────┴──────┴──────┴──────┴──────┴──────┴──────┴──────┘
//!                                            ▲ fresh 6
//!  kept    ──► 4 ──► 0 ──► end      by this CPU, nr_kept 2
//!  private ──► 2 ──► 5 ──► end      by others
//! ```
//!
//! When a slab stops being active, its first list is put in front of the second. A call that names
//! a node takes from a slab there, and makes that its CPU's active one.

use crate::frames::frame::{Frame, FrameState, NO_FRAME};
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::slab::cache::{Cache, CacheOwner, Geometry};
use crate::slab::cache_list::CacheList;
use crate::slab::free_list::{decode_link, encode_link};
use crate::words::addr::{Paddr, Pfn};
use crate::words::error::AllocError;
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_KSWAPD_RECLAIM, __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_NORETRY,
    __GFP_NOWARN, __GFP_THISNODE, __GFP_ZERO, Gfp,
};

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
    /// Replaces this CPU's active slab, which has nothing left or is another node's: by a partial
    /// slab, else by a new one. A call that names a node, and would be content with another, takes
    /// any object before it goes to the trouble of a new slab elsewhere.
    pub(crate) fn next_active(
        &mut self,
        cache: Cache,
        geo: Geometry,
        gfp: Gfp,
    ) -> Result<Pfn, AllocError> {
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
    pub(crate) fn is_on_node(&self, slab: Pfn) -> bool {
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
        // This also helps waiters: the request that made the slab may have been allowed to take a
        // page where a waiter is not, and the slab's spare objects serve the waiter as well.
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
    pub(crate) fn list_or_release(
        &mut self,
        cache: Cache,
        slab: Pfn,
        frame: Frame,
        was_unlisted: bool,
    ) {
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
    pub(crate) fn retire(&mut self, cache: Cache, slab: Pfn, frame: Frame) {
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
    pub(crate) const fn cpu(&self) -> u32 {
        self.pages.current.cpu as u32
    }

    pub(crate) fn release(&mut self, cache: Cache, slab: Pfn) {
        cache.count(&mut self.pages.memory, 0, -1);
        self.pages.free_block(slab);
    }

    /// Whether a slab is this CPU's active one.
    pub(crate) fn is_own(&self, cache: Cache, slab: Pfn) -> bool {
        cache.active(&self.pages.memory, self.cpu()) == slab
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
