//! Callers that assume what memory holds, or how much of it there is.

use super::case::{Case, Returned};
use crate::caller::config::Phase;
use crate::caller::kernel::Kernel;
use crate::oracle::caller::Rule;
use crate::words::gfp::{__GFP_NOWARN, GFP_KERNEL};

pub(super) static CASES: &[Case] = &[
    Case {
        name: "memory is zero without __GFP_ZERO",
        source: "slabs of a fresh machine are often zero",
        rule: Rule::Difference,
        phase: Phase::Placement,
        wrong: |kv| flags(kv, false),
        right: |kv| flags(kv, true),
    },
    Case {
        name: "what kvrealloc adds is zero",
        source: "only __GFP_ZERO clears what is added (R5.5)",
        rule: Rule::Difference,
        phase: Phase::Placement,
        wrong: |kv| added(kv, false),
        right: |kv| added(kv, true),
    },
    Case {
        name: "the slack of the size class is the caller's",
        source: "users of the rest of a size class; since 6.2 they ask `kmalloc_size_roundup`",
        rule: Rule::OutOfBounds,
        phase: Phase::Policy,
        wrong: |kv| slack(kv, 97),
        right: |kv| slack(kv, 112),
    },
    Case {
        name: "ksize bytes are the caller's",
        source: "users of ksize, rewritten for 6.2",
        rule: Rule::OutOfBounds,
        phase: Phase::Policy,
        wrong: |kv| copied(kv, true),
        right: |kv| copied(kv, false),
    },
    Case {
        name: "the size of an array overflows",
        source: "why kvmalloc_array exists",
        rule: Rule::OutOfBounds,
        phase: Phase::Policy,
        wrong: |kv| array(kv, false),
        right: |kv| array(kv, true),
    },
    Case {
        name: "an area is rounded up to a page",
        source: "a terminator behind a text that fills its memory",
        rule: Rule::OutOfBounds,
        phase: Phase::Policy,
        wrong: |kv| text(kv, 0x1100),
        right: |kv| text(kv, 0x1101),
    },
];

/// A set of flags, of which one is set.
fn flags(kv: &Kernel, is_cleared: bool) -> Returned {
    let set =
        if is_cleared { kv.kvzalloc(256, GFP_KERNEL)? } else { kv.kvmalloc(256, GFP_KERNEL)? };
    set.at(8).write(&[1]);
    let nr_set = set.read(256).into_iter().filter(|flag| *flag > 0).count();
    kv.kvfree(set);
    Ok(nr_set as u64)
}

/// An array of counters that grows.
fn added(kv: &Kernel, is_cleared: bool) -> Returned {
    let counters = kv.kvzalloc(0x1000, GFP_KERNEL)?;
    let more = kv.kvrealloc(counters, 0x1000, 0x2000, GFP_KERNEL);
    let more = more.inspect_err(|_| kv.kvfree(counters))?;
    if is_cleared {
        more.at(0x1000).fill(0, 0x1000);
    }
    let sum = more.read(0x2000).into_iter().map(u64::from).sum();
    kv.kvfree(more);
    Ok(sum)
}

/// A header and 100 bytes.
fn slack(kv: &Kernel, size: u64) -> Returned {
    let packet = kv.kmalloc(size, GFP_KERNEL)?;
    packet.fill(0, 12);
    packet.at(12).fill(0xff, 100);
    kv.kfree(packet);
    Ok(0)
}

/// A buffer that is copied.
fn copied(kv: &Kernel, by_ksize: bool) -> Returned {
    let from = kv.kzalloc(100, GFP_KERNEL)?;
    let to = kv.kmalloc(128, GFP_KERNEL).inspect_err(|_| kv.kfree(from))?;
    let len = if by_ksize { kv.ksize(from) as usize } else { 100 };
    to.copy_from(from, len);
    kv.kfree(to);
    kv.kfree(from);
    Ok(0)
}

/// An array whose number of elements a user chose.
fn array(kv: &Kernel, by_array: bool) -> Returned {
    let (nr, size) = (0x1000_0001u32, 16u32);
    // A user's number must not be able to fill the log with backtraces.
    let flags = GFP_KERNEL | __GFP_NOWARN;
    let memory = match by_array {
        true => kv.kvmalloc_array(nr.into(), size.into(), flags),
        false => kv.kvmalloc(nr.wrapping_mul(size).into(), flags),
    };
    let Ok(memory) = memory else { return Ok(0) };
    memory.at(16).fill(0, 16);
    kv.kvfree(memory);
    Ok(0)
}

/// A text of 0x1100 bytes, and its end.
fn text(kv: &Kernel, size: u64) -> Returned {
    let text = kv.vmalloc(size)?;
    text.fill(b'x', 0x1100);
    text.at(0x1100).write(&[0]);
    kv.vfree(text);
    Ok(0)
}
