//! The run that is going on in this thread, and every call's way into it.
//!
//! A caller in C, or behind a trait without a receiver, has no handle to pass on: what it calls
//! finds its run here. What the caller allocates elsewhere is nobody's business.
//!
//! A mistake ends the process, in `report`: neither C nor a destructor can be unwound safely.

use super::report;
use super::stacks::Stacks;
use crate::machine::{Bases, RealMemory, Trouble};
use kvroute_harness::call::Request;
use kvroute_harness::caller::{Config, Misuse, Plan, Rule, Session, Source, Told};
use kvroute_harness::exec::catch_quietly;
use kvroute_harness::subject::Answer;
use kvroute_harness::subject::alloc_core::boot_on;
use kvroute_harness::words::Context;
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A run.
pub(super) struct Run {
    session: Session,
    bases: Bases,
    trouble: Rc<Cell<Option<Trouble>>>,
    /// The layouts with which memory was asked for, by the allocator's addresses.
    layouts: BTreeMap<u64, Layout>,
    pub(super) stacks: Stacks,
}

thread_local! {
    static CURRENT: RefCell<Option<Run>> = const { RefCell::new(None) };
    /// Whether the caller's code runs, and not this crate's on its behalf.
    static IS_CALLER: Cell<bool> = const { Cell::new(false) };
    /// Where the memory of this thread's last run is.
    static BASES: Cell<Option<Bases>> = const { Cell::new(None) };
}

/// Whether the caller's code of a run is running in this thread.
pub(super) fn is_caller() -> bool {
    IS_CALLER.get()
}

/// The caller's code does not go on. Whether it was running.
pub(super) fn interrupt() -> bool {
    IS_CALLER.replace(false)
}

/// Whether an address is one of the machine of this thread's last run.
pub(super) fn is_machine(here: u64) -> bool {
    BASES.get().is_some_and(|bases| bases.kernel(here) != here)
}

/// Lets code of the caller's run.
pub(super) fn as_caller<T>(code: impl FnOnce() -> T) -> T {
    IS_CALLER.set(true);
    let result = code();
    IS_CALLER.set(false);
    result
}

/// Whether the run that is going on would leave something behind if it ended now.
pub(super) fn holds_memory() -> bool {
    with(|run| run.session.leaves_something())
}

/// Does `work` in a run under a plan, in which the caller's code goes [`as_caller`]. A panic is a
/// mistake of its own.
pub(super) fn run<T>(
    config: &Config,
    plan: Plan,
    stacks: Stacks,
    work: impl FnOnce() -> T,
) -> (Result<T, Misuse>, Told, Option<Misuse>) {
    let machine = config.machine;
    let memory = RealMemory::fresh(machine.frames, machine.vmalloc_pages);
    let memory = memory.unwrap_or_else(|trouble| report::trouble(trouble));
    let (bases, trouble) = (memory.bases(), memory.trouble());
    BASES.set(Some(bases));
    let mut subject = boot_on(memory, &machine)
        .unwrap_or_else(|reason| panic!("the machine does not boot: {reason}"));
    subject.hand_over();
    let session = Session::begin(subject, config, plan);
    let layouts = BTreeMap::new();
    CURRENT.set(Some(Run { session, bases, trouble, layouts, stacks }));
    let result = catch_quietly(work);
    IS_CALLER.set(false);
    // What a panic says may lie in memory of the run, which ends with it.
    let result = result.map_err(|payload| Misuse::panicked(payload.as_ref()).clone());
    let run = CURRENT.take().expect("nobody else ends a run");
    let (told, left) = run.session.end(config);
    report::keep_stacks(run.stacks);
    (result, told, left)
}

/// Does something with the run at hand, of which the caller's code is no part.
///
/// # Panics
/// If there is none in this thread, or if this is called from inside.
fn with<T>(action: impl FnOnce(&mut Run) -> T) -> T {
    let before = IS_CALLER.replace(false);
    let result = CURRENT.with_borrow_mut(|run| action(run.as_mut().expect("a run in this thread")));
    IS_CALLER.set(before);
    result
}

/// A request with its address as the allocator knows it.
fn translated(request: Request, bases: &Bases) -> Request {
    let roles = request.words().iter().zip(request.roles());
    match roles.into_iter().find(|(_, role)| role.is_address()) {
        Some((word, role)) => request.with(role, bases.kernel(*word)),
        None => request,
    }
}

/// An answer with its address as the caller knows it.
fn shown(answer: Answer, bases: &Bases) -> Answer {
    match answer {
        Answer::Memory { addr, usable, bus } => {
            Answer::Memory { addr: bases.here(addr), usable, bus }
        }
        other => other,
    }
}

/// Makes a call for the caller.
pub(super) fn call(request: Request, at: Source) -> Answer {
    let result = with(|run| {
        let request = translated(request, &run.bases);
        let result = run.session.call(request, at);
        if let Some(trouble) = run.trouble.get() {
            report::trouble(trouble);
        }
        run.stacks.note(&request, result.as_ref().ok());
        if let Ok(Answer::Done | Answer::Memory { .. }) = result {
            let gone = request.freed().iter().copied().chain(request.replaced());
            gone.for_each(|addr| _ = run.layouts.remove(&addr));
        }
        result.map(|answer| shown(answer, &run.bases))
    });
    result.unwrap_or_else(|misuse| stop(*misuse))
}

/// Stops the caller for breaking a rule with what is at an address of its own.
pub(super) fn blame(rule: Rule, says: impl FnOnce() -> String, here: u64) -> ! {
    stop(with(|run| run.session.broken(rule, says(), run.bases.kernel(here))))
}

/// Remembers with which layout memory was asked for.
pub(super) fn remember(here: u64, layout: Layout) {
    let _ = with(|run| run.layouts.insert(run.bases.kernel(here), layout));
}

/// The layout with which live memory was asked for.
pub(super) fn layout_of(here: u64) -> Option<Layout> {
    with(|run| run.layouts.get(&run.bases.kernel(here)).copied())
}

/// From now on the caller is in a context; the one before.
pub(super) fn enter(context: Context) -> Context {
    with(|run| {
        let before = run.session.context();
        run.session.enter(context);
        before
    })
}

/// The mistake that an access to an address is, which was a fault.
pub(super) fn fault(here: u64) -> Misuse {
    with(|run| run.session.faulted(run.bases.kernel(here)))
}

/// Ends the process with a mistake.
pub(super) fn stop(misuse: Misuse) -> ! {
    IS_CALLER.set(false);
    let run = CURRENT.take().expect("a caller makes its mistakes in a run");
    report::stopped(misuse, run.session, run.stacks)
}
