//! The free list of a slab, which its free objects hold (R2.3).
//!
//! A word in a free object links to the next one, and is marked so that it is recognised: an object
//! whose word is no link of its slab is certainly live.
//!
//! Where in an object the word is, its cache's geometry says; which lists a slab has, `slabs`.

use crate::frames::frame::Frame;
use crate::slab::cache::Geometry;
use crate::words::addr::{PAGE_SIZE, Pfn};

/// The upper bits of every link: no physical address and hardly any content looks like it.
const LINK_MARK: u64 = 0x5ab1 << 48;
/// The bits of a link that are an address.
pub(crate) const LINK_ADDRESS: u64 = ((1 << 48) - 1) & !7;
/// A link to another object.
const LINK_NEXT: u64 = 1;
/// The end of a free list; its address is the slab's own.
const LINK_END: u64 = 3;

/// The word that a free object holds: its successor on the free list of `slab`, 0 for none.
pub(crate) fn encode_link(slab: Pfn, next: u64) -> u64 {
    if next == 0 { LINK_MARK | slab.to_phys().0 | LINK_END } else { LINK_MARK | next | LINK_NEXT }
}

/// The successor that a word names, 0 for none; `None` when it is no link of this slab.
pub(crate) fn decode_link(word: u64, slab: Pfn, frame: Frame, geo: Geometry) -> Option<u64> {
    if word & !LINK_ADDRESS & !7 != LINK_MARK {
        return None;
    }
    let (at, base) = (word & LINK_ADDRESS, slab.to_phys().0);
    match word & 7 {
        LINK_END => (at == base).then_some(0),
        LINK_NEXT => {
            let inside =
                at.checked_sub(base).filter(|&inside| inside < PAGE_SIZE << frame.order)?;
            let (inside, size) = (inside as u32, geo.size);
            (inside % size == 0 && inside / size < u32::from(frame.fresh)).then_some(at)
        }
        _ => None,
    }
}
