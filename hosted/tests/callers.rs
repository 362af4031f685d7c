//! Callers with real pointers: each mistake is found on real memory, and right callers are not
//! accused.
#![expect(unsafe_code, reason = "the callers use raw pointers, which is what they are for")]

use kvroute_harness::words::{Context, Gfp};
use kvroute_hosted::caller::gfp::GFP_KERNEL;
use kvroute_hosted::caller::{
    Allocator, Config, Failure, Finding, KVmalloc, Kernel, Kmalloc, NoMemory, Vmalloc, explore,
};
use std::alloc::Layout;
use std::ptr::NonNull;

fn found(caller: impl Fn(&Kernel) -> Result<(), NoMemory>) -> Finding {
    match explore(&Config::new().seeds(64), caller) {
        Err(Failure::Found(finding)) => *finding,
        Err(Failure::Trouble(what)) => panic!("{what}"),
        Ok(explored) => panic!("nothing was found in {explored:?}"),
    }
}

/// What a finding is about, and the plan that shows it.
fn short(finding: &Finding) -> (&str, String) {
    (finding.finding.misuse.rule.name(), finding.finding.plan.to_string())
}

/// # Safety
/// So many bytes from `memory` on are mapped, or the caller wants to know.
unsafe fn write(memory: NonNull<u8>, offset: usize, byte: u8) {
    // SAFETY: what is asked of this one's caller.
    unsafe { memory.as_ptr().wrapping_add(offset).write_volatile(byte) };
}

#[test]
fn a_right_caller_is_not_accused() {
    let explored = explore(&Config::new().seeds(200), |kv: &Kernel| {
        let table = kv.kvcalloc(64, 96, GFP_KERNEL)?;
        let small = kv.kmalloc(100, GFP_KERNEL).inspect_err(|_| kv.kvfree(table.as_ptr()))?;
        let mut sum = 0_u64;
        for at in 0..64 * 96 {
            // SAFETY: all of it was asked for.
            sum += u64::from(unsafe { table.as_ptr().add(at).read() });
            // SAFETY: as above.
            unsafe { write(table, at, at as u8) };
        }
        // SAFETY: as above.
        unsafe { write(small, 99, 1) };
        let grown = kv.krealloc(small.as_ptr(), 500, GFP_KERNEL);
        let last = grown.unwrap_or(small);
        // SAFETY: it was asked for, and written.
        sum += u64::from(unsafe { last.as_ptr().add(99).read() });
        kv.kfree(last.as_ptr());
        kv.kvfree(table.as_ptr());
        grown.map(|_| sum)
    });
    let explored = explored.unwrap();
    assert!(explored.nr_runs > 200 && explored.nr_by_vmalloc > 50, "{explored:?}");
}

#[test]
fn a_wrong_free_is_found_by_routing_and_has_both_stacks() {
    let finding = found(|kv| {
        let table = kv.kvmalloc(0x1800, GFP_KERNEL)?;
        kv.kfree(table.as_ptr());
        Ok(())
    });
    assert_eq!(short(&finding), ("wrong-free", "1: vmalloc".into()), "{finding}");
    let text = finding.to_string();
    assert!(text.contains("--> kfree(r0)") && text.contains("tests/callers.rs"), "{text}");
    for whose in ["at", "asked"] {
        let stack = finding.stacks.iter().find(|(of, _)| of == whose).expect("a stack");
        let first = stack.1.lines().nth(1).unwrap_or_default();
        assert!(first.contains("tests/callers.rs"), "'{whose}' is not in the caller:\n{text}");
    }
}

#[test]
fn a_double_free_is_found() {
    let finding = found(|kv| {
        let memory = kv.kmalloc(64, GFP_KERNEL)?;
        kv.kfree(memory.as_ptr());
        kv.kfree(memory.as_ptr());
        Ok(())
    });
    assert_eq!(short(&finding), ("double-free", String::new()), "{finding}");
    assert!(finding.finding.misuse.freed_at.is_some(), "{finding}");
}

#[test]
fn a_leak_is_found_where_it_was_asked_for() {
    let finding = found(|kv| {
        let first = kv.kmalloc(64, GFP_KERNEL)?;
        let second = kv.kmalloc(64, GFP_KERNEL)?;
        kv.kfree(second.as_ptr());
        kv.kfree(first.as_ptr());
        Ok(())
    });
    assert_eq!(short(&finding), ("leak", "2: fails".into()), "{finding}");
    assert!(finding.finding.misuse.asked_at.is_some(), "{finding}");
}

#[test]
fn an_access_to_a_revoked_area_is_a_use_after_free() {
    let finding = found(|kv| {
        let area = kv.vmalloc(0x3000)?;
        kv.vfree(area.as_ptr());
        // SAFETY: none; the fault is what the test is about.
        unsafe { write(area, 0x1008, 1) };
        Ok(())
    });
    assert_eq!(short(&finding), ("use-after-free", String::new()), "{finding}");
    assert!(finding.finding.misuse.says.contains("offset 4104"), "{finding}");
    assert!(finding.stacks.iter().any(|(whose, _)| whose == "freed"), "{finding}");
}

#[test]
fn what_is_queued_may_be_read_until_a_grace_period_ends() {
    let caller = |kv: &Kernel, ticks: usize| {
        let area = kv.kvzalloc(0x3000, GFP_KERNEL)?;
        kv.kvfree_rcu(area.as_ptr(), 0x20);
        (0..ticks).for_each(|_| kv.tick());
        // SAFETY: it is mapped until the tick; beyond that the fault is what the test is about.
        let byte = unsafe { area.as_ptr().add(0x1008).read_volatile() };
        Ok::<u8, NoMemory>(byte)
    };
    let explored = explore(&Config::new(), |kv| caller(kv, 0)).unwrap();
    assert!(explored.nr_by_vmalloc > 0, "{explored:?}");
    // By slab the page is still there, and what it holds is another answer.
    let finding = found(|kv| caller(kv, 1).map(|_| ()));
    assert_eq!(short(&finding), ("use-after-free", "1: vmalloc".into()), "{finding}");
}

#[test]
fn a_write_into_the_guard_page_is_out_of_bounds() {
    let finding = found(|kv| {
        let area = kv.kvmalloc(0x2000, GFP_KERNEL)?;
        // SAFETY: none; by slab it is the next object, by vmalloc the guard page.
        unsafe { write(area, 0x2000, 0) };
        kv.kvfree(area.as_ptr());
        Ok(())
    });
    assert_eq!(short(&finding), ("out-of-bounds", "1: vmalloc".into()), "{finding}");
}

#[test]
fn a_write_into_the_slack_is_out_of_bounds() {
    let finding = found(|kv| {
        let text = kv.kmalloc(100, GFP_KERNEL)?;
        // SAFETY: the object has 128 bytes, of which 100 were asked for.
        unsafe { write(text, 100, 0) };
        kv.kfree(text.as_ptr());
        Ok(())
    });
    assert_eq!(short(&finding), ("out-of-bounds", String::new()), "{finding}");
    assert!(finding.finding.misuse.says.contains("offset 100 of 100"), "{finding}");
}

#[test]
fn a_write_into_freed_slab_memory_is_found_at_the_next_call() {
    let finding = found(|kv| {
        let object = kv.kmalloc(128, GFP_KERNEL)?;
        kv.kfree(object.as_ptr());
        // SAFETY: it is the allocator's by now, which does not use these bytes.
        unsafe { write(object, 7, 1) };
        Ok(())
    });
    assert_eq!(short(&finding), ("use-after-free", String::new()), "{finding}");
}

#[test]
fn a_page_that_was_freed_and_is_in_an_area_now_is_the_callers() {
    let caller = |kv: &Kernel| {
        let mut held = Vec::new();
        for size in (0..60).map(|nth| 0x400 << (nth % 6)) {
            let Ok(buffer) = kv.kvmalloc(size, GFP_KERNEL) else { break };
            kv.kvfree(buffer.as_ptr());
            let Ok(small) = kv.kvmalloc(16, GFP_KERNEL) else { break };
            // SAFETY: it was asked for.
            unsafe { write(small, 0, 1) };
            held.push(small);
        }
        let is_whole = held.len() == 60;
        held.into_iter().for_each(|small| kv.kvfree(small.as_ptr()));
        if is_whole { Ok(()) } else { Err(NoMemory) }
    };
    explore(&Config::new(), caller).unwrap();
}

#[test]
fn memory_that_is_expected_to_be_zero_is_a_difference() {
    let finding = found(|kv| {
        let memory = kv.kmalloc(64, GFP_KERNEL)?;
        // SAFETY: it was asked for.
        let is_zero = unsafe { memory.as_ptr().read() } == 0;
        kv.kfree(memory.as_ptr());
        if is_zero { Ok(()) } else { Err(NoMemory) }
    });
    assert_eq!(short(&finding), ("unprovoked", "1: junk".into()), "{finding}");
}

#[test]
fn a_crash_an_abort_and_a_panic_are_findings() {
    let null = found(|kv| {
        let memory = kv.kmalloc(64, GFP_KERNEL).map_or(std::ptr::null_mut(), NonNull::as_ptr);
        // SAFETY: none where the request failed.
        unsafe { memory.write_volatile(1) };
        kv.kfree(memory);
        Ok(())
    });
    assert_eq!(short(&null), ("no-address", "1: fails".into()), "{null}");
    let aborts = found(|_| std::process::abort());
    assert_eq!(short(&aborts), ("panic", String::new()), "{aborts}");
    assert!(aborts.finding.misuse.says.contains("SIGABRT"), "{aborts}");
    let panics = found(|kv| {
        let memory = kv.kvmalloc(0x4000, GFP_KERNEL).expect("memory");
        kv.kvfree(memory.as_ptr());
        Ok(())
    });
    assert_eq!(short(&panics), ("panic", "1: fails".into()), "{panics}");
}

#[test]
fn a_pointer_out_of_freed_memory_and_a_stack_that_is_used_up_are_findings() {
    let wild = found(|kv| {
        let link = kv.kmalloc(64, GFP_KERNEL)?.cast::<*const u8>();
        kv.kfree(link.as_ptr().cast());
        // SAFETY: none; nothing is where freed memory points to.
        unsafe { link.as_ptr().add(2).read_volatile().read_volatile() };
        Ok(())
    });
    assert_eq!(short(&wild), ("no-address", String::new()), "{wild}");
    assert!(wild.finding.misuse.says.contains("0x6b"), "{wild}");
    fn deep(level: u64) -> u64 {
        let levels = [level; 64];
        std::hint::black_box(&levels);
        if level == u64::MAX { 0 } else { deep(level + 1) + levels[1] }
    }
    let endless = found(|_| {
        std::hint::black_box(deep(0));
        Ok(())
    });
    assert_eq!(short(&endless), ("no-address", String::new()), "{endless}");
}

#[test]
fn a_layout_goes_with_its_memory_however_that_is_freed() {
    let caller = |kv: &Kernel| {
        let layouts = [100, 90].map(|size| Layout::from_size_align(size, 8).expect("a layout"));
        for layout in layouts {
            let memory = Kmalloc::alloc(layout, GFP_KERNEL, None)?.cast::<u8>();
            kv.kfree(memory.as_ptr());
            let again = kv.kmalloc(90, GFP_KERNEL)?;
            // SAFETY: it is memory of kmalloc, of this layout.
            unsafe { Kmalloc::free(again, layouts[1]) };
        }
        Ok::<_, NoMemory>(())
    };
    explore(&Config::new(), caller).unwrap();
}

#[test]
fn a_context_is_kept() {
    let finding = found(|kv| {
        let memory = kv.kvmalloc(0x4000, GFP_KERNEL)?;
        kv.in_context(Context::Atomic, || kv.kvfree(memory.as_ptr()));
        Ok(())
    });
    assert_eq!(short(&finding), ("context", "1: vmalloc".into()), "{finding}");
}

/// A vector of words in memory of an allocator's.
fn fill<A: Allocator>(flags: Gfp) -> Result<(), NoMemory> {
    let layouts = [16, 900, 5000].map(|nr| Layout::array::<u64>(nr).expect("a layout"));
    let mut memory = A::alloc(layouts[0], flags, None)?.cast::<u8>();
    for pair in layouts.windows(2) {
        // SAFETY: it is live, of this layout.
        unsafe { write(memory, pair[0].size() - 1, 7) };
        // SAFETY: as above.
        let grown = unsafe { A::realloc(memory, pair[1], pair[0], flags) };
        let Ok(grown) = grown else {
            // SAFETY: as above.
            unsafe { A::free(memory, pair[0]) };
            return Err(NoMemory);
        };
        memory = grown.cast();
        // SAFETY: it has at least these bytes.
        assert_eq!(unsafe { memory.as_ptr().add(pair[0].size() - 1).read() }, 7);
    }
    // SAFETY: it is live, of the last layout.
    unsafe { A::free(memory, layouts[2]) };
    Ok(())
}

#[test]
fn allocators_without_a_receiver_grow_memory_and_keep_it() {
    for caller in [fill::<Kmalloc>, fill::<Vmalloc>, fill::<KVmalloc>] {
        explore(&Config::new().seeds(50), |_| caller(GFP_KERNEL)).unwrap();
    }
}

#[test]
fn alignment_that_a_layout_asks_for_is_given() {
    let layout = Layout::from_size_align(192, 64).expect("a layout");
    let aligned = |_: &Kernel| {
        let memory = KVmalloc::alloc(layout, GFP_KERNEL, None)?.cast::<u8>();
        let is_aligned = (memory.as_ptr() as usize).is_multiple_of(64);
        // SAFETY: it is live, of this layout.
        unsafe { KVmalloc::free(memory, layout) };
        Ok::<bool, NoMemory>(is_aligned)
    };
    explore(&Config::new(), aligned).unwrap();
}

#[test]
fn another_layout_at_the_free_is_found() {
    let finding = found(|_| {
        let layout = Layout::array::<u64>(10).expect("a layout");
        let memory = Kmalloc::alloc(layout, GFP_KERNEL, None)?.cast();
        // SAFETY: none; the layout is another.
        unsafe { Kmalloc::free(memory, Layout::array::<u64>(11).expect("a layout")) };
        Ok(())
    });
    assert_eq!(short(&finding), ("arguments", String::new()), "{finding}");
}

#[test]
fn the_wrong_allocator_of_a_trait_is_found() {
    let finding = found(|_| {
        let layout = Layout::array::<u64>(1000).expect("a layout");
        let memory = KVmalloc::alloc(layout, GFP_KERNEL, None)?.cast();
        // SAFETY: none; it is another allocator's.
        unsafe { Kmalloc::free(memory, layout) };
        Ok(())
    });
    assert_eq!(short(&finding), ("wrong-free", "1: vmalloc".into()), "{finding}");
}

#[test]
fn memory_that_gets_a_larger_alignment_has_it() {
    let explored = explore(&Config::new().seeds(200), |_: &Kernel| {
        let layout = |size, align| Layout::from_size_align(size, align).unwrap();
        let (old, new) = (layout(192, 8), layout(128, 128));
        let memory = Kmalloc::alloc(old, GFP_KERNEL, None)?.cast::<u8>();
        // SAFETY: it was asked for with this layout.
        let grown = unsafe { Kmalloc::realloc(memory, new, old, GFP_KERNEL) };
        let (memory, layout) = grown.map_or((memory, old), |grown| (grown.cast(), new));
        let is_aligned = memory.addr().get().is_multiple_of(layout.align());
        // SAFETY: as above, of whichever layout it has now.
        unsafe { Kmalloc::free(memory, layout) };
        assert!(is_aligned);
        Ok::<_, NoMemory>(())
    });
    explored.unwrap_or_else(|failure| panic!("{failure}"));
}
