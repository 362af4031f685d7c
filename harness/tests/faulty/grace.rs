//! Faults of frees that come after a grace period.

use crate::tenant::{Fault, RIGHT};
use kvroute_harness::call::{Call, ask};
use kvroute_harness::subject::{Answer, Reply};

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "frees at once what readers may still find",
        oracle: "accounting",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree_rcu(r0, 0x10)\nkfree(NULL)",
        apply: |tenant, request, setting| match (request.call, request.freed()) {
            (Call::KfreeRcu, [object]) => tenant.ask(ask::kfree(*object)),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "writes to what readers may still find",
        oracle: "contents",
        trace: QUEUED,
        apply: |tenant, request, setting| {
            if request.call == Call::KfreeRcu {
                tenant.spoil(tenant.place(0) + 0x3f);
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "never frees what waits for a grace period",
        oracle: "accounting",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree_rcu(r0, 0x10)\ntick()\nkfree(NULL)",
        apply: |tenant, request, setting| match request.call {
            Call::Tick => Reply { answer: Answer::Done, ..Reply::default() },
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "takes a second free of what waits for a grace period",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree_rcu(r0, 0x10)\nkfree_rcu(r0, 0x10)",
        apply: |tenant, request, setting| match (request.call, tenant.nr_calls) {
            (Call::KfreeRcu, 2) => Reply { answer: Answer::Done, ..Reply::default() },
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "gives out again what waits for a grace period",
        oracle: "overlap",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree_rcu(r0, 0x10)\nr1 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let mut reply = tenant.right.apply(request, setting);
            if let (Answer::Memory { addr, .. }, 2) = (&mut reply.answer, tenant.nr_calls) {
                *addr = tenant.place(0);
            }
            reply
        },
        ..RIGHT
    },
];

/// An object that waits for a grace period, which ends.
const QUEUED: &str = "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree_rcu(r0, 0x10)\ntick()";
