//! Counts by name, of things whose names come from the recording.
//!
//! A recording may hold a million different names, and the report is for a person, so only the
//! first [`MOST_NAMES`] are kept apart; what comes after them is counted together.
//!
//! What is counted is decided elsewhere.

use std::collections::BTreeMap;

/// How many names are kept apart.
const MOST_NAMES: usize = 1000;
/// The most bytes of a name that are kept.
const LONGEST_NAME: usize = 60;
/// Under this name everything is counted that came too late for one of its own.
const OTHERS: &str = "(other names)";

/// Counts by name.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts one thing of this name.
    pub(super) fn add(&mut self, name: &str) {
        let mut end = name.len().min(LONGEST_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = &name[..end];
        if let Some(count) = self.counts.get_mut(name) {
            *count += 1;
            return;
        }
        let name = if self.counts.len() < MOST_NAMES { name } else { OTHERS };
        *self.counts.entry(name.to_owned()).or_default() += 1;
    }

    /// The counts.
    pub(super) fn into_counts(self) -> BTreeMap<String, u64> {
        self.counts
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_million_names_do_not_take_a_million_places() {
        let mut tally = Tally::default();
        for number in 0..5000 {
            tally.add(&format!("n{number}"));
            tally.add("n7");
        }
        tally.add(&"é".repeat(100));
        let counts = tally.into_counts();
        assert_eq!(counts.len(), MOST_NAMES + 1);
        assert_eq!((counts["n7"], counts[OTHERS]), (5001, 4001));
    }
}
