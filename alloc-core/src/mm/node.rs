//! The calls that name a node.
//!
//! A node is a wish, unless `__GFP_THISNODE` makes it a condition. Memory comes from the node
//! named, and from others when that one has none; a call that names no node wishes for the one that
//! its CPU belongs to.
//!
//! This is a part of the public face; which node gives is decided in `pages` and `slab`.

use super::Mm;
use crate::kvmalloc::Route;
use crate::memory::Memory;
use crate::slab::cache::CacheId;
use crate::words::addr::{Pfn, Vaddr};
use crate::words::error::AllocError;
use crate::words::gfp::{__GFP_ZERO, Gfp};

/// Memory of a node; `None` is `NUMA_NO_NODE`. All fail with [`AllocError::BadArgument`] on a node
/// that the machine does not have, where Linux reads beyond its table of nodes.
impl<M: Memory> Mm<M> {
    /// [`Self::alloc_pages`] of a node.
    pub fn alloc_pages_node(
        &mut self,
        node: Option<u8>,
        gfp: Gfp,
        order: u32,
    ) -> Result<Pfn, AllocError> {
        self.on(node, |mm| mm.alloc_pages(gfp, order))
    }

    /// [`Self::kmalloc`] of a node.
    pub fn kmalloc_node(
        &mut self,
        size: u64,
        gfp: Gfp,
        node: Option<u8>,
    ) -> Result<Vaddr, AllocError> {
        self.on(node, |mm| mm.kmalloc(size, gfp))
    }

    /// Takes up to 8 KiB in any context, a non-maskable interrupt too, if they are at hand: it
    /// never waits, and makes no effort. It takes no flags but `__GFP_ZERO` and `__GFP_ACCOUNT`
    /// (R1.14).
    pub fn kmalloc_nolock(
        &mut self,
        size: u64,
        gfp: Gfp,
        node: Option<u8>,
    ) -> Result<Vaddr, AllocError> {
        self.on(node, |mm| mm.kmalloc_floor().kmalloc_nolock(size, gfp))
    }

    /// [`Self::kmem_cache_alloc`] of a node.
    pub fn kmem_cache_alloc_node(
        &mut self,
        cache: CacheId,
        gfp: Gfp,
        node: Option<u8>,
    ) -> Result<Vaddr, AllocError> {
        self.on(node, |mm| mm.kmem_cache_alloc(cache, gfp))
    }

    /// [`Self::vmalloc`] of a node.
    pub fn vmalloc_node(&mut self, size: u64, node: Option<u8>) -> Result<Vaddr, AllocError> {
        self.on(node, |mm| mm.vmalloc(size))
    }

    /// [`Self::kvmalloc`] of a node.
    pub fn kvmalloc_node(
        &mut self,
        size: u64,
        gfp: Gfp,
        node: Option<u8>,
        route: Route,
    ) -> Result<Vaddr, AllocError> {
        self.on(node, |mm| mm.kvmalloc(size, gfp, route))
    }

    /// [`Self::kvmalloc_node`] of memory that reads as zero.
    pub fn kvzalloc_node(
        &mut self,
        size: u64,
        gfp: Gfp,
        node: Option<u8>,
        route: Route,
    ) -> Result<Vaddr, AllocError> {
        self.kvmalloc_node(size, gfp | __GFP_ZERO, node, route)
    }

    /// The number of nodes.
    pub fn nr_nodes(&self) -> u8 {
        self.kvmalloc.vmalloc.kmalloc.slab.pages.zones().len() as u8
    }

    fn on<T>(
        &mut self,
        node: Option<u8>,
        call: impl FnOnce(&mut Self) -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        if node.is_some_and(|node| node >= self.nr_nodes()) {
            return Err(AllocError::BadArgument);
        }
        self.slab_floor().pages.node = node;
        let result = call(self);
        self.slab_floor().pages.node = None;
        result
    }
}
