//! The vmalloc space over time: what waits for a purge, as far as its callers can know.
//!
//! The one idea: the model counts for itself. What an area's free leaves waiting follows from the
//! call, and so do the purges: when too much waits, when a caller asks for one, and when a search
//! finds no room (R4.10). Whether a search was made is not always told: a call that runs out of
//! memory may have done so before its search or after it. Then the space has two histories, which
//! are both followed until an address, or a purge that is certain, leaves one of them.
//!
//! What the allocator says that waits is not looked at here.

use super::room::{Places, Search, Traces};
use super::window::Window;

/// What a call has told of its search for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SearchTold {
    /// The area lies at this address.
    Place(u64),
    /// There is no room: a search that finds none has purged.
    NoRoom,
    /// Something else was in the way, before the search or after it.
    Nothing,
}

/// The vmalloc space, with every history of it that explains what its callers were told.
pub(crate) struct Space {
    /// At least one, no two the same.
    histories: Vec<Window>,
}

impl Space {
    /// An empty space of a machine with so many CPUs.
    pub(crate) fn new(start: u64, end: u64, nr_cpus: u32) -> Self {
        Self { histories: vec![Window::new(start, end, nr_cpus)] }
    }

    /// Whether a caller's range is the whole space.
    pub(crate) fn is_whole(&self, start: u64, end: u64) -> bool {
        self.histories[0].is_whole(start, end)
    }

    /// The most pages that may wait for a purge.
    pub(crate) fn lazy_max(&self) -> u64 {
        self.histories[0].lazy_max()
    }

    /// The pages that wait for a purge, in each history.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = u64> {
        self.histories.iter().map(Window::nr_lazy_pages)
    }

    /// Whether a purge may have happened or not, and it makes a difference.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.histories.len() > 1
    }

    /// Where a search may end; not known if that takes too long to find out.
    pub(crate) fn places(&self, search: &Search) -> Option<Places> {
        let [first, others @ ..] = &self.histories[..] else { return None };
        let mut places = first.places(search)?;
        for other in others {
            let Places { huge, small } = other.places(search)?;
            places.huge.or(huge);
            places.small.or(small);
        }
        Some(places)
    }

    /// Enters a live area of `nr_pages` pages and its guard, and the area of its page array.
    pub(crate) fn enter(&mut self, addr: u64, nr_pages: u64) {
        self.each(|history| history.enter(addr, nr_pages));
    }

    /// Frees an area: first its page array, as every free lazily.
    pub(crate) fn retire(&mut self, addr: u64) {
        self.each(|history| history.retire(addr));
    }

    /// Sets what waits for a purge free.
    pub(crate) fn purge(&mut self) {
        self.each(Window::purge);
    }

    /// Takes note that what waits may have been purged.
    pub(crate) fn doubt(&mut self) {
        self.follow(|_| Traces { unpurged: true, purged: true });
    }

    /// Takes note of a search, which was one of those given.
    pub(crate) fn searched(&mut self, searches: &[Search], told: SearchTold) {
        let is_made = searches.iter().any(|search| self.histories[0].is_searched(search));
        let addr = match told {
            SearchTold::NoRoom if is_made => return self.purge(),
            SearchTold::NoRoom => return,
            SearchTold::Place(addr) => Some(addr),
            SearchTold::Nothing => None,
        };
        if let ([history], [search], Some(addr)) = (&mut self.histories[..], searches, addr)
            && let Some(has_purged) = history.has_purged(search, addr)
        {
            if has_purged {
                history.purge();
            }
            return;
        }
        self.follow(|history| {
            let traces = searches.iter().map(|search| history.traces(search, addr));
            traces.reduce(Traces::or).unwrap_or(Traces::NONE)
        });
    }

    /// Goes on with the histories that `traces` leaves of each. If it leaves none, an oracle that
    /// knows more than the histories do has let the answer pass, and each may go on in both ways.
    fn follow(&mut self, traces: impl Fn(&Window) -> Traces) {
        if let [history] = &mut self.histories[..] {
            match traces_if_any_wait(history, &traces) {
                Traces { unpurged: true, purged: false } => return,
                Traces { unpurged: false, purged: true } => return history.purge(),
                _ => {}
            }
        }
        let mut all: Vec<Traces> = self.histories.iter().map(traces).collect();
        if all.iter().all(|traces| *traces == Traces::NONE) {
            all.fill(Traces { unpurged: true, purged: true });
        }
        let before = std::mem::take(&mut self.histories);
        for (history, traces) in before.into_iter().zip(all) {
            if traces.purged {
                let mut purged = history.clone();
                purged.purge();
                self.add(purged);
            }
            if traces.unpurged {
                self.add(history);
            }
        }
    }

    fn each(&mut self, change: impl Fn(&mut Window)) {
        self.histories.iter_mut().for_each(change);
        if self.is_in_doubt() {
            for history in std::mem::take(&mut self.histories) {
                self.add(history);
            }
        }
    }

    fn add(&mut self, history: Window) {
        if !self.histories.contains(&history) {
            self.histories.push(history);
        }
    }
}

/// What a search leaves of a history; where nothing waits, that is what was there.
fn traces_if_any_wait(history: &Window, traces: impl Fn(&Window) -> Traces) -> Traces {
    match history.nr_lazy_pages() {
        0 => Traces { unpurged: true, purged: false },
        _ => traces(history),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::words::PAGE;

    const fn pages(nr_pages: u64) -> Search {
        Search { nr_pages, nr_huge_pages: None, range: None }
    }

    /// Sixteen pages, of which the first two wait for a purge.
    fn space() -> Space {
        let mut space = Space::new(0, 16 * PAGE, 1);
        space.enter(0, 1);
        space.enter(2 * PAGE, 1);
        space.retire(0);
        space
    }

    #[track_caller]
    fn after(told: SearchTold, nr_pages: u64, expected: &[u64]) -> Space {
        let mut space = space();
        space.searched(&[pages(nr_pages)], told);
        let mut waiting: Vec<u64> = space.waiting().collect();
        waiting.sort_unstable();
        assert_eq!(waiting, expected, "{told:?} of {nr_pages} pages");
        space
    }

    #[test]
    fn a_search_purges_if_it_finds_no_room_and_not_before() {
        after(SearchTold::Place(4 * PAGE), 1, &[2]);
        after(SearchTold::Nothing, 11, &[2]);
        after(SearchTold::NoRoom, 13, &[0]);
        // No search is made for what is larger than the space.
        after(SearchTold::NoRoom, 16, &[2]);
        after(SearchTold::Nothing, 12, &[0, 2]);
    }

    #[test]
    fn who_is_in_doubt_follows_both_histories_until_an_address_tells() {
        for (addr, waiting) in [(0, 0), (4 * PAGE, 2)] {
            let mut space = after(SearchTold::Nothing, 12, &[0, 2]);
            assert!(space.is_in_doubt());
            let places = space.places(&pages(1)).unwrap();
            assert!(places.small.admits(0) && places.small.admits(4 * PAGE));
            space.searched(&[pages(1)], SearchTold::Place(addr));
            space.enter(addr, 1);
            assert_eq!(space.waiting().collect::<Vec<_>>(), [waiting]);
        }
    }

    #[test]
    fn a_purge_that_is_certain_ends_every_doubt() {
        let mut space = after(SearchTold::Nothing, 12, &[0, 2]);
        space.retire(2 * PAGE);
        assert_eq!(space.waiting().collect::<Vec<_>>(), [2, 0]);
        let mut space = after(SearchTold::Nothing, 12, &[0, 2]);
        space.purge();
        assert!(!space.is_in_doubt());
    }

    #[test]
    fn an_address_that_no_history_explains_leaves_them_all() {
        let mut space = space();
        let aligned = Search { range: Some((0, 16 * PAGE, 8 * PAGE)), ..pages(1) };
        space.searched(&[aligned], SearchTold::Place(9 * PAGE));
        assert_eq!(space.waiting().collect::<Vec<_>>(), [0, 2]);
    }
}
