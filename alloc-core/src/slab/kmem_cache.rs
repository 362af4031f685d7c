//! Making, naming and destroying slab caches (R2).
//!
//! As in SLUB, descriptors are objects of a cache of their own, `kmem_cache`. Those of the first
//! caches cannot be; they are in `cache_list`.
//!
//! Names of caches given by callers ([`CacheId`]) are checked against the live descriptors, so that
//! a stale or invented name is an error and never a wild access.
//!
//! Caches are never merged (`slab_nomerge`, R2.4): every cache has objects of its own, as it has on
//! Linux with a constructor or a usercopy region.

use crate::frames::frame::FrameState;
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::slab::cache::{
    Cache, CacheId, CacheOwner, Ctor, Geometry, SlabFlags, alignment, stride,
};
use crate::slab::cache_list::CacheList;
use crate::slab::objects::{Object, Refused};
use crate::slab::slabs::SlabAllocator;
use crate::words::addr::{KMALLOC_MAX_SIZE, PAGE_SIZE, Paddr};
use crate::words::error::AllocError;
use crate::words::gfp::{__GFP_ZERO, GFP_KERNEL, Gfp};
use core::ops::RangeInclusive;

/// Why a cache was not destroyed; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DestroyError {
    /// So many of its objects are live (R2.8).
    Busy(u32),
    /// The name is of no cache, or of one that was destroyed.
    NoSuchCache,
    /// The call sleeps and the caller's context forbids that.
    BadContext,
}

/// Sizes that are 0 when they are rounded up to words as an `unsigned int`.
const WRAPPING_SIZES: RangeInclusive<u64> = 0xffff_fff9..=0xffff_ffff;

impl<M: Memory> SlabAllocator<M> {
    /// Makes the boot caches of a machine of `nr_cpus` CPUs in the carved memory at `boot`.
    pub(crate) fn boot(pages: PageAllocator<M>, boot: Paddr, nr_cpus: u32) -> Self {
        let caches = CacheList::new(boot, nr_cpus);
        let boot_caches = caches.boot_caches();
        let mut slab =
            Self { pages, caches, nr_live: [0; 3], nr_empty_slab_pages: 0, nr_corrupt_slabs: 0 };
        for (cache, size, owner) in boot_caches {
            // A power of two is aligned to itself (R1.3); 96 and 192 get 32 and 64, as on SLUB.
            let align = size & size.wrapping_neg();
            let geometry = Geometry::new(size, align.min(PAGE_SIZE), owner, nr_cpus);
            cache.init(&mut slab.pages.memory, geometry, 0, nr_cpus);
            slab.caches.add(&mut slab.pages.memory, cache);
        }
        slab
    }

    /// `kmem_cache_create`: a cache for objects of `size` bytes at multiples of `align`.
    pub(crate) fn create(
        &mut self,
        size: u64,
        align: u64,
        flags: SlabFlags,
        ctor: Option<Ctor>,
    ) -> Result<CacheId, AllocError> {
        AllocError::check_caller(GFP_KERNEL, self.pages.current.context)?;
        // Linux takes odd alignments and makes garbage of them (R2.2).
        let is_odd = align != 0 && !align.is_power_of_two();
        // Objects of no bytes divide by zero in Linux, unless each has a word for its link (R2.1),
        // and so do those of which none are left when the size is rounded up.
        let divides_by_zero = (size == 0 && ctor.is_none()) || WRAPPING_SIZES.contains(&size);
        if is_odd || !flags.are_known() || divides_by_zero {
            return Err(AllocError::BadArgument);
        }
        let align = alignment(size, align, flags);
        if size > KMALLOC_MAX_SIZE || stride(size, align, ctor) > KMALLOC_MAX_SIZE {
            return Err(AllocError::TooLarge);
        }
        let cache = Cache(self.alloc(self.caches.kmem_cache(), GFP_KERNEL)?);
        let generation = self.caches.new_generation();
        let nr_cpus = self.caches.nr_cpus();
        let memory = &mut self.pages.memory;
        cache.init(memory, Geometry::of_user(size, align, ctor, nr_cpus), generation, nr_cpus);
        cache.set_ctor(memory, ctor.map_or(0, |ctor| ctor.0));
        self.caches.add(&mut self.pages.memory, cache);
        Ok(CacheId::new(cache, generation))
    }

    /// `kmem_cache_destroy`: gives back a cache that has no live object.
    pub(crate) fn destroy(&mut self, id: CacheId) -> Result<(), DestroyError> {
        if !self.pages.current.context.may_sleep() {
            return Err(DestroyError::BadContext);
        }
        let descriptor = self.descriptor(id).ok_or(DestroyError::NoSuchCache)?;
        let cache = id.cache();
        let (nr_live, _) = cache.counts(&self.pages.memory);
        if nr_live != 0 {
            return Err(DestroyError::Busy(nr_live));
        }
        // Without live objects there are no slabs but the active ones.
        self.shrink(cache);
        self.caches.remove(&mut self.pages.memory, cache);
        self.free(&descriptor);
        Ok(())
    }

    /// `kmem_cache_shrink`: gives back the empty slabs of a caller's cache.
    pub(crate) fn shrink_by_name(&mut self, id: CacheId) -> u32 {
        if self.descriptor(id).is_some() { self.shrink(id.cache()) } else { 0 }
    }

    /// Gives back the empty slabs of all caches; returns how many pages that were.
    pub(crate) fn shrink_all(&mut self) -> u32 {
        let mut nr_pages = 0;
        let mut cache = self.caches.first();
        while cache != Cache::NONE {
            nr_pages += self.shrink(cache);
            cache = cache.next(&self.pages.memory);
        }
        nr_pages
    }

    /// `kmem_cache_alloc`.
    pub(crate) fn alloc_by_name(&mut self, id: CacheId, gfp: Gfp) -> Result<Paddr, AllocError> {
        self.check_request(id, gfp)?;
        self.alloc(id.cache(), gfp)
    }

    /// Whether a request for objects of a cache means something.
    pub(crate) fn check_request(&self, id: CacheId, gfp: Gfp) -> Result<(), AllocError> {
        AllocError::check_caller(gfp, self.pages.current.context)?;
        if self.descriptor(id).is_none() {
            return Err(AllocError::BadArgument);
        }
        // Linux warns and does not zero (R2.5), so the caller would not get what it asked for.
        if gfp.has(__GFP_ZERO) && id.cache().geometry(&self.pages.memory).has_ctor {
            return Err(AllocError::BadArgument);
        }
        Ok(())
    }

    /// `kmem_cache_free`: gives an object back to the cache that it must be from.
    pub(crate) fn free_by_name(&mut self, id: CacheId, at: Paddr) -> Result<(), Refused> {
        let object = self.object_of(id, at)?;
        self.free(&object);
        Ok(())
    }

    /// The live object at an address, which must be the cache's.
    pub(crate) fn object_of(&self, id: CacheId, at: Paddr) -> Result<Object, Refused> {
        let object = self.live_object(at).ok_or(Refused)?;
        // A live object has a live cache, so the name is right if the generation is.
        let same = object.cache == id.cache()
            && object.geometry.owner == CacheOwner::User
            && object.cache.generation(&self.pages.memory) == id.generation();
        if same { Ok(object) } else { Err(Refused) }
    }

    /// The live object that starts at `at` and that a caller may free.
    pub(crate) fn live_object(&self, at: Paddr) -> Option<Object> {
        let (slab, frame) = self.pages.map.head_of(&self.pages.memory, at)?;
        if !frame.is_slab() {
            return None;
        }
        let object = self.object_at(slab, frame, at)?;
        let can_free = object.offset == 0 && object.geometry.owner != CacheOwner::Internal;
        (can_free && self.is_live(&object)).then_some(object)
    }

    /// Gives back an object of the allocator's own, which is live by construction.
    pub(crate) fn free_internal(&mut self, at: Paddr) {
        let head = self.pages.map.head_of(&self.pages.memory, at);
        if let Some(object) = head.and_then(|(slab, frame)| self.object_at(slab, frame, at)) {
            self.free(&object);
        }
    }

    /// The live descriptor that a name stands for.
    fn descriptor(&self, id: CacheId) -> Option<Object> {
        let (cache, memory) = (id.cache(), &self.pages.memory);
        let (slab, frame) = self.pages.map.head_of(memory, cache.0)?;
        if frame.state != FrameState::Slab
            || self.pages.map.cache(memory, slab) != self.caches.kmem_cache().0
        {
            return None;
        }
        let object = self.object_at(slab, frame, cache.0)?;
        let is_cache = object.offset == 0
            && self.is_live(&object)
            && cache.generation(memory) == id.generation();
        is_cache.then_some(object)
    }
}

#[cfg(test)]
mod test {
    extern crate std;

    use super::*;
    use crate::slab::cache::{SLAB_ACCOUNT, SLAB_HWCACHE_ALIGN};
    use crate::slab::objects::test::boot;
    use crate::test_memory::TestMemory;

    fn create(
        slab: &mut SlabAllocator<TestMemory>,
        size: u64,
        align: u64,
    ) -> Result<CacheId, AllocError> {
        slab.create(size, align, SlabFlags(0), None)
    }

    #[test]
    fn a_cache_lives_from_create_to_destroy() {
        let mut slab = boot(256);
        let id = create(&mut slab, 100, 64).unwrap();
        let at = slab.alloc_by_name(id, GFP_KERNEL).unwrap();
        assert_eq!(at.0 % 64, 0);
        assert_eq!(slab.destroy(id), Err(DestroyError::Busy(1)));
        slab.free_by_name(id, at).unwrap();
        assert_eq!(slab.free_by_name(id, at), Err(Refused));
        slab.check().unwrap();
        slab.destroy(id).unwrap();
        slab.check().unwrap();
        slab.shrink_all();
        assert_eq!(slab.pages.nr_pages(FrameState::Slab), 0);
    }

    #[test]
    fn a_stale_or_invented_name_is_an_error() {
        let mut slab = boot(256);
        let old = create(&mut slab, 32, 0).unwrap();
        slab.destroy(old).unwrap();
        let new = create(&mut slab, 32, 0).unwrap();
        assert_eq!(old.cache(), new.cache());
        let kmalloc = slab.caches.kmalloc(32);
        let rows =
            [old, CacheId::from_raw(0), CacheId::from_raw(u64::MAX), CacheId::new(kmalloc, 0)];
        for id in rows {
            assert_eq!(slab.alloc_by_name(id, GFP_KERNEL), Err(AllocError::BadArgument));
            assert_eq!(slab.destroy(id), Err(DestroyError::NoSuchCache));
        }
        let object = slab.alloc(kmalloc, GFP_KERNEL).unwrap();
        assert_eq!(slab.free_by_name(CacheId::new(kmalloc, 0), object), Err(Refused));
    }

    #[test]
    fn objects_are_aligned_to_more_than_a_page() {
        let mut slab = boot(1024);
        for order in [1, 2, 5, 8] {
            let align = PAGE_SIZE << order;
            let id = slab.create(100, align, SLAB_ACCOUNT, None).unwrap();
            let two = [(); 2].map(|()| slab.alloc_by_name(id, GFP_KERNEL).unwrap());
            assert!(two.iter().all(|at| at.0.is_multiple_of(align)), "{align:#x}: {two:?}");
            two.into_iter().for_each(|at| slab.free_by_name(id, at).unwrap());
            slab.destroy(id).unwrap();
        }
        slab.check().unwrap();
    }

    #[test]
    fn impossible_caches_are_refused() {
        let mut slab = boot(256);
        assert_eq!(create(&mut slab, 0, 0), Err(AllocError::BadArgument));
        assert_eq!(create(&mut slab, 8, 24), Err(AllocError::BadArgument));
        assert_eq!(create(&mut slab, 0xffff_fff8, 0), Err(AllocError::TooLarge));
        assert_eq!(create(&mut slab, 0xffff_fff9, 0), Err(AllocError::BadArgument));
        assert_eq!(create(&mut slab, 8, KMALLOC_MAX_SIZE << 1), Err(AllocError::TooLarge));
        assert_eq!(create(&mut slab, 8, 1 << 63), Err(AllocError::TooLarge));
        assert_eq!(create(&mut slab, KMALLOC_MAX_SIZE + 1, 0), Err(AllocError::TooLarge));
        assert!(create(&mut slab, KMALLOC_MAX_SIZE, 4096).is_ok());
        let (flags, ctor) = (SlabFlags(0), Some(Ctor(1)));
        assert_eq!(slab.create(KMALLOC_MAX_SIZE, 0, flags, ctor), Err(AllocError::TooLarge));
        assert_eq!(slab.create(u64::MAX, 0, flags, ctor), Err(AllocError::TooLarge));
        assert!(slab.create(0, 0, flags, ctor).is_ok());
        let unknown = slab.create(8, 0, SlabFlags(0x2001), None);
        assert_eq!(unknown, Err(AllocError::BadArgument));
    }

    #[test]
    fn a_constructed_object_keeps_its_contents_and_is_never_zeroed() {
        let mut slab = boot(256);
        let id = slab.create(24, 0, SLAB_HWCACHE_ALIGN, Some(Ctor(7))).unwrap();
        let word = |slab: &SlabAllocator<TestMemory>, at: Paddr, nr: u64| {
            slab.pages.memory.load(Paddr(at.0 + 8 * nr))
        };
        let at = slab.alloc_by_name(id, GFP_KERNEL).unwrap();
        assert_eq!([0, 1, 2].map(|nr| word(&slab, at, nr)), [7; 3]);
        slab.pages.memory.store(at, 9);
        slab.free_by_name(id, at).unwrap();
        assert_eq!(slab.alloc_by_name(id, GFP_KERNEL), Ok(at));
        assert_eq!([0, 1, 2].map(|nr| word(&slab, at, nr)), [9, 7, 7]);
        let zeroed = slab.alloc_by_name(id, GFP_KERNEL | __GFP_ZERO);
        assert_eq!(zeroed, Err(AllocError::BadArgument));
        slab.check().unwrap();
    }
}
