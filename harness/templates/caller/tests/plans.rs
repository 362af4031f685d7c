//! Random routing, injected failure and hostile placement, in `cargo test`.

use code_under_test::run;
use kvroute_harness::caller::{Config, Plan, explore};
use proptest::prelude::*;

/// Every plan that is tried in order, and 256 random ones. A mistake fails the test with its
/// report, whose last line repeats it.
#[test]
fn no_plan_breaks_it() {
    let explored = explore(&Config::new(), run).unwrap_or_else(|finding| panic!("{finding}"));
    assert!(explored.nr_requests > 0, "it has asked for no memory, so nothing was tried");
}

proptest! {
    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
        let config = Config::new().under(Plan::from_bytes(&bytes));
        let result = explore(&config, run);
        prop_assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}
