//! Callers that do not live with a request that fails.

use super::case::{Case, Returned};
use crate::caller::config::Phase;
use crate::caller::kernel::{Kernel, NoMemory, Pointer};
use crate::oracle::caller::Rule;
use crate::words::gfp::{__GFP_NOFAIL, GFP_KERNEL, Gfp};

pub(super) static CASES: &[Case] = &[
    Case {
        name: "the result is not checked",
        source: "what failslab was made for",
        rule: Rule::NoAddress,
        phase: Phase::Failure,
        wrong: |kv| unchecked(kv, Check::None),
        right: |kv| unchecked(kv, Check::Error),
    },
    Case {
        name: "GFP_KERNEL never fails",
        source: "the 'too small to fail' rule (LWN 2014), which is no promise",
        rule: Rule::Panic,
        phase: Phase::Failure,
        wrong: |kv| needed(kv, GFP_KERNEL),
        right: |kv| needed(kv, GFP_KERNEL | __GFP_NOFAIL),
    },
    Case {
        name: "asks again until it is served",
        source: "loops around kmalloc, which __GFP_NOFAIL replaces",
        rule: Rule::Endless,
        phase: Phase::Failure,
        wrong: |kv| retried(kv, u32::MAX),
        right: |kv| retried(kv, 3),
    },
    Case {
        name: "leaks what it has on the error path",
        source: "error paths, which only an injected failure runs",
        rule: Rule::Leak,
        phase: Phase::Failure,
        wrong: |kv| two(kv, |_, _| {}),
        right: |kv| two(kv, |kv, first| kv.kfree(first)),
    },
    Case {
        name: "loses memory when krealloc fails",
        source: "`p = krealloc(p, …)`",
        rule: Rule::Leak,
        phase: Phase::Failure,
        wrong: |kv| regrown(kv, |_, _| {}),
        right: |kv| regrown(kv, |kv, old| kv.kfree(old)),
    },
    Case {
        name: "a wrong free on the error path of what vmalloc served",
        source: "needs a failure and a route at once: neither alone shows it",
        rule: Rule::WrongFree,
        phase: Phase::Random,
        wrong: |kv| unwound(kv, |kv, table| kv.kfree(table)),
        right: |kv| unwound(kv, |kv, table| kv.kvfree(table)),
    },
];

/// What a caller looks at before it uses memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    None,
    Error,
}

fn unchecked(kv: &Kernel, check: Check) -> Returned {
    let memory = match kv.kmalloc(0x40, GFP_KERNEL) {
        Err(error) if check == Check::Error => return Err(error),
        memory => memory.unwrap_or(kv.null()),
    };
    memory.store(1);
    kv.kfree(memory);
    Ok(0)
}

fn needed(kv: &Kernel, flags: Gfp) -> Returned {
    let memory = kv.kmalloc(0x40, flags).expect("the journal cannot do without");
    kv.kfree(memory);
    Ok(0)
}

fn retried(kv: &Kernel, nr_times: u32) -> Returned {
    let mut tries = (0..nr_times).map(|_| kv.kmalloc(0x40, GFP_KERNEL));
    let memory = tries.find_map(Result::ok).ok_or(NoMemory)?;
    kv.kfree(memory);
    Ok(0)
}

fn two(kv: &Kernel, give_back: impl Fn(&Kernel, Pointer)) -> Returned {
    let first = kv.kmalloc(0x80, GFP_KERNEL)?;
    let second = kv.kmalloc(0x1000, GFP_KERNEL).inspect_err(|_| give_back(kv, first))?;
    kv.kfree(second);
    kv.kfree(first);
    Ok(0)
}

fn regrown(kv: &Kernel, give_back: impl Fn(&Kernel, Pointer)) -> Returned {
    let names = kv.kmalloc(0x40, GFP_KERNEL)?;
    let names = kv.krealloc(names, 0x80, GFP_KERNEL).inspect_err(|_| give_back(kv, names))?;
    kv.kfree(names);
    Ok(0)
}

fn unwound(kv: &Kernel, give_back: impl Fn(&Kernel, Pointer)) -> Returned {
    let table = kv.kvmalloc(0x2800, GFP_KERNEL)?;
    let index = kv.kmalloc(0x100, GFP_KERNEL).inspect_err(|_| give_back(kv, table))?;
    kv.kfree(index);
    kv.kvfree(table);
    Ok(0)
}
