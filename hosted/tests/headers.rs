//! The headers for C have the harness' words, bit for bit.

use kvroute_harness::words::SLAB_FLAG_NAMES;
use kvroute_harness::words::gfp::GFP_NAMES;

/// The value that a header gives a name which stands for a number.
fn value(header: &str, name: &str) -> Option<u64> {
    let path = format!("{}/include/linux/{header}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a header");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("#define {name} ")))?;
    let digits = line.split_once("0x")?.1.trim_end_matches([')', 'u']);
    u64::from_str_radix(digits, 16).ok()
}

#[test]
fn flags_are_the_same_in_c() {
    for (name, flag) in GFP_NAMES {
        assert_eq!(value("gfp.h", name), Some(flag.0.into()), "{name}");
    }
    for (name, flag) in SLAB_FLAG_NAMES {
        assert_eq!(value("slab.h", name), Some(*flag), "{name}");
    }
    assert_eq!(value("gfp.h", "GFP_NOTHING"), None);
}
