//! What becomes of recordings that are not whole, and of the one that is checked in.
//!
//! Lost events are counted, damage is an error with its place, and nothing panics.

use crate::call::Call;
use crate::random::Draw;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::test::ftrace;
use super::*;

/// The checked-in recording, unpacked.
fn checked_in() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = String::new();
        let mut file = file::open(&checked_in_path()).expect("the checked-in recording");
        file.read_to_string(&mut text).expect("the checked-in recording is text");
        text
    })
}

fn checked_in_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus/recordings/kv-excerpt.trace.zst")
}

/// The message about a text that cannot be read.
fn complaint(text: &str) -> String {
    match Recording::parse(text) {
        Ok(_) => panic!("this was read: {text}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_complains(text: &str, parts: &[&str]) {
    let message = complaint(text);
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

#[test]
fn a_lost_return_closes_its_call() {
    let known = "
        1 kv: (kvmalloc_node+0x0/0xd0) size=128 gfp=0xcc0 node=-1
        1 kmalloc: call_site=f ptr=ffff888000000080 bytes_req=128 bytes_alloc=128 gfp_flags=GFP_KERNEL
        1 kmalloc: call_site=f ptr=ffff888000000100 bytes_req=8 bytes_alloc=8 gfp_flags=GFP_KERNEL";
    let recording = Recording::parse(&ftrace(known)).expect("a recording");
    let calls: Vec<_> = recording.trace.ops.iter().map(|op| op.call).collect();
    assert_eq!(calls, [Call::Kvmalloc, Call::Kmalloc], "its result is that of the request inside");
    assert_eq!(recording.counts.calls_without_return, 1);

    let unknown = "
        1 vm: (v+0x0/0x880) size=8192 align=1 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xcc0
        1 vm: (v+0x0/0x880) size=4096 align=1 start=0xffffc90000000000 end=0xffffe8ffffffffff gfp=0xcc0
        1 vmr: (a <- v) ret=0xffffc90000010000
        1 kvr: (a <- kvmalloc_node) ret=0xffff888000000080
        1 kmalloc: call_site=f ptr=ffff888000000100 bytes_req=8 bytes_alloc=8 gfp_flags=GFP_KERNEL";
    let recording = Recording::parse(&ftrace(unknown)).expect("a recording");
    assert_eq!(recording.trace.ops.len(), 2);
    assert_eq!(recording.counts.calls_without_return, 1);
    assert_eq!(recording.counts.returns_without_call, 1);
}

#[test]
fn lost_events_are_counted_and_end_what_is_open() {
    let kv = "1 kv: (kvmalloc_node+0x0/0xd0) size=128 gfp=0xcc0 node=-1";
    let kfree = "1 kfree: call_site=f ptr=0000000000000000";
    let text = format!(
        "# tracer: nop\n#\n# entries-in-buffer/entries-written: 2/12   #P:1\n{}\
         CPU:0 [LOST 123 EVENTS]\nCPU:1 [LOST EVENTS]\n{}",
        ftrace(kv),
        ftrace(kfree)
    );
    let recording = Recording::parse(&text).expect("a recording");
    assert_eq!(recording.counts.lost, 10 + 123 + 1);
    assert_eq!(recording.counts.calls_without_return, 1);
    assert_eq!((recording.counts.events, recording.counts.lines), (2, 7));
}

#[test]
fn events_and_flags_without_a_meaning_are_counted() {
    let text = ftrace(
        "1 sched_switch: prev_comm=a prev_pid=1 ==> next_comm=b next_pid=2
         1 kmalloc: call_site=f ptr=ffff888000000080 bytes_req=8 bytes_alloc=8 gfp_flags=GFP_KERNEL|__GFP_SKIP_ZERO
         1 vfs_read <-ksys_read",
    );
    let recording = Recording::parse(&text).expect("a recording");
    let names: Vec<_> = recording.counts.unknown_events.keys().map(String::as_str).collect();
    assert_eq!(names, ["sched_switch", "vfs_read"]);
    assert_eq!(recording.counts.unknown_flags["__GFP_SKIP_ZERO"], 1);
}

#[test]
fn odd_but_real_lines_are_read() {
    let kfree = "kfree: call_site=f ptr=0000000000000000";
    let text = format!(
        "     kworker/0:1-events-12      (   12) [000] d.h2.     3.445432: {kfree}\n\
         \x20         a [b] c-7       [001] ....     3.445432: {kfree}\r\n\
         \x20           <idle>-0       [003]     3.445432: {kfree}\n\n => kfree\n"
    );
    let recording = Recording::parse(&text).expect("a recording");
    assert_eq!(recording.trace.ops.len(), 3);
}

#[test]
fn damage_is_named_with_its_place() {
    let good = ftrace("1 kfree: call_site=f ptr=0000000000000000");
    assert_complains("", &["no allocation events"]);
    assert_complains("# tracer: nop\n", &["no allocation events"]);
    assert_complains(&ftrace("1 sched_wakeup: comm=a"), &["no allocation events"]);
    assert_complains(
        &format!("{good}hello, world\n"),
        &["recording:2:1: expected a line of an event"],
    );
    assert_complains(&format!("{good}\0\n"), &["recording:2:1:", "NUL"]);
    let cut = &good.trim_end()[..good.len() - 4];
    assert_complains(&format!("{good}{cut}"), &["recording:2: truncated", "0000`"]);
    assert_complains("# tracer: function_graph\n", &["recording:1:", "function_graph"]);
    assert_complains(
        &format!("# entries-in-buffer/entries-written: 3/3   #P:1\n{good}"),
        &["recording:2: truncated", "announces 3 events", "after 1"],
    );
    let perf = "busybox [000] 3.445432: kmem:kmalloc: call_site=f ptr=0x1\n";
    assert_complains(perf, &["recording:1:1: expected", "before the CPU"]);
    assert_complains("   a-1 [000] ..... noon: kfree: ptr=0\n", &["1:20: expected a timestamp"]);
    assert_complains("# entries-in-buffer/entries-written: many\n", &["recording:1:", "`many`"]);
}

#[test]
fn a_bad_field_is_named_with_its_place() {
    let fields = [
        ("kfree: call_site=f", "the field `ptr=`, found the end of the line"),
        ("kfree: call_site=f ptr=kitten", "an address for `ptr=`, found `kitten`"),
        ("kfree: call_site=f ptr=ffff88800000008000", "an address for `ptr=`"),
        (
            "mm_page_free: page=ffffea0000000100 pfn=0x1 order=16",
            "`order=` below 0x10, found `order=16`",
        ),
        ("mm_page_free: page=ffffea0000000100 pfn=+1 order=0", "a number for `pfn=`, found `+1`"),
        ("mm_page_free: page=ffffea0000000100 pfn=0xfffffffffffff order=0", "`pfn=` below"),
        (
            "kv: (kvmalloc_node+0x0/0xd0) size=99999999999999999999 gfp=0xcc0",
            "a number for `size=`",
        ),
        (
            "kv: (kvmalloc_node+0x0/0xd0) size=1 gfp=GFP_KERNEL|mew",
            "GFP flags for `gfp=`, found `mew`",
        ),
    ];
    for (event, expected) in fields {
        assert_complains(&ftrace(&format!("1 {event}")), &["recording:1:", expected]);
    }
}

#[test]
fn absurd_sizes_do_not_overflow() {
    let most = u64::MAX;
    let mut text = String::new();
    for place in 0..3 {
        let ret = 0xffff_8880_0000_0000_u64 + place * 4096;
        let kv = format!("1 kv: (k) size={most} gfp=0xcc0\n1 kvr: (a <- k) ret={ret:#x}\n");
        let vm = format!("1 vm: (v) size={most} align={most} start=0x9 end=0x1 gfp=0x7fffff\n");
        let vmr = format!("1 vmr: (a <- v) ret={:#x}\n", ret + 64);
        let object = format!("bytes_req={} bytes_alloc={} gfp_flags=none", 1 << 27, 1 << 27);
        writeln!(text, "{kv}{vm}{vmr}1 kmalloc: ptr={:x} {object}", ret + 128).expect("a string");
        writeln!(text, "1 kmem_cache_alloc: ptr={most:x} {object}").expect("a string");
    }
    let recording = Recording::parse(&ftrace(&text)).expect("a recording");
    assert_eq!(recording.trace.machine.frames, crate::trace::Limits::FRAMES.1);
}

#[test]
fn what_is_read_is_bounded_whatever_the_recording_holds() {
    // 128 GiB of the largest blocks, tasks that never return and whose events are lost, and names
    // that are never the same: each once cost as much as it names, or its square.
    let mut text = String::new();
    for number in 1..=1000_u64 {
        let pfn = number << 15;
        let block = format!("page=0xffffea0000100040 pfn={pfn} order=15 gfp_flags=GFP_KERNEL");
        writeln!(text, "1 mm_page_alloc: {block}").expect("a string");
        writeln!(text, "{} kv: (k) size=8192 gfp=0xcc0", number + 1).expect("a string");
        writeln!(text, "1 event_{number}: field_{number}=1").expect("a string");
        writeln!(text, "1 kfree: ptr=0x0 field_{number}=1").expect("a string");
    }
    let text = ftrace(&text)
        .replace("kfree: ptr=0x0 field_7=1\n", "kfree: ptr=0x0\nCPU:0 [LOST EVENTS]\n");
    let counts = Recording::parse(&text).expect("a recording").counts;
    assert_eq!((counts.lost, counts.calls_without_return), (1, 1000));
    assert_eq!((counts.unknown_events.len(), counts.unused_fields.len()), (1000, 1000));
    assert_eq!(counts.live_at_end, 1000);
}

#[test]
fn the_checked_in_recording_is_read_to_its_end() {
    let recording = Recording::open(&checked_in_path()).expect("the checked-in recording");
    let counts = &recording.counts;
    assert_eq!((counts.lines, counts.events), (124_885, 124_873));
    assert_eq!(counts.direct_map_base, Some(0xffff_8e61_c000_0000));
    let unmatched: Vec<_> = counts.frees_without_allocation.values().copied().collect();
    assert_eq!(unmatched, [10, 4575, 2, 1, 74], "kfree, kmem_cache_free, kvfree, vfree, pages");
    let none = (counts.lost, counts.missed_frees, counts.mismatched_frees, counts.split_blocks);
    assert_eq!(none, (0, 0, 0, 0));
    assert_eq!((counts.calls_without_return, counts.returns_without_call), (0, 0));
    assert_eq!((counts.caches, counts.live_at_end), (50, 18_750));

    let how_many = |call, served| {
        let calls = recording.trace.ops.iter().zip(&recording.served);
        calls.filter(|(op, how)| op.call == call && **how == served).count()
    };
    assert_eq!(how_many(Call::Kvmalloc, Served::Slab), 316);
    assert_eq!(how_many(Call::Kvmalloc, Served::Pages), 476);
    assert_eq!(how_many(Call::KmemCacheAlloc, Served::Slab), 44_202);
    assert_eq!(how_many(Call::AllocPages, Served::Pages), 14_808);
    assert_eq!(how_many(Call::VmallocNodeRange, Served::Vmalloc), 39);
    assert_eq!(recording.trace.ops.len(), recording.served.len());
    assert_eq!(recording.trace.ops.len(), recording.lines.len());
}

#[test]
fn the_trace_of_a_recording_survives_printing() {
    let trace = Recording::parse(checked_in()).expect("the checked-in recording").trace;
    let again = Trace::parse(&trace.to_string()).expect("what we print we read");
    assert!(again == trace, "the trace changed when printed and read");
}

#[test]
fn every_register_is_freed_only_while_it_is_live() {
    let recording = Recording::parse(checked_in()).expect("the checked-in recording");
    assert_frees_are_of_live_registers(&recording);
}

/// No line of a trace may free a register that holds nothing: that would be a planted bug.
fn assert_frees_are_of_live_registers(recording: &Recording) {
    let mut live = std::collections::HashSet::new();
    for (op, served) in recording.trace.ops.iter().zip(&recording.served) {
        let freed = op.args.iter().find_map(|arg| match arg {
            crate::op::Arg::Ptr(crate::op::Ptr::Reg(reg, 0)) => Some(*reg),
            _ => None,
        });
        if let Some(reg) = freed {
            assert!(live.remove(&reg), "r{reg} is freed and holds nothing");
        }
        let is_kept = matches!(served, Served::Slab | Served::Pages | Served::Vmalloc);
        if let (true, Some(reg)) = (is_kept, op.dst) {
            assert!(live.insert(reg), "r{reg} is assigned and holds something");
        }
    }
}

#[test]
fn mutilated_recordings_never_panic() {
    let mut rng = fastrand::Rng::with_seed(14);
    // Without the header, whose count of events would find every missing line at once. The part
    // in the middle has kvmalloc and vmalloc calls.
    let lines: Vec<&str> = checked_in().split_inclusive('\n').skip(12).collect();
    let mut read = 0;
    for round in 0..300 {
        let from = if round % 2 == 0 { 0 } else { 3_000 };
        let mut text = String::new();
        for line in &lines[from..from + 2_000] {
            mutilate(line, &mut rng, round % 3 == 0, &mut text);
        }
        if let Ok(recording) = Recording::parse(&text) {
            assert_frees_are_of_live_registers(&recording);
            read += 1;
        }
    }
    assert!(read >= 100, "only {read} of the recordings with missing lines were read");
}

/// Copies a line, or leaves it out, or repeats it, or (rarely, if asked to) spoils a byte of it.
fn mutilate(line: &str, rng: &mut fastrand::Rng, spoil: bool, text: &mut String) {
    match rng.u32(0..1000) {
        0..100 => {}
        100..110 => *text += &line.repeat(2),
        110..112 if spoil => {
            let place = rng.index(0..line.len());
            *text += &line[..place];
            text.push(rng.char(..));
            *text += &line[place + 1..];
        }
        _ => *text += line,
    }
}
