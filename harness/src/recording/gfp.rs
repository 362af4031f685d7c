//! GFP flags as kernels and tools print them in a tracepoint: by name, by number, or both.
//!
//! Every flag becomes what Linux 6.1 calls it. A flag that 6.1 does not have, or that has no
//! meaning in a trace, is counted by name and left out: a recording from another kernel is worth
//! replaying even if one of its flags means nothing here, but nobody should have to guess that this
//! happened. A number that cannot be of the kernel at hand is an error.
//!
//! What the bits of numbers mean is in `kernel`. This file does not know the language of traces;
//! that one has no unknown flags (see `text`).

use std::collections::HashMap;

use crate::words::gfp::{self, GFP_NAMES, Gfp};

use super::kernel::{self, Bit, Kernel};
use super::tally::Tally;

/// Names that kernels print for sums of flags, beyond those of [`GFP_NAMES`].
const MORE_NAMES: &[(&str, Gfp)] = &[
    ("GFP_TRANSHUGE", Gfp(TRANSHUGE_LIGHT.0 | gfp::__GFP_DIRECT_RECLAIM.0)),
    ("GFP_TRANSHUGE_LIGHT", TRANSHUGE_LIGHT),
    // Up to 4.14: kernel memory that will soon be given back.
    ("GFP_TEMPORARY", Gfp(gfp::GFP_KERNEL.0 | gfp::__GFP_RECLAIMABLE.0)),
    // Printed with and without underscores, the first of them up to 4.12.
    ("__GFP_REPEAT", gfp::__GFP_RETRY_MAYFAIL),
    ("__GFP_WAIT", gfp::__GFP_RECLAIM),
    // No kernel prints these two with underscores.
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

/// Sums that have been read are remembered up to this many; a recording repeats a few dozen.
const MOST_REMEMBERED: usize = 4096;

/// Why flags could not be read: the part to blame, and what should have stood there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad<'a> {
    pub(super) part: &'a str,
    pub(super) expected: String,
}

/// Reads flags, and remembers the sums it has seen.
#[derive(Default)]
pub(super) struct GfpReader {
    /// The recorded kernel, if anything says which it was.
    pub(super) kernel: Option<Kernel>,
    /// How often flags were numbers: only then does it matter which kernel it was.
    pub(super) nr_numbers: u64,
    /// How often each flag without a meaning here was met.
    pub(super) unknown: Tally,
    seen: HashMap<String, Sum>,
}

/// The flags of one text.
#[derive(Clone, Copy, Default)]
struct Sum {
    flags: Gfp,
    /// A part of it was a number.
    has_number: bool,
    /// A part of it means nothing here, so that each time must be counted.
    has_unknown: bool,
    /// A single flag was printed without underscores, as up to 4.5.
    is_old: bool,
    /// It says that kswapd is not to be woken.
    no_kswapd: bool,
}

impl GfpReader {
    /// Reads `GFP_KERNEL|__GFP_ZERO`, `0xcc0`, `3264`, `none`, or a sum that ends in a number.
    pub(super) fn read<'a>(&mut self, text: &'a str) -> Result<Gfp, Bad<'a>> {
        if let Some(known) = self.seen.get(text) {
            self.nr_numbers += u64::from(known.has_number);
            return Ok(known.flags);
        }
        let mut sum = Sum::default();
        for part in text.split('|') {
            match number(part) {
                Some(bits) => self.number(part, bits?, &mut sum)?,
                None => self.name(part, &mut sum)?,
            }
        }
        let says_reclaim = text.contains("_RECLAIM");
        if sum.is_old && !says_reclaim {
            sum.flags |= gfp::__GFP_KSWAPD_RECLAIM;
        }
        if sum.no_kswapd {
            sum.flags = sum.flags.without(gfp::__GFP_KSWAPD_RECLAIM);
        }
        self.nr_numbers += u64::from(sum.has_number);
        if !sum.has_unknown && self.seen.len() < MOST_REMEMBERED {
            self.seen.insert(text.to_owned(), sum);
        }
        Ok(sum.flags)
    }

    /// Adds the flags of a number.
    fn number<'a>(&mut self, part: &'a str, bits: u32, sum: &mut Sum) -> Result<(), Bad<'a>> {
        sum.has_number |= bits != 0;
        let kernel = self.kernel.unwrap_or(kernel::DEFAULT);
        let mut flags = Gfp(0);
        for place in (0..u32::BITS).filter(|place| bits >> place & 1 == 1) {
            match kernel.bit(place) {
                Bit::Means(flag) => flags |= flag,
                Bit::Nothing("NO_KSWAPD") => sum.no_kswapd = true,
                Bit::Nothing(name) if self.kernel.is_some() => self.means_nothing(name, sum),
                Bit::Nothing(_) | Bit::Unknown => return Err(self.foreign(part, 1 << place)),
            }
        }
        if self.kernel.is_none() && !is_plausible(flags) {
            return Err(self.foreign(part, bits));
        }
        if kernel.wakes_kswapd_unasked() {
            flags |= gfp::__GFP_KSWAPD_RECLAIM;
            if flags.has(gfp::__GFP_HIGH) && !flags.has(gfp::__GFP_DIRECT_RECLAIM) {
                flags |= gfp::__GFP_ATOMIC;
            }
        }
        sum.flags |= flags;
        Ok(())
    }

    /// The complaint about a number that is not of the kernel at hand.
    fn foreign<'a>(&self, part: &'a str, bits: u32) -> Bad<'a> {
        let expected = match self.kernel {
            Some(kernel) => format!(
                "GFP flags of Linux {kernel}, which has no flags {bits:#x} \
                 (--kernel VERSION says whose numbers these are)"
            ),
            None => format!(
                "GFP flags by name, or a number of Linux 5.1 or later ({bits:#x} is not likely to \
                 be one: say whose numbers these are with --kernel VERSION, such as --kernel 4.4)"
            ),
        };
        Bad { part, expected }
    }

    /// Adds a flag by its name.
    fn name<'a>(&mut self, part: &'a str, sum: &mut Sum) -> Result<(), Bad<'a>> {
        if let Some(flags) = named(part) {
            sum.flags |= flags;
            return Ok(());
        }
        let old = part.strip_prefix("GFP_").filter(|name| is_name(name));
        if let Some(name) = old {
            sum.is_old = true;
            if let Some(flags) = named(&format!("__GFP_{name}")) {
                sum.flags |= flags;
                return Ok(());
            }
        }
        if old.or(part.strip_prefix("__GFP_")) == Some("NO_KSWAPD") {
            sum.no_kswapd = true;
            return Ok(());
        }
        if old.is_none() && !part.strip_prefix("__GFP_").is_some_and(is_name) {
            return Err(Bad { part, expected: "GFP flags".to_owned() });
        }
        self.means_nothing(part, sum);
        Ok(())
    }

    fn means_nothing(&mut self, name: &str, sum: &mut Sum) {
        let printed = name.contains("GFP_") || name.starts_with('(');
        if printed {
            self.unknown.add(name);
        } else {
            self.unknown.add(&format!("__GFP_{name}"));
        }
        sum.has_unknown = true;
    }
}

/// Whether these can be flags of the kernel that is assumed if nothing says which it was: who may
/// start I/O can also reclaim, but for slab's first try, which asks for one round at most.
fn is_plausible(flags: Gfp) -> bool {
    let io = flags.0 & (gfp::__GFP_IO.0 | gfp::__GFP_FS.0) != 0;
    let reclaim = flags.0 & gfp::__GFP_RECLAIM.0 != 0;
    !io || reclaim || flags.has(gfp::__GFP_NORETRY) || flags.has(gfp::__GFP_NOWARN)
}

/// The flags of this name, if 6.1 has them.
fn named(name: &str) -> Option<Gfp> {
    let known = GFP_NAMES.iter().chain(MORE_NAMES).find(|(known, _)| *known == name);
    known.map(|(_, flags)| *flags)
}

/// The bits of a part that is a number, hexadecimal or decimal.
fn number(part: &str) -> Option<Result<u32, Bad<'_>>> {
    let (digits, radix) = match part.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (part, 10),
    };
    let is_number = part.as_bytes().first().is_some_and(u8::is_ascii_digit);
    let clean = !digits.starts_with('+');
    let bits = u32::from_str_radix(digits, radix).ok().filter(|_| clean);
    let expected = || "GFP flags".to_owned();
    is_number.then(|| bits.ok_or_else(|| Bad { part, expected: expected() }))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::words::Gfp;

    fn read_of(kernel: &str, text: &str) -> Result<(Gfp, Vec<String>), String> {
        let kernel = (!kernel.is_empty()).then(|| kernel.parse().expect("a version"));
        let mut reader = GfpReader { kernel, ..GfpReader::default() };
        let gfp = reader.read(text).map_err(|bad| format!("{}: {}", bad.part, bad.expected))?;
        Ok((gfp, reader.unknown.into_counts().into_keys().collect()))
    }

    fn read(text: &str) -> Result<(Gfp, Vec<String>), String> {
        read_of("", text)
    }

    #[test]
    fn sums_names_and_numbers_are_read() {
        let zeroed = gfp::GFP_KERNEL | gfp::__GFP_ZERO;
        assert_eq!(read("GFP_KERNEL|__GFP_ZERO"), Ok((zeroed, vec![])));
        assert_eq!(read("0xdc0"), Ok((zeroed, vec![])));
        assert_eq!(read("3264"), Ok((gfp::GFP_KERNEL, vec![])));
        assert_eq!(read("none"), Ok((Gfp(0), vec![])));
        assert_eq!(read("0"), Ok((Gfp(0), vec![])));
        assert_eq!(read("GFP_NOWAIT|0x100"), Ok((gfp::GFP_NOWAIT | gfp::__GFP_ZERO, vec![])));
    }

    #[test]
    fn names_of_every_era_mean_what_they_meant() {
        let retry = gfp::__GFP_RETRY_MAYFAIL | gfp::__GFP_NOWARN;
        for (text, expected) in [
            ("GFP_TEMPORARY", gfp::GFP_KERNEL | gfp::__GFP_RECLAIMABLE),
            ("GFP_NOFS|GFP_NOFAIL", gfp::GFP_NOFS | gfp::__GFP_NOFAIL),
            ("GFP_KERNEL|GFP_NOWARN|GFP_REPEAT", gfp::GFP_KERNEL | retry),
            ("GFP_KERNEL|__GFP_NOWARN|__GFP_REPEAT", gfp::GFP_KERNEL | retry),
            ("GFP_ATOMIC|GFP_ZERO", gfp::GFP_ATOMIC | gfp::__GFP_ZERO),
            ("GFP_WAIT", gfp::GFP_NOIO),
            ("GFP_NOWAIT", gfp::GFP_NOWAIT),
            ("GFP_DIRECT_RECLAIM|GFP_IO", gfp::__GFP_DIRECT_RECLAIM | gfp::__GFP_IO),
            ("GFP_KERNEL|GFP_NO_KSWAPD", gfp::GFP_KERNEL.without(gfp::__GFP_KSWAPD_RECLAIM)),
            ("GFP_DMA|GFP_ZERO", gfp::GFP_NOWAIT | gfp::__GFP_DMA | gfp::__GFP_ZERO),
        ] {
            assert_eq!(read(text), Ok((expected, vec![])), "{text}");
        }
    }

    #[test]
    fn numbers_are_those_of_the_recorded_kernel() {
        assert_eq!(read_of("4.9", "0x24000c0"), Ok((gfp::GFP_KERNEL, vec![])));
        assert_eq!(read_of("3.10", "208"), Ok((gfp::GFP_KERNEL, vec![])));
        assert_eq!(read_of("3.10", "0x20"), Ok((gfp::GFP_ATOMIC, vec![])));
        let kernel_only = gfp::GFP_KERNEL.without(gfp::__GFP_KSWAPD_RECLAIM);
        assert_eq!(read_of("3.10", "0x4000d0"), Ok((kernel_only, vec![])));
        let cold = vec!["__GFP_COLD".to_owned()];
        assert_eq!(read_of("4.9", "0x24001c0"), Ok((gfp::GFP_KERNEL, cold)));
    }

    #[test]
    fn numbers_of_another_kernel_are_not_guessed_at() {
        for text in ["0xd0", "0x80d0", "0x200da", "0x24000c0", "0x14000c0", "0x6000c0", "208"] {
            let complaint = read(text).expect_err("a number of an older kernel");
            assert!(complaint.starts_with(text) && complaint.contains("--kernel"), "{complaint}");
        }
        let complaint = read_of("4.9", "0x80000000").expect_err("no flag of any kernel");
        assert!(complaint.contains("Linux 4.9, which has no flags 0x80000000"), "{complaint}");
        // Slab's first try for a large block, as 6.1 prints it in numbers.
        assert!(read("0xd20d0").is_ok());
    }

    #[test]
    fn transhuge_is_linux_6_1_bit_for_bit() {
        // In 6.1 GFP_TRANSHUGE_LIGHT is 0x1c20ca and GFP_TRANSHUGE adds direct reclaim (0x400).
        assert_eq!(read("GFP_TRANSHUGE_LIGHT").unwrap().0, Gfp(0x1c_20ca));
        assert_eq!(read("GFP_TRANSHUGE").unwrap().0, Gfp(0x1c_24ca));
    }

    #[test]
    fn unknown_flags_are_counted_and_left_out() {
        let (gfp, unknown) = read("GFP_KERNEL|__GFP_SKIP_ZERO|__GFP_NO_OBJ_EXT").unwrap();
        assert_eq!(gfp, gfp::GFP_KERNEL);
        assert_eq!(unknown, ["__GFP_NO_OBJ_EXT", "__GFP_SKIP_ZERO"]);
    }

    #[test]
    fn what_is_no_flag_is_an_error() {
        let starts = |text, part: &str| {
            let complaint = read(text).expect_err(text);
            assert!(complaint.starts_with(&format!("{part}: ")), "{complaint}");
        };
        starts("GFP_KERNEL|kitten", "kitten");
        starts("0xzz", "0xzz");
        starts("12monkeys", "12monkeys");
        starts("0x+1", "0x+1");
        starts("99999999999", "99999999999");
        starts("", "");
        starts("__GFP_", "__GFP_");
    }
}
