//! Getting memory back from those who can do without it: the page cache, and processes (R3.5 to
//! R3.9).
//!
//! The one idea: a request that finds no page may take one from others, as far as its flags allow:
//! it drops page cache, some of which only `__GFP_IO` or `__GFP_FS` can drop, and when there is
//! none left it has the largest process killed. What then still fails either may fail, or waits, or
//! is a machine on which Linux panics.
//!
//! Cached pages and processes stand for everything else that runs on the machine; nobody looks at
//! their contents. There is no compaction: only what is freed side by side merges.

use crate::addr::{PAGE_ALLOC_COSTLY_ORDER, Pfn};
use crate::error::{AllocError, Shortage};
use crate::frame::{FrameState, NO_FRAME};
use crate::gfp::{
    __GFP_DMA, __GFP_DMA32, __GFP_FS, __GFP_IO, __GFP_NOFAIL, __GFP_NORETRY, __GFP_NOWARN,
    __GFP_RETRY_MAYFAIL, __GFP_THISNODE, GFP_NOWAIT, Gfp,
};
use crate::memory::Memory;
use crate::page::{Found, PageAllocator};

/// Pages that one round of reclaim drops at most (`SWAP_CLUSTER_MAX`).
const NR_ROUND_PAGES: u32 = 32;

/// What it takes to drop a page of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheKind {
    /// Nothing: it is clean.
    Clean = 0,
    /// It must be written back: `__GFP_IO`.
    Dirty = 1,
    /// Its file system must be asked: `__GFP_FS`.
    Filesystem = 2,
}

/// The number of kinds of cached pages.
pub const NR_CACHE_KINDS: usize = 3;

impl CacheKind {
    const ALL: [Self; NR_CACHE_KINDS] = [Self::Clean, Self::Dirty, Self::Filesystem];

    /// Whether a request with these flags may drop such a page.
    const fn is_droppable_by(self, gfp: Gfp) -> bool {
        match self {
            Self::Clean => true,
            Self::Dirty => gfp.has(__GFP_IO),
            Self::Filesystem => gfp.has(__GFP_FS),
        }
    }
}

/// What requests have cost others, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Rounds of direct reclaim.
    pub nr_reclaim_rounds: u64,
    /// Processes killed for want of memory.
    pub nr_oom_kills: u64,
    /// Failures that were written to the log (`warn_alloc`).
    pub nr_warnings: u64,
}

impl Effort {
    /// What has been spent since an earlier look.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            nr_reclaim_rounds: self.nr_reclaim_rounds - earlier.nr_reclaim_rounds,
            nr_oom_kills: self.nr_oom_kills - earlier.nr_oom_kills,
            nr_warnings: self.nr_warnings - earlier.nr_warnings,
        }
    }
}

/// The memory of others.
#[derive(Debug)]
pub(crate) struct Others {
    /// The first page of each kind of cache, and their number.
    cache: [(Pfn, u32); NR_CACHE_KINDS],
    /// The first process: the first frame of its memory, which knows its size.
    first_process: Pfn,
    nr_processes: u32,
    is_kswapd_woken: bool,
    pub(crate) effort: Effort,
}

impl Others {
    /// A machine on which nothing else runs.
    pub(crate) const NONE: Self = Self {
        cache: [(NO_FRAME, 0); NR_CACHE_KINDS],
        first_process: NO_FRAME,
        nr_processes: 0,
        is_kswapd_woken: false,
        effort: Effort { nr_reclaim_rounds: 0, nr_oom_kills: 0, nr_warnings: 0 },
    };

    /// The number of cached pages of each kind.
    pub(crate) fn nr_cache_pages(&self) -> [u32; NR_CACHE_KINDS] {
        self.cache.map(|(_, nr_pages)| nr_pages)
    }

    /// The number of processes.
    pub(crate) const fn nr_processes(&self) -> u32 {
        self.nr_processes
    }

    /// The first page of a kind of cache, for walks.
    pub(crate) const fn first_cache_page(&self, kind: usize) -> Pfn {
        self.cache[kind].0
    }
}

impl<M: Memory> PageAllocator<M> {
    /// `__alloc_pages_slowpath`: finds a free block for a request that found none at
    /// first, or says how it ends (R3.5).
    #[cold]
    pub(crate) fn find_slowly(&mut self, gfp: Gfp, order: u32) -> Result<Found, AllocError> {
        if !gfp.may_block() {
            return self.give_up(gfp, order);
        }
        let never_fails = gfp.has(__GFP_NOFAIL);
        let is_costly = order > PAGE_ALLOC_COSTLY_ORDER && !gfp.has(__GFP_RETRY_MAYFAIL);
        let tries_once = gfp.has(__GFP_NORETRY) || is_costly;
        loop {
            let nr_dropped = self.reclaim_round(gfp);
            self.drain_per_cpu();
            if let Some(found) = self.find(gfp, order) {
                return Ok(found);
            }
            if tries_once && !never_fails {
                return self.give_up(gfp, order);
            }
            if nr_dropped > 0 {
                continue;
            }
            let spares_processes = tries_once
                || [__GFP_RETRY_MAYFAIL, __GFP_THISNODE, __GFP_DMA, __GFP_DMA32]
                    .iter()
                    .any(|flag| gfp.has(*flag));
            if spares_processes {
                return self.give_up(gfp, order);
            }
            // The killer spares processes as well for the sake of who may not enter a file system,
            // and has that request try again for ever (R3.8).
            let killed = gfp.has(__GFP_FS) && self.kill_largest();
            if !killed {
                return match self.find_for_nofail(gfp, order) {
                    Some(found) => Ok(found),
                    None if gfp.has(__GFP_FS) && !never_fails => {
                        Err(AllocError::Deadlock { order })
                    }
                    None => Err(AllocError::WouldBlock(Shortage::Pages { order })),
                };
            }
            self.others.effort.nr_oom_kills += 1;
            if let Some(found) = self.find(gfp, order) {
                return Ok(found);
            }
        }
    }

    /// The end of a request that tries no further.
    fn give_up(&mut self, gfp: Gfp, order: u32) -> Result<Found, AllocError> {
        if let Some(found) = self.find_for_nofail(gfp, order) {
            return Ok(found);
        }
        if !gfp.has(__GFP_NOFAIL) {
            self.warn(gfp);
        }
        Err(Shortage::Pages { order }.under(gfp))
    }

    /// `warn_alloc`: counts a failure that goes to the log.
    pub(crate) fn warn(&mut self, gfp: Gfp) {
        self.others.effort.nr_warnings += u64::from(!gfp.has(__GFP_NOWARN));
    }

    /// One round of direct reclaim; returns how many pages it dropped.
    fn reclaim_round(&mut self, gfp: Gfp) -> u32 {
        self.others.effort.nr_reclaim_rounds += 1;
        self.drop_cache(gfp, NR_ROUND_PAGES)
    }

    /// Drops up to `most` cached pages that the flags allow to be dropped, the cheapest first.
    fn drop_cache(&mut self, gfp: Gfp, most: u32) -> u32 {
        let mut nr_dropped = 0;
        for kind in CacheKind::ALL {
            while nr_dropped < most && kind.is_droppable_by(gfp) {
                let (page, _) = self.others.cache[kind as usize];
                if page == NO_FRAME {
                    break;
                }
                let (first, nr_pages) = &mut self.others.cache[kind as usize];
                self.map.list_remove(&mut self.memory, first, page);
                *nr_pages -= 1;
                self.free_block(page);
                nr_dropped += 1;
            }
        }
        nr_dropped
    }

    /// Reads files: `nr_pages` pages enter the page cache, or none if memory is short.
    pub(crate) fn add_to_page_cache(
        &mut self,
        nr_pages: u32,
        kind: CacheKind,
    ) -> Result<(), AllocError> {
        let first = self.take_singly(nr_pages, FrameState::PageCache)?;
        let mut page = first;
        while page != NO_FRAME {
            let next = Pfn(self.map.private(&self.memory, page) as u32);
            let (first, nr_pages) = &mut self.others.cache[kind as usize];
            self.map.list_push(&mut self.memory, first, page);
            *nr_pages += 1;
            page = next;
        }
        Ok(())
    }

    /// Starts a process that uses `nr_pages` pages, at least one, until it is killed.
    pub(crate) fn start_process(&mut self, nr_pages: u32) -> Result<(), AllocError> {
        let nr_pages = nr_pages.max(1);
        let first = self.take_singly(nr_pages, FrameState::Process)?;
        self.map.set_process_size(&mut self.memory, first, nr_pages);
        self.map.list_push(&mut self.memory, &mut self.others.first_process, first);
        self.others.nr_processes += 1;
        Ok(())
    }

    /// The OOM killer ends the process that uses most memory; false if there is none.
    pub(crate) fn kill_largest(&mut self) -> bool {
        let (mut largest, mut size) = (NO_FRAME, 0);
        let mut process = self.others.first_process;
        while process != NO_FRAME {
            let nr_pages = self.map.process_size(&self.memory, process);
            if nr_pages > size {
                (largest, size) = (process, nr_pages);
            }
            process = self.map.links(&self.memory, process).0;
        }
        if largest == NO_FRAME {
            return false;
        }
        self.map.list_remove(&mut self.memory, &mut self.others.first_process, largest);
        self.others.nr_processes -= 1;
        self.free_chain(largest);
        true
    }

    /// Drops the whole cache and ends all processes.
    pub(crate) fn evict_others(&mut self) {
        self.drop_cache(__GFP_IO | __GFP_FS, u32::MAX);
        while self.kill_largest() {}
        self.others.is_kswapd_woken = false;
    }

    /// `drop_caches`: drops the pages that can be dropped without writing.
    pub(crate) fn drop_clean(&mut self) {
        self.drop_cache(Gfp(0), u32::MAX);
    }

    /// Notes that free memory has fallen below the low watermark.
    pub(crate) fn wake_kswapd(&mut self) {
        self.others.is_kswapd_woken = true;
    }

    /// kswapd, if it was woken: drops cache until free memory is above the high watermark.
    pub(crate) fn run_kswapd(&mut self) {
        if core::mem::replace(&mut self.others.is_kswapd_woken, false) {
            let high = self.high_watermark();
            let missing = self.zones().iter().map(|zone| high.saturating_sub(zone.nr_free_pages));
            let missing = missing.sum();
            self.drop_cache(__GFP_IO | __GFP_FS, missing);
        }
    }

    /// Takes pages one by one and chains them through their private words; all or none.
    fn take_singly(&mut self, nr_pages: u32, state: FrameState) -> Result<Pfn, AllocError> {
        if nr_pages > self.nr_free_pages() + self.nr_pages(FrameState::PerCpu) {
            return Err(AllocError::NoMemory(Shortage::Pages { order: 0 }));
        }
        let mut first = NO_FRAME;
        for _ in 0..nr_pages {
            match self.alloc_block(GFP_NOWAIT | __GFP_NOWARN, 0, state) {
                Ok(page) => {
                    self.map.set_private(&mut self.memory, page, u64::from(first.0));
                    first = page;
                }
                Err(error) => {
                    self.free_chain(first);
                    return Err(error);
                }
            }
        }
        Ok(first)
    }

    fn free_chain(&mut self, first: Pfn) {
        let mut page = first;
        while page != NO_FRAME {
            let next = Pfn(self.map.private(&self.memory, page) as u32);
            self.free_block(page);
            page = next;
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::gfp::{GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOIO};
    use crate::page::test::boot;
    use crate::test_memory::TestMemory;

    /// A machine that is full of a kind of cache.
    fn full_of(kind: CacheKind) -> PageAllocator<TestMemory> {
        let mut pages = boot(256, 0, 0);
        pages.add_to_page_cache(pages.nr_free_pages(), kind).unwrap();
        assert_eq!(pages.nr_free_pages(), 0);
        pages
    }

    #[test]
    fn who_may_drop_what() {
        let rows = [
            (CacheKind::Clean, GFP_NOIO, true),
            (CacheKind::Dirty, GFP_NOIO, false),
            (CacheKind::Dirty, GFP_NOFS, true),
            (CacheKind::Filesystem, GFP_NOFS, false),
            (CacheKind::Filesystem, GFP_KERNEL, true),
            (CacheKind::Clean, GFP_ATOMIC, false),
        ];
        for (kind, gfp, is_served) in rows {
            let mut pages = full_of(kind);
            assert_eq!(pages.alloc_pages(gfp, 0).is_ok(), is_served, "{kind:?} {gfp:x?}");
            pages.check().unwrap();
        }
    }

    #[test]
    fn how_requests_end_that_find_nothing_to_reclaim() {
        let short = Shortage::Pages { order: 0 };
        let rows = [
            (GFP_KERNEL, AllocError::Deadlock { order: 0 }),
            (GFP_NOFS, AllocError::WouldBlock(short)),
            (GFP_KERNEL | __GFP_NORETRY, AllocError::NoMemory(short)),
            (GFP_KERNEL | __GFP_RETRY_MAYFAIL, AllocError::NoMemory(short)),
            (GFP_NOFS | __GFP_RETRY_MAYFAIL, AllocError::NoMemory(short)),
            (GFP_KERNEL | __GFP_NOFAIL, AllocError::WouldBlock(short)),
            (GFP_ATOMIC, AllocError::NoMemory(short)),
        ];
        for (gfp, error) in rows {
            let mut pages = boot(256, 0, 0);
            while pages.alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 0).is_ok() {}
            assert_eq!(pages.alloc_pages(gfp, 0), Err(error), "{gfp:x?}");
            let is_failure = matches!(error, AllocError::NoMemory(_));
            assert_eq!(pages.others.effort.nr_warnings, u64::from(is_failure), "{gfp:x?}");
        }
    }

    #[test]
    fn the_largest_process_is_killed_and_only_for_who_may_kill() {
        let mut pages = boot(256, 0, 0);
        pages.start_process(40).unwrap();
        pages.start_process(100).unwrap();
        while pages.alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 0).is_ok() {}
        let spared = GFP_KERNEL | __GFP_RETRY_MAYFAIL;
        assert!(pages.alloc_pages(spared, 0).is_err() && pages.alloc_pages(GFP_NOFS, 0).is_err());
        assert_eq!(pages.others.nr_processes(), 2);
        pages.alloc_pages(GFP_KERNEL, 0).unwrap();
        assert_eq!((pages.others.nr_processes(), pages.nr_free_pages()), (1, 99));
        assert_eq!(pages.others.effort.nr_oom_kills, 1);
        pages.evict_others();
        pages.check().unwrap();
        assert_eq!(pages.nr_free_pages(), 139);
    }

    #[test]
    fn kswapd_restores_the_high_watermark() {
        let mut pages = boot(256, 40, 0);
        pages.add_to_page_cache(100, CacheKind::Filesystem).unwrap();
        while pages.nr_free_pages() > 45 {
            pages.alloc_pages(GFP_KERNEL, 0).unwrap();
        }
        pages.run_kswapd();
        assert_eq!(pages.nr_free_pages(), 60);
    }
}
