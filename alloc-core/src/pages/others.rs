//! The memory of others: the page cache and processes, which can do without it.
//!
//! They stand for everything else that runs on the machine; nobody looks at their contents. How
//! their memory is got back is in `reclaim`.

use crate::frames::frame::NO_FRAME;
use crate::words::addr::Pfn;
use crate::words::error::{AllocError, Impossible};
use crate::words::gfp::{__GFP_FS, __GFP_IO, __GFP_NOWARN, Gfp};
use crate::words::task::NR_NODES;

/// What it takes to drop a page of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageCacheKind {
    /// Nothing: it is clean.
    Clean = 0,
    /// It must be written back: `__GFP_IO`.
    Dirty = 1,
    /// Its file system must be asked: `__GFP_FS`.
    Filesystem = 2,
}

/// The number of kinds of cached pages.
pub const NR_PAGE_CACHE_KINDS: usize = 3;

impl PageCacheKind {
    pub(crate) const ALL: [Self; NR_PAGE_CACHE_KINDS] =
        [Self::Clean, Self::Dirty, Self::Filesystem];

    /// Whether a request with these flags may drop such a page.
    pub(crate) const fn is_droppable_by(self, gfp: Gfp) -> bool {
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
    /// Failures that were written to the log (`warn_alloc`, `WARN_ON_ONCE`): here each time.
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
    /// Of each node, the first page of each kind of cache, and their number.
    pub(crate) cache: [[(Pfn, u32); NR_PAGE_CACHE_KINDS]; NR_NODES],
    /// The first process: the first frame of its memory, which knows its size.
    pub(crate) first_process: Pfn,
    pub(crate) nr_processes: u32,
    /// Of each node, whether its kswapd has been woken.
    pub(crate) is_kswapd_woken: [bool; NR_NODES],
    pub(crate) effort: Effort,
}

impl Others {
    /// A machine on which nothing else runs.
    pub(crate) const NONE: Self = Self {
        cache: [[(NO_FRAME, 0); NR_PAGE_CACHE_KINDS]; NR_NODES],
        first_process: NO_FRAME,
        nr_processes: 0,
        is_kswapd_woken: [false; NR_NODES],
        effort: Effort { nr_reclaim_rounds: 0, nr_oom_kills: 0, nr_warnings: 0 },
    };

    /// The number of cached pages of each kind on a node.
    pub(crate) fn nr_cache_pages_on(&self, node: usize) -> [u32; NR_PAGE_CACHE_KINDS] {
        self.cache[node].map(|(_, nr_pages)| nr_pages)
    }

    /// The number of cached pages of each kind.
    pub(crate) fn nr_cache_pages(&self) -> [u32; NR_PAGE_CACHE_KINDS] {
        let mut sums = [0; NR_PAGE_CACHE_KINDS];
        for node in 0..NR_NODES {
            let here = self.nr_cache_pages_on(node);
            sums.iter_mut().zip(here).for_each(|(sum, nr_pages)| *sum += nr_pages);
        }
        sums
    }

    /// The number of processes.
    pub(crate) const fn nr_processes(&self) -> u32 {
        self.nr_processes
    }

    /// The first page of a kind of cache on a node, for walks.
    pub(crate) const fn first_cache_page(&self, node: usize, kind: usize) -> Pfn {
        self.cache[node][kind].0
    }

    /// `warn_alloc`: counts a failure that goes to the log.
    pub(crate) fn warn(&mut self, gfp: Gfp) {
        self.effort.nr_warnings += u64::from(!gfp.has(__GFP_NOWARN));
    }

    /// The error of a request that is larger than anything that could serve it, which goes to the
    /// log (R3.2, R4.2, R5.1).
    pub(crate) fn refuse_too_large(&mut self, gfp: Gfp) -> AllocError {
        self.warn(gfp);
        AllocError::never(gfp, Impossible::TooLarge, AllocError::TooLarge)
    }
}
