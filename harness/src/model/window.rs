//! The vmalloc space as the caller can know it: which parts are taken, and where the next area must
//! go.
//!
//! The one idea: lowest address first is policy that is fixed (R4.7), so the address of the next
//! area follows from the areas before it. Freed areas stay taken until the counters say that they
//! were purged (R4.10).
//!
//! Page arrays of large areas are areas too, at addresses that no caller is told; once there has
//! been one, nothing is predicted any more. Alignments above a page are not predicted (R4.7 leaves
//! them open).

use super::rules::PAGE;
use std::collections::BTreeMap;

/// A window walked further than this is not predicted: the walk would cost more than it finds.
const NR_WALKED_MAX: usize = 256;

/// Where an area must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this address.
    At(u64),
    /// Nowhere: the request must be refused.
    Nowhere,
    /// Not known.
    Unknown,
}

/// The taken parts of the vmalloc space.
pub struct Window {
    start: u64,
    end: u64,
    /// Areas with their guard pages: start to end, and whether the area is live or waits for a
    /// purge.
    taken: BTreeMap<u64, (u64, bool)>,
    nr_lazy: usize,
    is_known: bool,
}

impl Window {
    /// An empty space.
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end, taken: BTreeMap::new(), nr_lazy: 0, is_known: true }
    }

    /// Whether a caller's range is the whole space.
    pub fn is_whole(&self, start: u64, end: u64) -> bool {
        start == 0 && end == self.end - self.start
    }

    /// Enters a live area of `nr_pages` pages and its guard.
    pub fn enter(&mut self, addr: u64, nr_pages: u64, nr_areas: u64) {
        self.is_known &= nr_areas == 1;
        self.taken.insert(addr, (addr + (nr_pages + 1) * PAGE, true));
    }

    /// Marks an area as freed but not purged.
    pub fn retire(&mut self, addr: u64) {
        if let Some((_, is_live)) = self.taken.get_mut(&addr) {
            *is_live = false;
            self.nr_lazy += 1;
        }
    }

    /// Takes note of how much the allocator says is waiting to be purged.
    pub fn note_lazy(&mut self, nr_lazy_pages: u64) {
        if nr_lazy_pages == 0 && self.nr_lazy > 0 {
            self.taken.retain(|_, (_, is_live)| *is_live);
            self.nr_lazy = 0;
        }
    }

    /// Where an area of `nr_pages` pages and its guard must go within `range`, offsets in bytes.
    pub fn place(&self, nr_pages: u64, range: Option<(u64, u64, u64)>) -> Place {
        let (start, end, align) = range.unwrap_or((0, self.end - self.start, PAGE));
        if !self.is_known || align > PAGE || self.taken.len() > NR_WALKED_MAX {
            return Place::Unknown;
        }
        let start = (self.start + start).next_multiple_of(PAGE);
        let len = (nr_pages + 1) * PAGE;
        let end = self.end.min(self.start.saturating_add(end));
        let before_purge = self.lowest(start, len, |_| true);
        let fits = |at: Option<u64>| at.filter(|at| at + len <= end);
        match fits(before_purge).or_else(|| fits(self.lowest(start, len, |is_live| is_live))) {
            Some(at) => Place::At(at),
            None => Place::Nowhere,
        }
    }

    /// The lowest address from `start` on where `len` bytes are free, taking `counts` areas as
    /// taken.
    fn lowest(&self, start: u64, len: u64, counts: fn(bool) -> bool) -> Option<u64> {
        let mut at = start;
        for (taken_start, (taken_end, is_live)) in &self.taken {
            if *taken_end <= at || !counts(*is_live) {
                continue;
            }
            if at + len <= *taken_start {
                return Some(at);
            }
            at = *taken_end;
        }
        (at + len <= self.end).then_some(at)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn window() -> Window {
        Window::new(0, 16 * PAGE)
    }

    #[test]
    fn areas_go_to_the_lowest_hole_that_fits() {
        let mut window = window();
        assert_eq!(window.place(1, None), Place::At(0));
        window.enter(0, 1, 1);
        window.enter(4 * PAGE, 1, 1);
        assert_eq!(window.place(1, None), Place::At(2 * PAGE));
        assert_eq!(window.place(2, None), Place::At(6 * PAGE));
        assert_eq!(window.place(10, None), Place::Nowhere);
    }

    #[test]
    fn a_freed_area_is_taken_until_it_is_purged_or_needed() {
        let mut window = window();
        window.enter(0, 1, 1);
        window.retire(0);
        assert_eq!(window.place(1, None), Place::At(2 * PAGE));
        assert_eq!(window.place(15, None), Place::At(0));
        window.note_lazy(0);
        assert_eq!(window.place(1, None), Place::At(0));
    }

    #[test]
    fn a_range_is_kept_to() {
        let mut window = window();
        let range = Some((2 * PAGE, 6 * PAGE, 1));
        assert_eq!(window.place(3, range), Place::At(2 * PAGE));
        assert_eq!(window.place(4, range), Place::Nowhere);
        window.enter(2 * PAGE, 1, 1);
        assert_eq!(window.place(1, range), Place::At(4 * PAGE));
    }

    #[test]
    fn nothing_is_said_once_a_page_array_has_an_area_of_its_own() {
        let mut window = window();
        window.enter(0, 1, 2);
        assert_eq!(window.place(1, None), Place::Unknown);
    }
}
