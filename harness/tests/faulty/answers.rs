//! Faults of what is answered: to frees, questions and scopes, and to requests that are refused.

use crate::memory::with_gfp;
use crate::tenant::{Fault, RIGHT, Tenant};
use kvroute_harness::call::{Call, Request, ask};
use kvroute_harness::op::{Class, Setting};
use kvroute_harness::subject::{Answer, FreeRefusal, Refusal, Reply};
use kvroute_harness::words::gfp::{__GFP_MEMALLOC, GFP_KERNEL};
use kvroute_harness::words::{CacheHandle, Context, Current};

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "is right, and says other than the lane beside it",
        oracle: "agreement",
        trace: "c0 = kmem_cache_create(0x80000000, 0x3)",
        apply: |tenant, request, setting| {
            let answer = Answer::Refused(Refusal::TooLarge);
            instead(tenant, request, setting, Call::KmemCacheCreate, answer)
        },
        ..RIGHT
    },
    Fault {
        what: "panics",
        oracle: "panic",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0)",
        apply: |tenant, request, setting| {
            if request.call == Call::Kfree {
                // As a panic does, but without a word on the terminal.
                std::panic::resume_unwind(Box::new("a list has no end"));
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "fails for no reason",
        oracle: "contract",
        trace: "r0 = alloc_pages(GFP_KERNEL, 0)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::AllocPages, NO_PAGE)
        },
        ..RIGHT
    },
    Fault {
        what: "fails for no reason on the only node that will do",
        oracle: "contract",
        trace: "machine (nodes: 2)\nr0 = alloc_pages_node(1, GFP_KERNEL|__GFP_THISNODE, 0)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::AllocPagesNode, NO_PAGE)
        },
        ..RIGHT
    },
    Fault {
        what: "finds no room in an empty vmalloc space",
        oracle: "contract",
        trace: "r0 = vmalloc(0x1000)",
        apply: |tenant, request, setting| {
            let answer = Answer::Refused(Refusal::VmallocSpace);
            instead(tenant, request, setting, Call::Vmalloc, answer)
        },
        ..RIGHT
    },
    Fault {
        what: "names a shortage where the request is too large for any machine",
        oracle: "contract",
        trace: "r0 = vmalloc(0x80000000)",
        apply: |tenant, request, setting| instead(tenant, request, setting, Call::Vmalloc, NO_PAGE),
        ..RIGHT
    },
    Fault {
        what: "is done with a request for memory, and gives none",
        oracle: "contract",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::Kmalloc, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "never fails, and takes from the reserves",
        oracle: "contract",
        trace: "machine (frames: 64, min_free: 60)\nr0 = alloc_pages(GFP_KERNEL, 4)",
        apply: |tenant, request, setting| {
            tenant.right.apply(&with_gfp(request, |gfp| gfp | __GFP_MEMALLOC), setting)
        },
        ..RIGHT
    },
    Fault {
        what: "gives a cache out twice",
        oracle: "contract",
        trace: "c0 = kmem_cache_create(0x40, 0x0)\nc1 = kmem_cache_create(0x80, 0x0)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            match reply.answer {
                Answer::Cache(handle) => {
                    tenant.granted.push((handle.0, 0));
                    let first = CacheHandle(tenant.place(0));
                    Reply { answer: Answer::Cache(first), ..reply }
                }
                _ => reply,
            }
        },
        ..RIGHT
    },
    Fault {
        what: "accepts a free inside live memory",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0+0x8)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::Kfree, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "accepts a second free",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0)\nkfree(r0)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            match reply.answer {
                Answer::BadFree(_) => Reply { answer: Answer::Done, ..reply },
                _ => reply,
            }
        },
        ..RIGHT
    },
    Fault {
        what: "refuses a free that is right",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0)",
        apply: |tenant, request, setting| instead(tenant, request, setting, Call::Kfree, WILD),
        ..RIGHT
    },
    Fault {
        what: "names another mistake than was made",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0+0x8)",
        apply: |tenant, request, setting| instead(tenant, request, setting, Call::Kfree, WILD),
        ..RIGHT
    },
    Fault {
        what: "names a call that would be wrong as well",
        oracle: "wrong-free",
        trace: "r0 = vmalloc(0x1000)\nkfree(r0)",
        apply: |tenant, request, setting| {
            refused(tenant, request, setting, |refusal| refusal.right = Some("free_pages"))
        },
        ..RIGHT
    },
    Fault {
        what: "tells of Linux what it does not do",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nksize(0x10000)",
        apply: |tenant, request, setting| {
            refused(tenant, request, setting, |refusal| refusal.on_linux = Some("is pleased"))
        },
        ..RIGHT
    },
    Fault {
        what: "refuses a free and frees all the same",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0+0x8)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if let Answer::BadFree(_) = reply.answer {
                tenant.ask(ask::kfree(tenant.place(0)));
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "destroys a cache with a live object",
        oracle: "wrong-free",
        trace: "c0 = kmem_cache_create(0x40, 0x0)\nr0 = kmem_cache_alloc(c0, GFP_KERNEL)\n\
                kmem_cache_destroy(c0)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::KmemCacheDestroy, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "miscounts the live objects of a cache",
        oracle: "wrong-free",
        trace: "c0 = kmem_cache_create(0x40, 0x0)\nr0 = kmem_cache_alloc(c0, GFP_KERNEL)\n\
                kmem_cache_destroy(c0)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::KmemCacheDestroy, Answer::Busy(2))
        },
        ..RIGHT
    },
    Fault {
        what: "tells another size than there is",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x30, GFP_KERNEL)\nksize(r0)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::Ksize, Answer::Size(0x30))
        },
        ..RIGHT
    },
    Fault {
        what: "names another frame than the one behind an address",
        oracle: "conversion",
        trace: "r0 = vmalloc(0x1000)\nvmalloc_to_page(r0)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::VmallocToPage, Answer::Frame(0))
        },
        ..RIGHT
    },
    Fault {
        what: "converts an address of the wrong kind",
        oracle: "conversion",
        trace: "r0 = vmalloc(0x1000)\nvirt_to_page(r0)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::VirtToPage, Answer::Frame(0))
        },
        ..RIGHT
    },
    Fault {
        what: "takes memory to convert an address",
        oracle: "conversion",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nvirt_to_page(r0)",
        apply: |tenant, request, setting| {
            if request.call == Call::VirtToPage {
                tenant.ask(ask::alloc_pages(GFP_KERNEL, 0));
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "sleeps in an interrupt",
        oracle: "context",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL) (context: hardirq)",
        apply: |tenant, request, setting| {
            let caller = Current { context: Context::Task, ..setting.caller };
            tenant.right.apply(request, &Setting { caller, ..*setting })
        },
        ..RIGHT
    },
    Fault {
        what: "grants in a non-maskable interrupt",
        oracle: "context",
        trace: "r0 = kmalloc(0x40, GFP_ATOMIC) (context: nmi)",
        apply: in_hardirq,
        ..RIGHT
    },
    Fault {
        what: "frees in a non-maskable interrupt",
        oracle: "wrong-free",
        trace: "r0 = kmalloc(0x40, GFP_ATOMIC)\nkfree(r0) (context: nmi)",
        apply: in_hardirq,
        ..RIGHT
    },
    Fault {
        what: "lets nobody sleep",
        oracle: "context",
        trace: "vm_unmap_aliases()",
        apply: |tenant, request, setting| {
            let answer = Answer::Refused(Refusal::BadContext);
            instead(tenant, request, setting, Call::VmUnmapAliases, answer)
        },
        ..RIGHT
    },
    Fault {
        what: "forgets that a scope was opened",
        oracle: "context",
        trace: "memalloc_nofs_save()\nmemalloc_nofs_restore()",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::MemallocNofsSave, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "takes memory to open a scope",
        oracle: "context",
        trace: "tick()\nmemalloc_noio_save()",
        apply: |tenant, request, setting| {
            if request.call == Call::MemallocNoioSave {
                tenant.ask(ask::alloc_pages(GFP_KERNEL, 0));
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "closes a scope that nobody has opened",
        oracle: "context",
        trace: "memalloc_noio_restore()",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::MemallocNoioRestore, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "says at boot that the boot is over",
        oracle: "boot",
        trace: "memblock_reserve(0x200000, 0x1000)",
        apply: |tenant, request, setting| {
            let answer = Answer::Refused(Refusal::TooLate);
            instead(tenant, request, setting, Call::MemblockReserve, answer)
        },
        ..RIGHT
    },
    Fault {
        what: "reserves memory after the hand-over",
        oracle: "boot",
        trace: "tick()\nmemblock_reserve(0x200000, 0x1000)",
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::MemblockReserve, Answer::Done)
        },
        ..RIGHT
    },
];

/// There is no single page.
const NO_PAGE: Answer = Answer::Refused(Refusal::Pages { order: 0 });

/// What was freed is no memory.
const WILD: Answer =
    Answer::BadFree(FreeRefusal { verdict: Class::Wild, right: None, on_linux: None });

/// Gives this answer in the place of making a call. Other calls are made.
pub(crate) fn instead(
    tenant: &mut Tenant,
    request: &Request,
    setting: &Setting,
    call: Call,
    answer: Answer,
) -> Reply {
    if request.call == call {
        Reply { answer, ..Reply::default() }
    } else {
        tenant.right.apply(request, setting)
    }
}

/// The right reply, and what it says of a free that is refused changed.
fn refused(
    tenant: &mut Tenant,
    request: &Request,
    setting: &Setting,
    change: impl FnOnce(&mut FreeRefusal),
) -> Reply {
    let mut reply = tenant.right.apply(request, setting);
    if let Answer::BadFree(refusal) = &mut reply.answer {
        change(refusal);
    }
    reply
}

/// Makes the call as if in an interrupt handler.
fn in_hardirq(tenant: &mut Tenant, request: &Request, setting: &Setting) -> Reply {
    let caller = Current { context: Context::Hardirq, ..setting.caller };
    tenant.right.apply(request, &Setting { caller, ..*setting })
}
