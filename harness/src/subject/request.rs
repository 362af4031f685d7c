//! A request: what a caller asks of an allocator, with every register resolved to an address.
//!
//! The one idea: a request is a C call and its arguments, and nothing else; all that calls have in
//! common is found in `model::rules`.
//!
//! Who calls, and which failures are injected, stands beside it in a `Setting`.

use super::CacheHandle;
use crate::op::Route;
use crate::words::{Gfp, PageCache, Scope, SlabFlags};

/// A request with every register resolved to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields carry the names and units of the C parameters")]
pub enum Request {
    AllocPages {
        gfp: Gfp,
        order: u32,
    },
    AllocPagesNode {
        node: Option<u8>,
        gfp: Gfp,
        order: u32,
    },
    KmallocNode {
        size: u64,
        gfp: Gfp,
        node: Option<u8>,
    },
    KmemCacheAllocNode {
        cache: CacheHandle,
        gfp: Gfp,
        node: Option<u8>,
    },
    VmallocNode {
        size: u64,
        node: Option<u8>,
    },
    KvmallocNode {
        size: u64,
        gfp: Gfp,
        node: Option<u8>,
        route: Route,
    },
    KvzallocNode {
        size: u64,
        gfp: Gfp,
        node: Option<u8>,
        route: Route,
    },
    GetFreePages {
        gfp: Gfp,
        order: u32,
    },
    GetFreePage {
        gfp: Gfp,
    },
    GetZeroedPage {
        gfp: Gfp,
    },
    FreePagesPage {
        page: u64,
        order: u32,
    },
    FreePages {
        addr: u64,
        order: u32,
    },
    PutPage {
        page: u64,
    },
    FreePage {
        addr: u64,
    },
    AllocPagesExact {
        size: u64,
        gfp: Gfp,
    },
    FreePagesExact {
        addr: u64,
        size: u64,
    },
    DmaAllocCoherent {
        size: u64,
        gfp: Gfp,
    },
    DmaFreeCoherent {
        addr: u64,
        size: u64,
    },
    Kmalloc {
        size: u64,
        gfp: Gfp,
    },
    Kzalloc {
        size: u64,
        gfp: Gfp,
    },
    KmallocArray {
        n: u64,
        size: u64,
        gfp: Gfp,
    },
    Kcalloc {
        n: u64,
        size: u64,
        gfp: Gfp,
    },
    Kfree {
        addr: u64,
    },
    KfreeSensitive {
        addr: u64,
    },
    Krealloc {
        addr: u64,
        size: u64,
        gfp: Gfp,
    },
    Ksize {
        addr: u64,
    },
    KmemCacheCreate {
        size: u64,
        align: u64,
        flags: SlabFlags,
        ctor: Option<u64>,
    },
    KmemCacheAlloc {
        cache: CacheHandle,
        gfp: Gfp,
    },
    KmemCacheZalloc {
        cache: CacheHandle,
        gfp: Gfp,
    },
    KmemCacheFree {
        cache: CacheHandle,
        addr: u64,
    },
    KmemCacheDestroy {
        cache: CacheHandle,
    },
    Vmalloc {
        size: u64,
    },
    Vzalloc {
        size: u64,
    },
    VmallocGfp {
        size: u64,
        gfp: Gfp,
    },
    VmallocHuge {
        size: u64,
        gfp: Gfp,
    },
    VmallocNodeRange {
        size: u64,
        align: u64,
        start: u64,
        end: u64,
        gfp: Gfp,
    },
    Vfree {
        addr: u64,
    },
    VfreeAtomic {
        addr: u64,
    },
    Vunmap {
        addr: u64,
    },
    VmUnmapAliases,
    Kvmalloc {
        size: u64,
        gfp: Gfp,
        route: Route,
    },
    Kvzalloc {
        size: u64,
        gfp: Gfp,
        route: Route,
    },
    KvmallocArray {
        n: u64,
        size: u64,
        gfp: Gfp,
        route: Route,
    },
    Kvcalloc {
        n: u64,
        size: u64,
        gfp: Gfp,
        route: Route,
    },
    MemblockAlloc {
        size: u64,
        align: u64,
    },
    MemblockReserve {
        addr: u64,
        size: u64,
    },
    MemblockFree {
        addr: u64,
        size: u64,
    },
    Kvfree {
        addr: u64,
    },
    IsVmallocAddr {
        addr: u64,
    },
    VirtAddrValid {
        addr: u64,
    },
    VirtToPage {
        addr: u64,
    },
    PageAddress {
        page: u64,
    },
    VirtToPhys {
        addr: u64,
    },
    VmallocToPage {
        addr: u64,
    },
    KvfreeSensitive {
        addr: u64,
        len: u64,
    },
    MemallocSave {
        scope: Scope,
    },
    MemallocRestore {
        scope: Scope,
    },
    Tick,
    AddToPageCache {
        nr_pages: u64,
        kind: PageCache,
    },
    StartProcess {
        nr_pages: u64,
    },
    DropCaches,
    /// `old_size` is what the caller says, if the version asks it.
    Kvrealloc {
        addr: u64,
        old_size: Option<u64>,
        size: u64,
        gfp: Gfp,
        route: Route,
    },
}

impl Request {
    /// The node that the request names, and the same request without it.
    pub fn without_node(&self) -> Option<(Option<u8>, Self)> {
        Some(match *self {
            Request::AllocPagesNode { node, gfp, order } => {
                (node, Request::AllocPages { gfp, order })
            }
            Request::KmallocNode { size, gfp, node } => (node, Request::Kmalloc { size, gfp }),
            Request::KmemCacheAllocNode { cache, gfp, node } => {
                (node, Request::KmemCacheAlloc { cache, gfp })
            }
            Request::VmallocNode { size, node } => (node, Request::Vmalloc { size }),
            Request::KvmallocNode { size, gfp, node, route } => {
                (node, Request::Kvmalloc { size, gfp, route })
            }
            Request::KvzallocNode { size, gfp, node, route } => {
                (node, Request::Kvzalloc { size, gfp, route })
            }
            _ => return None,
        })
    }

    /// Whether the request is to the boot allocator.
    pub fn is_boot(&self) -> bool {
        matches!(
            self,
            Request::MemblockAlloc { .. }
                | Request::MemblockReserve { .. }
                | Request::MemblockFree { .. }
        )
    }
}
