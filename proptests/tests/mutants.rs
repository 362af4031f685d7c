//! What the parsers and the fuzzer's mutators do with bytes that nobody meant.
//!
//! Right inputs are broken in every way that files break (bits, cuts, copies of lines, huge
//! numbers, endless words, bytes that are no text), and each mutant must be read or refused with a
//! place that exists, in bounded time and memory. A seed makes the same mutants everywhere.
//!
//! `KVROUTE_MUTANTS=100000` makes so many of each kind; what traces do when they are run is the
//! campaigns' business.

use fastrand::Rng;
use kvroute_harness::campaign::ROUTED;
use kvroute_harness::generate::generate;
use kvroute_harness::mutate::{libfuzzer_cross, libfuzzer_mutate};
use kvroute_harness::random::Draw;
use kvroute_harness::recording::Recording;
use kvroute_harness::text::MAX_FUZZ_OPS;
use kvroute_harness::trace::Trace;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::time::{Duration, Instant};

/// The longest mutant.
const LONGEST: usize = 1 << 18;
/// No mutant takes longer, on a machine that has other things to do as well.
const MOST_TIME: Duration = Duration::from_secs(20);
/// All of this file's tests together take no more memory of the host, in KiB.
const MOST_MEMORY_KIB: u64 = 384 << 10;

/// Recordings as tracefs, `trace-cmd report` and `perf script` print them.
const RECORDINGS: [&str; 3] = [
    "# tracer: nop\n\
     \x20   init-1       [000] .....     5.275506: kmalloc: call_site=f+0x1/0x2 ptr=ffff8e61c3038000 bytes_req=90 bytes_alloc=96 gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=false\n\
     \x20   init-1       [000] d....     5.275507: kmem_cache_alloc: call_site=f+0x1/0x2 ptr=ffff8e61c11cd8c0 bytes_req=704 bytes_alloc=704 gfp_flags=GFP_KERNEL node=-1 accounted=true\n\
     \x20   init-1       [001] .....     5.275508: mm_page_alloc: page=000000002b2a08d3 pfn=0x109b8c order=3 migratetype=0 gfp_flags=GFP_NOWAIT|__GFP_NOWARN\n\
     \x20   init-1       [001] .....     5.275509: mm_page_free: page=000000002b2a08d3 pfn=0x109b8c order=3\n\
     \x20   init-1       [000] .....     5.275510: kmem_cache_free: call_site=f+0x1/0x2 ptr=ffff8e61c11cd8c0 name=files\n\
     \x20   init-1       [000] .....     5.275511: kfree: call_site=f+0x1/0x2 ptr=ffff8e61c3038000\n",
    "version = 6\nCPU 1 is empty\ncpus=4\n\
     \x20   disk-41    [002]    70.000100: kmalloc:   (open+0x11) call_site=ffffffff81bb0011 ptr=0xffff888012340000 bytes_req=90 bytes_alloc=96 gfp_flags=GFP_KERNEL|GFP_ZERO\n\
     \x20   disk-41    [002]    70.000150: kernel_stack:   <stack trace >\n=> open (ffffffff81bb0011)\n\
     \x20   disk-41    [002]    70.000200: kfree:   (close+0x7) call_site=ffffffff81bb0044 ptr=(nil)\n\
     \x20   disk-41    [002]    70.000300: kfree:   (close+0x9) call_site=ffffffff81bb0044 ptr=0xffff888012340000\n",
    "net/rx work  9120 [002]   310.500001:  kmem:kmalloc: call_site=ffffffff81aa0011 ptr=0xffff888012340000 bytes_req=90 bytes_alloc=96 gfp_flags=GFP_KERNEL|__GFP_ZERO\n\
     \tffffffff81aa0011 __kmalloc+0x91 ([kernel.kallsyms])\n\n\
     net/rx work  9120 [002]   310.500009:  kmem:mm_page_alloc: page=0xffffea0000200080 pfn=32770 order=0 migratetype=0 gfp_flags=GFP_KERNEL\n\
     net/rx work  9120 [002]   310.500020:  kmem:kfree: call_site=ffffffff81aa0044 ptr=0xffff888012340000\n",
];

/// Bytes that readers have stumbled over.
const ODD_BYTES: [&[u8]; 12] = [
    b"\0",
    b"\r\n",
    b"\r",
    b"\xff",
    b"\xc3\x28",
    "\u{feff}".as_bytes(),
    "\u{202e}ß".as_bytes(),
    b"(",
    b"))",
    b"#",
    b"=",
    b"|",
];
/// Numbers at and beyond the ends of every type.
const ODD_NUMBERS: [&str; 8] = [
    "0",
    "-1",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "0x10000000000000000",
    "0x8000000000000000",
];

/// The number of mutants of each kind.
fn nr_mutants() -> u64 {
    let wanted = std::env::var("KVROUTE_MUTANTS").ok();
    wanted.map_or(1500, |wanted| wanted.parse().expect("KVROUTE_MUTANTS is a number"))
}

/// Changes bytes in one to four ways.
fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.u8(1..=4) {
        damage_once(bytes, rng);
        bytes.truncate(LONGEST);
    }
}

fn damage_once(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.index(0..=bytes.len());
    let end = (at + rng.index(0..=64)).min(bytes.len());
    match rng.u8(0..10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(0..8),
        1 if at < bytes.len() => bytes[at] = rng.u8(..),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let part = bytes[at..end].to_vec();
            let to = rng.index(0..=bytes.len());
            drop(bytes.splice(to..to, part));
        }
        5 => {
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let line = rng.one_of(&lines).copied().unwrap_or_default();
            let (to, times) = (rng.index(0..=lines.len()), rng.index(1..=40));
            drop(lines.splice(to..to, vec![line; times]));
            *bytes = lines.concat();
        }
        6 => put_number(bytes, at, rng),
        7 => {
            // A word without an end, or as many brackets.
            let word = *rng.one_of(b"a0_(|=,. \t").expect("some bytes");
            let length = 1 << rng.u8(4..=17);
            drop(bytes.splice(at..at, vec![word; length]));
        }
        _ => {
            let odd = rng.one_of(ODD_BYTES).expect("some bytes");
            drop(bytes.splice(at..at, odd.iter().copied()));
        }
    }
}

/// Puts an odd number in the place of the next one.
fn put_number(bytes: &mut Vec<u8>, at: usize, rng: &mut Rng) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else { return };
    let start = at + start;
    let length = bytes[start..].iter().position(|byte| !byte.is_ascii_hexdigit() && *byte != b'x');
    let end = length.map_or(bytes.len(), |length| start + length);
    let number = rng.one_of(ODD_NUMBERS).expect("some numbers");
    drop(bytes.splice(start..end, number.bytes()));
}

/// Makes mutants of what `right` draws and has each looked at, in bounded time and memory.
fn hunt(kind: &str, right: impl Fn(&mut Rng) -> Vec<u8>, look: impl Fn(&[u8], &mut Rng) -> bool) {
    let (mut nr_read, mut longest) = (0, Duration::ZERO);
    let nr_mutants = nr_mutants();
    for seed in 0..nr_mutants {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = right(&mut rng);
        damage(&mut bytes, &mut rng);
        let start = Instant::now();
        nr_read += u64::from(look(&bytes, &mut rng));
        let took = start.elapsed();
        assert!(took < MOST_TIME, "{kind}, seed {seed}: {} bytes took {took:?}", bytes.len());
        longest = longest.max(took);
    }
    let peak = peak_memory_kib();
    println!("{kind}: {nr_mutants} mutants, {nr_read} read, longest {longest:?}, peak {peak} KiB");
    // Neither all of them nor none: the damage is neither too little nor too much.
    assert!((1..nr_mutants).contains(&nr_read), "{kind}: {nr_read} of {nr_mutants} were read");
    assert!(peak < MOST_MEMORY_KIB, "{kind}: {peak} KiB");
}

/// The most memory that this process has had, where the system tells.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn trace_text(rng: &mut Rng) -> Vec<u8> {
    let mut trace = generate(&ROUTED.profile, rng);
    trace.ops.truncate(40);
    trace.to_string().into_bytes()
}

/// Whether the place of a message is in the text.
fn is_place_in(text: &[u8], line: usize, column: usize) -> bool {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    (1..=lines.len()).contains(&line) && (1..=lines[line - 1].len() + 1).contains(&column)
}

#[test]
fn mutants_of_traces_are_read_or_refused_with_their_place() {
    hunt("trace text", trace_text, |bytes, _| {
        let lenient = Trace::parse_lenient(bytes);
        assert!(lenient.ops.len() <= MAX_FUZZ_OPS);
        let printed = lenient.to_string();
        let again = Trace::parse_lenient(printed.as_bytes());
        assert_eq!((again.nr_dropped_lines, again.ops == lenient.ops), (0, true));
        let Ok(text) = std::str::from_utf8(bytes) else { return false };
        match Trace::parse(text) {
            Ok(trace) => {
                let again = Trace::parse(&trace.to_string()).expect("what is printed is read");
                assert!(again.ops == trace.ops && again.machine == trace.machine);
                true
            }
            Err(error) => {
                assert!(is_place_in(bytes, error.line, error.column), "{error}");
                false
            }
        }
    });
}

#[test]
fn mutants_of_recordings_are_read_or_refused_with_their_place() {
    let right = |rng: &mut Rng| rng.one_of(RECORDINGS).expect("some").as_bytes().to_vec();
    hunt("recordings", right, |bytes, _| match Recording::from_bytes(bytes) {
        Ok(recording) => {
            assert_eq!(recording.trace.ops.len(), recording.served.len());
            true
        }
        Err(error) => {
            if let (Some(line), Some(column)) = (error.line, error.column) {
                assert!(is_place_in(bytes, line, column), "{error}");
            }
            assert!(!error.to_string().is_empty());
            false
        }
    });
}

#[test]
fn mutants_of_packed_recordings_are_read_or_refused() {
    let right = |rng: &mut Rng| {
        let text = rng.one_of(RECORDINGS).expect("some").repeat(rng.index(1..=4));
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    };
    hunt("packed recordings", right, |bytes, _| match Recording::from_bytes(bytes) {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    });
}

/// A Zstandard stream of `nr_blocks` times 128 KiB of one byte, in four bytes each.
fn bomb(byte: u8, nr_blocks: u32) -> Vec<u8> {
    let mut stream = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x38];
    for block in 1..=nr_blocks {
        let header = u32::from(block == nr_blocks) | 1 << 1 | (128 << 10) << 3;
        stream.extend_from_slice(&header.to_le_bytes()[..3]);
        stream.push(byte);
    }
    stream
}

#[test]
fn a_small_file_that_unpacks_to_a_large_one_takes_little_memory() {
    // A line that never ends, and lines without anything in them.
    for (byte, nr_blocks) in [(b'a', 4096), (b' ', 4096), (b'\n', 8)] {
        let start = Instant::now();
        assert!(Recording::from_bytes(&bomb(byte, nr_blocks)).is_err());
        let (took, peak) = (start.elapsed(), peak_memory_kib());
        println!("{} KiB of {byte:#04x}: {took:?}, peak {peak} KiB", 128 * nr_blocks);
        assert!(took < MOST_TIME && peak < MOST_MEMORY_KIB, "{byte:#04x}: {took:?}, {peak} KiB");
    }
}

#[test]
fn what_the_fuzzers_mutators_make_of_anything_is_a_trace_that_fits() {
    fn no_engine(_: &mut [u8], _: usize, _: usize) -> usize {
        0
    }
    hunt("mutators", trace_text, |bytes, rng| {
        let (size, room) = (bytes.len(), rng.index(1..=2 * LONGEST));
        let mut buffer = bytes.to_vec();
        buffer.resize(size.max(room), 0);
        let (size, seed) = (size.min(room), rng.u32(..));
        let written = libfuzzer_mutate(&mut buffer, size, room, seed, &ROUTED.profile, no_engine);
        let mut crossed = vec![0; room];
        let crossed_len = libfuzzer_cross(bytes, &buffer[..written], &mut crossed, seed);
        assert!(written <= room && crossed_len <= room);
        for made in [&buffer[..written], &crossed[..crossed_len]] {
            let trace = Trace::parse_lenient(made);
            assert!(trace.nr_dropped_lines == 0 && trace.ops.len() <= MAX_FUZZ_OPS);
        }
        written > 0
    });
}
