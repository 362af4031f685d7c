//! Context: a call that may sleep is refused where its caller may not, and scopes nest.
//!
//! Whether a call may sleep is written in its flags and its name (R1.12, R4.4, R4.13), and where
//! its caller is stands beside it; so the refusal follows from the op alone.
//!
//! That `vfree` is put off in an interrupt is judged with all frees in `wrong_free`.

use crate::call::Call;
use crate::model::Interface;
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::relaxation::Relaxation;
use crate::subject::{Answer, Refusal};
use crate::subject::{Cap, Caps, Pack};
use crate::words::{Context, Scope};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "context",
    sentence: "what may sleep is refused where its caller may not, and scopes nest",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Contexts]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    match step.record.request.call {
        Call::MemallocNofsSave | Call::MemallocNoioSave => expect(step, Answer::Done),
        Call::MemallocNofsRestore => restored(step, Scope::Nofs),
        Call::MemallocNoioRestore => restored(step, Scope::Noio),
        _ => allowed(step),
    }
}

fn allowed(step: &Step) -> Judgement {
    let record = step.record;
    let context = record.caller.context;
    let spares_sleep =
        context == Context::Atomic && step.model.linux.policy().vmalloc_spares_sleep();
    let enables_irqs = record.request.spec().traits.enables_irqs;
    let forbidden = match context {
        Context::Task => false,
        Context::Nmi => takes_locks(step),
        Context::Hardirq if enables_irqs => true,
        _ => may_sleep(step, spares_sleep),
    };
    let refused = matches!(record.reply.answer, Answer::Refused(Refusal::BadContext));
    // What means nothing in any context may be refused for that.
    let is_nonsense = matches!(record.reply.answer, Answer::Refused(Refusal::BadArgument));
    // An old kvmalloc enters vmalloc on behalf of callers that must not sleep (R5.7); whether that
    // was refused rightly is judged in `contract`.
    let is_kv_bug = record.want.is_some_and(|want| {
        matches!(want.interface, Interface::Kvmalloc { .. }) && !want.may_block()
    });
    // Memory that a reallocation cannot replace is refused in any context.
    let is_bad_free = matches!(record.reply.answer, Answer::BadFree(_));
    if forbidden == refused || is_bad_free || (forbidden && is_nonsense) || (refused && is_kv_bug) {
        return Ok(());
    }
    Err(format!("{:?} in context {context:?}: {:?}", record.request, record.reply.answer))
}

/// Whether a request sleeps, or would if memory were short; a vmalloc that is not to sleep may be
/// spared it.
fn may_sleep(step: &Step, spares_sleep: bool) -> bool {
    let record = step.record;
    let Some(want) = record.want else {
        return record.request.spec().traits.sleeps;
    };
    match (want.interface, want.size) {
        (_, None) => false,
        _ if want.is_nolock => false,
        (Interface::Kmalloc | Interface::Kvmalloc { .. }, Some(0)) => false,
        (_, Some(0)) if want.from.is_some() => false,
        // Who leaves an area where it is takes none of what follows, but looks for it under a lock
        // that interrupts must not take (`find_vm_area`).
        (Interface::Vmalloc { .. }, _)
            if record.caller.context == Context::Atomic && step.model.stays(&want) =>
        {
            want.may_block()
        }
        // Page tables are taken with GFP_KERNEL, whatever the caller says (R4.4).
        (Interface::Vmalloc { .. }, _) => !spares_sleep || want.may_block(),
        _ => want.may_block(),
    }
}

/// Whether a request looks for memory, or replaces some, and so takes locks that whoever it has
/// interrupted may hold (R1.13). A mere free is judged with all frees.
fn takes_locks(step: &Step) -> bool {
    let record = step.record;
    let Some(want) = record.want else { return record.request.spec().traits.sleeps };
    match (want.interface, want.size) {
        (Interface::Boot(_), _) | (_, None) => false,
        _ if want.is_nolock => false,
        (_, Some(0)) if want.from.is_some() => {
            let frees = record.freeing.is_some_and(|freeing| !freeing.accepted().is_empty());
            frees && !step.model.stays(&want)
        }
        (Interface::Kmalloc | Interface::Kvmalloc { .. }, Some(0)) => false,
        _ => true,
    }
}

fn restored(step: &Step, scope: Scope) -> Judgement {
    let innermost = step.model.linux.scopes(step.record.caller.task).last();
    if innermost == Some(&scope) {
        expect(step, Answer::Done)
    } else {
        expect(step, Answer::Refused(Refusal::Unbalanced))
    }
}

fn expect(step: &Step, answer: Answer) -> Judgement {
    let record = step.record;
    let too_deep = step.model.linux.scopes(record.caller.task).len() >= 32;
    let is_expected = record.reply.answer == answer;
    if record.before == record.after
        && (is_expected || step.relaxed.if_so(too_deep, Relaxation::DeepScopes))
    {
        return Ok(());
    }
    Err(format!("{:?}: expected {answer:?}, got {:?}", record.request, record.reply.answer))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::oracle::fixture::{DIRECT, VMALLOC, barks, memory, model, record, silent};
    use crate::words::gfp::{GFP_ATOMIC, GFP_KERNEL};

    const REFUSED: Answer = Answer::Refused(Refusal::BadContext);

    #[test]
    fn barks_on_sleep_that_the_context_forbids() {
        let sleepers = [
            (ask::kmalloc(8, GFP_KERNEL), memory(DIRECT, 8)),
            (ask::__vmalloc(8, GFP_ATOMIC), memory(VMALLOC, 4096)),
            (ask::vm_unmap_aliases(), Answer::Done),
        ];
        for (request, granted) in sleepers {
            for context in [Context::Atomic, Context::Softirq, Context::Hardirq, Context::Nmi] {
                let mut granted = record(request, granted);
                silent(&ORACLE, &model(), &granted);
                granted.caller.context = context;
                barks(&ORACLE, &model(), &granted, "context");
                let mut refused = record(request, REFUSED);
                refused.caller.context = context;
                silent(&ORACLE, &model(), &refused);
            }
        }
    }

    #[test]
    fn a_block_sleeps_however_large_and_an_array_that_overflows_does_not() {
        for order in [0, 10, 11, 51, 52, 63, 64, 100, 255] {
            let mut refused = record(ask::alloc_pages(GFP_KERNEL, order), REFUSED);
            barks(&ORACLE, &model(), &refused, "context");
            refused.caller.context = Context::Softirq;
            silent(&ORACLE, &model(), &refused);
        }
        let array = ask::kmalloc_array(1 << 63, 2, GFP_KERNEL);
        let mut refused = record(array, Answer::Refused(Refusal::Overflow));
        refused.caller.context = Context::Softirq;
        silent(&ORACLE, &model(), &refused);
    }

    #[test]
    fn barks_on_a_refusal_without_need() {
        let request = ask::kmalloc(8, GFP_ATOMIC);
        let mut refused = record(request, REFUSED);
        barks(&ORACLE, &model(), &refused, "context");
        refused.caller.context = Context::Hardirq;
        barks(&ORACLE, &model(), &refused, "context");
    }

    #[test]
    fn barks_on_any_grant_in_an_nmi() {
        let request = ask::kmalloc(8, GFP_ATOMIC);
        let mut granted = record(request, memory(DIRECT, 8));
        granted.caller.context = Context::Hardirq;
        silent(&ORACLE, &model(), &granted);
        granted.caller.context = Context::Nmi;
        barks(&ORACLE, &model(), &granted, "context");
        let mut nothing = record(ask::kmalloc(0, GFP_ATOMIC), memory(16, 0));
        nothing.caller.context = Context::Nmi;
        silent(&ORACLE, &model(), &nothing);
    }

    #[test]
    fn barks_on_scopes_that_do_not_nest() {
        let mut model = model();
        let restore = |scope| match scope {
            Scope::Nofs => ask::memalloc_nofs_restore(),
            Scope::Noio => ask::memalloc_noio_restore(),
        };
        let unbalanced = Answer::Refused(Refusal::Unbalanced);
        barks(&ORACLE, &model, &record(restore(Scope::Nofs), Answer::Done), "Unbalanced");
        silent(&ORACLE, &model, &record(restore(Scope::Nofs), unbalanced));
        model.linux.open_scope(0, Scope::Noio);
        barks(&ORACLE, &model, &record(restore(Scope::Nofs), Answer::Done), "Unbalanced");
        barks(&ORACLE, &model, &record(restore(Scope::Noio), unbalanced), "Done");
        silent(&ORACLE, &model, &record(restore(Scope::Noio), Answer::Done));
    }
}
