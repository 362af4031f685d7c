//! What memory is that was granted: what its caller may rely on, and of which kind it is.

use super::rules::{self, Interface, KMALLOC_MAX_CACHE, Want};
use super::{Kind, Model};
use crate::words::gfp::__GFP_COMP;
use crate::words::{order_of, pages_of};

/// Memory that was granted to a request, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// First byte; up to 16 for no memory.
    pub addr: u64,
    /// Bytes that the allocator says may be used.
    pub usable: u64,
    /// Bytes that the caller may rely on.
    pub size: u64,
    /// The alignment that the caller may rely on.
    pub align: u64,
    /// What it is.
    pub kind: Kind,
    /// Whether it is the memory that the request was to replace, where it was.
    pub stays: bool,
}

impl Granted {
    /// Whether there is any memory.
    pub(crate) fn is_memory(&self) -> bool {
        self.addr > 16
    }
}

impl Model {
    /// The size and the alignment that a request's caller may rely on.
    pub(crate) fn promise(&self, want: &Want) -> (u64, u64) {
        match want.interface {
            Interface::Cache(handle) => {
                let cache = self.caches.get(&handle).copied();
                let (size, align) = cache.map_or((0, 0), |cache| (cache.size, cache.align));
                (size, want.alignment(align))
            }
            _ => (want.size.unwrap_or(0), want.alignment(0)),
        }
    }

    /// Bytes from one object to the next of the cache that a request asks; 0 if it asks none.
    pub(crate) fn stride(&self, want: &Want) -> u64 {
        let Interface::Cache(handle) = want.interface else { return 0 };
        let (size, align) = self.promise(want);
        self.caches.get(&handle).map_or(0, |cache| rules::cache_stride(size, align, cache.ctor))
    }

    /// Whether a request may come to vmalloc.
    pub(crate) fn may_map(&self, want: &Want) -> bool {
        let size = want.size.unwrap_or(0);
        match want.interface {
            Interface::Vmalloc { .. } => true,
            Interface::Kvmalloc { route } => self.policy.sides(size, want.gfp, route).vmalloc,
            _ => false,
        }
    }

    /// What is known of memory that was granted to a request.
    pub(crate) fn granted(&self, want: &Want, addr: u64, usable: u64) -> Granted {
        let (size, align) = self.promise(want);
        let (kind, stays) = (self.kind_of(want, addr), self.is_same(want, addr));
        Granted { addr, usable, size, align, kind, stays }
    }

    /// What memory granted at `addr` is.
    fn kind_of(&self, want: &Want, addr: u64) -> Kind {
        if self.is_same(want, addr)
            && let Some(old) = self.at(addr)
        {
            return old.kind;
        }
        match want.interface {
            Interface::Pages { order } => {
                Kind::Pages { order, is_compound: want.gfp.has(__GFP_COMP) }
            }
            Interface::PagesExact => {
                Kind::PagesExact { nr_pages: pages_of(want.size.unwrap_or(0)) }
            }
            Interface::DmaCoherent => Kind::DmaCoherent { order: order_of(want.size.unwrap_or(0)) },
            Interface::Cache(handle) => Kind::CacheObject(handle),
            Interface::Vmalloc { .. } => Kind::Vmalloc,
            Interface::Boot(_) => Kind::Boot,
            Interface::Heap(align) => Kind::Heap { align },
            Interface::Frames(_) => Kind::Frames,
            Interface::Kvmalloc { .. } if self.is_vmalloc(addr) => Kind::Vmalloc,
            _ if want.size.unwrap_or(0) > KMALLOC_MAX_CACHE => Kind::LargeKmalloc,
            _ => Kind::Kmalloc,
        }
    }
}
