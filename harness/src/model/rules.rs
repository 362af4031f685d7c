//! The rules of Linux 6.1 where policy is fixed: sizes, alignments, watermarks, sides and costs.
//!
//! The one idea: these are worked out a second time, from the rules' text and not from the
//! allocator's code, so that a slip on either side shows as a difference. Nothing of alloc-core is
//! called.
//!
//! Rule numbers (R1.1 and so on) are those of `docs/linux-6.1.md`. Where policy is free (which
//! frame, which slot) nothing is said here.

use crate::call::{CallSpec, Makes, Request, Role};
use crate::subject::Facts;
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_HIGH, __GFP_MEMALLOC, __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_NOWARN,
    __GFP_ZERO, GFP_KERNEL, Gfp,
};
use crate::words::{
    CacheHandle, LARGEST_ORDER, PAGE, Route, SLAB_HWCACHE_ALIGN, SlabFlags, order_of, pages_of,
};

/// The largest request that a slab serves; above it kmalloc takes whole blocks (R1.1).
pub(crate) const KMALLOC_MAX_CACHE: u64 = 8192;
/// The largest request that kmalloc serves at all (R1.1).
pub(crate) const KMALLOC_MAX: u64 = 4 << 20;
/// kvmalloc refuses anything larger (R5.1).
pub(crate) const INT_MAX: u64 = i32::MAX as u64;
/// The flags of a cache that may be asked for: `SLAB_HWCACHE_ALIGN`, `SLAB_RECLAIM_ACCOUNT`,
/// `SLAB_PANIC`, `SLAB_NOLEAKTRACE` and `SLAB_ACCOUNT` (R2.1).
pub(crate) const CACHE_FLAGS: u32 = 0x2000 | 0x2_0000 | 0x4_0000 | 0x80_0000 | 0x400_0000;

/// Which interface a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    /// `alloc_pages` and its wrappers.
    Pages {
        /// log2 of the number of pages.
        order: u32,
    },
    /// `alloc_pages_exact`.
    PagesExact,
    /// `dma_alloc_coherent`.
    DmaCoherent,
    /// `kmalloc` and its array forms.
    Kmalloc,
    /// `kmem_cache_alloc`.
    Cache(CacheHandle),
    /// `vmalloc` and its forms; the range is in bytes from the start of the vmalloc space.
    Vmalloc {
        /// `start..end` and alignment, if the caller gave them.
        range: Option<(u64, u64, u64)>,
    },
    /// `memblock_alloc`, with this alignment.
    Boot(u64),
    /// A heap, with this alignment.
    Heap(u64),
    /// A frame allocator, with this alignment.
    Frames(u64),
    /// `kvmalloc` and its array forms.
    Kvmalloc {
        /// The side that the lane asked for.
        route: Route,
    },
}

/// What a caller asked for, whatever the call's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// The interface.
    pub interface: Interface,
    /// The size in bytes; `None` if the array's size does not fit. For a cache the object size is
    /// the caller's to look up.
    pub size: Option<u64>,
    /// The flags.
    pub gfp: Gfp,
    /// Whether the call itself asks for huge pages.
    pub asks_huge: bool,
    /// Whether the call takes no lock, and so makes no effort (R1.14).
    pub is_nolock: bool,
    /// The node that the call names.
    pub node: Option<u8>,
    /// How many pieces of memory are to be given.
    pub nr_pieces: u64,
    /// The memory that is to be replaced, if the call is a reallocation.
    pub from: Option<Old>,
}

/// What a reallocation is told of the memory that it replaces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Old {
    /// Its address.
    pub addr: u64,
    /// How many bytes of it are to be kept, if the call does not know by itself.
    pub size: Option<u64>,
}

impl Want {
    /// What a request asks for, or `None` if it asks for no memory. Of a reallocation's old memory
    /// it takes what the caller says; [`Model::want`](super::Model::want) knows who is not asked.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let CallSpec { makes, traits, .. } = *request.spec();
        let get = |role| request.get(role);
        let interface = match makes {
            Makes::Nothing | Makes::Fact | Makes::NewCache | Makes::Reference => return None,
            Makes::Pages => Interface::Pages { order: request.order() },
            Makes::PagesExact => Interface::PagesExact,
            Makes::DmaCoherent => Interface::DmaCoherent,
            Makes::Kmalloc => Interface::Kmalloc,
            Makes::Object => Interface::Cache(request.cache()?),
            Makes::Vmalloc => {
                let range = get(Role::RangeStart).zip(get(Role::RangeEnd));
                let align = get(Role::Align).unwrap_or(0);
                Interface::Vmalloc { range: range.map(|(start, end)| (start, end, align)) }
            }
            Makes::Kvmalloc => Interface::Kvmalloc { route: request.route },
            Makes::Boot => Interface::Boot(get(Role::Align).unwrap_or(0)),
            Makes::Heap => Interface::Heap(get(Role::Align).unwrap_or(1)),
            Makes::Frames => Interface::Frames(get(Role::Align).unwrap_or(PAGE)),
        };
        let size = match interface {
            Interface::Pages { order } => Some(block_bytes(order)),
            Interface::Cache(_) => Some(0),
            Interface::Frames(_) => get(Role::Count)?.checked_mul(PAGE),
            _ => request.size()?.checked_mul(get(Role::Count).unwrap_or(1)),
        };
        let is_linux = !matches!(makes, Makes::Boot | Makes::Heap | Makes::Frames);
        let plain = if is_linux { GFP_KERNEL } else { Gfp(0) };
        let zero = if traits.zeroes { __GFP_ZERO } else { Gfp(0) };
        let is_nolock = traits.nolock;
        let light = if is_nolock { __GFP_NOWARN | __GFP_NOMEMALLOC } else { Gfp(0) };
        let gfp = request.gfp().unwrap_or(plain) | zero | light;
        let from = request.replaced().map(|addr| Old { addr, size: get(Role::Held) });
        let (asks_huge, node, nr_pieces) = (traits.huge, request.node(), request.nr_results());
        Some(Self { interface, size, gfp, asks_huge, is_nolock, node, nr_pieces, from })
    }

    /// Whether the request may not fail.
    pub(crate) fn is_nofail(&self) -> bool {
        self.gfp.has(__GFP_NOFAIL)
    }

    /// Whether the caller may sleep.
    pub(crate) fn may_block(&self) -> bool {
        self.gfp.has(__GFP_DIRECT_RECLAIM)
    }

    /// Whether the memory must read as zero.
    pub(crate) fn wants_zero(&self) -> bool {
        self.gfp.has(__GFP_ZERO)
    }

    /// The alignment that the caller may rely on (R1.3, R3.1; for kvmalloc what both sides keep).
    pub(crate) fn alignment(&self, cache_align: u64) -> u64 {
        let size = self.size.unwrap_or(0);
        let natural = if size.is_power_of_two() { size.max(8) } else { 8 };
        match self.interface {
            Interface::Pages { order } => PAGE << order.min(LARGEST_ORDER),
            Interface::PagesExact | Interface::DmaCoherent => PAGE << order_of(size),
            Interface::Kmalloc => natural,
            Interface::Cache(_) => cache_align.max(8),
            // `SMP_CACHE_BYTES` for those who ask for none.
            Interface::Boot(0) => 64,
            Interface::Boot(align) | Interface::Heap(align) => align,
            Interface::Frames(align) => align.max(PAGE),
            Interface::Vmalloc { range } => range.map_or(PAGE, |(_, _, align)| align.max(PAGE)),
            Interface::Kvmalloc { .. } => natural.min(PAGE),
        }
    }
}

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

/// The bytes of a block; more than there are if an address space cannot hold it.
fn block_bytes(order: u32) -> u64 {
    if order > LARGEST_ORDER { u64::MAX } else { PAGE << order }
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
