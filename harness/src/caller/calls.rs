//! The calls that a caller can make: one method for each row of the table of calls.
//!
//! Arguments have the types of their parts: sizes are numbers, flags flags, and addresses pointers.
//! A call that makes memory gives a pointer or [`NoMemory`], as C gives `NULL`.

use super::kernel::{Kernel, NoMemory, Pointer};
use crate::call::{Call, NUMA_NO_NODE, Request, for_each_call};
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
    ($role:ident) => { u64 };
}

/// The value of an argument as a word.
#[rustfmt::skip]
macro_rules! word {
    (Order, $value:expr) => { u64::from($value) };
    (Gfp, $value:expr) => { u64::from($value.0) };
    (Node, $value:expr) => { $value.map_or(NUMA_NO_NODE, u64::from) };
    (Cache, $value:expr) => { $value.0 };
    (SlabFlags, $value:expr) => { u64::from($value.0) };
    (Ctor, $value:expr) => { $value.unwrap_or(0) };
    (Freed, $value:expr) => { $value.addr };
    (Replaced, $value:expr) => { $value.addr };
    (Read, $value:expr) => { $value.addr };
    ($role:ident, $value:expr) => { $value };
}

/// The allocation that an argument was derived from.
#[rustfmt::skip]
macro_rules! origin {
    (Freed, $value:expr) => { $value.origin };
    (Replaced, $value:expr) => { $value.origin };
    (Read, $value:expr) => { $value.origin };
    ($role:ident, $value:expr) => { None };
}

/// The type of what a call returns, by what it makes and its name.
#[rustfmt::skip]
macro_rules! returned {
    (Nothing $name:ident) => { () };
    (Fact is_vmalloc_addr) => { bool };
    (Fact virt_addr_valid) => { bool };
    (Fact $name:ident) => { u64 };
    (NewCache $name:ident) => { Result<CacheHandle, NoMemory> };
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
    ($makes:ident $name:ident, $kernel:expr, $answer:expr) => { $kernel.memory($answer) };
}

macro_rules! methods {
    (callers { $($of_callers:tt)* } $($family:ident { $(
        $call:ident $name:ident $makes:ident $frees:ident [$($trait:ident)*]
            [$($free:ident)*] [$($campaign:ident)*] ($($arg:ident: $role:ident),*);
    )* })*) => {
        /// The calls, under their C names.
        #[expect(missing_docs, reason = "each method is a row of the table")]
        impl Kernel {
            $($(#[track_caller]
            pub fn $name(&self, $($arg: argument!($role)),*) -> returned!($makes $name) {
                let request = Request::new(Call::$call, &[$(word!($role, $arg)),*]);
                let answer = self.call(request, &[$(origin!($role, $arg)),*]);
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
