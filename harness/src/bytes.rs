//! Writing and reading an allocation's bytes through a subject.
//!
//! The one idea: memory is visited span by span, as far as bytes lie next to each other, and a
//! place where nothing is mapped is a finding like any other. What the bytes should be is in
//! `model`.
//!
//! Nothing here decides whether a finding is a bug; the oracles do.

use crate::model::{Allocation, Contents};
use crate::paint;
use crate::subject::Subject;
use crate::words::PAGE;
use std::ops::Range;

/// Bytes of an allocation that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The op that made the allocation.
    pub id: u32,
    /// Where it starts.
    pub addr: u64,
    /// The first wrong byte, counted from there.
    pub offset: u64,
    /// What is wrong with it.
    pub what: Wrong,
}

/// What is wrong with a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is not what the caller wrote.
    Contents,
    /// It lies past the requested size and somebody wrote there.
    Guard,
    /// It cannot be accessed.
    Unmapped,
}

/// Calls `visit` with each run of bytes of `addr..addr + len` and its offset, until it finds
/// something.
fn visit_spans(
    subject: &dyn Subject,
    addr: u64,
    len: u64,
    mut visit: impl FnMut(&[u8], u64) -> Option<u64>,
) -> Result<Option<u64>, u64> {
    let mut offset = 0;
    while offset < len {
        let span = subject.span(addr + offset, len - offset).ok_or(offset)?;
        if let Some(at) = visit(span, offset) {
            return Ok(Some(at));
        }
        offset += span.len() as u64;
    }
    Ok(None)
}

/// The first byte of `addr..addr + len` that is not zero; `Err` with its offset if it is not
/// mapped.
pub fn first_nonzero(subject: &dyn Subject, addr: u64, len: u64) -> Result<Option<u64>, u64> {
    visit_spans(subject, addr, len, |span, offset| {
        paint::first_nonzero(span).map(|at| offset + at as u64)
    })
}

/// A constructor's word as it lies in memory from `offset` of an object on.
fn word_at(word: u64, offset: u64) -> [u8; 8] {
    word.rotate_right(offset as u32 % 8 * 8).to_le_bytes()
}

/// Writes a constructor's word all over `addr..addr + len`.
pub fn construct(subject: &mut dyn Subject, addr: u64, len: u64, word: u64) {
    let mut offset = 0;
    while offset < len {
        let Some(span) = subject.span_mut(addr + offset, len - offset) else { return };
        let word = word_at(word, offset);
        span.chunks_mut(8).for_each(|place| place.copy_from_slice(&word[..place.len()]));
        offset += span.len() as u64;
    }
}

/// The first byte of `addr..addr + len` that a constructor's word is not in.
pub fn first_unconstructed(subject: &dyn Subject, addr: u64, len: u64, word: u64) -> Option<u64> {
    let found = visit_spans(subject, addr, len, |span, offset| {
        let word = word_at(word, offset);
        let unlike = span.chunks(8).position(|place| *place != word[..place.len()])?;
        let byte = span[unlike * 8..].iter().zip(word).position(|(byte, other)| *byte != other);
        Some(offset + unlike as u64 * 8 + byte.unwrap_or(0) as u64)
    });
    found.unwrap_or_else(Some)
}

/// The first of `len` bytes that is not zero, of memory that began `start` bytes into the first of
/// these frames, as the direct map shows them. Of the words with such bytes the first `nr_spared`
/// do not count.
pub fn first_remaining(
    subject: &dyn Subject,
    direct_start: u64,
    frames: &[u32],
    start: u64,
    len: u64,
    mut nr_spared: usize,
) -> Option<u64> {
    let mut offset = 0;
    while offset < len {
        let inside = (start + offset) % PAGE;
        let frame = *frames.get(((start + offset) / PAGE) as usize)?;
        let addr = direct_start + u64::from(frame) * PAGE + inside;
        let nr_bytes = (len - offset).min(PAGE - inside);
        match first_nonzero(subject, addr, nr_bytes) {
            Ok(None) => offset += nr_bytes,
            Ok(Some(at)) if nr_spared > 0 => {
                nr_spared -= 1;
                offset = (offset + at) / 8 * 8 + 8;
            }
            Ok(Some(at)) | Err(at) => return Some(offset + at),
        }
    }
    None
}

/// The first byte of `addr..addr + len` that is not mapped.
pub fn first_unmapped(subject: &dyn Subject, addr: u64, len: u64) -> Option<u64> {
    visit_spans(subject, addr, len, |_, _| None).err()
}

/// Paints `len` bytes from `start` of the run at `addr`. Unmapped bytes are left out: verifying
/// finds them.
pub fn paint(subject: &mut dyn Subject, addr: u64, start: u64, end: u64, seed: u64) {
    let mut offset = start;
    while offset < end {
        let tile = paint::tile(offset, (end - offset) as usize, seed);
        let Some(nr_written) = subject.write(addr + offset, tile) else { return };
        offset += nr_written;
    }
}

/// A copy of the bytes at `addr`, for a caller who leaves them as they are.
pub fn echo(subject: &dyn Subject, addr: u64, len: u64) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(len as usize);
    let _ = visit_spans(subject, addr, len, |span, _| {
        bytes.extend_from_slice(span);
        None
    });
    bytes.into()
}

/// Writes an allocation's contents and its guard, the bytes between the requested and the usable
/// size.
pub fn write_all(subject: &mut dyn Subject, allocation: &Allocation) {
    if let Contents::Painted(seed) = allocation.contents {
        paint(subject, allocation.addr, 0, allocation.size, seed);
    }
    paint(subject, allocation.addr, allocation.size, allocation.usable, allocation.guard_seed());
}

/// Looks at every byte of an allocation and its guard.
pub fn verify(subject: &dyn Subject, allocation: &Allocation) -> Option<Damage> {
    let Allocation { id, addr, usable, .. } = *allocation;
    let found = first_wrong(subject, allocation, addr, 0..usable);
    found.map(|(offset, what)| Damage { id, addr, offset, what })
}

/// The first byte of a range of the memory at `addr` that is not what the allocation, or its guard,
/// holds.
pub fn first_unlike(
    subject: &dyn Subject,
    allocation: &Allocation,
    addr: u64,
    range: Range<u64>,
) -> Option<u64> {
    first_wrong(subject, allocation, addr, range).map(|(offset, _)| offset)
}

fn first_wrong(
    subject: &dyn Subject,
    allocation: &Allocation,
    addr: u64,
    range: Range<u64>,
) -> Option<(u64, Wrong)> {
    let Range { start, end } = range;
    let size = allocation.size.clamp(start, end.max(start));
    let contents = visit_spans(subject, addr + start, size - start, |span, inside| {
        let offset = start + inside;
        let at = match &allocation.contents {
            Contents::Painted(seed) => paint::first_difference(span, offset, *seed),
            Contents::Echo(bytes) => {
                let expected = bytes[offset as usize..].iter();
                span.iter().zip(expected).position(|(actual, expected)| actual != expected)
            }
        };
        at.map(|at| offset + at as u64)
    });
    match contents {
        Ok(None) => {}
        Ok(Some(offset)) => return Some((offset, Wrong::Contents)),
        Err(inside) => return Some((start + inside, Wrong::Unmapped)),
    }
    let seed = allocation.guard_seed();
    let guard = visit_spans(subject, addr + size, end.max(size) - size, |span, offset| {
        paint::first_difference(span, size + offset, seed).map(|at| size + offset + at as u64)
    });
    match guard {
        Ok(None) => None,
        Ok(Some(offset)) => Some((offset, Wrong::Guard)),
        Err(offset) => Some((size + offset, Wrong::Unmapped)),
    }
}
