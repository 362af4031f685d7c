//! Routing: memory lies on the side that the route and the rules of kvmalloc name.
//!
//! The address says which side served a request, so the side needs no telling. Where the policy
//! leaves a choice, the slab side must have been taken if it plainly could serve (R5.1).
//!
//! That `kvfree` takes memory of both sides is judged in `wrong_free`.

use crate::call::{Request, Role};
use crate::model::Granted;
use crate::model::linux::effort::lowest_watermark;
use crate::model::linux::rules::{KMALLOC_MAX_CACHE, has_block};
use crate::model::{Interface, Want};
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::relaxation::Relaxation;
use crate::subject::{Cap, Caps, Pack};
use crate::words::{Route, order_of};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "routing",
    sentence: "memory lies on the side that its route and R5.1 name",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Spaces, Cap::Counters]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let Some((want, Granted { addr, size, stays, .. })) = step.grant() else { return Ok(()) };
    if stays {
        return Ok(());
    }
    if size == 0 && matches!(want.interface, Interface::Kmalloc | Interface::Kvmalloc { .. }) {
        if addr == 16 {
            return Ok(());
        }
        return Err(format!("a request of no bytes got {addr:#x} and not ZERO_SIZE_PTR"));
    }
    if size == 0 && want.from.is_some() {
        if addr == 0 {
            return Ok(());
        }
        return Err(format!("mapped memory without bytes became {addr:#x} and not NULL"));
    }
    let (is_slab, is_vmalloc) = (step.model.book.is_direct(addr), step.model.book.is_vmalloc(addr));
    if !is_slab && !is_vmalloc {
        return Err(format!("{addr:#x} lies neither in the direct map nor in the vmalloc space"));
    }
    let (slab, vmalloc) = match want.interface {
        Interface::Kvmalloc { route } => {
            let sides = step.model.linux.policy().sides(size, want.gfp, route);
            let may_fall_back = sides.vmalloc && !must_be_slab(step, want, size, route);
            let is_unsure = size <= KMALLOC_MAX_CACHE && sides.slab && is_vmalloc && may_fall_back;
            step.relaxed.if_so(is_unsure, Relaxation::FullSlab);
            (sides.slab, may_fall_back)
        }
        Interface::Vmalloc { .. } => (false, true),
        _ => (true, false),
    };
    match (is_slab && !slab, is_vmalloc && !vmalloc) {
        (true, _) => Err(format!("{addr:#x} lies in the direct map; this request is vmalloc's")),
        (_, true) => Err(format!("{addr:#x} lies in the vmalloc space; this request is kmalloc's")),
        _ => within_range(step.record.request, step, addr, size),
    }
}

/// Whether the policy's first try, kmalloc, plainly had a block to take. Size classes are left out:
/// a slab may have been full.
fn must_be_slab(step: &Step, want: &Want, size: u64, route: Route) -> bool {
    let plain = route == Route::Policy && size > KMALLOC_MAX_CACHE;
    let policy = step.model.linux.policy();
    // The first try may have lost __GFP_NOFAIL, and with it the way below the watermark.
    let gfp = policy.first_try(size, want.gfp, route);
    plain
        && policy.sides(size, want.gfp, route).slab
        && step.record.reply.nr_faults == 0
        && has_block(
            &step.record.before,
            order_of(size),
            gfp,
            lowest_watermark(gfp, order_of(size), step.record.caller, step.min_free),
            step.record.only_node(want),
        )
}

fn within_range(request: Request, step: &Step, addr: u64, size: u64) -> Judgement {
    let ends = request.get(Role::RangeStart).zip(request.get(Role::RangeEnd));
    let Some((start, end)) = ends else { return Ok(()) };
    let base = step.model.book.layout().vmalloc_start;
    // The guard page belongs to the area and must lie in the range too (R4.7).
    let area_end = addr + size.next_multiple_of(4096) + 4096;
    let range = base.saturating_add(start)..=base.saturating_add(end);
    if range.contains(&addr) && range.contains(&area_end) {
        return Ok(());
    }
    Err(format!("the area {addr:#x}..{area_end:#x} leaves the range {range:#x?}"))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::lane::Record;
    use crate::oracle::fixture::{
        DIRECT, VMALLOC, barks, memory, model, model_of, record, relaxes, silent,
    };
    use crate::trace::Machine;
    use crate::words::gfp::{GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, Gfp};

    fn kvmalloc(size: u64, gfp: Gfp, route: Route, addr: u64) -> Record {
        record(ask::kvmalloc(size, gfp).by(route), memory(addr, size))
    }

    #[test]
    fn barks_on_the_side_that_the_route_does_not_name() {
        let model = model();
        barks(&ORACLE, &model, &kvmalloc(64, GFP_KERNEL, Route::Vmalloc, DIRECT), "vmalloc's");
        barks(&ORACLE, &model, &kvmalloc(64, GFP_KERNEL, Route::Slab, VMALLOC), "kmalloc's");
        barks(&ORACLE, &model, &kvmalloc(64, GFP_KERNEL, Route::Policy, VMALLOC), "kmalloc's");
        barks(&ORACLE, &model, &kvmalloc(9000, GFP_ATOMIC, Route::Policy, VMALLOC), "kmalloc's");
        barks(&ORACLE, &model, &kvmalloc(64, GFP_KERNEL, Route::Slab, 4096), "neither");
    }

    #[test]
    fn barks_on_a_fallback_without_need() {
        let model = model();
        let mut fallback = kvmalloc(9000, GFP_KERNEL, Route::Policy, VMALLOC);
        barks(&ORACLE, &model, &fallback, "kmalloc's");
        fallback.before_mut().nr_free_blocks = [64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        silent(&ORACLE, &model, &fallback);
    }

    #[test]
    fn says_that_a_slab_may_have_been_full() {
        let mut small = kvmalloc(8000, GFP_KERNEL, Route::Policy, VMALLOC);
        small.before_mut().nr_free_blocks = [64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        relaxes(&ORACLE, &model(), &small, Relaxation::FullSlab);
    }

    #[test]
    fn barks_on_a_fallback_that_the_version_or_the_cutoff_forbids() {
        let v4_18 =
            model_of(&Machine { policy: Machine::policy_named("v4.18"), ..Machine::default() });
        let mut fallback = kvmalloc(9000, GFP_NOFS, Route::Policy, VMALLOC);
        fallback.before_mut().nr_free_blocks = [64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        barks(&ORACLE, &v4_18, &fallback, "kmalloc's");
        barks(
            &ORACLE,
            &model_of(&Machine { cutoff: 3, ..Machine::default() }),
            &fallback,
            "kmalloc's",
        );
        silent(&ORACLE, &model(), &fallback);
    }

    #[test]
    fn barks_on_no_bytes_that_are_not_zero_size_ptr() {
        barks(&ORACLE, &model(), &kvmalloc(0, GFP_KERNEL, Route::Policy, DIRECT), "ZERO_SIZE_PTR");
        silent(&ORACLE, &model(), &kvmalloc(0, GFP_KERNEL, Route::Vmalloc, 16));
    }

    #[test]
    fn barks_on_an_area_outside_its_range() {
        let (size, align, gfp) = (4096, 1, GFP_KERNEL);
        let request = ask::__vmalloc_node_range(size, align, 0x1000, 0x3000, gfp);
        barks(&ORACLE, &model(), &record(request, memory(VMALLOC + 0x2000, 4096)), "leaves");
        silent(&ORACLE, &model(), &record(request, memory(VMALLOC + 0x1000, 4096)));
    }

    #[test]
    fn silent_on_the_side_that_the_rules_name() {
        let model = model();
        silent(&ORACLE, &model, &kvmalloc(64, GFP_KERNEL, Route::Policy, DIRECT));
        silent(&ORACLE, &model, &kvmalloc(64, GFP_KERNEL, Route::Vmalloc, VMALLOC));
        silent(&ORACLE, &model, &kvmalloc(5 << 20, GFP_KERNEL, Route::Slab, VMALLOC));
    }
}
