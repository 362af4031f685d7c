//! The page allocator: from what a CPU keeps for itself to getting memory back from others.

pub(crate) mod allocator;
pub(crate) mod exact;
pub(crate) mod others;
mod page_alloc;
mod page_ref;
pub(crate) mod pcp;
mod reclaim;
pub(crate) mod zone;
