//! What the harness writes into memory, and how it sees that somebody else wrote there.
//!
//! The one idea: contents are keyed by the allocation. Word `i` of a painted run is a function of
//! the run's seed and `i`, so bytes that arrive from another allocation, or from another place of
//! the same one, are wrong. The loops work on words, since they are most of the harness's time.
//!
//! It knows no allocator; whose memory a run of bytes is, is the caller's business.

/// The distance between the words of a painted run; odd, so that no word of a run comes twice.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// The words that are compared before the result is looked at.
const BLOCK_WORDS: usize = 16;

/// A well-mixed word from two numbers (the finaliser of splitmix64).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut word = a.wrapping_mul(STEP) ^ b.wrapping_add(0x6a09_e667_f3bc_c909);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn word(seed: u64, index: u64) -> u64 {
    seed.wrapping_add(index.wrapping_mul(STEP))
}

fn byte(seed: u64, offset: u64) -> u8 {
    word(seed, offset / 8).to_le_bytes()[(offset % 8) as usize]
}

/// How many bytes of a run that starts at `offset` come before its first whole word.
fn head_len(len: usize, offset: u64) -> usize {
    ((offset.wrapping_neg() % 8) as usize).min(len)
}

/// Paints `bytes`, which lie at `offset` of the run that `seed` keys.
pub fn fill(bytes: &mut [u8], offset: u64, seed: u64) {
    let (head, body) = bytes.split_at_mut(head_len(bytes.len(), offset));
    for (at, place) in head.iter_mut().enumerate() {
        *place = byte(seed, offset + at as u64);
    }
    let offset = offset + head.len() as u64;
    let mut next = word(seed, offset / 8);
    let (words, tail) = body.as_chunks_mut::<8>();
    for place in words.iter_mut() {
        *place = next.to_le_bytes();
        next = next.wrapping_add(STEP);
    }
    let tail_len = tail.len();
    tail.copy_from_slice(&next.to_le_bytes()[..tail_len]);
}

/// The first place in `bytes` that does not hold what [`fill`] wrote there.
pub fn first_difference(bytes: &[u8], offset: u64, seed: u64) -> Option<usize> {
    let (head, body) = bytes.split_at(head_len(bytes.len(), offset));
    let slow = |bytes: &[u8], base: usize| {
        let wrong = |at: &usize| bytes[*at] != byte(seed, offset + (base + at) as u64);
        (0..bytes.len()).find(wrong).map(|at| base + at)
    };
    if let Some(at) = slow(head, 0) {
        return Some(at);
    }
    let mut next = word(seed, (offset + head.len() as u64) / 8);
    let mut base = head.len();
    let (words, tail) = body.as_chunks::<8>();
    for block in words.chunks(BLOCK_WORDS) {
        let mut difference = 0;
        for place in block {
            difference |= u64::from_le_bytes(*place) ^ next;
            next = next.wrapping_add(STEP);
        }
        if difference != 0 {
            return slow(block.as_flattened(), base);
        }
        base += 8 * block.len();
    }
    slow(tail, base)
}

/// The first byte that is not zero.
pub fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    let mut base = 0;
    for block in bytes.chunks(8 * BLOCK_WORDS) {
        if block.iter().fold(0, |any, byte| any | byte) != 0 {
            return block.iter().position(|byte| *byte != 0).map(|at| base + at);
        }
        base += block.len();
    }
    None
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_was_painted_is_recognised_at_any_offset_and_length() {
        for offset in [0, 1, 7, 8, 4093] {
            for len in [0, 1, 7, 8, 9, 127, 128, 129, 1000] {
                let mut bytes = vec![0; len];
                fill(&mut bytes, offset, 42);
                assert_eq!(first_difference(&bytes, offset, 42), None, "{offset} {len}");
            }
        }
    }

    #[test]
    fn every_single_changed_byte_is_found() {
        let mut bytes = vec![0; 300];
        fill(&mut bytes, 3, 9);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x40;
            assert_eq!(first_difference(&bytes, 3, 9), Some(at));
            bytes[at] ^= 0x40;
        }
    }

    #[test]
    fn the_bytes_of_another_allocation_or_place_are_wrong() {
        let mut bytes = vec![0; 64];
        fill(&mut bytes, 0, mix(1, 0));
        assert!(first_difference(&bytes, 0, mix(2, 0)).is_some());
        assert!(first_difference(&bytes, 8, mix(1, 0)).is_some());
    }

    #[test]
    fn the_first_nonzero_byte_is_found() {
        let mut bytes = vec![0; 500];
        assert_eq!(first_nonzero(&bytes), None);
        bytes[400] = 1;
        assert_eq!(first_nonzero(&bytes), Some(400));
    }
}
