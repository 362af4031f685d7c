//! Questions about the whole machine, whose answers change nothing.

mod convert;
mod describe;
pub(crate) mod stat;
pub(crate) mod validate;
