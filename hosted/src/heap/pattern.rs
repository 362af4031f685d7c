//! What a block of a churn holds: words that follow from a key and their place.
//!
//! The one idea: a word is the key and so many steps, which a processor adds up several at a time,
//! so that to write and to read a block costs little more than its way through memory. No branch
//! depends on a byte before all are read.
//!
//! Whose bytes they are is not known here.

/// From a word to the next one.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// So many bytes are made at a time.
const ROW: usize = 4 * size_of::<u64>();

/// The words of a row.
#[derive(Clone, Copy)]
struct Row([u64; 4]);

impl Row {
    fn first(key: u64) -> Self {
        Self(std::array::from_fn(|place| key.wrapping_add(STEP.wrapping_mul(place as u64))))
    }

    fn next(self) -> Self {
        Self(self.0.map(|word| word.wrapping_add(STEP.wrapping_mul(4))))
    }

    fn to_bytes(self) -> [u8; ROW] {
        let mut bytes = [0; ROW];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *place = word.to_le_bytes();
        }
        bytes
    }

    /// The bits in which others differ from these, in any word.
    fn odd(self, bytes: &[u8; ROW]) -> [u64; 4] {
        let mut odd = self.0;
        for (word, place) in odd.iter_mut().zip(bytes.as_chunks().0) {
            *word ^= u64::from_le_bytes(*place);
        }
        odd
    }
}

/// Writes what a block of this key holds.
pub fn paint(block: &mut [u8], key: u64) {
    let (rows, rest) = block.as_chunks_mut::<ROW>();
    let mut row = Row::first(key);
    for bytes in rows {
        *bytes = row.to_bytes();
        row = row.next();
    }
    rest.copy_from_slice(&row.to_bytes()[..rest.len()]);
}

/// Whether a block holds what was written with this key, or the first bytes of that.
pub fn is_painted(block: &[u8], key: u64) -> bool {
    let (rows, rest) = block.as_chunks::<ROW>();
    let (mut row, mut odd) = (Row::first(key), [0; 4]);
    for bytes in rows {
        let here = row.odd(bytes);
        odd = std::array::from_fn(|place| odd[place] | here[place]);
        row = row.next();
    }
    odd == [0; 4] && *rest == row.to_bytes()[..rest.len()]
}

/// Whether a block, from a byte on, holds what was written with this key.
pub fn is_painted_from(block: &[u8], start: usize, key: u64) -> bool {
    let key = key.wrapping_add(STEP.wrapping_mul((start / 8) as u64));
    let (first, rest) = block[start / 8 * 8..].split_at(8.min(block.len() - start / 8 * 8));
    first[start % 8..] == key.to_le_bytes()[start % 8..first.len()]
        && is_painted(rest, key.wrapping_add(STEP))
}

/// Whether all bytes are 0.
pub fn is_zero(block: &[u8]) -> bool {
    let (words, rest) = block.as_chunks::<8>();
    let odd = words.iter().fold(0, |odd, bytes| odd | u64::from_le_bytes(*bytes));
    odd == 0 && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_byte_counts() {
        for len in 0..70 {
            let mut block = vec![0; len];
            assert!(is_zero(&block));
            paint(&mut block, 7);
            for start in 0..=len {
                assert!(is_painted(&block[..start], 7) && is_painted_from(&block, start, 7));
            }
            for at in 0..len {
                block[at] ^= 0x10;
                assert!(!is_painted(&block, 7));
                assert!((0..=len).all(|start| is_painted_from(&block, start, 7) == (at < start)));
                block[at] ^= 0x10;
                let mut one = vec![0; len];
                one[at] = 0x80;
                assert!(!is_zero(&one));
            }
        }
    }

    #[test]
    fn bytes_of_another_key_or_place_are_odd() {
        let mut block = [0; 64];
        paint(&mut block, 7);
        assert!(!is_painted(&block, 8));
        assert!((1..8).all(|at| !is_painted(&block[at * 8..], 7)));
        assert!(!is_painted(&block[1..], 7));
    }
}
