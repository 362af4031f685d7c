//! Boot: the boot allocator gives the highest range that is free, and nothing after the hand-over.
//!
//! Until the hand-over every byte is either taken or free, so each answer follows from what was
//! taken before; afterwards there is one answer to every call.
//!
//! What was taken early is held to its contents like all live memory, in `contents`; that nobody
//! else gets it is judged in `overlap`, and its frees in `wrong_free`.

use crate::call::{Call, Role};
use crate::model::Want;
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::subject::{Answer, Refusal};
use crate::subject::{Cap, Caps, Pack};

/// `INIT_MEMBLOCK_REGIONS`.
const NR_REGIONS: usize = 128;

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "boot",
    sentence: "memblock gives the highest free range, and nothing after the hand-over",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Spaces]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    if !step.record.request.call.is_boot() || step.record.reply.answer == Answer::Unsupported {
        return Ok(());
    }
    let (request, answer) = (step.record.request, step.record.reply.answer);
    let is_late = answer == Answer::Refused(Refusal::TooLate);
    let get = |role| request.get(role).unwrap_or(0);
    let legal = match request.call {
        _ if is_late || !step.model.linux.is_early() => is_late != step.model.linux.is_early(),
        Call::MemblockReserve => may_reserve(step, get(Role::Phys), get(Role::Size)),
        Call::MemblockAlloc => may_alloc(step, get(Role::Size), get(Role::Align)),
        _ => true,
    };
    if legal { Ok(()) } else { Err(format!("{request:x?} was answered with {answer:x?}")) }
}

fn may_reserve(step: &Step, addr: u64, size: u64) -> bool {
    let model = step.model;
    let memory = model.book.layout().direct_start..=model.book.layout().direct_end;
    let end = addr.saturating_add(size);
    let is_range = size > 0 && memory.contains(&addr) && memory.contains(&end);
    let is_taken = is_range && model.book.overlapping(addr, end).is_some();
    match step.record.reply.answer {
        Answer::Done => is_range && !is_taken && model.book.nr_live() < NR_REGIONS,
        Answer::Refused(Refusal::BadArgument) => !is_range,
        Answer::Refused(Refusal::BootTaken) => is_taken || addr < model.boot_floor(),
        Answer::Refused(Refusal::BootRegions) => model.book.nr_live() == NR_REGIONS,
        _ => false,
    }
}

fn may_alloc(step: &Step, size: u64, align: u64) -> bool {
    let model = step.model;
    let is_bad = size == 0 || (align != 0 && !align.is_power_of_two());
    let place = || Want::of(&step.record.request).and_then(|want| model.highest_place(&want));
    // What the allocator keeps for itself at the bottom may be in the way.
    let is_low = |place: Option<u64>| place.is_none_or(|place| place < model.boot_floor());
    match step.record.reply.answer {
        Answer::Refused(Refusal::BadArgument) => is_bad,
        _ if is_bad => false,
        Answer::Memory { addr, .. } => {
            model.book.nr_live() < NR_REGIONS && (place() == Some(addr) || is_low(place()))
        }
        Answer::Refused(Refusal::BootMemory) => is_low(place()),
        Answer::Refused(Refusal::BootRegions) => model.book.nr_live() == NR_REGIONS,
        _ => false,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::model::Kind;
    use crate::oracle::fixture::{DIRECT, barks, enter, memory, model, record, silent};

    const END: u64 = DIRECT + 64 * 4096;
    const ALLOC: Request = ask::memblock_alloc(100, 64);

    #[test]
    fn barks_on_a_range_that_is_not_the_highest() {
        let mut model = model();
        silent(&ORACLE, &model, &record(ALLOC, memory(END - 128, 100)));
        barks(&ORACLE, &model, &record(ALLOC, memory(END - 192, 100)), "was answered");
        enter(&mut model, END - 128, 100, Kind::Boot, &[]);
        silent(&ORACLE, &model, &record(ALLOC, memory(END - 256, 100)));
        barks(&ORACLE, &model, &record(ALLOC, memory(END - 128, 100)), "was answered");
    }

    #[test]
    fn barks_on_a_spurious_refusal_and_silent_on_a_real_one() {
        let model = model();
        let refused = |request, refusal| record(request, Answer::Refused(refusal));
        let reserve = |addr, size| ask::memblock_reserve(addr, size);
        barks(&ORACLE, &model, &refused(ALLOC, Refusal::BootMemory), "was answered");
        barks(&ORACLE, &model, &refused(ALLOC, Refusal::BadArgument), "was answered");
        barks(&ORACLE, &model, &refused(ALLOC, Refusal::TooLate), "was answered");
        barks(&ORACLE, &model, &refused(reserve(END - 8, 8), Refusal::BootTaken), "was answered");
        let all = ask::memblock_alloc(64 * 4096, 1);
        silent(&ORACLE, &model, &refused(all, Refusal::BootMemory));
        let odd = ask::memblock_alloc(8, 3);
        silent(&ORACLE, &model, &refused(odd, Refusal::BadArgument));
        silent(&ORACLE, &model, &refused(reserve(END - 8, 9), Refusal::BadArgument));
        silent(&ORACLE, &model, &refused(reserve(DIRECT, 8), Refusal::BootTaken));
    }

    #[test]
    fn barks_on_two_holders_of_one_range() {
        let mut model = model();
        enter(&mut model, END - 128, 100, Kind::Boot, &[]);
        let both = ask::memblock_reserve(END - 29, 8);
        barks(&ORACLE, &model, &record(both, Answer::Done), "was answered");
        silent(&ORACLE, &model, &record(both, Answer::Refused(Refusal::BootTaken)));
    }

    #[test]
    fn barks_on_anything_but_too_late_after_the_hand_over() {
        let mut model = model();
        model.hand_over();
        barks(&ORACLE, &model, &record(ALLOC, memory(END - 128, 100)), "was answered");
        silent(&ORACLE, &model, &record(ALLOC, Answer::Refused(Refusal::TooLate)));
    }
}
