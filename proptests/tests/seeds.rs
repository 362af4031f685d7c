//! A seed means the same traces on every machine and in every build.
//!
//! The one idea: the first traces of each campaign are known by their hash. The hash changes when
//! the generator does, and then an old seed means other traces: that is allowed, and said in the
//! commit. It must not change with the width of the machine's words, so the same test passes on a
//! 32-bit machine.

use kvroute_harness::CAMPAIGNS;
use kvroute_harness::generate::generate;
use kvroute_harness::mutate::mutate;
use kvroute_harness::paint::mix;

/// Traces per campaign.
const NR_TRACES: u64 = 16;

/// The hash of the first traces and of a mutant of each, by campaign.
const EXPECTED: &[(&str, u64)] = &[
    ("pages", 0x9769_4365_f6bb_f893),
    ("kmalloc", 0x2992_7bc3_a1ff_324f),
    ("vmalloc", 0xcb2b_845d_7a84_4af2),
    ("kvmalloc", 0xb3eb_6e0a_ea2f_a273),
    ("routed", 0xf800_1e17_13d5_1fba),
    ("frees", 0xe2aa_727f_a896_e063),
    ("nofail", 0x2712_e90b_56c2_1a86),
    ("faults", 0xeea7_0931_b3ed_1ff7),
];

#[test]
fn a_seed_means_what_it_meant() {
    let actual: Vec<(&str, u64)> = CAMPAIGNS
        .iter()
        .map(|campaign| {
            let mut hash = 0;
            for seed in 0..NR_TRACES {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut trace = generate(&campaign.profile, &mut rng);
                hash = trace.to_string().bytes().fold(hash, |hash, byte| mix(hash, byte.into()));
                mutate(&mut trace, &campaign.profile, &mut rng);
                hash = trace.to_string().bytes().fold(hash, |hash, byte| mix(hash, byte.into()));
            }
            (campaign.name, hash)
        })
        .collect();
    let line = |(name, hash): &(&str, u64)| format!("    (\"{name}\", {hash:#018x}),\n");
    assert!(
        actual == EXPECTED,
        "seeds mean other traces than before. If the generator was to change, say so in the commit \
         and put these into EXPECTED:\n{}",
        actual.iter().map(line).collect::<String>()
    );
}
