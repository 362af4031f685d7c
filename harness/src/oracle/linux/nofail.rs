//! NOFAIL: a request that must not fail never fails, and waits no longer than its shortage lasts.
//!
//! The one idea: to such a request only three answers are legal: memory, a typed refusal of what
//! could never be (R3.7, R4.14), and 'this resource is short, ask again'. The last is legal only
//! while the resource is short; so once the shortage has ended the very next try must be served,
//! and the stated bound on retries is one.
//!
//! Who waits is told when to ask again. A request that is served after a mere tick, although
//! nothing had been given back, has slept through the end of its shortage. And waiters ask in the
//! order in which they came, so one that asked first and was not served is not overtaken by
//! another that wants no less.

use super::situation;
use crate::call::Request;
use crate::lane::Retry;
use crate::model::linux::effort::Powers;
use crate::model::linux::rules::KMALLOC_MAX;
use crate::model::{Interface, Want};
use crate::oracle::{Event, Judgement, Oracle, Step, Wake};
use crate::subject::{Answer, Refusal};
use crate::subject::{Cap, Caps, Pack};
use crate::words::gfp::__GFP_THISNODE;
use crate::words::{NR_ORDERS, PAGE, order_of, pages_of};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "nofail",
    sentence: "a NOFAIL request never fails, and waits only while its resource is short",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Waiting, Cap::Counters]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let step = match event {
        Event::Step(step) => step,
        Event::Wakes(wakes) => return in_order(wakes),
        _ => return Ok(()),
    };
    let Some(want) = &step.record.want else { return Ok(()) };
    let size = step.model.promise(want).0;
    match step.record.reply.answer {
        Answer::WouldBlock(shortage) if !want.is_nofail() && !is_small(step, want, shortage) => {
            Err("a request that may fail was told to wait".into())
        }
        Answer::WouldBlock(shortage) => waits(step, want, size, shortage),
        Answer::Refused(Refusal::ImpossibleNofail) => impossible(step, want, size),
        Answer::Refused(Refusal::Overflow | Refusal::BadArgument | Refusal::BadContext) => Ok(()),
        Answer::Refused(refusal) if want.is_nofail() => {
            Err(format!("a request that must not fail was refused with {refusal:?}"))
        }
        answer if answer.is_grant() && step.record.retry == Some(Retry::SleptInVain) => {
            Err("served after a tick, although nothing was given back: a wakeup was lost".into())
        }
        _ => Ok(()),
    }
}

/// No waiter is overtaken by a later one that wants the same or more of the same.
fn in_order(wakes: &[Wake]) -> Judgement {
    for (place, later) in wakes.iter().enumerate().filter(|(_, wake)| wake.is_served) {
        let was_served = |id| wakes[..place].iter().any(|wake| wake.id == id && wake.is_served);
        let before = wakes[..place].iter().filter(|wake| wake.id < later.id);
        for earlier in before.filter(|wake| !was_served(wake.id)) {
            if wants_no_less(&later.request, &earlier.request) {
                return Err(format!("{:?} was served before {:?}", later.request, earlier.request));
            }
        }
    }
    Ok(())
}

/// Whether `one` needs all that `other` needs, of the same resource and under the same rules.
fn wants_no_less(one: &Request, other: &Request) -> bool {
    let (Some(one), Some(other)) = (Want::of(one), Want::of(other)) else { return false };
    let is_alike = match (one.interface, other.interface) {
        (Interface::Pages { order: one }, Interface::Pages { order: other }) => one >= other,
        (Interface::Vmalloc { range: one }, Interface::Vmalloc { range: other }) => one == other,
        _ => false,
    };
    // A request that is bound to a node waits for that node.
    let same_node = !one.gfp.has(__GFP_THISNODE) || (one.node.is_some() && one.node == other.node);
    is_alike && same_node && one.gfp == other.gfp && one.size >= other.size
}

/// Whether the request is too small to fail, and may not have a process killed: it waits like one
/// that must not fail (R3.8).
fn is_small(step: &Step, want: &Want, shortage: Refusal) -> bool {
    let powers = step.model.powers(want, step.record.caller, None);
    match shortage {
        Refusal::Pages { order } => waits_when_small(powers, order) || is_table(step, want),
        _ => false,
    }
}

fn waits_when_small(powers: Powers, order: u32) -> bool {
    powers.never_fails(order) && !powers.may_kill()
}

/// Whether a page table of the request is too small to fail: it is asked for with flags of its
/// own, and even a request that may not sleep waits for it (R4.2, R4.4).
fn is_table(step: &Step, want: &Want) -> bool {
    step.model.may_map(want)
        && waits_when_small(step.model.page_table_powers(want, step.record.caller), 0)
}

fn waits(step: &Step, want: &Want, size: u64, shortage: Refusal) -> Judgement {
    if !want.may_block() && !is_table(step, want) {
        return Err("a request that may not sleep was told to wait".into());
    }
    if situation::situation(step, want).is_real(want, size, shortage) {
        return Ok(());
    }
    let when = if step.record.retry.is_some() {
        "again, although the shortage has ended"
    } else {
        "without need"
    };
    Err(format!(
        "told to wait for {shortage:?} {when}; free: {} pages {:?}",
        step.record.before.nr_free_pages, step.record.before.nr_free_blocks
    ))
}

/// The promise that cannot be kept must really be one.
fn impossible(step: &Step, want: &Want, size: u64) -> Judgement {
    let managed = step.record.before.nr_managed_pages;
    let layout = step.model.book.layout();
    let space = layout.vmalloc_end - layout.vmalloc_start;
    let with_guard = pages_of(size).saturating_add(1).saturating_mul(PAGE);
    let never = match want.interface {
        Interface::Pages { order } => order >= NR_ORDERS,
        Interface::PagesExact | Interface::DmaCoherent => size == 0 || order_of(size) >= NR_ORDERS,
        Interface::Kmalloc | Interface::Cache(_) => size > KMALLOC_MAX,
        Interface::Boot(_) | Interface::Heap(_) | Interface::Frames(_) => false,
        Interface::Kvmalloc { route } => {
            let policy = step.model.linux.policy();
            let maps = policy.sides(size, want.gfp, route).vmalloc;
            maps && (size / PAGE > managed || with_guard > space)
                || policy.is_too_large(size, want.gfp)
        }
        Interface::Vmalloc { range } => {
            let room = range.map_or(space, |(start, end, _)| end.saturating_sub(start));
            size == 0 || size / PAGE > managed || with_guard > room
        }
    };
    if want.is_nofail() && (never || !want.may_block()) {
        return Ok(());
    }
    Err(format!("{:?} is possible and was refused as impossible", step.record.request))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::oracle::fixture::{DIRECT, barks, memory, model, record, silent};
    use crate::words::gfp::{__GFP_NOFAIL, GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOWAIT, Gfp};

    const NOFAIL: Gfp = Gfp(GFP_KERNEL.0 | __GFP_NOFAIL.0);
    const SHORT: Refusal = Refusal::Pages { order: 0 };

    fn page(gfp: Gfp) -> Request {
        ask::alloc_pages(gfp, 0)
    }

    #[test]
    fn barks_on_a_failure_of_what_must_not_fail() {
        for refusal in [SHORT, Refusal::Injected, Refusal::TooLarge] {
            barks(&ORACLE, &model(), &record(page(NOFAIL), Answer::Refused(refusal)), "must not");
        }
    }

    #[test]
    fn barks_on_waiting_without_need_or_without_the_right_to() {
        let wait = Answer::WouldBlock(SHORT);
        barks(&ORACLE, &model(), &record(page(NOFAIL), wait), "without need");
        barks(&ORACLE, &model(), &record(page(GFP_KERNEL), wait), "may fail");
        let atomic = Gfp(GFP_ATOMIC.0 | __GFP_NOFAIL.0);
        barks(&ORACLE, &model(), &record(page(atomic), wait), "may not sleep");
        let mut retry = record(page(NOFAIL), wait);
        retry.retry = Some(Retry::Woken);
        barks(&ORACLE, &model(), &retry, "has ended");
    }

    #[test]
    fn silent_on_waiting_for_a_page_table() {
        let vmalloc = |gfp| ask::__vmalloc(4096, gfp);
        for (gfp, may) in [(GFP_NOFS, true), (GFP_NOWAIT, true), (GFP_KERNEL, false)] {
            let mut wait = record(vmalloc(gfp), Answer::WouldBlock(SHORT));
            (wait.before, wait.after) = <_>::default();
            if may {
                silent(&ORACLE, &model(), &wait);
            } else {
                barks(&ORACLE, &model(), &wait, "may fail");
            }
        }
    }

    #[test]
    fn barks_on_calling_the_possible_impossible() {
        let refusal = Answer::Refused(Refusal::ImpossibleNofail);
        barks(&ORACLE, &model(), &record(page(NOFAIL), refusal), "possible");
        barks(&ORACLE, &model(), &record(page(GFP_ATOMIC), refusal), "possible");
    }

    #[test]
    fn barks_on_a_lost_wakeup() {
        let mut late = record(page(NOFAIL), memory(DIRECT, 4096));
        late.retry = Some(Retry::SleptInVain);
        barks(&ORACLE, &model(), &late, "lost");
        for retry in [Retry::Woken, Retry::Slept, Retry::Alone] {
            late.retry = Some(retry);
            silent(&ORACLE, &model(), &late);
        }
    }

    #[test]
    fn barks_on_a_waiter_that_is_overtaken() {
        let wake = |id, order, is_served| {
            let request = ask::alloc_pages(NOFAIL, order);
            Wake { id, request, is_served }
        };
        let judge_wakes = |wakes: &[Wake]| judge(&Event::Wakes(wakes));
        assert!(judge_wakes(&[wake(1, 1, false), wake(2, 1, true)]).is_err());
        assert!(judge_wakes(&[wake(1, 1, false), wake(2, 2, true)]).is_err());
        assert_eq!(judge_wakes(&[wake(1, 1, false), wake(2, 0, true)]), Ok(()));
        assert_eq!(judge_wakes(&[wake(1, 1, true), wake(2, 1, false)]), Ok(()));
        // A waiter that has asked again before the other did was not overtaken.
        let again = [wake(1, 1, false), wake(2, 0, true), wake(1, 1, true), wake(3, 1, true)];
        assert_eq!(judge_wakes(&again), Ok(()));
        let skipped = [wake(1, 1, false), wake(2, 0, true), wake(3, 1, true), wake(1, 1, true)];
        assert!(judge_wakes(&skipped).is_err());
    }

    #[test]
    fn silent_on_memory_a_real_wait_and_the_truly_impossible() {
        silent(&ORACLE, &model(), &record(page(NOFAIL), memory(DIRECT, 4096)));
        let mut wait = record(page(NOFAIL), Answer::WouldBlock(SHORT));
        wait.before_mut().nr_free_pages = 8;
        silent(&ORACLE, &model(), &wait);
        let order_11 = ask::alloc_pages(NOFAIL, 11);
        let refusal = Answer::Refused(Refusal::ImpossibleNofail);
        silent(&ORACLE, &model(), &record(order_11, refusal));
        let (size, align, start, end, gfp) = (4096, 1, 0, 4096, NOFAIL);
        let range = ask::__vmalloc_node_range(size, align, start, end, gfp);
        silent(&ORACLE, &model(), &record(range, refusal));
    }
}
