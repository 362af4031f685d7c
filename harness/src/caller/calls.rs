//! The calls that a caller can make: one method for each row of the table of calls.
//!
//! Arguments have the types of their parts: sizes are numbers, flags flags, and addresses pointers.
//! A call that makes memory gives a pointer or [`NoMemory`], as C gives `NULL`.

use super::kernel::{Kernel, NoMemory, Pointer};
use crate::call::{Call, List, MAX_ARGS, MAX_LIST, NUMA_NO_NODE, Request, Words, for_each_call};
use crate::op::Reg;
use crate::subject::Answer;
use crate::words::{CacheHandle, Gfp, SlabFlags};

/// The type of an argument.
#[rustfmt::skip]
macro_rules! argument {
    (Order) => { u32 };
    (Gfp) => { Gfp };
    (Node) => { Option<u8> };
    (Cache) => { CacheHandle };
    (SlabFlags) => { SlabFlags };
    (Ctor) => { Option<u64> };
    (Freed) => { Pointer<'_> };
    (Replaced) => { Pointer<'_> };
    (Read) => { Pointer<'_> };
    (FreedList) => { &[Pointer<'_>] };
    ($role:ident) => { u64 };
}

/// What stands for an argument of a call.
trait Argument {
    /// Its words.
    fn words(&self) -> Words;

    /// Adds, for each of its words, the allocation that it was derived from.
    fn add_origins(&self, origins: &mut Vec<Option<Reg>>) {
        origins.push(None);
    }
}

macro_rules! numbers {
    ($($number:ty: $word:expr;)*) => { $(impl Argument for $number {
        fn words(&self) -> Words {
            let word: fn($number) -> u64 = $word;
            Words::One(word(*self))
        }
    })* };
}

numbers! {
    u64: |number| number;
    u32: u64::from;
    Gfp: |flags| flags.0.into();
    SlabFlags: |flags| flags.0.into();
    CacheHandle: |cache| cache.0;
    Option<u8>: |node| node.map_or(NUMA_NO_NODE, u64::from);
    Option<u64>: |ctor| ctor.unwrap_or(0);
}

impl Argument for Pointer<'_> {
    fn words(&self) -> Words {
        Words::One(self.addr)
    }

    fn add_origins(&self, origins: &mut Vec<Option<Reg>>) {
        origins.push(self.origin);
    }
}

impl Argument for &[Pointer<'_>] {
    fn words(&self) -> Words {
        assert!(self.len() <= MAX_LIST, "at most {MAX_LIST} pieces of memory at a time");
        let addrs: Vec<u64> = self.iter().map(|pointer| pointer.addr).collect();
        Words::List(List::of(&addrs))
    }

    fn add_origins(&self, origins: &mut Vec<Option<Reg>>) {
        origins.extend(self.iter().map(|pointer| pointer.origin));
    }
}

/// For each word of some arguments, the allocation that it was derived from.
fn origins(arguments: &[&dyn Argument]) -> Vec<Option<Reg>> {
    let mut origins = Vec::with_capacity(MAX_ARGS);
    arguments.iter().for_each(|argument| argument.add_origins(&mut origins));
    origins
}

/// The type of what a call returns, by what it makes and its name.
#[rustfmt::skip]
macro_rules! returned {
    (Nothing $name:ident) => { () };
    (Fact is_vmalloc_addr) => { bool };
    (Fact virt_addr_valid) => { bool };
    (Fact $name:ident) => { u64 };
    (NewCache $name:ident) => { Result<CacheHandle, NoMemory> };
    (Object kmem_cache_alloc_bulk) => { Result<Vec<Pointer<'_>>, NoMemory> };
    (Reference $name:ident) => { Pointer<'_> };
    ($makes:ident $name:ident) => { Result<Pointer<'_>, NoMemory> };
}

/// An answer as that type.
#[rustfmt::skip]
macro_rules! value {
    (Nothing $name:ident, $kernel:expr, $answer:expr) => { { let _ = $answer; } };
    (Fact is_vmalloc_addr, $kernel:expr, $answer:expr) => { $answer == Answer::Flag(true) };
    (Fact virt_addr_valid, $kernel:expr, $answer:expr) => { $answer == Answer::Flag(true) };
    (Fact $name:ident, $kernel:expr, $answer:expr) => { number($answer) };
    (NewCache $name:ident, $kernel:expr, $answer:expr) => {
        match $answer { Answer::Cache(cache) => Ok(cache), _ => Err(NoMemory) }
    };
    (Object kmem_cache_alloc_bulk, $kernel:expr, $answer:expr) => {
        match $kernel.pieces($answer) {
            pieces if pieces.is_empty() => Err(NoMemory),
            pieces => Ok(pieces),
        }
    };
    (Reference $name:ident, $kernel:expr, $answer:expr) => { $kernel.pointer(number($answer)) };
    ($makes:ident $name:ident, $kernel:expr, $answer:expr) => {
        $kernel.pieces($answer).pop().ok_or(NoMemory)
    };
}

macro_rules! methods {
    (callers { $($of_callers:tt)* } foreign { $($of_others:tt)* } $($family:ident { $(
        $call:ident $name:ident $makes:ident $frees:ident [$($trait:ident)*]
            [$($free:ident)*] [$($campaign:ident)*] ($($arg:ident: $role:ident),*)
            $(since $since:literal)?;
    )* })*) => {
        /// The calls, under their C names. Those that give or take several pieces of memory do so
        /// for at most [`MAX_LIST`](crate::call::MAX_LIST) at a time.
        #[expect(missing_docs, reason = "each method is a row of the table")]
        impl Kernel {
            $($(#[track_caller]
            pub fn $name(&self, $($arg: argument!($role)),*) -> returned!($makes $name) {
                let request = Request::of(Call::$call, &[$($arg.words()),*]);
                let answer = self.call(request, &origins(&[$(&$arg),*]));
                value!($makes $name, self, answer)
            })*)*
        }
    };
}

for_each_call!(methods);

/// What a call says of an address, as a number: of bytes, of a frame, or an address.
fn number(answer: Answer) -> u64 {
    match answer {
        Answer::Size(number) | Answer::Address(number) | Answer::Phys(number) => number,
        Answer::Frame(number) => number.into(),
        _ => 0,
    }
}
