//! Callers: code that takes memory, run again and again while everything that is decided for it
//! changes.
//!
//! A caller is a function that is given a [`Kernel`]. [`explore`] runs it by the policy, all by
//! slab, all by vmalloc, with hostile placement, with each request failed, and under random plans;
//! judges what it does with its memory; and shrinks what went wrong to the decisions that matter
//! (LWN 2017: the calling code should not care which kind of memory it gets, but there may be bugs
//! that do not get tickled when kmalloc almost always succeeds).
//!
//! ```
//! use kvroute_harness::caller::{Config, Kernel, NoMemory, explore, gfp::GFP_KERNEL};
//!
//! fn caller(kv: &Kernel) -> Result<(), NoMemory> {
//!     let table = kv.kvmalloc(0x2000, GFP_KERNEL)?;
//!     table.write(b"entries");
//!     kv.kfree(table); // kvfree would be right
//!     Ok(())
//! }
//!
//! let finding = explore(&Config::new(), caller).unwrap_err();
//! assert_eq!(finding.misuse.rule.name(), "wrong-free");
//! assert_eq!(finding.plan.to_string(), "1: vmalloc");
//! ```
//!
//! The memory is simulated, so a caller needs no unsafe code, and what it does with a pointer is
//! seen to the byte. The allocator itself is not judged here: `check` does that.

mod calls;
pub mod catalogue;
mod config;
mod explore;
mod finding;
mod guards;
mod holdings;
mod kernel;
mod log;
mod misuse;
mod placement;
mod plan;
mod pointer;
mod session;
mod state;
#[cfg(test)]
mod test;
#[cfg(test)]
mod test_lifetimes;
mod trace;

pub use config::{Config, PHASES, Phase};
pub use explore::{Explored, Run, Usual, explore, fuzz, search};
pub use finding::{Finding, shrink};
pub use kernel::{Kernel, NoMemory, Pointer};
pub use misuse::{Misuse, Source};
pub use plan::{Decision, Filling, Others, Place, Plan, PlanError};
pub use session::Session;
pub use state::Told;
pub use trace::{check_caller, mark};

pub use crate::oracle::caller::{RULES, Rule};
pub use crate::words::{Context, gfp};
