//! Reuse: which object a CPU takes next from a cache, where that is certain (R1.10).
//!
//! The one idea: the object that a CPU took last lies in the slab that it takes from. Once that is
//! freed, by whichever CPU, it is the first free object there and so the next one that this CPU
//! takes; until anything else is freed into the cache, which may have been into the same slab.
//!
//! Nothing is said about the first object of a slab, nor about objects taken earlier.

use alloc_core::task::NR_CPUS;

/// The size classes of kmalloc.
const NR_CLASSES: usize = 13;

/// What one CPU took last.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    /// The object, 0 for none.
    taken: u64,
    /// Whether it has been freed, as the last thing that happened to the cache's slabs.
    is_next: bool,
}

/// What each CPU took last from one cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reuse([Last; NR_CPUS]);

impl Reuse {
    /// A CPU took an object.
    pub fn take(&mut self, cpu: usize, addr: u64) {
        self.0[cpu] = Last { taken: addr, is_next: false };
    }

    /// An object was freed.
    pub fn free(&mut self, addr: u64) {
        self.0.iter_mut().for_each(|last| last.is_next = last.taken == addr);
    }

    /// The object that a CPU must take next, if that is certain.
    pub fn next(&self, cpu: usize) -> Option<u64> {
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

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_a_cpu_took_last_and_freed_is_next_until_something_else_is_freed() {
        let mut reuse = Reuse::default();
        reuse.take(0, 64);
        assert_eq!(reuse.next(0), None);
        reuse.free(64);
        assert_eq!((reuse.next(0), reuse.next(1)), (Some(64), None));
        // Another CPU takes from a slab of its own.
        reuse.take(1, 4096);
        assert_eq!(reuse.next(0), Some(64));
        reuse.free(4096);
        assert_eq!((reuse.next(0), reuse.next(1)), (None, Some(4096)));
    }

    #[test]
    fn what_was_taken_before_is_forgotten() {
        let mut reuse = Reuse::default();
        reuse.take(0, 64);
        reuse.take(0, 128);
        reuse.free(64);
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
