//! Slab caches: how objects lie in a slab, handing them out, and making caches.

pub(crate) mod cache;
pub(crate) mod cache_list;
pub(crate) mod free_list;
pub(crate) mod kmem_cache;
pub(crate) mod objects;
pub(crate) mod slabs;
