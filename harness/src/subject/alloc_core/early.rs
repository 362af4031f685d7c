//! alloc-core as a subject before the hand-over: the boot allocator's answers.
//!
//! The one idea: alloc-core has no such calls on a machine that runs, so what is asked of one is
//! answered here: it is too late.
//!
//! When the hand-over comes is not decided here.

use super::sim_memory::SimMemory;
use crate::op::Class;
use crate::subject::{Answer, FreeRefusal, Refusal, Request};
use alloc_core::addr::{PAGE_OFFSET, Paddr, Vaddr};
use alloc_core::{EarlyMm, MemblockError};

/// The boot allocator's answer, as long as there is one.
pub(super) fn answer(early: Option<&mut EarlyMm<SimMemory>>, request: &Request) -> Answer {
    let Some(early) = early else { return Answer::Refused(Refusal::TooLate) };
    let base = |addr: u64| Paddr(addr.wrapping_sub(PAGE_OFFSET));
    let result = match *request {
        Request::MemblockAlloc { size, align } => match early.memblock_alloc(size, align) {
            Ok(addr) => return Answer::Memory { addr: addr.0, usable: size, bus: None },
            Err(error) => Err(error),
        },
        Request::MemblockReserve { addr, size } => early.memblock_reserve(base(addr), size),
        Request::MemblockFree { addr, size } => early.memblock_free(Vaddr(addr), size),
        _ => return Answer::Unsupported,
    };
    let bad_free = |verdict| Answer::BadFree(FreeRefusal { verdict, right: None, on_linux: None });
    match result {
        Ok(()) => Answer::Done,
        Err(MemblockError::NoMemory) => Answer::Refused(Refusal::BootMemory),
        Err(MemblockError::TooManyRegions) => Answer::Refused(Refusal::BootRegions),
        Err(MemblockError::BadArgument) => Answer::Refused(Refusal::BadArgument),
        Err(MemblockError::Taken) => Answer::Refused(Refusal::BootTaken),
        Err(MemblockError::WrongSize) => bad_free(Class::WrongSize),
        Err(MemblockError::Interior) => bad_free(Class::Interior),
        Err(MemblockError::NotTaken) => bad_free(Class::Wild),
    }
}
