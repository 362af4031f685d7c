//! alloc-core.
#![no_std]
pub mod addr;
pub mod error;
pub mod gfp;
pub mod memory;
