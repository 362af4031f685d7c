//! Huge: an area that may have huge pages has them whenever they are there, each in one piece.
//!
//! A huge page shows in the frames. An area that was rounded up to huge pages must lie in blocks of
//! 512 frames (R4.12); and where such blocks were plainly free, above the watermark and with room
//! for the area, an area of small pages is a fault too: its owner pays for page tables that it was
//! not to need.
//!
//! Sizes and places are judged in `contract`.

use super::situation;
use crate::oracle::{Event, Judgement, Oracle};
use crate::relaxation::Relaxation;
use crate::subject::Answer;
use crate::subject::{Cap, Caps, Pack};
use crate::words::PAGE;

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "huge",
    sentence: "huge pages are contiguous, and used whenever they are allowed and there",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Frames, Cap::Spaces]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let (Some(want), Answer::Memory { addr, usable, .. }) =
        (&step.record.want, step.record.reply.answer)
    else {
        return Ok(());
    };
    let huge = step.model.linux.policy().huge_pages(want);
    let Some(nr_pages) = huge.filter(|_| step.model.book.is_vmalloc(addr)) else { return Ok(()) };
    if situation::is_misused(step, want) {
        return Err(format!("{:?} was granted; the free of compound pages goes wrong", want.gfp));
    }
    let size = want.size.unwrap_or(0);
    if step.record.has_huge_pages() {
        Ok(())
    } else if usable - size >= PAGE {
        Err(format!("{addr:#x}+{usable:#x} was rounded to huge pages; its frames lie apart"))
    } else if situation::situation(step, want).has_huge_pages(want, nr_pages) {
        Err(format!(
            "{addr:#x}+{usable:#x} has small pages; free before: {} pages {:?}",
            step.record.before.nr_free_pages, step.record.before.nr_free_blocks
        ))
    } else {
        step.relaxed.by(Relaxation::SmallPages);
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::super::contract;
    use super::*;
    use crate::call::ask;
    use crate::lane::Record;
    use crate::model::Want;
    use crate::oracle::fixture::{VMALLOC, barks, memory, model_with, record, silent};
    use crate::subject::Refusal;
    use crate::trace::Machine;
    use crate::words::gfp::{__GFP_COMP, GFP_KERNEL};
    use crate::words::{HUGE_PAGE, Route};

    const GFP: crate::words::gfp::Gfp = GFP_KERNEL;

    fn model() -> crate::model::Model {
        model_with(4096, &Machine::default())
    }

    fn granted(size: u64, usable: u64, first_frame: u32) -> Record {
        let request = ask::vmalloc_huge(size, GFP);
        let mut granted = record(request, memory(VMALLOC, usable));
        let last = first_frame + (usable / PAGE) as u32;
        granted.frames = (first_frame..last).collect();
        granted.before_mut().nr_free_pages = 2048;
        granted
    }

    #[test]
    fn barks_on_a_rounded_area_whose_frames_lie_apart() {
        barks(&ORACLE, &model(), &granted(HUGE_PAGE + 1, 2 * HUGE_PAGE, 513), "apart");
        let mut torn = granted(HUGE_PAGE + 1, 2 * HUGE_PAGE, 512);
        torn.frames.swap(7, 8);
        barks(&ORACLE, &model(), &torn, "apart");
    }

    #[test]
    fn barks_on_small_pages_although_there_are_huge_ones() {
        let mut small = granted(HUGE_PAGE, HUGE_PAGE, 513);
        small.before_mut().nr_free_blocks[9] = 2;
        barks(&ORACLE, &model(), &small, "small pages");
        small.request = ask::kvmalloc(HUGE_PAGE, GFP).by(Route::Vmalloc);
        small.want = Want::of(&small.request);
        barks(&ORACLE, &model(), &small, "small pages");
        // Until 5.17 kvmalloc had none (R5.7).
        silent(
            &ORACLE,
            &model_with(
                4096,
                &Machine { policy: Machine::policy_named("v5.17"), ..Machine::default() },
            ),
            &small,
        );
    }

    #[test]
    fn barks_on_compound_pages_in_a_huge_area() {
        let mut compound = granted(HUGE_PAGE, HUGE_PAGE, 512);
        silent(&ORACLE, &model(), &compound);
        let gfp = GFP | __GFP_COMP;
        compound.request = ask::vmalloc_huge(HUGE_PAGE, gfp);
        compound.want = Want::of(&compound.request);
        barks(&ORACLE, &model(), &compound, "compound");
        let refused = record(compound.request, Answer::Refused(Refusal::BadArgument));
        silent(&contract::ORACLE, &model(), &refused);
        // The pages of a small area are single ones.
        let small = record(ask::vmalloc_huge(PAGE, gfp), Answer::Refused(Refusal::BadArgument));
        barks(&contract::ORACLE, &model(), &small, "without need");
    }

    #[test]
    fn silent_on_huge_pages_and_on_small_ones_where_no_others_are() {
        silent(&ORACLE, &model(), &granted(HUGE_PAGE + 1, 2 * HUGE_PAGE, 512));
        let mut small = granted(HUGE_PAGE, HUGE_PAGE, 513);
        small.before_mut().nr_free_blocks[9] = 1;
        silent(&ORACLE, &model(), &small);
        let mut plain = granted(HUGE_PAGE, HUGE_PAGE, 513);
        plain.before_mut().nr_free_blocks[9] = 3;
        plain.request = ask::vmalloc(HUGE_PAGE);
        plain.want = Want::of(&plain.request);
        silent(&ORACLE, &model(), &plain);
    }
}
