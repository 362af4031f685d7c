//! The bytes of a simulated machine's page frames, of which only those that were written exist.
//!
//! The one idea: a frame shows an image, a page that never changes, until somebody writes a part
//! of it; only then it has bytes of its own. Fresh frames show [`POISON`], a frame that was zeroed
//! shows zeros, and one that was painted from end to end shows what it was painted with. So a
//! machine takes no more of the host's memory than what was written in pieces, and a fresh machine
//! is a row of references.
//!
//! It knows frames by their numbers and bytes by their physical addresses; it maps nothing.

use crate::paint::ZEROS;
use std::ops::Range;

/// The byte that memory holds before anything is written to it.
pub const POISON: u8 = 0xa5;

/// Bytes in a page.
pub(super) const PAGE: usize = 4096;

/// The bytes of a page.
type Bytes = [u8; PAGE];

static POISONED: Bytes = [POISON; PAGE];

/// What a frame holds.
enum Page {
    /// What an image shows.
    Image(&'static Bytes),
    /// Bytes of its own.
    Own(Box<Bytes>),
}

impl Page {
    #[inline]
    fn bytes(&self) -> &Bytes {
        match self {
            Page::Image(bytes) => bytes,
            Page::Own(bytes) => bytes,
        }
    }
}

/// Page frames.
#[derive(Default)]
pub(super) struct Frames {
    pages: Vec<Page>,
    /// Room for own bytes that no frame has at the moment.
    spare: Vec<Box<Bytes>>,
}

impl Frames {
    /// Makes this so many fresh frames.
    pub(super) fn reset(&mut self, nr_frames: usize) {
        for page in &mut self.pages {
            show(page, &POISONED, &mut self.spare);
        }
        self.pages.resize_with(nr_frames, || Page::Image(&POISONED));
    }

    /// The number of frames.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// The frames that bytes of their own are kept for.
    #[cfg(test)]
    pub(super) fn nr_kept(&self) -> usize {
        let own = self.pages.iter().filter(|page| matches!(page, Page::Own(_)));
        own.count() + self.spare.len()
    }

    /// The bytes from `at` on, as many of `len` as lie in its page.
    pub(super) fn span(&self, at: usize, len: usize) -> &[u8] {
        let inside = at % PAGE;
        &self.pages[at / PAGE].bytes()[inside..][..len.min(PAGE - inside)]
    }

    /// As [`span`](Self::span), to change.
    pub(super) fn span_mut(&mut self, at: usize, len: usize) -> &mut [u8] {
        let inside = at % PAGE;
        &mut self.own(at / PAGE)[inside..][..len.min(PAGE - inside)]
    }

    /// The bytes of a frame, its own from now on.
    #[inline]
    fn own(&mut self, frame: usize) -> &mut Bytes {
        let page = &mut self.pages[frame];
        if let Page::Image(image) = page {
            *page = Page::Own(copy_of(image, 0..0, &mut self.spare));
        }
        match page {
            Page::Own(bytes) => bytes,
            Page::Image(_) => unreachable!("it was given bytes of its own"),
        }
    }

    /// Bytes of one frame that the caller is going to write all of; the others stay what they are.
    fn room(&mut self, at: usize, len: usize) -> &mut [u8] {
        let range = at % PAGE..at % PAGE + len;
        let page = &mut self.pages[at / PAGE];
        if let Page::Image(image) = page {
            *page = Page::Own(copy_of(image, range.clone(), &mut self.spare));
        }
        &mut self.own(at / PAGE)[range]
    }

    /// Writes the beginning of `bytes`, as much of it as lies in the frame of `at`, and says how
    /// much that was.
    pub(super) fn write(&mut self, at: usize, bytes: &'static [u8]) -> usize {
        match bytes.first_chunk() {
            Some(image) if at.is_multiple_of(PAGE) => {
                show(&mut self.pages[at / PAGE], image, &mut self.spare);
                PAGE
            }
            _ => {
                let len = bytes.len().min(PAGE - at % PAGE);
                self.room(at, len).copy_from_slice(&bytes[..len]);
                len
            }
        }
    }

    /// Writes zeros.
    pub(super) fn zero(&mut self, mut at: usize, len: usize) {
        let end = at + len;
        while at < end {
            at += self.write(at, &ZEROS[..PAGE.min(end - at)]);
        }
    }

    /// Copies bytes between two runs that have none in common.
    pub(super) fn copy(&mut self, from: usize, to: usize, len: usize) {
        let mut done = 0;
        while done < len {
            let (from, to) = (from + done, to + done);
            let nr_bytes = (len - done).min(PAGE - from % PAGE).min(PAGE - to % PAGE);
            if let Page::Image(image) = self.pages[from / PAGE] {
                self.write(to, &image[from % PAGE..][..nr_bytes]);
            } else {
                self.copy_own(from, to, nr_bytes);
            }
            done += nr_bytes;
        }
    }

    /// Copies bytes of one frame, which are its own, into one frame.
    fn copy_own(&mut self, from: usize, to: usize, nr_bytes: usize) {
        self.room(to, nr_bytes);
        let (start, end) = (from % PAGE, from % PAGE + nr_bytes);
        match self.pages.get_disjoint_mut([from / PAGE, to / PAGE]) {
            Ok([source, Page::Own(bytes)]) => {
                bytes[to % PAGE..][..nr_bytes].copy_from_slice(&source.bytes()[start..end]);
            }
            _ => self.own(to / PAGE).copy_within(start..end, to % PAGE),
        }
    }

    /// The word at `at`, a multiple of eight.
    #[inline]
    pub(super) fn load(&self, at: usize) -> u64 {
        let (words, _) = self.pages[at / PAGE].bytes().as_chunks();
        u64::from_le_bytes(words[at % PAGE / 8])
    }

    /// Writes a word at `at`, a multiple of eight.
    #[inline]
    pub(super) fn store(&mut self, at: usize, word: u64) {
        let (words, _) = self.own(at / PAGE).as_chunks_mut();
        words[at % PAGE / 8] = word.to_le_bytes();
    }
}

/// Makes a page show an image.
fn show(page: &mut Page, image: &'static Bytes, spare: &mut Vec<Box<Bytes>>) {
    if let Page::Own(bytes) = std::mem::replace(page, Page::Image(image)) {
        spare.push(bytes);
    }
}

/// A copy of an image, but for a part that is to be overwritten.
#[inline(never)]
fn copy_of(image: &Bytes, but: Range<usize>, spare: &mut Vec<Box<Bytes>>) -> Box<Bytes> {
    let mut bytes = spare.pop().unwrap_or_else(|| Box::new([0; PAGE]));
    bytes[..but.start].copy_from_slice(&image[..but.start]);
    bytes[but.end..].copy_from_slice(&image[but.end..]);
    bytes
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::paint::{mix, tile};
    use crate::random::Draw;

    const NR_FRAMES: usize = 4;

    fn fresh() -> Frames {
        let mut frames = Frames::default();
        frames.reset(NR_FRAMES);
        frames
    }

    /// All bytes, span by span.
    fn bytes(frames: &Frames) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < frames.len() * PAGE {
            bytes.extend_from_slice(frames.span(bytes.len(), frames.len() * PAGE - bytes.len()));
        }
        bytes
    }

    /// Draws a place and a length within the frames, often at the edge of one.
    fn draw_run(rng: &mut fastrand::Rng) -> (usize, usize) {
        let mut edge = || match rng.u8(0..3) {
            0 => rng.index(0..=NR_FRAMES) * PAGE,
            1 => (rng.index(1..NR_FRAMES) * PAGE - 9) + rng.index(0..=18),
            _ => rng.index(0..=NR_FRAMES * PAGE),
        };
        let (a, b) = (edge(), edge());
        (a.min(b), a.abs_diff(b))
    }

    #[test]
    fn frames_hold_what_an_array_of_bytes_would() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut frames = fresh();
        for round in 0..200 {
            frames.reset(NR_FRAMES);
            let mut array = [POISON; NR_FRAMES * PAGE];
            for step in 0..30_u64 {
                let (at, len) = draw_run(&mut rng);
                match rng.u8(0..6) {
                    0 => {
                        frames.zero(at, len);
                        array[at..at + len].fill(0);
                    }
                    1 => {
                        let mut done = 0;
                        while done < len {
                            let tile = tile(done as u64, len - done, mix(round, step));
                            let nr_bytes = frames.write(at + done, tile);
                            array[at + done..][..nr_bytes].copy_from_slice(&tile[..nr_bytes]);
                            done += nr_bytes;
                        }
                    }
                    2 => {
                        let at = at.min(array.len() - 1);
                        let span = frames.span_mut(at, len);
                        span.fill(step as u8);
                        array[at..at + span.len()].fill(step as u8);
                    }
                    3 => {
                        let (from, room) = draw_run(&mut rng);
                        let len = len.min(room).min(from.abs_diff(at));
                        frames.copy(from, at, len);
                        array.copy_within(from..from + len, at);
                    }
                    4 if at + 8 <= array.len() => {
                        let at = at / 8 * 8;
                        frames.store(at, step);
                        array[at..at + 8].copy_from_slice(&step.to_le_bytes());
                    }
                    _ => {
                        let at = at.min(array.len() - 8) / 8 * 8;
                        let (words, _) = array.as_chunks();
                        assert_eq!(frames.load(at), u64::from_le_bytes(words[at / 8]));
                    }
                }
            }
            assert!(bytes(&frames) == array, "round {round}");
        }
    }

    #[test]
    fn only_what_is_written_in_pieces_takes_memory() {
        let mut frames = fresh();
        frames.zero(0, NR_FRAMES * PAGE);
        frames.write(PAGE, tile(0, PAGE, 7));
        frames.copy(PAGE, 2 * PAGE, PAGE);
        let counts = |frames: &Frames| (frames.nr_kept(), frames.spare.len());
        assert_eq!(counts(&frames), (0, 0));
        frames.store(2 * PAGE + 8, 1);
        assert_eq!(counts(&frames), (1, 0));
        frames.zero(2 * PAGE, PAGE);
        assert_eq!(counts(&frames), (1, 1));
        frames.span_mut(5, 2).fill(1);
        assert_eq!(counts(&frames), (1, 0));
        frames.reset(1);
        assert_eq!(counts(&frames), (1, 1));
    }
}
