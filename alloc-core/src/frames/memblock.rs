//! The boot allocator: memory before there is a page allocator (Linux's memblock).
//!
//! It is a table of the ranges that callers have taken, in the order of their addresses; all else
//! is free. Callers are served from the top down, as on x86. What alloc-core itself needs is carved
//! from the bottom before the first of them comes. At the hand-over the page allocator gets every
//! frame that is free from end to end, and the rest stays reserved for ever.
//!
//! A range is given back as it was taken, or not at all. Linux takes any range off its table, so
//! that a caller can give away what another one holds.

use crate::words::addr::{PAGE_SIZE, Paddr, Pfn, pages_for};

/// The most ranges that callers can have taken at one time (`INIT_MEMBLOCK_REGIONS`). Linux doubles
/// its table where it can.
pub const NR_REGIONS: usize = 128;
/// The alignment of those who ask for none (`SMP_CACHE_BYTES`).
const DEFAULT_ALIGN: u64 = 64;

/// Why the boot allocator refused; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemblockError {
    /// No free range is large enough.
    NoMemory,
    /// As many ranges are taken as the table has room for.
    TooManyRegions,
    /// No bytes, an alignment that is no power of two, or a range that leaves the memory.
    BadArgument,
    /// A part of the range to reserve is taken. Linux would let both have it.
    Taken,
    /// The range to give back was taken with another size. Linux would free another's memory, or
    /// leave a part of it taken.
    WrongSize,
    /// The range to give back begins inside one that was taken.
    Interior,
    /// No caller has taken the range to give back.
    NotTaken,
}

/// A range of bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Region {
    start: u64,
    end: u64,
}

/// The boot allocator of a machine.
///
/// # Invariants
/// 15. The ranges that callers have taken are not empty, lie in memory above what is carved, in the
///     order of their addresses, and do not meet.
#[derive(Debug)]
pub(crate) struct Memblock {
    /// The end of what alloc-core has carved for itself, from address 0 on.
    carved: u64,
    /// The end of memory.
    end: u64,
    regions: [Region; NR_REGIONS],
    nr_regions: usize,
}

impl Memblock {
    /// A machine of `nr_frames` frames, of which nothing is taken yet.
    pub(crate) const fn new(nr_frames: u32) -> Self {
        Self {
            carved: 0,
            end: nr_frames as u64 * PAGE_SIZE,
            regions: [Region { start: 0, end: 0 }; NR_REGIONS],
            nr_regions: 0,
        }
    }

    /// Carves `nr_bytes` bytes for alloc-core itself, aligned to a cache line; `None` when memory
    /// is too small. No caller has come yet.
    pub(crate) fn carve(&mut self, nr_bytes: u64) -> Option<Paddr> {
        let start = self.carved.next_multiple_of(64);
        let end = start.checked_add(nr_bytes).filter(|end| *end <= self.end)?;
        self.carved = end;
        Some(Paddr(start))
    }

    /// `memblock_alloc`: takes the highest free range that fits.
    pub(crate) fn alloc(&mut self, size: u64, align: u64) -> Result<Paddr, MemblockError> {
        let align = if align == 0 { DEFAULT_ALIGN } else { align };
        if size == 0 || !align.is_power_of_two() {
            return Err(MemblockError::BadArgument);
        }
        let fit = (0..=self.nr_regions).rev().find_map(|place| {
            let gap = self.gap_before(place);
            let start = gap.end.checked_sub(size)? & !(align - 1);
            (start >= gap.start).then_some((place, start))
        });
        let (place, start) = fit.ok_or(MemblockError::NoMemory)?;
        self.insert(place, Region { start, end: start + size })?;
        Ok(Paddr(start))
    }

    /// `memblock_reserve`: takes this range.
    pub(crate) fn reserve(&mut self, base: Paddr, size: u64) -> Result<(), MemblockError> {
        let end = base.0.checked_add(size).filter(|end| size > 0 && *end <= self.end);
        let region = Region { start: base.0, end: end.ok_or(MemblockError::BadArgument)? };
        let place = self.taken().partition_point(|taken| taken.end <= region.start);
        let gap = self.gap_before(place);
        if region.start < gap.start || region.end > gap.end {
            return Err(MemblockError::Taken);
        }
        self.insert(place, region)
    }

    /// `memblock_phys_free`: gives a range back.
    pub(crate) fn free(&mut self, base: Paddr, size: u64) -> Result<(), MemblockError> {
        let place = self.taken().partition_point(|taken| taken.end <= base.0);
        match self.taken().get(place) {
            Some(taken) if taken.start < base.0 => return Err(MemblockError::Interior),
            Some(taken) if taken.start > base.0 => return Err(MemblockError::NotTaken),
            Some(taken) if taken.end - taken.start != size => {
                return Err(MemblockError::WrongSize);
            }
            None => return Err(MemblockError::NotTaken),
            Some(_) => {}
        }
        self.regions.copy_within(place + 1..self.nr_regions, place);
        self.nr_regions -= 1;
        Ok(())
    }

    /// The runs of frames that are free from end to end, each from its first frame up to the frame
    /// behind its last.
    pub(crate) fn free_runs(&self) -> impl Iterator<Item = (Pfn, Pfn)> + '_ {
        (0..=self.nr_regions).filter_map(|place| {
            let gap = self.gap_before(place);
            let (first, end) = (pages_for(gap.start) as u32, (gap.end / PAGE_SIZE) as u32);
            (first < end).then_some((Pfn(first), Pfn(end)))
        })
    }

    /// Whether invariant 15 holds.
    pub(crate) fn is_sound(&self) -> bool {
        let mut end = self.carved;
        let sound = self.taken().iter().all(|taken| {
            let follows = end <= taken.start && taken.start < taken.end;
            end = taken.end;
            follows
        });
        sound && end <= self.end
    }

    fn taken(&self) -> &[Region] {
        self.regions.get(..self.nr_regions).unwrap_or(&[])
    }

    /// The free range, perhaps of no bytes, below the taken one of this number.
    fn gap_before(&self, place: usize) -> Region {
        let below = place.checked_sub(1).and_then(|below| self.taken().get(below));
        let above = self.taken().get(place);
        Region {
            start: below.map_or(self.carved, |below| below.end),
            end: above.map_or(self.end, |above| above.start),
        }
    }

    fn insert(&mut self, place: usize, region: Region) -> Result<(), MemblockError> {
        if self.nr_regions == NR_REGIONS {
            return Err(MemblockError::TooManyRegions);
        }
        self.regions.copy_within(place..self.nr_regions, place + 1);
        self.regions[place] = region;
        self.nr_regions += 1;
        Ok(())
    }
}

#[cfg(test)]
mod test {
    extern crate std;

    use super::*;
    use crate::test_memory::TestRandom;
    use std::vec::Vec;

    #[test]
    fn carved_pieces_follow_one_another() {
        let mut memblock = Memblock::new(2);
        assert_eq!(memblock.carve(100), Some(Paddr(0)));
        assert_eq!(memblock.carve(8), Some(Paddr(128)));
        assert_eq!(memblock.carve(2 * PAGE_SIZE), None);
        assert_eq!(memblock.free_runs().collect::<Vec<_>>(), [(Pfn(1), Pfn(2))]);
    }

    #[test]
    fn callers_are_served_from_the_top_down() {
        let mut memblock = Memblock::new(4);
        memblock.carve(100).unwrap();
        assert_eq!(memblock.alloc(100, 64), Ok(Paddr(4 * PAGE_SIZE - 128)));
        assert_eq!(memblock.alloc(28, 1), Ok(Paddr(4 * PAGE_SIZE - 28)));
        assert_eq!(memblock.alloc(PAGE_SIZE, PAGE_SIZE), Ok(Paddr(2 * PAGE_SIZE)));
        assert_eq!(memblock.free_runs().collect::<Vec<_>>(), [(Pfn(1), Pfn(2))]);
        assert_eq!(memblock.alloc(2 * PAGE_SIZE, 1), Err(MemblockError::NoMemory));
        assert_eq!(memblock.alloc(0, 1), Err(MemblockError::BadArgument));
        assert_eq!(memblock.alloc(8, 24), Err(MemblockError::BadArgument));
        assert!(memblock.is_sound());
    }

    #[test]
    fn what_is_taken_is_given_back_as_it_was_taken() {
        let mut memblock = Memblock::new(16);
        memblock.carve(100).unwrap();
        let base = Paddr(0x3010);
        memblock.reserve(base, 0x100).unwrap();
        for (start, size) in [(0x3010, 1), (0x300f, 2), (0x310f, 1), (0x2000, 0x4000), (0, 8)] {
            assert_eq!(memblock.reserve(Paddr(start), size), Err(MemblockError::Taken));
        }
        let beyond = memblock.reserve(Paddr(16 * PAGE_SIZE - 1), 2);
        assert_eq!(beyond, Err(MemblockError::BadArgument));
        assert_eq!(memblock.free(base, 0x80), Err(MemblockError::WrongSize));
        assert_eq!(memblock.free(Paddr(0x3011), 0xff), Err(MemblockError::Interior));
        assert_eq!(memblock.free(Paddr(0x3110), 1), Err(MemblockError::NotTaken));
        assert_eq!(memblock.free(Paddr(0), 100), Err(MemblockError::NotTaken));
        assert_eq!(memblock.free(base, 0x100), Ok(()));
        assert_eq!(memblock.free(base, 0x100), Err(MemblockError::NotTaken));
    }

    #[test]
    fn a_full_table_takes_no_more() {
        let mut memblock = Memblock::new(256);
        let taken: Vec<_> = (0..NR_REGIONS).map(|_| memblock.alloc(8, 0).unwrap()).collect();
        assert_eq!(memblock.alloc(8, 0), Err(MemblockError::TooManyRegions));
        assert_eq!(memblock.reserve(Paddr(0), 8), Err(MemblockError::TooManyRegions));
        memblock.free(taken[77], 8).unwrap();
        assert_eq!(memblock.alloc(8, 0), Ok(taken[77]));
        assert!(memblock.is_sound());
    }

    #[test]
    fn a_random_walk_gives_everything_back() {
        let (mut memblock, mut random) = (Memblock::new(64), TestRandom(3));
        memblock.carve(5000).unwrap();
        let mut taken = Vec::new();
        for _ in 0..4000 {
            let (size, at) = (random.below(9000), random.below(64 * PAGE_SIZE));
            match random.below(5) {
                0 | 1 => {
                    let start = memblock.alloc(size, 1 << random.below(14));
                    taken.extend(start.ok().map(|start| (start, size)));
                }
                2 if memblock.reserve(Paddr(at), size).is_ok() => taken.push((Paddr(at), size)),
                _ if !taken.is_empty() => {
                    let (base, size) = taken.swap_remove(at as usize % taken.len());
                    memblock.free(base, size).unwrap();
                }
                _ => {}
            }
            assert!(memblock.is_sound());
        }
        taken.drain(..).for_each(|(base, size)| memblock.free(base, size).unwrap());
        assert_eq!(memblock.free_runs().collect::<Vec<_>>(), [(Pfn(2), Pfn(64))]);
    }
}
