//! Structure: the allocator finds nothing wrong with its own lists, trees and tables.
//!
//! A broken link does no harm until somebody walks it; the subject's own validator walks all of
//! them now and then, long before a caller would notice.
//!
//! The validator is the subject's, so this oracle alone proves nothing; the others do not rely on
//! it.

use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "structure",
    sentence: "the allocator's validator finds its lists, trees and tables whole",
    pack: Pack::Generic,
    needs: Caps::of(&[Cap::Validation]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    match event {
        Event::Check { structure, .. } => structure.clone(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn barks_on_what_the_validator_finds() {
        let event = Event::Check { damage: None, structure: Err("a loop".into()) };
        assert_eq!(judge(&event), Err("a loop".into()));
    }

    #[test]
    fn silent_on_a_whole_structure() {
        assert_eq!(judge(&Event::Check { damage: None, structure: Ok(()) }), Ok(()));
    }
}
