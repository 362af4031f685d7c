//! Reuse: what a CPU freed last is what it takes next.
//!
//! The one idea: a free list is a stack. The object that a CPU took last and then freed comes next
//! (R1.10), and so does the block that it freed just now, while its list has room (R3.11).
//!
//! Only what is certain is judged. After a free into another CPU's slab, a call that names a node,
//! or anything else in between, the next object may be any.

use crate::lane::Record;
use crate::model::{Granted, Interface};
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::relaxation::Relaxation;
use crate::subject::Effort;
use crate::subject::{Cap, Caps, Pack};
use crate::words::PAGE_ALLOC_COSTLY_ORDER;

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "reuse",
    sentence: "the object or small block that a CPU freed last is the next that it takes",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Counters]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let Some((want, granted)) = step.grant() else { return Ok(()) };
    let Granted { addr, kind, stays, .. } = granted;
    if !granted.is_memory() || stays {
        return Ok(());
    }
    if let Interface::Pages { order } = want.interface {
        return block(step, order, addr);
    }
    if want.node.is_some() {
        return Ok(());
    }
    match step.model.linux.next_object(kind, want.size.unwrap_or(0), step.record.caller.cpu.into())
    {
        Some(next) if next != addr => Err(format!(
            "{addr:#x} was handed out; {next:#x} was taken and freed last, and comes next"
        )),
        _ => Ok(()),
    }
}

/// A block that goes to its CPU's list is the first one there.
fn block(step: &Step, order: u32, addr: u64) -> Judgement {
    let Record { caller, before, reply, .. } = step.record;
    let is_kept = order <= PAGE_ALLOC_COSTLY_ORDER && 1 << order <= step.pcp_high;
    if !is_kept {
        return Ok(());
    }
    match step.model.linux.just_freed_block(order, caller.cpu) {
        Some(freed) if freed != addr => {
            let has_reclaimed = reply.effort != Effort::default();
            if step.relaxed.if_so(before.nr_nodes > 0, Relaxation::SeveralNodes)
                || step.relaxed.if_so(has_reclaimed, Relaxation::Reclaimed)
            {
                return Ok(());
            }
            Err(format!("{addr:#x} was handed out; {freed:#x} was freed last, and comes next"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::model::Kind;
    use crate::oracle::fixture::{DIRECT, barks, enter, memory, model, record, silent};
    use crate::words::PAGE;
    use crate::words::gfp::GFP_KERNEL;

    const KMALLOC: Request = ask::kmalloc(64, GFP_KERNEL);
    const ORDER_1: Request = ask::alloc_pages(GFP_KERNEL, 1);

    #[test]
    fn barks_on_an_object_that_is_not_the_last_one_freed() {
        let mut model = model();
        enter(&mut model, DIRECT + 64, 64, Kind::Kmalloc, &[0]);
        model.strike(DIRECT + 64, &[0], 0);
        silent(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 64, 64)));
        barks(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 128, 64)), "comes next");
        let mut elsewhere = record(KMALLOC, memory(DIRECT + 128, 64));
        elsewhere.caller.cpu = 1;
        silent(&ORACLE, &model, &elsewhere);
        let other_class = ask::kmalloc(65, GFP_KERNEL);
        silent(&ORACLE, &model, &record(other_class, memory(DIRECT + 0x1080, 96)));
        model.linux.forget_reuse();
        silent(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 128, 64)));
    }

    #[test]
    fn barks_on_an_object_that_another_cpu_has_freed_in_between() {
        let mut model = model();
        enter(&mut model, DIRECT + 64, 64, Kind::Kmalloc, &[0]);
        enter(&mut model, DIRECT + 128, 64, Kind::Kmalloc, &[0]);
        model.strike(DIRECT + 128, &[0], 0);
        model.strike(DIRECT + 64, &[0], 1);
        barks(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 64, 64)), "comes next");
        silent(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 128, 64)));
        // What was taken last and freed elsewhere comes now or later.
        model.linux.forget_reuse();
        enter(&mut model, DIRECT + 64, 64, Kind::Kmalloc, &[0]);
        model.strike(DIRECT + 64, &[0], 1);
        silent(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 64, 64)));
        silent(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 192, 64)));
    }

    #[test]
    fn barks_on_a_block_that_is_not_the_last_one_freed() {
        let mut model = model();
        let order_1 = Kind::Pages { order: 1, is_compound: false };
        enter(&mut model, DIRECT + 2 * PAGE, 2 * PAGE, order_1, &[2, 3]);
        model.strike(DIRECT + 2 * PAGE, &[2, 3], 0);
        let mut other = record(ORDER_1, memory(DIRECT + 4 * PAGE, 2 * PAGE));
        barks(&ORACLE, &model, &other, "comes next");
        other.caller.cpu = 1;
        silent(&ORACLE, &model, &other);
        silent(&ORACLE, &model, &record(ORDER_1, memory(DIRECT + 2 * PAGE, 2 * PAGE)));
    }
}
