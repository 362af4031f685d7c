//! The harness.
pub mod op;
pub mod subject;
pub mod trace;
