//! What a caller may still use when it has been given back: a page that it holds a reference to,
//! and memory that is freed when a grace period ends.

use super::gfp::{__GFP_COMP, __GFP_NOFAIL, __GFP_NORETRY, GFP_KERNEL};
use super::test::broken;
use super::{Config, Kernel, NoMemory, Pointer, Rule, explore};
use crate::trace::Machine;

#[test]
fn the_head_of_skewed_memory_is_where_the_kernel_takes_it() {
    for (version, size, head) in [("v6.12", 0x3000, 0x10), ("v6.1", 0x1808, 0xff8)] {
        let config = Config::new().version(version).plan("1: slab least-aligned");
        let explored = explore(&config, |kv| {
            let memory = kv.kvmalloc(size, GFP_KERNEL)?;
            kv.kvfree_rcu(memory, head);
            memory.load();
            kv.tick();
            Ok::<_, NoMemory>(())
        });
        assert!(explored.is_ok(), "{}", explored.expect_err("it is not"));
    }
}

#[test]
fn the_kernel_keeps_the_head_of_what_is_to_be_freed() {
    let queued = |kv: &Kernel, at: u64| {
        let memory = kv.kmalloc(0x40, GFP_KERNEL)?;
        kv.kfree_rcu(memory, 0x10);
        memory.at(at).store(1);
        kv.tick();
        Ok(())
    };
    broken(Rule::UseAfterFree, |kv| queued(kv, 0x1f));
    assert!(explore(&Config::new().plan(""), |kv| queued(kv, 0x20)).is_ok());
}

/// A request that must not fail waits, and while it does grace periods end.
#[test]
fn what_was_queued_is_gone_once_somebody_has_waited() {
    let machine = Machine { frames: 256, ..Machine::default() };
    let wait = |kv: &Kernel, use_it: fn(Pointer)| {
        let mut all = Vec::new();
        while let Ok(page) = kv.__get_free_pages(GFP_KERNEL | __GFP_NORETRY, 0) {
            all.push(page);
        }
        let queued = kv.kmalloc(0x1000, GFP_KERNEL | __GFP_NORETRY);
        assert!(queued.is_err(), "the machine is full");
        kv.free_pages(all.pop().expect("a page"), 0);
        let queued = kv.kmalloc(0x1000, GFP_KERNEL | __GFP_NORETRY)?;
        kv.kfree_rcu(queued, 0);
        let served = kv.kmalloc(0x1000, GFP_KERNEL | __GFP_NOFAIL)?;
        kv.tick();
        served.store(1);
        use_it(queued);
        kv.kfree(served);
        all.into_iter().for_each(|page| kv.free_pages(page, 0));
        Ok::<_, NoMemory>(())
    };
    let config = Config::new().machine(machine).plan("");
    if let Err(finding) = explore(&config, |kv| wait(kv, |_| ())) {
        panic!("{finding}");
    }
    let finding = explore(&config, |kv| wait(kv, |stale| _ = stale.load()));
    assert_eq!(finding.expect_err("it is freed").misuse.rule, Rule::UseAfterFree);
}

#[test]
fn of_a_plain_block_the_first_page_alone_outlives_its_free() {
    let shared = |kv: &Kernel, gfp, at: u64| {
        let block = kv.__get_free_pages(gfp, 2)?;
        let page = kv.get_page(block);
        kv.free_pages(block, 2);
        block.at(at).load();
        kv.put_page(page);
        Ok(())
    };
    let compound = GFP_KERNEL | __GFP_COMP;
    broken(Rule::OutOfBounds, |kv| shared(kv, GFP_KERNEL, 0x1000));
    assert!(explore(&Config::new().plan(""), |kv| shared(kv, GFP_KERNEL, 0xff8)).is_ok());
    assert!(explore(&Config::new().plan(""), |kv| shared(kv, compound, 0x1000)).is_ok());
}
