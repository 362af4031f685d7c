//! Faults of what is granted: whose memory it is, what it holds, where it lies, what it keeps.

use crate::tenant::{Fault, RIGHT, Seen, Tenant};
use kvroute_harness::call::{Call, Request, Role, ask};
use kvroute_harness::op::{Class, Setting};
use kvroute_harness::subject::alloc_core::sim_memory::POISON;
use kvroute_harness::subject::{Answer, FreeRefusal, Reply};
use kvroute_harness::words::gfp::{__GFP_ZERO, GFP_KERNEL, Gfp};
use kvroute_harness::words::{PAGE, Route};

pub(crate) static FAULTS: &[Fault] = &[
    Fault {
        what: "does not let a byte too many be seen",
        oracle: "contents",
        trace: "r0 = kmalloc(0x30, GFP_KERNEL)\nwrite(r0, 0x30, 0x1)",
        compare: |_, _, _| Ok(()),
        ..RIGHT
    },
    Fault {
        what: "goes on writing where a caller has left what it had written",
        oracle: "contents",
        trace: KMALLOCS,
        seen: Seen::AtTheEnd,
        apply: |tenant, request, setting| {
            for nth in 0..tenant.granted.len() {
                let place = tenant.place(nth) + 8;
                if is_as_it_was(tenant, place) {
                    tenant.spoil(place);
                }
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "takes for free what a caller has left as it was",
        oracle: "wrong-free",
        trace: KMALLOCS,
        seen: Seen::AtTheEnd,
        apply: |tenant, request, setting| {
            if request.freed().iter().any(|addr| is_as_it_was(tenant, addr + 8)) {
                let verdict = Class::DoubleFree;
                let refusal = FreeRefusal { verdict, right: None, on_linux: None };
                return Reply { answer: Answer::BadFree(refusal), ..Reply::default() };
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "hands the same memory out twice",
        oracle: "overlap",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nr1 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            moved(reply, |addr| if tenant.granted.len() == 1 { tenant.place(0) } else { addr })
        },
        ..RIGHT
    },
    Fault {
        what: "hands out memory whose end is another's",
        oracle: "overlap",
        trace: "r0 = alloc_pages(GFP_KERNEL, 1)\nr1 = alloc_pages(GFP_KERNEL, 1)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            let before = tenant.place(0) - if tenant.granted.is_empty() { 0 } else { PAGE };
            moved(reply, |addr| if tenant.granted.len() == 1 { before } else { addr })
        },
        ..RIGHT
    },
    Fault {
        what: "maps another's frame into an area",
        oracle: "overlap",
        trace: "r0 = vmalloc(0x1000)\nr1 = vmalloc(0x1000)",
        frame_of: |tenant, addr| {
            let is_second = addr & !(PAGE - 1) == tenant.place(1);
            tenant.right.frame_of(if is_second { tenant.place(0) } else { addr })
        },
        ..RIGHT
    },
    Fault {
        what: "maps a frame twice into an area",
        oracle: "overlap",
        trace: "r0 = vmalloc(0x2000)",
        frame_of: |tenant, addr| {
            let behind = tenant.right.frame_of(addr)?;
            tenant.right.frame_of(addr.wrapping_add(PAGE)).or(Some(behind))
        },
        ..RIGHT
    },
    Fault {
        what: "writes into live memory",
        oracle: "contents",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(NULL)\nkfree(r0)",
        apply: |tenant, request, setting| {
            tenant.spoil(tenant.place(0) + 0x3f);
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "writes past the bytes that were asked for",
        oracle: "contents",
        trace: "r0 = vmalloc(0x1001)\nkfree(NULL)\nwrite(r0, 0x0, 0x10)",
        apply: |tenant, request, setting| {
            tenant.spoil(tenant.place(0) + 0x1001);
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    },
    Fault {
        what: "zeroes all but the last byte",
        oracle: "contents",
        trace: "r0 = kzalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if let Answer::Memory { addr, .. } = reply.answer {
                tenant.spoil(addr + 0x3f);
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "zeroes nothing, on a machine where nobody has written yet",
        oracle: "contents",
        trace: "r0 = alloc_pages(GFP_KERNEL|__GFP_ZERO, 0)",
        apply: |tenant, request, setting| {
            tenant.right.apply(&with_gfp(request, |gfp| gfp.without(__GFP_ZERO)), setting)
        },
        ..RIGHT
    },
    Fault {
        what: "leaves a secret behind",
        oracle: "contents",
        trace: "r0 = kmalloc(0x1000, GFP_KERNEL)\nkfree_sensitive(r0)",
        apply: |tenant, request, setting| match request.call {
            Call::KfreeSensitive => tenant.right.apply(&renamed(request, Call::Kfree), setting),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "gives an object out without constructing it",
        oracle: "contents",
        trace: "c0 = kmem_cache_create(0x40, 0x0, 0, 0x1234)\nr0 = kmem_cache_alloc(c0, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            let reply = tenant.right.apply(request, setting);
            if let Answer::Memory { addr, .. } = reply.answer {
                tenant.spoil(addr + 0x3f);
            }
            reply
        },
        ..RIGHT
    },
    Fault {
        what: "maps the guard page",
        oracle: "contract",
        trace: "r0 = vmalloc(0x1000)",
        frame_of: |tenant, addr| {
            tenant.right.frame_of(addr).or_else(|| tenant.right.frame_of(addr.wrapping_sub(PAGE)))
        },
        ..RIGHT
    },
    Fault {
        what: "does not map the last page",
        oracle: "promise",
        trace: "r0 = vmalloc(0x2000)",
        read: |tenant, addr, bytes| {
            let is_last = tenant.place(0) != 0 && addr == tenant.place(0) + PAGE;
            if is_last { 0 } else { tenant.right.read(addr, bytes) }
        },
        ..RIGHT
    },
    Fault {
        what: "grants a byte too few",
        oracle: "contract",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| sized(tenant.right.apply(request, setting), -1),
        ..RIGHT
    },
    Fault {
        what: "grants more than the size class",
        oracle: "contract",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| sized(tenant.right.apply(request, setting), 8),
        ..RIGHT
    },
    Fault {
        what: "grants memory that is not aligned",
        oracle: "promise",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)",
        apply: |tenant, request, setting| {
            moved(tenant.right.apply(request, setting), |addr| addr + 8)
        },
        ..RIGHT
    },
    Fault {
        what: "puts an area elsewhere than into the lowest hole",
        oracle: "contract",
        trace: "r0 = vmalloc(0x1000)",
        apply: |tenant, request, setting| match request.call {
            Call::Vmalloc => {
                tenant.ask(ask::__vmalloc_node_range(PAGE, PAGE, 16 * PAGE, 64 * PAGE, GFP_KERNEL))
            }
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "moves without copying",
        oracle: "promise",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nr0 = krealloc(r0, 0x1000, GFP_KERNEL)",
        apply: |tenant, request, setting| match request.replaced() {
            Some(old) => replace(tenant, old, ask::kmalloc(0x1000, GFP_KERNEL), 0),
            None => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "moves and loses the last byte",
        oracle: "promise",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nr0 = krealloc(r0, 0x1000, GFP_KERNEL)",
        apply: |tenant, request, setting| match request.replaced() {
            Some(old) => replace(tenant, old, ask::kmalloc(0x1000, GFP_KERNEL), 0x3f),
            None => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "moves what has room where it is",
        oracle: "realloc",
        trace: "r0 = kmalloc(0x30, GFP_KERNEL)\nr0 = krealloc(r0, 0x38, GFP_KERNEL)",
        apply: |tenant, request, setting| match request.replaced() {
            Some(old) => replace(tenant, old, ask::kmalloc(0x38, GFP_KERNEL), 0x30),
            None => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "leaves where it is what has no room",
        oracle: "realloc",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nr0 = krealloc(r0, 0x80, GFP_KERNEL)",
        apply: |tenant, request, setting| match request.replaced() {
            Some(addr) => {
                let answer = Answer::Memory { addr, usable: 0x40, bus: None };
                Reply { answer, ..tenant.ask(ask::kfree(0)) }
            }
            None => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "shows a device other memory",
        oracle: "device",
        trace: "r0 = dma_alloc_coherent(0x2000, GFP_KERNEL)",
        frame_of_bus: |tenant, bus| Some(tenant.right.frame_of_bus(bus)? + 1),
        ..RIGHT
    },
    Fault {
        what: "keeps to itself where a device sees the memory",
        oracle: "device",
        trace: "r0 = dma_alloc_coherent(0x2000, GFP_KERNEL)",
        apply: |tenant, request, setting| with_bus(tenant.right.apply(request, setting), None),
        ..RIGHT
    },
    Fault {
        what: "shows a device what was not meant for it",
        oracle: "device",
        trace: "r0 = alloc_pages(GFP_KERNEL, 0)",
        apply: |tenant, request, setting| with_bus(tenant.right.apply(request, setting), Some(0)),
        ..RIGHT
    },
    Fault {
        what: "takes from another node",
        oracle: "node",
        trace: "machine (nodes: 2)\nr0 = alloc_pages_node(1, GFP_KERNEL, 0)",
        apply: |tenant, request, setting| match request.call {
            Call::AllocPagesNode => tenant.ask(ask::alloc_pages_node(Some(0), GFP_KERNEL, 0)),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "takes small pages where there are huge ones",
        oracle: "huge",
        trace: "machine (frames: 4096)\nr0 = vmalloc_huge(0x200000, GFP_KERNEL)",
        apply: |tenant, request, setting| match request.call {
            Call::VmallocHuge => tenant.right.apply(&renamed(request, Call::VmallocGfp), setting),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "takes the vmalloc side where kmalloc has room",
        oracle: "routing",
        trace: "r0 = kvmalloc(0x3000, GFP_KERNEL)",
        apply: |tenant, request, setting| tenant.right.apply(&request.by(Route::Vmalloc), setting),
        ..RIGHT
    },
    Fault {
        what: "takes the slab side although the other was asked for",
        oracle: "routing",
        trace: "r0 = kvmalloc(0x3000, GFP_KERNEL) (route: vmalloc)",
        apply: |tenant, request, setting| tenant.right.apply(&request.by(Route::Slab), setting),
        ..RIGHT
    },
    Fault {
        what: "gives bytes to who asked for none",
        oracle: "routing",
        trace: "r0 = kmalloc(0x0, GFP_KERNEL)",
        apply: |tenant, request, setting| match request.call {
            Call::Kmalloc => tenant.ask(ask::kmalloc(8, GFP_KERNEL)),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
    Fault {
        what: "gives another object than the one that was freed last",
        oracle: "reuse",
        trace: "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0)\nr0 = kmalloc(0x40, GFP_KERNEL)",
        apply: second_best,
        ..RIGHT
    },
    Fault {
        what: "gives another block than the one that was freed last",
        oracle: "reuse",
        trace: "machine (pcp_high: 64)\nr0 = alloc_pages(GFP_KERNEL, 0)\n__free_pages(r0, 0)\n\
                r0 = alloc_pages(GFP_KERNEL, 0)",
        apply: second_best,
        ..RIGHT
    },
    Fault {
        what: "gives boot memory from further down than it need be",
        oracle: "boot",
        trace: "r0 = memblock_alloc(0x40, 0x40)",
        apply: |tenant, request, setting| match request.call {
            Call::MemblockAlloc => tenant.ask(ask::memblock_alloc(0x40, 16 * PAGE)),
            _ => tenant.right.apply(request, setting),
        },
        ..RIGHT
    },
];

/// So many objects that some caller leaves one as it was.
const KMALLOCS: &str = "r0 = kmalloc(0x20, GFP_KERNEL)\nr1 = kmalloc(0x20, GFP_KERNEL)\n\
    r2 = kmalloc(0x20, GFP_KERNEL)\nr3 = kmalloc(0x20, GFP_KERNEL)\n\
    r4 = kmalloc(0x20, GFP_KERNEL)\nr5 = kmalloc(0x20, GFP_KERNEL)\n\
    r6 = kmalloc(0x20, GFP_KERNEL)\nr7 = kmalloc(0x20, GFP_KERNEL)\n\
    r8 = kmalloc(0x20, GFP_KERNEL)\nr9 = kmalloc(0x20, GFP_KERNEL)\n\
    r10 = kmalloc(0x20, GFP_KERNEL)\nr11 = kmalloc(0x20, GFP_KERNEL)\n\
    r12 = kmalloc(0x20, GFP_KERNEL)\nr13 = kmalloc(0x20, GFP_KERNEL)\n\
    r14 = kmalloc(0x20, GFP_KERNEL)\nr15 = kmalloc(0x20, GFP_KERNEL)";

/// Whether nobody has ever written to a word.
fn is_as_it_was(tenant: &Tenant, addr: u64) -> bool {
    let mut bytes = [0; 8];
    tenant.right.read(addr, &mut bytes) == bytes.len() && bytes == [POISON; 8]
}

/// The reply with its memory changed.
fn regranted(reply: Reply, change: impl FnOnce(&mut u64, &mut u64, &mut Option<u64>)) -> Reply {
    let mut reply = reply;
    if let Answer::Memory { addr, usable, bus } = &mut reply.answer {
        change(addr, usable, bus);
    }
    reply
}

/// The reply with the memory elsewhere.
fn moved(reply: Reply, place: impl FnOnce(u64) -> u64) -> Reply {
    regranted(reply, |addr, _, _| *addr = place(*addr))
}

/// The reply with so many bytes more.
fn sized(reply: Reply, more: i64) -> Reply {
    regranted(reply, |_, usable, _| *usable = usable.wrapping_add_signed(more))
}

/// The reply with the memory at this address of the bus.
fn with_bus(reply: Reply, place: Option<u64>) -> Reply {
    regranted(reply, |_, _, bus| *bus = place)
}

/// Takes new memory in the place of old, and so many bytes along.
fn replace(tenant: &mut Tenant, old: u64, request: Request, nr_kept: u64) -> Reply {
    let reply = tenant.ask(request);
    if let Answer::Memory { addr, .. } = reply.answer {
        let mut bytes = vec![0; nr_kept as usize];
        tenant.right.read(old, &mut bytes);
        tenant.right.write(addr, &bytes);
    }
    Reply { answer: reply.answer, ..tenant.ask(ask::kfree(old)) }
}

/// From the second time on takes two, and gives the first one back.
fn second_best(tenant: &mut Tenant, request: &Request, setting: &Setting) -> Reply {
    let first = tenant.right.apply(request, setting);
    let Answer::Memory { addr, .. } = first.answer else { return first };
    if tenant.granted.is_empty() {
        return first;
    }
    let second = tenant.right.apply(request, setting);
    match request.call {
        Call::Kmalloc => tenant.ask(ask::kfree(addr)),
        _ => tenant.ask(ask::__free_pages(addr, 0)),
    };
    second
}

/// The same arguments for another call.
pub(crate) fn renamed(request: &Request, call: Call) -> Request {
    Request::new(call, request.words())
}

/// The request with other flags, if it has any.
pub(crate) fn with_gfp(request: &Request, change: impl Fn(Gfp) -> Gfp) -> Request {
    let roles = request.spec().args.iter().map(|(_, role)| *role);
    let words = request.words().iter().zip(roles).map(|(word, role)| match role {
        Role::Gfp => change(Gfp(*word as u32)).0.into(),
        _ => *word,
    });
    Request::new(request.call, &words.collect::<Vec<u64>>()).by(request.route)
}
