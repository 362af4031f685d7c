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
pub(super) fn broken(rule: Rule, caller: impl Fn(&Kernel) -> Result<(), NoMemory>) {
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
fn a_reallocation_leaves_its_neighbours_alone() {
    let explored = explore(&Config::new(), |kv| {
        let small = kv.kmalloc(100, GFP_KERNEL)?;
        let beside = kv.kmalloc(100, GFP_KERNEL).inspect_err(|_| kv.kfree(small))?;
        small.write(&[7; 100]);
        beside.write(&[9; 100]);
        let larger = kv.krealloc(small, 3000, GFP_KERNEL);
        let (kept, refused) = match larger {
            Ok(larger) => (larger, None),
            Err(error) => (small, Some(error)),
        };
        assert_eq!((kept.read(100), beside.read(100)), (vec![7; 100], vec![9; 100]));
        kv.kfree(kept);
        kv.kfree(beside);
        refused.map_or(Ok(()), Err)
    });
    assert!(explored.is_ok(), "{explored:?}");
}

#[test]
fn scopes_are_the_tasks_own() {
    let explored = explore(&Config::new(), |kv| {
        kv.memalloc_nofs_save();
        kv.as_task(1, || kv.memalloc_nofs_save());
        kv.memalloc_nofs_restore();
        kv.as_task(1, || kv.in_filesystem(|| kv.vmalloc(8).map(|area| kv.vfree(area))))?;
        kv.as_task(1, || kv.memalloc_nofs_restore());
        Ok::<_, NoMemory>(())
    });
    let finding = explored.expect_err("left open where the area is refused");
    assert_eq!(finding.misuse.rule, Rule::OpenScope, "{finding}");
    broken(Rule::Reentry, |kv| {
        kv.as_task(1, || kv.memalloc_nofs_save());
        let area = kv.in_filesystem(|| kv.vmalloc(8));
        kv.as_task(1, || kv.memalloc_nofs_restore());
        area.map(|area| kv.vfree(area))
    });
}

#[test]
fn a_device_writes_across_scattered_pages() {
    let explored = explore(&Config::new(), |kv| {
        let area = kv.vzalloc(0x2000)?;
        for page in 0..2 {
            kv.device_write(kv.vmalloc_to_page(area.at(page * 0x1000)) * 0x1000, &[5; 0x1000]);
        }
        assert_eq!(area.read(0x2000), [5; 0x2000]);
        kv.vfree(area);
        Ok::<_, NoMemory>(())
    });
    assert!(explored.is_ok(), "{explored:?}");
}

#[test]
fn what_is_behind_an_address_is_there_whatever_lies_before_it() {
    let explored = explore(&Config::new(), |kv| {
        let memory = kv.kmalloc(0x1800, GFP_KERNEL)?;
        kv.device_write(kv.virt_to_phys(memory), &[3; 0x1800]);
        assert_eq!(memory.read(0x1800), [3; 0x1800]);
        assert_eq!(kv.virt_to_phys(memory) % 0x1000, memory.addr() % 0x1000);
        assert!(kv.ksize(memory) >= 0x1800);
        kv.kfree(kv.pointer(memory.addr()));
        Ok::<_, NoMemory>(())
    });
    assert!(explored.is_ok(), "{explored:?}");
}

#[test]
fn a_device_sees_coherent_memory_at_its_own_address() {
    let explored = explore(&Config::new(), |kv| {
        let ring = kv.dma_alloc_coherent(0x1800, GFP_KERNEL)?;
        let bus = kv.bus_of(ring.at(8)).expect("it is coherent");
        kv.device_write(bus, &[4; 8]);
        let seen = ring.at(8).load();
        kv.dma_free_coherent(ring, 0x1800);
        Ok::<_, NoMemory>(seen)
    });
    assert!(explored.is_ok(), "{explored:?}");
}

#[test]
fn making_a_cache_fails_like_any_request() {
    let explored = explore(&Config::new(), |kv| {
        let cache = kv.kmem_cache_create(0x40, 0, SlabFlags(0), None)?;
        kv.kmem_cache_destroy(cache);
        Ok::<_, NoMemory>(())
    });
    assert!(explored.is_ok_and(|explored| explored.nr_sites == 1 && explored.nr_refused > 2));
}

#[test]
fn a_caller_that_makes_do_with_less_is_compared_with_its_like() {
    // What is refused in every run leaves the rest to be judged.
    let caller = |kv: &Kernel, filling: u8| {
        assert!(kv.kmalloc(1 << 23, GFP_KERNEL | super::gfp::__GFP_NOWARN).is_err());
        let table = kv.kvmalloc(64, GFP_KERNEL)?;
        table.fill(filling, 32);
        let sum: u32 =
            table.read(if filling > 0 { 32 } else { 64 }).into_iter().map(u32::from).sum();
        kv.kvfree(table);
        Ok::<_, NoMemory>(sum)
    };
    assert!(explore(&Config::new(), |kv| caller(kv, 1)).is_ok());
    let finding = explore(&Config::new(), |kv| caller(kv, 0)).expect_err("bytes that it never set");
    assert_eq!(finding.misuse.rule, Rule::Difference, "{finding}");
    // Who falls back to less returns less.
    let falls_back = explore(&Config::new(), |kv| {
        let large = kv.kvmalloc(0x4000, GFP_KERNEL).map(|table| (table, 4));
        let (table, nr) = large.or_else(|_| Ok((kv.kvmalloc(0x1000, GFP_KERNEL)?, 1)))?;
        kv.kvfree(table);
        Ok::<_, NoMemory>(nr)
    });
    assert!(falls_back.is_ok(), "{falls_back:?}");
}

#[test]
fn a_mistake_that_is_caught_on_its_way_out_counts() {
    let finding = mistake(|kv| {
        let table = kv.kmalloc(64, GFP_KERNEL)?;
        let worker = std::panic::AssertUnwindSafe(|| kv.vfree(table));
        assert!(std::panic::catch_unwind(worker).is_err());
        kv.kfree(table);
        Ok(())
    });
    assert_eq!(finding.misuse.rule, Rule::WrongFree, "{finding}");
}

#[test]
fn one_panic_is_not_another() {
    let caller = |kv: &Kernel| {
        let table = kv.kvmalloc(0x2000, GFP_KERNEL).expect("a table");
        let is_mapped = kv.is_vmalloc_addr(table);
        kv.kvfree(table);
        assert!(!is_mapped, "the table is mapped");
        Ok::<_, NoMemory>(())
    };
    let finding = explore(&Config::new().plan("1: vmalloc, 2: fails"), caller).expect_err("mapped");
    assert_eq!(finding.misuse.says, "it panics: the table is mapped");
    assert_eq!(finding.plan.to_string(), "1: vmalloc");
    assert!(finding.to_string().contains("test.rs:"), "{finding}");
}

#[test]
fn who_makes_many_calls_says_how_many() {
    let caller = |kv: &Kernel| {
        for _ in 0..6_000 {
            kv.kfree(kv.kmalloc(8, GFP_KERNEL)?);
        }
        Ok::<_, NoMemory>(())
    };
    broken(Rule::Endless, caller);
    assert!(explore(&Config::new().calls_max(20_000).plan(""), caller).is_ok());
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
    let nofail = counts(GFP_KERNEL | __GFP_NOFAIL);
    assert_eq!((nr_sites, nofail.nr_refused), (1, 0));
    assert_eq!(counts(GFP_KERNEL).nr_runs, nofail.nr_runs + 2, "what may not fail is not failed");
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
fn memory_without_a_lock_is_freed_without_one() {
    let free = |kv: &Kernel, free: fn(&Kernel, Pointer)| {
        free(kv, kv.kmalloc_nolock(0x40, __GFP_ZERO, None)?);
        Ok(())
    };
    broken(Rule::WrongFree, |kv| free(kv, Kernel::kfree));
    broken(Rule::WrongFree, |kv| free(kv, |kv, memory| kv.kfree_rcu(memory, 0)));
    assert!(explore(&Config::new().plan(""), |kv| free(kv, Kernel::kfree_nolock)).is_ok());
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
