//! Injection: a failure is injected where it was asked for, and nowhere else.
//!
//! A plan counts calls at a site, and a request makes at least one call at the site of what it
//! takes: a block from the page allocator, an object from a slab, an area from the vmalloc space
//! (R8.2). So a plan that names the first call must have fired. An allocator that reports more
//! failures than were asked for could excuse any refusal with them.
//!
//! What an injected failure may lead to is judged in `contract` and `nofail`.

use crate::model::Kind;
use crate::op::Faults;
use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "injection",
    sentence: "failures are injected where they were asked for, and nowhere else",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Faults, Cap::Spaces]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let (record, faults) = (step.record, step.record.faults);
    let nr_fired = record.reply.nr_faults;
    let Faults { any, slab, page_alloc, vmap } = faults;
    // Each entry of a plan fires once.
    let nr_asked = [any, slab, page_alloc, vmap].into_iter().filter(|nth| *nth > 0).count();
    if nr_fired as usize > nr_asked {
        return Err(format!("{nr_fired} failures were injected, and {nr_asked} asked for"));
    }
    let Some((want, granted)) = step.grant() else { return Ok(()) };
    if !granted.is_memory() || granted.stays {
        return Ok(());
    }
    let (site, nth) = match granted.kind {
        // Whoever asks for a range again, or for one of small pages, is served all the same.
        Kind::Vmalloc if nr_fired > 0 => return Ok(()),
        Kind::Vmalloc => ("fail_vmap", vmap),
        // No other site spares those that must not fail.
        _ if want.is_nofail() => return Ok(()),
        Kind::Kmalloc | Kind::CacheObject(_) => ("failslab", slab),
        Kind::Boot | Kind::Heap { .. } | Kind::Frames => return Ok(()),
        _ => ("fail_page_alloc", page_alloc),
    };
    if nth == 1 || any == 1 {
        return Err(format!("{:?} was served; {site} was to fail its first call", record.request));
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::lane::Record;
    use crate::oracle::fixture::{DIRECT, VMALLOC, barks, memory, model, record, silent};
    use crate::words::gfp::{__GFP_NOFAIL, GFP_KERNEL};

    const NONE: Faults = Faults { any: 0, slab: 0, page_alloc: 0, vmap: 0 };

    fn served(request: Request, addr: u64, faults: Faults, nr_faults: u32) -> Record {
        let mut record = record(request, memory(addr, 4096));
        record.faults = faults;
        record.reply.nr_faults = nr_faults;
        record
    }

    #[test]
    fn barks_on_a_plan_that_was_forgotten() {
        let (slab, page_alloc) = (Faults { slab: 1, ..NONE }, Faults { page_alloc: 1, ..NONE });
        let (vmap, any) = (Faults { vmap: 1, ..NONE }, Faults { any: 1, ..NONE });
        let (kmalloc, vmalloc) = (ask::kmalloc(64, GFP_KERNEL), ask::vmalloc(64));
        let pages = ask::alloc_pages(GFP_KERNEL, 0);
        barks(&ORACLE, &model(), &served(kmalloc, DIRECT, slab, 0), "failslab");
        barks(&ORACLE, &model(), &served(pages, DIRECT, page_alloc, 0), "fail_page_alloc");
        barks(&ORACLE, &model(), &served(vmalloc, VMALLOC, vmap, 0), "fail_vmap");
        for (request, addr) in [(kmalloc, DIRECT), (pages, DIRECT), (vmalloc, VMALLOC)] {
            barks(&ORACLE, &model(), &served(request, addr, any, 0), "first call");
        }
        // Without its only block there is no memory.
        barks(&ORACLE, &model(), &served(pages, DIRECT, page_alloc, 1), "fail_page_alloc");
    }

    #[test]
    fn barks_on_a_failure_that_nobody_asked_for() {
        let pages = ask::alloc_pages(GFP_KERNEL, 0);
        barks(&ORACLE, &model(), &served(pages, DIRECT, NONE, 1), "0 asked for");
        let second = Faults { page_alloc: 2, ..NONE };
        barks(&ORACLE, &model(), &served(pages, DIRECT, second, 2), "1 asked for");
    }

    #[test]
    fn silent_on_sites_that_were_not_passed_or_spare_the_request() {
        let nofail = ask::alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0);
        let page_alloc = Faults { page_alloc: 1, ..NONE };
        silent(&ORACLE, &model(), &served(nofail, DIRECT, page_alloc, 0));
        let vmap = Faults { vmap: 1, ..NONE };
        silent(&ORACLE, &model(), &served(ask::alloc_pages(GFP_KERNEL, 0), DIRECT, vmap, 0));
        silent(&ORACLE, &model(), &served(ask::vmalloc(64), VMALLOC, vmap, 1));
        // A slab that was there needs no page.
        silent(&ORACLE, &model(), &served(ask::kmalloc(64, GFP_KERNEL), DIRECT, page_alloc, 0));
        let second = Faults { page_alloc: 2, ..NONE };
        silent(&ORACLE, &model(), &served(ask::alloc_pages(GFP_KERNEL, 0), DIRECT, second, 0));
    }
}
