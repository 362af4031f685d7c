//! What Linux asks of calling code: a lane that claims it runs a trace that is a caller.
//!
//! The other packs judge the allocator, for which a wrong free that is refused is right. Here the
//! same answer is the caller's mistake, on the route on which it happens. What the harness would
//! have to free for the caller is a leak.

mod judge;
mod rule;

pub(crate) use judge::{About, objection};
pub use rule::{RULES, Rule};

use super::{Event, Judgement, Oracle};
use crate::call::{Call, Frees, Request};
use crate::lane::{Record, Retry};
use crate::model::{Allocation, Via};
use crate::subject::{Answer, Caps, Pack};

pub(crate) const ORACLE: Oracle = Oracle {
    name: "caller",
    sentence: "calling code keeps what Linux asks of it, on every route",
    pack: Pack::Caller,
    needs: Caps::NONE,
    judge,
};

fn judge(event: &Event) -> Judgement {
    let broken = |rule: Rule, says: &str| Err(format!("{}: {says}", rule.name()));
    match event {
        Event::Step(step) => {
            let Record { request, freeing, retry, .. } = step.record;
            // Who waits may be served when others free; who still waits when all is free may not.
            let waits = matches!(step.record.reply.answer, Answer::WouldBlock(_));
            if waits && *retry != Some(Retry::Alone) {
                return Ok(());
            }
            let about = freeing.map(|freeing| freeing.addr).or(request.address());
            let held = about.and_then(|addr| step.model.book.at(addr));
            let is_nolock = request.call == Call::KfreeNolock;
            let is_foreign = held.is_some_and(|held| (held.via == Via::Nolock) != is_nolock);
            if freeing.is_some() && is_foreign {
                return broken(Rule::WrongFree, &foreign(request));
            }
            let right = held.map(Allocation::right_free).map(|free| free.spec().name);
            match objection(request, step.record.reply, About { maker: None, right }) {
                Some((rule, says)) => broken(rule, &says),
                None => Ok(()),
            }
        }
        Event::Overrun { .. } => broken(Rule::OutOfBounds, "it writes beyond what it asked for"),
        Event::Stray => broken(Rule::NoAddress, "it writes where no memory of its own is"),
        Event::Left([request, ..]) => {
            let is_cache = request.spec().frees == Frees::Destroy;
            let what = if is_cache { "a cache is not destroyed" } else { "memory is not freed" };
            broken(Rule::Leak, &format!("{what}: {request:?} would be right"))
        }
        _ => Ok(()),
    }
}

/// What is wrong with freeing memory of others without a lock, and theirs with one: who watches
/// memory is told of one of both calls only (R1.14).
pub(crate) fn foreign(request: &Request) -> String {
    let what = match request.call {
        Call::KfreeNolock => "did not give; Linux: kmemleak and KFENCE miss it",
        _ => "gave; Linux: kmemleak and KFENCE do not know it",
    };
    format!("{request:?} of what kmalloc_nolock {what}")
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::model::Kind;
    use crate::op::Class;
    use crate::oracle::fixture::{DIRECT, barks, enter, model, record, silent};
    use crate::subject::{FreeRefusal, Refusal};
    use crate::words::gfp::GFP_KERNEL;

    #[test]
    fn barks_on_a_refused_free_and_says_what_would_be_right() {
        let mut model = model();
        enter(&mut model, DIRECT, 64, Kind::Kmalloc, &[0]);
        let refused =
            FreeRefusal { verdict: Class::WrongAllocator, right: None, on_linux: Some("oopses") };
        let wrong = record(ask::vfree(DIRECT), Answer::BadFree(refused));
        barks(&ORACLE, &model, &wrong, "kfree would be right; Linux oopses");
    }

    #[test]
    fn barks_on_memory_of_kmalloc_that_is_freed_without_a_lock() {
        let mut model = model();
        enter(&mut model, DIRECT, 64, Kind::Kmalloc, &[0]);
        let freed = record(ask::kfree_nolock(DIRECT), Answer::Done);
        barks(&ORACLE, &model, &freed, "kmalloc_nolock did not give");
        silent(&ORACLE, &model, &record(ask::kfree_nolock(0), Answer::Done));
    }

    #[test]
    fn barks_on_what_linux_warns_of_and_on_what_is_left() {
        let refused = |refusal| record(ask::kmalloc(64, GFP_KERNEL), Answer::Refused(refusal));
        barks(&ORACLE, &model(), &refused(Refusal::BadContext), "may sleep");
        barks(&ORACLE, &model(), &refused(Refusal::Deadlock { order: 0 }), "exhaustion");
        assert!(judge(&Event::Stray).is_err());
        assert!(judge(&Event::Overrun { seen: None }).is_err());
        let left = judge(&Event::Left(&[ask::kfree(DIRECT)]));
        assert!(left.is_err_and(|reason| reason.contains("leak")));
        assert_eq!(judge(&Event::Left(&[])), Ok(()));
    }

    #[test]
    fn silent_on_a_right_free_and_on_a_request_that_is_not_served() {
        let mut model = model();
        enter(&mut model, DIRECT, 64, Kind::Kmalloc, &[0]);
        silent(&ORACLE, &model, &record(ask::kfree(DIRECT), Answer::Done));
        let short = Answer::Refused(Refusal::Pages { order: 0 });
        silent(&ORACLE, &model, &record(ask::kmalloc(64, GFP_KERNEL), short));
    }
}
