//! Objects of a cache by the dozen: all or nothing.

use super::*;

#[test]
fn what_was_taken_on_the_way_to_a_failure_is_given_back() {
    let mut mm = boot(64, 64);
    let cache = mm.kmem_cache_create(0x4000, 8, SlabFlags(0), None).unwrap();
    let before = footprint(&mm.stat());
    let mut objects = [Vaddr::NULL; 32];
    let error = mm.kmem_cache_alloc_bulk(cache, GFP_NOWAIT, &mut objects).unwrap_err();
    assert!(matches!(error, AllocError::NoMemory(Shortage::Pages { .. })), "{error:?}");
    assert_eq!(footprint(&mm.stat()), before);
    mm.validate().unwrap();
    let few = &mut objects[..2];
    mm.kmem_cache_alloc_bulk(cache, GFP_NOWAIT, few).unwrap();
    assert_eq!(mm.stat().nr_cache_objects, 2);
    mm.kmem_cache_free_bulk(cache, few).unwrap();
    mm.validate().unwrap();
}

#[test]
fn one_wrong_address_keeps_all_others_from_being_freed() {
    let mut mm = boot(256, 64);
    let [cache, other] = [(); 2].map(|()| mm.kmem_cache_create(64, 8, SlabFlags(0), None).unwrap());
    let mut objects = [Vaddr::NULL; 4];
    mm.kmem_cache_alloc_bulk(cache, GFP_KERNEL, &mut objects).unwrap();
    let [a, b, c, d] = objects;
    assert_eq!(verdict(mm.kmem_cache_free_bulk(other, &objects)), FreeVerdict::WrongCache);
    for (list, expected) in [
        ([a, b, c, a], FreeVerdict::DoubleFree),
        ([a, b, c, Vaddr::NULL], FreeVerdict::Wild),
        ([a, b, c, Vaddr(d.0 + 8)], FreeVerdict::Interior),
    ] {
        assert_eq!(verdict(mm.kmem_cache_free_bulk(cache, &list)), expected);
        assert_eq!(mm.stat().nr_cache_objects, 4);
    }
    mm.kmem_cache_free_bulk(cache, &objects).unwrap();
    assert_eq!(verdict(mm.kmem_cache_free_bulk(cache, &[d])), FreeVerdict::DoubleFree);
    // What stands first is freed last, and comes first.
    assert_eq!(mm.kmem_cache_alloc(cache, GFP_KERNEL), Ok(a));
    mm.validate().unwrap();
}
