//! What Linux asks of calling code: a lane that claims it runs a trace that is a caller.
//!
//! The other packs judge the allocator, for which a wrong free that is refused is right. Here the
//! same answer is the caller's mistake, on the route on which it happens. What the harness would
//! have to free for the caller is a leak.

mod judge;
mod rule;

pub(crate) use judge::{About, objection, warned_of};
pub use rule::{RULES, Rule};

use super::{Event, Judgement, Oracle, Step};
use crate::call::{Call, Family, Frees, Request};
use crate::lane::{Record, Retry};
use crate::model::linux::kvmalloc::Policy;
use crate::model::{Allocation, Kind, Via};
use crate::subject::{Answer, Caps, Pack};
use crate::words::PAGE;

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
        Event::Step(step) => match mistake(step) {
            Some((rule, says)) => broken(rule, &says),
            None => Ok(()),
        },
        Event::Overrun(_) => broken(Rule::OutOfBounds, "it writes beyond what it asked for"),
        Event::Stray => broken(Rule::NoAddress, "it writes where no memory of its own is"),
        Event::Destroyed => broken(Rule::UseAfterFree, "it names a cache that it has destroyed"),
        Event::Left([request, ..]) => {
            let (rule, what) = match request.spec().family {
                Family::Scopes => (Rule::OpenScope, "a scope is not left"),
                _ if request.spec().frees == Frees::Destroy => {
                    (Rule::Leak, "a cache is not destroyed")
                }
                _ => (Rule::Leak, "memory is not freed"),
            };
            broken(rule, &format!("{what}: {request:?} would be right"))
        }
        _ => Ok(()),
    }
}

/// What a caller does wrong by a request.
fn mistake(step: &Step) -> Option<(Rule, String)> {
    let Record { request, freeing, retry, reply, .. } = step.record;
    // Who waits may be served when others free; who still waits when all is free may not.
    let waits = matches!(reply.answer, Answer::WouldBlock(_));
    if waits && *retry != Some(Retry::Alone) {
        return None;
    }
    let about = freeing.map(|freeing| freeing.addr).or(request.address());
    let held = about.and_then(|addr| step.model.book.at(addr));
    let policy = step.model.linux.policy();
    if freeing.is_some() && held.is_some_and(|held| is_foreign(request, held.via, policy)) {
        return Some((Rule::WrongFree, foreign(request)));
    }
    let about = About {
        maker: None,
        right: held.map(Allocation::right_free).map(|free| free.spec().name),
        is_bold: held.is_some_and(|held| {
            (held.via, held.kind) == (Via::Kvmalloc, Kind::Vmalloc) && held.size <= PAGE
        }),
        context: step.record.caller.context,
    };
    let warned = || warned_of(step.record.want.as_ref()?, policy, reply.answer);
    objection(request, *reply, about).or_else(warned)
}

/// Whether a free is not for memory that came by such a call (R1.14).
fn is_foreign(request: &Request, via: Via, policy: &Policy) -> bool {
    match request.call {
        Call::KfreeNolock => via != Via::Nolock,
        _ => via == Via::Nolock && policy.is_before("latest"),
    }
}

/// What is wrong with freeing memory of others without a lock, and theirs with one: who watches
/// memory is told of one of both calls only (R1.14).
pub(crate) fn foreign(request: &Request) -> String {
    let what = match request.call {
        Call::KfreeNolock => "did not give; Linux: kmemleak and KFENCE miss it",
        _ => "gave; Linux: kmemleak does not know it",
    };
    format!("{request:?} of what kmalloc_nolock {what}")
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::lane::Overrun;
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
        assert!(judge(&Event::Overrun(Overrun::NoSlack)).is_err());
        assert!(judge(&Event::Destroyed).is_err());
        let left = judge(&Event::Left(&[ask::kfree(DIRECT)]));
        assert!(left.is_err_and(|reason| reason.contains("leak")));
        let open = judge(&Event::Left(&[ask::memalloc_nofs_restore()]));
        assert!(open.is_err_and(|reason| reason.contains("open-scope")));
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
