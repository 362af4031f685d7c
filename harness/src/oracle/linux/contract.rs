//! Contract: granted memory is as large, as aligned and as accessible as its interface promises,
//! and a refusal names a resource that was short.
//!
//! What a caller may rely on is written in the rules (R1.1 to R1.3, R3.1, R3.6, R4.7, R4.11), for
//! grants and refusals alike. A spurious refusal is as much a fault as a short block.
//!
//! Requests that may not fail are judged in `nofail`, those that their context forbids in
//! `context`.

use super::situation;
use crate::call::{Call, Request, Role};
use crate::model::linux::effort::lowest_watermark;
use crate::model::linux::room::{Places, Search};
use crate::model::linux::rules;
use crate::model::linux::rules::{cache_alignment, cache_stride, has_block, size_class};
use crate::model::{Granted, Interface, Kind, Want};
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::relaxation::Relaxation;
use crate::subject::{Answer, Refusal};
use crate::subject::{Cap, Caps, Pack};
use crate::words::{Context, Gfp, NR_ORDERS, PAGE, order_of, pages_of};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "contract",
    sentence: "granted memory keeps its interface's promises, and a refusal names a real shortage",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Counters, Cap::Spaces]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let Some(want) = &step.record.want else { return judge_cache(step.record.request, step) };
    match step.record.reply.answer {
        Answer::Memory { .. } if step.record.request.spec().has(Role::Results) => Err(format!(
            "{:?} was answered with one piece, and not with a list",
            step.record.request
        )),
        Answer::Memory { .. } if exceeds_nolock(step, want) => {
            Err(format!("{:?} was served without a lock", step.record.request))
        }
        Answer::Memory { .. } => kept(step, want),
        // A cache gives all that were asked for, or none.
        Answer::Several { addrs, .. } if addrs.len() as u64 != want.nr_pieces => {
            Err(format!("{:?} was answered with {} objects", step.record.request, addrs.len()))
        }
        Answer::Several { .. } => kept(step, want),
        Answer::BadFree(_) if want.from.is_some() => Ok(()),
        // Judged in `boot`.
        Answer::Refused(_) if matches!(want.interface, Interface::Boot(_)) => Ok(()),
        Answer::Refused(refusal) => refused(step, want, refusal),
        Answer::WouldBlock(_) | Answer::Unsupported => Ok(()),
        other => Err(format!("{:?} was answered with {other:?}", step.record.request)),
    }
}

/// What was granted is as the rules have it. Memory that stays where it is keeps its promises, and
/// `realloc` knows if it may.
fn kept(step: &Step, want: &Want) -> Judgement {
    for granted in step.record.grants().filter(|it| it.is_memory() && !it.stays) {
        promises(step, want, granted)?;
        reserves(step, want, granted)?;
        place(step, want, granted)?;
    }
    Ok(())
}

fn judge_cache(request: Request, step: &Step) -> Judgement {
    if request.call != Call::KmemCacheCreate {
        return Ok(());
    }
    let size = request.size().unwrap_or(0);
    let align = request.get(Role::Align).unwrap_or(0);
    let (flags, ctor) = (request.slab_flags(), request.ctor());
    // Linux rounds odd alignments to garbage, divides by objects that have no bytes or none left in
    // 32 bits, and refuses flags that it does not know (R2.1, R2.2). How far an alignment may go
    // follows from the largest object.
    let bad = (size == 0 && ctor.is_none())
        || (size >> 32 == 0 && size.next_multiple_of(8) >> 32 == 1)
        || (align != 0 && !align.is_power_of_two())
        || flags.0 & !rules::CACHE_FLAGS != 0;
    let large = size.max(align) > rules::KMALLOC_MAX
        || cache_stride(size, cache_alignment(size, align, flags), ctor) > rules::KMALLOC_MAX;
    match step.record.reply.answer {
        Answer::Cache(handle) if !bad && !large && step.model.linux.cache(handle).is_none() => {
            Ok(())
        }
        Answer::Refused(Refusal::BadArgument) if bad => Ok(()),
        Answer::Refused(Refusal::TooLarge) if large => Ok(()),
        // The descriptor is an object like any other, taken with GFP_KERNEL.
        Answer::Refused(Refusal::Pages { .. } | Refusal::Deadlock { .. })
        | Answer::WouldBlock(Refusal::Pages { .. })
            if step.record.before.nr_free_pages
                <= (step.min_free + 1) * u64::from(step.record.before.nr_nodes.max(1)) =>
        {
            Ok(())
        }
        Answer::Refused(Refusal::Injected) if step.record.reply.nr_faults > 0 => Ok(()),
        Answer::Refused(Refusal::BadContext) => Ok(()),
        other => Err(format!("{request:?}: {other:?}")),
    }
}

/// The exact size, and the guard page.
fn promises(step: &Step, want: &Want, granted: Granted) -> Judgement {
    let Granted { addr, usable, size, kind, .. } = granted;
    let exact = match kind {
        Kind::Kmalloc => size_class(size),
        Kind::LargeKmalloc => Some(PAGE << order_of(size)),
        Kind::Pages { order, .. } | Kind::DmaCoherent { order } => Some(PAGE << order),
        Kind::PagesExact { nr_pages } => Some(PAGE * nr_pages),
        // An area of huge pages has all that they hold (R4.12).
        Kind::Vmalloc => {
            let huge = step.model.linux.policy().huge_pages(want).map(|nr_pages| nr_pages * PAGE);
            huge.filter(|huge| *huge == usable).or(Some(pages_of(size) * PAGE))
        }
        Kind::Boot => Some(size),
        Kind::Heap { .. } | Kind::Frames => None,
        Kind::CacheObject(handle) => {
            step.model.linux.cache(handle).map(|_| step.model.stride(want))
        }
    };
    if exact.is_some_and(|exact| exact != usable) {
        return Err(format!("{addr:#x} has {usable:#x} usable bytes; the rules give {exact:#x?}"));
    }
    // A large kmalloc is a block, and aligned as one, whatever its size (R1.3).
    if kind == Kind::LargeKmalloc && !addr.is_multiple_of(usable) {
        return Err(format!("{addr:#x} is a block of {usable:#x} bytes and not aligned to them"));
    }
    if step.record.guard_page_mapped {
        return Err(format!("the guard page behind {addr:#x}+{usable:#x} can be accessed"));
    }
    Ok(())
}

/// A block may not come from reserves that the request may not touch (R3.6).
fn reserves(step: &Step, want: &Want, granted: Granted) -> Judgement {
    let order = match granted.kind {
        Kind::Pages { order, .. } | Kind::DmaCoherent { order } => order,
        Kind::LargeKmalloc | Kind::PagesExact { .. } => order_of(want.size.unwrap_or(0)),
        _ => return Ok(()),
    };
    let size = want.size.unwrap_or(0);
    let gfp = match want.interface {
        Interface::Kvmalloc { route } => step.model.linux.policy().first_try(size, want.gfp, route),
        _ => want.gfp,
    };
    let watermark = lowest_watermark(gfp, order, step.record.caller, step.min_free);
    let before = &step.record.before;
    if order < NR_ORDERS && has_block(before, order, gfp, watermark, step.record.only_node(want)) {
        return Ok(());
    }
    // After a reclaim, what is left free is what the block was taken from.
    let has_reclaimed = step.record.reply.effort.nr_reclaim_rounds > 0;
    let left = step.record.after.nr_free_pages + 1;
    let may_be = has_reclaimed && (left > watermark || (left > 0 && watermark == 0));
    if step.relaxed.if_so(may_be, Relaxation::Reclaimed) {
        return Ok(());
    }
    Err(format!(
        "a block of order {order} was granted with {} pages free and a watermark of {watermark}",
        before.nr_free_pages
    ))
}

/// An area goes to the lowest hole, or with an alignment above a page to one that its search may
/// have come to before (R4.7).
fn place(step: &Step, want: &Want, granted: Granted) -> Judgement {
    let Granted { addr, kind, .. } = granted;
    if kind != Kind::Vmalloc {
        return Ok(());
    }
    let search = Search::of(want, step.model.linux.policy());
    let space = step.model.linux.space();
    let Some(Places { huge, small }) = space.places(&search) else {
        step.relaxed.by(Relaxation::UnknownPlace);
        return Ok(());
    };
    let is_huge = search.nr_huge_pages.is_some() && step.record.has_huge_pages();
    let expected = if is_huge { &huge } else { &small };
    if expected.is_only(addr) || step.relaxed.if_so(expected.admits(addr), Relaxation::ShortHole) {
        return Ok(());
    }
    // Small pages can be contiguous by chance, and an injected failure can end the attempt with
    // huge ones before its search.
    let as_small = is_huge && small.admits(addr);
    let at_once = || space.places(&search.in_small_pages());
    let by_failure = step.record.reply.nr_faults > 0
        && at_once().is_some_and(|places| places.small.admits(addr));
    if step.relaxed.if_so(as_small, Relaxation::ByChance)
        || step.relaxed.if_so(by_failure, Relaxation::InjectedFailure)
    {
        return Ok(());
    }
    match expected.lowest() {
        Some(lowest) => {
            Err(format!("the area went to {addr:#x}; the lowest hole that fits is at {lowest:#x}"))
        }
        None => Err(format!("the area went to {addr:#x}; no hole fits")),
    }
}

fn refused(step: &Step, want: &Want, refusal: Refusal) -> Judgement {
    let size = step.model.promise(want).0;
    let legal = match refusal {
        Refusal::Overflow => want.size.is_none(),
        Refusal::TooLarge => is_too_large(step, want, size),
        Refusal::ZeroSize => size == 0 && has_no_zero_size_ptr(want.interface),
        Refusal::BadArgument => is_bad_argument(step, want),
        Refusal::BadContext => {
            step.record.caller.context != Context::Task || is_bad_context(step, want, size)
        }
        Refusal::ImpossibleNofail => return Ok(()),
        Refusal::Injected => step.record.reply.nr_faults > 0,
        Refusal::Deadlock { order } => {
            situation::situation(step, want).is_real(want, size, Refusal::Pages { order })
        }
        shortage => {
            let is_kv = matches!(want.interface, Interface::Kvmalloc { .. });
            let must_be_named = !is_kv && is_too_large(step, want, size);
            !must_be_named && situation::situation(step, want).is_real(want, size, shortage)
        }
    };
    if legal {
        return Ok(());
    }
    Err(format!(
        "{:?} was refused with {refusal:?} without need; free before: {} pages {:?}",
        step.record.request, step.record.before.nr_free_pages, step.record.before.nr_free_blocks
    ))
}

/// Whether the interface has no `ZERO_SIZE_PTR`, so that a size of 0 is refused.
pub(super) fn has_no_zero_size_ptr(interface: Interface) -> bool {
    matches!(interface, Interface::Vmalloc { .. } | Interface::PagesExact | Interface::DmaCoherent)
}

/// Whether no machine of this size can ever serve the request.
pub(super) fn is_too_large(step: &Step, want: &Want, size: u64) -> bool {
    // Linux compares whole pages, so a request that is a part of a page too large is merely short.
    let exceeds_memory = size / PAGE > step.record.before.nr_managed_pages;
    match want.interface {
        Interface::Boot(_) | Interface::Heap(_) | Interface::Frames(_) => false,
        Interface::Pages { order } => order >= NR_ORDERS,
        Interface::PagesExact | Interface::DmaCoherent => order_of(size) >= NR_ORDERS,
        Interface::Kmalloc if want.is_nolock => size > rules::KMALLOC_MAX_CACHE,
        Interface::Kmalloc | Interface::Cache(_) => size > rules::KMALLOC_MAX,
        Interface::Vmalloc { .. } => exceeds_memory,
        Interface::Kvmalloc { route } => {
            let policy = step.model.linux.policy();
            let maps = policy.sides(size, want.gfp, route).vmalloc;
            maps && exceeds_memory || policy.is_too_large(size, want.gfp)
        }
    }
}

/// Whether the caller cannot sleep where the call may.
fn is_bad_context(step: &Step, want: &Want, size: u64) -> bool {
    let Interface::Kvmalloc { route } = want.interface else { return false };
    step.model.linux.policy().is_bug(size, want.gfp, route)
        && situation::situation(step, want).is_first_try_short(want, size, route)
}

/// Whether a request asks for more than can be done without a lock.
fn exceeds_nolock(step: &Step, want: &Want) -> bool {
    let is_large = want.size.is_none_or(|size| size > rules::KMALLOC_MAX_CACHE);
    want.is_nolock && (is_large || has_foreign_flags(step, want))
}

/// Whether the call does not take some of the flags.
fn has_foreign_flags(step: &Step, want: &Want) -> bool {
    let request = step.record.request;
    let flags = request.gfp().unwrap_or_default();
    want.is_nolock && flags.without(request.spec().flags()) != Gfp(0)
}

fn is_bad_argument(step: &Step, want: &Want) -> bool {
    if situation::is_missing(step.record, want) {
        return true;
    }
    if let Interface::Cache(handle) = want.interface {
        // Linux does not zero what was constructed, and says so in the log only (R2.5).
        return step.model.linux.ctor_of(Kind::CacheObject(handle)).is_some() && want.wants_zero();
    }
    if situation::is_misused(step, want) || has_foreign_flags(step, want) {
        return true;
    }
    let Interface::Vmalloc { range: Some((start, end, align)) } = want.interface else {
        return false;
    };
    let layout = step.model.book.layout();
    let space = layout.vmalloc_end - layout.vmalloc_start;
    start >= end || end > space || !align.is_power_of_two()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::model::linux::Cache;
    use crate::model::linux::reuse::Reuse;
    use crate::oracle::fixture::{
        DIRECT, VMALLOC, barks, enter, memory, model, model_of, record, silent,
    };
    use crate::trace::Machine;
    use crate::words::gfp::{__GFP_ZERO, GFP_ATOMIC, GFP_KERNEL};
    use crate::words::{CacheHandle, SlabFlags};

    const KMALLOC: Request = ask::kmalloc(64, GFP_KERNEL);
    const ORDER_1: Request = ask::alloc_pages(GFP_KERNEL, 1);
    const AREA: Request = ask::vmalloc(4096);

    #[test]
    fn barks_on_the_wrong_number_of_usable_bytes() {
        barks(&ORACLE, &model(), &record(KMALLOC, memory(DIRECT, 96)), "the rules give");
        barks(&ORACLE, &model(), &record(ORDER_1, memory(DIRECT, 16384)), "the rules give");
    }

    #[test]
    fn barks_on_a_large_block_that_is_not_aligned_to_its_size() {
        let large = ask::kmalloc(9000, GFP_KERNEL);
        silent(&ORACLE, &model(), &record(large, memory(DIRECT, 16384)));
        barks(&ORACLE, &model(), &record(large, memory(DIRECT + 4096, 16384)), "aligned");
    }

    #[test]
    fn barks_on_a_guard_page_that_can_be_accessed() {
        let mut area = record(AREA, memory(VMALLOC, 4096));
        area.guard_page_mapped = true;
        barks(&ORACLE, &model(), &area, "guard page");
    }

    #[test]
    fn barks_on_reserves_given_to_the_unentitled() {
        let mut block = record(ORDER_1, memory(DIRECT, 8192));
        block.before_mut().nr_free_pages = 17;
        barks(&ORACLE, &model(), &block, "watermark");
        let atomic = ask::alloc_pages(GFP_ATOMIC, 1);
        let mut block = record(atomic, memory(DIRECT, 8192));
        block.before_mut().nr_free_pages = 8;
        silent(&ORACLE, &model(), &block);
    }

    #[test]
    fn barks_on_an_area_that_is_not_in_the_lowest_hole() {
        barks(&ORACLE, &model(), &record(AREA, memory(VMALLOC + 4096, 4096)), "lowest hole");
        let mut model = model();
        enter(&mut model, VMALLOC, 61 * 4096, Kind::Vmalloc, &[]);
        barks(&ORACLE, &model, &record(AREA, memory(VMALLOC + 62 * 4096, 8192)), "rules give");
    }

    #[test]
    fn barks_on_a_spurious_refusal() {
        for refusal in [
            Refusal::Pages { order: 0 },
            Refusal::Injected,
            Refusal::TooLarge,
            Refusal::Overflow,
            Refusal::BadArgument,
        ] {
            barks(&ORACLE, &model(), &record(KMALLOC, Answer::Refused(refusal)), "without need");
        }
        let space = Answer::Refused(Refusal::VmallocSpace);
        barks(&ORACLE, &model(), &record(AREA, space), "without need");
    }

    #[test]
    fn barks_on_a_constructed_object_of_another_stride_and_on_a_spurious_bad_argument() {
        let (mut model, handle) = (model(), CacheHandle(3));
        let cache = Cache {
            id: 1,
            size: 1024,
            align: 1024,
            ctor: Some(7),
            nr_objects: 0,
            reuse: Reuse::default(),
        };
        model.linux.enter_cache(handle, cache);
        let alloc = |gfp| ask::kmem_cache_alloc(handle, gfp);
        silent(&ORACLE, &model, &record(alloc(GFP_KERNEL), memory(DIRECT, 2048)));
        barks(&ORACLE, &model, &record(alloc(GFP_KERNEL), memory(DIRECT, 1024)), "rules give");
        let refused = Answer::Refused(Refusal::BadArgument);
        silent(&ORACLE, &model, &record(alloc(GFP_KERNEL | __GFP_ZERO), refused));
        barks(&ORACLE, &model, &record(alloc(GFP_KERNEL), refused), "without need");
    }

    #[test]
    fn barks_on_caches_that_cannot_be_and_silent_on_those_that_can() {
        for (size, align, flags, ctor, is_bad) in [
            (0, 0, 0, None, true),
            (0, 0, 0, Some(1), false),
            (64, 0, 0x2000, None, false),
            (64, 0, 0x2001, None, true),
            (64, 0, 0x80000, None, true),
            (64, 0, 0x400_0000, None, false),
            (64, 1 << 20, 0, None, false),
            (64, 1 << 23, 0, None, true),
            (0xffff_fff9, 0, 0, None, true),
            (4 << 20, 0, 0, Some(1), true),
        ] {
            let flags = SlabFlags(flags);
            let request = ask::kmem_cache_create(size, align, flags, ctor);
            let made = record(request, Answer::Cache(CacheHandle(1)));
            let refused = record(request, Answer::Refused(Refusal::BadArgument));
            match is_bad {
                true => barks(&ORACLE, &model(), &made, "kmem_cache_create"),
                false => {
                    silent(&ORACLE, &model(), &made);
                    barks(&ORACLE, &model(), &refused, "kmem_cache_create");
                }
            }
        }
    }

    #[test]
    fn barks_on_a_bug_that_the_version_does_not_have() {
        let request = ask::kvmalloc(9000, GFP_ATOMIC);
        let mut refused = record(request, Answer::Refused(Refusal::BadContext));
        let v5_17 =
            model_of(&Machine { policy: Machine::policy_named("v5.17"), ..Machine::default() });
        // There is a block for the first try.
        barks(&ORACLE, &v5_17, &refused, "without need");
        refused.before_mut().nr_free_blocks = [64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        barks(&ORACLE, &model(), &refused, "without need");
        silent(&ORACLE, &v5_17, &refused);
    }

    #[test]
    fn silent_on_promises_kept_and_real_shortages() {
        let model = model();
        silent(&ORACLE, &model, &record(KMALLOC, memory(DIRECT + 64, 64)));
        silent(&ORACLE, &model, &record(ORDER_1, memory(DIRECT + 8192, 8192)));
        silent(&ORACLE, &model, &record(AREA, memory(VMALLOC, 4096)));
        let mut short = record(ORDER_1, Answer::Refused(Refusal::Pages { order: 1 }));
        short.before_mut().nr_free_pages = 17;
        silent(&ORACLE, &model, &short);
        let overflow = ask::kmalloc_array(u64::MAX, 2, GFP_KERNEL);
        silent(&ORACLE, &model, &record(overflow, Answer::Refused(Refusal::Overflow)));
    }
}
