//! What is wrong with a call, as far as its answer shows it, and what Linux makes of it.
//!
//! A request that is refused for want of memory is no mistake: the caller has to live with it.

use super::rule::Rule;
use crate::call::{Family, Request};
use crate::op::Class;
use crate::subject::{Answer, FreeRefusal, Refusal, Reply};

/// The memory that a request is about, as its caller knows it, by the C names of calls.
#[derive(Clone, Copy, Default)]
pub(crate) struct About {
    /// What made it.
    pub(crate) maker: Option<&'static str>,
    /// What should free it.
    pub(crate) right: Option<&'static str>,
}

/// The rule that a request breaks, by what it was answered, and what it does.
pub(crate) fn objection(request: &Request, reply: Reply, about: About) -> Option<(Rule, String)> {
    let name = request.spec().name;
    Some(match reply.answer {
        Answer::BadFree(refusal) => wrong_free(request, refusal, about),
        Answer::WrongKind(right) => {
            let says = format!("{request:?}: it is not for such an address{}", instead(right));
            (Rule::WrongConversion, says)
        }
        Answer::Busy(nr) => {
            let says = format!("{name} of a cache with {nr} live objects; Linux: WARN");
            (Rule::BusyCache, says)
        }
        Answer::WouldBlock(_) => (Rule::Hang, format!("{request:?} waits for ever")),
        // What happens to the machine is no call of the caller's.
        Answer::Unsupported if request.spec().family == Family::World => return None,
        Answer::Unsupported => (Rule::Arguments, format!("the machine has no {name}")),
        Answer::Refused(refusal) => refused(request, refusal, reply.effort.nr_warnings > 0)?,
        _ => return None,
    })
}

fn wrong_free(request: &Request, refusal: FreeRefusal, about: About) -> (Rule, String) {
    let rule = match refusal.verdict {
        Class::DoubleFree => Rule::DoubleFree,
        Class::BadContext => Rule::Context,
        _ => Rule::WrongFree,
    };
    // The allocator knows what the memory is; the caller has to know how it asked for it.
    let right = about.right.or(refusal.right).filter(|_| rule == Rule::WrongFree);
    let of = about.maker.map(|maker| format!(", of memory of {maker}")).unwrap_or_default();
    let on_linux = refusal.on_linux.map(|verb| format!("; Linux {verb}")).unwrap_or_default();
    let (what, right) = (refusal.verdict.name(), instead(right));
    (rule, format!("{request:?}{of}: {what}{right}{on_linux}"))
}

fn refused(request: &Request, refusal: Refusal, is_warned_of: bool) -> Option<(Rule, String)> {
    Some(match refusal.class() {
        Class::BadContext => {
            let why = "sleeping function called from invalid context";
            (Rule::Context, format!("{request:?} may sleep; Linux: BUG '{why}'"))
        }
        Class::Unbalanced => {
            (Rule::OpenScope, format!("{request:?} without its own save as the innermost"))
        }
        Class::Deadlock => {
            let why = "Out of memory and no killable processes";
            (Rule::Exhaustion, format!("{request:?}; Linux: panic '{why}'"))
        }
        Class::TooLarge | Class::ZeroSize if is_warned_of && !is_only_logged(request) => {
            (Rule::Warning, format!("{request:?} can never be served; Linux: WARN"))
        }
        class @ (Class::BadArgument | Class::ImpossibleNofail | Class::TooLate) => {
            (Rule::Arguments, format!("{request:?}: {}", class.name()))
        }
        _ => return None,
    })
}

/// Whether a request that is too large for the machine is told in the log, and not by a backtrace:
/// `vmalloc error: size …, exceeds total pages`.
fn is_only_logged(request: &Request) -> bool {
    match request.spec().family {
        Family::Vmalloc => request.bytes() > 0,
        Family::Kvmalloc => request.bytes() <= i32::MAX as u64,
        _ => false,
    }
}

/// The call that would have been right, as a part of a sentence.
fn instead(right: Option<&str>) -> String {
    right.map(|right| format!(", {right} would be right")).unwrap_or_default()
}
