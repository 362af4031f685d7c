//! Callers under plans that proptest draws: a corrected twin is silent under every plan, and a
//! mistake that is found under one is found again by the plan that its report names.

use kvroute_harness::caller::catalogue::{Case, cases};
use kvroute_harness::caller::{Config, Plan, explore};
use proptest::prelude::*;

fn any_case() -> impl Strategy<Value = &'static Case> {
    prop::sample::select(cases().collect::<Vec<_>>())
}

fn any_plan() -> impl Strategy<Value = Plan> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| Plan::from_bytes(&bytes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_twin_is_silent_under_every_plan(case in any_case(), plan in any_plan()) {
        let explored = explore(&Config::new().under(plan), case.right);
        prop_assert!(explored.is_ok(), "{}: {explored:?}", case.name);
    }

    #[test]
    fn a_finding_is_found_again(case in any_case(), plan in any_plan()) {
        if let Err(finding) = explore(&Config::new().under(plan), case.wrong) {
            let again = explore(&Config::new().plan(&finding.plan.to_string()), case.wrong);
            let again = again.expect_err(case.name);
            prop_assert!(again.misuse.is_like(&finding.misuse), "{finding}\n{again}");
        }
    }
}
