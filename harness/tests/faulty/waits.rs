//! Faults of who must wait, and of what a request may take from others.

use crate::answers::instead;
use crate::memory::with_gfp;
use crate::tenant::{Fault, RIGHT, Seen};
use kvroute_harness::call::{Call, ask};
use kvroute_harness::op::Setting;
use kvroute_harness::subject::{Answer, Effort, Epochs, Refusal, Reply};
use kvroute_harness::words::Current;
use kvroute_harness::words::gfp::{__GFP_DIRECT_RECLAIM, __GFP_NOFAIL, GFP_KERNEL};

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "serves who came later before who came first",
        oracle: "nofail",
        trace: "machine (frames: 64, min_free: 0)\n\
                r0 = alloc_pages(GFP_KERNEL, 5)\n\
                r1 = alloc_pages(GFP_KERNEL, 3)\n\
                r2 = alloc_pages(GFP_KERNEL, 2)\n\
                r5 = alloc_pages(GFP_KERNEL, 0)\n\
                r3 = __vmalloc(0x1000, GFP_KERNEL|__GFP_NOFAIL) (task: 1, fail_vmap: 1)\n\
                r4 = __vmalloc(0x1000, GFP_KERNEL|__GFP_NOFAIL) (task: 2, fail_vmap: 1)\n\
                __free_pages(r5, 0)",
        apply: |tenant, request, setting| {
            // The first one asks again after the second one's call, and after the free.
            if matches!(tenant.nr_calls, 6 | 8) {
                let answer = Answer::WouldBlock(Refusal::Pages { order: 0 });
                Reply { answer, ..tenant.ask(ask::kfree(0)) }
            } else {
                tenant.right.apply(request, setting)
            }
        },
        ..RIGHT
    },
    Fault {
        what: "fails who has waited to the end",
        oracle: "contract",
        trace: SHORT,
        seen: Seen::AtTheEnd,
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            match reply.answer {
                Answer::Memory { addr, .. } if tenant.granted.len() == 1 => {
                    tenant.ask(ask::__free_pages(addr, 5));
                    Reply { answer: Answer::Refused(Refusal::Pages { order: 5 }), ..reply }
                }
                _ => reply,
            }
        },
        ..RIGHT
    },
    Fault {
        what: "has another killed for a task that is being killed itself",
        oracle: "reclaim",
        trace: "machine (frames: 64, min_free: 0)\nstart_process(8)\n\
                r0 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 5)\n\
                r1 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 4)\n\
                r2 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 3)\n\
                r3 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 2)\n\
                r4 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 1)\n\
                r5 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 0)\n\
                r6 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 0)\n\
                r7 = alloc_pages(GFP_KERNEL, 0) (killed: 1)",
        apply: |tenant, request, setting| {
            let caller = Current { killed: 0, ..setting.caller };
            tenant.right.apply(request, &Setting { caller, ..*setting })
        },
        ..RIGHT
    },
    Fault {
        what: "tells who may fail to wait",
        oracle: "nofail",
        trace: "machine (frames: 64, min_free: 0)\nr0 = alloc_pages(GFP_KERNEL, 5)\n\
                r1 = alloc_pages(GFP_KERNEL, 5)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            match reply.answer {
                Answer::Refused(refusal) => Reply {
                    answer: Answer::WouldBlock(refusal),
                    effort: Effort::default(),
                    ..reply
                },
                _ => reply,
            }
        },
        ..RIGHT
    },
    Fault {
        what: "fails who must not fail",
        oracle: "nofail",
        trace: SHORT,
        apply: |tenant, request, setting| {
            tenant.right.apply(&with_gfp(request, |gfp| gfp.without(__GFP_NOFAIL)), setting)
        },
        ..RIGHT
    },
    Fault {
        what: "puts off who could be served",
        oracle: "nofail",
        trace: "r0 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 0)",
        apply: |tenant, request, setting| {
            let answer = Answer::WouldBlock(Refusal::Pages { order: 0 });
            instead(tenant, request, setting, Call::AllocPages, answer)
        },
        ..RIGHT
    },
    Fault {
        what: "puts off for ever who has once been put off",
        oracle: "nofail",
        trace: SHORT_NO_MORE,
        apply: |tenant, request, setting| {
            let is_again = tenant.nr_calls > 2 && request.call == Call::AllocPages;
            let reply = tenant.right.apply(request, setting);
            match reply.answer {
                Answer::Memory { addr, .. } if is_again => {
                    tenant.ask(ask::__free_pages(addr, 5));
                    Reply { answer: Answer::WouldBlock(Refusal::Pages { order: 5 }), ..reply }
                }
                _ => reply,
            }
        },
        ..RIGHT
    },
    Fault {
        what: "wakes nobody",
        oracle: "nofail",
        trace: SHORT_NO_MORE_FOR_A_TICK,
        apply: |tenant, request, setting| Reply {
            epochs: Epochs::default(),
            ..tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "says that a promise is impossible which can be kept",
        oracle: "nofail",
        trace: "r0 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 0)",
        apply: |tenant, request, setting| {
            let answer = Answer::Refused(Refusal::ImpossibleNofail);
            instead(tenant, request, setting, Call::AllocPages, answer)
        },
        ..RIGHT
    },
    Fault {
        what: "gives up while there is something to reclaim",
        oracle: "reclaim",
        trace: CACHED,
        apply: |tenant, request, setting| {
            let light = with_gfp(request, |gfp| gfp.without(__GFP_DIRECT_RECLAIM));
            tenant.right.apply(&light, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "keeps to itself what it took from others",
        oracle: "reclaim",
        trace: KILLING,
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            Reply { effort: Effort { nr_oom_kills: 0, ..reply.effort }, ..reply }
        },
        ..RIGHT
    },
    Fault {
        what: "boasts of what it took from others",
        oracle: "reclaim",
        trace: "r0 = alloc_pages(GFP_NOWAIT, 0)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            Reply { effort: Effort { nr_reclaim_rounds: 1, ..reply.effort }, ..reply }
        },
        ..RIGHT
    },
    Fault {
        what: "warns although it succeeds",
        oracle: "reclaim",
        trace: "r0 = alloc_pages(GFP_KERNEL, 0)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            Reply { effort: Effort { nr_warnings: 1, ..reply.effort }, ..reply }
        },
        ..RIGHT
    },
    Fault {
        what: "fails in silence",
        oracle: "reclaim",
        trace: "r0 = kmalloc(0x400001, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            Reply { effort: Effort { nr_warnings: 0, ..reply.effort }, ..reply }
        },
        ..RIGHT
    },
    Fault {
        what: "enters a file system from a scope that forbids it",
        oracle: "reclaim",
        trace: IN_A_SCOPE,
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::MemallocNofsSave, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "drops what is cached in a call that only frees",
        oracle: "reclaim",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nadd_to_page_cache(4, 0)\nkfree(r0)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if request.call == Call::Kfree {
                tenant.ask(ask::drop_caches());
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "has a process killed in the background",
        oracle: "reclaim",
        trace: "machine (frames: 64, min_free: 0)\nr0 = alloc_pages(GFP_KERNEL, 5)\n\
                start_process(24)\ntick()",
        apply: |tenant, request, setting| {
            if request.call == Call::Tick
                && let Answer::Memory { addr, .. } =
                    tenant.ask(ask::alloc_pages(GFP_KERNEL, 3)).answer
            {
                tenant.ask(ask::__free_pages(addr, 3));
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "lets kswapd sleep",
        oracle: "reclaim",
        trace: KSWAPD,
        apply: |tenant, request, setting| {
            instead(tenant, request, setting, Call::Tick, Answer::Done)
        },
        ..RIGHT
    },
    Fault {
        what: "forgets to fail a block that was to fail",
        oracle: "injection",
        trace: "r0 = alloc_pages(GFP_KERNEL, 0) (fail_page_alloc: 1)",
        apply: |tenant, request, _| tenant.ask(*request),
        ..RIGHT
    },
    Fault {
        what: "forgets to fail an object that was to fail",
        oracle: "injection",
        trace: "c0 = kmem_cache_create(0x40, 0x0)\nr0 = kmem_cache_alloc(c0, GFP_KERNEL) (fail_nth: 1)",
        apply: |tenant, request, _| tenant.ask(*request),
        ..RIGHT
    },
    Fault {
        what: "forgets to fail an area that was to fail",
        oracle: "injection",
        trace: "r0 = vmalloc(0x1000) (fail_vmap: 1)",
        apply: |tenant, request, _| tenant.ask(*request),
        ..RIGHT
    },
    Fault {
        what: "fails what nobody wanted to fail",
        oracle: "injection",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let answer = Answer::Refused(Refusal::Injected);
            let reply = instead(tenant, request, setting, Call::Kmalloc, answer);
            Reply { nr_faults: u32::from(request.call == Call::Kmalloc), ..reply }
        },
        ..RIGHT
    },
    Fault {
        what: "excuses itself with a failure that did not come",
        oracle: "contract",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let answer = Answer::Refused(Refusal::Injected);
            instead(tenant, request, setting, Call::Kmalloc, answer)
        },
        ..RIGHT
    },
];

/// A request that must wait for a block.
const SHORT: &str = "machine (frames: 64, min_free: 0)\n\
    r0 = alloc_pages(GFP_KERNEL, 5)\n\
    r1 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 5) (task: 1)";

/// The block comes.
const SHORT_NO_MORE: &str = "machine (frames: 64, min_free: 0)\n\
    r0 = alloc_pages(GFP_KERNEL, 5)\n\
    r1 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 5) (task: 1)\n\
    __free_pages(r0, 5)";

/// And time goes by.
const SHORT_NO_MORE_FOR_A_TICK: &str = "machine (frames: 64, min_free: 0)\n\
    r0 = alloc_pages(GFP_KERNEL, 5)\n\
    r1 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 5) (task: 1)\n\
    __free_pages(r0, 5)\n\
    tick()";

/// A request for which cached pages must go.
const CACHED: &str = "machine (frames: 64, min_free: 0, shuffle: 0)\n\
    add_to_page_cache(63, 0)\n\
    r0 = alloc_pages(GFP_KERNEL, 0)";

/// A request for which a process must go.
const KILLING: &str = "machine (frames: 64, min_free: 0)\n\
    r0 = alloc_pages(GFP_KERNEL, 5)\n\
    start_process(24)\n\
    r1 = alloc_pages(GFP_KERNEL, 3)";

/// A request for which pages of a file system must not go.
const IN_A_SCOPE: &str = "machine (frames: 64, min_free: 0, shuffle: 0)\n\
    memalloc_nofs_save()\n\
    add_to_page_cache(63, __GFP_FS)\n\
    r0 = alloc_pages(GFP_KERNEL|__GFP_NORETRY, 0)";

/// A request that fails and wakes kswapd.
const KSWAPD: &str = "machine (frames: 256, min_free: 64)\n\
    add_to_page_cache(112, __GFP_ZERO)\n\
    r0 = alloc_pages(__GFP_NOWARN, 6)\n\
    r1 = alloc_pages(GFP_NOWAIT, 4)\n\
    tick()";
