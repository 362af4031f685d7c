//! What a caller is told, what it is stopped at, and what its report says.

use super::gfp::{__GFP_NOFAIL, __GFP_ZERO, GFP_KERNEL};
use super::{Config, Context, Explored, Finding, Kernel, NoMemory, Pointer, Rule, explore};
use crate::trace::Machine;
use crate::words::SlabFlags;

/// The mistake of a caller in an ordinary run.
#[track_caller]
fn mistake(caller: impl Fn(&Kernel) -> Result<(), NoMemory>) -> Box<Finding> {
    explore(&Config::new().plan(""), caller).expect_err("a mistake")
}

#[track_caller]
fn broken(rule: Rule, caller: impl Fn(&Kernel) -> Result<(), NoMemory>) {
    let finding = mistake(caller);
    assert_eq!(finding.misuse.rule, rule, "{finding}");
}

#[test]
fn a_stale_pointer_is_known_where_its_address_is_in_use_again() {
    let stale = |kv: &Kernel, use_it: fn(&Kernel, Pointer)| {
        let first = kv.kmalloc(0x40, GFP_KERNEL)?;
        kv.kfree(first);
        let second = kv.kmalloc(0x40, GFP_KERNEL)?;
        assert_eq!(first, second, "the object freed last is given next");
        use_it(kv, first);
        kv.kfree(second);
        Ok(())
    };
    broken(Rule::UseAfterFree, |kv| stale(kv, |_, first| first.store(1)));
    broken(Rule::UseAfterFree, |kv| stale(kv, |kv, first| assert_eq!(kv.ksize(first), 0x40)));
    broken(Rule::DoubleFree, |kv| stale(kv, Kernel::kfree));
}

#[test]
fn no_byte_beyond_those_asked_for_is_the_callers() {
    let use_of = |kv: &Kernel, offset: u64, len: usize| {
        let memory = kv.kmalloc(100, GFP_KERNEL)?;
        memory.at(offset).read(len);
        kv.kfree(memory);
        Ok(())
    };
    assert!(explore(&Config::new(), |kv| use_of(kv, 0, 100)).is_ok());
    assert!(explore(&Config::new(), |kv| use_of(kv, 99, 1)).is_ok());
    broken(Rule::OutOfBounds, |kv| use_of(kv, 99, 2));
    broken(Rule::OutOfBounds, |kv| use_of(kv, u64::MAX, 1));
    broken(Rule::OutOfBounds, |kv| {
        kv.kmalloc(0, GFP_KERNEL)?.store(1);
        Ok(())
    });
    broken(Rule::NoAddress, |kv| {
        kv.null().at(8).load();
        Ok(())
    });
}

#[test]
fn what_is_left_at_the_end_is_named() {
    let finding = mistake(|kv| {
        kv.vmalloc(0x1000)?;
        kv.kmalloc(0x20, GFP_KERNEL)?;
        Ok(())
    });
    assert_eq!(finding.misuse.rule, Rule::Leak);
    let says = "memory of vmalloc is not freed, the first of 2; 4128 bytes are left";
    assert_eq!(finding.misuse.says, says);
    broken(Rule::Leak, |kv| kv.kmem_cache_create(0x40, 0, SlabFlags(0), None).map(|_| ()));
    broken(Rule::OpenScope, |kv| {
        kv.memalloc_noio_save();
        Ok(())
    });
    broken(Rule::OpenScope, |kv| {
        kv.memalloc_noio_save();
        kv.memalloc_nofs_restore();
        Ok(())
    });
}

#[test]
fn several_objects_come_and_go_at_once() {
    let bulk = |kv: &Kernel, free: fn(&Kernel, crate::words::CacheHandle, &[Pointer])| {
        let cache = kv.kmem_cache_create(0x40, 0, SlabFlags(0), None)?;
        let result = kv.kmem_cache_alloc_bulk(cache, GFP_KERNEL, 4).map(|objects| {
            objects.iter().for_each(|object| object.fill(1, 0x40));
            free(kv, cache, &objects);
        });
        kv.kmem_cache_destroy(cache);
        result
    };
    let right = explore(&Config::new(), |kv| {
        bulk(kv, |kv, cache, objects| {
            kv.kmem_cache_free(cache, objects[1]);
            kv.kmem_cache_free_bulk(cache, &[objects[0], objects[2], objects[3]]);
        })
    });
    assert!(right.is_ok_and(|explored| explored.nr_refused > 10));
    broken(Rule::BusyCache, |kv| {
        bulk(kv, |kv, cache, all| kv.kmem_cache_free_bulk(cache, &all[1..]))
    });
    broken(Rule::DoubleFree, |kv| {
        bulk(kv, |kv, cache, objects| {
            kv.kmem_cache_free(cache, objects[1]);
            kv.kmem_cache_free_bulk(cache, objects);
        })
    });
}

/// Memory that frees itself, as a Rust driver's would.
struct Owned<'k>(&'k Kernel, Pointer<'k>);

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        self.0.kvfree(self.1);
    }
}

#[test]
fn a_caller_that_is_left_may_free_on_its_way_out() {
    broken(Rule::OutOfBounds, |kv| {
        let owned = Owned(kv, kv.kvmalloc(0x40, GFP_KERNEL)?);
        owned.1.fill(0, 0x41);
        Ok(())
    });
}

#[test]
fn hostile_placement_keeps_what_is_promised_and_no_more() {
    let aligned = |size: u64, align: u64| {
        move |kv: &Kernel| {
            let memory = kv.kmalloc(size, GFP_KERNEL)?;
            memory.aligned(align).write(&[0]);
            kv.kfree(memory);
            Ok::<_, NoMemory>(())
        }
    };
    for (size, align) in [(8, 8), (64, 64), (100, 8), (192, 8), (0x1000, 0x1000), (0x4000, 0x4000)]
    {
        let explored = explore(&Config::new(), aligned(size, align));
        assert!(explored.is_ok(), "{size}, {align}: {explored:?}");
        if !size.is_power_of_two() {
            let finding = explore(&Config::new(), aligned(size, 2 * align)).expect_err("8 bytes");
            assert_eq!(finding.plan.to_string(), "1: least-aligned");
        }
    }
    // Since 6.11 the largest power of two that divides the size is promised.
    assert!(explore(&Config::new().version("v6.12"), aligned(192, 64)).is_ok());
    assert!(explore(&Config::new().version("v6.12"), aligned(192, 128)).is_err());
}

#[test]
fn contents_move_with_memory_wherever_it_lies() {
    let explored = explore(&Config::new(), |kv| {
        let small = kv.kmalloc(100, GFP_KERNEL)?;
        small.write(&[7; 100]);
        let larger = kv.krealloc(small, 300, GFP_KERNEL | __GFP_ZERO);
        let larger = larger.inspect_err(|_| {
            assert_eq!(small.read(100), [7; 100]);
            kv.kfree(small);
        })?;
        let kept = larger.read(100);
        kv.kfree(larger);
        Ok::<_, NoMemory>(kept)
    });
    assert!(explored.is_ok(), "{explored:?}");
}

#[test]
fn what_must_not_fail_does_not_and_the_rest_does() {
    let counts = |flags| {
        let caller = |kv: &Kernel| {
            let memory = kv.kvmalloc(0x2000, flags)?;
            kv.kvfree(memory);
            Ok::<_, NoMemory>(())
        };
        explore(&Config::new(), caller).expect("no mistake")
    };
    let Explored { nr_refused, nr_by_vmalloc, nr_sites, .. } = counts(GFP_KERNEL);
    assert!(nr_refused > 10 && nr_by_vmalloc > 100, "{nr_refused}, {nr_by_vmalloc}");
    assert_eq!((nr_sites, counts(GFP_KERNEL | __GFP_NOFAIL).nr_refused), (1, 0));
    assert_eq!(counts(GFP_KERNEL), counts(GFP_KERNEL), "the same is found whenever it is asked");
}

#[test]
fn contexts_nest_and_end() {
    let explored = explore(&Config::new(), |kv| {
        kv.in_context(Context::Softirq, || kv.in_context(Context::Hardirq, || ()));
        kv.kfree(kv.kmalloc(8, GFP_KERNEL)?);
        Ok::<_, NoMemory>(())
    });
    assert!(explored.is_ok(), "{explored:?}");
    broken(Rule::Context, |kv| {
        kv.in_context(Context::Softirq, || {
            kv.in_context(Context::Task, || ());
            kv.kfree(kv.kmalloc(8, GFP_KERNEL)?);
            Ok(())
        })
    });
}

#[test]
fn a_machine_that_is_too_small_is_no_mistake_of_the_caller() {
    let machine = Machine { frames: 256, ..Machine::default() };
    let explored = explore(&Config::new().machine(machine), |kv| {
        let large = kv.kvmalloc(0x10_0000, GFP_KERNEL | super::gfp::__GFP_NORETRY)?;
        kv.kvfree(large);
        Ok::<_, NoMemory>(())
    });
    let explored = explored.unwrap_or_else(|finding| panic!("{finding}"));
    assert_eq!(explored.nr_refused, explored.nr_requests);
}

#[test]
fn every_part_of_a_decision_that_is_not_needed_goes() {
    let caller = |kv: &Kernel| {
        let first = kv.kvmalloc(0x1800, GFP_KERNEL)?;
        let second = kv.kvmalloc(0x1800, GFP_KERNEL).inspect_err(|_| kv.kfree(first))?;
        kv.kvfree(second);
        kv.kvfree(first);
        Ok::<_, NoMemory>(())
    };
    let plan = "1: vmalloc touching junk, 2: slab fails page-end junk, 3: junk";
    let finding = explore(&Config::new().plan(plan), caller).expect_err("a wrong free");
    assert_eq!(finding.plan.to_string(), "1: vmalloc, 2: fails");
}

#[test]
fn a_report_shows_the_way_to_the_mistake() {
    let line = line!() + 2;
    let caller = |kv: &Kernel| {
        let table = kv.kvmalloc(0x2000, GFP_KERNEL)?;
        table.write(b"entries");
        table.at(7).write(b".");
        kv.kfree(table);
        Ok::<_, NoMemory>(())
    };
    let finding = explore(&Config::new(), caller).expect_err("a wrong free");
    let (asked, at) = (format!("{}:{line}:24", file!()), format!("{}:{}:12", file!(), line + 3));
    let what = finding.misuse.says.clone();
    assert!(what.contains("kvfree would be right"), "{what}");
    assert_eq!(
        finding.to_string(),
        format!(
            "the caller breaks the rule 'wrong-free' when request 1 is served by vmalloc
  rule:   memory is freed by a call that frees memory of its kind
  what:   {what}
  at:     {at}
  asked:  {asked}
  found:  in run 3 (routing), shrunk from 1 decisions to 1

    machine (frames: 4096, vmalloc_pages: 4096, min_free: 16, shuffle: 0x1)
    r0 = kvmalloc(0x2000, GFP_KERNEL) (route: vmalloc)
    write(r0, 0x0, 0x8)
--> kfree(r0)

repeat: Config::new().plan(\"1: vmalloc\")"
        )
    );
    let again = explore(&Config::new().plan("1: vmalloc"), caller).expect_err("the same");
    assert_eq!((again.misuse, again.plan), (finding.misuse, finding.plan));
}
