//! A seed means the same traces on every machine and in every build.
//!
//! The first traces of each campaign are known by their hash. The hash changes when the generator
//! does, and then an old seed means other traces: that is allowed, and said in the commit. It must
//! not change with the width of the machine's words, so the same test passes on a 32-bit machine.

use kvroute_harness::CAMPAIGNS;
use kvroute_harness::generate::generate;
use kvroute_harness::mutate::mutate;
use kvroute_harness::paint::mix;

/// Traces per campaign.
const NR_TRACES: u64 = 16;

/// The hash of the first traces and of a mutant of each, by campaign.
const EXPECTED: &[(&str, u64)] = &[
    ("pages", 0xf3e33289d4b9eb1f),
    ("kmalloc", 0x52ddaa8a45ba8dcb),
    ("vmalloc", 0x814b7344f5923a70),
    ("kvmalloc", 0x08bbceb7eeead008),
    ("routed", 0x0d162e6a6aaccb1a),
    ("frees", 0x2c47eca0e1779502),
    ("nofail", 0xdd07e859489118e3),
    ("faults", 0xf1362aa889f0dedb),
    ("heap", 0x32ac9e12424db705),
    ("frames", 0x9fd9ce0e7d6a3568),
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
