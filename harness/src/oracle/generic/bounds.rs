//! Bounds: nothing is written beside the memory that an allocator was given.
//!
//! On both sides of each region lie bytes that are nobody's, and that the subject knows. An
//! allocator which takes a piece for larger than it is writes its links there, and nobody else
//! would notice.
//!
//! What lies inside of live memory is the business of `contents`.

use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "bounds",
    sentence: "nothing is written beside the memory that the allocator was given",
    pack: Pack::Generic,
    needs: Caps::of(&[Cap::Bounds]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    match event {
        Event::Bounds(addr) => Err(format!("{addr:#x} is not the allocator's, and was written to")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn barks_on_a_byte_beside_the_memory() {
        assert!(judge(&Event::Bounds(0x1000)).is_err());
    }

    #[test]
    fn silent_on_all_else() {
        assert_eq!(judge(&Event::Stray), Ok(()));
    }
}
