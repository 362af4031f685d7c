//! Reclaim: a request takes from others only what its flags and scopes allow, and does not give up
//! while there is more to take.
//!
//! What others had before and after a call shows what the call cost them. Nothing in a NOFS scope
//! re-enters the file system; the slab side of kvmalloc neither kills nor warns; requests that are
//! too small to fail do not fail (R3.5 to R3.10, R5.1).
//!
//! How many pages a round drops, and whose process is killed, is not judged.

use crate::call::Call;
use crate::lane::Record;
use crate::model::linux::effort::{Powers, is_first_try};
use crate::model::{Interface, Want};
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::relaxation::Relaxation;
use crate::subject::Effort;
use crate::subject::{Answer, Facts, Refusal};
use crate::subject::{Cap, Caps, Pack};
use crate::words::gfp::__GFP_NOWARN;

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "reclaim",
    sentence: "requests take from others what their flags allow, and give up only when nothing is left",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Effort, Cap::Counters]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let record = step.record;
    match (&record.want, record.request.call) {
        (Some(want), _) => {
            taken(step, want)?;
            warned(step, want)?;
            gave_up(step, want)
        }
        (None, Call::Tick) => {
            spared_processes(&record.before, &record.after)?;
            let fault =
                step.model.linux.kswapd().fault(&record.before, &record.after, step.min_free);
            fault.map_or(Ok(()), Err)
        }
        (None, Call::DropCaches) => spared_processes(&record.before, &record.after),
        (None, Call::AddToPageCache | Call::StartProcess) => Ok(()),
        // The descriptor of a cache is taken with GFP_KERNEL.
        (None, Call::KmemCacheCreate) => Ok(()),
        _ => untouched(step),
    }
}

fn untouched(step: &Step) -> Judgement {
    if took_nothing(step.record) {
        return Ok(());
    }
    Err(format!("{:?} took memory from others", step.record.request))
}

/// Whether others have what they had, and nobody tried to take it.
fn took_nothing(record: &Record) -> bool {
    let others = |facts: &Facts| (facts.nr_cache_pages, facts.nr_processes, facts.nr_process_pages);
    let Effort { nr_reclaim_rounds, nr_oom_kills, .. } = record.reply.effort;
    nr_reclaim_rounds + nr_oom_kills == 0 && others(&record.before) == others(&record.after)
}

fn spared_processes(before: &Facts, after: &Facts) -> Judgement {
    let shrank = before.nr_cache_pages.iter().zip(after.nr_cache_pages).all(|(b, a)| a <= *b);
    if shrank && before.nr_processes == after.nr_processes {
        return Ok(());
    }
    Err("what runs in the background dropped something else than cached pages".into())
}

fn granted_at(step: &Step) -> Option<u64> {
    step.record.reply.answer.granted().first().copied()
}

/// The request took only what its flags allow: rounds of reclaim, kinds of cached pages, processes.
fn taken(step: &Step, want: &Want) -> Judgement {
    let record = step.record;
    if took_nothing(record) {
        return Ok(());
    }
    let caller = record.caller;
    let powers = step.model.powers(want, caller, granted_at(step));
    let tables = may_map(step, want).then(|| step.model.page_table_powers(want, caller));
    let may = |what: fn(Powers) -> bool| what(powers) || tables.is_some_and(what);
    let Effort { nr_reclaim_rounds, nr_oom_kills, .. } = record.reply.effort;
    if nr_reclaim_rounds > 0 && !may(Powers::may_reclaim) {
        return Err(format!("{:?} reclaimed, and may not", record.request));
    }
    if nr_oom_kills > 0 && !may(Powers::may_kill) {
        return Err(format!("{:?} had a process killed, and may not", record.request));
    }
    let may_drop = [
        may(Powers::may_reclaim),
        may(|powers| powers.may_drop()[1]),
        may(|powers| powers.may_drop()[2]),
    ];
    let kinds = ["clean pages", "pages to be written back", "pages of a file system"];
    for (kind, what) in kinds.into_iter().enumerate() {
        let (before, after) =
            (record.before.nr_cache_pages[kind], record.after.nr_cache_pages[kind]);
        if after > before || (after < before && !may_drop[kind]) {
            return Err(format!("{:?}: {before} {what} became {after}", record.request));
        }
    }
    let killed = record.before.nr_processes.checked_sub(record.after.nr_processes);
    if killed != Some(nr_oom_kills) {
        return Err(format!("{nr_oom_kills} kills, and {killed:?} processes are gone"));
    }
    Ok(())
}

/// A failure is written to the log unless the caller declines, and nothing else is.
fn warned(step: &Step, want: &Want) -> Judgement {
    let record = step.record;
    let nr_warnings = record.reply.effort.nr_warnings;
    let must_warn = must_warn(step, want);
    let is_served = || granted_at(step).is_some();
    let is_declined =
        may_decline(want) && want.gfp.has(__GFP_NOWARN) && !tables_may_warn(step, want);
    let is_silent = || is_declined || is_served() && !maps_memory(step, want);
    if nr_warnings > 0 && is_silent() {
        let why = if is_first_try(want) { ", on kvmalloc's first try" } else { "" };
        return Err(format!("{:?} left {nr_warnings} warnings{why}", record.request));
    }
    // On the way to an area several things are taken, and with huge pages tried for first more than
    // once, each of which may be short and say so.
    let most = if may_map(step, want) { u64::MAX } else { 1 };
    if must_warn && !(1..=most).contains(&nr_warnings) {
        return Err(format!("{:?} failed with {nr_warnings} warnings", record.request));
    }
    Ok(())
}

/// Whether `__GFP_NOWARN` has an effect: a vmalloc of 0 bytes warns in any case (R4.2).
fn may_decline(want: &Want) -> bool {
    want.size != Some(0) || !matches!(want.interface, Interface::Vmalloc { .. })
}

/// Whether a page table may be missing and say so: it is asked for with flags of its own (R4.4),
/// and for a task that is being killed even so small a request is refused (R3.12).
fn tables_may_warn(step: &Step, want: &Want) -> bool {
    may_map(step, want) && step.model.page_table_powers(want, step.record.caller).may_warn(0)
}

/// Whether a request was refused in a way that goes to the log: for want of pages or of vmalloc
/// space (R3.5, R4.2), or because nothing could ever be so large (R3.2, R5.1).
fn must_warn(step: &Step, want: &Want) -> bool {
    let record = step.record;
    let Answer::Refused(refusal) = record.reply.answer else { return false };
    let maps = matches!(want.interface, Interface::Vmalloc { .. } | Interface::Kvmalloc { .. });
    let is_loud = match refusal {
        Refusal::Pages { .. } => {
            matches!(
                want.interface,
                Interface::Pages { .. } | Interface::Kmalloc | Interface::Cache(_)
            )
        }
        Refusal::VmallocSpace | Refusal::Range => maps,
        Refusal::ZeroSize => return !may_decline(want) || !want.gfp.has(__GFP_NOWARN),
        Refusal::TooLarge => match want.interface {
            Interface::Kvmalloc { route } => {
                let size = want.size.unwrap_or(u64::MAX);
                step.model.linux.policy().warns_of_too_large(size, want.gfp, route)
            }
            Interface::Boot(_) | Interface::Heap(_) | Interface::Frames(_) => false,
            _ => true,
        },
        _ => false,
    };
    is_loud && !want.gfp.has(__GFP_NOWARN) && record.reply.nr_faults == 0
}

/// Whether page tables may have been asked for, on the way to memory or to a refusal.
fn may_map(step: &Step, want: &Want) -> bool {
    match want.interface {
        Interface::Vmalloc { .. } => true,
        Interface::Kvmalloc { .. } => {
            step.model.may_map(want)
                && granted_at(step).is_none_or(|addr| step.model.book.is_vmalloc(addr))
        }
        _ => false,
    }
}

/// Whether memory lies in the vmalloc space: what is taken on the way, such as a node kept ready,
/// may fail and say so although the request succeeds.
fn maps_memory(step: &Step, want: &Want) -> bool {
    matches!(want.interface, Interface::Vmalloc { .. } | Interface::Kvmalloc { .. })
        && granted_at(step).is_some_and(|addr| step.model.book.is_vmalloc(addr))
}

/// A request that was refused for want of pages, or waits for them, has tried what it may.
fn gave_up(step: &Step, want: &Want) -> Judgement {
    let record = step.record;
    let (order, waits) = match record.reply.answer {
        Answer::Refused(Refusal::Pages { order }) => (order, false),
        Answer::WouldBlock(Refusal::Pages { order }) => (order, true),
        Answer::Refused(Refusal::Deadlock { order }) => (order, false),
        _ => return Ok(()),
    };
    if step.relaxed.if_so(record.reply.nr_faults > 0, Relaxation::InjectedFailure) {
        return Ok(());
    }
    let powers = step.model.powers(want, record.caller, None);
    let is_block = matches!(
        want.interface,
        Interface::Pages { .. } | Interface::PagesExact | Interface::DmaCoherent
    );
    let nr_kept = record.after.nr_per_cpu_pages;
    if is_block && powers.may_reclaim() && nr_kept > 0 {
        return Err(format!("{:?} gave up; CPUs still keep {nr_kept} pages", record.request));
    }
    let is_deadlock = matches!(record.reply.answer, Answer::Refused(Refusal::Deadlock { .. }));
    let only_node = record.only_node(want);
    if powers.is_thorough(order) && powers.could_reclaim(&record.after, order, only_node) {
        let left = (record.after.nr_cache_pages, record.after.nr_processes);
        return Err(format!("{:?} gave up; pages and processes left: {left:?}", record.request));
    }
    if !waits && !is_deadlock && powers.never_fails(order) {
        return Err(format!("{:?} is too small to fail, and failed", record.request));
    }
    let may_deadlock = |powers: Powers| powers.never_fails(order) && powers.may_kill();
    let tables = || step.model.page_table_powers(want, record.caller);
    if is_deadlock && !may_deadlock(powers) && !(may_map(step, want) && may_deadlock(tables())) {
        return Err(format!("{:?} may fail, and is no deadlock", record.request));
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::oracle::fixture::{DIRECT, VMALLOC, barks, memory, model, record, silent};
    use crate::subject::NodeStat;
    use crate::words::gfp::{__GFP_NORETRY, GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOIO, Gfp};
    use crate::words::{PAGE, Scope};

    fn page(gfp: Gfp) -> Request {
        ask::alloc_pages(gfp, 0)
    }

    /// A page was granted after `nr` pages of a kind were dropped.
    fn dropped(request: Request, kind: usize) -> Record {
        let mut record = record(request, memory(DIRECT, 4096));
        record.before_mut().nr_cache_pages[kind] = 8;
        record.reply.effort.nr_reclaim_rounds = 1;
        record
    }

    #[test]
    fn barks_on_pages_that_the_flags_do_not_allow_to_drop() {
        let rows = [
            (GFP_ATOMIC, 0, false),
            (GFP_NOIO, 0, true),
            (GFP_NOIO, 1, false),
            (GFP_NOFS, 1, true),
            (GFP_NOFS, 2, false),
            (GFP_KERNEL, 2, true),
        ];
        for (gfp, kind, is_legal) in rows {
            match is_legal {
                true => silent(&ORACLE, &model(), &dropped(page(gfp), kind)),
                false => barks(&ORACLE, &model(), &dropped(page(gfp), kind), "alloc_pages"),
            }
        }
    }

    #[test]
    fn barks_on_a_file_system_that_is_re_entered_from_a_scope() {
        let mut model = model();
        model.linux.open_scope(0, Scope::Nofs);
        barks(&ORACLE, &model, &dropped(page(GFP_KERNEL), 2), "file system");
        silent(&ORACLE, &model, &dropped(page(GFP_KERNEL), 1));
    }

    #[test]
    fn barks_on_kills_and_warnings_of_kvmallocs_first_try() {
        let request = ask::kvmalloc(9000, GFP_KERNEL);
        let mut kill = record(request, memory(DIRECT, 16384));
        kill.before_mut().nr_processes = 1;
        kill.reply.effort.nr_oom_kills = 1;
        barks(&ORACLE, &model(), &kill, "killed");
        let mut warning = record(request, memory(DIRECT, 16384));
        warning.reply.effort.nr_warnings = 1;
        barks(&ORACLE, &model(), &warning, "first try");
        let mut fallback = record(request, memory(VMALLOC, 12288));
        fallback.before_mut().nr_processes = 1;
        fallback.reply.effort.nr_oom_kills = 1;
        silent(&ORACLE, &model(), &fallback);
    }

    #[test]
    fn barks_on_giving_up_too_early() {
        let mut short = record(page(GFP_KERNEL), Answer::Refused(Refusal::Deadlock { order: 0 }));
        silent(&ORACLE, &model(), &short);
        short.after_mut().nr_cache_pages[2] = 1;
        short.before_mut().nr_cache_pages[2] = 1;
        barks(&ORACLE, &model(), &short, "gave up");
        let pages = Refusal::Pages { order: 0 };
        barks(&ORACLE, &model(), &warning(page(GFP_KERNEL), pages), "too small");
        barks(
            &ORACLE,
            &model(),
            &record(page(GFP_NOFS), Answer::Refused(Refusal::Deadlock { order: 0 })),
            "no",
        );
        let brief = page(GFP_KERNEL | __GFP_NORETRY);
        silent(&ORACLE, &model(), &warning(brief, pages));
        barks(&ORACLE, &model(), &record(brief, Answer::Refused(pages)), "0 warnings");
    }

    #[test]
    fn barks_on_a_refusal_that_goes_to_no_log() {
        let kv = |size, gfp| ask::kvmalloc(size, gfp);
        let quiet = GFP_KERNEL | __GFP_NOWARN;
        let many = 3 << 30;
        for (request, refusal, nr_expected) in [
            (ask::alloc_pages(GFP_KERNEL, 11), Refusal::TooLarge, 1),
            (ask::alloc_pages(quiet, 11), Refusal::TooLarge, 0),
            (ask::kmalloc(5 << 20, GFP_KERNEL), Refusal::TooLarge, 1),
            (ask::alloc_pages_exact(0, GFP_KERNEL), Refusal::ZeroSize, 1),
            (ask::alloc_pages_exact(0, quiet), Refusal::ZeroSize, 0),
            (ask::__vmalloc(0, quiet), Refusal::ZeroSize, 1),
            (ask::__vmalloc(many, GFP_KERNEL), Refusal::TooLarge, 1),
            (ask::__vmalloc(PAGE, GFP_KERNEL), Refusal::VmallocSpace, 1),
            (ask::__vmalloc(PAGE, quiet), Refusal::VmallocSpace, 0),
            (kv(many, GFP_KERNEL), Refusal::TooLarge, 1),
            (kv(many, quiet), Refusal::TooLarge, 0),
        ] {
            for nr_warnings in 0..2 {
                let mut refused = record(request, Answer::Refused(refusal));
                refused.reply.effort.nr_warnings = nr_warnings;
                match nr_warnings == nr_expected {
                    true => silent(&ORACLE, &model(), &refused),
                    false => barks(&ORACLE, &model(), &refused, "warnings"),
                }
            }
        }
        // Who cannot fall back has only kmalloc's light try, which is silent.
        let refused = record(kv(many, GFP_ATOMIC), Answer::Refused(Refusal::TooLarge));
        silent(&ORACLE, &model(), &refused);
    }

    #[test]
    fn barks_on_giving_up_while_cpus_keep_pages() {
        let pages = Answer::Refused(Refusal::Pages { order: 5 });
        let light = ask::alloc_pages(GFP_KERNEL | __GFP_NORETRY, 5);
        let mut short = warning(light, Refusal::Pages { order: 5 });
        silent(&ORACLE, &model(), &short);
        short.after_mut().nr_per_cpu_pages = 1;
        barks(&ORACLE, &model(), &short, "keep 1 pages");
        let atomic = ask::alloc_pages(GFP_ATOMIC | __GFP_NOWARN, 5);
        let mut asleep = record(atomic, pages);
        asleep.after_mut().nr_per_cpu_pages = 1;
        silent(&ORACLE, &model(), &asleep);
    }

    fn warning(request: Request, refusal: Refusal) -> Record {
        let mut record = record(request, Answer::Refused(refusal));
        record.reply.effort.nr_warnings = 1;
        record
    }

    #[test]
    fn barks_on_a_kswapd_that_was_woken_by_a_failure_and_sleeps_on() {
        let mut model = model();
        let mut tick = record(ask::tick(), Answer::Done);
        (tick.before_mut().nr_free_pages, tick.before_mut().nr_cache_pages[0]) = (20, 40);
        (tick.after_mut().nr_free_pages, tick.after_mut().nr_cache_pages[0]) = (20, 40);
        silent(&ORACLE, &model, &tick);
        model.linux.kswapd_mut().wake(&tick.before, 16, None);
        barks(&ORACLE, &model, &tick, "was woken");
        (tick.after_mut().nr_free_pages, tick.after_mut().nr_cache_pages[0]) = (24, 36);
        silent(&ORACLE, &model, &tick);
        model.linux.kswapd_mut().rest();
        tick.before_mut().nr_free_pages = 24;
        barks(&ORACLE, &model, &tick, "were dropped");
    }

    #[test]
    fn barks_on_a_kswapd_that_drops_the_pages_of_another_node() {
        let mut model = model();
        let mut tick = record(ask::tick(), Answer::Done);
        let node = |nr_free_pages, nr_clean| NodeStat {
            nr_free_pages,
            free_orders: 1,
            nr_cache_pages: [nr_clean, 0, 0],
        };
        tick.before_mut().nr_nodes = 2;
        tick.before_mut().nodes[..2].copy_from_slice(&[node(10, 8), node(90, 8)]);
        tick.after = tick.before.clone();
        model.linux.kswapd_mut().wake(&tick.before, 16, Some(1));
        silent(&ORACLE, &model, &tick);
        model.linux.kswapd_mut().wake(&tick.before, 16, None);
        barks(&ORACLE, &model, &tick, "node 0");
        tick.after_mut().nodes[1] = node(98, 0);
        tick.after_mut().nodes[0] = node(18, 0);
        barks(&ORACLE, &model, &tick, "8 pages of node 1 were dropped");
        tick.after_mut().nodes[1] = tick.before.nodes[1];
        silent(&ORACLE, &model, &tick);
    }

    #[test]
    fn barks_on_a_free_that_takes_from_others() {
        let mut free = record(ask::kfree(DIRECT), Answer::Done);
        silent(&ORACLE, &model(), &free);
        free.before_mut().nr_cache_pages[0] = 1;
        barks(&ORACLE, &model(), &free, "took");
    }
}
