//! The catalogue: small callers, each with one hidden assumption that real code has made, beside
//! its corrected twin.
//!
//! It is the claim of random routing as a table that a command prints (`kvroute callers`): what
//! shows each mistake, after how many runs, and how few decisions it needs. The last line counts
//! those that nothing shows without random routing.

mod case;
mod contents;
mod contexts;
mod failures;
mod frees;
mod places;

pub use case::{Case, Catalogued};

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [frees::CASES, places::CASES, contents::CASES, contexts::CASES, failures::CASES]
        .into_iter()
        .flatten()
}
