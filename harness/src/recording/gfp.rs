//! GFP flags as the kernel prints them in a tracepoint.
//!
//! The one idea: a flag that Linux 6.1 does not have, or that `alloc_core` gives no meaning to, is
//! counted by name and its bit left out. A recording from another kernel is worth replaying even
//! if one of its flags means nothing here, but nobody should have to guess that this happened.
//!
//! This file does not know the language of traces; that one has no unknown flags (see `text`).

use std::collections::{BTreeMap, HashMap};

use alloc_core::gfp::{self, GFP_NAMES, Gfp};

/// Names that the kernel prints for sums of flags, beyond those of [`GFP_NAMES`].
const MORE_NAMES: &[(&str, Gfp)] = &[
    ("GFP_TRANSHUGE", Gfp(TRANSHUGE_LIGHT.0 | gfp::__GFP_DIRECT_RECLAIM.0)),
    ("GFP_TRANSHUGE_LIGHT", TRANSHUGE_LIGHT),
    ("GFP_DMA", gfp::__GFP_DMA),
    ("GFP_DMA32", gfp::__GFP_DMA32),
    ("none", Gfp(0)),
];

/// `GFP_TRANSHUGE_LIGHT` of Linux 6.1 (`include/linux/gfp_types.h`).
const TRANSHUGE_LIGHT: Gfp = Gfp((gfp::GFP_HIGHUSER_MOVABLE.0
    | gfp::__GFP_COMP.0
    | gfp::__GFP_NOMEMALLOC.0
    | gfp::__GFP_NOWARN.0)
    & !gfp::__GFP_RECLAIM.0);

/// Every bit that has a name.
const KNOWN: u32 = {
    let mut bits = 0;
    let mut place = 0;
    while place < GFP_NAMES.len() {
        bits |= GFP_NAMES[place].1.0;
        place += 1;
    }
    bits
};

/// Reads flags and remembers the sums it has seen: a recording repeats a few dozen of them.
#[derive(Default)]
pub(super) struct GfpReader<'a> {
    seen: HashMap<&'a str, Gfp>,
    /// How often each flag without a meaning here was met.
    pub(super) unknown: BTreeMap<String, u64>,
}

impl<'a> GfpReader<'a> {
    /// Reads `GFP_KERNEL|__GFP_ZERO`, `0xcc0`, `none`, or a sum that ends in a hexadecimal rest.
    ///
    /// The error is the part that is no flag at all.
    pub(super) fn read(&mut self, text: &'a str) -> Result<Gfp, &'a str> {
        if let Some(known) = self.seen.get(text) {
            return Ok(*known);
        }
        let mut sum = Gfp(0);
        let mut all_known = true;
        for part in text.split('|') {
            match value(part)? {
                Some(flag) => {
                    sum |= Gfp(flag.0 & KNOWN);
                    all_known &= self.knows(flag);
                }
                None => {
                    *self.unknown.entry(part.to_owned()).or_default() += 1;
                    all_known = false;
                }
            }
        }
        // A sum with an unknown part is read anew each time, so that each time is counted.
        if all_known {
            self.seen.insert(text, sum);
        }
        Ok(sum)
    }

    /// Whether every bit has a name; counts those that have none.
    fn knows(&mut self, flag: Gfp) -> bool {
        let rest = flag.0 & !KNOWN;
        if rest != 0 {
            *self.unknown.entry(format!("{rest:#x}")).or_default() += 1;
        }
        rest == 0
    }
}

/// One part of a sum; `None` for a name that looks like a flag and has no meaning here.
fn value(part: &str) -> Result<Option<Gfp>, &str> {
    if let Some(digits) = part.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).map(|bits| Some(Gfp(bits))).map_err(|_| part);
    }
    if part == "0" {
        return Ok(Some(Gfp(0)));
    }
    let named = GFP_NAMES.iter().chain(MORE_NAMES).find(|(name, _)| *name == part);
    if let Some((_, flag)) = named {
        return Ok(Some(*flag));
    }
    let name = part.strip_prefix("__").unwrap_or(part);
    let is_name = name.strip_prefix("GFP_").is_some_and(|rest| {
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    });
    if is_name { Ok(None) } else { Err(part) }
}

#[cfg(test)]
mod test {
    use super::*;

    fn read(text: &str) -> Result<(Gfp, Vec<String>), &str> {
        let mut reader = GfpReader::default();
        let gfp = reader.read(text)?;
        Ok((gfp, reader.unknown.into_keys().collect()))
    }

    #[test]
    fn sums_names_and_numbers_are_read() {
        let zeroed = gfp::GFP_KERNEL | gfp::__GFP_ZERO;
        assert_eq!(read("GFP_KERNEL|__GFP_ZERO"), Ok((zeroed, vec![])));
        assert_eq!(read("0xdc0"), Ok((zeroed, vec![])));
        assert_eq!(read("none"), Ok((Gfp(0), vec![])));
        assert_eq!(read("0"), Ok((Gfp(0), vec![])));
        assert_eq!(read("GFP_NOWAIT|0x100"), Ok((gfp::GFP_NOWAIT | gfp::__GFP_ZERO, vec![])));
    }

    #[test]
    fn transhuge_is_linux_6_1_bit_for_bit() {
        // In 6.1 GFP_TRANSHUGE_LIGHT is 0x1c20ca and GFP_TRANSHUGE adds direct reclaim (0x400).
        assert_eq!(read("GFP_TRANSHUGE_LIGHT").unwrap().0, Gfp(0x1c_20ca));
        assert_eq!(read("GFP_TRANSHUGE").unwrap().0, Gfp(0x1c_24ca));
    }

    #[test]
    fn unknown_flags_are_counted_and_their_bits_left_out() {
        let (gfp, unknown) = read("GFP_KERNEL|__GFP_SKIP_ZERO|0x80000000").unwrap();
        assert_eq!(gfp, gfp::GFP_KERNEL);
        assert_eq!(unknown, ["0x80000000", "__GFP_SKIP_ZERO"]);
    }

    #[test]
    fn what_is_no_flag_is_an_error() {
        assert_eq!(read("GFP_KERNEL|kitten"), Err("kitten"));
        assert_eq!(read("0xzz"), Err("0xzz"));
        assert_eq!(read(""), Err(""));
        assert_eq!(read("__GFP_"), Err("__GFP_"));
    }
}
