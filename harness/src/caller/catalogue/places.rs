//! Callers that assume where memory lies: physically contiguous, aligned, at the same place again.

use super::case::{Case, Returned};
use crate::caller::config::Phase;
use crate::caller::kernel::{Kernel, NoMemory, Pointer};
use crate::oracle::caller::Rule;
use crate::words::gfp::GFP_KERNEL;

const PAGE: u64 = 0x1000;

pub(super) static CASES: &[Case] = &[
    Case {
        name: "kvmalloc memory, mapped for a device",
        source: "dm-integrity, found by random routing (Patocka 2018)",
        rule: Rule::Dma,
        phase: Phase::Routing,
        wrong: |kv| command(kv, false),
        right: |kv| command(kv, true),
    },
    Case {
        name: "kvmalloc memory, converted by virt_to_page",
        source: "`sg_set_buf` on memory of kvmalloc",
        rule: Rule::WrongConversion,
        phase: Phase::Routing,
        wrong: |kv| page_of(kv, |kv, buffer| kv.virt_to_page(buffer)),
        right: |kv| {
            page_of(kv, |kv, buffer| match kv.is_vmalloc_addr(buffer) {
                true => kv.vmalloc_to_page(buffer),
                false => kv.virt_to_page(buffer),
            })
        },
    },
    Case {
        name: "physically contiguous beyond the first page",
        source: "code that adds a page to the frame of an area's first",
        rule: Rule::NoAddress,
        phase: Phase::Routing,
        wrong: |kv| scattered(kv, |kv, area, page| frame(kv, area) + page),
        right: |kv| scattered(kv, |kv, area, page| frame(kv, area.at(page * PAGE))),
    },
    Case {
        name: "a list of pages, made with a stride of one byte",
        source: "a branch that is taken only where vmalloc served the request",
        rule: Rule::Difference,
        phase: Phase::Routing,
        wrong: |kv| page_list(kv, 1),
        right: |kv| page_list(kv, PAGE),
    },
    Case {
        name: "kmalloc of pages is aligned to a page",
        source: "OpenZFS issue 9813, seen only where the slab has red zones",
        rule: Rule::Panic,
        phase: Phase::Placement,
        wrong: |kv| whole_pages(kv, false),
        right: |kv| whole_pages(kv, true),
    },
    Case {
        name: "kmalloc is aligned for SIMD",
        source: "SIMD state in slab memory, of which 8 bytes are promised (R1.3)",
        rule: Rule::Alignment,
        phase: Phase::Placement,
        wrong: |kv| vectors(kv, 0),
        right: |kv| vectors(kv, 63),
    },
    Case {
        name: "what was just freed is given again",
        source: "code that finds its state by an address that it has seen before",
        rule: Rule::Panic,
        phase: Phase::Placement,
        wrong: |kv| again(kv, true),
        right: |kv| again(kv, false),
    },
    Case {
        name: "kvrealloc leaves memory where it is",
        source: "a pointer into a buffer that is kept while the buffer grows",
        rule: Rule::UseAfterFree,
        phase: Phase::Policy,
        wrong: |kv| kept(kv, true),
        right: |kv| kept(kv, false),
    },
];

/// A command for a device, which answers in place.
fn command(kv: &Kernel, by_kmalloc: bool) -> Returned {
    let buffer = match by_kmalloc {
        true => kv.kzalloc(0x1800, GFP_KERNEL)?,
        false => kv.kvzalloc(0x1800, GFP_KERNEL)?,
    };
    let bus = kv.dma_map_single(buffer, 0x1800);
    kv.device_write(bus + 0x10, &[9; 8]);
    let answer = buffer.at(0x10).load();
    kv.kvfree(buffer);
    Ok(answer)
}

/// A buffer for a scatterlist, which wants its page.
fn page_of(kv: &Kernel, page: impl Fn(&Kernel, Pointer) -> u64) -> Returned {
    let buffer = kv.kvmalloc(0x2000, GFP_KERNEL)?;
    buffer.fill(1, 0x2000);
    let has_page = page(kv, buffer) > 0;
    kv.kvfree(buffer);
    Ok(has_page.into())
}

/// The frame behind an address.
fn frame(kv: &Kernel, at: Pointer) -> u64 {
    match kv.is_vmalloc_addr(at) {
        true => kv.vmalloc_to_page(at),
        false => kv.virt_to_page(at),
    }
}

/// A device fills four pages, whose frames it is told.
fn scattered(kv: &Kernel, frame: impl Fn(&Kernel, Pointer, u64) -> u64) -> Returned {
    // What others have taken and given back has left holes.
    let others = [(); 8].map(|()| kv.__get_free_page(GFP_KERNEL));
    let others: Vec<Pointer> = others.into_iter().flatten().collect();
    for page in others.iter().step_by(2) {
        kv.free_page(*page);
    }
    let area = kv.kvzalloc(4 * PAGE, GFP_KERNEL);
    if let Ok(area) = area {
        for page in 0..4 {
            kv.device_write(frame(kv, area, page) * PAGE, &[page as u8 + 1; 8]);
        }
        for page in 0..4 {
            assert_eq!(area.at(page * PAGE).read(1), [page as u8 + 1], "page {page}");
        }
        kv.kvfree(area);
    }
    for page in others.iter().skip(1).step_by(2) {
        kv.free_page(*page);
    }
    if others.len() == 8 { area.map(|_| 0) } else { Err(NoMemory) }
}

/// The frames of an area, for a device that writes a word to each.
fn page_list(kv: &Kernel, stride: u64) -> Returned {
    let area = kv.kvzalloc(4 * PAGE, GFP_KERNEL)?;
    let frames: Vec<u64> = match kv.is_vmalloc_addr(area) {
        true => (0..4).map(|page| kv.vmalloc_to_page(area.at(page * stride))).collect(),
        false => (0..4).map(|page| kv.virt_to_page(area.at(page * PAGE))).collect(),
    };
    for (number, frame) in (1u8..).zip(frames) {
        kv.device_write(frame * PAGE, &[number; 8]);
    }
    let seen = (0..4).fold(0, |sum, page| sum * 10 + u64::from(area.at(page * PAGE).read(1)[0]));
    kv.kvfree(area);
    Ok(seen)
}

/// Six KiB that are cut into pages for a bio.
fn whole_pages(kv: &Kernel, by_pages: bool) -> Returned {
    if by_pages {
        let pages = kv.alloc_pages_exact(0x1800, GFP_KERNEL)?;
        assert_eq!(pages.addr() % PAGE, 0, "a bio takes whole pages");
        kv.free_pages_exact(pages, 0x1800);
    } else {
        let pages = kv.kmalloc(0x1800, GFP_KERNEL)?;
        assert_eq!(pages.addr() % PAGE, 0, "a bio takes whole pages");
        kv.kfree(pages);
    }
    Ok(0)
}

/// State for vector instructions; with `slack` bytes more it can be aligned by hand.
fn vectors(kv: &Kernel, slack: u64) -> Returned {
    let memory = kv.kmalloc(192 + slack, GFP_KERNEL)?;
    let state = memory.at(memory.addr().wrapping_neg() % 64 * u64::from(slack > 0));
    state.aligned(64).fill(3, 192);
    let seen = state.at(64).aligned(64).load();
    kv.kfree(memory);
    Ok(seen)
}

/// A session that is closed and opened again.
fn again(kv: &Kernel, by_address: bool) -> Returned {
    let first = kv.kzalloc(0x60, GFP_KERNEL)?;
    let known = first.addr();
    kv.kfree(first);
    let second = kv.kzalloc(0x60, GFP_KERNEL)?;
    let is_found = second.addr() == known;
    kv.kfree(second);
    assert!(is_found || !by_address, "the session is not in the table");
    Ok(0)
}

/// A cursor into a buffer that grows.
fn kept(kv: &Kernel, keeps_cursor: bool) -> Returned {
    let buffer = kv.kvzalloc(0x800, GFP_KERNEL)?;
    let cursor = buffer.at(0x10);
    cursor.store(5);
    let larger = kv.kvrealloc(buffer, 0x800, 0x3000, GFP_KERNEL);
    let larger = larger.inspect_err(|_| kv.kvfree(buffer))?;
    let cursor = if keeps_cursor { cursor } else { larger.at(0x10) };
    let seen = cursor.load();
    kv.kvfree(larger);
    Ok(seen)
}
