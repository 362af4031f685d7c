//! Which kernel a recording is of, and what the bits of its GFP flags mean.
//!
//! Names of flags say what they mean, numbers do not: the bits were dealt anew five times. Each
//! time is a row of [`FLAG_BITS`], taken from `include/linux/gfp.h` (since 5.19 `gfp_types.h`) of
//! the versions between which it changed; a row lists the bits from the lowest.
//!
//! Numbers of an unknown kernel are read as those of [`DEFAULT`], unless they cannot be. Names are
//! the business of `gfp`.

use std::fmt;
use std::str::FromStr;

use crate::words::gfp::{self, GFP_NAMES, Gfp};

/// A kernel's version, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Kernel {
    /// 6 of 6.1.
    pub major: u32,
    /// 1 of 6.1.
    pub minor: u32,
}

/// The kernel whose numbers are assumed if nothing says which it was.
pub const DEFAULT: Kernel = kernel(6, 1);

const fn kernel(major: u32, minor: u32) -> Kernel {
    Kernel { major, minor }
}

/// The bits of flags from one version on, until the next row.
struct FlagBits {
    since: Kernel,
    /// The flags without `__GFP_`, from bit 0 on.
    bits: &'static [&'static str],
}

/// A bit that one configuration or another uses for its debugging, and that means nothing here.
const BY_CONFIGURATION: &str = "(KASAN, lockdep or allocation profiling)";

const fn since(major: u32, minor: u32, bits: &'static [&'static str]) -> FlagBits {
    FlagBits { since: kernel(major, minor), bits }
}

/// Every dealing of the bits, the oldest first.
#[rustfmt::skip]
static FLAG_BITS: &[FlagBits] = &[
    since(3, 0, &[
        "DMA", "HIGHMEM", "DMA32", "MOVABLE", "WAIT", "HIGH", "IO", "FS", "COLD", "NOWARN", "REPEAT",
        "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "ZERO", "NOMEMALLOC", "HARDWALL", "THISNODE",
        "RECLAIMABLE", "NOACCOUNT", "NOTRACK", "NO_KSWAPD", "OTHER_NODE", "WRITE",
    ]),
    since(4, 4, &[
        "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "COLD", "NOWARN",
        "REPEAT", "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "ZERO", "NOMEMALLOC", "HARDWALL",
        "THISNODE", "ATOMIC", "NOACCOUNT", "NOTRACK", "DIRECT_RECLAIM", "OTHER_NODE", "WRITE",
        "KSWAPD_RECLAIM",
    ]),
    since(4, 5, &[
        "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "COLD", "NOWARN",
        "REPEAT", "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "ZERO", "NOMEMALLOC", "HARDWALL",
        "THISNODE", "ATOMIC", "ACCOUNT", "NOTRACK", "DIRECT_RECLAIM", "OTHER_NODE", "WRITE",
        "KSWAPD_RECLAIM",
    ]),
    since(4, 10, &[
        "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "COLD", "NOWARN",
        "RETRY_MAYFAIL", "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "ZERO", "NOMEMALLOC", "HARDWALL",
        "THISNODE", "ATOMIC", "ACCOUNT", "NOTRACK", "DIRECT_RECLAIM", "WRITE", "KSWAPD_RECLAIM",
        "NOLOCKDEP",
    ]),
    since(4, 18, &[
        "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "WRITE", "NOWARN",
        "RETRY_MAYFAIL", "NOFAIL", "NORETRY", "MEMALLOC", "COMP", "ZERO", "NOMEMALLOC", "HARDWALL",
        "THISNODE", "ATOMIC", "ACCOUNT", "DIRECT_RECLAIM", "KSWAPD_RECLAIM", "NOLOCKDEP",
    ]),
    since(5, 1, &[
        "DMA", "HIGHMEM", "DMA32", "MOVABLE", "RECLAIMABLE", "HIGH", "IO", "FS", "ZERO", "ATOMIC",
        "DIRECT_RECLAIM", "KSWAPD_RECLAIM", "WRITE", "NOWARN", "RETRY_MAYFAIL", "NOFAIL", "NORETRY",
        "MEMALLOC", "COMP", "NOMEMALLOC", "HARDWALL", "THISNODE", "ACCOUNT", BY_CONFIGURATION,
        BY_CONFIGURATION, BY_CONFIGURATION, BY_CONFIGURATION, BY_CONFIGURATION,
    ]),
];

/// What one bit of a number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bit {
    /// A flag that Linux 6.1 has.
    Means(Gfp),
    /// A flag of this name, which means nothing here.
    Nothing(&'static str),
    /// No flag of that kernel.
    Unknown,
}

impl Kernel {
    /// What a bit says in this kernel's numbers.
    pub(super) fn bit(self, place: u32) -> Bit {
        let row = FLAG_BITS.iter().rev().find(|row| row.since <= self);
        let name = row.and_then(|row| row.bits.get(place as usize));
        name.map_or(Bit::Unknown, |name| meaning(name))
    }

    /// Whether kswapd is woken unless a flag forbids it: up to 4.3 none asked for it.
    pub(super) fn wakes_kswapd_unasked(self) -> bool {
        self < kernel(4, 4)
    }
}

/// What a flag without its underscores means today.
pub(super) fn meaning(name: &'static str) -> Bit {
    match name {
        // Up to 4.3 one bit said that the caller may sleep.
        "WAIT" => return Bit::Means(gfp::__GFP_DIRECT_RECLAIM),
        // Renamed in 4.13, and since then heeded for all orders.
        "REPEAT" => return Bit::Means(gfp::__GFP_RETRY_MAYFAIL),
        _ => {}
    }
    let known = GFP_NAMES.iter().find(|(known, _)| known.strip_prefix("__GFP_") == Some(name));
    known.map_or(Bit::Nothing(name), |(_, flag)| Bit::Means(*flag))
}

impl FromStr for Kernel {
    type Err = String;

    /// Reads `6.1`, `v6.1`, and what `uname -r` prints.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split(['.', '-', '+', ' ']);
        let mut next = || numbers.next().and_then(|digits| digits.parse::<u16>().ok());
        let (Some(major), Some(minor)) = (next(), next()) else {
            return Err(format!("`{text}` is no version of Linux such as 6.1"));
        };
        let oldest = FLAG_BITS[0].since;
        let read = kernel(major.into(), minor.into());
        if read < oldest {
            return Err(format!("recordings are read from Linux {oldest} on, not of {text}"));
        }
        Ok(read)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::words::Gfp;

    fn number(kernel: &str, bits: u32) -> Gfp {
        let kernel: Kernel = kernel.parse().expect("a version");
        let set = (0..32).filter(|place| bits >> place & 1 == 1);
        set.fold(Gfp(0), |sum, place| match kernel.bit(place) {
            Bit::Means(flag) => sum | flag,
            other => panic!("bit {place} of {kernel}: {other:?}"),
        })
    }

    /// The numbers of GFP_KERNEL, GFP_HIGHUSER_MOVABLE and GFP_KERNEL|__GFP_ZERO that reports of
    /// these kernels show.
    #[test]
    fn well_known_numbers_are_read_by_their_kernel() {
        let zeroed = gfp::GFP_KERNEL | gfp::__GFP_ZERO;
        for (kernel, plain, user, zero) in [
            ("4.4.0-210-generic", 0x240_00c0, 0x242_00ca, 0x240_80c0),
            ("4.9", 0x240_00c0, 0x242_00ca, 0x240_80c0),
            ("v4.15", 0x140_00c0, 0x142_00ca, 0x140_80c0),
            ("4.19.91", 0x60_00c0, 0x62_00ca, 0x60_80c0),
            ("5.4", 0xcc0, 0x10_0cca, 0xdc0),
            ("6.12.107+deb13", 0xcc0, 0x10_0cca, 0xdc0),
        ] {
            assert_eq!(number(kernel, plain), gfp::GFP_KERNEL, "{kernel}");
            assert_eq!(number(kernel, user), gfp::GFP_HIGHUSER_MOVABLE, "{kernel}");
            assert_eq!(number(kernel, zero), zeroed, "{kernel}");
        }
        // Up to 4.3 kswapd went without saying.
        let old = gfp::GFP_KERNEL.without(gfp::__GFP_KSWAPD_RECLAIM);
        assert_eq!(number("3.10.0-1160.el7", 0xd0), old);
        assert_eq!(number("4.3", 0x80d0), old | gfp::__GFP_ZERO);
    }

    #[test]
    fn bits_that_no_flag_has_are_unknown() {
        assert_eq!(DEFAULT.bit(31), Bit::Unknown);
        assert_eq!(kernel(3, 10).bit(25), Bit::Unknown);
        assert_eq!(DEFAULT.bit(24), Bit::Nothing(BY_CONFIGURATION));
        assert_eq!(kernel(4, 4).bit(8), Bit::Nothing("COLD"));
    }

    #[test]
    fn versions_are_read_and_others_are_not() {
        assert_eq!("6.1".parse(), Ok(DEFAULT));
        assert_eq!("6.1.0-56-amd64".parse(), Ok(DEFAULT));
        for bad in ["", "6", "six.one", "2.6.32", "-6.1", "6.99999"] {
            assert!(bad.parse::<Kernel>().is_err(), "{bad}");
        }
        assert!(kernel(4, 10) > kernel(4, 9), "versions are not decimals");
    }
}
