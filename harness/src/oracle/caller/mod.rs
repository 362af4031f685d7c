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
use crate::model::Allocation;
use crate::subject::{Caps, Pack};

pub(super) const ORACLE: Oracle = Oracle {
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
            let (request, model) = (&step.record.request, step.model);
            let held = request.address().and_then(|addr| model.at(addr));
            let right = held.map(Allocation::right_free).map(|free| free.spec().name);
            match objection(request, step.record.reply, About { maker: None, right }) {
                Some((rule, says)) => broken(rule, &says),
                None => Ok(()),
            }
        }
        Event::Overrun { .. } => broken(Rule::OutOfBounds, "it writes beyond what it asked for"),
        Event::Stray => broken(Rule::NoAddress, "it writes where no memory of its own is"),
        Event::Left { request } => {
            let what = if request.cache().is_some() && request.freed().is_empty() {
                "a cache is not destroyed"
            } else {
                "memory is not freed"
            };
            broken(Rule::Leak, &format!("{what}: {request:?} would be right"))
        }
        _ => Ok(()),
    }
}
