//! A case of the catalogue: a hidden assumption of real code.

use crate::caller::config::Phase;
use crate::caller::kernel::{Kernel, NoMemory};
use crate::oracle::caller::Rule;

/// What a caller of the catalogue returns; those that compute something return it.
pub(super) type Returned = Result<u64, NoMemory>;

/// A caller of the catalogue.
pub type Catalogued = fn(&Kernel) -> Returned;

/// A hidden assumption.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is, in a few words.
    pub name: &'static str,
    /// Where real code made it.
    pub source: &'static str,
    /// The rule that it breaks.
    pub rule: Rule,
    /// What shows it first.
    pub phase: Phase,
    /// The code that makes it.
    pub wrong: Catalogued,
    /// The same, corrected.
    pub right: Catalogued,
}
