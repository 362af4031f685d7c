//! Requests and the calls that they are: how one is put together, and how an adapter takes it
//! apart.
//!
//! An adapter implements [`Calls`] and gets its arguments with their types. A row without a method
//! there does not compile.

use super::request::{Request, Words, node};
use super::rows::for_each_call;
use super::{Call, NUMA_NO_NODE};
use crate::words::{CacheHandle, Gfp, SlabFlags};

/// The type of an argument.
#[rustfmt::skip]
macro_rules! value {
    (Order) => { u32 };
    (Gfp) => { Gfp };
    (Node) => { Option<u8> };
    (Cache) => { CacheHandle };
    (SlabFlags) => { SlabFlags };
    (Ctor) => { Option<u64> };
    (FreedList) => { crate::call::List };
    ($role:ident) => { u64 };
}

/// The next word as the value of an argument.
#[rustfmt::skip]
macro_rules! decoded {
    (Order, $words:expr) => { u32::try_from(next($words)).unwrap_or(u32::MAX) };
    (Gfp, $words:expr) => { Gfp(next($words) as u32) };
    (Node, $words:expr) => { node(next($words)) };
    (Cache, $words:expr) => { CacheHandle(next($words)) };
    // A bit beyond the word is as unknown as any.
    (SlabFlags, $words:expr) => { SlabFlags(u32::try_from(next($words)).unwrap_or(u32::MAX)) };
    (Ctor, $words:expr) => { Some(next($words)).filter(|word| *word != 0) };
    (FreedList, $words:expr) => { crate::call::List::of(std::mem::take($words)) };
    ($role:ident, $words:expr) => { next($words) };
}

/// Takes the first of some words.
fn next(words: &mut &[u64]) -> u64 {
    let Some((word, rest)) = words.split_first() else { return 0 };
    *words = rest;
    *word
}

/// The value of an argument in words.
#[rustfmt::skip]
macro_rules! encoded {
    (Order, $value:expr) => { Words::One($value as u64) };
    (Gfp, $value:expr) => { Words::One($value.0 as u64) };
    (Node, $value:expr) => { match $value {
        Some(node) => Words::One(node as u64),
        None => Words::One(NUMA_NO_NODE),
    } };
    (Cache, $value:expr) => { Words::One($value.0) };
    (SlabFlags, $value:expr) => { Words::One($value.0 as u64) };
    (Ctor, $value:expr) => { match $value {
        Some(word) => Words::One(word),
        None => Words::One(0),
    } };
    (FreedList, $value:expr) => { Words::List($value) };
    ($role:ident, $value:expr) => { Words::One($value) };
}

macro_rules! calls {
    (callers { $(
        $own:ident $own_name:ident [$($own_campaign:ident)*] ($($own_arg:ident: $own_role:ident),*);
    )* } foreign { $($others:ident { $(
        $foreign:ident $foreign_name:ident $foreign_makes:ident $foreign_frees:ident
            [$($foreign_trait:ident)*] [$($foreign_free:ident)*] [$($foreign_campaign:ident)*]
            ($($foreign_arg:ident: $foreign_role:ident),*);
    )* })* } $($family:ident { $(
        $call:ident $name:ident $makes:ident $frees:ident [$($trait:ident)*]
            [$($free:ident)*] [$($campaign:ident)*] ($($arg:ident: $role:ident),*)
            $(since $since:literal)?;
    )* })*) => {
        /// An allocator with all of Linux' calls, under their C names. A node is a number or none;
        /// what the C call returns by a pointer or leaves undone is the answer.
        #[expect(missing_docs, reason = "each method is a row of the table")]
        pub trait Calls {
            /// What comes of a call.
            type Answer;
            $($(fn $name(&mut self, $($arg: value!($role)),*) -> Self::Answer;)*)*
        }

        /// Makes the call that a request is; `None` for what a caller does by itself, and for the
        /// calls of allocators that are not Linux'.
        pub fn dispatch<S: Calls>(subject: &mut S, request: &Request) -> Option<S::Answer> {
            let words = &mut request.words();
            Some(match request.call {
                $($(Call::$call => subject.$name($(decoded!($role, words)),*),)*)*
                $($(Call::$foreign => return None,)*)*
                $(Call::$own => return None,)*
            })
        }

        /// Requests, by their C names.
        #[expect(missing_docs, reason = "each function is a row of the table")]
        pub mod ask {
            use super::{CacheHandle, Call, Gfp, NUMA_NO_NODE, Request, SlabFlags, Words};
            $($(pub const fn $name($($arg: value!($role)),*) -> Request {
                Request::of(Call::$call, &[$(encoded!($role, $arg)),*])
            })*)*
            $($(pub const fn $foreign_name($($foreign_arg: value!($foreign_role)),*) -> Request {
                Request::of(Call::$foreign, &[$(encoded!($foreign_role, $foreign_arg)),*])
            })*)*
        }
    };
}

for_each_call!(calls);

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_asked_is_what_arrives() {
        let request = ask::kmem_cache_alloc_node(CacheHandle(7), Gfp(0xcc0), Some(3));
        assert_eq!(request.words(), [7, 0xcc0, 3]);
        assert_eq!((request.cache(), request.gfp()), (Some(CacheHandle(7)), Some(Gfp(0xcc0))));
        assert_eq!((request.node(), request.size()), (Some(3), None));
        assert_eq!(ask::vmalloc_node(8, None).node(), None);
    }
}
