//! Recordings of a few lines, right and wrong, and what the comparison says of them.
//!
//! Each fact is seen to agree, to differ by its rule, and to bark on an answer that no kernel may
//! give.

use super::*;
use crate::campaign::SWEEP;
use crate::exec::{self, Expectations};

/// Compares a recording's events (of one task) with what its replay answers.
fn compare(events: &[&str]) -> Agreement {
    let text: String =
        events.iter().map(|event| format!("  a-1 [000] .....  1.000001: {event}\n")).collect();
    let recording = Recording::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut agreement = Agreement::new(&recording);
    let mut index = 0;
    let run = exec::watch(&SWEEP, &recording.trace, Expectations::Ignored, |views| {
        agreement.compare(&recording, index, views[0].class);
        index += 1;
    });
    run.unwrap_or_else(|failure| panic!("{}", failure.reason));
    agreement
}

fn object(event: &str, req: u64, alloc: u64, gfp: &str) -> String {
    format!("{event}: ptr=ffff888000001000 bytes_req={req} bytes_alloc={alloc} gfp_flags={gfp}")
}

/// A kvmalloc of this size, whose request inside was made with these flags and yielded this.
fn kvmalloc(size: u64, inside: &str, ret: &str) -> Agreement {
    let call = format!("kv: (k) size={size} gfp=0xcc0");
    let ret = format!("kvr: (a <- k) ret={ret}");
    compare(&[&call, inside, &ret])
}

#[track_caller]
fn assert_agrees(agreement: &Agreement) {
    let Agreement { requests, agreed, differences, .. } = agreement;
    assert!(requests == agreed && *requests > 0, "{agreement:?}");
    assert_eq!(differences, &[]);
}

#[track_caller]
fn assert_rule(agreement: &Agreement, fact: Fact, rule: Rule) {
    assert_eq!((agreement.agreed, agreement.by_rule), (0, 1), "{agreement:?}");
    assert_eq!(agreement.facts[&fact].by_rule, BTreeMap::from([(rule, 1)]));
}

#[track_caller]
fn assert_barks(agreement: &Agreement, fact: Fact, reason: &str) {
    assert_eq!(agreement.unexplained(), 1, "{agreement:?}");
    let found = agreement.differences.iter().find(|difference| difference.fact == fact);
    let found = found.unwrap_or_else(|| panic!("{agreement:?}"));
    assert!(found.reason.contains(reason), "{}", found.reason);
    assert_eq!(agreement.facts[&fact].unexplained(), 1);
}

#[test]
fn silent_on_what_linux_6_1_answers() {
    assert_agrees(&compare(&[&object("kmalloc", 100, 128, "GFP_KERNEL")]));
    assert_agrees(&compare(&[&object("kmalloc", 9000, 16384, "GFP_ATOMIC")]));
    assert_agrees(&compare(&[&object("kmem_cache_alloc", 100, 104, "GFP_NOFS")]));
    let block = "mm_page_alloc: page=0xffffea0000100040 pfn=16400 order=3 gfp_flags=GFP_KERNEL";
    assert_agrees(&compare(&[block]));
    let inside = object("kmalloc", 12288, 16384, "GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY");
    assert_agrees(&kvmalloc(12288, &inside, "0xffff888000001000"));
    assert_agrees(&compare(&[
        "kmalloc: ptr=(null) bytes_req=8388608 bytes_alloc=8388608 gfp_flags=GFP_KERNEL",
    ]));
}

#[test]
fn differences_that_a_rule_explains_have_its_name() {
    let line = compare(&[&object("kmem_cache_alloc", 100, 128, "GFP_NOFS")]);
    assert_rule(&line, Fact::Bytes, Rule::CacheLine);
    let small = compare(&[&object("kmem_cache_alloc", 20, 32, "GFP_NOFS")]);
    assert_rule(&small, Fact::Bytes, Rule::CacheLine);
    for stride in [112, 256] {
        let size = if stride == 112 { 104 } else { 192 };
        let behind = compare(&[&object("kmem_cache_alloc", size, stride, "GFP_NOFS")]);
        assert_rule(&behind, Fact::Bytes, Rule::FreePointer);
    }
    let null = "mm_page_alloc: page=(null) pfn=0 order=9 gfp_flags=GFP_TRANSHUGE_LIGHT";
    assert_rule(&compare(&[null]), Fact::Granted, Rule::MayFail);
    let vm = "kmalloc: ptr=(null) bytes_req=12288 bytes_alloc=16384 gfp_flags=GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY";
    let fell_back = compare(&[
        "kv: (k) size=12288 gfp=0xcc0",
        vm,
        "vm: (v) size=12288 align=1 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xcc0",
        "vmr: (k <- v) ret=0xffffc90000010000",
        "kvr: (a <- k) ret=0xffffc90000010000",
    ]);
    assert_rule(&fell_back, Fact::Kind, Rule::EitherSide);
    assert_eq!(fell_back.facts[&Fact::FirstTry].agreed, 1);
}

#[test]
fn barks_on_answers_that_no_rule_explains() {
    let class = compare(&[&object("kmalloc", 100, 256, "GFP_KERNEL")]);
    assert_barks(&class, Fact::Bytes, "256 bytes aside, the model 128");
    let debugged = compare(&[&object("kmem_cache_alloc", 100, 208, "GFP_KERNEL")]);
    assert_barks(&debugged, Fact::Bytes, "208 bytes apart");
    let never = "kmalloc: ptr=(null) bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL";
    assert_barks(&compare(&[never]), Fact::Granted, "which it may not");
    let nofail = "mm_page_alloc: page=(null) pfn=0 order=9 gfp_flags=GFP_KERNEL|__GFP_NOFAIL";
    assert_barks(&compare(&[nofail]), Fact::Granted, "which it may not");
    let plain = object("kmalloc", 12288, 16384, "GFP_KERNEL");
    let asked = kvmalloc(12288, &plain, "0xffff888000001000");
    assert_barks(&asked, Fact::FirstTry, "asked with 0xcc0, not 0x12cc0");
    let small = compare(&[
        "kv: (k) size=100 gfp=0xcc0",
        "vm: (v) size=100 align=1 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xcc0",
        "vmr: (k <- v) ret=0xffffc90000010000",
        "kvr: (a <- k) ret=0xffffc90000010000",
    ]);
    assert_barks(&small, Fact::Kind, "from Vmalloc, the lane from Slab");
}

#[test]
fn blocks_under_objects_have_the_orders_of_slabs_and_large_requests() {
    let compare = |order: u32, bytes: u64| {
        let block = format!("mm_page_alloc: page=0x1 pfn=4096 order={order} gfp_flags=GFP_KERNEL");
        compare(&[
            &block,
            &object("kmalloc", bytes, bytes, "GFP_KERNEL").replace("000001000", "001000000"),
        ])
    };
    for (order, bytes) in [(0, 64), (3, 64), (1, 8192), (3, 8192), (2, 16384), (5, 131_072)] {
        let tally = &compare(order, bytes).facts[&Fact::Order];
        assert_eq!((tally.compared, tally.agreed), (1, 1), "order {order}, {bytes} bytes");
    }
    for (order, bytes) in [(4, 64), (0, 8192), (3, 16384), (1, 131_072)] {
        let agreement = compare(order, bytes);
        assert_eq!(agreement.facts[&Fact::Order].unexplained(), 1, "order {order}, {bytes} bytes");
        assert!(agreement.differences[0].reason.contains("for which the model has orders"));
    }
}

#[test]
fn the_rules_of_the_recorded_kernel_decide() {
    let text = "  a-1 [000] ....  1.1: kv: (k) size=12288 gfp=GFP_NOFS\n\
        \x20 a-1 [000] ....  1.2: kmalloc: ptr=ffff888000001000 bytes_req=12288 bytes_alloc=16384 gfp_flags=GFP_NOFS\n\
        \x20 a-1 [000] ....  1.3: kvr: (a <- k) ret=0xffff888000001000\n";
    // Linux 4.18 to 5.15 left NOFS requests to kmalloc, without a word on how to ask.
    for (kernel, agreed) in [("5.4", 1), ("6.1", 0)] {
        let recording = Recording::read(text.as_bytes(), kernel.parse().ok()).unwrap();
        let mut agreement = Agreement::new(&recording);
        agreement.compare(&recording, 0, Some(Class::Pages));
        assert_eq!(agreement.agreed, agreed, "{kernel}");
    }
}
