//! The layouts in which people have recordings: each tool's, each era's, with what stands around
//! the events.
//!
//! A layout is a few lines as its tool prints them, and the trace that they become; or it is
//! refused, and the message says what to do.

use super::*;

#[track_caller]
fn read_of(kernel: Option<&str>, text: &str) -> Recording {
    let kernel = kernel.map(|version| version.parse().expect("a version"));
    Recording::read(text.as_bytes(), kernel).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn read(text: &str) -> Recording {
    read_of(None, text)
}

/// The ops of a trace, a line each.
fn ops(recording: &Recording) -> Vec<String> {
    recording.trace.ops.iter().map(|op| op.to_string().trim_end().to_owned()).collect()
}

#[track_caller]
fn assert_refuses(text: &str, parts: &[&str]) {
    let Err(error) = Recording::parse(text) else { panic!("this was read: {text}") };
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in `{message}`");
    }
}

#[test]
fn perf_script_is_read_with_call_chains_and_without() {
    let plain = [
        "net/rx work  9120 [002]   310.500001:              kmem:kmalloc: call_site=ffffffff81aa0011 ptr=0xffff888012340000 bytes_req=90 bytes_alloc=96 gfp_flags=GFP_KERNEL|__GFP_ZERO",
        "net/rx work  9120 [002]   310.500009:        kmem:mm_page_alloc: page=0xffffea0000200080 pfn=32770 order=0 migratetype=0 gfp_flags=GFP_KERNEL",
        "net/rx work  9120 [002]   310.500020:                kmem:kfree: call_site=ffffffff81aa0044 ptr=0xffff888012340000",
    ];
    let chain = "\n\tffffffff81aa0011 __kmalloc+0x91 ([kernel.kallsyms])\n\t    7f00aabbccdd [unknown] (/usr/bin/net rx)\n";
    let expected = [
        "r0 = kmalloc(0x5a, GFP_KERNEL|__GFP_ZERO)",
        "r1 = alloc_pages(GFP_KERNEL, 0)",
        "kfree(r0)",
    ];
    for separator in ["\n", chain, &format!("{chain}\n")] {
        let text = plain.map(|line| format!("{line}{separator}")).concat();
        assert_eq!(ops(&read(&text)), expected, "{separator:?}");
    }
}

#[test]
fn perf_says_in_its_header_which_kernel_it_was() {
    let text = "# ========\n# captured on    : Mon Mar  2 10:00:00 2020\n# os release : 4.4.0-21-generic\n\
        a 1 [000] 1.000001: kmem:kmalloc: ptr=0xffff880012340000 bytes_req=8 bytes_alloc=8 gfp_flags=37748928\n";
    let recording = read(text);
    assert_eq!(ops(&recording), ["r0 = kmalloc(0x8, GFP_KERNEL)"]);
    assert_eq!(recording.kernel, "4.4".parse().ok());
    assert_eq!(recording.counts.flags_as_numbers, 1);
    assert_eq!(recording.trace.machine.policy, 0, "older than the first version of kvmalloc");
    // What is said from outside wins.
    let told = read_of(Some("4.9"), text);
    assert_eq!(told.kernel, "4.9".parse().ok());
}

#[test]
fn trace_cmd_report_is_read_with_what_it_prints_around() {
    let recording = read(
        "version = 6\nCPU 1 is empty\ncpus=4\nCPU:2 [19 EVENTS DROPPED]\n\
         \x20           disk-41    [002]    70.000100: kmalloc:              (disk_open+0x11) call_site=ffffffff81bb0011 ptr=0xffff888012340000 bytes_req=90 bytes_alloc=96 gfp_flags=GFP_KERNEL|GFP_ZERO\n\
         \x20           disk-41    [002]    70.000150: kernel_stack:         <stack trace >\n=> disk_open (ffffffff81bb0011)\n=> vfs_open (ffffffff81cc0022)\n\
         \x20           disk-41    [002]    70.000200: kfree:                (disk_close+0x7) call_site=ffffffff81bb0044 ptr=(nil)\n\
         \x20           disk-41    [002]    70.000300: kfree:                (disk_close+0x9) call_site=ffffffff81bb0044 ptr=0xffff888012340000\n",
    );
    let expected = ["r0 = kmalloc(0x5a, GFP_KERNEL|__GFP_ZERO)", "kfree(NULL)", "kfree(r0)"];
    assert_eq!(ops(&recording), expected);
    assert_eq!((recording.counts.lost, recording.counts.events), (19, 3));
    assert_eq!(recording.counts.unknown_events["kernel_stack"], 1);
    assert_eq!(recording.counts.unused_fields["kfree.call_site"], 2);
    assert_eq!(recording.counts.unused_fields["kfree (words that are no fields)"], 2);
}

#[test]
fn numbers_are_read_as_the_recorded_kernel_wrote_them() {
    let line = |flags| {
        format!(
            "  disk-41   [002]    70.000100: kmalloc:              [FAILED TO PARSE] call_site=0xffffffff81bb0011 ptr=0xffff888012340000 bytes_req=90 bytes_alloc=96 gfp_flags={flags} node=-1\n"
        )
    };
    let kernel = ["r0 = kmalloc(0x5a, GFP_KERNEL)"];
    assert_eq!(ops(&read(&line("3264"))), kernel);
    assert_eq!(ops(&read(&line("0xcc0"))), kernel);
    assert_eq!(ops(&read_of(Some("4.19"), &line("6291648"))), kernel);
    assert_eq!(ops(&read_of(Some("4.4"), &line("0x24000c0"))), kernel);
    assert_refuses(&line("0x24000c0"), &["recording:1:", "--kernel"]);
    assert_refuses(&line("208"), &["recording:1:", "for `gfp_flags=`, found `208", "--kernel"]);
}

#[test]
fn hexadecimal_flags_of_today_need_no_kernel() {
    let recording = read(
        "   make-81  [004] d..1.    23.000863: kmem_cache_alloc:     call_site=f+0x9f ptr=0xffff88811390f6c0 bytes_req=576 bytes_alloc=584 gfp_flags=0x402800 node=-1 accounted=true\n\
         \x20  make-81  [004] .....    23.000866: mm_page_alloc:        page=0xffffea000011b7da pfn=0x11b7da order=0 migratetype=1 gfp_flags=0x152c4a\n",
    );
    let expected = [
        "c0 = kmem_cache_create(0x240, 0x8)",
        "r0 = kmem_cache_alloc(c0, GFP_NOWAIT|__GFP_NOWARN|__GFP_ACCOUNT)",
        "r1 = alloc_pages(GFP_NOFS|__GFP_HIGHMEM|__GFP_MOVABLE|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_HARDWALL, 0)",
    ];
    assert_eq!(ops(&recording), expected);
}

#[test]
fn fields_printed_twice_by_the_option_fields_are_read_once() {
    let recording = read(
        "   sh-8   [001] .....   458.000001: kmem_cache_alloc: call_site=0xffffffff92000001 (-1845493759) ptr=0xffff9e0e80001000 (-107689855184896) bytes_req=0x1000 (4096) bytes_alloc=0x1000 (4096) gfp_flags=0xcc0 (3264) node=0xffffffff (-1) accounted=(0)\n\
         \x20  sh-8   [001] .....   458.000003: kmem_cache_free: call_site=0xffffffff92000003 (-1845493757) ptr=0xffff9e0e80001000 (-107689855184896) name=a_cache\n",
    );
    let expected = [
        "c0 = kmem_cache_create(0x1000, 0x0)",
        "r0 = kmem_cache_alloc(c0, GFP_KERNEL)",
        "kmem_cache_free(c0, r0)",
    ];
    assert_eq!(ops(&recording), expected);
}

#[test]
fn pointers_before_5_2_are_read() {
    let recording = read(
        "  daemon-2   [000] ....    17.000001: kmalloc: call_site=ffffffff81300001 ptr=ffff880050010a80 bytes_req=64 bytes_alloc=64 gfp_flags=GFP_KERNEL\n\
         \x20 daemon-2   [000] ....    17.000002: kfree: call_site=ffffffff81300002 ptr=          (null)\n\
         \x20 daemon-2   [000] ....    17.000003: kfree: call_site=ffffffff81300003 ptr=ffff880050010a80\n",
    );
    assert_eq!(ops(&recording), ["r0 = kmalloc(0x40, GFP_KERNEL)", "kfree(NULL)", "kfree(r0)"]);
}

#[test]
fn a_block_that_failed_is_no_frame_0() {
    for null in ["          (null)", "(nil)", "0x0", "(____ptrval____)"] {
        let recording = read(&format!(
            "  make-7    [003] ....   200.000001: mm_page_alloc: page=ffffea0000100040 pfn=16385 order=0 migratetype=0 gfp_flags=GFP_KERNEL\n\
             \x20 make-7    [003] ....   200.000002: mm_page_alloc: page={null} pfn=0 order=9 migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_NOWARN|__GFP_COMP|__GFP_THISNODE\n\
             \x20 make-7    [003] ....   200.000003: mm_page_free: page=ffffea0000100040 pfn=16385 order=0\n"
        ));
        let expected = [Served::Pages, Served::Refused, Served::NotAnAllocation];
        assert_eq!(recording.served, expected, "{null}");
        assert_eq!(recording.peaks.frames, 1, "{null}");
    }
}

#[test]
fn hidden_addresses_are_requests_whose_free_is_unknown() {
    let recording = read(
        "  init-1    [000] ....     0.1: kmalloc: ptr=(____ptrval____) bytes_req=64 bytes_alloc=64 gfp_flags=GFP_KERNEL\n\
         \x20 init-1    [000] ....     0.2: kfree: ptr=(____ptrval____)\n\
         \x20 init-1    [000] ....     0.3: kmalloc: ptr=00000000abcd1234 bytes_req=8 bytes_alloc=8 gfp_flags=GFP_KERNEL\n",
    );
    assert_eq!(
        ops(&recording),
        ["r0 = kmalloc(0x40, GFP_KERNEL)", "r0 = kmalloc(0x8, GFP_KERNEL)"]
    );
    assert_eq!((recording.counts.hidden_addresses, recording.counts.live_at_end), (2, 1));
}

#[test]
fn flags_of_every_era_are_read_by_name() {
    let line = |number: u32, flags| {
        format!(
            "  r-4    [000] ....    29.000101: kmalloc: call_site=ffffffff81300001 ptr=ffff880050010{number:x}80 bytes_req=64 bytes_alloc=64 gfp_flags={flags}\n"
        )
    };
    let recording = read(
        &[
            line(1, "GFP_TEMPORARY"),
            line(2, "GFP_NOFS|GFP_NOFAIL"),
            line(3, "GFP_KERNEL|GFP_NOWARN|GFP_REPEAT"),
            line(4, "GFP_ATOMIC|GFP_ZERO"),
            line(5, "GFP_KERNEL|GFP_COLD"),
        ]
        .concat(),
    );
    let expected = [
        "r0 = kmalloc(0x40, GFP_KERNEL|__GFP_RECLAIMABLE)",
        "r1 = kmalloc(0x40, GFP_NOFS|__GFP_NOFAIL)",
        "r2 = kmalloc(0x40, GFP_KERNEL|__GFP_NOWARN|__GFP_RETRY_MAYFAIL)",
        "r3 = kmalloc(0x40, GFP_ATOMIC|__GFP_ZERO)",
        "r4 = kmalloc(0x40, GFP_KERNEL)",
    ];
    assert_eq!(ops(&recording), expected);
    assert_eq!(recording.counts.unknown_flags, BTreeMap::from([("GFP_COLD".to_owned(), 1)]));
}

#[test]
fn probes_by_default_names_are_named_or_read() {
    let object = "kmalloc: call_site=f ptr=ffff888003a01000 bytes_req=12288 bytes_alloc=16384 gfp_flags=GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY node=-1";
    let probed = |call, ret| {
        format!(
            "  a-3  [001] .....    12.1: p_kvmalloc_node_0: (kvmalloc_node+0x0/0xd0) {call}\n\
             \x20 a-3  [001] .....    12.2: {object}\n\
             \x20 a-3  [001] .....    12.3: r_kvmalloc_node_0: (demo_open+0x20/0x80 <- kvmalloc_node) {ret}\n"
        )
    };
    let unnamed = read(&probed("arg1=0x3000 arg2=0xcc0", "arg1=0xffff888003a01000"));
    let passed: Vec<_> = unnamed.counts.unknown_events.keys().collect();
    assert_eq!(passed, ["p_kvmalloc_node_0", "r_kvmalloc_node_0"]);
    assert_eq!(unnamed.trace.ops[0].call.spec().name, "kmalloc");
    let named = read(&probed("size=0x3000 gfp=0xcc0", "ret=0xffff888003a01000"));
    assert_eq!(ops(&named), ["r0 = kvmalloc(0x3000, GFP_KERNEL)"]);
    assert_eq!((named.served[0], named.told[0].bytes_alloc), (Served::Pages, Some(16384)));
}

#[test]
fn a_whole_last_line_needs_no_newline_and_a_cut_one_is_refused() {
    let head = "  a-3  [001] .....    12.1: ";
    let first = format!(
        "{head}kmalloc: call_site=f ptr=000000003a01e001 bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL node=-1 accounted=false\n"
    );
    let last = format!("{head}kfree: call_site=f ptr=000000003a01e001");
    assert_eq!(ops(&read(&format!("{first}{last}"))).len(), 2);
    assert_eq!(ops(&read(first.trim_end())).len(), 1);
    for end in 1..last.len() {
        let text = format!("{first}{}", &last[..end]);
        if last[..end].trim().is_empty() {
            continue;
        }
        assert_refuses(&text, &["recording:2: truncated", "end it with a newline", "delete it"]);
    }
    assert_refuses(
        &format!("{head}mm_page_free: page=0xffffea0000100040 pfn=0x1 order=1"),
        &["cut"],
    );
}

#[test]
fn a_cut_entry_in_words_that_could_go_on_is_refused() {
    let text = "  a-3  [001] ..... 12.1: kmalloc: ptr=000000003a01e001 bytes_req=8 bytes_alloc=8 gfp_flags=GFP_KERNEL";
    assert_refuses(text, &["truncated", "expected a newline after the last field"]);
}

#[test]
fn the_column_of_thread_groups_is_passed_over() {
    let recording = read(
        "# tracer: nop\n#\n#           TASK-PID     TGID   CPU#  |||||  TIMESTAMP  FUNCTION\n\
         \x20   a-3     (-------) [001] .....    12.1: kmalloc: ptr=000000003a01e001 bytes_req=100 bytes_alloc=128 gfp_flags=GFP_KERNEL\n\
         \x20   a-3     (    290) [001] .....    12.2: kfree: ptr=000000003a01e001\n",
    );
    assert_eq!(ops(&recording), ["r0 = kmalloc(0x64, GFP_KERNEL)", "kfree(r0)"]);
}

#[test]
fn names_of_tasks_may_have_any_bytes() {
    let event = "  [001] .....    12.1: kfree: ptr=0000000000000000\n";
    let mut text = Vec::new();
    for name in [&b"caf\xe9 \xff\xfe-1"[..], b"two\nlines-1", b"\n\n-1", b"[000] 1.0: a-1"] {
        text.extend_from_slice(b"   ");
        text.extend_from_slice(name);
        text.extend_from_slice(event.as_bytes());
    }
    let recording = Recording::from_bytes(&text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ops(&recording), ["kfree(NULL)"; 4]);
    assert_eq!(recording.counts.split_names, 1, "blank lines are nothing by themselves");
    // A short line that nothing follows, or that no event follows, is no name.
    assert_refuses(&format!("a-1{event}hello\n"), &["recording:2:1:"]);
    assert_refuses(&format!("hello\nCPU:0 [LOST EVENTS]\na-1{event}"), &["recording:1:1:"]);
}

#[test]
fn forms_that_are_not_read_are_refused_with_a_way_out() {
    assert_refuses(
        "     0.000 demo/3 kmem:kmalloc(call_site: 0xffffffff81234567, ptr: 0xffff888003a01000, bytes_req: 100)\n",
        &["recording:1:6:", "`perf script`"],
    );
    assert_refuses(
        "# tracer: nop\n#\n# nop latency trace v1.1.5 on 6.1.0-demo\n    demo-3       1.....    3us+: kfree: ptr=0\n",
        &["recording:4:5:", "nolatency-format"],
    );
    assert_refuses(
        "# tracer: function_graph\n#\n  2)               |  __kmalloc() {\n",
        &["recording:1:", "function_graph", "current_tracer"],
    );
}

#[test]
fn an_object_is_not_larger_than_any_block() {
    let line = |ptr, req: u64, alloc: u64| {
        format!(
            "  a-1     [000] .....     5.5: kmem_cache_alloc: ptr={ptr} bytes_req={req} bytes_alloc={alloc} gfp_flags=GFP_KERNEL\n"
        )
    };
    let address = "ffff8e61c219a000";
    assert_refuses(&line(address, 640, 1 << 41), &["recording:1:", "bytes_alloc=", "delete it"]);
    assert_refuses(&line(address, 640, 600), &["recording:1:", "`bytes_req=` (640)"]);
    assert!(Recording::parse(&line(address, 640, 640)).is_ok());
    assert!(Recording::parse(&line("(null)", 1 << 41, 1 << 41)).is_ok(), "it failed");
}
