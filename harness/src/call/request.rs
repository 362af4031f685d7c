//! A request: what a caller asks of an allocator, with every register resolved.
//!
//! It is the call and a word for each argument, which is also the flat form in which it can be
//! sent elsewhere. Who calls, and which failures are injected, stands beside it in a `Setting`.

use super::{Call, CallSpec, Family, Frees, MAX_ARGS, Role};
use crate::words::{CacheHandle, Gfp, Route, SlabFlags};
use std::fmt::{self, Debug, Formatter};

/// A node; a number beyond all nodes stays one.
pub(super) fn node(word: u64) -> Option<u8> {
    (word != super::NUMA_NO_NODE).then(|| u8::try_from(word).unwrap_or(u8::MAX))
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The call.
    pub call: Call,
    /// The side that the lane asks for, if the call takes a route.
    pub route: Route,
    /// A word for each argument; 0 beyond them.
    words: [u64; MAX_ARGS],
}

impl Request {
    /// A request with its arguments in the order of the table; those that are left out are 0.
    ///
    /// # Panics
    /// If there are more than [`MAX_ARGS`].
    pub const fn new(call: Call, words: &[u64]) -> Self {
        let mut request = Self { call, route: Route::Policy, words: [0; MAX_ARGS] };
        let (places, _) = request.words.split_at_mut(words.len());
        places.copy_from_slice(words);
        request
    }

    /// The same request by another route.
    #[must_use]
    pub fn by(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// The call's row.
    pub fn spec(&self) -> &'static CallSpec {
        self.call.spec()
    }

    /// A word for each argument.
    pub fn words(&self) -> &[u64] {
        &self.words[..self.spec().args.len()]
    }

    /// The word of the argument that plays a part, if the call has one.
    pub fn get(&self, role: Role) -> Option<u64> {
        self.spec().place(role).map(|place| self.words[place])
    }

    /// The bytes that are asked for, of one element if there are several.
    pub fn size(&self) -> Option<u64> {
        self.get(Role::Size)
    }

    /// The bytes that the caller says it has.
    pub fn held(&self) -> Option<u64> {
        self.get(Role::Held)
    }

    /// The order; 0 for a call that means a single page.
    pub fn order(&self) -> u32 {
        self.get(Role::Order).map_or(0, |order| u32::try_from(order).unwrap_or(u32::MAX))
    }

    /// The flags.
    pub fn gfp(&self) -> Option<Gfp> {
        self.get(Role::Gfp).map(|word| Gfp(word as u32))
    }

    /// The node that is named.
    pub fn node(&self) -> Option<u8> {
        self.get(Role::Node).and_then(node)
    }

    /// The cache that is named.
    pub fn cache(&self) -> Option<CacheHandle> {
        self.get(Role::Cache).map(CacheHandle)
    }

    /// The flags of a new cache.
    pub fn slab_flags(&self) -> SlabFlags {
        let word = self.get(Role::SlabFlags).unwrap_or(0);
        SlabFlags(u32::try_from(word).unwrap_or(u32::MAX))
    }

    /// The word that a new cache's constructor leaves.
    pub fn ctor(&self) -> Option<u64> {
        self.get(Role::Ctor).filter(|word| *word != 0)
    }

    /// The address that the call is about, whatever it does there. One that is physical is named by
    /// its place in the direct map.
    pub fn address(&self) -> Option<u64> {
        let is_place = |role: Role| role.is_address() || role == Role::Phys;
        let place = self.spec().args.iter().position(|(_, role)| is_place(*role))?;
        Some(self.words[place])
    }

    /// The address of what the call frees, if it frees memory.
    pub fn freed(&self) -> Option<u64> {
        let frees_memory = !matches!(self.spec().frees, Frees::Nothing | Frees::Destroy);
        if frees_memory { self.address() } else { None }
    }

    /// The address of which the call asks what it is, or what is behind it.
    pub fn converted(&self) -> Option<u64> {
        if self.spec().family == Family::Addresses { self.address() } else { None }
    }

    /// The address of what the call replaces.
    pub fn replaced(&self) -> Option<u64> {
        self.get(Role::Replaced)
    }
}

/// As a trace writes it, but that addresses, caches and their flags are numbers.
impl Debug for Request {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{}(", self.spec().name)?;
        for (place, (word, (_, role))) in self.words().iter().zip(self.spec().args).enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            match role {
                Role::Gfp => write!(out, "{comma}{}", Gfp(*word as u32))?,
                Role::Count | Role::Order => write!(out, "{comma}{word}")?,
                Role::Node if *word == super::NUMA_NO_NODE => write!(out, "{comma}NUMA_NO_NODE")?,
                Role::Node => write!(out, "{comma}{word}")?,
                _ => write!(out, "{comma}{word:#x}")?,
            }
        }
        write!(out, ")")?;
        match self.route {
            Route::Policy => Ok(()),
            route => write!(out, " (route: {})", route.name()),
        }
    }
}
