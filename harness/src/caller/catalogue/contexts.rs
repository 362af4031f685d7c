//! Callers that ask for memory, or free it, where they must not sleep or must not enter a file
//! system.

use super::case::{Case, Returned};
use crate::caller::config::Phase;
use crate::caller::kernel::{Kernel, NoMemory, Pointer};
use crate::oracle::caller::Rule;
use crate::words::Context;
use crate::words::gfp::{GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, Gfp};

pub(super) static CASES: &[Case] = &[
    Case {
        name: "GFP_KERNEL under a spinlock",
        source: "the rule that might_sleep enforces",
        rule: Rule::Context,
        phase: Phase::Policy,
        wrong: |kv| under_lock(kv, GFP_KERNEL),
        right: |kv| under_lock(kv, GFP_ATOMIC),
    },
    Case {
        name: "kmalloc in a non-maskable interrupt",
        source: "BPF programs at perf events, for which Linux 6.18 has kmalloc_nolock (R1.14)",
        rule: Rule::Context,
        phase: Phase::Policy,
        wrong: |kv| sample(kv, |kv| kv.kmalloc(0x40, GFP_ATOMIC)),
        right: |kv| sample(kv, |kv| kv.kmalloc_nolock(0x40, Gfp(0), None)),
    },
    Case {
        name: "kvfree under a spinlock of what was large",
        source: "vfree may sleep under a spinlock (R4.13)",
        rule: Rule::Context,
        phase: Phase::Routing,
        wrong: |kv| freed_under_lock(kv, Context::Atomic),
        right: |kv| freed_under_lock(kv, Context::Task),
    },
    Case {
        name: "kvrealloc in a probe, where kmalloc does not do",
        source: "KernelSU pull 3087: kvrealloc with GFP_ATOMIC in a kprobe",
        rule: Rule::Context,
        phase: Phase::Routing,
        wrong: |kv| probe(kv, Context::Atomic),
        right: |kv| probe(kv, Context::Task),
    },
    Case {
        name: "a file system's vmalloc enters the file system",
        source: "XFS, `kmem_zalloc_large`, before memalloc_nofs_save",
        rule: Rule::Reentry,
        phase: Phase::Policy,
        wrong: |kv| transaction(kv, false),
        right: |kv| transaction(kv, true),
    },
    Case {
        name: "a scope is left open on the error path",
        source: "error paths between save and restore",
        rule: Rule::OpenScope,
        phase: Phase::Failure,
        wrong: |kv| scope(kv, false),
        right: |kv| scope(kv, true),
    },
];

fn under_lock(kv: &Kernel, flags: Gfp) -> Returned {
    kv.in_context(Context::Atomic, || {
        let entry = kv.kmalloc(0x40, flags)?;
        kv.kfree(entry);
        Ok(0)
    })
}

/// A sample that is taken in the interrupt, and freed by who reads it.
fn sample(kv: &Kernel, take: for<'k> fn(&'k Kernel) -> Result<Pointer<'k>, NoMemory>) -> Returned {
    let sample = kv.in_context(Context::Nmi, || take(kv))?;
    kv.kfree_nolock(sample);
    Ok(0)
}

fn freed_under_lock(kv: &Kernel, context: Context) -> Returned {
    let table = kv.kvmalloc(0x2000, GFP_KERNEL)?;
    kv.in_context(context, || kv.kvfree(table));
    Ok(0)
}

/// A list that grows when a probe is hit, and is freed when the probe is removed.
fn probe(kv: &Kernel, context: Context) -> Returned {
    let grow = |list: Pointer| kv.kvrealloc(list, 0x1000, 0x1800, GFP_ATOMIC);
    let list = kv.kvmalloc(0x1000, GFP_KERNEL)?;
    match kv.in_context(context, || grow(list).map(Pointer::addr)) {
        Ok(addr) => {
            kv.kvfree(kv.pointer(addr));
            Ok(0)
        }
        Err(error) => {
            kv.kvfree(list);
            Err(error)
        }
    }
}

/// A buffer for a directory, in a transaction.
fn transaction(kv: &Kernel, has_scope: bool) -> Returned {
    kv.in_filesystem(|| {
        if has_scope {
            kv.memalloc_nofs_save();
        }
        let buffer = kv.vzalloc(0x4000);
        if has_scope {
            kv.memalloc_nofs_restore();
        }
        kv.vfree(buffer?);
        Ok(0)
    })
}

/// A scope around a request that can fail.
fn scope(kv: &Kernel, is_always_left: bool) -> Returned {
    kv.memalloc_nofs_save();
    let buffer = match kv.kvmalloc(0x1000, GFP_NOFS) {
        Ok(buffer) => buffer,
        Err(error) => {
            if is_always_left {
                kv.memalloc_nofs_restore();
            }
            return Err(error);
        }
    };
    kv.kvfree(buffer);
    kv.memalloc_nofs_restore();
    Ok(0)
}
