//! What `kvroute new` writes for an author of an allocator compiles and passes as it is written.
//!
//! The sources of its templates are modules here. The manifests, the `main` and the fuzz target are
//! not looked at here; `ci/templates.sh` builds whole crates of them.
#![expect(unsafe_code, reason = "the templates implement allocators")]
#![expect(unreachable_pub, reason = "they are the face of another crate")]

extern crate self as allocator_under_test;

#[path = "../../harness/templates/allocator/src/frames.rs"]
mod frames;
#[path = "../../harness/templates/allocator/src/global.rs"]
mod global;
#[path = "../../harness/templates/allocator/src/heap.rs"]
mod heap;
#[path = "../../harness/templates/allocator/tests/traces.rs"]
mod traces;

/// All of them, for the test that each crate has.
pub static CAMPAIGNS: [&kvroute_harness::Campaign; 3] =
    [frames::CAMPAIGNS[0], global::CAMPAIGNS[0], heap::CAMPAIGNS[0]];
