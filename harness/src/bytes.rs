//! Writing and reading an allocation's bytes through a subject.
//!
//! What is expected is handed over piece by piece and compared where the memory is, and a place
//! where nothing is mapped is a finding like any other. What the bytes should be is in `model`.
//!
//! Nothing here decides whether a finding is a bug; the oracles do.

use crate::model::{Allocation, Contents};
use crate::paint::{self, ZEROS};
use crate::subject::{Mismatch, Subject};
use crate::words::PAGE;
use std::ops::Range;

/// Bytes of an allocation that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
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
pub(crate) enum Wrong {
    /// It is not what the caller wrote.
    Contents,
    /// It lies past the requested size and somebody wrote there.
    Guard,
    /// It cannot be accessed.
    Unmapped,
}

/// The first byte of `addr..addr + len` that is not what `expected` gives for an offset and a
/// length, or for the beginning of that length.
fn first_mismatch<'a>(
    subject: &dyn Subject,
    addr: u64,
    len: u64,
    expected: impl Fn(u64, usize) -> &'a [u8],
) -> Option<(u64, Wrong)> {
    let mut offset = 0;
    while offset < len {
        let bytes = expected(offset, (len - offset) as usize);
        match subject.compare(addr + offset, bytes) {
            Ok(()) => offset += bytes.len() as u64,
            Err(Mismatch::Differs(at)) => return Some((offset + at as u64, Wrong::Contents)),
            Err(Mismatch::Unmapped(at)) => return Some((offset + at as u64, Wrong::Unmapped)),
        }
    }
    None
}

/// The first byte of `addr..addr + len` that is not zero; `Err` with its offset if it is not
/// mapped.
pub(crate) fn first_nonzero(
    subject: &dyn Subject,
    addr: u64,
    len: u64,
) -> Result<Option<u64>, u64> {
    let zeros = |_, len: usize| &ZEROS[..len.min(ZEROS.len())];
    match first_mismatch(subject, addr, len, zeros) {
        Some((offset, Wrong::Unmapped)) => Err(offset),
        found => Ok(found.map(|(offset, _)| offset)),
    }
}

/// A run of a constructor's word, as it lies in memory from a multiple of its length on.
fn words(word: u64) -> [u8; 512] {
    let mut bytes = [0; 512];
    bytes.chunks_exact_mut(8).for_each(|place| place.copy_from_slice(&word.to_le_bytes()));
    bytes
}

/// Writes a constructor's word all over `addr..addr + len`.
pub(crate) fn construct(subject: &mut dyn Subject, addr: u64, len: u64, word: u64) {
    let (words, mut offset) = (words(word), 0);
    while offset < len {
        let run = &words[..words.len().min((len - offset) as usize)];
        if subject.write(addr + offset, run) < run.len() {
            return;
        }
        offset += run.len() as u64;
    }
}

/// The first byte of `addr..addr + len` that a constructor's word is not in.
pub(crate) fn first_unconstructed(
    subject: &dyn Subject,
    addr: u64,
    len: u64,
    word: u64,
) -> Option<u64> {
    let words = words(word);
    let found = first_mismatch(subject, addr, len, |_, len| &words[..len.min(words.len())]);
    found.map(|(offset, _)| offset)
}

/// The first of `len` bytes that is not zero, of memory that began `start` bytes into the first of
/// these frames, as the direct map shows them. Of the words with such bytes the first `nr_spared`
/// do not count.
pub(crate) fn first_remaining(
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
pub(crate) fn first_unmapped(subject: &dyn Subject, addr: u64, len: u64) -> Option<u64> {
    let pages =
        (addr / PAGE + 1..addr.saturating_add(len).div_ceil(PAGE)).map(|page| page * PAGE - addr);
    let mut offsets = std::iter::once(0).chain(pages).filter(|_| len > 0);
    offsets.find(|offset| subject.read(addr + offset, &mut [0]) == 0)
}

/// Paints the bytes from `start` to `end` of the run at `addr`. Unmapped bytes are left out:
/// verifying finds them.
pub(crate) fn paint(subject: &mut dyn Subject, addr: u64, start: u64, end: u64, seed: u64) {
    let mut offset = start;
    while offset < end {
        let tile = paint::tile(offset, (end - offset) as usize, seed);
        if subject.paint(addr + offset, tile) < tile.len() {
            return;
        }
        offset += tile.len() as u64;
    }
}

/// A copy of the bytes at `addr`, for a caller who leaves them as they are.
pub(crate) fn echo(subject: &dyn Subject, addr: u64, len: u64) -> Box<[u8]> {
    let mut bytes = vec![0; len as usize];
    let nr_read = subject.read(addr, &mut bytes);
    bytes.truncate(nr_read);
    bytes.into()
}

/// The bytes that an allocation, or its guard, holds from `at` on: `len`, or the first of them.
fn piece<'a>(contents: &'a Contents, held: &Allocation, at: u64, len: usize) -> &'a [u8] {
    let up_to = |end: u64| len.min((end - at) as usize);
    match contents {
        Contents::Cleared(end, _) if at < *end => &ZEROS[..up_to(*end).min(ZEROS.len())],
        Contents::Cleared(_, rest) => piece(rest, held, at, len),
        Contents::Part(gone, start) => piece(&gone.contents, gone, start + at, len),
        Contents::Patched(from, patch, rest) => match at.checked_sub(*from) {
            None => piece(rest, held, at, up_to(*from)),
            Some(inside) if inside < patch.len() as u64 => {
                let patch = &patch[inside as usize..];
                &patch[..len.min(patch.len())]
            }
            Some(_) => piece(rest, held, at, len),
        },
        _ if at >= held.size => paint::tile(at, len, held.guard_seed()),
        Contents::Painted(seed) => paint::tile(at, up_to(held.size), *seed),
        Contents::Echo(bytes) => &bytes[at as usize..][..up_to(held.size)],
    }
}

/// Writes an allocation's contents and its guard, the bytes between the requested and the usable
/// size.
pub(crate) fn write_all(subject: &mut dyn Subject, allocation: &Allocation) {
    if let Contents::Painted(seed) = allocation.contents {
        paint(subject, allocation.addr, 0, allocation.size, seed);
    }
    paint(subject, allocation.addr, allocation.size, allocation.usable, allocation.guard_seed());
}

/// Looks at every byte of an allocation and its guard, but for those that the allocator has in it.
pub(crate) fn verify(subject: &dyn Subject, allocation: &Allocation) -> Option<Damage> {
    let Allocation { id, addr, usable, .. } = *allocation;
    let head = allocation.head_range().unwrap_or(usable..usable);
    let mut parts = [0..head.start, head.end..usable].into_iter();
    let found = parts.find_map(|part| first_wrong(subject, allocation, addr, part));
    found.map(|(offset, what)| Damage { id, addr, offset, what })
}

/// The first byte of a range of the memory at `addr` that is not what the allocation, or its guard,
/// holds.
pub(crate) fn first_unlike(
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
    let found = first_mismatch(subject, addr + start, end.saturating_sub(start), |inside, len| {
        piece(&allocation.contents, allocation, start + inside, len)
    });
    found.map(|(inside, what)| match (start + inside, what) {
        (offset, Wrong::Contents) if offset >= allocation.size => (offset, Wrong::Guard),
        found => found,
    })
}
