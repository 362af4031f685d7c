//! What a caller asks for, whatever the call's name: read off the call's row and its arguments.
//!
//! Of a reallocation it takes what the caller says of the old size; where a version does not listen
//! to that, [`Model::want`](super::Model::want) corrects it.

use crate::call::{CallSpec, Makes, Request, Role};
use crate::words::gfp::{
    __GFP_DIRECT_RECLAIM, __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_NOWARN, __GFP_ZERO, GFP_KERNEL, Gfp,
};
use crate::words::{CacheHandle, LARGEST_ORDER, PAGE, Route, order_of};

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
    /// What a request asks for, or `None` if it asks for no memory.
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

/// The bytes of a block; more than there are if an address space cannot hold it.
fn block_bytes(order: u32) -> u64 {
    if order > LARGEST_ORDER { u64::MAX } else { PAGE << order }
}
