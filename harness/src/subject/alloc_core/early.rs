//! alloc-core before the hand-over: the boot allocator's answers.
//!
//! When the hand-over comes is not decided here.

use super::Machine;
use crate::op::Class;
use crate::subject::{Answer, FreeRefusal, Refusal};
use alloc_core::addr::{PAGE_OFFSET, Paddr, Vaddr};
use alloc_core::{EarlyMm, MemblockError};

pub(super) fn alloc<M: Machine>(early: &mut EarlyMm<M>, size: u64, align: u64) -> Answer {
    let granted = |addr: Vaddr| Answer::Memory { addr: addr.0, usable: size, bus: None };
    early.memblock_alloc(size, align).map_or_else(refused, granted)
}

/// The physical range is named by its place in the direct map.
pub(super) fn reserve<M: Machine>(early: &mut EarlyMm<M>, addr: u64, size: u64) -> Answer {
    let base = Paddr(addr.wrapping_sub(PAGE_OFFSET));
    early.memblock_reserve(base, size).map_or_else(refused, |()| Answer::Done)
}

pub(super) fn free<M: Machine>(early: &mut EarlyMm<M>, addr: u64, size: u64) -> Answer {
    early.memblock_free(Vaddr(addr), size).map_or_else(refused, |()| Answer::Done)
}

fn refused(error: MemblockError) -> Answer {
    let bad_free = |verdict| Answer::BadFree(FreeRefusal { verdict, right: None, on_linux: None });
    match error {
        MemblockError::NoMemory => Answer::Refused(Refusal::BootMemory),
        MemblockError::TooManyRegions => Answer::Refused(Refusal::BootRegions),
        MemblockError::BadArgument => Answer::Refused(Refusal::BadArgument),
        MemblockError::Taken => Answer::Refused(Refusal::BootTaken),
        MemblockError::WrongSize => bad_free(Class::WrongSize),
        MemblockError::Interior => bad_free(Class::Interior),
        MemblockError::NotTaken => bad_free(Class::Wild),
    }
}
