//! The reader and the writer undo each other, and every mistake is found where it is.
//!
//! This file draws traces uniformly from the tables, not with `generate`: what must survive a round
//! trip is everything that can be written, not everything that is likely.

use super::*;
use crate::call::{CALLS, MAX_ARGS, MAX_LIST, Role, Yields};
use crate::op::{Arg, CLASSES, Op, Ptr};
use crate::random::Draw;
use crate::trace::Claim;
use crate::words::{CONTEXTS, Current, Gfp, ROUTES, Route};
use fastrand::Rng;

/// A number of any magnitude, and often one at the edge of a type.
fn any_number(rng: &mut Rng, most: u64) -> u64 {
    let number = match rng.u8(0..8) {
        0 => 0,
        1 => most,
        2 => 16,
        _ => rng.u64(..) >> rng.u32(0..64),
    };
    number.min(most)
}

fn any_arg(kind: Role, rng: &mut Rng) -> Arg {
    match kind {
        Role::Order => Arg::Number(any_number(rng, MAX_ORDER_WRITTEN)),
        Role::Gfp => Arg::Gfp(Gfp(any_number(rng, u32::MAX.into()) as u32)),
        Role::Cache => Arg::Cache(rng.u16(..)),
        Role::Results => Arg::Number(any_number(rng, MAX_LIST as u64)),
        Role::FreedList => Arg::Regs(any_first(rng), rng.u8(1..=MAX_LIST as u8)),
        role if role.is_address() && rng.bool() => Arg::Ptr(Ptr::Const(any_number(rng, u64::MAX))),
        role if role.is_address() => {
            Arg::Ptr(Ptr::Reg(rng.u16(..), any_number(rng, u64::MAX) as i64))
        }
        _ => Arg::Number(any_number(rng, u64::MAX)),
    }
}

/// A register behind which there are enough others.
fn any_first(rng: &mut Rng) -> u16 {
    rng.u16(..=u16::MAX - MAX_LIST as u16)
}

fn any_op(rng: &mut Rng) -> Op {
    let spec = &CALLS[rng.index(0..CALLS.len())];
    let mut args = [Arg::Number(0); MAX_ARGS];
    for (arg, (_, kind)) in args.iter_mut().zip(spec.args) {
        *arg = any_arg(*kind, rng);
    }
    let mut faults = Faults::default();
    for site in FAULT_SITES {
        *(site.of_mut)(&mut faults) = if rng.bool() { 0 } else { rng.u16(..) };
    }
    let route = if spec.traits.routed { ROUTES[rng.index(0..3)].1 } else { Route::Policy };
    Op {
        dst: (spec.yields != Yields::Nothing && rng.bool()).then(|| any_first(rng)),
        call: spec.call,
        args,
        route,
        faults,
        caller: Current {
            task: rng.u8(0..8),
            cpu: rng.u8(0..8),
            killed: rng.u8(0..2),
            context: CONTEXTS[rng.index(0..CONTEXTS.len())].1,
        },
        expect: rng.bool().then(|| CLASSES[rng.index(0..CLASSES.len())].0),
    }
}

fn any_trace(seed: u64) -> Trace {
    let mut rng = Rng::with_seed(seed);
    let mut machine = Machine::default();
    for field in MACHINE_FIELDS {
        let most = if field.name == "min_free" { machine.frames } else { field.limits.1 };
        *(field.of_mut)(&mut machine) = rng.u32(field.limits.0..=most);
    }
    let why = ["", "a reason", "  indented", "# double", "-> Slab", "é", "tab\t"];
    Trace {
        why: (0..rng.index(0..4)).map(|_| rng.one_of(why).unwrap().to_owned()).collect(),
        machine,
        claim: if rng.bool() { Claim::Correct } else { Claim::Unsaid },
        ops: (0..rng.index(0..40)).map(|_| any_op(&mut rng)).collect(),
        ..Trace::default()
    }
}

#[test]
fn what_is_printed_reads_back() {
    for seed in 0..4000 {
        let trace = any_trace(seed);
        assert_eq!(Trace::parse(&trace.to_string()), Ok(trace.clone()), "seed {seed}");
        let mut plain = trace.clone();
        plain.why.clear();
        plain.claim = Claim::Unsaid;
        plain.ops.iter_mut().for_each(|op| op.expect = None);
        clamp_machine(&mut plain.machine);
        let lenient = Trace::parse_lenient(trace.to_string().as_bytes());
        assert_eq!(Trace { nr_clamped_fields: 0, ..lenient }, plain, "seed {seed}");
    }
}

#[test]
fn spelling_does_not_matter() {
    let loose = "#why\n\n  machine( shuffle:1 )\r\n\tr0=kvmalloc ( 128 ,GFP_ATOMIC | 0x100|256 )(route:policy,\
                 fail_nth:0x2)#->Slab\n# dropped\n kfree(r0 - 1) # dropped\nvfree(16)\nkfree ( 0 )\n";
    let trace = Trace::parse(loose).unwrap();
    let printed = trace.to_string();
    assert_eq!(
        printed,
        "# why\n\
         machine (frames: 2048, vmalloc_pages: 4096, min_free: 16, shuffle: 0x1)\n\
         r0 = kvmalloc(0x80, GFP_ATOMIC|__GFP_ZERO) (fail_nth: 2) # -> Slab\n\
         kfree(r0-0x1)\n\
         vfree(ZERO_SIZE_PTR)\n\
         kfree(NULL)\n"
    );
    assert_eq!(Trace::parse(&printed).unwrap().to_string(), printed);
}

#[test]
fn what_may_be_left_out_is_left_out() {
    for (written, printed) in [
        ("c0 = kmem_cache_create(8, 8)", "c0 = kmem_cache_create(0x8, 0x8)"),
        ("c0 = kmem_cache_create(8, 8, 0, NULL)", "c0 = kmem_cache_create(0x8, 0x8)"),
        (
            "c0 = kmem_cache_create(8, 8, 0x2000)",
            "c0 = kmem_cache_create(0x8, 0x8, SLAB_HWCACHE_ALIGN)",
        ),
        ("c0 = kmem_cache_create(8, 8, 0, 29)", "c0 = kmem_cache_create(0x8, 0x8, 0, 0x1d)"),
    ] {
        let trace = Trace::parse(written).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(trace.ops[0].to_string(), printed);
    }
}

#[test]
fn a_version_goes_by_its_name_and_an_old_header_means_what_it_meant() {
    let printed = |header: &str| Trace::parse(header).unwrap().to_string();
    let old = "machine (frames: 2048, vmalloc_pages: 4096, min_free: 16, shuffle: 0x1)\n";
    assert_eq!(printed(old), old);
    assert_eq!(printed("machine (cutoff: 0, policy: v6.1)"), old);
    let new = old.replace(')', ", policy: v5.17, cutoff: 8)");
    assert_eq!(printed(&new), new);
}

#[test]
fn an_expectation_stands_at_its_column() {
    let trace = Trace::parse("kfree(r0+8) # -> Interior").unwrap();
    let line = trace.ops[0].to_string();
    assert_eq!(line.find("# -> Interior"), Some(50), "{line}");
}

#[test]
fn flags_print_their_widest_names() {
    for (bits, names) in [
        (0_u32, "0"),
        (0xcc0, "GFP_KERNEL"),
        (0xdc0, "GFP_KERNEL|__GFP_ZERO"),
        (0xa20, "GFP_ATOMIC"),
        (0x40_0cc0, "GFP_KERNEL_ACCOUNT"),
        (0x8000_0c00, "GFP_NOIO|0x80000000"),
        (0x8000_0000, "0x80000000"),
    ] {
        let trace = Trace::parse(&format!("kmalloc(1, {bits})")).unwrap();
        assert_eq!(trace.ops[0].to_string(), format!("kmalloc(0x1, {names})"));
    }
}

/// The text must be refused at `line` and `column`, with this message behind the place.
#[track_caller]
fn check(text: &str, line: usize, column: usize, message: &str) {
    let error = Trace::parse(text).expect_err("should be refused");
    let message = format!("line {line}, column {column}: expected {message}");
    assert_eq!(error.to_string(), message);
    let nr_dropped = Trace::parse_lenient(text.as_bytes()).nr_dropped_lines;
    assert!(nr_dropped as usize <= text.lines().count());
}

#[test]
fn misspelt_words_are_found_and_explained() {
    check("r0 = kmaloc(1, 0)", 1, 6, "a call, found `kmaloc`; did you mean `kmalloc`?");
    check("frobnicate(1)", 1, 1, "a call, found `frobnicate`");
    check("mashine (frames: 64)", 1, 1, "a call, found `mashine`; did you mean `machine`?");
    check(
        "\n\nkmalloc(0x10, GPF_KERNEL)",
        3,
        15,
        "GFP flags, found `GPF_KERNEL`; did you mean `GFP_KERNEL`?",
    );
    check("kmalloc(1, GFP_KERNEL|)", 1, 23, "GFP flags, found `)`");
    check(
        "kmalloc(1, 0) (fail_slab: 1)",
        1,
        16,
        "a property of the call, found `fail_slab`; did you mean `failslab`?",
    );
    check(
        "machine (frame: 64)",
        1,
        10,
        "a field of the machine, found `frame`; did you mean `frames`?",
    );
    check("machine (policy: v6.2)", 1, 18, "policy, found `v6.2`; did you mean `v6.1`?");
    check("kvmalloc(1, 0) (route: slub)", 1, 24, "a route, found `slub`; did you mean `slab`?");
    check(
        "kfree(r0) # -> Intrior",
        1,
        16,
        "a class of answer, found `Intrior`; did you mean `Interior`?",
    );
    check("kfree(r0) # ->", 1, 15, "a class of answer, found the end of the line");
}

#[test]
fn numbers_out_of_range_are_refused() {
    check("alloc_pages(0, 256)", 1, 16, "an order of at most 255, found `256`");
    check("r65536 = kmalloc(1, 0)", 1, 1, "a register number of at most 65535, found `r65536`");
    check("kfree(r70000)", 1, 7, "a register number of at most 65535, found `r70000`");
    check("kfree(r1x)", 1, 7, "a register number, found `r1x`");
    check(
        "vmalloc(0x10000000000000000)",
        1,
        9,
        "a number of bytes of at most 18446744073709551615, found `0x10000000000000000`",
    );
    check(
        "kfree(r0+0x8000000000000000)",
        1,
        10,
        "an offset in bytes of at most 9223372036854775807, found `0x8000000000000000`",
    );
    check(
        "kfree(r0-0x8000000000000001)",
        1,
        10,
        "an offset in bytes of at most 9223372036854775808, found `0x8000000000000001`",
    );
    check("kmalloc(1, 0x100000000)", 1, 12, "GFP flags of at most 4294967295, found `0x100000000`");
    check(
        "kfree(NULL) (failslab: 65536)",
        1,
        24,
        "a count of calls of at most 65535, found `65536`",
    );
    check("machine (frames: 63)", 1, 18, "frames between 64 and 262144, found `63`");
    check("machine (min_free: 65, frames: 64)", 1, 20, "min_free between 0 and 64, found `65`");
    check(
        "machine (shuffle: 0x100000000)",
        1,
        19,
        "shuffle between 0 and 4294967295, found `0x100000000`",
    );
    check("vmalloc(12abc)", 1, 9, "a number of bytes, found `12abc`");
    check("vmalloc(0x)", 1, 9, "a number of bytes, found `0x`");
    check("vmalloc(-1)", 1, 9, "a number of bytes, found `-`");
}

#[test]
fn grammar_mistakes_are_found_where_they_are() {
    check("kmalloc(1)", 1, 10, "`,` and `flags`, argument 2 of the 2 of kmalloc, found `)`");
    check("kfree(r0, r1)", 1, 9, "`)` after the arguments of kfree (1), found `,`");
    check("kfree()", 1, 7, "a register `r0`, `r1`, … or an address, found `)`");
    check("kfree(c1)", 1, 7, "a register `r0`, `r1`, … or an address, found `c1`");
    check("kmem_cache_destroy(r1)", 1, 20, "a cache register `c0`, `c1`, …, found `r1`");
    check("r0 = kfree(r1)", 1, 1, "no register, since kfree yields nothing, found `r0`");
    check("  c0 = kmalloc(1, 0)", 1, 3, "a memory register `r0`, `r1`, …, found `c0`");
    check("r0 = kmem_cache_create(8, 8)", 1, 1, "a cache register `c0`, `c1`, …, found `r0`");
    check(
        "c0 = kmem_cache_create(8)",
        1,
        25,
        "`,` and `align`, argument 2 of the 4 of kmem_cache_create, found `)`",
    );
    check(
        "c0 = kmem_cache_create(8, 8, SLAB_HWCACHE)",
        1,
        30,
        "flags of a cache, found `SLAB_HWCACHE`",
    );
    check(
        "c0 = kmem_cache_create(8, 8, 0, f)",
        1,
        33,
        "`NULL` or the word that the constructor writes, found `f`",
    );
    check(
        "kmalloc(1, 0) (route: slab)",
        1,
        16,
        "no route, since kmalloc knows only one, found `route`",
    );
    check("r0 kmalloc(1, 0)", 1, 4, "`=`, found `kmalloc`");
    check("kfree", 1, 6, "`(`, found the end of the line");
    check("kfree(r0) kfree(r1)", 1, 11, "the end of the line, found `kfree`");
    check("kfree(r0) # -> Done, surely", 1, 20, "the end of the line, found `,`");
    check("kfree(r0) (failslab: 1, failslab: 2)", 1, 25, "each property once, found `failslab`");
    check("kfree(r0) (failslab: 1", 1, 23, "`,` or `)`, found the end of the line");
    check("kfree(r0) (failslab 1)", 1, 21, "`:`, found `1`");
    check("machine (frames: 64, frames: 64)", 1, 22, "each field once, found `frames`");
    check("machine (frames: 64) now", 1, 22, "the end of the line, found `now`");
    check(
        "kfree(NULL)\nmachine ()",
        2,
        1,
        "the machine once, before the first call, found `machine`",
    );
    check(
        "machine ()\nmachine ()",
        2,
        1,
        "the machine once, before the first call, found `machine`",
    );
    let place = "the caller once, before the first call, found `caller`";
    check("kfree(NULL)\ncaller (correct)", 2, 1, place);
    check("caller (correct)\ncaller (correct)", 2, 1, place);
    check("caller (right)", 1, 9, "`correct`, found `right`");
    check("caller (correct", 1, 16, "`)`, found the end of the line");
    check("caller (correct) now", 1, 18, "the end of the line, found `now`");
    check("caller correct", 1, 8, "`(`, found `correct`");
    check("kfree(é)", 1, 7, "a register `r0`, `r1`, … or an address, found `é`");
    check("# é\n kfree(r0) é", 2, 12, "the end of the line, found `é`");
}

#[test]
fn a_failure_that_no_call_meets_is_a_mistake_of_people_alone() {
    let text = "r0 = vmalloc(1) (cpu: 1, failslab: 0)";
    let error = Trace::parse(text).unwrap_err().to_string();
    assert!(error.contains("column 36: expected a count of calls from 1 on, found `0`"), "{error}");
    let trace = Trace::parse_lenient(text.as_bytes());
    assert_eq!((trace.ops.len(), trace.nr_dropped_lines), (1, 0));
}

#[test]
fn the_lenient_reader_drops_what_means_nothing() {
    let text = b"machine (frames: 9999999999, vmalloc_pages: 1, min_free: 0xffffffff)\n\
        kfree(r0) # -> Done\n\xff\xfe\nkfree(r1) \xff\nkmalloc(1)\n# \xff comment\n\
        machine (frames: 64)\nr1 = vmalloc(0x1000) # \xff\n\nkfree(r1";
    let trace = Trace::parse_lenient(text);
    assert_eq!((trace.nr_dropped_lines, trace.nr_clamped_fields), (5, 3));
    assert_eq!(
        trace.to_string(),
        "machine (frames: 16384, vmalloc_pages: 16, min_free: 4096, shuffle: 0x1)\n\
         kfree(r0)\nr1 = vmalloc(0x1000)\n"
    );
    let many = "kfree(NULL)\n".repeat(MAX_FUZZ_OPS + 7);
    let trace = Trace::parse_lenient(many.as_bytes());
    assert_eq!((trace.ops.len(), trace.nr_dropped_lines), (MAX_FUZZ_OPS, 7));
}

#[test]
fn the_lenient_reader_takes_any_bytes() {
    let signs = b"\n\n r0c1=()(),,:|+-#>x0123456789abcdefkmalloc_GFP\x00\xff\r\t";
    for seed in 0..20_000 {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = any_trace(seed % 64).to_string().into_bytes();
        bytes.truncate(rng.index(0..600));
        for _ in 0..rng.index(0..40) {
            let place = rng.index(0..=bytes.len());
            let sign = signs[rng.index(0..signs.len())];
            if rng.bool() && place < bytes.len() {
                bytes[place] = sign;
            } else {
                bytes.insert(place, sign);
            }
        }
        let mut trace = Trace::parse_lenient(&bytes);
        let lines = bytes.split(|&b| b == b'\n').count();
        assert!(trace.ops.len() + trace.nr_dropped_lines as usize <= lines);
        (trace.nr_dropped_lines, trace.nr_clamped_fields) = (0, 0);
        // Whatever was kept reads back strictly.
        assert_eq!(Trace::parse(&trace.to_string()), Ok(trace));
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = Trace::parse(text);
        }
    }
}

#[test]
fn the_fuzzers_input_is_the_text() {
    let text = b"r0 = kmalloc(0x10, GFP_KERNEL)\nkfree(r0)\n";
    let expected = Trace::parse_lenient(text);
    assert_eq!(Trace::arbitrary(&mut Unstructured::new(text)), Ok(expected.clone()));
    assert_eq!(Trace::arbitrary_take_rest(Unstructured::new(text)), Ok(expected.clone()));
    assert_eq!(format!("{expected:?}"), expected.to_string());
}

#[test]
fn a_claim_is_of_people_and_no_part_of_an_input() {
    let text = "machine ()\ncaller (correct) # it frees all\nkfree(NULL)\n";
    assert_eq!(Trace::parse(text).map(|trace| trace.claim), Ok(Claim::Correct));
    assert_eq!(Trace::parse("kfree(NULL)").map(|trace| trace.claim), Ok(Claim::Unsaid));
    let input = Trace::parse_lenient(text.as_bytes());
    assert_eq!((input.claim, input.nr_dropped_lines, input.ops.len()), (Claim::Unsaid, 0, 1));
}
