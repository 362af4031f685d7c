//! The real memory that an allocator gets: regions in a reserve, with red zones beside them.
//!
//! ```text
//!  trapped │ red zone │ region ····· │ red │ region ··· │ red zone │ not given yet: trapped
//! ```
//!
//! The one idea: every byte that has not been written to holds [`POISON`], since the memory is a
//! private copy of a file of poison. So what was written beside a region shows, fresh memory is
//! never zero by chance, and a fresh arena costs what the last trace has touched.
//!
//! Of the reserve no more than what was given can be accessed, whole pages of it, and a page on
//! either side. Whoever writes farther away is stopped by the processor; a smaller step shows in
//! [`Arena::trespass`].

#![expect(unsafe_code, reason = "it maps memory, and lends it out as bytes")]

use kvroute_harness::subject::Reach;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use rustix::mm::{madvise, mmap, mmap_anonymous, mprotect, munmap};
use std::cell::RefCell;
use std::ffi::c_void;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::ptr::{NonNull, null_mut};
use std::slice;

/// Bytes in a page.
pub(super) const PAGE: usize = 4096;
/// What nobody has written to holds.
const POISON: u8 = 0xa7;
/// A page that nobody has written to.
const UNTOUCHED: [u8; PAGE] = [POISON; PAGE];
/// The bytes beside a region that are looked at after every op.
const NEAR_BYTES: usize = 256;
/// So many spans, the last ones, have their ends looked at after every op.
const NR_NEAR: usize = 2;
/// Bytes between two regions that do not touch.
const GAP_BYTES: usize = 72;
/// Arenas begin at a multiple of this. What is aligned to more than that depends on where the
/// system puts them, and no answer may depend on that: it is not to be had.
pub(super) const ALIGN_BYTES: usize = 4 << 20;

thread_local! {
    /// Arenas of traces that have ended, for the next ones.
    static KEPT: RefCell<Vec<Arena>> = const { RefCell::new(Vec::new()) };
}

/// A piece of the reserve that was given away: its start and its end, as addresses.
type Span = (usize, usize);

/// How much of an arena was used, which decides how it is renewed at the least cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wear {
    /// Some pages: they are given back to the host, and are made anew when they are touched.
    Touched,
    /// Most of what was given: it is written over, and stays.
    Whole,
}

/// Real memory, and which of it was given away.
pub(super) struct Arena {
    /// The reserve, with what lies around it.
    mapping: NonNull<c_void>,
    nr_mapped: usize,
    /// The first byte of the reserve.
    start: usize,
    /// How many bytes it has.
    nr_bytes: usize,
    /// What was given away, in order; regions that touch are one span.
    spans: Vec<Span>,
    /// How many regions that were.
    nr_regions: usize,
    /// How much of the reserve has been given away or left out.
    nr_used: usize,
    /// From the page before the reserve to here all can be accessed.
    open_end: usize,
}

/// Why there is no arena, whoever was to have it.
fn failed(error: impl Into<io::Error>) -> String {
    format!("the host has no memory for any allocator: {}", error.into())
}

impl Arena {
    /// An arena of which nothing has been given away, from one that has ended if it is large
    /// enough.
    ///
    /// # Errors
    /// If the system has no memory to map.
    pub(super) fn fresh(nr_bytes: usize) -> Result<Self, String> {
        let kept = KEPT.with_borrow_mut(Vec::pop).filter(|arena| arena.nr_room() >= nr_bytes);
        let mut arena = match kept {
            Some(arena) => arena,
            None => Self::map(nr_bytes).map_err(failed)?,
        };
        arena.nr_bytes = nr_bytes;
        arena.spans.clear();
        arena.nr_regions = 0;
        arena.nr_used = 0;
        Ok(arena)
    }

    /// Keeps the mapping of an arena that nobody uses any more, as it was at first.
    pub(super) fn keep(mut self, wear: Wear) {
        let start = (self.start - PAGE) as *mut c_void;
        let (nr_open, nr_file) = (self.open_end + PAGE - self.start, self.nr_room() + 2 * PAGE);
        let is_renewed = match wear {
            // SAFETY: the pages are this mapping's and hold nothing that anybody refers to.
            Wear::Touched => unsafe { madvise(start, nr_file, Advice::LinuxDontNeed) }.is_ok(),
            Wear::Whole => {
                // SAFETY: as above, and so many can be accessed.
                unsafe { start.cast::<u8>().write_bytes(POISON, nr_open) };
                true
            }
        };
        // SAFETY: as above.
        let closed = unsafe { mprotect(start, nr_open, MprotectFlags::empty()) };
        if is_renewed && closed.is_ok() {
            self.open_end = self.start - PAGE;
            KEPT.with_borrow_mut(|kept| kept.push(self));
        }
    }

    /// Maps poison into the middle of a range, none of which can be accessed.
    fn map(nr_bytes: usize) -> io::Result<Self> {
        let nr_room = nr_bytes.next_multiple_of(ALIGN_BYTES);
        let nr_file = nr_room + 2 * PAGE;
        let fd = memfd_create("kvroute-arena", MemfdFlags::CLOEXEC)?;
        ftruncate(&fd, nr_file as u64)?;
        let mut file = File::from(fd);
        for _ in 0..nr_file / PAGE {
            file.write_all(&UNTOUCHED)?;
        }
        let nr_mapped = nr_file + 2 * ALIGN_BYTES;
        // SAFETY: a new mapping at a place that the system chooses touches no other.
        let base = unsafe {
            mmap_anonymous(null_mut(), nr_mapped, ProtFlags::empty(), MapFlags::PRIVATE)
        }?;
        let mapping = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        let start = (base as usize + 2 * PAGE).next_multiple_of(ALIGN_BYTES);
        let (spans, open_end) = (Vec::new(), start - PAGE);
        // From here on dropping it gives the mapping back.
        let (nr_bytes, nr_regions, nr_used) = (0, 0, 0);
        let arena =
            Self { mapping, nr_mapped, start, nr_bytes, spans, nr_regions, nr_used, open_end };
        let (at, flags) = (open_end as *mut c_void, MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: it goes over a part of the mapping that was just made.
        unsafe { mmap(at, nr_file, ProtFlags::empty(), flags, &file, 0) }?;
        Ok(arena)
    }

    /// Lets all be accessed up to an address, if the host has the memory.
    fn open(&mut self, end: usize) -> Option<()> {
        if end > self.open_end {
            let (at, access) = (self.open_end, MprotectFlags::READ | MprotectFlags::WRITE);
            // SAFETY: the pages are this mapping's, and nobody refers to them yet.
            unsafe { mprotect(at as *mut c_void, end - at, access) }.ok()?;
            self.open_end = end;
        }
        Some(())
    }

    /// The bytes of the reserve that are mapped, red zones left out.
    fn nr_room(&self) -> usize {
        self.nr_mapped - 2 * ALIGN_BYTES - 2 * PAGE
    }

    /// The address at which the reserve begins.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Leaves so many bytes out.
    pub(super) fn skip(&mut self, nr_bytes: usize) {
        self.nr_used += nr_bytes;
    }

    /// Gives the next bytes away, right behind the last ones, if there are so many.
    pub(super) fn give(&mut self, nr_bytes: usize) -> Option<NonNull<[u8]>> {
        let start = self.start + self.nr_used;
        let end = self.nr_used.checked_add(nr_bytes).filter(|end| *end <= self.nr_bytes)?;
        self.open((self.start + end).next_multiple_of(PAGE) + PAGE)?;
        self.nr_used = end;
        self.nr_regions += 1;
        match self.spans.last_mut() {
            Some(last) if last.1 == start => last.1 += nr_bytes,
            _ => self.spans.push((start, start + nr_bytes)),
        }
        Some(piece(start, nr_bytes))
    }

    /// The same, apart from the last ones at every second time.
    pub(super) fn give_apart(&mut self, nr_bytes: usize) -> Option<NonNull<[u8]>> {
        let end = (self.nr_used + GAP_BYTES).checked_add(nr_bytes);
        if self.nr_regions % 2 == 1 && end.is_some_and(|end| end <= self.nr_bytes) {
            self.skip(GAP_BYTES);
        }
        self.give(nr_bytes)
    }

    /// How many of the bytes from an address on were given away, without a gap.
    pub(super) fn nr_given(&self, addr: usize, most: usize) -> usize {
        let place = self.spans.partition_point(|span| span.1 <= addr);
        let span = self.spans.get(place).filter(|span| span.0 <= addr);
        span.map_or(0, |span| span.1 - addr).min(most)
    }

    /// The bytes at an address that were given away.
    pub(super) fn bytes(&self, addr: usize, most: usize) -> &[u8] {
        let len = self.nr_given(addr, most);
        if len == 0 {
            return &[];
        }
        // SAFETY: they are mapped, were written when the poison was, and nobody else runs while the
        // harness looks at them.
        unsafe { slice::from_raw_parts(addr as *const u8, len) }
    }

    /// The same, to write to.
    pub(super) fn bytes_mut(&mut self, addr: usize, most: usize) -> &mut [u8] {
        let len = self.nr_given(addr, most);
        if len == 0 {
            return &mut [];
        }
        // SAFETY: as in `bytes`, and the harness writes to live memory of its own only.
        unsafe { slice::from_raw_parts_mut(addr as *mut u8, len) }
    }

    /// The first byte beside a region that somebody has written to: near the first and the last
    /// ones, where most are, or wherever it can be accessed.
    pub(super) fn trespass(&self, reach: Reach) -> Option<u64> {
        let (nr_bytes, last) = match reach {
            Reach::Near => (NEAR_BYTES, self.spans.len().saturating_sub(NR_NEAR).max(1)),
            Reach::Everywhere => (self.nr_mapped, 1),
        };
        let mut at = 0;
        while let Some(&(start, end)) = self.spans.get(at) {
            let before = at.checked_sub(1).map_or(self.start - PAGE, |it| self.spans[it].1);
            let after = self.spans.get(at + 1).map_or(self.open_end, |next| next.0);
            let below = before.max(start.saturating_sub(nr_bytes))..start;
            let above = end..after.min(end + nr_bytes);
            let written = self.written(below).or_else(|| self.written(above));
            if written.is_some() {
                return written;
            }
            at = last.max(at + 1);
        }
        None
    }

    fn written(&self, zone: Range<usize>) -> Option<u64> {
        if zone.is_empty() {
            return None;
        }
        // SAFETY: the zone lies where all can be accessed.
        let bytes = unsafe { slice::from_raw_parts(zone.start as *const u8, zone.len()) };
        if bytes.len() <= PAGE && bytes == &UNTOUCHED[..bytes.len()] {
            return None;
        }
        let mut pieces = bytes.chunks(PAGE);
        let nr_untouched = pieces.position(|piece| piece != &UNTOUCHED[..piece.len()])? * PAGE;
        let place = bytes[nr_untouched..].iter().position(|byte| *byte != POISON)?;
        Some((zone.start + nr_untouched + place) as u64)
    }
}

fn piece(start: usize, len: usize) -> NonNull<[u8]> {
    let start = NonNull::new(start as *mut u8).expect("nothing is mapped at 0");
    NonNull::slice_from_raw_parts(start, len)
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping is this arena's, and whoever had memory of it is gone. A mapping that
        // cannot be taken back is left.
        let _ = unsafe { munmap(self.mapping.as_ptr(), self.nr_mapped) };
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::fs::read_to_string;

    /// What may be done at an address of this process.
    fn access(addr: usize) -> String {
        let maps = read_to_string("/proc/self/maps").expect("a list of mappings");
        let found = maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let address = |text| usize::from_str_radix(text, 16).expect("an address");
            (address(start)..address(end)).contains(&addr).then(|| rest[..2].to_owned())
        });
        found.unwrap_or_default()
    }

    #[test]
    fn no_more_can_be_accessed_than_what_was_given_and_a_page_beside() {
        for _ in 0..2 {
            let mut arena = Arena::fresh(64 * PAGE).expect("memory");
            arena.skip(24);
            arena.give(2 * PAGE).expect("room");
            let at = |page: usize| arena.start + page * PAGE;
            assert_eq!(
                (access(at(0) - PAGE), access(at(0) - PAGE - 1)),
                ("rw".into(), "--".into())
            );
            assert_eq!((access(at(3)), access(at(4))), ("rw".into(), "--".into()));
            arena.give(PAGE).expect("room");
            let at = |page: usize| arena.start + page * PAGE;
            assert_eq!((access(at(4)), access(at(5))), ("rw".into(), "--".into()));
            arena.keep(Wear::Touched);
        }
    }

    #[test]
    fn what_no_reserve_has_is_not_given() {
        let mut arena = Arena::fresh(4 * PAGE).expect("memory");
        arena.give(PAGE).expect("room");
        assert!(arena.give_apart(usize::MAX).is_none());
        assert!(arena.give(usize::MAX).is_none());
        assert!(arena.give_apart(PAGE).is_some());
    }
}
