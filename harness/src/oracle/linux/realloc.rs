//! Reallocation: memory that has room stays where it is, what moves takes its bytes along, and a
//! refusal leaves all as it was.
//!
//! Every byte of the old memory is known, so the new one can be held against it before anything is
//! written there (R1.7, R5.5). Memory that may stay needs nothing, so nothing can be short for it.
//!
//! The request's half is judged as any request, the free's half in `wrong_free`.

use crate::model::Interface;
use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Answer, Refusal};
use crate::subject::{Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "realloc",
    sentence: "memory that fits stays where it is, and memory that moves keeps its bytes",
    pack: Pack::Linux,
    needs: Caps::NONE,
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let Some((want, from)) = step.record.want.as_ref().and_then(|want| Some((want, want.from?)))
    else {
        return Ok(());
    };
    let Some(replaced) = step.model.replaced(want) else {
        // No bytes become ZERO_SIZE_PTR, but kvrealloc gives NULL back as it is (R5.5), and so does
        // vrealloc (R4.15).
        let keeps_null = from.size.is_some() || matches!(want.interface, Interface::Vmalloc { .. });
        let is_kept = want.size == Some(0) && (keeps_null || from.addr == 16);
        return match step.record.reply.answer {
            Answer::Memory { addr, .. } if (addr == from.addr) != is_kept => {
                Err(format!("{addr:#x} is what became of {:#x}, which is no memory", from.addr))
            }
            _ => Ok(()),
        };
    };
    let (old, stays) = (replaced.old, replaced.stays);
    match step.record.reply.answer {
        Answer::Memory { addr, usable, .. }
            if stays && (addr, usable) != (old.addr, old.usable) =>
        {
            Err(format!(
                "{:#x}+{:#x} has room and became {addr:#x}+{usable:#x}",
                old.addr, old.usable
            ))
        }
        Answer::Memory { addr, .. } if !stays && addr == old.addr => {
            Err(format!("{addr:#x}+{:#x} has no room and did not move", old.usable))
        }
        // Its flags may be wrong all the same.
        Answer::Refused(Refusal::BadContext | Refusal::ImpossibleNofail) => Ok(()),
        Answer::Refused(_) | Answer::WouldBlock(_) if stays => {
            Err(format!("{:#x}+{:#x} has room and was refused more", old.addr, old.usable))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::model::{Kind, Model};
    use crate::oracle::fixture::{DIRECT, barks, enter, memory, model, model_of, record, silent};
    use crate::trace::Machine;
    use crate::words::gfp::GFP_KERNEL;

    const OLD: u64 = DIRECT + 64;
    const NEW: u64 = DIRECT + 4096;

    fn book() -> Model {
        let mut model = model();
        enter(&mut model, OLD, 64, Kind::Kmalloc, &[0]);
        model
    }

    fn krealloc(addr: u64, size: u64) -> Request {
        ask::krealloc(addr, size, GFP_KERNEL)
    }

    fn kvrealloc(addr: u64, old_size: u64, size: u64) -> Request {
        ask::kvrealloc(addr, old_size, size, GFP_KERNEL)
    }

    /// The book of a version whose kvrealloc knows what it replaces.
    fn knowing_book() -> Model {
        let policy = Machine::policy_named("v6.12");
        let mut model = model_of(&Machine { policy, ..Machine::default() });
        enter(&mut model, OLD, 64, Kind::Kmalloc, &[0]);
        model
    }

    #[test]
    fn barks_on_memory_that_moves_without_need_or_stays_without_room() {
        barks(&ORACLE, &book(), &record(krealloc(OLD, 64), memory(NEW, 64)), "has room");
        barks(&ORACLE, &book(), &record(krealloc(OLD, 64), memory(OLD, 32)), "has room");
        barks(&ORACLE, &book(), &record(krealloc(OLD, 65), memory(OLD, 96)), "did not move");
        barks(&ORACLE, &book(), &record(kvrealloc(OLD, 8, 9), memory(OLD, 64)), "did not move");
        barks(&ORACLE, &book(), &record(kvrealloc(OLD, 9, 9), memory(NEW, 16)), "has room");
        let moved = record(kvrealloc(OLD, 0, 9), memory(NEW, 16));
        barks(&ORACLE, &knowing_book(), &moved, "has room");
    }

    #[test]
    fn barks_on_a_refusal_of_what_needs_nothing() {
        for answer in [Answer::Refused, Answer::WouldBlock] {
            let refused = record(krealloc(OLD, 8), answer(Refusal::Pages { order: 0 }));
            barks(&ORACLE, &book(), &refused, "was refused");
        }
    }

    #[test]
    fn barks_on_something_that_becomes_of_nothing() {
        barks(&ORACLE, &book(), &record(krealloc(0, 8), memory(0, 0)), "no memory");
        barks(&ORACLE, &book(), &record(kvrealloc(0, 0, 0), memory(NEW, 8)), "no memory");
        let null = ask::vrealloc(0, 0, GFP_KERNEL);
        barks(&ORACLE, &book(), &record(null, memory(16, 0)), "no memory");
    }

    #[test]
    fn silent_on_what_stays_moves_or_is_refused() {
        let short = Answer::Refused(Refusal::Pages { order: 0 });
        for (request, answer) in [
            (krealloc(OLD, 64), memory(OLD, 64)),
            (krealloc(OLD, 65), memory(NEW, 96)),
            (krealloc(OLD, 0), memory(16, 0)),
            (krealloc(OLD, 65), short),
            (krealloc(0, 65), memory(NEW, 96)),
            (krealloc(0, 0), memory(16, 0)),
            (kvrealloc(OLD, 64, 0), memory(OLD, 64)),
            (kvrealloc(OLD, 8, 9), memory(NEW, 16)),
            (kvrealloc(0, 0, 0), memory(0, 0)),
            (ask::vrealloc(0, 0, GFP_KERNEL), memory(0, 0)),
        ] {
            silent(&ORACLE, &book(), &record(request, answer));
        }
        for (request, answer) in [
            (kvrealloc(OLD, 0, 64), memory(OLD, 64)),
            (kvrealloc(OLD, 0, 65), memory(NEW, 96)),
            (kvrealloc(OLD, 0, 0), memory(16, 0)),
            (kvrealloc(0, 0, 0), memory(16, 0)),
        ] {
            silent(&ORACLE, &knowing_book(), &record(request, answer));
        }
    }
}
