//! What a request may cost others: which page cache it may drop, whether it may have a process
//! killed, and whether it may fail at all (R3.5 to R3.10).
//!
//! All of that follows from the request's flags, once the scopes of its task have masked theirs
//! off.
//!
//! How much is reclaimed is policy, and not said here.

use super::rules::{KMALLOC_MAX, watermark};
use crate::model::{Interface, Model, Want};
use crate::subject::Facts;
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_DMA, __GFP_DMA32, __GFP_FS, __GFP_IO, __GFP_KSWAPD_RECLAIM,
    __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_NORETRY, __GFP_NOWARN, __GFP_RETRY_MAYFAIL,
    __GFP_THISNODE, Gfp,
};
use crate::words::{Current, PAGE};

/// The largest order that the page allocator never fails (R3.5).
const LARGEST_CHEAP_ORDER: u32 = 3;

/// The flags that speak for a request in the page allocator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Powers {
    gfp: Gfp,
    /// Whether the task has a fatal signal pending.
    is_killed: bool,
    /// Whether it is for the pages of an area.
    maps: bool,
}

impl Model {
    /// The flags of a request by `caller` that was answered with memory at `addr`, or with none.
    /// A kvmalloc that the slab side served has got no further than its first try, nor has one
    /// whose first try never fails.
    pub(crate) fn powers(&self, want: &Want, caller: Current, addr: Option<u64>) -> Powers {
        let size = want.size.unwrap_or(0);
        let mut maps = matches!(want.interface, Interface::Vmalloc { .. });
        let gfp = match want.interface {
            Interface::Kvmalloc { route } => {
                let first_try = self.linux.policy().first_try(size, want.gfp, route);
                let is_last = first_try.has(__GFP_NOFAIL) && size <= KMALLOC_MAX;
                let is_slab = addr.map_or(is_last, |addr| !self.book.is_vmalloc(addr));
                maps = !is_slab && self.may_map(want);
                if is_slab { first_try } else { want.gfp }
            }
            _ => want.gfp,
        };
        let (gfp, is_killed) = (self.linux.masked(gfp, caller.task), caller.killed > 0);
        Powers { gfp, is_killed, maps }
    }

    /// What page-table pages are taken with, for a request that maps memory: `GFP_KERNEL`, masked
    /// by a scope of the kind that the flags describe (R4.2, R4.4).
    pub(crate) fn page_table_powers(&self, want: &Want, caller: Current) -> Powers {
        let (task, is_killed, maps) = (caller.task, caller.killed > 0, false);
        if !want.may_block() && self.linux.policy().vmalloc_spares_sleep() {
            return Powers { gfp: self.linux.masked(want.gfp, task), is_killed, maps };
        }
        let mut gfp = Gfp(__GFP_DIRECT_RECLAIM.0 | __GFP_IO.0 | __GFP_FS.0);
        match (want.gfp.has(__GFP_IO), want.gfp.has(__GFP_FS)) {
            (true, false) => gfp = gfp.without(__GFP_FS),
            (false, false) => gfp = gfp.without(__GFP_FS).without(__GFP_IO),
            (_, true) => {}
        }
        Powers { gfp: self.linux.masked(gfp, task), is_killed, maps }
    }
}

impl Powers {
    /// Whether the request wakes kswapd when it finds too little (R3.5).
    pub(crate) fn wakes_kswapd(self) -> bool {
        self.gfp.has(__GFP_KSWAPD_RECLAIM)
    }

    /// Whether the request may reclaim at all.
    pub(crate) fn may_reclaim(self) -> bool {
        self.gfp.has(__GFP_DIRECT_RECLAIM)
    }

    /// Which kinds of cached pages the request may drop: clean ones, those to be written back, and
    /// those that their file system drops.
    pub(crate) fn may_drop(self) -> [bool; 3] {
        let may = self.may_reclaim();
        [may, may && self.gfp.has(__GFP_IO), may && self.gfp.has(__GFP_FS)]
    }

    /// Whether the request may have a process killed (R3.8). Who is being killed is the victim
    /// (R3.12).
    pub(crate) fn may_kill(self) -> bool {
        self.is_persistent() && self.gfp.has(__GFP_FS) && !self.is_killed
    }

    /// Whether the page allocator goes on trying for a block of this order as long as it takes
    /// ('too small to fail').
    pub(crate) fn never_fails(self, order: u32) -> bool {
        order <= LARGEST_CHEAP_ORDER && self.is_persistent() && !self.is_killed
    }

    /// Whether the page allocator may give up on a block of this order, and say so.
    pub(crate) fn may_warn(self, order: u32) -> bool {
        !self.never_fails(order) && !self.gfp.has(__GFP_NOWARN)
    }

    /// Whether the page allocator gives up only when there is nothing left to reclaim.
    pub(crate) fn is_thorough(self, order: u32) -> bool {
        let gives_up = order > LARGEST_CHEAP_ORDER && !self.gfp.has(__GFP_RETRY_MAYFAIL);
        let is_brief = self.gfp.has(__GFP_NORETRY) || gives_up;
        // Nobody looks for more pages of an area for a task that will not use it.
        let is_over = is_brief || self.is_killed && self.maps;
        self.may_reclaim() && (!is_over || self.gfp.has(__GFP_NOFAIL))
    }

    /// Whether something is left that the request might have had, on the only node that would do if
    /// there is one.
    pub(crate) fn could_reclaim(self, facts: &Facts, order: u32, only_node: Option<u8>) -> bool {
        let nr_cache_pages = match only_node {
            Some(node) => facts.nodes[usize::from(node)].nr_cache_pages.map(u64::from),
            None => facts.nr_cache_pages,
        };
        let droppable = nr_cache_pages.into_iter().zip(self.may_drop());
        let cache = droppable.map(|(nr_pages, may)| if may { nr_pages } else { 0 }).sum::<u64>();
        let kills = self.may_kill() && order <= LARGEST_CHEAP_ORDER;
        cache > 0 || (kills && facts.nr_processes > 0)
    }

    fn is_persistent(self) -> bool {
        self.may_reclaim() && !quits(self.gfp)
    }
}

/// Whether a request is given up before anybody is killed for it.
fn quits(gfp: Gfp) -> bool {
    let quitters = [__GFP_NORETRY, __GFP_RETRY_MAYFAIL, __GFP_THISNODE, __GFP_DMA, __GFP_DMA32];
    quitters.iter().any(|flag| gfp.has(*flag))
}

/// The lowest watermark that any attempt of a request for a block may go down to: one that must not
/// fail gets half of the reserve in the end (R3.7), and so does a task that is being killed
/// (R3.12).
pub(crate) fn lowest_watermark(gfp: Gfp, order: u32, caller: Current, min_free: u64) -> u64 {
    let usual = watermark(gfp, min_free);
    let is_victim = caller.killed > 0
        && order <= LARGEST_CHEAP_ORDER
        && gfp.has(__GFP_DIRECT_RECLAIM)
        && !quits(gfp)
        && !gfp.has(__GFP_NOMEMALLOC);
    let has_half = gfp.has(__GFP_NOFAIL) || is_victim;
    if has_half { usual.min(min_free - min_free / 2) } else { usual }
}

/// Whether a request is for memory that slab or pages give, and larger than a page, so that its
/// first try is a light one (R5.1).
pub(crate) fn is_first_try(want: &Want) -> bool {
    matches!(want.interface, Interface::Kvmalloc { .. })
        && want.size.is_some_and(|size| size > PAGE)
}
