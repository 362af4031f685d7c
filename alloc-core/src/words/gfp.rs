//! GFP flags: what an allocation may do to get its memory, and what it wants done to it.
//!
//! A flag word is Linux 6.1's, bit for bit (R0.2), and so are the names, so that a word from a
//! kernel log means the same here. Composite names are sums of single bits.
//!
//! What the flags *do* is decided where they are used: watermarks in `pages`, the fallback in
//! `kvmalloc`.

use core::ops::{BitOr, BitOrAssign};

/// A word of GFP flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gfp(pub u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bits:expr;)*) => {
        $($(#[$doc])* pub const $name: Gfp = Gfp($bits);)*
        /// Every flag and composite by its C name, composites first and the widest of them before
        /// its parts.
        pub const GFP_NAMES: &[(&str, Gfp)] = &[$((stringify!($name), $name)),*];
    };
}

flags! {
    /// Memory that a user page of the movable kind comes from.
    GFP_HIGHUSER_MOVABLE = 0x10_0cca;
    /// High memory for user space.
    GFP_HIGHUSER = 0x10_0cc2;
    /// Memory for user space, bound by the task's cpuset.
    GFP_USER = 0x10_0cc0;
    /// `GFP_KERNEL`, charged to the memory control group.
    GFP_KERNEL_ACCOUNT = 0x40_0cc0;
    /// The ordinary request: may sleep, start I/O and call into file systems.
    GFP_KERNEL = 0xcc0;
    /// May sleep and start I/O, but not enter a file system.
    GFP_NOFS = 0xc40;
    /// May sleep, but start no I/O.
    GFP_NOIO = 0xc00;
    /// May not sleep; may use part of the reserves.
    GFP_ATOMIC = 0xa20;
    /// May not sleep; may not touch the reserves.
    GFP_NOWAIT = 0x800;
    /// Both reclaim bits: direct and kswapd.
    __GFP_RECLAIM = 0xc00;
    /// From the zone that old devices can reach.
    __GFP_DMA = 0x1;
    /// From high memory; without effect on a 64-bit machine.
    __GFP_HIGHMEM = 0x2;
    /// From the zone below 4 GiB.
    __GFP_DMA32 = 0x4;
    /// The pages can be migrated.
    __GFP_MOVABLE = 0x8;
    /// The memory can be reclaimed by a shrinker.
    __GFP_RECLAIMABLE = 0x10;
    /// Urgent: may use half of the reserves.
    __GFP_HIGH = 0x20;
    /// May start I/O.
    __GFP_IO = 0x40;
    /// May enter a file system.
    __GFP_FS = 0x80;
    /// The memory must read as zero.
    __GFP_ZERO = 0x100;
    /// Cannot sleep and urgent.
    __GFP_ATOMIC = 0x200;
    /// May reclaim directly, that is, may sleep.
    __GFP_DIRECT_RECLAIM = 0x400;
    /// May wake kswapd.
    __GFP_KSWAPD_RECLAIM = 0x800;
    /// The page will be written soon.
    __GFP_WRITE = 0x1000;
    /// No message in the log on failure.
    __GFP_NOWARN = 0x2000;
    /// Try hard, but fail rather than kill a process.
    __GFP_RETRY_MAYFAIL = 0x4000;
    /// The request must not fail, however long it takes.
    __GFP_NOFAIL = 0x8000;
    /// One round of reclaim, then fail.
    __GFP_NORETRY = 0x1_0000;
    /// No watermark applies.
    __GFP_MEMALLOC = 0x2_0000;
    /// A compound page.
    __GFP_COMP = 0x4_0000;
    /// Never use the reserves.
    __GFP_NOMEMALLOC = 0x8_0000;
    /// Keep to the task's cpuset.
    __GFP_HARDWALL = 0x10_0000;
    /// From the given node only.
    __GFP_THISNODE = 0x20_0000;
    /// Charge the memory control group.
    __GFP_ACCOUNT = 0x40_0000;
}

impl Gfp {
    /// Whether every bit of `flag` is set.
    pub const fn has(self, flag: Gfp) -> bool {
        self.0 & flag.0 == flag.0
    }

    /// The word without the bits of `flag`.
    #[must_use]
    pub const fn without(self, flag: Gfp) -> Gfp {
        Gfp(self.0 & !flag.0)
    }

    /// `gfpflags_allow_blocking`: the request may sleep (R0.2).
    pub const fn may_block(self) -> bool {
        self.has(__GFP_DIRECT_RECLAIM)
    }
}

impl BitOr for Gfp {
    type Output = Gfp;
    fn bitor(self, other: Gfp) -> Gfp {
        Gfp(self.0 | other.0)
    }
}

impl BitOrAssign for Gfp {
    fn bitor_assign(&mut self, other: Gfp) {
        self.0 |= other.0;
    }
}
