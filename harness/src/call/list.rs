//! A list of addresses: what a call gives, or is given, where that is more than one.
//!
//! It has room for as many as a line of a trace names registers, so that nothing is allocated for
//! it and it is handed on by value.

use std::fmt::{self, Debug, Formatter};
use std::ops::Deref;

/// The most addresses of a list.
pub const MAX_LIST: usize = 8;

/// Up to [`MAX_LIST`] addresses.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct List {
    addrs: [u64; MAX_LIST],
    len: u8,
}

impl List {
    /// A list of these addresses.
    ///
    /// # Panics
    /// If there are more than [`MAX_LIST`].
    pub const fn of(addrs: &[u64]) -> Self {
        let mut list = Self { addrs: [0; MAX_LIST], len: addrs.len() as u8 };
        let (places, _) = list.addrs.split_at_mut(addrs.len());
        places.copy_from_slice(addrs);
        list
    }

    /// The same for a place where everything must be known when it is compiled.
    pub const fn as_slice(&self) -> &[u64] {
        self.addrs.split_at(self.len as usize).0
    }
}

impl Deref for List {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        self.as_slice()
    }
}

impl Debug for List {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (place, addr) in self.iter().enumerate() {
            write!(out, "{}{addr:#x}", if place > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}
