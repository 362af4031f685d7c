//! Wrong frees: every free gets the verdict that the book gives it, and a refused one changes
//! nothing.
//!
//! The one idea: a free is judged by its address alone, as the kernel does it (R6), and from
//! the book of live memory follows the one right answer: accepted, a no-op, or refused by a name.
//! Only for memory that is free may the name depend on the allocator's history.
//!
//! That a refused free left the bytes of live memory alone is seen by `contents`.

use crate::call::Call;
use crate::lane::Record;
use crate::model::{Freeing, Model, Verdict};
use crate::op::Class;
use crate::oracle::{Event, Judgement, Oracle};
use crate::relaxation::{Relaxation, Relaxed};
use crate::subject::{Answer, FreeRefusal, Refusal};
use crate::subject::{Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "wrong-free",
    sentence: "every free gets the verdict of R6, and a refused one changes nothing",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::WrongFrees, Cap::Counters]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let (model, record) = (step.model, step.record);
    match record.request.call {
        Call::Ksize => judge_ksize(model, record),
        Call::KmemCacheDestroy => {
            let cache = record.request.cache().and_then(|cache| model.linux.cache(cache));
            let nr_objects = cache.map_or(0, |cache| cache.nr_objects);
            match record.reply.answer {
                Answer::Done if nr_objects == 0 => Ok(()),
                Answer::Busy(nr) if nr == nr_objects && nr > 0 => Ok(()),
                Answer::Refused(Refusal::BadContext) => Ok(()),
                other => Err(format!("a cache with {nr_objects} live objects: {other:?}")),
            }
        }
        _ => judge_free(record, step.relaxed),
    }?;
    let Answer::BadFree(FreeRefusal { on_linux: Some(words), .. }) = record.reply.answer else {
        return Ok(());
    };
    match model.on_linux(&record.request) {
        Some(expected) if words != expected => {
            Err(format!("{:?}: Linux 6.1 {expected}, and not '{words}'", record.request))
        }
        _ => Ok(()),
    }
}

fn judge_free(record: &Record, relaxed: &Relaxed) -> Judgement {
    let Some(Freeing { addr, verdict: expected, .. }) = record.freeing else { return Ok(()) };
    match (expected, record.reply.answer) {
        (Verdict::Accept(_), Answer::Done) => Ok(()),
        // The request that a reallocation makes is judged elsewhere.
        (Verdict::Accept(_) | Verdict::NoOp, answer)
            if record.want.is_some() && !matches!(answer, Answer::Done | Answer::BadFree(_)) =>
        {
            Ok(())
        }
        (Verdict::NoOp, Answer::Done) => unchanged(record),
        (Verdict::Refuse(class, right), Answer::BadFree(refusal))
            if class == refusal.verdict && (right.is_none() || right == refusal.right) =>
        {
            unchanged(record)
        }
        (Verdict::Refuse(Class::TooLate, _), Answer::Refused(Refusal::TooLate)) => {
            unchanged(record)
        }
        (Verdict::RefuseSomehow, Answer::BadFree(FreeRefusal { .. })) => {
            relaxed.by(Relaxation::FreedMemory);
            unchanged(record)
        }
        (expected, actual) => {
            Err(format!("free of {addr:#x}: expected {expected:?}, got {actual:?}"))
        }
    }
}

fn unchanged(record: &Record) -> Judgement {
    if record.before == record.after {
        return Ok(());
    }
    let changes = record.after.changes_since(&record.before);
    Err(format!("a free that does nothing changed counters: {changes}"))
}

/// `ksize` names the usable size at the start of slab and kmalloc memory, and nothing elsewhere
/// (R1.2).
fn judge_ksize(model: &Model, record: &Record) -> Judgement {
    let addr = record.request.address().unwrap_or(0);
    use crate::model::Kind::{CacheObject, Kmalloc, LargeKmalloc};
    let held = model
        .book
        .at(addr)
        .filter(|held| matches!(held.kind, Kmalloc | CacheObject(_) | LargeKmalloc));
    match (held, record.reply.answer) {
        (None, Answer::Size(0)) if addr <= 16 => Ok(()),
        (Some(held), Answer::Size(size)) if size == held.usable => Ok(()),
        (None, Answer::BadFree(_)) if addr > 16 => Ok(()),
        (held, actual) => {
            let usable = held.map(|held| held.usable);
            Err(format!("ksize of {addr:#x}: usable size {usable:?}, got {actual:?}"))
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::model::Kind;
    use crate::op::Class;
    use crate::oracle::fixture::{DIRECT, VMALLOC, barks, enter, model, record, silent};

    fn refused(verdict: Class, right: Option<&'static str>) -> Answer {
        Answer::BadFree(FreeRefusal { verdict, right, on_linux: Some("oopses") })
    }

    const EXACT: u64 = DIRECT + 0xc000;
    const COHERENT: u64 = DIRECT + 0x10000;

    fn book() -> Model {
        let mut model = model();
        enter(&mut model, DIRECT + 64, 64, Kind::Kmalloc, &[0]);
        let block = |is_compound| Kind::Pages { order: 1, is_compound };
        enter(&mut model, DIRECT + 0x4000, 0x2000, block(false), &[4, 5]);
        enter(&mut model, DIRECT + 0x6000, 0x2000, block(true), &[6, 7]);
        enter(&mut model, VMALLOC, 5000, Kind::Vmalloc, &[8, 9]);
        enter(&mut model, EXACT, 0x3000, Kind::PagesExact { nr_pages: 3 }, &[12, 13, 14]);
        enter(&mut model, COHERENT, 0x2000, Kind::DmaCoherent { order: 1 }, &[16, 17]);
        model
    }

    /// Each row: a free and the only answer that the book allows.
    fn rows() -> Vec<(Request, Answer)> {
        let kfree = |addr| ask::kfree(addr);
        let vfree = |addr| ask::vfree(addr);
        let kvfree = |addr| ask::kvfree(addr);
        let pages = |addr, order| ask::free_pages(addr, order);
        let exact = |addr, size| ask::free_pages_exact(addr, size);
        let coherent = |addr, size| ask::dma_free_coherent(addr, size);
        let put = |page| ask::put_page(page);
        let vunmap = |addr| ask::vunmap(addr);
        let secret = |addr, len| ask::kvfree_sensitive(addr, len);
        vec![
            (kfree(DIRECT + 64), Answer::Done),
            (kvfree(DIRECT + 64), Answer::Done),
            (kvfree(VMALLOC), Answer::Done),
            (pages(DIRECT + 0x4000, 1), Answer::Done),
            (kfree(0), Answer::Done),
            (kvfree(16), Answer::Done),
            (vfree(16), refused(Class::Wild, None)),
            (kfree(VMALLOC), refused(Class::WrongAllocator, Some("vfree"))),
            (vfree(DIRECT + 64), refused(Class::WrongAllocator, Some("kfree"))),
            (kvfree(DIRECT + 0x4000), refused(Class::WrongAllocator, Some("free_pages"))),
            (pages(DIRECT + 0x4000, 0), refused(Class::WrongOrder, Some("free_pages"))),
            (kfree(DIRECT + 72), refused(Class::Interior, Some("kfree"))),
            (kfree(DIRECT + 65), refused(Class::Misaligned, Some("kfree"))),
            (vfree(VMALLOC + 4096), refused(Class::Interior, Some("vfree"))),
            (vfree(VMALLOC + 8192), refused(Class::Interior, Some("vfree"))),
            (vfree(VMALLOC + 8), refused(Class::Misaligned, Some("vfree"))),
            (put(DIRECT + 0x6000), Answer::Done),
            (put(DIRECT + 0x7000), refused(Class::Interior, Some("free_pages"))),
            (put(DIRECT + 0x4000), refused(Class::WrongOrder, Some("free_pages"))),
            (put(DIRECT + 64), refused(Class::WrongAllocator, Some("kfree"))),
            (put(0), refused(Class::Wild, None)),
            (vunmap(0), Answer::Done),
            (vunmap(VMALLOC), refused(Class::WrongAllocator, Some("vfree"))),
            (exact(EXACT, 0x2001), Answer::Done),
            (exact(EXACT, 0x2000), refused(Class::WrongSize, Some("free_pages_exact"))),
            (exact(EXACT + 0x1000, 0x2000), refused(Class::Interior, Some("free_pages_exact"))),
            (pages(EXACT, 2), refused(Class::WrongAllocator, Some("free_pages_exact"))),
            (coherent(COHERENT, 0x1001), Answer::Done),
            (coherent(COHERENT, 0), refused(Class::WrongSize, Some("dma_free_coherent"))),
            (pages(COHERENT, 1), refused(Class::WrongAllocator, Some("dma_free_coherent"))),
            (secret(VMALLOC, 0x2000), Answer::Done),
            (secret(VMALLOC, 0x2001), refused(Class::WrongSize, Some("vfree"))),
            (secret(DIRECT + 64, 65), refused(Class::WrongSize, Some("kfree"))),
            (secret(16, 65), Answer::Done),
            (ask::kfree_sensitive(DIRECT + 64), Answer::Done),
            (kfree(0x1234), refused(Class::Wild, None)),
        ]
    }

    #[test]
    fn silent_on_the_right_verdicts() {
        for (request, answer) in rows() {
            silent(&ORACLE, &book(), &record(request, answer));
        }
        let never_allocated = ask::kfree(DIRECT + 0x9000);
        silent(&ORACLE, &book(), &record(never_allocated, refused(Class::DoubleFree, None)));
    }

    #[test]
    fn barks_on_every_other_verdict() {
        for (request, right) in rows() {
            for other in [Answer::Done, refused(Class::WrongCache, Some("kfree"))] {
                if other != right {
                    barks(&ORACLE, &book(), &record(request, other), "expected");
                }
            }
        }
        let never_allocated = ask::kfree(DIRECT + 0x9000);
        barks(&ORACLE, &book(), &record(never_allocated, Answer::Done), "expected");
    }

    #[test]
    fn barks_on_words_that_are_not_true_of_linux() {
        let mut model = book();
        enter(&mut model, DIRECT + 0x14000, 0x4000, Kind::LargeKmalloc, &[20, 21, 22, 23]);
        let spoken = |verdict, right, words| {
            Answer::BadFree(FreeRefusal { verdict, right, on_linux: Some(words) })
        };
        let (wrong, inside) = (Class::WrongAllocator, Class::Interior);
        let kfree = Some("kfree");
        for (request, verdict, right, words) in [
            (ask::ksize(VMALLOC), wrong, None, "oopses"),
            (ask::ksize(DIRECT + 0x4000), wrong, None, "warns and tells 0"),
            (ask::free_pages(DIRECT + 64, 1), wrong, kfree, "corrupts memory, silently"),
            (
                ask::kfree_sensitive(DIRECT + 0x15000),
                inside,
                kfree,
                "warns, wipes nothing and frees all of it",
            ),
            (
                ask::free_pages_exact(EXACT, 0),
                Class::WrongSize,
                Some("free_pages_exact"),
                "does nothing",
            ),
        ] {
            silent(&ORACLE, &model, &record(request, spoken(verdict, right, words)));
            let untrue = record(request, spoken(verdict, right, "frees it"));
            barks(&ORACLE, &model, &untrue, "Linux 6.1");
        }
    }

    #[test]
    fn barks_on_a_double_free_that_gets_another_name() {
        let mut model = book();
        model.strike(DIRECT + 64, &[0], 0);
        let again = ask::kfree(DIRECT + 64);
        barks(&ORACLE, &model, &record(again, refused(Class::Wild, None)), "DoubleFree");
        silent(&ORACLE, &model, &record(again, refused(Class::DoubleFree, None)));
    }

    #[test]
    fn barks_on_a_refused_free_that_changed_something() {
        let request = ask::kfree(VMALLOC);
        let mut refusal = record(request, refused(Class::WrongAllocator, Some("vfree")));
        refusal.after_mut().nr_free_pages += 1;
        barks(&ORACLE, &book(), &refusal, "changed");
    }

    #[test]
    fn barks_on_a_wrong_ksize() {
        let request = ask::ksize(DIRECT + 64);
        barks(&ORACLE, &book(), &record(request, Answer::Size(32)), "ksize");
        silent(&ORACLE, &book(), &record(request, Answer::Size(64)));
        silent(&ORACLE, &book(), &record(ask::ksize(0), Answer::Size(0)));
    }
}
