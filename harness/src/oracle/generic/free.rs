//! Free: what the caller may free is freed, and a wrong free is not done.
//!
//! How a refusal is worded is the allocator's choice. One that does not refuse wrong frees is never
//! given one.

use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Answer, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "free",
    sentence: "a right free is done, and a wrong one is not",
    pack: Pack::Generic,
    needs: Caps::NONE,
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let record = step.record;
    // A reallocation may be refused for want of memory.
    let Some(freeing) = record.freeing.filter(|_| record.want.is_none()) else { return Ok(()) };
    let is_right = freeing.is_right();
    match record.reply.answer {
        Answer::Unsupported => Ok(()),
        Answer::Done if is_right => Ok(()),
        Answer::BadFree(_) | Answer::Refused(_) if !is_right => Ok(()),
        answer if is_right => {
            Err(format!("{:?} is right, and was answered with {answer:?}", record.request))
        }
        answer => Err(format!("{:?} is wrong, and was answered with {answer:?}", record.request)),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::model::Kind;
    use crate::op::Class;
    use crate::oracle::fixture::{DIRECT, barks, enter, model, record, silent};
    use crate::subject::FreeRefusal;

    #[test]
    fn barks_on_a_right_free_refused_and_a_wrong_one_done() {
        let mut model = model();
        enter(&mut model, DIRECT, 64, Kind::Kmalloc, &[0]);
        let refused =
            Answer::BadFree(FreeRefusal { verdict: Class::Wild, right: None, on_linux: None });
        for (addr, right, wrong) in
            [(DIRECT, Answer::Done, refused), (DIRECT + 8, refused, Answer::Done)]
        {
            silent(&ORACLE, &model, &record(ask::kfree(addr), right));
            barks(&ORACLE, &model, &record(ask::kfree(addr), wrong), "kfree");
        }
        silent(&ORACLE, &model, &record(ask::kfree(0), Answer::Done));
    }
}
