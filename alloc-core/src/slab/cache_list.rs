//! The list of all slab caches, and the caches that exist from boot on.
//!
//! The first caches cannot be objects of `kmem_cache`, so memblock carves their descriptors in a
//! fixed order that lets each be found by its number. What is done with caches is in `objects` and
//! `kmem_cache`.

use crate::memory::Memory;
use crate::slab::cache::{Cache, CacheOwner, cache_bytes};
use crate::words::addr::Paddr;

/// The size classes of kmalloc (R1.1).
pub(crate) const CLASS_SIZES: [u64; 13] =
    [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192];
/// The size classes that arrays of page frame numbers use: all up to a page.
const NR_ARRAY_CLASSES: usize = 12;
/// Bytes of the two descriptors of a vmalloc area, `vm_struct` and `vmap_area`.
pub(crate) const AREA_BYTES: u64 = 64;

const KMEM_CACHE: usize = 0;
const VM_STRUCT: usize = 1;
const VMAP_AREA: usize = 2;
const KMALLOC: usize = 3;
const PAGE_ARRAY: usize = KMALLOC + CLASS_SIZES.len();
const NR_BOOT_CACHES: usize = PAGE_ARRAY + NR_ARRAY_CLASSES;

/// Bytes that memblock must carve for the descriptors of the boot caches.
pub(crate) const fn boot_cache_bytes(nr_cpus: u32) -> u64 {
    NR_BOOT_CACHES as u64 * cache_bytes(nr_cpus)
}

/// All caches, linked through their descriptors.
#[derive(Debug)]
pub(crate) struct CacheList {
    boot: Paddr,
    first: Cache,
    next_generation: u16,
    nr_cpus: u32,
}

impl CacheList {
    /// No cache yet, on a machine of `nr_cpus` CPUs; descriptors of the first are carved at `boot`.
    pub(crate) const fn new(boot: Paddr, nr_cpus: u32) -> Self {
        Self { boot, first: Cache::NONE, next_generation: 1, nr_cpus }
    }

    /// The boot caches, each with the size of its objects and what they are for.
    pub(crate) fn boot_caches(&self) -> impl Iterator<Item = (Cache, u64, CacheOwner)> + use<> {
        let Self { boot, nr_cpus, .. } = *self;
        (0..NR_BOOT_CACHES).map(move |number| {
            let (size, owner) = match number {
                KMEM_CACHE => (cache_bytes(nr_cpus), CacheOwner::Internal),
                VM_STRUCT | VMAP_AREA => (AREA_BYTES, CacheOwner::Internal),
                KMALLOC..PAGE_ARRAY => (CLASS_SIZES[number - KMALLOC], CacheOwner::Kmalloc),
                _ => (CLASS_SIZES[number - PAGE_ARRAY], CacheOwner::Internal),
            };
            (Cache(Paddr(boot.0 + number as u64 * cache_bytes(nr_cpus))), size, owner)
        })
    }

    fn boot_cache(&self, number: usize) -> Cache {
        Cache(Paddr(self.boot.0 + number as u64 * cache_bytes(self.nr_cpus)))
    }

    /// A generation for the name of a cache, so that it does not name the one before it.
    pub(crate) const fn new_generation(&mut self) -> u16 {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        generation
    }

    /// Puts a cache on the list.
    pub(crate) fn add<M: Memory>(&mut self, memory: &mut M, cache: Cache) {
        cache.set_next(memory, self.first);
        cache.set_prev(memory, Cache::NONE);
        if self.first != Cache::NONE {
            self.first.set_prev(memory, cache);
        }
        self.first = cache;
    }

    /// Takes a cache off the list.
    pub(crate) fn remove<M: Memory>(&mut self, memory: &mut M, cache: Cache) {
        let (next, prev) = (cache.next(memory), cache.prev(memory));
        if prev == Cache::NONE {
            self.first = next;
        } else {
            prev.set_next(memory, next);
        }
        if next != Cache::NONE {
            next.set_prev(memory, prev);
        }
    }

    /// The first cache on the list of all; [`Cache::next`] leads on.
    pub(crate) const fn first(&self) -> Cache {
        self.first
    }

    /// The number of caches that exist from boot on.
    pub(crate) const fn nr_boot_caches(&self) -> u32 {
        NR_BOOT_CACHES as u32
    }

    /// Whether a descriptor was carved at boot.
    pub(crate) const fn is_boot_cache(&self, cache: Cache) -> bool {
        let offset = cache.0.0.wrapping_sub(self.boot.0);
        offset < boot_cache_bytes(self.nr_cpus) && offset.is_multiple_of(cache_bytes(self.nr_cpus))
    }

    /// The number of CPUs, each of which has an active slab of every cache.
    pub(crate) const fn nr_cpus(&self) -> u32 {
        self.nr_cpus
    }

    /// The cache of cache descriptors.
    pub(crate) fn kmem_cache(&self) -> Cache {
        self.boot_cache(KMEM_CACHE)
    }

    /// The cache of the caller's side of vmalloc areas.
    pub(crate) fn vm_struct(&self) -> Cache {
        self.boot_cache(VM_STRUCT)
    }

    /// The cache of nodes of the vmalloc space.
    pub(crate) fn vmap_area(&self) -> Cache {
        self.boot_cache(VMAP_AREA)
    }

    /// The kmalloc cache for a size of 1 to 8192 bytes.
    pub(crate) fn kmalloc(&self, size_bytes: u64) -> Cache {
        self.boot_cache(KMALLOC + class_of(size_bytes))
    }

    /// The cache for a page array of 1 to 4096 bytes. These are not kmalloc's own caches, so that
    /// a caller cannot free the allocator's memory by naming its address.
    pub(crate) fn page_array(&self, size_bytes: u64) -> Cache {
        self.boot_cache(PAGE_ARRAY + class_of(size_bytes))
    }
}

/// The number of the smallest size class for 1 to 8192 bytes (R1.1).
pub(crate) fn class_of(size_bytes: u64) -> usize {
    const SMALL: [u8; 24] =
        [0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6];
    match SMALL.get((size_bytes as usize).wrapping_sub(1) / 8) {
        Some(&class) => usize::from(class),
        None => (size_bytes - 1).ilog2() as usize,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_size_has_the_class_of_a_live_kernel() {
        for size in 1..=8192 {
            let expect = CLASS_SIZES.iter().position(|&class| class >= size);
            assert_eq!(Some(class_of(size)), expect, "size {size}");
        }
    }
}
