//! The vmalloc space as the caller can know it: which parts are taken, and where the next area must
//! go.
//!
//! Lowest address first is policy that is fixed (R4.7), so the address of the next area follows
//! from the areas before it. With an alignment above a page it follows only within bounds: a hole
//! that is not as long as the alignment may need is found or passed over, by the shape of a tree
//! that no caller sees. Freed areas stay taken until they are purged, all at once: when too many
//! wait, when a search finds nothing, and when the caller asks for it (R4.10).
//!
//! Page arrays of large areas are areas too. No caller is told where they are, but they go by the
//! same rule: first the area, then the area of its array.

use super::room::{Ending, Places, Room, Search, Traces};
use super::rules::lazy_max;
use crate::words::{HUGE_PAGE, PAGE, pages_of};
use std::collections::BTreeMap;

/// A window walked further than this is not predicted: the walk would cost more than it finds.
const NR_WALKED_MAX: usize = 256;

/// A taken part of the space.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Where in a hole the area would start.
    fn place_in(&self, from: u64, to: u64) -> Option<u64> {
        // Most holes are too short, and an alignment costs a division.
        if to - from < self.len {
            return None;
        }
        let at = from.max(self.start).checked_next_multiple_of(self.align)?;
        (at.checked_add(self.len)? <= to).then_some(at)
    }

    /// Whether a hole that has a place cannot be passed over, since it is as long as the worst
    /// alignment needs; in a range that is no longer than the area any hole will do (R4.7).
    fn must_see(&self, from: u64, to: u64) -> bool {
        let is_free_to_move = self.align > PAGE && self.end.saturating_sub(self.start) != self.len;
        let slack = if is_free_to_move { self.align - 1 } else { 0 };
        to - from >= self.len.saturating_add(slack)
    }
}

/// The holes of the space, as one search sees them.
#[derive(Clone, Copy)]
struct Holes<'a> {
    window: &'a Window,
    /// What the request has just taken for itself.
    own: Option<(u64, u64)>,
    /// Whether what waited for a purge is free.
    is_purged: bool,
}

impl Holes<'_> {
    /// Where one search may end: at any hole that fits, up to the first that it cannot pass over. A
    /// place that leaves the range is a failure, and ends the search.
    fn search(&self, ask: &Ask) -> Room {
        let mut room = Room::NOWHERE;
        let mut from = self.window.start;
        let counts = |area: &Taken| area.is_live || !self.is_purged;
        let taken = self.window.taken.iter().filter(|(_, area)| counts(area));
        let last = (self.window.end, self.window.end);
        for (start, end) in taken.map(|(start, area)| (*start, area.end)).chain([last]) {
            let (cut_start, cut_end) = match self.own {
                Some((own_start, own_end)) if from <= own_start && own_end <= start => {
                    (own_start, own_end)
                }
                _ => (start, start),
            };
            for (from, to) in [(from, cut_start), (cut_end, start)] {
                let Some(addr) = ask.place_in(from, to) else { continue };
                if addr + ask.len > ask.end {
                    return room;
                }
                room.spots.push(Ending { addr, is_purged: self.is_purged });
                if ask.must_see(from, to) {
                    room.may_miss = false;
                    return room;
                }
            }
            from = end;
        }
        room
    }

    /// Where a request may find room: a search that finds none is made once more after a purge.
    fn find(self, ask: &Ask) -> Room {
        let mut room = self.search(ask);
        if room.may_miss && !self.is_purged {
            let again = Self { is_purged: true, ..self }.search(ask);
            room.spots.extend(again.spots);
            room.may_miss = again.may_miss;
        }
        room
    }

    /// Where a request may find room for an area and for the area of its page array.
    fn find_both(self, ask: &Ask) -> Room {
        let mut room = self.find(ask);
        let Some(array) = self.window.array_of(ask.len / PAGE - 1) else { return room };
        let nr_spots = room.spots.len();
        room.spots.retain_mut(|spot| {
            let own = Some((spot.addr, spot.addr + ask.len));
            let array = Self { own, is_purged: spot.is_purged, ..self }.find(&array);
            spot.is_purged |= !array.may_leave_unpurged();
            array.is_certain()
        });
        room.may_miss |= room.spots.len() < nr_spots;
        room
    }
}

/// The taken parts of the vmalloc space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    start: u64,
    end: u64,
    taken: BTreeMap<u64, Taken>,
    nr_lazy_pages: u64,
    lazy_max: u64,
}

impl Window {
    /// An empty space of a machine with so many CPUs.
    pub(crate) fn new(start: u64, end: u64, nr_cpus: u32) -> Self {
        let lazy_max = lazy_max((end - start) / PAGE, nr_cpus);
        Self { start, end, taken: BTreeMap::new(), nr_lazy_pages: 0, lazy_max }
    }

    /// Whether a caller's range is the whole space.
    pub(crate) fn is_whole(&self, start: u64, end: u64) -> bool {
        start == 0 && end == self.end - self.start
    }

    /// The pages that wait for a purge.
    pub(crate) fn nr_lazy_pages(&self) -> u64 {
        self.nr_lazy_pages
    }

    /// The most pages that may wait for a purge.
    pub(crate) fn lazy_max(&self) -> u64 {
        self.lazy_max
    }

    /// Enters a live area of `nr_pages` pages and its guard, and the area of its page array.
    pub(crate) fn enter(&mut self, addr: u64, nr_pages: u64) {
        let end = addr + (nr_pages + 1) * PAGE;
        self.taken.insert(addr, Taken { end, is_live: true, array: None });
        let Some(ask) = self.array_of(nr_pages) else { return };
        let array = self.holes().find(&ask).lowest();
        if let Some(at) = array {
            self.taken.insert(at, Taken { end: at + ask.len, is_live: true, array: None });
        }
        if let Some(area) = self.taken.get_mut(&addr) {
            area.array = array;
        }
    }

    /// Frees an area: first its page array, as every free lazily.
    pub(crate) fn retire(&mut self, addr: u64) {
        let array = self.taken.get(&addr).and_then(|area| area.array);
        for start in array.into_iter().chain([addr]) {
            if let Some(area) = self.taken.get_mut(&start) {
                area.is_live = false;
                self.nr_lazy_pages += (area.end - start) / PAGE;
            }
            if self.nr_lazy_pages > self.lazy_max {
                self.purge();
            }
        }
    }

    /// Sets what waits for a purge free.
    pub(crate) fn purge(&mut self) {
        self.taken.retain(|_, area| area.is_live);
        self.nr_lazy_pages = 0;
    }

    /// Where a search may end; not known if that takes too long to find out.
    pub(crate) fn places(&self, search: &Search) -> Option<Places> {
        (self.taken.len() <= NR_WALKED_MAX).then(|| self.walk(search))
    }

    /// Whether a range is long enough for an area in small pages, so that a search is made.
    pub(super) fn is_searched(&self, search: &Search) -> bool {
        let ask = self.ask(search);
        ask.len <= ask.end.saturating_sub(ask.start)
    }

    /// What a search leaves that ended at an address, in vain, or who knows where.
    pub(super) fn traces(&self, search: &Search, addr: Option<u64>) -> Traces {
        let Places { huge, small } = self.walk(search);
        let Some(addr) = addr else {
            return Traces { unpurged: true, purged: small.may_purge() };
        };
        let mut traces = Traces::NONE;
        for spot in huge.spots.iter().chain(&small.spots).filter(|spot| spot.addr == addr) {
            traces.unpurged |= !spot.is_purged;
            traces.purged |= spot.is_purged;
        }
        traces
    }

    /// Whether a search that ended at an address has purged, if that can be told without a walk:
    /// who looks for any hole and finds one where nothing waits did not have to.
    pub(super) fn has_purged(&self, search: &Search, addr: u64) -> Option<bool> {
        let Search { nr_pages, nr_huge_pages, range } = *search;
        let is_for_any_hole =
            nr_huge_pages.is_none() && range.is_none() && self.array_of(nr_pages).is_none();
        let end = addr.saturating_add(self.ask(search).len);
        let below = self.taken.range(..end).next_back();
        is_for_any_hole.then(|| below.is_some_and(|(_, area)| area.end > addr))
    }

    fn ask(&self, search: &Search) -> Ask {
        let mut ask = self.anywhere(search.nr_pages);
        if let Some((start, end, align)) = search.range {
            ask.start = self.start.saturating_add(start);
            ask.end = self.end.min(self.start.saturating_add(end));
            ask.align = align.max(PAGE);
        }
        ask
    }

    /// Where a search may end. If the area may have huge pages, these were looked for before, which
    /// may have purged (R4.12).
    fn walk(&self, search: &Search) -> Places {
        let ask = self.ask(search);
        let Some(nr_pages) = search.nr_huge_pages else {
            return Places { huge: Room::NOWHERE, small: self.holes().find_both(&ask) };
        };
        let huge_ask = Ask { align: HUGE_PAGE, ..self.anywhere(nr_pages) };
        let huge = self.holes().find_both(&huge_ask);
        let mut small = Room { spots: Vec::new(), may_miss: false };
        let begins = [(false, huge.may_leave_unpurged()), (true, huge.may_purge())];
        for (is_purged, _) in begins.into_iter().filter(|(_, may_be)| *may_be) {
            let room = Holes { is_purged, ..self.holes() }.find_both(&ask);
            small.or(room);
        }
        Places { huge, small }
    }

    fn holes(&self) -> Holes<'_> {
        Holes { window: self, own: None, is_purged: false }
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
        Window::new(0, 16 * PAGE, 1)
    }

    fn rooms(window: &Window, nr_pages: u64, range: Option<(u64, u64, u64)>) -> Room {
        window.places(&Search { nr_pages, nr_huge_pages: None, range }).unwrap().small
    }

    /// The only place, if there is any.
    fn place(window: &Window, nr_pages: u64, range: Option<(u64, u64, u64)>) -> Option<u64> {
        let room = rooms(window, nr_pages, range);
        assert!(room.spots.len() == usize::from(room.is_certain()), "{room:?}");
        room.lowest()
    }

    #[test]
    fn areas_go_to_the_lowest_hole_that_fits() {
        let mut window = window();
        assert_eq!(place(&window, 1, None), Some(0));
        window.enter(0, 1);
        window.enter(4 * PAGE, 1);
        assert_eq!(place(&window, 1, None), Some(2 * PAGE));
        assert_eq!(place(&window, 2, None), Some(6 * PAGE));
        assert_eq!(place(&window, 10, None), None);
    }

    #[test]
    fn a_freed_area_is_taken_until_it_is_purged_or_needed() {
        let mut window = window();
        window.enter(0, 1);
        window.retire(0);
        assert_eq!(place(&window, 1, None), Some(2 * PAGE));
        assert_eq!(place(&window, 15, None), Some(0));
        window.purge();
        assert_eq!(place(&window, 1, None), Some(0));
    }

    #[test]
    fn a_range_is_kept_to() {
        let mut window = window();
        let range = Some((2 * PAGE, 6 * PAGE, 1));
        assert_eq!(place(&window, 3, range), Some(2 * PAGE));
        assert_eq!(place(&window, 4, range), None);
        window.enter(2 * PAGE, 1);
        assert_eq!(place(&window, 1, range), Some(4 * PAGE));
    }

    #[test]
    fn a_hole_shorter_than_its_alignment_may_need_is_found_or_passed_over() {
        let mut window = window();
        window.enter(5 * PAGE, 1);
        // Pages 0 to 4 hold 2 pages at a multiple of 4, but not wherever they start.
        let space = 16 * PAGE;
        let both = rooms(&window, 1, Some((0, space, 4 * PAGE)));
        assert!(both.is_certain() && both.admits(0) && both.admits(8 * PAGE));
        assert!(!both.admits(4 * PAGE) && !both.admits(12 * PAGE));
        assert_eq!(place(&window, 1, Some((0, space, 2 * PAGE))), Some(0));
        // It need not be found, so the request may also fail.
        let chance = rooms(&window, 1, Some((0, 8 * PAGE, 4 * PAGE)));
        assert!(chance.admits(0) && !chance.is_certain());
        // In a range of just its size it may lie there, and nowhere else.
        assert_eq!(place(&window, 3, Some((0, 4 * PAGE, 4 * PAGE))), Some(0));
        assert_eq!(place(&window, 3, Some((PAGE, 5 * PAGE, 4 * PAGE))), None);
    }

    #[test]
    fn a_search_that_may_miss_may_purge() {
        let mut window = Window::new(0, 24 * PAGE, 8);
        // Six pages are freed and not purged; the four before them fit, if they are looked at.
        window.enter(4 * PAGE, 5);
        window.enter(10 * PAGE, 1);
        window.retire(4 * PAGE);
        let room = rooms(&window, 3, Some((0, 12 * PAGE, 4 * PAGE)));
        assert!(room.is_certain() && room.admits(0) && !room.admits(4 * PAGE));
        assert!(room.may_leave_unpurged() && room.may_purge());
    }

    #[test]
    fn the_array_of_a_large_area_takes_room_and_waits_like_any_area() {
        let mut window = Window::new(0, 1024 * PAGE, 1);
        window.enter(0, 1);
        window.enter(2 * PAGE, 1);
        window.retire(0);
        window.purge();
        // 513 pages need 4104 bytes of array: two pages and a guard, behind the area.
        assert_eq!(place(&window, 513, None), Some(4 * PAGE));
        window.enter(4 * PAGE, 513);
        assert_eq!(place(&window, 3, None), Some(521 * PAGE));
        // Both wait for a purge, unless the two are too many to wait.
        window.retire(4 * PAGE);
        assert_eq!((window.nr_lazy_pages(), place(&window, 3, None)), (0, Some(4 * PAGE)));
    }

    #[test]
    fn an_array_without_room_is_a_request_without_room() {
        let window = Window::new(0, 516 * PAGE, 1);
        assert_eq!(place(&window, 513, None), None);
        assert_eq!(place(&Window::new(0, 517 * PAGE, 1), 513, None), Some(0));
    }

    #[test]
    fn a_huge_area_needs_its_alignment_and_may_purge_for_it_in_vain() {
        let huge = |nr_pages| Search { nr_pages, nr_huge_pages: Some(1024), range: None };
        let mut window = Window::new(0, 2048 * PAGE, 1);
        window.enter(0, 1);
        window.enter(2 * PAGE, 1);
        window.retire(0);
        let places = window.places(&huge(600)).unwrap();
        assert_eq!(places.huge.lowest(), Some(512 * PAGE));
        assert!(places.huge.is_certain() && places.small.is_certain());
        assert_eq!(places.small.lowest(), Some(4 * PAGE));
        window.enter(1024 * PAGE, 1);
        // There is no hole for 1024 pages. Looking for it has purged the first two pages, which
        // are not used again otherwise.
        assert_eq!(place(&window, 1, None), Some(4 * PAGE));
        let places = window.places(&huge(1)).unwrap();
        assert_eq!(places.huge, Room::NOWHERE);
        assert_eq!((places.small.lowest(), places.small.may_miss), (Some(0), false));
    }
}
