//! The vmalloc space as the caller can know it: which parts are taken, and where the next area must
//! go.
//!
//! The one idea: lowest address first is policy that is fixed (R4.7), so the address of the next
//! area follows from the areas before it. Freed areas stay taken until they are purged, all at
//! once: when too many wait, when no hole fits, and when the caller asks for it (R4.10).
//!
//! Page arrays of large areas are areas too. No caller is told where they are, but they go by the
//! same rule: first the area, then the area of its array.

use super::rules::{HUGE_PAGE, PAGE, lazy_max, pages_of};
use std::collections::BTreeMap;

/// A window walked further than this is not predicted: the walk would cost more than it finds.
const NR_WALKED_MAX: usize = 256;

/// Where an area must go if its pages are huge, and if they are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// With huge pages; nowhere if the request may not have them.
    pub huge: Place,
    /// With small ones.
    pub small: Place,
}

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

/// A taken part of the space.
struct Taken {
    /// Behind its guard page.
    end: u64,
    /// Or it waits for a purge.
    is_live: bool,
    /// Where the area of its page array is.
    array: Option<u64>,
}

/// What a search is for.
struct Ask {
    /// Bytes with the guard page.
    len: u64,
    align: u64,
    start: u64,
    end: u64,
}

impl Ask {
    /// Where in a hole the area would start (R4.7): a hole is passed over unless it is as long as
    /// the worst alignment needs, but in a range that is no longer than the area.
    fn place_in(&self, from: u64, to: u64) -> Option<u64> {
        let is_free_to_move = self.align > PAGE && self.end.saturating_sub(self.start) != self.len;
        let slack = if is_free_to_move { self.align - 1 } else { 0 };
        // Most holes are too short, and an alignment costs a division.
        if to - from < self.len.saturating_add(slack) {
            return None;
        }
        let at = from.max(self.start).checked_next_multiple_of(self.align)?;
        (at.checked_add(self.len)? <= to).then_some(at)
    }
}

/// The searches of one request: each sees what those before it have taken and purged.
struct Search<'a> {
    window: &'a Window,
    taken: Option<(u64, u64)>,
    is_purged: bool,
}

impl Search<'_> {
    /// Takes room for an area and for the area of its page array; gives both back.
    fn try_both(&mut self, ask: &Ask) -> Place {
        let place = self.take(ask);
        let array = self.window.array_of(ask.len / PAGE - 1);
        let place = place.filter(|_| array.is_none_or(|array| self.take(&array).is_some()));
        self.taken = None;
        place.map_or(Place::Nowhere, Place::At)
    }

    /// Takes room, after a purge if there is none before it.
    fn take(&mut self, ask: &Ask) -> Option<u64> {
        let mut at = self.lowest(ask);
        if at.is_none() && !self.is_purged {
            self.is_purged = true;
            at = self.lowest(ask);
        }
        self.taken = at.map(|at| (at, at + ask.len));
        at
    }

    /// The place in the lowest hole that fits. One that leaves the range is a failure.
    fn lowest(&self, ask: &Ask) -> Option<u64> {
        let mut from = self.window.start;
        let counts = |area: &Taken| area.is_live || !self.is_purged;
        let taken = self.window.taken.iter().filter(|(_, area)| counts(area));
        let last = (self.window.end, self.window.end);
        for (start, end) in taken.map(|(start, area)| (*start, area.end)).chain([last]) {
            let (cut_start, cut_end) = match self.taken {
                Some((own_start, own_end)) if from <= own_start && own_end <= start => {
                    (own_start, own_end)
                }
                _ => (start, start),
            };
            let place = ask.place_in(from, cut_start).or_else(|| ask.place_in(cut_end, start));
            if let Some(at) = place {
                return (at + ask.len <= ask.end).then_some(at);
            }
            from = end;
        }
        None
    }
}

/// The taken parts of the vmalloc space.
pub struct Window {
    start: u64,
    end: u64,
    taken: BTreeMap<u64, Taken>,
    nr_lazy_pages: u64,
}

impl Window {
    /// An empty space.
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end, taken: BTreeMap::new(), nr_lazy_pages: 0 }
    }

    /// Whether a caller's range is the whole space.
    pub fn is_whole(&self, start: u64, end: u64) -> bool {
        start == 0 && end == self.end - self.start
    }

    /// The pages that wait for a purge.
    pub fn nr_lazy_pages(&self) -> u64 {
        self.nr_lazy_pages
    }

    /// Enters a live area of `nr_pages` pages and its guard, and the area of its page array.
    pub fn enter(&mut self, addr: u64, nr_pages: u64) {
        let end = addr + (nr_pages + 1) * PAGE;
        self.taken.insert(addr, Taken { end, is_live: true, array: None });
        let Some(ask) = self.array_of(nr_pages) else { return };
        let array = Search { window: self, taken: None, is_purged: false }.take(&ask);
        if let Some(at) = array {
            self.taken.insert(at, Taken { end: at + ask.len, is_live: true, array: None });
        }
        if let Some(area) = self.taken.get_mut(&addr) {
            area.array = array;
        }
    }

    /// Frees an area: first its page array, as every free lazily.
    pub fn retire(&mut self, addr: u64) {
        let array = self.taken.get(&addr).and_then(|area| area.array);
        for start in array.into_iter().chain([addr]) {
            if let Some(area) = self.taken.get_mut(&start) {
                area.is_live = false;
                self.nr_lazy_pages += (area.end - start) / PAGE;
            }
            if self.nr_lazy_pages > lazy_max((self.end - self.start) / PAGE) {
                self.purge();
            }
        }
    }

    /// Takes note of how much the allocator says is waiting to be purged.
    pub fn note_lazy(&mut self, nr_lazy_pages: u64) {
        if nr_lazy_pages == 0 && self.nr_lazy_pages > 0 {
            self.purge();
        }
    }

    fn purge(&mut self) {
        self.taken.retain(|_, area| area.is_live);
        self.nr_lazy_pages = 0;
    }

    /// Where an area of `nr_pages` pages and its guard must go within `range`, offsets in bytes.
    /// Before that it was tried with `nr_huge_pages` pages if it may have huge ones (R4.12), a
    /// search that may have purged.
    pub fn places(
        &self,
        nr_pages: u64,
        nr_huge_pages: Option<u64>,
        range: Option<(u64, u64, u64)>,
    ) -> Places {
        if self.taken.len() > NR_WALKED_MAX {
            return Places { huge: Place::Unknown, small: Place::Unknown };
        }
        let mut ask = self.anywhere(nr_pages);
        if let Some((start, end, align)) = range {
            ask.start = self.start.saturating_add(start);
            ask.end = self.end.min(self.start.saturating_add(end));
            ask.align = align.max(PAGE);
        }
        let mut search = Search { window: self, taken: None, is_purged: false };
        let huge = nr_huge_pages.map_or(Place::Nowhere, |nr_pages| {
            search.try_both(&Ask { align: HUGE_PAGE, ..self.anywhere(nr_pages) })
        });
        Places { huge, small: search.try_both(&ask) }
    }

    fn anywhere(&self, nr_pages: u64) -> Ask {
        let len = nr_pages.saturating_add(1).saturating_mul(PAGE);
        Ask { len, align: PAGE, start: self.start, end: self.end }
    }

    /// The area that the page array of `nr_pages` pages needs: one beyond a page has its own
    /// (R4.2), and no machine here has so many pages that this one's array needed another.
    fn array_of(&self, nr_pages: u64) -> Option<Ask> {
        let size = nr_pages.saturating_mul(8);
        (size > PAGE).then(|| self.anywhere(pages_of(size)))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn window() -> Window {
        Window::new(0, 16 * PAGE)
    }

    fn place(window: &Window, nr_pages: u64, range: Option<(u64, u64, u64)>) -> Place {
        window.places(nr_pages, None, range).small
    }

    #[test]
    fn areas_go_to_the_lowest_hole_that_fits() {
        let mut window = window();
        assert_eq!(place(&window, 1, None), Place::At(0));
        window.enter(0, 1);
        window.enter(4 * PAGE, 1);
        assert_eq!(place(&window, 1, None), Place::At(2 * PAGE));
        assert_eq!(place(&window, 2, None), Place::At(6 * PAGE));
        assert_eq!(place(&window, 10, None), Place::Nowhere);
    }

    #[test]
    fn a_freed_area_is_taken_until_it_is_purged_or_needed() {
        let mut window = window();
        window.enter(0, 1);
        window.retire(0);
        assert_eq!(place(&window, 1, None), Place::At(2 * PAGE));
        assert_eq!(place(&window, 15, None), Place::At(0));
        window.note_lazy(0);
        assert_eq!(place(&window, 1, None), Place::At(0));
    }

    #[test]
    fn a_range_is_kept_to() {
        let mut window = window();
        let range = Some((2 * PAGE, 6 * PAGE, 1));
        assert_eq!(place(&window, 3, range), Place::At(2 * PAGE));
        assert_eq!(place(&window, 4, range), Place::Nowhere);
        window.enter(2 * PAGE, 1);
        assert_eq!(place(&window, 1, range), Place::At(4 * PAGE));
    }

    #[test]
    fn a_hole_is_as_long_as_its_alignment_may_need_or_it_is_passed_over() {
        let mut window = window();
        window.enter(5 * PAGE, 1);
        // Pages 0 to 4 hold 2 pages at a multiple of 4, but not wherever they start.
        let space = 16 * PAGE;
        assert_eq!(place(&window, 1, Some((0, space, 4 * PAGE))), Place::At(8 * PAGE));
        assert_eq!(place(&window, 1, Some((0, space, 2 * PAGE))), Place::At(0));
        // In a range of just its size it may lie there, and nowhere else.
        assert_eq!(place(&window, 3, Some((0, 4 * PAGE, 4 * PAGE))), Place::At(0));
        assert_eq!(place(&window, 3, Some((PAGE, 5 * PAGE, 4 * PAGE))), Place::Nowhere);
    }

    #[test]
    fn the_array_of_a_large_area_takes_room_and_waits_like_any_area() {
        let mut window = Window::new(0, 1024 * PAGE);
        window.enter(0, 1);
        window.enter(2 * PAGE, 1);
        window.retire(0);
        window.note_lazy(0);
        // 513 pages need 4104 bytes of array: two pages and a guard, behind the area.
        assert_eq!(place(&window, 513, None), Place::At(4 * PAGE));
        window.enter(4 * PAGE, 513);
        assert_eq!(place(&window, 3, None), Place::At(521 * PAGE));
        // Both wait for a purge, unless the two are too many to wait.
        window.retire(4 * PAGE);
        assert_eq!((window.nr_lazy_pages(), place(&window, 3, None)), (0, Place::At(4 * PAGE)));
    }

    #[test]
    fn an_array_without_room_is_a_request_without_room() {
        let window = Window::new(0, 516 * PAGE);
        assert_eq!(place(&window, 513, None), Place::Nowhere);
        assert_eq!(place(&Window::new(0, 517 * PAGE), 513, None), Place::At(0));
    }

    #[test]
    fn a_huge_area_needs_its_alignment_and_may_purge_for_it_in_vain() {
        let mut window = Window::new(0, 2048 * PAGE);
        window.enter(0, 1);
        window.enter(2 * PAGE, 1);
        window.retire(0);
        let both = |huge, small| Places { huge, small };
        let at_512 = Place::At(512 * PAGE);
        assert_eq!(window.places(600, Some(1024), None), both(at_512, Place::At(4 * PAGE)));
        window.enter(1024 * PAGE, 1);
        // There is no hole for 1024 pages. Looking for it has purged the first two pages, which
        // are not used again otherwise.
        assert_eq!(place(&window, 1, None), Place::At(4 * PAGE));
        assert_eq!(window.places(1, Some(1024), None), both(Place::Nowhere, Place::At(0)));
    }
}
