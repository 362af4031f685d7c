//! A mistake of a caller: the rule that it breaks, where in its source, and who gave and freed the
//! memory.

use crate::exec::{last_panic_place, message};
use crate::oracle::caller::Rule;
use std::any::Any;
use std::fmt::{self, Display, Formatter};
use std::panic::Location;

/// A place in the caller's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub file: &'static str,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1; 0 if it is not known.
    pub column: u32,
}

impl From<&'static Location<'static>> for Source {
    fn from(place: &'static Location<'static>) -> Self {
        Self { file: place.file(), line: place.line(), column: place.column() }
    }
}

impl Display for Source {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.file, self.line)?;
        if self.column > 0 { write!(out, ":{}", self.column) } else { Ok(()) }
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misuse {
    /// The rule.
    pub rule: Rule,
    /// What was done, and what Linux makes of it.
    pub says: String,
    /// Where it was done; none at the end of the caller.
    pub at: Option<Source>,
    /// Where the memory in question was asked for.
    pub asked_at: Option<Source>,
    /// Where it was freed.
    pub freed_at: Option<Source>,
    /// Where it panicked, if it did.
    pub panicked_at: Option<String>,
    /// The first byte of the memory in question.
    pub about: Option<u64>,
}

impl Misuse {
    /// A broken rule, of which no place is known yet.
    pub fn new(rule: Rule, says: impl Into<String>) -> Self {
        Self {
            rule,
            says: says.into(),
            at: None,
            asked_at: None,
            freed_at: None,
            panicked_at: None,
            about: None,
        }
    }

    /// The mistake of a caller that panics.
    pub fn panicked(panic: &(dyn Any + Send)) -> Self {
        let misuse = Self::new(Rule::Panic, format!("it panics: {}", message(panic)));
        Self { panicked_at: last_panic_place(), ..misuse }
    }

    /// Whether another run shows the same mistake: the same rule, broken at the same place.
    pub fn is_like(&self, other: &Self) -> bool {
        let places = |it: &Self| (it.rule, it.at, it.asked_at);
        places(self) == places(other) && self.panicked_at == other.panicked_at
    }
}

impl Display for Misuse {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "  rule:   {}", self.rule.sentence())?;
        writeln!(out, "  what:   {}", self.says)?;
        let places = [("at", self.at), ("asked", self.asked_at), ("freed", self.freed_at)];
        for (what, place) in places {
            if let Some(place) = place {
                writeln!(out, "  {:<8}{place}", format!("{what}:"))?;
            }
        }
        match &self.panicked_at {
            Some(place) => writeln!(out, "  at:     {place}"),
            None => Ok(()),
        }
    }
}
