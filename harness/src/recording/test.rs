//! What becomes of events: one hand-written recording for each rule.
//!
//! A recording is a few lines of `context event fields`, and the trace it becomes is compared as
//! text. Damage is in `test_damage`.

use super::*;
use crate::call::Call;

/// Expands `1 kfree: …` to an ftrace line of task 1, and `s kfree: …` to one of a softirq.
pub(super) fn ftrace(lines: &str) -> String {
    let mut text = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (context, event) = line.split_once(' ').expect("context and event");
        let (pid, flags) = if context == "s" { ("7", "..s..") } else { (context, ".....") };
        text += &format!("    my task-x-{pid}       [000] {flags}     1.000001: {event}\n");
    }
    text
}

fn read(lines: &str) -> Recording {
    Recording::parse(&ftrace(lines)).unwrap_or_else(|error| panic!("{error}"))
}

/// The ops of a trace, a line each.
fn ops(recording: &Recording) -> Vec<String> {
    recording.trace.ops.iter().map(|op| op.to_string().trim_end().to_owned()).collect()
}

#[test]
fn addresses_become_the_lowest_free_registers() {
    let recording = read(
        "1 kmalloc: call_site=f+0x1/0x2 ptr=ffff888000000040 bytes_req=60 bytes_alloc=64 gfp_flags=GFP_KERNEL node=-1 accounted=false
         1 kmalloc: call_site=f+0x1/0x2 ptr=00000000abcd1234 bytes_req=9000 bytes_alloc=16384 gfp_flags=GFP_ATOMIC|__GFP_ZERO
         2 kfree: call_site=f+0x1/0x2 ptr=ffff888000000040
         2 kmalloc: call_site=f+0x1/0x2 ptr=ffff888000000080 bytes_req=8 bytes_alloc=8 gfp_flags=GFP_KERNEL
         s kfree: call_site=f+0x1/0x2 ptr=0000000000000000",
    );
    let expected = [
        "r0 = kmalloc(0x3c, GFP_KERNEL)",
        "r1 = kmalloc(0x2328, GFP_ATOMIC|__GFP_ZERO)",
        "kfree(r0)",
        "r0 = kmalloc(0x8, GFP_KERNEL)",
        "kfree(NULL)",
    ];
    assert_eq!(ops(&recording), expected);
    let free = Served::NotAnAllocation;
    assert_eq!(recording.served, [Served::Slab, Served::Pages, free, Served::Slab, free]);
    assert_eq!(recording.lines, [1, 2, 3, 4, 5]);
    assert_eq!(recording.counts.live_at_end, 2);
}

#[test]
fn a_cache_is_a_pair_of_sizes() {
    let recording = read(
        "1 kmem_cache_alloc: call_site=f ptr=ffff888000000000 bytes_req=96 bytes_alloc=104 gfp_flags=GFP_NOFS node=-1 accounted=false
         1 kmem_cache_alloc: call_site=f ptr=ffff888000000068 bytes_req=96 bytes_alloc=104 gfp_flags=GFP_NOFS
         1 kmem_cache_alloc: call_site=f ptr=ffff888000002000 bytes_req=192 bytes_alloc=192 gfp_flags=GFP_NOFS
         1 kmem_cache_free: call_site=f ptr=ffff888000000068 name=filp
         1 kfree: call_site=f ptr=ffff888000000000",
    );
    let expected = [
        "c0 = kmem_cache_create(0x60, 0x8)",
        "r0 = kmem_cache_alloc(c0, GFP_NOFS)",
        "r1 = kmem_cache_alloc(c0, GFP_NOFS)",
        "c1 = kmem_cache_create(0xc0, 0x0)",
        "r2 = kmem_cache_alloc(c1, GFP_NOFS)",
        "kmem_cache_free(c0, r1)",
        "kfree(r0)",
    ];
    assert_eq!(ops(&recording), expected);
    assert_eq!(recording.counts.caches, 2);
}

#[test]
fn what_kvmalloc_does_inside_is_nested_and_an_interrupt_is_not() {
    let recording = read(
        "1 kv: (kvmalloc_node+0x0/0xd0) size=128 gfp=0xdc0 node=-1
         s kmalloc: call_site=f ptr=ffff888000001000 bytes_req=16 bytes_alloc=16 gfp_flags=GFP_ATOMIC
         1 kmalloc: call_site=f ptr=ffff888000000080 bytes_req=128 bytes_alloc=128 gfp_flags=GFP_KERNEL
         1 kvr: (caller+0x1/0x2 <- kvmalloc_node) ret=0xffff888000000080
         1 kvf: (kvfree+0x0/0x30) addr=0xffff888000000080
         s kfree: call_site=f ptr=ffff888000001000
         1 kfree: call_site=f ptr=ffff888000000080
         1 kvf: (kvfree+0x0/0x30) addr=0x0
         1 kfree: call_site=f ptr=0000000000000000",
    );
    let expected = [
        "r0 = kmalloc(0x10, GFP_ATOMIC)",
        "r1 = kvmalloc(0x80, GFP_KERNEL|__GFP_ZERO)",
        "kvfree(r1)",
        "kfree(r0)",
        "kvfree(NULL)",
    ];
    assert_eq!(ops(&recording), expected);
    assert_eq!(recording.served[1], Served::Slab);
    assert_eq!(recording.counts.nested, 3);
}

/// A kvmalloc of 2 MiB that falls back to vmalloc, whose page array needs a vmalloc of its own.
const FALLBACK: &str = "\
    1 kv: (kvmalloc_node+0x0/0xd0) size=2097153 gfp=0xcc0 node=-1
    1 kmalloc: call_site=f ptr=(null) bytes_req=2097153 bytes_alloc=4194304 gfp_flags=GFP_KERNEL|__GFP_NOWARN
    1 vm: (__vmalloc_node_range+0x0/0x880) size=2097153 align=1 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xcc0
    1 kmalloc: call_site=f ptr=ffff888000000040 bytes_req=64 bytes_alloc=64 gfp_flags=GFP_KERNEL
    1 vm: (__vmalloc_node_range+0x0/0x880) size=4104 align=1 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xdc0
    1 kmalloc: call_site=f ptr=ffff888000000080 bytes_req=64 bytes_alloc=64 gfp_flags=GFP_KERNEL
    1 vmr: (a+0x1/0x2 <- __vmalloc_node_range) ret=0xffffc90000010000
    1 vmr: (a+0x1/0x2 <- __vmalloc_node_range) ret=0xffffc90000020000
    1 kvr: (a+0x1/0x2 <- kvmalloc_node) ret=0xffffc90000020000
    ";

#[test]
fn what_vmalloc_does_inside_is_nested_even_if_freed_later_by_another() {
    let frees = "
        1 kvf: (kvfree+0x0/0x30) addr=0xffffc90000020000
        1 vf: (vfree+0x0/0xa0) addr=0xffffc90000020000
        2 mm_page_free: page=ffffea0000000040 pfn=0x51 order=0
        2 mm_page_free: page=ffffea0000000080 pfn=0x52 order=0
        2 kvf: (kvfree+0x0/0x30) addr=0xffffc90000010000
        2 vf: (vfree+0x0/0xa0) addr=0xffffc90000010000
        2 mm_page_free: page=ffffea00000000c0 pfn=0x53 order=0
        2 kfree: call_site=f ptr=ffff888000000080
        2 kfree: call_site=f ptr=ffff888000000040";
    let recording = read(&format!("{FALLBACK}{frees}"));
    assert_eq!(ops(&recording), ["r0 = kvmalloc(0x200001, GFP_KERNEL)", "kvfree(r0)"]);
    assert_eq!(recording.served, [Served::Vmalloc, Served::NotAnAllocation]);
    assert_eq!(recording.counts.frees_without_allocation.values().sum::<u64>(), 0);
}

#[test]
fn a_restricted_or_aligned_vmalloc_keeps_its_alignment() {
    let recording = read(
        "1 vm: (v+0x0/0x880) size=8192 align=1 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xcc0
         1 vmr: (a <- v) ret=0xffffc90000010000
         1 vm: (v+0x0/0x880) size=16384 align=16384 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xdc0
         1 vmr: (a <- v) ret=0xffffc90000020000
         1 vm: (v+0x0/0x880) size=4096 align=4096 start=0xffffffffc0000000 end=0xffffffffff000000 gfp=0xcc0
         1 vmr: (a <- v) ret=0x0
         1 vf: (vfree+0x0/0xa0) addr=0xffffc90000010000",
    );
    let expected = [
        "r0 = __vmalloc(0x2000, GFP_KERNEL)",
        "r1 = __vmalloc_node_range(0x4000, 0x4000, 0x0, 0x1000000, GFP_KERNEL|__GFP_ZERO)",
        "r2 = __vmalloc_node_range(0x1000, 0x1000, 0x0, 0x1000000, GFP_KERNEL)",
        "vfree(r0)",
    ];
    assert_eq!(ops(&recording), expected);
    assert_eq!(recording.trace.machine.vmalloc_pages, 0x1000);
    assert_eq!(recording.served[2], Served::Refused);
}

#[test]
fn pages_under_objects_are_nested_and_others_are_not() {
    let recording = read(
        "1 mm_page_alloc: page=ffffea0000000100 pfn=0x100 order=1 migratetype=0 gfp_flags=GFP_KERNEL|__GFP_COMP
         1 kmalloc: call_site=f ptr=ffff8b0000101040 bytes_req=64 bytes_alloc=64 gfp_flags=GFP_KERNEL
         1 mm_page_alloc: page=ffffea0000000200 pfn=0x200 order=0 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE
         1 kfree: call_site=f ptr=ffff8b0000101040
         2 mm_page_free: page=ffffea0000000100 pfn=0x100 order=1
         2 kmem_cache_free: call_site=f ptr=ffff8b0000300000 name=filp
         2 mm_page_free: page=ffffea0000000300 pfn=0x300 order=0
         2 mm_page_free: page=ffffea0000000300 pfn=0x400 order=0
         1 mm_page_free: page=ffffea0000000200 pfn=0x200 order=0",
    );
    let expected = [
        "r0 = kmalloc(0x40, GFP_KERNEL)",
        "r1 = alloc_pages(GFP_HIGHUSER_MOVABLE, 0)",
        "kfree(r0)",
        "__free_pages(r1, 0)",
    ];
    assert_eq!(ops(&recording), expected);
    assert_eq!(recording.counts.direct_map_base, Some(0xffff_8b00_0000_0000));
    assert_eq!(recording.counts.nested, 3, "a slab's two events, and the page of an older slab");
    let unmatched = [(RecordedFree::KmemCacheFree, 1), (RecordedFree::FreePages, 1)];
    assert_eq!(recording.counts.frees_without_allocation, BTreeMap::from(unmatched));
}

#[test]
fn requests_that_failed_stay_requests() {
    let recording = read(
        "1 kmalloc: call_site=f ptr=(null) bytes_req=64 bytes_alloc=64 gfp_flags=GFP_NOWAIT
         1 kfree: call_site=f ptr=(null)
         1 mm_page_alloc: page=(null) pfn=0x0 order=9 migratetype=0 gfp_flags=GFP_TRANSHUGE_LIGHT
         1 kfree: call_site=f ptr=(null)
         1 mm_page_alloc: page=0000000000000000 pfn=0x0 order=3 migratetype=0 gfp_flags=GFP_NOWAIT
         1 kmem_cache_alloc: call_site=f ptr=0000000000000000 bytes_req=64 bytes_alloc=64 gfp_flags=GFP_NOWAIT
         1 kv: (kvmalloc_node+0x0/0xd0) size=0 gfp=0xcc0 node=-1
         1 kvr: (a <- kvmalloc_node) ret=0x10",
    );
    let free = Served::NotAnAllocation;
    let refused = Served::Refused;
    let served = [refused, free, refused, free, free, refused, Served::ZeroSize];
    assert_eq!(recording.served, served);
    assert_eq!(recording.counts.nested, 1, "the page request of the cache that failed");
    assert_eq!(recording.trace.ops[2].call, Call::AllocPages);
}

#[test]
fn a_block_freed_in_pieces_is_freed_whole_with_the_last() {
    let recording = read(
        "1 mm_page_alloc: page=ffffea0000000100 pfn=0x100 order=2 migratetype=0 gfp_flags=GFP_KERNEL
         1 mm_page_free: page=ffffea0000000100 pfn=0x102 order=1
         1 mm_page_free: page=ffffea0000000100 pfn=0x100 order=0
         1 kfree: call_site=f ptr=0000000000000000
         1 mm_page_free: page=ffffea0000000100 pfn=0x101 order=0",
    );
    let expected = ["r0 = alloc_pages(GFP_KERNEL, 2)", "kfree(NULL)", "__free_pages(r0, 2)"];
    assert_eq!(ops(&recording), expected);
    assert_eq!(recording.counts.split_blocks, 1);
}

#[test]
fn a_free_that_was_missed_is_made_up_for() {
    let recording = read(
        "1 kmalloc: call_site=f ptr=ffff888000000040 bytes_req=64 bytes_alloc=64 gfp_flags=GFP_KERNEL
         1 kmalloc: call_site=f ptr=ffff888000000040 bytes_req=60 bytes_alloc=64 gfp_flags=GFP_KERNEL
         1 mm_page_alloc: page=ffffea0000000100 pfn=0x900 order=1 migratetype=0 gfp_flags=GFP_KERNEL
         1 mm_page_alloc: page=ffffea0000000100 pfn=0x900 order=1 migratetype=0 gfp_flags=GFP_KERNEL
         1 kfree: call_site=f ptr=ffff888000000777",
    );
    let expected = [
        "r0 = kmalloc(0x40, GFP_KERNEL)",
        "kfree(r0)",
        "r0 = kmalloc(0x3c, GFP_KERNEL)",
        "r1 = alloc_pages(GFP_KERNEL, 1)",
        "__free_pages(r1, 1)",
        "r1 = alloc_pages(GFP_KERNEL, 1)",
    ];
    assert_eq!(ops(&recording), expected);
    assert_eq!(recording.counts.missed_frees, 2);
    let unmatched = BTreeMap::from([(RecordedFree::Kfree, 1)]);
    assert_eq!(recording.counts.frees_without_allocation, unmatched);
}

#[test]
fn a_free_is_legal_in_every_lane() {
    let recording = read(
        "1 kv: (kvmalloc_node+0x0/0xd0) size=128 gfp=0xcc0 node=-1
         1 kmalloc: call_site=f ptr=ffff888000000080 bytes_req=128 bytes_alloc=128 gfp_flags=GFP_KERNEL
         1 kvr: (a <- kvmalloc_node) ret=0xffff888000000080
         1 kfree: call_site=f ptr=ffff888000000080
         1 kmalloc: call_site=f ptr=ffff888000000080 bytes_req=128 bytes_alloc=128 gfp_flags=GFP_KERNEL
         1 vf: (vfree+0x0/0xa0) addr=0xffff888000000080
         1 kmalloc: call_site=f ptr=ffff888000000080 bytes_req=128 bytes_alloc=128 gfp_flags=GFP_KERNEL
         1 kvf: (kvfree+0x0/0x30) addr=0xffff888000000080",
    );
    let ops = ops(&recording);
    assert_eq!([&*ops[1], &ops[3], &ops[5]], ["kvfree(r0)", "kfree(r0)", "kvfree(r0)"]);
    assert_eq!(recording.counts.kfree_of_kvmalloc, 1);
    assert_eq!(recording.counts.mismatched_frees, 1);
}
