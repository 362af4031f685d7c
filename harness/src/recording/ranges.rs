//! A map from ranges of frames to what they belong to.
//!
//! An event names a block of up to 32768 frames, so whatever is kept of it must be one entry, not
//! one a frame; a recording of many huge blocks would else take all memory.
//!
//! The unit is the page frame.

use std::collections::BTreeMap;
use std::ops::Range;

/// Disjoint ranges and their values.
#[derive(Debug)]
pub(super) struct Ranges<T> {
    /// Start, end and value.
    entries: BTreeMap<u64, (u64, T)>,
}

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new() }
    }
}

impl<T: Copy> Ranges<T> {
    /// Sets the value of a range; what was there before is forgotten.
    pub(super) fn insert(&mut self, range: Range<u64>, value: T) {
        self.remove(range.clone());
        self.entries.insert(range.start, (range.end, value));
    }

    /// The value of a frame.
    pub(super) fn get(&self, frame: u64) -> Option<T> {
        let (_, (end, value)) = self.entries.range(..=frame).next_back()?;
        (frame < *end).then_some(*value)
    }

    /// Takes a range out, and yields the pieces of it that were there, in order.
    pub(super) fn remove(&mut self, range: Range<u64>) -> Vec<(Range<u64>, T)> {
        let mut removed = Vec::new();
        let before = self.entries.range(..range.start).next_back();
        let first = before.filter(|(_, (end, _))| *end > range.start).map_or(range.start, |e| *e.0);
        let touched: Vec<u64> =
            self.entries.range(first..range.end).map(|(start, _)| *start).collect();
        for start in touched {
            let Some((end, value)) = self.entries.remove(&start) else { continue };
            if start < range.start {
                self.entries.insert(start, (range.start, value));
            }
            if end > range.end {
                self.entries.insert(range.end, (end, value));
            }
            removed.push((start.max(range.start)..end.min(range.end), value));
        }
        removed
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn ranges_agree_with_a_map_of_frames() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut ranges = Ranges::default();
        let mut frames = BTreeMap::new();
        for value in 0..3000 {
            let start = rng.u64(0..100);
            let range = start..start + rng.u64(1..20);
            if rng.bool() {
                ranges.insert(range.clone(), value);
                frames.extend(range.map(|frame| (frame, value)));
            } else {
                let removed = ranges.remove(range.clone());
                let pieces = removed.into_iter();
                let pieces: Vec<_> =
                    pieces.flat_map(|(piece, value)| piece.map(move |f| (f, value))).collect();
                let expected: Vec<_> =
                    range.filter_map(|frame| Some((frame, frames.remove(&frame)?))).collect();
                assert_eq!(pieces, expected);
            }
            let frame = rng.u64(0..120);
            assert_eq!(ranges.get(frame), frames.get(&frame).copied(), "frame {frame}");
        }
    }
}
