//! Faults of what is taken and freed without a lock.

use crate::tenant::{Fault, RIGHT};
use kvroute_harness::call::{Call, ask};
use kvroute_harness::subject::{Answer, Refusal, Reply};
use kvroute_harness::words::gfp::GFP_KERNEL;

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "needs a lock in a non-maskable interrupt",
        oracle: "context",
        trace: "r0 = kmalloc_nolock(0x40, 0, NUMA_NO_NODE) (context: nmi)",
        apply: |tenant, request, setting| match request.call {
            Call::KmallocNolock => {
                let answer = Answer::Refused(Refusal::BadContext);
                Reply { answer, ..Reply::default() }
            }
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "gives a large block where only objects can be had",
        oracle: "contract",
        trace: "r0 = kmalloc_nolock(0x2001, 0, NUMA_NO_NODE)",
        apply: |tenant, request, setting| match request.call {
            Call::KmallocNolock => tenant.ask(ask::kmalloc(0x2001, GFP_KERNEL)),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "does without a lock what flags forbid to do without",
        oracle: "contract",
        trace: "r0 = kmalloc_nolock(0x40, GFP_KERNEL, NUMA_NO_NODE)",
        apply: |tenant, request, setting| match request.call {
            Call::KmallocNolock => tenant.ask(ask::kmalloc(0x40, GFP_KERNEL)),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "frees an object of a cache without a lock",
        oracle: "wrong-free",
        trace: "c0 = kmem_cache_create(0x40, 0x8)\nr0 = kmem_cache_alloc(c0, GFP_KERNEL)\n\
                kfree_nolock(r0)",
        apply: |tenant, request, setting| match (request.call, request.freed()) {
            (Call::KfreeNolock, [object]) => tenant.ask(ask::kfree(*object)),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
];
