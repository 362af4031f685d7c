//! Frees that come after a grace period.

use super::*;

#[test]
fn what_is_queued_keeps_its_bytes_until_the_tick() {
    let mut mm = boot(256, 64);
    let cache = mm.kmem_cache_create(96, 8, SlabFlags(0), None).unwrap();
    let object = mm.kmem_cache_alloc(cache, GFP_KERNEL).unwrap();
    let large = mm.kmalloc(0x8000, GFP_KERNEL).unwrap();
    let area = mm.vmalloc(2 * PAGE_SIZE).unwrap();
    let byte = direct_phys(object).unwrap();
    mm.memory_mut().store(byte, 42);
    for (addr, offset) in [(object, 8), (large, 0), (area, PAGE_SIZE - 8)] {
        mm.kvfree_rcu(addr, offset).unwrap();
        assert_eq!(verdict(mm.kvfree(addr)), FreeVerdict::DoubleFree);
        assert_eq!(verdict(mm.kvfree_rcu(addr, offset)), FreeVerdict::DoubleFree);
        mm.validate().unwrap();
    }
    assert_eq!((mm.stat().nr_queued, mm.memory().load(byte)), (3, 42));
    assert_eq!(mm.kmem_cache_destroy(cache), Err(DestroyError::Busy(1)));
    mm.tick();
    mm.validate().unwrap();
    let MmStat { nr_queued, nr_areas, nr_large_kmalloc_pages, .. } = mm.stat();
    assert_eq!((nr_queued, nr_areas, nr_large_kmalloc_pages), (0, 0, 0));
    mm.kmem_cache_destroy(cache).unwrap();
}

#[test]
fn an_rcu_head_lies_in_the_memory() {
    let mut mm = boot(256, 64);
    let object = mm.kmalloc(64, GFP_KERNEL).unwrap();
    let area = mm.vmalloc(4 * PAGE_SIZE).unwrap();
    for (addr, offset) in [(object, 56), (object, 4), (object, u64::MAX), (area, 4096)] {
        assert_eq!(verdict(mm.kvfree_rcu(addr, offset)), FreeVerdict::WrongSize);
    }
    assert_eq!(mm.stat().nr_queued, 0);
    mm.kvfree_rcu(object, 48).unwrap();
    mm.kvfree_rcu(Vaddr::NULL, 0).unwrap();
}

#[test]
fn a_damaged_rcu_head_is_found() {
    for word in [0, 8, 0x1000, u64::MAX] {
        let mut mm = boot(256, 64);
        let [first, last] = [(); 2].map(|()| mm.kmalloc(64, GFP_KERNEL).unwrap());
        mm.kvfree_rcu(first, 16).unwrap();
        mm.kvfree_rcu(last, 16).unwrap();
        let head = direct_phys(last).unwrap();
        mm.memory_mut().store(Paddr(head.0 + 16), word);
        assert_eq!(mm.validate().unwrap_err().invariant, 17, "{word:#x}");
        // What is lost is lost, and nothing else happens.
        mm.tick();
        assert_eq!(mm.stat().nr_queued, 0);
        mm.validate().unwrap();
    }
}
