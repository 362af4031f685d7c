//! Every boundary is reached by the traces of some campaign.
//!
//! The one idea: what `kvroute reach` prints for millions of ops is here a few hundred traces of
//! each campaign, always the same ones. A boundary that they seldom reach is named so in the table.

use kvroute_harness::CAMPAIGNS;
use kvroute_harness::generate::generate;
use kvroute_harness::reach::{Often, boundaries, reached};

/// Traces of each campaign.
const NR_TRACES: u64 = 700;

#[test]
fn each_boundary_is_reached_by_a_campaign() {
    let boundaries = boundaries();
    let mut sums = vec![0; boundaries.len()];
    for campaign in CAMPAIGNS {
        for seed in 0..NR_TRACES {
            let trace = generate(&campaign.profile, &mut fastrand::Rng::with_seed(seed));
            match reached(campaign, &trace, &boundaries) {
                Ok((counts, _)) => {
                    sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                }
                Err(failure) => panic!("{failure}"),
            }
        }
    }
    let missed = boundaries.iter().zip(sums).filter(|(_, sum)| *sum == 0);
    let missed = missed.filter(|(boundary, _)| boundary.often == Often::Often);
    let missed: Vec<&str> = missed.map(|(boundary, _)| boundary.name.as_str()).collect();
    assert!(missed.is_empty(), "reached by no campaign: {missed:?}");
}
