//! What only Linux promises: size classes, sides, placement, watermarks, effort, contexts, its free
//! matrix. A subject that claims to be Linux is held to all of it.

pub(super) mod accounting;
pub(super) mod boot;
pub(super) mod context;
pub(super) mod contract;
pub(super) mod conversion;
pub(super) mod device;
pub(super) mod huge;
pub(super) mod injection;
pub(super) mod node;
pub(super) mod nofail;
pub(super) mod realloc;
pub(super) mod reclaim;
pub(super) mod reuse;
pub(super) mod routing;
mod situation;
pub(super) mod wrong_free;
