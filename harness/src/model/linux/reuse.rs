//! Reuse: which object a CPU takes next from a cache, where that is certain (R1.10).
//!
//! The object that a CPU took last lies in the slab that it takes from, and what that CPU itself
//! frees into it goes in front of a list of its own. So once it has freed that object, it takes it
//! next, until it frees anything else into the cache, which may have been into the same slab. What
//! other CPUs free meanwhile goes to another list and changes nothing, and what they free for it
//! comes whenever its own list has run out.
//!
//! Nothing is said about the first object of a slab, nor about objects taken earlier.

use super::Linux;
use super::rules::size_class;
use crate::model::{Allocation, Kind};
use crate::words::{CacheHandle, NR_CPUS};

/// The size classes of kmalloc.
const NR_CLASSES: usize = 13;

/// What one CPU took last.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// The object, 0 for none.
    taken: u64,
    /// Whether the CPU has freed it, and nothing else into the cache since.
    is_next: bool,
}

/// What each CPU took last from one cache.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reuse([Last; NR_CPUS]);

impl Reuse {
    /// A CPU took an object.
    pub(crate) fn take(&mut self, cpu: usize, addr: u64) {
        self.0[cpu] = Last { taken: addr, is_next: false };
    }

    /// A CPU freed an object.
    pub(crate) fn free(&mut self, cpu: usize, addr: u64) {
        for (of, last) in self.0.iter_mut().enumerate() {
            if of == cpu {
                last.is_next = last.taken == addr;
            } else if last.taken == addr {
                // It is free, and its owner has not freed it.
                *last = Last::default();
            }
        }
    }

    /// The object that a CPU must take next, if that is certain.
    pub(crate) fn next(&self, cpu: usize) -> Option<u64> {
        let last = self.0[cpu];
        last.is_next.then_some(last.taken)
    }
}

/// [`Reuse`] of every size class.
#[derive(Clone, Debug, Default)]
pub(super) struct Classes([Reuse; NR_CLASSES]);

impl Classes {
    /// The size class of this many bytes.
    pub(super) fn of(&self, class: u64) -> &Reuse {
        &self.0[place(class)]
    }

    /// As [`of`](Self::of), to change.
    pub(super) fn of_mut(&mut self, class: u64) -> &mut Reuse {
        &mut self.0[place(class)]
    }
}

/// 8 to 8192 by their logarithms, then the two that are no power of two.
fn place(class: u64) -> usize {
    match class {
        96 => 11,
        192 => 12,
        _ => class.ilog2() as usize - 3,
    }
}

impl Linux {
    pub(super) fn reuse_mut(&mut self, allocation: &Allocation) -> Option<&mut Reuse> {
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
    pub(super) fn forget_reuse_like(&mut self, object: &Allocation) {
        if let Some(reuse) = self.reuse_mut(object) {
            *reuse = Reuse::default();
        }
    }

    /// Says that something happened after the last free, so that its address may be anything by
    /// now.
    pub(crate) fn forget_just_freed(&mut self) {
        self.just_freed = None;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_a_cpu_took_last_and_freed_is_next_until_it_frees_something_else() {
        let mut reuse = Reuse::default();
        reuse.take(0, 64);
        assert_eq!(reuse.next(0), None);
        reuse.free(0, 64);
        assert_eq!((reuse.next(0), reuse.next(1)), (Some(64), None));
        // Another CPU takes from a slab of its own, and frees to no list of this one's.
        reuse.take(1, 4096);
        reuse.free(1, 4096);
        reuse.free(1, 128);
        assert_eq!((reuse.next(0), reuse.next(1)), (Some(64), None));
        reuse.free(0, 192);
        assert_eq!(reuse.next(0), None);
    }

    #[test]
    fn what_another_cpu_freed_comes_at_no_certain_time() {
        let mut reuse = Reuse::default();
        reuse.take(0, 64);
        reuse.free(1, 64);
        assert_eq!((reuse.next(0), reuse.next(1)), (None, None));
    }

    #[test]
    fn what_was_taken_before_is_forgotten() {
        let mut reuse = Reuse::default();
        reuse.take(0, 64);
        reuse.take(0, 128);
        reuse.free(0, 64);
        assert_eq!(reuse.next(0), None);
    }

    #[test]
    fn every_size_class_has_a_place_of_its_own() {
        let classes = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192];
        let mut places: Vec<usize> = classes.iter().map(|class| place(*class)).collect();
        places.sort_unstable();
        assert_eq!(places, (0..NR_CLASSES).collect::<Vec<_>>());
    }
}
