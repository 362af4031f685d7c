//! Other people's heaps and frame allocators as lanes of a campaign.
//!
//! The one idea: an author writes what the allocator does and which optional calls it has, as an
//! `impl` of [`Heap`] or [`FrameAllocator`]; a macro makes a campaign of it, with the traces of the
//! harness' own campaigns `heap` and `frames`, and every generic oracle judges it. Two of them in
//! one campaign are compared, op by op.
//!
//! `docs/your-allocator.md` goes from nothing to a verdict.

mod adapters;
mod arena;
mod bytes;
mod contract;
mod frames;
mod housed;
mod lead;
pub mod pattern;
mod subject;

#[cfg(feature = "allocator-api2")]
pub use adapters::OfAllocator;
pub use adapters::OfGlobal;
pub use contract::{FrameAllocator, GivesBack, Growth, Heap, Home};
pub use contract::{frames_have, heap_has};
pub use frames::boot as boot_frames;
pub use lead::lead;
pub use subject::boot as boot_heap;
