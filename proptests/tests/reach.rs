//! Every boundary is reached by the traces of each campaign that must reach it.
//!
//! What `kvroute reach` prints for millions of ops is here two thousand traces of each campaign,
//! always the same ones.

use kvroute_harness::CAMPAIGNS;
use kvroute_harness::generate::generate;
use kvroute_harness::reach::{boundaries, reached};

/// Traces of each campaign.
const NR_TRACES: u64 = 2000;

#[test]
fn each_boundary_is_reached_by_the_campaigns_that_must() {
    let boundaries = boundaries();
    let mut missed = Vec::new();
    for campaign in CAMPAIGNS {
        let mut sums = vec![0; boundaries.len()];
        for seed in 0..NR_TRACES {
            let trace = generate(&campaign.profile, &mut fastrand::Rng::with_seed(seed));
            match reached(campaign, &trace, &boundaries) {
                Ok((counts, _)) => {
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                }
                Err(failure) => panic!("{failure}"),
            }
        }
        let due = boundaries.iter().zip(sums).filter(|(row, _)| row.is_due_in(campaign));
        let names = due.filter(|(_, sum)| *sum == 0).map(|(boundary, _)| &boundary.name);
        missed.extend(names.map(|name| format!("{} does not reach: {name}", campaign.name)));
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
