//! A request: what a caller asks of an allocator, with every register resolved.
//!
//! It is the call and a word for each argument, or for each address of a list that is the last one,
//! which is also the flat form in which it can be sent elsewhere. Who calls, and which failures are
//! injected, stands beside it in a `Setting`.

use super::{Call, CallSpec, Family, Frees, List, MAX_ARGS, MAX_LIST, Role};
use crate::words::{CacheHandle, Gfp, Route, SlabFlags};
use std::fmt::{self, Debug, Formatter};

/// A node; a number beyond all nodes stays one.
pub(super) fn node(word: u64) -> Option<u8> {
    (word != super::NUMA_NO_NODE).then(|| u8::try_from(word).unwrap_or(u8::MAX))
}

/// The most words that a request has.
const MAX_WORDS: usize = MAX_ARGS - 1 + MAX_LIST;

/// The value of an argument in words.
#[derive(Clone, Copy, Debug)]
pub enum Words {
    /// One word.
    One(u64),
    /// One for each address.
    List(List),
}

/// A request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The call.
    pub call: Call,
    /// The side that the lane asks for, if the call takes a route.
    pub route: Route,
    /// A word for each argument; 0 beyond them.
    words: [u64; MAX_WORDS],
    /// How many words it has.
    nr_words: u8,
}

impl Request {
    /// A request with its arguments in the order of the table; those that are left out are 0.
    ///
    /// # Panics
    /// If there are more than [`MAX_ARGS`].
    pub const fn new(call: Call, words: &[u64]) -> Self {
        assert!(words.len() <= MAX_ARGS);
        let nr_words = match call.spec().args {
            [before @ .., (_, Role::FreedList)] => before.len(),
            args => args.len(),
        };
        let (route, nr_words) = (Route::Policy, nr_words as u8);
        let mut request = Self { call, route, words: [0; MAX_WORDS], nr_words };
        let (places, _) = request.words.split_at_mut(words.len());
        places.copy_from_slice(words);
        request
    }

    /// A request with the value of each argument.
    pub const fn of(call: Call, values: &[Words]) -> Self {
        let mut request = Self::new(call, &[]);
        let mut place = 0;
        while place < values.len() {
            match values[place] {
                Words::One(word) => request.words[place] = word,
                Words::List(list) => request = request.listing(place, list),
            }
            place += 1;
        }
        request
    }

    /// The same request with a list of addresses for its last argument, which is at `place`.
    const fn listing(mut self, place: usize, list: List) -> Self {
        let addrs = list.as_slice();
        let (places, _) = self.words.split_at_mut(place).1.split_at_mut(addrs.len());
        places.copy_from_slice(addrs);
        self.nr_words = (place + addrs.len()) as u8;
        self
    }

    /// The same request with a list of addresses for its last argument.
    #[must_use]
    pub fn with_list(self, list: List) -> Self {
        self.listing(self.spec().args.len() - 1, list)
    }

    /// The same request by another route.
    #[must_use]
    pub fn by(self, route: Route) -> Self {
        Self { route, ..self }
    }

    /// The same request with another word for the argument that plays a part; itself if the call
    /// has no such argument.
    #[must_use]
    pub fn with(mut self, role: Role, word: u64) -> Self {
        if let Some(place) = self.spec().place(role) {
            self.words[place] = word;
        }
        self
    }

    /// The call's row.
    pub fn spec(&self) -> &'static CallSpec {
        self.call.spec()
    }

    /// A word for each argument, and for each address of a list.
    pub fn words(&self) -> &[u64] {
        &self.words[..usize::from(self.nr_words)]
    }

    /// The part that each word plays; the addresses of a list all play that of the last argument.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        let args = self.spec().args;
        (0..usize::from(self.nr_words)).map(|place| args[place.min(args.len() - 1)].1)
    }

    /// The word of the argument that plays a part, if the call has one.
    pub fn get(&self, role: Role) -> Option<u64> {
        self.spec().place(role).map(|place| self.words[place])
    }

    /// The bytes that are asked for, of one element if there are several.
    pub fn size(&self) -> Option<u64> {
        self.get(Role::Size)
    }

    /// The bytes that are asked for in all, of every element; the most there can be if that does
    /// not fit.
    pub fn bytes(&self) -> u64 {
        self.size().unwrap_or(0).saturating_mul(self.get(Role::Count).unwrap_or(1))
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

    /// How many pieces of memory the call is to give, if it gives memory.
    pub fn nr_results(&self) -> u64 {
        self.get(Role::Results).unwrap_or(1)
    }

    /// The address that the call is about, whatever it does there. One that is physical is named by
    /// its place in the direct map.
    pub fn address(&self) -> Option<u64> {
        let is_place = |role: Role| role.is_address() || role == Role::Phys;
        let place = self.spec().args.iter().position(|(_, role)| is_place(*role))?;
        Some(self.words[place])
    }

    /// The addresses of what the call frees; none if it frees no memory.
    pub fn freed(&self) -> &[u64] {
        let CallSpec { frees, args, .. } = self.spec();
        if matches!(frees, Frees::Nothing | Frees::Destroy) {
            return &[];
        }
        let is_freed =
            |role: Role| role.is_address() || matches!(role, Role::Phys | Role::FreedList);
        match args.iter().position(|(_, role)| is_freed(*role)) {
            Some(place) if args[place].1 == Role::FreedList => &self.words()[place..],
            Some(place) => &self.words[place..=place],
            None => &[],
        }
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
        for (place, (word, role)) in self.words().iter().zip(self.roles()).enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            match role {
                Role::Gfp => write!(out, "{comma}{}", Gfp(*word as u32))?,
                Role::Count | Role::Results | Role::Order => write!(out, "{comma}{word}")?,
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
