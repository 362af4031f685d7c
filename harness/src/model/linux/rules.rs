//! The rules of Linux 6.1 where policy is fixed: sizes, alignments, watermarks, sides and costs.
//!
//! The one idea: these are worked out a second time, from the rules' text and not from the
//! allocator's code, so that a slip on either side shows as a difference. Nothing of alloc-core is
//! called.
//!
//! Rule numbers (R1.1 and so on) are those of `docs/linux-6.1.md`. Where policy is free (which
//! frame, which slot) nothing is said here.

use crate::subject::Facts;
use crate::words::gfp::{__GFP_DIRECT_RECLAIM, __GFP_HIGH, __GFP_MEMALLOC, __GFP_NOMEMALLOC, Gfp};
use crate::words::{PAGE, SLAB_HWCACHE_ALIGN, SlabFlags, order_of, pages_of};

/// The largest request that a slab serves; above it kmalloc takes whole blocks (R1.1).
pub(crate) const KMALLOC_MAX_CACHE: u64 = 8192;
/// The largest request that kmalloc serves at all (R1.1).
pub(crate) const KMALLOC_MAX: u64 = 4 << 20;
/// kvmalloc refuses anything larger (R5.1).
pub(crate) const INT_MAX: u64 = i32::MAX as u64;
/// The flags of a cache that may be asked for: `SLAB_HWCACHE_ALIGN`, `SLAB_RECLAIM_ACCOUNT`,
/// `SLAB_PANIC`, `SLAB_NOLEAKTRACE` and `SLAB_ACCOUNT` (R2.1).
pub(crate) const CACHE_FLAGS: u32 = 0x2000 | 0x2_0000 | 0x4_0000 | 0x80_0000 | 0x400_0000;

/// The size class of a request that a slab serves (R1.1).
pub(crate) fn size_class(size: u64) -> Option<u64> {
    match size {
        1..=8 => Some(8),
        65..=96 => Some(96),
        129..=192 => Some(192),
        9..=KMALLOC_MAX_CACHE => Some(size.next_power_of_two()),
        _ => None,
    }
}

/// The alignment of a cache's objects: what was asked for, but at least a word, and under
/// `SLAB_HWCACHE_ALIGN` the smallest power of two that holds the object, up to a cache line (R2.2).
pub(crate) fn cache_alignment(size: u64, align: u64, flags: SlabFlags) -> u64 {
    let line = match size {
        _ if !flags.has(SLAB_HWCACHE_ALIGN) => 8,
        0..=8 => 8,
        9..=16 => 16,
        17..=32 => 32,
        _ => 64,
    };
    line.max(align)
}

/// Bytes from one object of a cache to the next: a constructed object has a word of the allocator's
/// behind it (R2.3).
pub(crate) fn cache_stride(size: u64, align: u64, ctor: Option<u64>) -> u64 {
    let nr_words = size.div_ceil(8) + u64::from(ctor.is_some());
    (nr_words * 8).div_ceil(align) * align
}

/// The order that a slab of a size class cannot do without (R1.9).
pub(crate) fn min_slab_order(class: u64) -> u32 {
    order_of(class)
}

/// The frames that must stay free for a request with these flags (R3.6).
pub(crate) fn watermark(gfp: Gfp, min_free: u64) -> u64 {
    let may_use_reserves = !gfp.has(__GFP_NOMEMALLOC);
    let urgent = if gfp.has(__GFP_HIGH) { min_free - min_free / 2 } else { min_free };
    if gfp.has(__GFP_MEMALLOC) && may_use_reserves {
        0
    } else if gfp.has(__GFP_HIGH) && !gfp.has(__GFP_DIRECT_RECLAIM) && may_use_reserves {
        urgent - urgent / 4
    } else {
        urgent
    }
}

/// Whether a block of `order` is free on some node above its `watermark` (R3.6), or on the only
/// node that will do.
pub(crate) fn has_block(
    facts: &Facts,
    order: u32,
    gfp: Gfp,
    watermark: u64,
    only_node: Option<u8>,
) -> bool {
    let is_above = |nr_free_pages: u64| {
        let above = nr_free_pages.checked_sub((1 << order) - 1);
        // Without a watermark the last page may go as well.
        above.is_some_and(|free| {
            free > watermark || (gfp.has(__GFP_MEMALLOC) && watermark == 0 && free > 0)
        })
    };
    if facts.nr_nodes == 0 {
        let mut blocks = facts.nr_free_blocks[order as usize..].iter();
        return is_above(facts.nr_free_pages) && blocks.any(|nr| *nr > 0);
    }
    let nodes = (0..).zip(&facts.nodes[..usize::from(facts.nr_nodes)]);
    let mut nodes = nodes.filter(|(node, _)| only_node.is_none_or(|only| only == *node));
    nodes.any(|(_, node)| is_above(node.nr_free_pages.into()) && node.free_orders >> order != 0)
}

/// Frames and areas behind a vmalloc of `nr_pages`: its own and those of its page array, which is
/// itself vmalloced when it is larger than a page (R4.2).
pub(crate) fn vmalloc_cost(nr_pages: u64) -> VmallocCost {
    let array = nr_pages * 8;
    let own = VmallocCost { nr_pages, nr_areas: 1, nr_area_pages: nr_pages + 1 };
    if array <= PAGE {
        return own;
    }
    let nested = vmalloc_cost(pages_of(array));
    VmallocCost {
        nr_pages: own.nr_pages + nested.nr_pages,
        nr_areas: own.nr_areas + nested.nr_areas,
        nr_area_pages: own.nr_area_pages + nested.nr_area_pages,
    }
}

/// The most pages of vmalloc space that may wait for a purge: 32 MiB with one CPU, and as much
/// again each time that the number of CPUs doubles (R4.10). A space of less than 256 MiB counts an
/// eighth of itself in place of the 32 MiB, or nothing would ever be purged in it for that reason.
pub(crate) fn lazy_max(nr_vmalloc_pages: u64, nr_cpus: u32) -> u64 {
    let share = if nr_vmalloc_pages < 8 * 8192 { nr_vmalloc_pages / 8 } else { 8192 };
    let nr_doublings = u64::from(nr_cpus.max(1).ilog2());
    share * (nr_doublings + 1)
}

/// What one vmalloc takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VmallocCost {
    /// Frames.
    pub nr_pages: u64,
    /// Areas.
    pub nr_areas: u64,
    /// Pages of vmalloc space, guard pages included.
    pub nr_area_pages: u64,
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::words::gfp::GFP_KERNEL;
    use crate::words::gfp::{GFP_ATOMIC, GFP_NOWAIT};

    #[test]
    fn size_classes_are_those_of_the_live_kernel() {
        for (size, class) in [
            (1, 8),
            (8, 8),
            (9, 16),
            (64, 64),
            (65, 96),
            (96, 96),
            (97, 128),
            (129, 192),
            (193, 256),
            (257, 512),
            (4097, 8192),
            (8192, 8192),
        ] {
            assert_eq!(size_class(size), Some(class), "{size}");
        }
        assert_eq!((size_class(0), size_class(8193)), (None, None));
    }

    #[test]
    fn caches_are_laid_out_as_r2_2_and_r2_3_say() {
        for (size, align, flags, expected) in [
            (20, 0, SlabFlags(0), (8, 24, 32)),
            (20, 0, SLAB_HWCACHE_ALIGN, (32, 32, 32)),
            (100, 8, SLAB_HWCACHE_ALIGN, (64, 128, 128)),
            (1024, 1024, SlabFlags(0), (1024, 1024, 2048)),
        ] {
            let align = cache_alignment(size, align, flags);
            let strides = (cache_stride(size, align, None), cache_stride(size, align, Some(1)));
            assert_eq!((align, strides.0, strides.1), expected, "{size} bytes");
        }
    }

    #[test]
    fn watermarks_are_those_of_r3_6() {
        for (gfp, expected) in [
            (GFP_KERNEL, 1000),
            (GFP_NOWAIT, 1000),
            (GFP_KERNEL | __GFP_HIGH, 500),
            (GFP_ATOMIC, 375),
            (GFP_ATOMIC | __GFP_NOMEMALLOC, 500),
            (GFP_NOWAIT | __GFP_MEMALLOC, 0),
        ] {
            assert_eq!(watermark(gfp, 1000), expected, "{gfp:?}");
        }
    }

    #[test]
    fn the_threshold_of_a_purge_is_that_of_a_live_kernel() {
        let large = [1, 2, 3, 4].map(|nr_cpus| lazy_max(1 << 33, nr_cpus));
        assert_eq!(large, [8192, 16384, 16384, 24576]);
        assert_eq!((lazy_max(4096, 1), lazy_max(4096, 8)), (512, 2048));
    }

    #[test]
    fn a_large_vmalloc_pays_for_its_page_array() {
        assert_eq!(vmalloc_cost(512).nr_areas, 1);
        let cost = vmalloc_cost(513);
        assert_eq!((cost.nr_pages, cost.nr_areas, cost.nr_area_pages), (515, 2, 517));
    }
}
