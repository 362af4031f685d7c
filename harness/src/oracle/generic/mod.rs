//! What any caller of any allocator may rely on.

pub(super) mod agreement;
pub(super) mod bounds;
pub(super) mod contents;
pub(super) mod drain;
pub(super) mod free;
pub(super) mod overlap;
pub(super) mod patience;
pub(super) mod promise;
pub(super) mod rounds;
pub(super) mod structure;
