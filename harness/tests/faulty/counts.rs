//! Faults of what is kept, counted and looked after: leaks, counters, and the validator's word.

use crate::answers::instead;
use crate::tenant::{Fault, RIGHT, Seen};
use kvroute_harness::call::{Call, ask};
use kvroute_harness::subject::{Answer, Cap, Caps, Facts, Reach, Refusal, Reply};
use kvroute_harness::words::gfp::GFP_KERNEL;

/// What is left to one that does not count.
const COUNTS_NOT: &[Cap] = &[Cap::Frames, Cap::Spaces, Cap::WrongFrees, Cap::Contexts];

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "loses what is freed, and does not count",
        oracle: "drain",
        trace: "machine (frames: 64, min_free: 0)\nr0 = alloc_pages(GFP_KERNEL, 5)",
        seen: Seen::AtTheEnd,
        caps: |_| Caps::of(COUNTS_NOT).with(Cap::GivesBack),
        apply: |tenant, request, setting| match request.freed() {
            [] => tenant.right.apply(request, setting),
            _ => Reply { answer: Answer::Done, ..Reply::default() },
        },
        ..RIGHT
    },
    Fault {
        what: "has less to give at once after every call",
        oracle: "rounds",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        seen: Seen::AtTheEnd,
        caps: |_| Caps::of(COUNTS_NOT).with(Cap::Reuses),
        apply: |tenant, request, setting| match request.call {
            Call::Alloc if request.size() > Some(0x10_0000 - tenant.nr_calls as u64) => {
                let answer = Answer::Refused(Refusal::Pages { order: 0 });
                Reply { answer, ..Reply::default() }
            }
            Call::Alloc => {
                let addr = tenant.right.layout().direct_start;
                let answer = Answer::Memory { addr, usable: 0x10_0000, bus: None };
                Reply { answer, ..Reply::default() }
            }
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "gives memory where there is none when asked for the most that it has",
        oracle: "promise",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        caps: |_| Caps::of(COUNTS_NOT).with(Cap::GivesBack),
        apply: |tenant, request, setting| match request.call {
            Call::Alloc => {
                let answer = Answer::Memory { addr: 0x1000, usable: 0x10_0000, bus: None };
                Reply { answer, ..Reply::default() }
            }
            Call::Dealloc => panic!("nobody was given that"),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "writes beside its memory",
        oracle: "bounds",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        caps: |tenant| tenant.right.caps().with(Cap::Bounds),
        trespass: |tenant, _| tenant.granted.first().map(|granted| granted.0 - 1),
        ..RIGHT
    },
    Fault {
        what: "writes far beside its memory",
        oracle: "bounds",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        seen: Seen::AtTheEnd,
        caps: |tenant| tenant.right.caps().with(Cap::Bounds),
        trespass: |tenant, reach| {
            let first = tenant.granted.first().filter(|_| reach == Reach::Everywhere);
            first.map(|granted| granted.0 - 0x400)
        },
        ..RIGHT
    },
    Fault {
        what: "forgets a free",
        oracle: "accounting",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0)\nkfree(NULL)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::Kfree, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "forgets the last free of all",
        oracle: "accounting",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        seen: Seen::AtTheEnd,
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::Kfree, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "takes a block besides the one that is asked for",
        oracle: "accounting",
        trace: "r0 = alloc_pages(GFP_KERNEL, 0)\nkfree(NULL)",
        apply: |tenant, request, setting| {
            if request.call == Call::AllocPages {
                tenant.ask(ask::alloc_pages(GFP_KERNEL, 0));
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "keeps memory in a call that fails",
        oracle: "accounting",
        trace: "r0 = kmalloc(0x400001, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if let Answer::Refused(_) = reply.answer {
                tenant.ask(ask::kmalloc(0x40, GFP_KERNEL));
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "keeps pages on its lists to the end",
        oracle: "accounting",
        trace: "machine (pcp_high: 64)\nr0 = alloc_pages(GFP_KERNEL, 0)",
        seen: Seen::AtTheEnd,
        settle: |_| (),
        ..RIGHT
    },
    Fault {
        what: "counts a free page too many",
        oracle: "accounting",
        trace: "kfree(NULL)",
        facts: |tenant| {
            let facts = tenant.right.facts();
            Facts { nr_free_pages: facts.nr_free_pages + 1, ..facts }
        },
        ..RIGHT
    },
    Fault {
        what: "counts a free block too many",
        oracle: "accounting",
        trace: "kfree(NULL)",
        facts: |tenant| {
            let mut facts = tenant.right.facts();
            facts.nr_free_blocks[0] += 1;
            facts
        },
        ..RIGHT
    },
    Fault {
        what: "counts a page on the wrong node",
        oracle: "accounting",
        trace: "machine (nodes: 2)\nkfree(NULL)",
        facts: |tenant| {
            let mut facts = tenant.right.facts();
            facts.nodes[1].nr_free_pages += 1;
            facts
        },
        ..RIGHT
    },
    Fault {
        what: "counts an object that nobody has",
        oracle: "accounting",
        trace: "kfree(NULL)",
        facts: |tenant| {
            let facts = tenant.right.facts();
            Facts { nr_kmalloc_objects: facts.nr_kmalloc_objects + 1, ..facts }
        },
        ..RIGHT
    },
    Fault {
        what: "takes page tables where nothing is mapped",
        oracle: "accounting",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        facts: |tenant| {
            let facts = tenant.right.facts();
            let nr_page_table_pages = facts.nr_page_table_pages + facts.nr_slab_pages;
            Facts { nr_slab_pages: 0, nr_page_table_pages, ..facts }
        },
        ..RIGHT
    },
    Fault {
        what: "purges without need",
        oracle: "accounting",
        trace: "r0 = vmalloc(0x1000)\nr1 = kmalloc(0x40, GFP_KERNEL)\nvfree(r0)\nkfree(r1)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if request.call == Call::Kfree {
                tenant.ask(ask::vm_unmap_aliases());
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "purges after it has found room",
        oracle: "accounting",
        trace: "r0 = vmalloc(0x1000)\nvfree(r0)\nr1 = vmalloc(0x1000)\nkfree(NULL)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if request.call == Call::Vmalloc {
                tenant.ask(ask::vm_unmap_aliases());
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "leaves waiting what it was asked to purge",
        oracle: "accounting",
        trace: "r0 = vmalloc(0x1000)\nvfree(r0)\nvm_unmap_aliases()\nkfree(NULL)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::VmUnmapAliases, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "finds its own lists broken",
        oracle: "structure",
        trace: "kfree(NULL)",
        seen: Seen::AtTheEnd,
        validate: |_| Err("a list has no end".into()),
        ..RIGHT
    },
    Fault {
        what: "finds the vmalloc space broken",
        oracle: "structure",
        trace: "kfree(NULL)",
        validate_vmap: |_| Err("a tree has no root".into()),
        ..RIGHT
    },
];
