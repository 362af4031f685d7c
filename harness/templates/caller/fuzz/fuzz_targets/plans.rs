//! The engine's bytes are the plan, so that the coverage of your code guides the decisions.
//!
//!     cargo fuzz run -s none plans
#![no_main]

kvroute_harness::fuzz_caller!(code_under_test::run);
