//! What is wrong with a call, as far as its answer shows it, and what Linux makes of it.
//!
//! A request that is refused for want of memory is no mistake: the caller has to live with it.

use super::misuse::{Misuse, Rule};
use crate::call::{CallSpec, Family, Request, Role};
use crate::op::Class;
use crate::subject::{Answer, FreeRefusal, Refusal, Reply};

/// The mistake that a request is, by what it was answered. `about` is the call that made the memory
/// that it names.
pub(super) fn objection(
    request: &Request,
    reply: Reply,
    about: Option<&'static CallSpec>,
) -> Option<Misuse> {
    let name = request.spec().name;
    let (rule, says) = match reply.answer {
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
        Answer::Unsupported => (Rule::Arguments, format!("the machine has no {name}")),
        Answer::Refused(refusal) => refused(request, refusal, reply.effort.nr_warnings > 0)?,
        _ => return None,
    };
    Some(Misuse::new(rule, says))
}

fn wrong_free(
    request: &Request,
    refusal: FreeRefusal,
    about: Option<&'static CallSpec>,
) -> (Rule, String) {
    let rule = match refusal.verdict {
        Class::DoubleFree => Rule::DoubleFree,
        Class::BadContext => Rule::Context,
        _ => Rule::WrongFree,
    };
    // The allocator knows what the memory is; the caller has to know how it asked for it.
    let as_asked = about.and_then(|maker| maker.freed_by.first()).map(|free| free.spec().name);
    let right = if rule == Rule::WrongFree { as_asked.or(refusal.right) } else { None };
    let of = about.map(|maker| format!(", of memory of {}", maker.name)).unwrap_or_default();
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
    let size = request.size().unwrap_or(0);
    let bytes = size.saturating_mul(request.get(Role::Count).unwrap_or(1));
    match request.spec().family {
        Family::Vmalloc => bytes > 0,
        Family::Kvmalloc => bytes <= i32::MAX as u64,
        _ => false,
    }
}

/// The call that would have been right, as a part of a sentence.
fn instead(right: Option<&str>) -> String {
    right.map(|right| format!(", {right} would be right")).unwrap_or_default()
}
