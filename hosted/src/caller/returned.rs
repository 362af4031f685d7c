//! What a caller returns, which may lie in memory of its run.
//!
//! With [`Global`](super::Global) a text or a list that a caller returns was allocated in the run
//! that made it, and is compared when that run is over. It is its receiver's to free, so it is no
//! leak: it is kept as what it prints, and dropped while its run is still there.

use super::current;
use std::fmt::{self, Debug, Formatter};

/// A value that has outlived its run.
pub(super) enum Returned<T> {
    /// As it is: the run has left no memory behind.
    Value(T),
    /// As what it prints, which is all that is left of it.
    Printed(String),
}

impl<T: Debug> Returned<T> {
    /// Takes a value out of the run that is going on.
    pub(super) fn of(value: T) -> Self {
        if !current::holds_memory() {
            return Self::Value(value);
        }
        let printed = format!("{value:?}");
        current::as_caller(|| drop(value));
        Self::Printed(printed)
    }
}

impl<T: Debug> Debug for Returned<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(out),
            Self::Printed(printed) => out.write_str(printed),
        }
    }
}

impl<T: Debug + PartialEq> PartialEq for Returned<T> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(value), Self::Value(other)) => value == other,
            _ => format!("{self:?}") == format!("{other:?}"),
        }
    }
}
