//! What `kvroute new` writes compiles and passes as it is written.
//!
//! The sources of its templates are modules here, under the names that they have in the new crate.
//! The manifests and the fuzz target are not looked at here.

extern crate self as code_under_test;

#[path = "../../harness/templates/caller/src/lib.rs"]
mod caller;
#[path = "../../harness/templates/caller/tests/plans.rs"]
mod plans;

pub use caller::run;
