//! What is wrong with a call, as far as its answer shows it, and what Linux makes of it.
//!
//! A request that is refused for want of memory is no mistake: the caller has to live with it.

use super::rule::Rule;
use crate::call::{Family, Makes, Request};
use crate::model::linux::kvmalloc::Policy;
use crate::model::linux::rules::KMALLOC_MAX_CACHE;
use crate::model::{Interface, Want};
use crate::op::Class;
use crate::subject::{Answer, FreeRefusal, Refusal, Reply};
use crate::words::{Context, order_of};

/// What a request is about, as its caller knows it, with calls by their C names.
#[derive(Clone, Copy, Default)]
pub(crate) struct About {
    /// What made the memory that it names.
    pub(crate) maker: Option<&'static str>,
    /// What should free it.
    pub(crate) right: Option<&'static str>,
    /// Whether it is so small a piece of kvmalloc's that only the boldest of routes maps it.
    pub(crate) is_bold: bool,
    /// Where the request is made.
    pub(crate) context: Context,
}

/// The rule that a request breaks, by what it was answered, and what it does.
pub(crate) fn objection(request: &Request, reply: Reply, about: About) -> Option<(Rule, String)> {
    let name = request.spec().name;
    let (rule, mut says) = match reply.answer {
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
        Answer::Refused(refusal) => {
            refused(request, refusal, about.context, reply.effort.nr_warnings > 0)?
        }
        _ => return None,
    };
    if about.is_bold {
        says += " (it is kvmalloc's and at most a page, which no Linux of today maps)";
    }
    Some((rule, says))
}

/// What Linux before 6.12 has against a request that must not fail and comes to the page allocator,
/// be it served or not: such a one for more than two pages that follow each other (R3.7). What
/// kvmalloc asks of kmalloc may fail.
pub(crate) fn warned_of(want: &Want, policy: &Policy, answer: Answer) -> Option<(Rule, String)> {
    let takes_pages = match answer {
        // What is reallocated may stay where it is.
        Answer::Memory { addr, .. } => want.from.is_none_or(|old| old.addr != addr),
        Answer::WouldBlock(_) => true,
        _ => false,
    };
    let size = want.size.unwrap_or(0);
    let order = match want.interface {
        Interface::Pages { order } => order,
        Interface::PagesExact => order_of(size),
        Interface::Kmalloc if size > KMALLOC_MAX_CACHE => order_of(size),
        _ => 0,
    };
    let is_old = policy.is_before("v6.12");
    let is_warned_of = takes_pages && want.is_nofail() && order > 1 && is_old;
    is_warned_of.then(|| {
        let says = format!("__GFP_NOFAIL for a block of order {order}; Linux: WARN in rmqueue()");
        (Rule::Warning, says)
    })
}

/// Why a call may not be made in a context.
fn why_not(request: &Request, context: Context) -> String {
    let place = match context {
        Context::Task => "in a task",
        Context::Atomic => "under a spinlock",
        Context::Softirq => "in a softirq",
        Context::Hardirq => "in an interrupt handler",
        Context::Nmi => {
            return format!(
                "{request:?} in a non-maskable interrupt, which may have come while its CPU held \
                 the lock that is wanted"
            );
        }
    };
    format!("{request:?} may sleep, {place}")
}

fn wrong_free(request: &Request, refusal: FreeRefusal, about: About) -> (Rule, String) {
    let rule = match refusal.verdict {
        Class::DoubleFree => Rule::DoubleFree,
        Class::BadContext => Rule::Context,
        _ => Rule::WrongFree,
    };
    let of = about.maker.map(|maker| format!(", of memory of {maker}")).unwrap_or_default();
    let on_linux = refusal.on_linux.map(|verb| format!("; Linux {verb}")).unwrap_or_default();
    if rule == Rule::Context {
        let why = why_not(request, about.context);
        let tells = who_tells(request, about.context);
        return (rule, format!("{why}{of}: free it later, or from a worker{on_linux}{tells}"));
    }
    // The allocator knows what the memory is; the caller has to know how it asked for it.
    let right = about.right.or(refusal.right).filter(|_| rule == Rule::WrongFree);
    let right = match right {
        Some(same) if same == request.spec().name => ", with other arguments".to_owned(),
        right => instead(right),
    };
    (rule, format!("{request:?}{of}: {}{right}{on_linux}", refusal.verdict.name()))
}

/// Who tells that a call may sleep where its caller may not (R4.2, R1.12).
fn who_tells(request: &Request, context: Context) -> &'static str {
    match context {
        Context::Nmi => "",
        _ if context.in_interrupt() && request.spec().makes == Makes::Vmalloc => {
            "; Linux: BUG in __get_vm_area_node()"
        }
        _ => "; CONFIG_DEBUG_ATOMIC_SLEEP tells",
    }
}

fn refused(
    request: &Request,
    refusal: Refusal,
    context: Context,
    is_warned_of: bool,
) -> Option<(Rule, String)> {
    Some(match refusal.class() {
        Class::BadContext => {
            let why = why_not(request, context);
            (Rule::Context, format!("{why}{}", who_tells(request, context)))
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
