//! Calls that name a node: where the memory lies, and where it does not.

use super::*;
use crate::words::gfp::__GFP_THISNODE;

/// A machine of two nodes with 128 frames each.
fn two_nodes() -> Mm<TestMemory> {
    let params = BootParams { nr_nodes: 2, ..BootParams::default() };
    Mm::boot(TestMemory::new(256, 1024), params).unwrap()
}

fn node(mm: &Mm<TestMemory>, addr: Vaddr) -> u32 {
    mm.vmalloc_to_page(addr).unwrap().0 / 128
}

#[test]
fn an_object_lies_on_the_node_that_the_call_names() {
    let mut mm = two_nodes();
    for at in [0, 1, 0, 1] {
        let addr = mm.kmalloc_node(64, GFP_KERNEL, Some(at)).unwrap();
        assert_eq!(node(&mm, addr), u32::from(at));
        // Who names none takes from the slab that the last one has left behind.
        let next = mm.kmalloc(64, GFP_KERNEL).unwrap();
        assert_eq!(node(&mm, next), u32::from(at));
        mm.validate().unwrap();
    }
}

#[test]
fn without_memory_there_an_object_lies_elsewhere_unless_that_is_forbidden() {
    let mut mm = two_nodes();
    while mm.alloc_pages_node(Some(1), GFP_KERNEL | __GFP_THISNODE, 0).is_ok() {}
    let strict = mm.kmalloc_node(64, GFP_KERNEL | __GFP_THISNODE, Some(1));
    assert_eq!(strict, Err(AllocError::NoMemory(Shortage::Pages { order: 0 })));
    let effort = mm.effort();
    for size in [64, 64, 5000, 20000] {
        let addr = mm.kmalloc_node(size, GFP_KERNEL, Some(1)).unwrap();
        assert_eq!(node(&mm, addr), 0, "{size}");
    }
    // The objects that were there already took no effort; nothing was worth a warning.
    assert_eq!(mm.effort(), effort);
    mm.validate().unwrap();
}

#[test]
fn mapped_memory_lies_on_the_node_page_by_page() {
    let mut mm = two_nodes();
    let addr = mm.vmalloc_node(10 * PAGE_SIZE, Some(1)).unwrap();
    assert!((0..10).all(|page| node(&mm, Vaddr(addr.0 + page * PAGE_SIZE)) == 1));
    let addr = mm.kvmalloc_node(9 * PAGE_SIZE, GFP_KERNEL, Some(0), Route::Vmalloc).unwrap();
    assert!((0..9).all(|page| node(&mm, Vaddr(addr.0 + page * PAGE_SIZE)) == 0));
    let none = mm.kvzalloc_node(8, GFP_KERNEL, Some(2), Route::Policy);
    assert_eq!(none, Err(AllocError::BadArgument));
    assert!(mm.kvzalloc_node(8, GFP_KERNEL, None, Route::Policy).is_ok());
    mm.validate().unwrap();
}
