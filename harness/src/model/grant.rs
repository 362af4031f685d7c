//! What memory is that was granted: what its caller may rely on, and of which kind it is.

use super::Kind;

/// Memory that was granted to a request, as its caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    /// First byte; up to 16 for no memory.
    pub addr: u64,
    /// Bytes that the allocator says may be used.
    pub usable: u64,
    /// Bytes that the caller may rely on.
    pub size: u64,
    /// The alignment that the caller may rely on.
    pub align: u64,
    /// What it is.
    pub kind: Kind,
    /// Whether it is the memory that the request was to replace, where it was.
    pub stays: bool,
}

impl Granted {
    /// Whether there is any memory.
    pub(crate) fn is_memory(&self) -> bool {
        self.addr > 16
    }
}
