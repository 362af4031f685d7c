//! The descriptor of a slab cache (Linux's `struct kmem_cache`) and the geometry of its slabs.
//!
//! The one idea: a descriptor is some words of managed memory, an object of the cache of caches
//! (or carved at boot for the caches that must exist first); a [`Cache`] is its address and nothing
//! else. So making a cache can fail for want of memory, like everything else.
//!
//! This file lays out and reads descriptors. It takes and gives no object.

use crate::frames::frame::NO_FRAME;
use crate::memory::Memory;
use crate::words::addr::{NR_ORDERS, PAGE_ALLOC_COSTLY_ORDER, PAGE_SIZE, Paddr, Pfn, order_for};

/// Words of a descriptor that do not depend on the number of CPUs.
const COMMON_WORDS: u64 = 8;

/// Bytes of a descriptor, which grows with the number of CPUs.
pub(crate) const fn cache_bytes(nr_cpus: u32) -> u64 {
    (COMMON_WORDS + nr_cpus as u64 / 2) * 8
}

/// Objects that a slab should hold, so that CPUs seldom meet at the partial list (R1.8).
const fn min_objects(nr_cpus: u32) -> u64 {
    4 * (nr_cpus.ilog2() as u64 + 2)
}

/// A cache as its creator names it: opaque, and stale once the cache has been destroyed.
///
/// It carries a generation, so that the name of a destroyed cache does not come back to life when
/// its descriptor is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheId(u64);

impl CacheId {
    /// The name as a number, for an embedder that has to store it.
    pub const fn to_raw(self) -> u64 {
        self.0
    }

    /// The name that a number stands for; it need not name a cache.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) const fn new(cache: Cache, generation: u16) -> Self {
        Self(cache.0.0 | (generation as u64) << 48)
    }

    pub(crate) const fn cache(self) -> Cache {
        Cache(Paddr(self.0 & ((1 << 48) - 1)))
    }

    pub(crate) const fn generation(self) -> u16 {
        (self.0 >> 48) as u16
    }
}

/// Flags of a cache (`slab_flags_t`), bit for bit Linux's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlabFlags(pub u32);

/// Objects start at cache lines, or share one evenly if they are at most half as large (R2.2).
pub const SLAB_HWCACHE_ALIGN: SlabFlags = SlabFlags(0x2000);
/// Objects can be reclaimed by a shrinker.
pub const SLAB_RECLAIM_ACCOUNT: SlabFlags = SlabFlags(0x2_0000);
/// The machine stops if the cache cannot be made: said of its caller, who is told all the same.
pub const SLAB_PANIC: SlabFlags = SlabFlags(0x4_0000);
/// Objects are no leaks, whoever points to them.
pub const SLAB_NOLEAKTRACE: SlabFlags = SlabFlags(0x80_0000);
/// Objects are charged to the memory control group.
pub const SLAB_ACCOUNT: SlabFlags = SlabFlags(0x400_0000);

impl SlabFlags {
    /// Whether every bit of `flag` is set.
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// Whether no bit is set that has no meaning here. Of those that Linux permits
    /// (`SLAB_FLAGS_PERMITTED`, R2.1) the ones are missing that give objects another place or life:
    /// for debugging, from a zone, and under RCU.
    pub(crate) const fn are_known(self) -> bool {
        let harmless = SLAB_RECLAIM_ACCOUNT.0 | SLAB_PANIC.0 | SLAB_NOLEAKTRACE.0 | SLAB_ACCOUNT.0;
        self.0 & !(SLAB_HWCACHE_ALIGN.0 | harmless) == 0
    }
}

/// A constructor, as what it leaves behind: this word, all over the object.
///
/// It runs when a slab is made and never again (R2.5): an object comes back as its last holder
/// left it, and leaving it in the constructed state is the holder's duty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ctor(pub u64);

/// Whose objects a cache holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CacheOwner {
    /// A size class of kmalloc.
    Kmalloc = 0,
    /// A cache made by `kmem_cache_create`.
    User = 1,
    /// The allocator's own objects, which no caller can free.
    Internal = 2,
}

/// How a cache cuts blocks of pages into objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes from one object to the next; all of them are usable.
    pub(crate) size: u32,
    /// Bytes that the creator asked for.
    pub(crate) object_size: u32,
    /// log2 of the pages of a slab.
    pub(crate) order: u8,
    /// log2 of the pages of the smallest possible slab.
    pub(crate) min_order: u8,
    /// Whose objects they are.
    pub(crate) owner: CacheOwner,
    /// Whether its objects are constructed, and so keep the free list out of their contents.
    pub(crate) has_ctor: bool,
}

impl Geometry {
    /// Lays out objects of `object_size` (1 to 4 MiB) bytes at multiples of `align`.
    /// `nr_cpus` decide how many objects a slab should have.
    pub(crate) const fn new(object_size: u64, align: u64, owner: CacheOwner, nr_cpus: u32) -> Self {
        let size = stride(object_size, align, None);
        Self {
            size: size as u32,
            object_size: object_size as u32,
            order: slab_order(size, min_objects(nr_cpus)) as u8,
            min_order: order_for(size) as u8,
            owner,
            has_ctor: false,
        }
    }

    /// Lays out objects for callers, which `ctor` constructs if there is one.
    pub(crate) const fn of_user(size: u64, align: u64, ctor: Option<Ctor>, nr_cpus: u32) -> Self {
        let stride = stride(size, align, ctor);
        Self {
            object_size: size as u32,
            has_ctor: ctor.is_some(),
            ..Self::new(stride, 0, CacheOwner::User, nr_cpus)
        }
    }

    /// The number of objects in a slab of this order.
    pub(crate) const fn objects(self, order: u32) -> u16 {
        ((PAGE_SIZE << order) / self.size as u64) as u16
    }

    /// Where in a free object's place the link to the next one is: in the middle of the object,
    /// or behind an object whose contents outlive it (R2.3).
    #[inline]
    pub(crate) const fn link_offset(self) -> u64 {
        if self.has_ctor { self.constructed_bytes() } else { (self.object_size as u64 / 2) & !7 }
    }

    /// The bytes of an object that a constructor writes.
    pub(crate) const fn constructed_bytes(self) -> u64 {
        (self.object_size as u64).next_multiple_of(8)
    }
}

/// Bytes from one object to the next (R2.3). A constructed object has a word behind it for the free
/// list, which doubles the stride of one that fills its alignment.
pub(crate) const fn stride(object_size: u64, align: u64, ctor: Option<Ctor>) -> u64 {
    let align = if align < 8 { 8 } else { align };
    let link = if ctor.is_some() { 8 } else { 0 };
    (object_size.next_multiple_of(8) + link).next_multiple_of(align)
}

/// The alignment of objects under the flags: a cache line of 64 bytes, halved as long as two
/// objects fit (R2.2).
pub(crate) const fn alignment(object_size: u64, align: u64, flags: SlabFlags) -> u64 {
    let mut line = if flags.has(SLAB_HWCACHE_ALIGN) { 64 } else { 8 };
    while line > 8 && object_size <= line / 2 {
        line /= 2;
    }
    if align < line { line } else { align }
}

/// The order of a cache's slabs (R1.8): the smallest with enough objects that wastes at most a
/// sixteenth, or an eighth, or a quarter; then the same with fewer objects. A slab is never
/// costlier than order 3, unless a single object is.
const fn slab_order(size: u64, least_objects: u64) -> u32 {
    let max_order = PAGE_ALLOC_COSTLY_ORDER;
    let most = (PAGE_SIZE << max_order) / size;
    let mut min_objects = if most < least_objects { most } else { least_objects };
    while min_objects > 1 {
        let mut fraction = 16;
        while fraction >= 4 {
            let order = order_wasting_at_most(size, min_objects, max_order, fraction);
            if order <= max_order {
                return order;
            }
            fraction /= 2;
        }
        min_objects -= 1;
    }
    let order = order_wasting_at_most(size, 1, max_order, 1);
    if order <= max_order { order } else { order_for(size) }
}

/// The smallest order for `min_objects` objects that wastes at most one part in `fraction`;
/// an order above `max_order` when there is none.
const fn order_wasting_at_most(size: u64, min_objects: u64, max_order: u32, fraction: u64) -> u32 {
    let mut order = order_for(min_objects * size);
    while order <= max_order {
        let slab = PAGE_SIZE << order;
        if slab % size <= slab / fraction {
            break;
        }
        order += 1;
    }
    order
}

const _: () = assert!(PAGE_ALLOC_COSTLY_ORDER < NR_ORDERS as u32, "a slab is a block of pages");

/// The address of a cache's descriptor. Its words are:
/// size and object size; orders, owner and whether there is a constructor; active slab of the first
/// CPU and first partial slab; live objects and slabs; generation; next cache; previous cache;
/// constructor; and the active slabs of the other CPUs, two to a word. What shares its place with
/// the free-list link of a destroyed descriptor is no word that could be taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cache(pub(crate) Paddr);

/// The word that holds a CPU's active slab, and whether that is its upper half.
const fn place_of_active(cpu: u32) -> (u64, bool) {
    match cpu {
        0 => (2, false),
        _ => (COMMON_WORDS + (cpu as u64 - 1) / 2, cpu.is_multiple_of(2)),
    }
}

impl Cache {
    /// No cache.
    pub(crate) const NONE: Self = Self(Paddr(0));

    fn load<M: Memory>(self, memory: &M, index: u64) -> u64 {
        memory.load(Paddr(self.0.0 + index * 8))
    }

    fn store<M: Memory>(self, memory: &mut M, index: u64, word: u64) {
        memory.store(Paddr(self.0.0 + index * 8), word);
    }

    /// Writes a fresh descriptor: no slab, no object, on no list.
    pub(crate) fn init<M: Memory>(
        self,
        memory: &mut M,
        geometry: Geometry,
        generation: u16,
        nr_cpus: u32,
    ) {
        self.store(memory, 0, pair(geometry.size, geometry.object_size));
        let orders = u32::from(geometry.order) | u32::from(geometry.min_order) << 8;
        let owner = geometry.owner as u32 | u32::from(geometry.has_ctor) << 8;
        self.store(memory, 1, pair(orders, owner));
        self.store(memory, 2, pair(NO_FRAME.0, NO_FRAME.0));
        self.store(memory, 3, 0);
        self.store(memory, 4, u64::from(generation));
        (1..nr_cpus).for_each(|cpu| self.set_active(memory, cpu, NO_FRAME));
        self.set_next(memory, Self::NONE);
        self.set_prev(memory, Self::NONE);
    }

    /// Reads how the cache cuts its slabs.
    pub(crate) fn geometry<M: Memory>(self, memory: &M) -> Geometry {
        let (size, object_size) = halves(self.load(memory, 0));
        let (orders, word) = halves(self.load(memory, 1));
        let owner = match word as u8 {
            0 => CacheOwner::Kmalloc,
            1 => CacheOwner::User,
            _ => CacheOwner::Internal,
        };
        Geometry {
            size,
            object_size,
            order: orders as u8,
            min_order: (orders >> 8) as u8,
            owner,
            has_ctor: word >> 8 != 0,
        }
    }

    /// The word that a cache with a constructor writes all over a new object.
    pub(crate) fn ctor<M: Memory>(self, memory: &M) -> u64 {
        self.load(memory, 7)
    }

    /// Writes the constructor's word.
    pub(crate) fn set_ctor<M: Memory>(self, memory: &mut M, word: u64) {
        self.store(memory, 7, word);
    }

    /// The slab from which a CPU takes objects.
    pub(crate) fn active<M: Memory>(self, memory: &M, cpu: u32) -> Pfn {
        let (index, is_high) = place_of_active(cpu);
        let (low, high) = halves(self.load(memory, index));
        Pfn(if is_high { high } else { low })
    }

    /// Writes the slab from which a CPU takes objects.
    pub(crate) fn set_active<M: Memory>(self, memory: &mut M, cpu: u32, slab: Pfn) {
        let (index, is_high) = place_of_active(cpu);
        let (low, high) = halves(self.load(memory, index));
        let word = if is_high { pair(low, slab.0) } else { pair(slab.0, high) };
        self.store(memory, index, word);
    }

    /// The first slab of the partial list.
    pub(crate) fn partial<M: Memory>(self, memory: &M) -> Pfn {
        let (_, partial) = halves(self.load(memory, 2));
        Pfn(partial)
    }

    /// Writes the first slab of the partial list.
    pub(crate) fn set_partial<M: Memory>(self, memory: &mut M, partial: Pfn) {
        let (active, _) = halves(self.load(memory, 2));
        self.store(memory, 2, pair(active, partial.0));
    }

    /// The numbers of live objects and of slabs.
    pub(crate) fn counts<M: Memory>(self, memory: &M) -> (u32, u32) {
        halves(self.load(memory, 3))
    }

    /// Adds to the numbers of live objects and of slabs.
    pub(crate) fn count<M: Memory>(self, memory: &mut M, objects: i32, slabs: i32) {
        let (nr_live, nr_slabs) = self.counts(memory);
        let counts =
            pair(nr_live.wrapping_add_signed(objects), nr_slabs.wrapping_add_signed(slabs));
        self.store(memory, 3, counts);
    }

    /// The generation that the cache's name must carry.
    pub(crate) fn generation<M: Memory>(self, memory: &M) -> u16 {
        self.load(memory, 4) as u16
    }

    /// The next cache on the list of all caches.
    pub(crate) fn next<M: Memory>(self, memory: &M) -> Self {
        Self(Paddr(self.load(memory, 5)))
    }

    /// Writes the next cache.
    pub(crate) fn set_next<M: Memory>(self, memory: &mut M, next: Self) {
        self.store(memory, 5, next.0.0);
    }

    /// The previous cache on the list of all caches.
    pub(crate) fn prev<M: Memory>(self, memory: &M) -> Self {
        Self(Paddr(self.load(memory, 6)))
    }

    /// Writes the previous cache.
    pub(crate) fn set_prev<M: Memory>(self, memory: &mut M, prev: Self) {
        self.store(memory, 6, prev.0.0);
    }
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn slabs_of_the_size_classes_are_those_of_a_live_kernel() {
        // R1.8, read from /proc/slabinfo of a machine with one CPU.
        let rows = [
            (8, 512, 1),
            (16, 256, 1),
            (32, 128, 1),
            (64, 64, 1),
            (96, 42, 1),
            (128, 32, 1),
            (192, 21, 1),
            (256, 16, 1),
            (512, 8, 1),
            (1024, 8, 2),
            (2048, 8, 4),
            (4096, 8, 8),
            (8192, 4, 8),
        ];
        for (size, objects, pages) in rows {
            let geometry = Geometry::new(size, 8, CacheOwner::Kmalloc, 1);
            let order = u32::from(geometry.order);
            assert_eq!((geometry.objects(order), 1 << order), (objects, pages), "class {size}");
        }
    }

    #[test]
    fn more_cpus_have_more_objects_to_a_slab() {
        // Each row: CPUs, and the pages of a slab of kmalloc-1k (R1.8).
        for (nr_cpus, pages) in [(1, 2), (2, 4), (3, 4), (4, 4), (8, 8)] {
            let geometry = Geometry::new(1024, 1024, CacheOwner::Kmalloc, nr_cpus);
            assert_eq!(1 << geometry.order, pages, "{nr_cpus} CPUs");
        }
    }

    #[test]
    fn a_huge_object_has_a_slab_of_its_own() {
        let geometry = Geometry::new(4 << 20, 0, CacheOwner::User, 1);
        assert_eq!((geometry.order, geometry.min_order, geometry.objects(10)), (10, 10, 1));
    }

    #[test]
    fn a_tiny_object_is_a_link_long() {
        let geometry = Geometry::new(1, 0, CacheOwner::User, 1);
        assert_eq!((geometry.size, geometry.link_offset()), (8, 0));
        assert_eq!(Geometry::new(24, 64, CacheOwner::User, 1).size, 64);
    }

    #[test]
    fn a_constructed_object_has_its_link_behind_it() {
        // Each row: size, alignment, stride and link (R2.3).
        for (size, align, stride, link) in
            [(1024, 1024, 2048, 1024), (20, 0, 32, 24), (0, 0, 8, 0), (64, 8, 72, 64)]
        {
            let geometry = Geometry::of_user(size, align, Some(Ctor(1)), 1);
            assert_eq!((u64::from(geometry.size), geometry.link_offset()), (stride, link));
        }
        assert_eq!(Geometry::of_user(1024, 1024, None, 1).size, 1024);
    }

    #[test]
    fn a_cache_line_is_halved_as_long_as_two_objects_fit() {
        for (size, expect) in [(65, 64), (33, 64), (32, 32), (17, 32), (16, 16), (1, 8)] {
            assert_eq!(alignment(size, 0, SLAB_HWCACHE_ALIGN), expect, "{size} bytes");
            assert_eq!(alignment(size, 0, SlabFlags(0)), 8);
        }
        assert_eq!(alignment(24, 128, SLAB_HWCACHE_ALIGN), 128);
    }
}
