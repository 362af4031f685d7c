//! Caches that callers made: what their objects promise, and which comes next.

use super::Linux;
use super::reuse::Reuse;
use super::rules::{self, cache_alignment};
use crate::call::{Request, Role};
use crate::model::{Interface, Kind, Model, Want};
use crate::words::CacheHandle;

/// A cache that the caller made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cache {
    /// The op that made it.
    pub id: u32,
    /// Bytes of an object.
    pub size: u64,
    /// The alignment that the caller may rely on.
    pub align: u64,
    /// The word that the constructor leaves all over a new object.
    pub ctor: Option<u64>,
    /// Live objects.
    pub nr_objects: u64,
    /// Which of its objects comes next.
    pub reuse: Reuse,
}

impl Cache {
    /// The cache that a request asks for; `id` is its op.
    pub(crate) fn asked_for(id: u32, request: &Request) -> Self {
        let size = request.size().unwrap_or(0);
        let align = request.get(Role::Align).unwrap_or(0);
        let align = cache_alignment(size, align, request.slab_flags());
        Self { id, size, align, ctor: request.ctor(), nr_objects: 0, reuse: Reuse::default() }
    }
}

impl Linux {
    /// A cache that has been made and not destroyed.
    pub(crate) fn cache(&self, handle: CacheHandle) -> Option<&Cache> {
        self.caches.get(&handle)
    }

    /// The caches that have been made and not destroyed.
    pub(crate) fn caches(&self) -> impl Iterator<Item = CacheHandle> {
        self.caches.keys().copied()
    }

    /// The word that the constructor of an allocation's cache left all over it.
    pub(crate) fn ctor_of(&self, kind: Kind) -> Option<u64> {
        let Kind::CacheObject(handle) = kind else { return None };
        self.caches.get(&handle)?.ctor
    }

    /// Enters a cache.
    pub(crate) fn enter_cache(&mut self, handle: CacheHandle, cache: Cache) {
        self.caches.insert(handle, cache);
    }

    /// Strikes a cache out.
    pub(crate) fn strike_cache(&mut self, handle: CacheHandle) {
        self.caches.remove(&handle);
    }
}

impl Model {
    /// Bytes from one object to the next of the cache that a request asks; 0 if it asks none.
    pub(crate) fn stride(&self, want: &Want) -> u64 {
        let Interface::Cache(handle) = want.interface else { return 0 };
        let (size, align) = self.promise(want);
        let cache = self.linux.cache(handle);
        cache.map_or(0, |cache| rules::cache_stride(size, align, cache.ctor))
    }
}
