//! Random traces on your allocator, in `cargo test`.
//!
//! An allocator that ends its process ends the test with it: `cargo run -- run mine` has processes
//! for that, and shortens what it finds.

use allocator_under_test::CAMPAIGNS;
use kvroute_harness::{check, generate::generate};
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_trace_breaks_it(seed in any::<u64>()) {
        for campaign in CAMPAIGNS {
            let trace = generate(&campaign.profile, &mut fastrand::Rng::with_seed(seed));
            let result = check(campaign, &trace);
            prop_assert!(result.is_ok(), "{}\n{}", result.unwrap_err(), trace);
        }
    }
}
