//! The words that everyone in the harness shares: sizes, flags, callers.
//!
//! They are Linux's, since traces are written in them, and they belong to no allocator: a subject
//! translates them into its own. So the model and the oracles judge any allocator by the same
//! words, and nothing that they know has come from one.

mod cache;
mod caller;
pub mod gfp;
mod route;
mod size;

pub use cache::{CacheHandle, SLAB_FLAG_NAMES, SLAB_HWCACHE_ALIGN, SlabFlags};
pub use caller::{CONTEXTS, Context, Current, NR_CPUS, NR_NODES, NR_TASKS, Scope};
pub use gfp::Gfp;
pub use route::{ROUTES, Route};
pub use size::{
    HUGE_PAGE, LARGEST_ORDER, NR_ORDERS, PAGE, PAGE_ALLOC_COSTLY_ORDER, PAGE_OFFSET, VMALLOC_START,
    order_of, pages_of,
};
