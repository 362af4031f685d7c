//! Callers with real pointers: Rust code, and C code, on alloc-core's real memory.
//!
//! [`explore`] does what the harness' does: it runs a caller under one plan after another, judges
//! what it does with its memory, and shrinks what went wrong. But the memory is real, so any code
//! that is given an allocator can be a caller, and what it does wrong may end the process. So each
//! caller runs in a child process, which tells what it has seen before it ends: a fault in a
//! revoked area is a use after free with a place and a stack, not a core dump.
//!
//! What was written where it should not be is seen at the caller's next call; what was read is not
//! seen at all, unless it lies where nothing is mapped.

mod allocator;
#[cfg(any(feature = "allocator-api2", feature = "allocator-api2-02"))]
mod api2;
#[cfg(feature = "c")]
mod c;
mod child;
mod current;
mod exit;
mod explore;
mod kernel;
mod report;
mod returned;
mod stacks;

pub use allocator::{Allocator, Global, KVmalloc, Kmalloc, MIN_ALIGN, Vmalloc};
pub use explore::{Failure, Finding, explore, fuzz};
pub use kernel::Kernel;
pub use kvroute_harness::caller::{Config, NoMemory, gfp};
