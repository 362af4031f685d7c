//! Faults of calls that give or take several pieces of memory at once.

use crate::tenant::{Fault, RIGHT};
use kvroute_harness::call::{Call, List, ask};
use kvroute_harness::subject::{Answer, Reply};

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "hands the same object out twice in one answer",
        oracle: "overlap",
        trace: BULK,
        apply: |tenant, request, setting| {
            several(tenant.right.apply(request, setting), |addrs| addrs[3] = addrs[1])
        },
        ..RIGHT
    },
    Fault {
        what: "leaves a place empty in an answer that it says is full",
        oracle: "promise",
        trace: BULK,
        apply: |tenant, request, setting| {
            several(tenant.right.apply(request, setting), |addrs| addrs[2] = 0)
        },
        ..RIGHT
    },
    Fault {
        what: "gives some of several objects where all or none were asked for",
        oracle: "contract",
        trace: BULK,
        apply: |tenant, request, setting| {
            several(tenant.right.apply(request, setting), |addrs| addrs.truncate(3))
        },
        ..RIGHT
    },
    Fault {
        what: "gives more objects than were asked for",
        oracle: "contract",
        trace: BULK,
        apply: |tenant, request, setting| {
            several(tenant.right.apply(request, setting), |addrs| addrs.push(addrs[3] + 0x60))
        },
        ..RIGHT
    },
    Fault {
        what: "zeroes the first of several objects only",
        oracle: "contents",
        trace: "c0 = kmem_cache_create(0x60, 0x8)\n\
                r0..r3 = kmem_cache_alloc_bulk(c0, GFP_KERNEL|__GFP_ZERO, 4)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if let Some(last) = reply.answer.granted().last() {
                tenant.spoil(*last);
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "frees all but the last of several objects",
        oracle: "accounting",
        trace: "c0 = kmem_cache_create(0x60, 0x8)\n\
                r0..r3 = kmem_cache_alloc_bulk(c0, GFP_KERNEL, 4)\n\
                kmem_cache_free_bulk(c0, r0..r3)\nkfree(NULL)",
        apply: |tenant, request, setting| match (request.call, request.freed()) {
            (Call::KmemCacheFreeBulk, [first @ .., _]) => {
                let cache = request.cache().expect("a cache");
                let fewer = ask::kmem_cache_free_bulk(cache, List::of(first));
                tenant.right.apply(&fewer, setting)
            }
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "frees what stands before the wrong one in a list",
        oracle: "wrong-free",
        trace: "c0 = kmem_cache_create(0x60, 0x8)\n\
                r0..r3 = kmem_cache_alloc_bulk(c0, GFP_KERNEL, 4)\n\
                kmem_cache_free(c0, r3)\nkmem_cache_free_bulk(c0, r0..r3)",
        apply: |tenant, request, setting| {
            if request.call == Call::KmemCacheFreeBulk {
                let cache = request.cache().expect("a cache");
                tenant.ask(ask::kmem_cache_free(cache, request.freed()[0]));
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
];

/// Several objects of a cache.
const BULK: &str = "c0 = kmem_cache_create(0x60, 0x8)\n\
                    r0..r3 = kmem_cache_alloc_bulk(c0, GFP_KERNEL, 4)";

/// A reply of several pieces with other places.
fn several(mut reply: Reply, change: impl FnOnce(&mut Vec<u64>)) -> Reply {
    if let Answer::Several { addrs, .. } = &mut reply.answer {
        let mut places = addrs.to_vec();
        change(&mut places);
        *addrs = List::of(&places);
    }
    reply
}
