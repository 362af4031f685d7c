//! Patience: a request that must not fail is served, told to wait, or told why it never can be.
//!
//! How long a wait may take is judged where the shortage can be seen.

use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Answer, Cap, Caps, Pack, Refusal};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "patience",
    sentence: "a request that must not fail is not refused for want of something",
    pack: Pack::Generic,
    needs: Caps::of(&[Cap::Waiting]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    if !step.record.want.is_some_and(|want| want.is_nofail()) {
        return Ok(());
    }
    match step.record.reply.answer {
        Answer::Refused(
            refusal @ (Refusal::Pages { .. }
            | Refusal::VmallocSpace
            | Refusal::Range
            | Refusal::Mapping
            | Refusal::Injected),
        ) => Err(format!("{:?} must not fail: {refusal:?}", step.record.request)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::oracle::fixture::{barks, model, record, silent};
    use crate::words::gfp::{__GFP_NOFAIL, GFP_KERNEL};

    #[test]
    fn barks_on_a_promise_that_is_broken() {
        let short = Answer::Refused(Refusal::Pages { order: 0 });
        let must = ask::kmalloc(8, GFP_KERNEL | __GFP_NOFAIL);
        barks(&ORACLE, &model(), &record(must, short), "must not fail");
        silent(&ORACLE, &model(), &record(ask::kmalloc(8, GFP_KERNEL), short));
        silent(&ORACLE, &model(), &record(must, Answer::WouldBlock(Refusal::Pages { order: 0 })));
        silent(&ORACLE, &model(), &record(must, Answer::Refused(Refusal::ImpossibleNofail)));
    }
}
