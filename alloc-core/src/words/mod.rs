//! The words that all floors share: addresses, flags, callers, errors, and rules that are tables.

pub mod addr;
pub mod error;
pub mod fate;
pub(crate) mod free_call;
pub mod gfp;
pub mod guide;
pub(crate) mod policy;
pub mod task;
