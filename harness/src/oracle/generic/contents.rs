//! Contents: live memory holds what its caller wrote, zeroed memory is zero, constructed objects
//! are as constructed, the guard is whole, and no secret stays behind.
//!
//! The one idea: every byte of live memory is known, so every byte can be asked for. Between the
//! requested and the usable size lies a painted guard, which shows a write of one byte too many
//! even inside a size class; the harness writes such a byte itself now and then, to see the guard
//! work. Memory that held a secret is looked at once more when it is free.
//!
//! Whose fault a wrong byte is cannot be told from here.

use crate::bytes::{Damage, Wrong};
use crate::lane::{Overrun, Record};
use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "contents",
    sentence: "live memory holds what was written or constructed, zeroed memory is zero, \
               the guard is whole, and no secret stays behind",
    pack: Pack::Generic,
    needs: Caps::NONE,
    judge,
};

fn judge(event: &Event) -> Judgement {
    match event {
        Event::Step(step) => {
            whole(step.record.damage)?;
            let Record { nonzero, unconstructed, remains, .. } = *step.record;
            match (nonzero, unconstructed, remains) {
                (Some(at), ..) => Err(format!("zeroed memory is not zero at byte {at:#x}")),
                (_, Some(at), _) => Err(format!(
                    "byte {at:#x} of an object that was given back as constructed is not"
                )),
                (.., Some(at)) => {
                    Err(format!("byte {at:#x} had to be cleared before the memory was freed"))
                }
                _ => Ok(()),
            }
        }
        Event::Rewrite { damage } | Event::Check { damage, .. } => whole(*damage),
        Event::Overrun(Overrun::Seen(Some(Damage { what: Wrong::Guard, .. }))) => Ok(()),
        Event::Overrun(Overrun::Seen(seen)) => {
            Err(format!("a write of one byte too many shows as {seen:?} and not in the guard"))
        }
        Event::Overrun(Overrun::NoSlack)
        | Event::Stray
        | Event::Destroyed
        | Event::Left(_)
        | Event::Bounds(_)
        | Event::Probe(_)
        | Event::End(_)
        | Event::Again { .. }
        | Event::Round { .. }
        | Event::Wakes(_)
        | Event::Across(..) => Ok(()),
    }
}

fn whole(damage: Option<Damage>) -> Judgement {
    let Some(Damage { id, addr, offset, what }) = damage else { return Ok(()) };
    let what = match what {
        Wrong::Contents => "does not hold what was written",
        Wrong::Guard => "lies past the requested size and was written to",
        Wrong::Unmapped => "cannot be accessed",
    };
    Err(format!("byte {offset:#x} of {addr:#x}, live since op {id}, {what}"))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::oracle::fixture::{DIRECT, barks, memory, model, record, silent};
    use crate::subject::Answer;
    use crate::words::CacheHandle;
    use crate::words::gfp::{__GFP_ZERO, GFP_KERNEL};

    fn damage(what: Wrong) -> Option<Damage> {
        Some(Damage { id: 3, addr: DIRECT, offset: 5, what })
    }

    #[test]
    fn barks_on_damage_seen_at_a_free_a_rewrite_or_a_check() {
        let mut free = record(ask::kfree(DIRECT), Answer::Done);
        free.damage = damage(Wrong::Contents);
        barks(&ORACLE, &model(), &free, "written");
        assert!(judge(&Event::Rewrite { damage: damage(Wrong::Unmapped) }).is_err());
        let check = Event::Check { damage: damage(Wrong::Guard), structure: Ok(()) };
        assert!(judge(&check).is_err());
    }

    #[test]
    fn barks_on_zeroed_memory_that_is_not_zero() {
        let request = ask::kmalloc(64, GFP_KERNEL | __GFP_ZERO);
        let mut granted = record(request, memory(DIRECT, 64));
        granted.nonzero = Some(63);
        barks(&ORACLE, &model(), &granted, "0x3f");
    }

    #[test]
    fn barks_on_an_object_that_is_not_as_constructed() {
        let request = ask::kmem_cache_alloc(CacheHandle(1), GFP_KERNEL);
        let mut granted = record(request, memory(DIRECT, 64));
        silent(&ORACLE, &model(), &granted);
        granted.unconstructed = Some(12);
        barks(&ORACLE, &model(), &granted, "0xc");
    }

    #[test]
    fn barks_on_a_secret_that_stays_behind() {
        let request = ask::kfree_sensitive(DIRECT);
        let mut freed = record(request, Answer::Done);
        silent(&ORACLE, &model(), &freed);
        freed.remains = Some(8);
        barks(&ORACLE, &model(), &freed, "cleared");
    }

    #[test]
    fn barks_on_a_guard_that_does_not_show_an_overrun() {
        assert!(judge(&Event::Overrun(Overrun::Seen(None))).is_err());
        assert!(judge(&Event::Overrun(Overrun::Seen(damage(Wrong::Contents)))).is_err());
    }

    #[test]
    fn silent_on_whole_memory_and_on_a_guard_that_works() {
        silent(&ORACLE, &model(), &record(ask::kfree(DIRECT), Answer::Done));
        assert_eq!(judge(&Event::Check { damage: None, structure: Ok(()) }), Ok(()));
        let seen = Overrun::Seen(damage(Wrong::Guard));
        assert_eq!(judge(&Event::Overrun(seen)), Ok(()));
        assert_eq!(judge(&Event::Overrun(Overrun::NoSlack)), Ok(()));
    }
}
