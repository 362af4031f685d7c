//! Pages that outlive the call that frees them.

use super::*;
use crate::words::gfp::__GFP_COMP;

const COMPOUND: Gfp = Gfp(GFP_KERNEL.0 | __GFP_COMP.0);

fn nr_block_pages(mm: &Mm<TestMemory>) -> u32 {
    mm.validate().unwrap();
    mm.stat().nr_block_pages
}

#[test]
fn of_a_block_that_is_not_compound_the_first_page_stays() {
    let mut mm = boot(64, 64);
    let block = mm.alloc_pages(GFP_KERNEL, 3).unwrap();
    assert_eq!(mm.get_page(block.to_virt()), Ok(block));
    assert_eq!(mm.get_page(Pfn(block.0 + 1).to_virt()), Err(AddrKind::Pages));
    mm.__free_pages(block, 3).unwrap();
    assert_eq!(nr_block_pages(&mm), 1);
    mm.put_page(block).unwrap();
    assert_eq!(nr_block_pages(&mm), 0);
    assert_eq!(verdict(mm.put_page(block)), FreeVerdict::DoubleFree);
}

#[test]
fn a_compound_block_stays_as_it_is() {
    let mut mm = boot(64, 64);
    let block = mm.alloc_pages(COMPOUND, 2).unwrap();
    assert_eq!(mm.get_page(Pfn(block.0 + 3).to_virt()), Ok(block));
    mm.put_page(block).unwrap();
    assert_eq!(nr_block_pages(&mm), 4);
    mm.__free_pages(block, 2).unwrap();
    assert_eq!(nr_block_pages(&mm), 0);
}

#[test]
fn an_areas_page_stays_when_the_area_is_gone() {
    let mut mm = boot(64, 64);
    let area = mm.vmalloc(3 * PAGE_SIZE).unwrap();
    let at = Vaddr(area.0 + PAGE_SIZE + 8);
    let page = mm.vmalloc_to_page(at).unwrap();
    assert_eq!(verdict(mm.put_page(page)), FreeVerdict::Wild);
    assert_eq!(mm.get_page(page.to_virt()), Err(AddrKind::Reserved));
    assert_eq!(mm.get_page(at), Ok(page));
    assert_eq!(mm.get_page(page.to_virt()), Ok(page));
    assert_eq!(mm.get_page(Vaddr(area.0 + 3 * PAGE_SIZE)), Err(AddrKind::Vmalloc));
    mm.put_page(page).unwrap();
    mm.vfree(area).unwrap();
    assert_eq!((mm.stat().nr_vmalloc_pages, nr_block_pages(&mm)), (0, 1));
    mm.put_page(page).unwrap();
    assert_eq!(nr_block_pages(&mm), 0);
}

#[test]
fn what_does_not_count_for_its_memory_has_no_reference_to_give() {
    let mut mm = boot(128, 64);
    let object = mm.kmalloc(64, GFP_KERNEL).unwrap();
    let large = mm.kmalloc(0x8000, GFP_KERNEL).unwrap();
    let exact = mm.alloc_pages_exact(0x3000, GFP_KERNEL).unwrap();
    assert_eq!(mm.get_page(object), Err(AddrKind::KmallocObject));
    assert_eq!(mm.get_page(large), Err(AddrKind::LargeKmalloc));
    assert_eq!(mm.get_page(exact), Err(AddrKind::PagesExact));
    assert_eq!(mm.get_page(Vaddr::NULL), Err(AddrKind::Null));
}
