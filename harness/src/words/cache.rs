//! Slab caches: how a trace names one, and the flags that it is made with.

/// A subject's own name for a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheHandle(pub u64);

/// Flags of a slab cache (`slab_flags_t`), bit for bit Linux's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlabFlags(pub u32);

/// Objects start at cache lines, or share one evenly if they are at most half as large (R2.2).
pub const SLAB_HWCACHE_ALIGN: SlabFlags = SlabFlags(0x2000);

/// The flags of a slab cache that may be asked for, by their C names (R2.1).
pub const SLAB_FLAG_NAMES: &[(&str, u64)] = &[
    ("SLAB_HWCACHE_ALIGN", SLAB_HWCACHE_ALIGN.0 as u64),
    ("SLAB_RECLAIM_ACCOUNT", 0x2_0000),
    ("SLAB_PANIC", 0x4_0000),
    ("SLAB_NOLEAKTRACE", 0x80_0000),
    ("SLAB_ACCOUNT", 0x400_0000),
];

impl SlabFlags {
    /// Whether every bit of `flag` is set.
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 == flag.0
    }
}
