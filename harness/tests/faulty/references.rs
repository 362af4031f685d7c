//! Faults of references to pages, and of what outlives its free.

use crate::tenant::{Fault, RIGHT};
use kvroute_harness::call::{Call, ask};
use kvroute_harness::subject::{Answer, Reply};
use kvroute_harness::words::PAGE;

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "frees a page that somebody else has a reference to",
        oracle: "wrong-free",
        trace: SHARED,
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if let (Call::GetPage, Answer::Address(page)) = (request.call, reply.answer) {
                tenant.ask(ask::put_page(page));
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "loses count of a reference that is dropped",
        oracle: "accounting",
        trace: "r0 = __get_free_page(GFP_KERNEL)\nr1 = get_page(r0)\nfree_page(r0)\n\
                put_page(r1)\nkfree(NULL)",
        apply: |tenant, request, setting| match request.call {
            Call::FreePage => Reply { answer: Answer::Done, ..Reply::default() },
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "refuses a reference to a page of an area",
        oracle: "conversion",
        trace: OF_AREA,
        apply: |tenant, request, setting| match request.call {
            Call::GetPage => Reply { answer: Answer::WrongKind(None), ..Reply::default() },
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "takes the reference to the page beside the one that is meant",
        oracle: "conversion",
        trace: OF_AREA,
        apply: |tenant, request, setting| {
            let mut reply = tenant.right.apply(request, setting);
            if let (Call::GetPage, Answer::Address(page)) = (request.call, &mut reply.answer) {
                *page += PAGE;
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "writes to a page that has outlived its area",
        oracle: "contents",
        trace: "r0 = vmalloc(0x2000)\nr1 = get_page(r0+0x1000)\nvfree(r0)\nput_page(r1)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            match (request.call, reply.answer) {
                (Call::GetPage, Answer::Address(page)) => tenant.granted.push((page, PAGE)),
                (Call::Vfree, _) => tenant.spoil(tenant.place(1) + 0xfff),
                _ => {}
            }
            reply
        },
        ..RIGHT
    },
];

/// A page that somebody shares, freed by its holder and then by the other.
const SHARED: &str = "r0 = __get_free_page(GFP_KERNEL)\nr1 = get_page(r0)\nfree_page(r0)\n\
                      put_page(r1)";

/// A reference to a page of an area.
const OF_AREA: &str = "r0 = vmalloc(0x2000)\nr1 = get_page(r0)";
