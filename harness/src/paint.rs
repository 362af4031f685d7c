//! What the harness writes into memory, and how it sees that somebody else wrote there.
//!
//! The one idea: contents are keyed by the allocation. Each page of a painted run is a part of one
//! table of random bytes, chosen by the run's seed and the page, so bytes that arrive from another
//! allocation, or from another place of the same one, are wrong. So painting is a copy and looking
//! is a comparison of memory, which cost a fuzzer's instrumented build no more than any other.
//!
//! It knows no allocator; whose memory a run of bytes is, is the caller's business.

/// The bytes that one draw from the table paints: a page.
const TILE_BYTES: usize = 4096;
/// The places in the table where a tile can start. Two tiles are alike once in as many pairs.
const NR_PLACES: usize = 1 << 14;
/// The step between those places: contents are at least as aligned as the smallest object.
const PLACE_BYTES: usize = 8;
/// Random bytes, of which every tile is a part.
static TABLE: [u8; NR_PLACES * PLACE_BYTES + TILE_BYTES] = random_bytes();
/// What zeroed memory holds.
pub(crate) static ZEROS: [u8; TILE_BYTES] = [0; TILE_BYTES];

/// A well-mixed word from two numbers (the finaliser of splitmix64).
pub const fn mix(a: u64, b: u64) -> u64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0x6a09_e667_f3bc_c909);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

const fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        let word = mix(1, at as u64).to_le_bytes();
        let mut byte = 0;
        while byte < 8 {
            bytes[at + byte] = word[byte];
            byte += 1;
        }
        at += 8;
    }
    bytes
}

/// What `len` bytes at `offset` of the run that `seed` keys hold, as far as the tile reaches.
pub(crate) fn tile(offset: u64, len: usize, seed: u64) -> &'static [u8] {
    let (tile, inside) = (offset / TILE_BYTES as u64, offset as usize % TILE_BYTES);
    let start = mix(seed, tile) as usize % NR_PLACES * PLACE_BYTES + inside;
    &TABLE[start..start + len.min(TILE_BYTES - inside)]
}

/// The first place at which two runs of the same length differ.
pub(crate) fn first_difference_of(actual: &[u8], expected: &[u8]) -> Option<usize> {
    // Memory that is simulated may show the table itself, where nobody has written since.
    if std::ptr::eq(actual, expected) || actual == expected {
        return None;
    }
    actual.iter().zip(expected).position(|(actual, expected)| actual != expected)
}

#[cfg(test)]
mod test {
    use super::*;

    /// Paints `bytes`, which lie at `offset` of the run that `seed` keys.
    fn fill(mut bytes: &mut [u8], mut offset: u64, seed: u64) {
        while !bytes.is_empty() {
            let tile = tile(offset, bytes.len(), seed);
            let (place, rest) = bytes.split_at_mut(tile.len());
            place.copy_from_slice(tile);
            offset += tile.len() as u64;
            bytes = rest;
        }
    }

    /// The first place that does not hold what the tiles say.
    fn first_unlike(bytes: &[u8], offset: u64, seed: u64) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            let tile = tile(offset + at as u64, bytes.len() - at, seed);
            if let Some(unlike) = first_difference_of(&bytes[at..at + tile.len()], tile) {
                return Some(at + unlike);
            }
            at += tile.len();
        }
        None
    }

    #[test]
    fn what_was_painted_is_recognised_at_any_offset_and_length() {
        for offset in [0, 1, 7, 8, 4093] {
            for len in [0, 1, 7, 8, 9, 127, 128, 129, 1000] {
                let mut bytes = vec![0; len];
                fill(&mut bytes, offset, 42);
                assert!(first_unlike(&bytes, offset, 42).is_none(), "{offset} {len}");
            }
        }
    }

    #[test]
    fn every_single_changed_byte_is_found() {
        let mut bytes = vec![0; 300];
        fill(&mut bytes, 3, 9);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x40;
            assert_eq!(first_unlike(&bytes, 3, 9), Some(at));
            bytes[at] ^= 0x40;
        }
    }

    #[test]
    fn the_bytes_of_another_allocation_or_place_are_wrong() {
        let mut bytes = vec![0; 64];
        fill(&mut bytes, 0, mix(1, 0));
        assert!(first_unlike(&bytes, 0, mix(2, 0)).is_some());
        assert!(first_unlike(&bytes, 8, mix(1, 0)).is_some());
    }
}
