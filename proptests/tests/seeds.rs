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
    ("pages", 0xab27_8e16_4f92_d15a),
    ("kmalloc", 0xf4df_4b55_702d_168c),
    ("vmalloc", 0xf653_5118_2055_4b31),
    ("kvmalloc", 0xa419_59fd_403a_fa9a),
    ("routed", 0x5a65_1c7e_c9b3_adef),
    ("frees", 0xf59c_1afa_59c5_0100),
    ("nofail", 0xf97e_2a9b_b6e2_28a8),
    ("faults", 0xdadc_386f_5a7c_64fc),
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
