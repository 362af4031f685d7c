//! Who judges a lane: the oracles of the packs that it claims, as far as its subject can be judged.
//!
//! An oracle that cannot judge a subject is excused, and how much it has not judged is counted and
//! shown, so that its silence is not taken for a verdict.

use super::{Event, ORACLES, Oracle};
use crate::subject::{Caps, Pack};

/// The oracles of one lane.
pub(crate) struct Jury {
    seated: Vec<&'static Oracle>,
    excused: Vec<&'static Oracle>,
}

impl Jury {
    /// The oracles of some packs, for a subject with these capabilities.
    pub(crate) fn of(packs: &[Pack], caps: Caps) -> Self {
        let summoned = ORACLES.iter().filter(|oracle| packs.contains(&oracle.pack));
        let can_judge = |oracle: &&Oracle| caps.cover(oracle.needs);
        let (seated, excused) = summoned.partition(can_judge);
        Self { seated, excused }
    }

    /// The oracles that cannot judge the lane, though it claims what they are about.
    pub(crate) fn excused(&self) -> &[&'static Oracle] {
        &self.excused
    }

    /// The first objection to an event, and whose it is.
    ///
    /// # Errors
    /// The oracle's name and its reason.
    pub(crate) fn judge(&self, event: &Event) -> Result<(), (&'static str, String)> {
        for oracle in &self.seated {
            (oracle.judge)(event).map_err(|reason| (oracle.name, reason))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::subject::Cap;

    #[test]
    fn who_cannot_see_is_excused_and_who_is_not_claimed_is_not_summoned() {
        let all = Jury::of(&[Pack::Generic, Pack::Linux, Pack::Caller], Caps::ALL);
        assert_eq!((all.seated.len(), all.excused.len()), (ORACLES.len(), 0));
        let poor = Jury::of(&[Pack::Generic], Caps::NONE);
        assert!(poor.seated.iter().chain(&poor.excused).all(|it| it.pack == Pack::Generic));
        assert!(poor.excused.iter().any(|it| it.needs.has(Cap::Validation)));
    }
}
