//! alloc-core's errors in the words that fit every allocator.
//!
//! There is one match for each kind of error, so that an error that is added is put into words or
//! does not compile.

use crate::op::Class;
use crate::subject::{Answer, FreeRefusal, Refusal};
use alloc_core::error::{AllocError, FreeCall, FreeFault, FreeVerdict, Shortage};
use alloc_core::task::ScopeError;

pub(super) fn freed(result: Result<(), FreeFault>) -> Answer {
    result.map_or_else(bad_free, |()| Answer::Done)
}

pub(super) fn done(result: Result<(), AllocError>) -> Answer {
    result.map_or_else(refused, |()| Answer::Done)
}

pub(super) fn scoped(result: Result<(), ScopeError>) -> Answer {
    result.map_or(Answer::Refused(Refusal::Unbalanced), |()| Answer::Done)
}

pub(super) fn bad_free(fault: FreeFault) -> Answer {
    let verdict = match fault.verdict {
        FreeVerdict::WrongAllocator => Class::WrongAllocator,
        FreeVerdict::WrongOrder => Class::WrongOrder,
        FreeVerdict::WrongSize => Class::WrongSize,
        FreeVerdict::WrongCache => Class::WrongCache,
        FreeVerdict::DoubleFree => Class::DoubleFree,
        FreeVerdict::Interior => Class::Interior,
        FreeVerdict::Misaligned => Class::Misaligned,
        FreeVerdict::Wild => Class::Wild,
        FreeVerdict::BadContext => Class::BadContext,
    };
    let right = fault.right.map(FreeCall::name);
    Answer::BadFree(FreeRefusal { verdict, right, on_linux: Some(fault.on_linux.verb()) })
}

pub(super) fn refused(error: AllocError) -> Answer {
    let short = |shortage| match shortage {
        Shortage::Pages { order } => Refusal::Pages { order },
        Shortage::VmallocSpace => Refusal::VmallocSpace,
        Shortage::Range => Refusal::Range,
        Shortage::Mapping => Refusal::Mapping,
        Shortage::Injected(_) => Refusal::Injected,
    };
    Answer::Refused(match error {
        AllocError::NoMemory(shortage) => short(shortage),
        AllocError::WouldBlock(shortage) => return Answer::WouldBlock(short(shortage)),
        AllocError::TooLarge => Refusal::TooLarge,
        AllocError::ZeroSize => Refusal::ZeroSize,
        AllocError::Deadlock { order } => Refusal::Deadlock { order },
        AllocError::Overflow => Refusal::Overflow,
        AllocError::BadArgument => Refusal::BadArgument,
        AllocError::BadContext => Refusal::BadContext,
        AllocError::ImpossibleNofail(_) => Refusal::ImpossibleNofail,
    })
}
