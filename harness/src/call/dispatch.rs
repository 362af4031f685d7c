//! Requests and the calls that they are: how one is put together, and how an adapter takes it
//! apart.
//!
//! An adapter implements [`Calls`] and gets its arguments with their types. A row without a method
//! there does not compile.

use super::request::{Request, node};
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
    ($role:ident) => { u64 };
}

/// A word as the value of an argument.
#[rustfmt::skip]
macro_rules! decoded {
    (Order, $word:expr) => { u32::try_from($word).unwrap_or(u32::MAX) };
    (Gfp, $word:expr) => { Gfp($word as u32) };
    (Node, $word:expr) => { node($word) };
    (Cache, $word:expr) => { CacheHandle($word) };
    // A bit beyond the word is as unknown as any.
    (SlabFlags, $word:expr) => { SlabFlags(u32::try_from($word).unwrap_or(u32::MAX)) };
    (Ctor, $word:expr) => { Some($word).filter(|word| *word != 0) };
    ($role:ident, $word:expr) => { $word };
}

/// The value of an argument as a word.
#[rustfmt::skip]
macro_rules! encoded {
    (Order, $value:expr) => { $value as u64 };
    (Gfp, $value:expr) => { $value.0 as u64 };
    (Node, $value:expr) => { match $value { Some(node) => node as u64, None => NUMA_NO_NODE } };
    (Cache, $value:expr) => { $value.0 };
    (SlabFlags, $value:expr) => { $value.0 as u64 };
    (Ctor, $value:expr) => { match $value { Some(word) => word, None => 0 } };
    ($role:ident, $value:expr) => { $value };
}

macro_rules! calls {
    (callers { $(
        $own:ident $own_name:ident [$($own_campaign:ident)*] ($($own_arg:ident: $own_role:ident),*);
    )* } $($family:ident { $(
        $call:ident $name:ident $makes:ident $frees:ident [$($trait:ident)*]
            [$($free:ident)*] [$($campaign:ident)*] ($($arg:ident: $role:ident),*);
    )* })*) => {
        /// An allocator with all of Linux' calls, under their C names. A node is a number or none;
        /// what the C call returns by a pointer or leaves undone is the answer.
        #[expect(missing_docs, reason = "each method is a row of the table")]
        pub trait Calls {
            /// What comes of a call.
            type Answer;
            $($(fn $name(&mut self, $($arg: value!($role)),*) -> Self::Answer;)*)*
        }

        /// Makes the call that a request is; `None` for what a caller does by itself.
        pub fn dispatch<S: Calls>(subject: &mut S, request: &Request) -> Option<S::Answer> {
            let mut words = request.words().iter().copied();
            let mut next = || words.next().unwrap_or(0);
            Some(match request.call {
                $($(Call::$call => subject.$name($(decoded!($role, next())),*),)*)*
                $(Call::$own => return None,)*
            })
        }

        /// Requests, by their C names.
        #[expect(missing_docs, reason = "each function is a row of the table")]
        pub mod ask {
            use super::{CacheHandle, Call, Gfp, NUMA_NO_NODE, Request, SlabFlags};
            $($(pub const fn $name($($arg: value!($role)),*) -> Request {
                Request::new(Call::$call, &[$(encoded!($role, $arg)),*])
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
