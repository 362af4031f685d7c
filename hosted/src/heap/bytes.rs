//! What a subject does with the bytes at an address, once it has found them. There may be fewer
//! than were asked for.
//!
//! It finds none itself.

use kvroute_harness::subject::Mismatch;

/// Copies what was found, and says how many bytes that is.
pub(super) fn read(found: &[u8], bytes: &mut [u8]) -> usize {
    bytes[..found.len()].copy_from_slice(found);
    found.len()
}

/// Writes as much as there is place for, and says how many bytes that is.
pub(super) fn write(place: &mut [u8], bytes: &[u8]) -> usize {
    place.copy_from_slice(&bytes[..place.len()]);
    place.len()
}

/// Holds what was found against what is expected there.
///
/// # Errors
/// The first byte that is not as expected.
pub(super) fn compare(found: &[u8], expected: &[u8]) -> Result<(), Mismatch> {
    if found == expected {
        return Ok(());
    }
    let differs = found.iter().zip(expected).position(|(one, other)| one != other);
    Err(differs.map_or(Mismatch::Unmapped(found.len()), Mismatch::Differs))
}
