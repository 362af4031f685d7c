//! Getting memory back from those who can do without it: the page cache, and processes (R3.5 to
//! R3.9).
//!
//! A request that finds no page may take one from others, as far as its flags allow: it drops page
//! cache, some of which only `__GFP_IO` or `__GFP_FS` can drop, and when there is none left it has
//! the largest process killed. What then still fails either may fail, or waits, or is a machine on
//! which Linux panics.
//!
//! There is no compaction: only what is freed side by side merges.

use crate::frames::frame::NO_FRAME;
use crate::memory::Memory;
use crate::pages::allocator::{Found, PageAllocator};
use crate::pages::others::PageCacheKind;
use crate::words::addr::{PAGE_ALLOC_COSTLY_ORDER, Pfn};
use crate::words::error::{AllocError, Shortage};
use crate::words::gfp::{
    __GFP_DMA, __GFP_DMA32, __GFP_FS, __GFP_IO, __GFP_KSWAPD_RECLAIM, __GFP_NOFAIL, __GFP_NORETRY,
    __GFP_RETRY_MAYFAIL, __GFP_THISNODE, Gfp,
};
use crate::words::task::NR_NODES;

/// Pages that one round of reclaim drops at most (`SWAP_CLUSTER_MAX`).
const NR_ROUND_PAGES: u32 = 32;

impl<M: Memory> PageAllocator<M> {
    /// `__alloc_pages_slowpath`: finds a free block for a request that found none at
    /// first, or says how it ends (R3.5).
    #[cold]
    pub(crate) fn find_slowly(&mut self, gfp: Gfp, order: u32) -> Result<Found, AllocError> {
        self.wake_kswapds(gfp);
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
            // A task that is being killed is the victim itself, and others are spared.
            if self.current.is_killed {
                let found = self.find_for_victim(gfp, order);
                return found.map_or_else(|| self.give_up(gfp, order), Ok);
            }
            // For a request that may not enter a file system the OOM killer kills nothing either,
            // but Linux lets it try again for ever (R3.8).
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
            self.others.warn(gfp);
        }
        Err(Shortage::Pages { order }.under(gfp))
    }

    /// `wake_all_kswapds`: has the nodes that the request may take from balanced at the next tick,
    /// even if it fails.
    fn wake_kswapds(&mut self, gfp: Gfp) {
        for node in self.zonelist(gfp) {
            let is_woken = gfp.has(__GFP_KSWAPD_RECLAIM) && !self.is_balanced(node);
            self.others.is_kswapd_woken[node] |= is_woken;
        }
    }

    /// One round of direct reclaim, on the nodes that the request may take from; returns how many
    /// pages it dropped.
    fn reclaim_round(&mut self, gfp: Gfp) -> u32 {
        self.others.effort.nr_reclaim_rounds += 1;
        let mut nr_dropped = 0;
        for node in self.zonelist(gfp) {
            nr_dropped += self.drop_cache(node, gfp, NR_ROUND_PAGES - nr_dropped);
        }
        nr_dropped
    }

    /// Drops up to `most` cached pages of a node that the flags allow to be dropped, the cheapest
    /// first.
    fn drop_cache(&mut self, node: usize, gfp: Gfp, most: u32) -> u32 {
        let mut nr_dropped = 0;
        for kind in PageCacheKind::ALL {
            while nr_dropped < most && kind.is_droppable_by(gfp) {
                let (first, nr_pages) = &mut self.others.cache[node][kind as usize];
                let page = *first;
                if page == NO_FRAME {
                    break;
                }
                self.map.list_remove(&mut self.memory, first, page);
                *nr_pages -= 1;
                self.free_block(page);
                nr_dropped += 1;
            }
        }
        nr_dropped
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
        self.drop_everywhere(__GFP_IO | __GFP_FS);
        while self.kill_largest() {}
        self.others.is_kswapd_woken = [false; NR_NODES];
    }

    /// `drop_caches`: drops the pages that can be dropped without writing.
    pub(crate) fn drop_clean(&mut self) {
        self.drop_everywhere(Gfp(0));
    }

    fn drop_everywhere(&mut self, gfp: Gfp) {
        for node in 0..self.zones().len() {
            self.drop_cache(node, gfp, u32::MAX);
        }
    }

    /// The kswapd of each node, if it was woken: drops the node's cache until it has enough free
    /// memory. What a CPU keeps of it is not free.
    pub(crate) fn run_kswapd(&mut self) {
        let woken = core::mem::replace(&mut self.others.is_kswapd_woken, [false; NR_NODES]);
        for node in (0..self.zones().len()).filter(|node| woken[*node]) {
            while !self.is_balanced(node) && self.drop_cache(node, __GFP_IO | __GFP_FS, 1) > 0 {}
        }
    }

    /// Gives back pages that are chained through their private words.
    pub(crate) fn free_chain(&mut self, first: Pfn) {
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
    use crate::pages::allocator::BootParams;
    use crate::pages::allocator::test::{boot, boot_with};
    use crate::test_memory::TestMemory;
    use crate::words::gfp::{__GFP_NOWARN, GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_NOWAIT};
    use crate::words::task::Current;

    /// A machine that is full of a kind of cache.
    fn full_of(kind: PageCacheKind) -> PageAllocator<TestMemory> {
        let mut pages = boot(256, 0, 0);
        pages.add_to_page_cache(pages.nr_free_pages(), kind).unwrap();
        assert_eq!(pages.nr_free_pages(), 0);
        pages
    }

    #[test]
    fn who_may_drop_what() {
        let rows = [
            (PageCacheKind::Clean, GFP_NOIO, true),
            (PageCacheKind::Dirty, GFP_NOIO, false),
            (PageCacheKind::Dirty, GFP_NOFS, true),
            (PageCacheKind::Filesystem, GFP_NOFS, false),
            (PageCacheKind::Filesystem, GFP_KERNEL, true),
            (PageCacheKind::Clean, GFP_ATOMIC, false),
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
    fn a_task_that_is_being_killed_is_the_victim() {
        let short = Shortage::Pages { order: 0 };
        let mut pages = boot(256, 40, 0);
        pages.start_process(30).unwrap();
        while pages.alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0).is_ok() {}
        assert_eq!(pages.nr_free_pages(), 40);
        pages.set_current(Current { is_killed: true, ..Current::default() });
        let brief = GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
        assert_eq!(pages.alloc_pages(brief, 0), Err(AllocError::NoMemory(short)));
        for gfp in [GFP_KERNEL, GFP_NOFS] {
            while pages.alloc_pages(gfp, 0).is_ok() {}
            assert_eq!(pages.alloc_pages(gfp, 0), Err(AllocError::NoMemory(short)));
            assert_eq!((pages.nr_free_pages(), pages.others.nr_processes()), (20, 1));
        }
        let nofail = GFP_KERNEL | __GFP_NOFAIL;
        assert_eq!(pages.alloc_pages(nofail, 0), Err(AllocError::WouldBlock(short)));
        pages.set_current(Current::default());
        pages.alloc_pages(GFP_KERNEL, 0).unwrap();
        assert_eq!(pages.others.nr_processes(), 0);
        pages.check().unwrap();
    }

    #[test]
    fn kswapd_restores_the_high_watermark() {
        let mut pages = boot(256, 40, 0);
        pages.add_to_page_cache(100, PageCacheKind::Filesystem).unwrap();
        while pages.nr_free_pages() > 45 {
            pages.alloc_pages(GFP_KERNEL, 0).unwrap();
        }
        pages.run_kswapd();
        assert_eq!(pages.nr_free_pages(), 60);
    }
    #[test]
    fn a_request_that_fails_has_woken_kswapd() {
        let mut pages = boot(256, 40, 0);
        pages.add_to_page_cache(100, PageCacheKind::Clean).unwrap();
        // Who may wake nobody takes the free pages.
        while pages.alloc_pages(__GFP_NOWARN, 0).is_ok() {}
        pages.run_kswapd();
        assert_eq!(pages.nr_free_pages(), 40);
        assert!(pages.alloc_pages(GFP_NOWAIT | __GFP_NOWARN, 0).is_err());
        pages.run_kswapd();
        assert_eq!(pages.nr_free_pages(), 60);
        pages.check().unwrap();
    }

    #[test]
    fn kswapd_drops_the_pages_of_the_node_that_is_short() {
        let mut pages = boot_with(
            256,
            &BootParams { min_free_pages: 40, nr_nodes: 2, ..BootParams::default() },
        );
        pages.node = Some(1);
        pages.add_to_page_cache(60, PageCacheKind::Clean).unwrap();
        pages.node = Some(0);
        pages.add_to_page_cache(30, PageCacheKind::Dirty).unwrap();
        let on_node = |pages: &PageAllocator<TestMemory>, node: usize| {
            (pages.zones()[node].nr_free_pages, pages.others.nr_cache_pages_on(node))
        };
        let other = on_node(&pages, 1);
        while pages.alloc_pages(GFP_KERNEL | __GFP_THISNODE | __GFP_NORETRY, 0).is_ok() {
            if pages.zones()[0].nr_free_pages <= 22 {
                break;
            }
        }
        pages.run_kswapd();
        assert_eq!(on_node(&pages, 0), (30, [0, 22, 0]));
        assert_eq!(on_node(&pages, 1), other);
        // Nor does a request that will have no other node.
        while pages.alloc_pages(GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN, 0).is_ok() {}
        assert_eq!((on_node(&pages, 0), on_node(&pages, 1)), ((20, [0; 3]), other));
        pages.check().unwrap();
    }
}
