//! The harness' words in alloc-core's, and back.
//!
//! Both follow Linux, bit for bit and name for name; that they do is tested here.

use crate::subject::{Effort, NodeStat};
use crate::words::{self, NR_NODES, Route};
use alloc_core::SlabFlags;
use alloc_core::gfp::Gfp;
use alloc_core::task::{Context, Current};

pub(super) fn flags(gfp: words::Gfp) -> Gfp {
    Gfp(gfp.0)
}

pub(super) fn cache_flags(flags: words::SlabFlags) -> SlabFlags {
    SlabFlags(flags.0)
}

pub(super) fn side(route: Route) -> alloc_core::Route {
    match route {
        Route::Policy => alloc_core::Route::Policy,
        Route::Slab => alloc_core::Route::Slab,
        Route::Vmalloc => alloc_core::Route::Vmalloc,
    }
}

pub(super) fn current(caller: words::Current) -> Current {
    let context = match caller.context {
        words::Context::Task => Context::Task,
        words::Context::Atomic => Context::Atomic,
        words::Context::Softirq => Context::Softirq,
        words::Context::Hardirq => Context::Hardirq,
        words::Context::Nmi => Context::Nmi,
    };
    let is_killed = caller.killed > 0;
    Current { cpu: caller.cpu, task: caller.task, context, is_killed }
}

pub(super) fn effort(effort: alloc_core::Effort) -> Effort {
    let alloc_core::Effort { nr_reclaim_rounds, nr_oom_kills, nr_warnings } = effort;
    Effort { nr_reclaim_rounds, nr_oom_kills, nr_warnings }
}

pub(super) fn nodes(nodes: [alloc_core::NodeStat; NR_NODES]) -> [NodeStat; NR_NODES] {
    nodes.map(|alloc_core::NodeStat { nr_free_pages, free_orders, nr_cache_pages }| NodeStat {
        nr_free_pages,
        free_orders,
        nr_cache_pages,
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::trace::POLICIES;
    use alloc_core::{addr, gfp, task};

    #[test]
    fn flags_have_the_same_names_and_bits() {
        let own = words::gfp::GFP_NAMES.iter().map(|(name, gfp)| (*name, gfp.0));
        let core = gfp::GFP_NAMES.iter().map(|(name, gfp)| (*name, gfp.0));
        assert!(own.eq(core));
        let cache_flags = alloc_core::SLAB_HWCACHE_ALIGN.0
            | alloc_core::SLAB_RECLAIM_ACCOUNT.0
            | alloc_core::SLAB_PANIC.0
            | alloc_core::SLAB_NOLEAKTRACE.0
            | alloc_core::SLAB_ACCOUNT.0;
        let own = words::SLAB_FLAG_NAMES.iter().fold(0, |all, (_, flag)| all | flag);
        assert_eq!(own, u64::from(cache_flags));
        assert_eq!(words::SLAB_HWCACHE_ALIGN.0, alloc_core::SLAB_HWCACHE_ALIGN.0);
    }

    #[test]
    fn sizes_places_and_numbers_are_the_same() {
        assert_eq!(words::PAGE, addr::PAGE_SIZE);
        assert_eq!(words::HUGE_PAGE, addr::PMD_SIZE);
        assert_eq!(words::NR_ORDERS as usize, addr::NR_ORDERS);
        assert_eq!(words::PAGE_ALLOC_COSTLY_ORDER, addr::PAGE_ALLOC_COSTLY_ORDER);
        assert_eq!(words::PAGE_OFFSET, addr::PAGE_OFFSET);
        assert_eq!(words::VMALLOC_START, addr::VMALLOC_START);
        let own = (words::NR_CPUS, NR_NODES, words::NR_TASKS);
        assert_eq!(own, (task::NR_CPUS, task::NR_NODES, task::NR_TASKS));
    }

    #[test]
    fn versions_have_the_same_names_in_the_same_order() {
        let core: Vec<&str> = alloc_core::KvmallocVersion::ALL.iter().map(|it| it.name()).collect();
        assert_eq!(core, POLICIES);
    }
}
