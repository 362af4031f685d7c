//! Conversions: the frame that a conversion names is the one behind the address, and an address
//! that it does not apply to is refused.
//!
//! The kernel's conversions compute, and on the wrong kind of address they yield a wrong frame
//! (R7). What is right is known without asking the allocator: the lane has looked the address up in
//! the machine's own page table.
//!
//! Whether the memory behind the address is live is no question here, but for one thing: a live
//! area shows frames that the book has as taken.

use crate::lane::Record;
use crate::model::{Kind, Model};
use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::Answer;
use crate::subject::{Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "conversion",
    sentence: "a conversion names the frame behind the address, or is refused, and changes nothing",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Frames, Cap::Spaces]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let (model, record) = (step.model, step.record);
    let Some(addr) = record.request.converted() else { return Ok(()) };
    let request = record.request;
    let expected = model.convert(request.call, addr, record.frames.first().copied());
    let actual = record.reply.answer;
    if actual != expected && actual != Answer::Unsupported {
        return Err(format!("{request:?}: expected {expected:?}, got {actual:?}"));
    }
    if record.before != record.after {
        return Err(format!("{request:?} changed the counters"));
    }
    is_live_mapped(model, record, addr)
}

/// Every page of a live area but its guard is mapped, to a frame that is in use.
fn is_live_mapped(model: &Model, record: &Record, addr: u64) -> Judgement {
    let Some(held) = model.book.containing(addr).filter(|held| held.kind == Kind::Vmalloc) else {
        return Ok(());
    };
    let is_guard = addr >= held.addr + held.usable;
    match record.frames.first() {
        None if is_guard => Ok(()),
        Some(&frame) if !is_guard && model.book.is_frame_taken(frame, Kind::Vmalloc) => Ok(()),
        frame => Err(format!("{addr:#x}, in area {:#x}, shows frame {frame:?}", held.addr)),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::oracle::fixture::{DIRECT, VMALLOC, barks, enter, model, record, silent};

    fn book() -> Model {
        let mut model = model();
        enter(&mut model, VMALLOC, 5000, Kind::Vmalloc, &[8, 9]);
        model
    }

    /// A conversion, the frame behind its address, and the only answer that is right.
    fn rows() -> Vec<(Request, Option<u32>, Answer)> {
        let (kept, mapped, guard) = (DIRECT + 0x5010, VMALLOC + 0x1008, VMALLOC + 0x2000);
        let instead = Answer::WrongKind(Some("vmalloc_to_page"));
        vec![
            (ask::is_vmalloc_addr(guard), None, Answer::Flag(true)),
            (ask::is_vmalloc_addr(VMALLOC + 64 * 4096 - 1), None, Answer::Flag(false)),
            (ask::virt_addr_valid(kept), Some(5), Answer::Flag(true)),
            (ask::virt_addr_valid(mapped), Some(9), Answer::Flag(false)),
            (ask::virt_to_page(kept), Some(5), Answer::Frame(5)),
            (ask::virt_to_page(mapped), Some(9), instead),
            (ask::virt_to_page(guard), None, Answer::WrongKind(None)),
            (ask::virt_to_phys(kept), Some(5), Answer::Phys(0x5010)),
            (ask::virt_to_phys(mapped), Some(9), instead),
            (ask::vmalloc_to_page(mapped), Some(9), Answer::Frame(9)),
            (ask::vmalloc_to_page(kept), Some(5), Answer::Frame(5)),
            (ask::vmalloc_to_page(16), None, Answer::WrongKind(None)),
            (ask::page_address(mapped), Some(9), Answer::Address(DIRECT + 0x9000)),
            (ask::page_address(0), None, Answer::WrongKind(None)),
        ]
    }

    fn seen(request: Request, frame: Option<u32>, answer: Answer) -> Record {
        Record { frames: frame.into_iter().collect(), ..record(request, answer) }
    }

    #[test]
    fn silent_on_the_frame_behind_the_address() {
        for (request, frame, answer) in rows() {
            silent(&ORACLE, &book(), &seen(request, frame, answer));
        }
    }

    #[test]
    fn barks_on_every_other_answer() {
        for (request, frame, right) in rows() {
            let wrong = [Answer::Frame(63), Answer::Phys(7), Answer::Flag(true), Answer::Done];
            for other in wrong.into_iter().filter(|other| *other != right) {
                barks(&ORACLE, &book(), &seen(request, frame, other), "expected");
            }
        }
    }

    #[test]
    fn barks_on_a_live_area_with_a_page_missing() {
        let request = ask::is_vmalloc_addr(VMALLOC);
        barks(&ORACLE, &book(), &seen(request, None, Answer::Flag(true)), "shows frame");
        barks(&ORACLE, &book(), &seen(request, Some(3), Answer::Flag(true)), "shows frame");
    }

    #[test]
    fn barks_on_a_conversion_that_changed_something() {
        let request = ask::virt_to_page(DIRECT);
        let mut changed = seen(request, Some(0), Answer::Frame(0));
        changed.after_mut().nr_free_pages -= 1;
        barks(&ORACLE, &book(), &changed, "changed");
    }
}
