//! Random places and choices that are the same on every machine.
//!
//! `fastrand` draws a `usize` from as many random bits as the machine's words have, so a seed would
//! mean other traces on a 32-bit machine than on a 64-bit one. These draws are 64 bits wide
//! everywhere; `clippy.toml` forbids the others.

use fastrand::Rng;
use std::ops::{Bound, RangeBounds};

/// Draws of a `usize` that do not depend on its width.
pub trait Draw {
    /// A number in this range, which must not be empty and must have an end.
    fn index(&mut self, range: impl RangeBounds<usize>) -> usize;

    /// One of the items, or `None` if there is none.
    fn one_of<I>(&mut self, items: I) -> Option<I::Item>
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator;
}

impl Draw for Rng {
    fn index(&mut self, range: impl RangeBounds<usize>) -> usize {
        let wide = |bound: Bound<&usize>| bound.map(|&place| place as u64);
        let (start, end) = (wide(range.start_bound()), wide(range.end_bound()));
        assert!(end != Bound::Unbounded, "the end of the range would be the machine's");
        self.u64((start, end)) as usize
    }

    fn one_of<I>(&mut self, items: I) -> Option<I::Item>
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
    {
        let mut items = items.into_iter();
        if items.len() == 0 { None } else { items.nth(self.index(0..items.len())) }
    }
}

/// One of some values.
pub fn one_of<'a, T>(values: &'a [T], rng: &mut Rng) -> &'a T {
    &values[rng.index(0..values.len())]
}

/// One of some values, each by its weight.
pub(crate) fn weighted<T: Copy>(rows: &[(T, u32)], rng: &mut Rng) -> T {
    let mut left = rng.u32(0..rows.iter().map(|(_, weight)| weight).sum());
    for &(value, weight) in rows {
        if left < weight {
            return value;
        }
        left -= weight;
    }
    rows[0].0
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn draws_are_the_same_on_every_machine() {
        let mut rng = Rng::with_seed(1);
        let places: Vec<usize> = (0..8).map(|_| rng.index(0..1000)).collect();
        assert_eq!(places, [657, 534, 239, 778, 9, 781, 769, 848]);
        let letters = "kmem_cache";
        let choices = (0..8).filter_map(|_| rng.one_of(letters.as_bytes())).copied();
        assert_eq!(choices.collect::<Vec<u8>>(), *b"amkmkhm_");
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        assert_eq!(Rng::with_seed(1).one_of([0; 0]), None);
    }
}
