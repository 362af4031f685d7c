//! Accounting: the allocator's counters add up, agree with the book, and end where they began.
//!
//! The one idea: pages are conserved. Every managed frame is free or in use for a reason that the
//! book or the allocator's own metadata accounts for; a call that fails has changed no counter; and
//! after the last free everything has coalesced and nothing has leaked.
//!
//! Four changes are allowed to a failed call, and named here: a slab that it acquired and that is
//! empty again, the node that it preloaded, a purge of lazily freed areas, and what it reclaimed
//! from others, or from page tables that mapped nothing.

use crate::call::Call;
use crate::model::{Granted, Kind};
use crate::oracle::{End, Event, Judgement, Oracle, Step};
use crate::relaxation::{Relaxation, Relaxed};
use crate::subject::NodeStat;
use crate::subject::{Answer, Facts};
use crate::subject::{Cap, Caps, Pack};
use crate::words::{HUGE_PAGE, PAGE};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "accounting",
    sentence: "pages are conserved, failed calls change nothing, and nothing leaks",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Counters]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    match event {
        Event::Step(step) => {
            conserved(&step.record.after)?;
            agrees_with_book(step)?;
            purged_as_told(step)?;
            purged_in_time(step)?;
            purged_with_need(step)?;
            tables_for_areas(step)?;
            match step.record.reply.answer {
                Answer::Refused(_) | Answer::WouldBlock(_) | Answer::Busy(_) => {
                    unchanged(&step.record.before, &step.record.after, step.relaxed)
                }
                _ => Ok(()),
            }
        }
        Event::End(end) => at_the_end(end),
        _ => Ok(()),
    }
}

/// Frames add up, and so do free blocks.
fn conserved(facts: &Facts) -> Judgement {
    let in_use = facts.nr_held_pages
        + facts.nr_per_cpu_pages
        + facts.nr_block_pages
        + facts.nr_large_kmalloc_pages
        + facts.nr_slab_pages
        + facts.nr_empty_slab_pages
        + facts.nr_process_pages
        + facts.nr_cache_pages.iter().sum::<u64>()
        + facts.nr_vmalloc_pages
        + facts.nr_page_table_pages;
    if facts.nr_free_pages + in_use != facts.nr_managed_pages {
        return Err(format!(
            "{} pages free and {in_use} in use do not make {}: {facts:?}",
            facts.nr_free_pages, facts.nr_managed_pages
        ));
    }
    let blocks = facts.nr_free_blocks.iter().enumerate();
    let in_blocks: u64 = blocks.map(|(order, nr)| u64::from(*nr) << order).sum();
    if in_blocks != facts.nr_free_pages {
        return Err(format!("free blocks hold {in_blocks} of {} pages", facts.nr_free_pages));
    }
    if facts.nr_nodes > 0 { nodes_add_up(facts) } else { Ok(()) }
}

/// What is free on the nodes is what is free.
fn nodes_add_up(facts: &Facts) -> Judgement {
    let nr_pages: u64 = facts.nodes.iter().map(|node| u64::from(node.nr_free_pages)).sum();
    let free_orders =
        facts.nodes.iter().fold(0, |orders, node: &NodeStat| orders | node.free_orders);
    let is_free = |order: usize| free_orders >> order & 1 == 1;
    let same =
        facts.nr_free_blocks.iter().enumerate().all(|(order, nr)| is_free(order) == (*nr > 0));
    if nr_pages != facts.nr_free_pages || !same {
        return Err(format!("what is free on the nodes is not what is free: {facts:?}"));
    }
    Ok(())
}

/// What callers hold, in words.
const HELD: [&str; 9] = [
    "pages of blocks",
    "pages of large kmallocs",
    "pages of vmallocs",
    "areas",
    "pages of areas",
    "deferred areas",
    "frees that wait for a grace period",
    "kmalloc objects",
    "cache objects",
];

/// What callers hold is what the allocator says it handed out. The book is as it was before the
/// step, so it is held against the counters from before.
fn agrees_with_book(step: &Step) -> Judgement {
    let totals = step.model.linux.totals();
    let facts = &step.record.before;
    let held = [
        totals.nr_block_pages,
        totals.nr_large_kmalloc_pages,
        totals.nr_vmalloc_pages,
        totals.nr_areas,
        totals.nr_area_pages,
        step.model.linux.nr_deferred() as u64,
        step.model.linux.nr_queued() as u64,
        totals.nr_kmalloc_objects,
        totals.nr_cache_objects,
    ];
    let counted = [
        facts.nr_block_pages,
        facts.nr_large_kmalloc_pages,
        facts.nr_vmalloc_pages,
        facts.nr_areas,
        facts.nr_area_pages,
        facts.nr_deferred_areas,
        facts.nr_queued,
        facts.nr_kmalloc_objects,
        facts.nr_cache_objects,
    ];
    if held == counted {
        return Ok(());
    }
    let rows = held.into_iter().zip(counted).zip(HELD);
    let differ = rows.filter(|((held, counted), _)| held != counted);
    Err(differ
        .map(|((held, counted), what)| {
            format!("callers hold {held} {what}, the allocator counts {counted}")
        })
        .collect::<Vec<_>>()
        .join("; "))
}

/// What waits for a purge is what was freed since the last one, and when that was follows from what
/// callers were told (R4.10).
fn purged_as_told(step: &Step) -> Judgement {
    let waiting = step.record.before.nr_lazy_pages;
    let space = step.model.linux.space();
    if space.waiting().all(|held| held != waiting) {
        let held: Vec<u64> = space.waiting().collect();
        return Err(format!(
            "callers know of {held:?} pages that wait for a purge, the allocator counts {waiting}"
        ));
    }
    if space.is_in_doubt() {
        step.relaxed.by(Relaxation::MaybePurged);
    }
    Ok(())
}

/// Address space that was freed does not wait for ever (R4.10).
fn purged_in_time(step: &Step) -> Judgement {
    let most = step.model.linux.space().lazy_max();
    let waiting = step.record.after.nr_lazy_pages;
    if waiting > most {
        return Err(format!(
            "{waiting} pages of vmalloc space wait for a purge, at most {most} may"
        ));
    }
    Ok(())
}

/// A call that only frees purges when too much waits, and not before (R4.10). One that looks for
/// room may also purge for want of it.
fn purged_with_need(step: &Step) -> Judgement {
    let record = step.record;
    if record.want.is_some() || record.request.call == Call::VmUnmapAliases {
        return Ok(());
    }
    let (before, after) = (&record.before, &record.after);
    let nr_freed = before.nr_area_pages.saturating_sub(after.nr_area_pages);
    let (waiting, most) = (before.nr_lazy_pages + nr_freed, step.model.linux.space().lazy_max());
    if after.nr_lazy_pages < waiting && waiting <= most {
        return Err(format!(
            "a purge, although only {waiting} pages of vmalloc space waited for it, of {most} that may"
        ));
    }
    Ok(())
}

/// Mapping an area may allocate page tables, at most one for each 2 MiB in which it is mapped page
/// by page; unmapping one never frees any (R4.4, R4.12).
fn tables_for_areas(step: &Step) -> Judgement {
    let (before, after) = (&step.record.before, &step.record.after);
    let (nr_before, nr_after) = (before.nr_page_table_pages, after.nr_page_table_pages);
    let most = match step.record.granted {
        Some(Granted { kind: Kind::Vmalloc, usable, size, .. }) => {
            // An area that was rounded up has huge pages, and only its page array a table or two.
            let is_rounded = usable - size >= PAGE;
            if is_rounded { 2 } else { nr_tables_max(usable) }
        }
        _ => 0,
    };
    if nr_after > nr_before + most {
        return Err(format!("{nr_after} page tables after {nr_before}, at most {most} are needed"));
    }
    if after.nr_areas < before.nr_areas && nr_after < nr_before {
        return Err(format!("a free gave {} page tables back", nr_before - nr_after));
    }
    Ok(())
}

/// The most tables that an area of so many bytes needs, and the area of its page array.
fn nr_tables_max(usable: u64) -> u64 {
    let own = usable.div_ceil(HUGE_PAGE) + 1;
    let array = usable / PAGE * 8;
    if array > PAGE { own + array.div_ceil(HUGE_PAGE) + 1 } else { own }
}

fn unchanged(before: &Facts, after: &Facts, relaxed: &Relaxed) -> Judgement {
    if before == after {
        return Ok(());
    }
    relaxed.by(Relaxation::KeptByFailure);
    let comparable = |facts: &Facts| Facts {
        nr_free_pages: facts.nr_free_pages
            + facts.nr_per_cpu_pages
            + facts.nr_empty_slab_pages
            + facts.nr_slab_pages
            + facts.nr_process_pages
            + facts.nr_page_table_pages
            + facts.nr_cache_pages.iter().sum::<u64>(),
        nr_cache_pages: [0; 3],
        nr_process_pages: 0,
        nr_processes: 0,
        nr_page_table_pages: 0,
        nr_tlb_flushes: 0,
        nr_empty_slab_pages: 0,
        nr_slab_pages: 0,
        nr_internal_objects: 0,
        nr_free_blocks: [0; 11],
        nodes: Default::default(),
        nr_per_cpu_pages: 0,
        nr_lazy_pages: 0,
        nr_largest_hole_pages: 0,
        ..*facts
    };
    let (was, is) = (comparable(before), comparable(after));
    if was != is {
        return Err(format!("a failed call changed counters: {}", is.changes_since(&was)));
    }
    // The preloaded node may have been taken, or a purge may have given nodes back (R4.9, R4.10).
    if after.nr_internal_objects > before.nr_internal_objects + 1 {
        return Err(format!(
            "a failed call kept {} objects of the allocator's own, {} before",
            after.nr_internal_objects, before.nr_internal_objects
        ));
    }
    if before.nr_lazy_pages == after.nr_lazy_pages
        && before.nr_largest_hole_pages != after.nr_largest_hole_pages
    {
        return Err(format!(
            "a failed call changed the largest hole from {} to {} pages",
            before.nr_largest_hole_pages, after.nr_largest_hole_pages
        ));
    }
    if after.nr_lazy_pages != before.nr_lazy_pages && after.nr_lazy_pages != 0 {
        return Err("a failed call purged some of the lazy areas, and not all".into());
    }
    Ok(())
}

fn at_the_end(end: &End) -> Judgement {
    if end.nr_live != 0 {
        return Err(format!("{} allocations were not freed at the end", end.nr_live));
    }
    let comparable = |facts: &Facts| Facts { nr_tlb_flushes: 0, ..*facts };
    let (was, is) = (comparable(end.at_boot), comparable(end.now));
    if was != is {
        let leak = is.changes_since(&was);
        return Err(format!("the last free did not give all back; since boot: {leak}"));
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::lane::Record;
    use crate::model::{Kind, Want};
    use crate::oracle::fixture::{
        DIRECT, VMALLOC, all_free, barks, enter, memory, model, record, silent,
    };
    use crate::subject::Refusal;
    use crate::words::gfp::GFP_KERNEL;

    const ONE_PAGE: Request = ask::alloc_pages(GFP_KERNEL, 0);
    const FAILED: Answer = Answer::Refused(Refusal::Pages { order: 0 });

    #[test]
    fn barks_on_a_lost_page() {
        let mut lost = record(ONE_PAGE, FAILED);
        lost.after_mut().nr_free_pages -= 1;
        barks(&ORACLE, &model(), &lost, "do not make 64");
        let mut miscounted = record(ONE_PAGE, FAILED);
        miscounted.after_mut().nr_free_blocks[0] += 1;
        barks(&ORACLE, &model(), &miscounted, "free blocks hold 65");
    }

    #[test]
    fn barks_on_counters_that_the_book_does_not_know() {
        let mut model = model();
        enter(&mut model, DIRECT, 4096, Kind::Pages { order: 0, is_compound: false }, &[0]);
        barks(&ORACLE, &model, &record(ONE_PAGE, FAILED), "callers hold 1 pages of blocks");
    }

    #[test]
    fn barks_on_a_failed_call_that_kept_something() {
        let mut kept = record(ONE_PAGE, FAILED);
        kept.after_mut().nr_free_pages -= 1;
        kept.after_mut().nr_vmalloc_pages += 1;
        kept.after_mut().nr_free_blocks = [63, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        barks(&ORACLE, &model(), &kept, "a failed call changed");
        let mut objects = record(ONE_PAGE, FAILED);
        objects.after_mut().nr_internal_objects += 2;
        barks(&ORACLE, &model(), &objects, "kept 2 objects");
        let mut hole = record(ONE_PAGE, FAILED);
        hole.after_mut().nr_largest_hole_pages -= 1;
        barks(&ORACLE, &model(), &hole, "largest hole");
    }

    #[test]
    fn barks_on_page_tables_without_an_area_that_needs_them() {
        let mut one = record(ONE_PAGE, Answer::Refused(Refusal::TooLarge));
        one.after_mut().nr_page_table_pages = 1;
        one.after_mut().nr_free_pages -= 1;
        one.after_mut().nr_free_blocks = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
        barks(&ORACLE, &model(), &one, "page tables");
        one.request = ask::vmalloc(4096);
        one.want = Want::of(&one.request);
        one.reply.answer = memory(VMALLOC, 4096);
        silent(&ORACLE, &model(), &one);
        let mut gone = record(ask::vfree(VMALLOC), Answer::Done);
        (gone.before_mut().nr_page_table_pages, gone.after_mut().nr_page_table_pages) = (2, 0);
        (gone.before_mut().nr_areas, gone.after_mut().nr_areas) = (1, 0);
        // The book knows of no area, so the rule is asked alone.
        let (model, record, relaxed) = (&model(), &gone, &Relaxed::default());
        let step = Step { model, min_free: 0, pcp_high: 0, record, relaxed };
        assert!(tables_for_areas(&step).is_err());
    }

    #[test]
    fn barks_on_space_that_is_never_purged() {
        let mut freed = record(ask::vm_unmap_aliases(), Answer::Done);
        freed.after_mut().nr_lazy_pages = 8;
        silent(&ORACLE, &model(), &freed);
        freed.after_mut().nr_lazy_pages = 9;
        barks(&ORACLE, &model(), &freed, "wait for a purge");
    }

    #[test]
    fn barks_on_a_purge_without_need() {
        let mut freed = record(ask::vfree(0), Answer::Done);
        freed.before_mut().nr_area_pages = 3;
        freed.after_mut().nr_lazy_pages = 3;
        let silent = |record: &Record| {
            let (model, relaxed) = (model(), Relaxed::default());
            let step = Step { model: &model, min_free: 0, pcp_high: 0, record, relaxed: &relaxed };
            purged_with_need(&step).is_ok()
        };
        assert!(silent(&freed));
        freed.after_mut().nr_lazy_pages = 0;
        assert!(!silent(&freed));
        freed.request = ask::vm_unmap_aliases();
        assert!(silent(&freed));
        freed.request = ask::tick();
        freed.before_mut().nr_lazy_pages = 6;
        assert!(silent(&freed));
    }

    #[test]
    fn barks_on_a_leak_at_the_end() {
        let (at_boot, mut now) = (all_free(), all_free());
        assert_eq!(judge(&Event::End(&End { at_boot: &at_boot, now: &now, nr_live: 0 })), Ok(()));
        assert!(judge(&Event::End(&End { at_boot: &at_boot, now: &now, nr_live: 1 })).is_err());
        now.nr_free_blocks = [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0];
        assert!(judge(&Event::End(&End { at_boot: &at_boot, now: &now, nr_live: 0 })).is_err());
    }

    #[test]
    fn silent_on_a_failed_call_that_left_an_empty_slab() {
        let mut slab = record(ONE_PAGE, FAILED);
        slab.after_mut().nr_free_pages -= 1;
        slab.after_mut().nr_empty_slab_pages += 1;
        slab.after_mut().nr_free_blocks = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0];
        silent(&ORACLE, &model(), &slab);
    }
}
