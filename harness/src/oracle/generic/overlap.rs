//! Overlap: no byte of granted memory belongs to live memory, by address or by page frame.
//!
//! Two allocations can meet in two ways. Their addresses can meet, and two addresses can show the
//! same frame, since the direct map shows what the vmalloc space maps.
//!
//! What the bytes hold is the business of `contents`.

use crate::model::{Allocation, Granted, Kind};
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::subject::{Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "overlap",
    sentence: "granted memory shares no address and no page frame with live memory",
    pack: Pack::Generic,
    needs: Caps::NONE,
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    for (piece, granted) in step.record.grants().enumerate() {
        // What stays may have grown in place; a heap may also move a block over what it was.
        if granted.is_memory() && matches!(granted.kind, Kind::Heap { .. }) {
            beside(step, granted)?;
        } else if granted.is_memory() && !granted.stays {
            apart(step, granted)?;
            let Granted { addr, usable, .. } = granted;
            let end = |at: u64, usable| at.saturating_add(usable);
            let meets =
                |one: &Granted| one.addr < end(addr, usable) && addr < end(one.addr, one.usable);
            if let Some(one) = step.record.grants().take(piece).find(meets) {
                return Err(format!(
                    "{addr:#x}+{usable:#x} meets {:#x}+{:#x}, given by the same call",
                    one.addr, one.usable
                ));
            }
        }
    }
    Ok(())
}

/// A block of a heap lies apart from all live memory but what it replaces.
fn beside(Step { model, record, .. }: &Step, granted: Granted) -> Judgement {
    let Granted { addr, usable, .. } = granted;
    let own = record.request.replaced();
    meets(granted, model.book.overlapping_beside(own, addr, addr.saturating_add(usable)))
}

fn meets(granted: Granted, other: Option<&Allocation>) -> Judgement {
    let Some(other) = other else { return Ok(()) };
    Err(format!(
        "{:#x}+{:#x} meets {:#x}+{:#x}, live since op {}",
        granted.addr, granted.usable, other.addr, other.usable, other.id
    ))
}

/// A piece of memory lies apart from all live memory.
fn apart(Step { model, record, .. }: &Step, granted: Granted) -> Judgement {
    let Granted { addr, usable, kind, .. } = granted;
    meets(granted, model.book.overlapping(addr, addr.saturating_add(usable)))?;
    if let Some(frame) = record.frames.iter().find(|frame| model.book.is_frame_taken(**frame, kind))
    {
        return Err(format!("{addr:#x}+{usable:#x} shows frame {frame}, which is in use"));
    }
    match twice(&record.frames).filter(|_| kind == Kind::Vmalloc) {
        Some(frame) => Err(format!("{addr:#x}+{usable:#x} shows frame {frame} twice")),
        None => Ok(()),
    }
}

/// A frame that stands twice in a list.
fn twice(frames: &[u32]) -> Option<u32> {
    // Most areas are small, and their frames often in order.
    if frames.is_sorted_by(|one, next| one < next) {
        return None;
    }
    let mut sorted = frames.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{List, Request, ask};
    use crate::model::Kind;
    use crate::oracle::fixture::{DIRECT, VMALLOC, barks, enter, memory, model, record, silent};
    use crate::subject::Answer;
    use crate::words::CacheHandle;
    use crate::words::gfp::GFP_KERNEL;

    const KMALLOC: Request = ask::kmalloc(64, GFP_KERNEL);
    const AREA: Request = ask::vmalloc(8192);

    #[test]
    fn barks_on_addresses_that_meet() {
        let mut model = model();
        enter(&mut model, DIRECT + 64, 64, Kind::Kmalloc, &[0]);
        for addr in [DIRECT + 8, DIRECT + 64, DIRECT + 120] {
            barks(&ORACLE, &model, &record(KMALLOC, memory(addr, 64)), "meets");
        }
    }

    #[test]
    fn barks_on_pieces_of_one_answer_that_meet() {
        let request = ask::kmem_cache_alloc(CacheHandle(1), GFP_KERNEL);
        let answer =
            |addrs: &[u64]| record(request, Answer::Several { addrs: List::of(addrs), usable: 64 });
        silent(&ORACLE, &model(), &answer(&[DIRECT, DIRECT + 64, DIRECT + 128]));
        barks(&ORACLE, &model(), &answer(&[DIRECT, DIRECT + 64, DIRECT]), "same call");
        barks(&ORACLE, &model(), &answer(&[DIRECT, DIRECT + 128, DIRECT + 160]), "same call");
    }

    #[test]
    fn barks_on_a_frame_shown_twice() {
        let mut model = model();
        enter(
            &mut model,
            DIRECT + 5 * 4096,
            4096,
            Kind::Pages { order: 0, is_compound: false },
            &[5],
        );
        let mut area = record(AREA, memory(VMALLOC, 8192));
        area.frames = vec![4, 5];
        barks(&ORACLE, &model, &area, "in use");
        area.frames = vec![4, 4];
        barks(&ORACLE, &model, &area, "twice");
        let mut area = record(ask::vmalloc(50 * 4096), memory(VMALLOC, 50 * 4096));
        area.frames = (6..55).rev().chain([30]).collect();
        barks(&ORACLE, &model, &area, "shows frame 30 twice");
    }

    #[test]
    fn barks_on_a_block_that_grew_into_another_and_not_on_one_moved_over_itself() {
        let mut model = model();
        enter(&mut model, DIRECT + 64, 64, Kind::Heap { align: 8 }, &[]);
        enter(&mut model, DIRECT + 192, 64, Kind::Heap { align: 8 }, &[]);
        let grown = |addr, size| record(ask::realloc(DIRECT + 64, size), memory(addr, size));
        silent(&ORACLE, &model, &grown(DIRECT + 64, 128));
        silent(&ORACLE, &model, &grown(DIRECT, 128));
        barks(&ORACLE, &model, &grown(DIRECT + 64, 129), "meets");
        barks(&ORACLE, &model, &grown(DIRECT + 128, 128), "meets");
        barks(&ORACLE, &model, &record(ask::alloc(64, 8), memory(DIRECT + 64, 64)), "meets");
    }

    #[test]
    fn barks_on_a_block_one_byte_into_another() {
        let mut model = model();
        enter(&mut model, DIRECT + 63, 8, Kind::Heap { align: 1 }, &[]);
        barks(&ORACLE, &model, &record(ask::alloc(8, 8), memory(DIRECT + 64, 8)), "meets");
    }

    #[test]
    fn silent_on_neighbours() {
        let mut model = model();
        enter(&mut model, DIRECT + 64, 64, Kind::Kmalloc, &[0]);
        for addr in [DIRECT, DIRECT + 128] {
            let mut record = record(KMALLOC, memory(addr, 64));
            record.frames = vec![0];
            silent(&ORACLE, &model, &record);
        }
    }
}
