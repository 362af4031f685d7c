//! The guide held to the allocator: memory of every row is what the row says it is.

use super::*;
use crate::words::error::{ConvertCall, ConvertFault};
use crate::words::guide::{ALLOCATORS, Mapping};

const SIZES: [u64; 6] = [1, 64, 100, 4096, 8192, 20000];

/// Memory by one of the calls that the guide names, from either side where there are two.
fn allocate(mm: &mut Mm<TestMemory>, call: &str, size: u64, cache: CacheId) -> [Vaddr; 2] {
    let order = crate::words::addr::order_for(size);
    let whole = mm.kvmalloc.vmalloc.anywhere(size, GFP_KERNEL);
    let routes = [Route::Slab, Route::Vmalloc];
    routes.map(|route| {
        let memory = match call {
            "kmalloc" => mm.kmalloc(size, GFP_KERNEL),
            "kzalloc" => mm.kzalloc(size, GFP_KERNEL),
            "kmalloc_array" => mm.kmalloc_array(1, size, GFP_KERNEL),
            "kcalloc" => mm.kcalloc(1, size, GFP_KERNEL),
            "kmalloc_node" => mm.kmalloc_node(size, GFP_KERNEL, Some(0)),
            "kmem_cache_alloc_node" => mm.kmem_cache_alloc_node(cache, GFP_KERNEL, Some(0)),
            "kmem_cache_alloc" => mm.kmem_cache_alloc(cache, GFP_KERNEL),
            "kmem_cache_zalloc" => mm.kmem_cache_zalloc(cache, GFP_KERNEL),
            "vmalloc" => mm.vmalloc(size),
            "vzalloc" => mm.vzalloc(size),
            "vmalloc_node" => mm.vmalloc_node(size, Some(0)),
            "vmalloc_huge" => mm.vmalloc_huge(size, GFP_KERNEL),
            "__vmalloc" => mm.__vmalloc(size, GFP_KERNEL),
            "__vmalloc_node_range" => mm.__vmalloc_node_range(whole),
            "kvmalloc" => mm.kvmalloc(size, GFP_KERNEL, route),
            "kvzalloc" => mm.kvzalloc(size, GFP_KERNEL, route),
            "kvmalloc_array" => mm.kvmalloc_array(1, size, GFP_KERNEL, route),
            "kvcalloc" => mm.kvcalloc(1, size, GFP_KERNEL, route),
            "kvmalloc_node" => mm.kvmalloc_node(size, GFP_KERNEL, Some(0), route),
            "kvzalloc_node" => mm.kvzalloc_node(size, GFP_KERNEL, Some(0), route),
            "alloc_pages_node" => mm.alloc_pages_node(Some(0), GFP_KERNEL, order).map(Pfn::to_virt),
            "alloc_pages" => mm.alloc_pages(GFP_KERNEL, order).map(Pfn::to_virt),
            "__get_free_pages" => mm.__get_free_pages(GFP_KERNEL, order),
            "__get_free_page" => mm.__get_free_page(GFP_KERNEL),
            "alloc_pages_exact" => mm.alloc_pages_exact(size, GFP_KERNEL),
            "dma_alloc_coherent" => mm.dma_alloc_coherent(size, GFP_KERNEL).map(|got| got.addr),
            "get_zeroed_page" => mm.get_zeroed_page(GFP_KERNEL),
            unknown => panic!("the guide names {unknown}"),
        };
        memory.unwrap_or_else(|error| panic!("{call} of {size}: {error:?}"))
    })
}

fn free(
    mm: &mut Mm<TestMemory>,
    call: FreeCall,
    addr: Vaddr,
    size: u64,
    cache: CacheId,
) -> Result<(), FreeFault> {
    match call {
        FreeCall::Kfree => mm.kfree(addr),
        FreeCall::Kvfree => mm.kvfree(addr),
        FreeCall::Vfree => mm.vfree(addr),
        FreeCall::VfreeAtomic => mm.vfree_atomic(addr),
        FreeCall::Vunmap => mm.vunmap(addr),
        FreeCall::PutPage => mm.put_page(Pfn((direct_phys(addr).unwrap().0 / PAGE_SIZE) as u32)),
        FreeCall::KmemCacheFree => mm.kmem_cache_free(cache, addr),
        FreeCall::FreePages => mm.free_pages(addr, crate::words::addr::order_for(size)),
        FreeCall::FreePagesExact => mm.free_pages_exact(addr, size),
        FreeCall::DmaFreeCoherent => mm.dma_free_coherent(addr, size),
        FreeCall::KfreeSensitive => mm.kfree_sensitive(addr),
        FreeCall::KvfreeSensitive => mm.kvfree_sensitive(addr, size),
        FreeCall::Krealloc
        | FreeCall::Kvrealloc
        | FreeCall::Vrealloc
        | FreeCall::KfreeNolock
        | FreeCall::KvfreeRcu
        | FreeCall::Ksize => panic!("the guide names {}", call.name()),
    }
}

/// What a conversion says of an address: yes or no, or the page that it leads to.
fn convert(mm: &Mm<TestMemory>, call: ConvertCall, addr: Vaddr) -> Result<Pfn, ConvertFault> {
    let page = mm.vmalloc_to_page(addr);
    match call {
        ConvertCall::IsVmallocAddr | ConvertCall::VirtAddrValid => page,
        ConvertCall::VirtToPage => mm.virt_to_page(addr),
        ConvertCall::PageAddress => page
            .and_then(|page| mm.page_address(page))
            .map(|addr| Pfn((direct_phys(addr).unwrap().0 / PAGE_SIZE) as u32)),
        ConvertCall::VirtToPhys => mm.virt_to_phys(addr).map(|at| Pfn((at.0 / PAGE_SIZE) as u32)),
        ConvertCall::VmallocToPage => page,
    }
}

#[test]
fn every_row_is_true_of_the_memory_it_is_about() {
    let mut mm = boot(4096, 4096);
    let cache = mm.kmem_cache_create(40, 0, SlabFlags(0), None).unwrap();
    for row in ALLOCATORS {
        for (call, size) in row.calls.iter().flat_map(|call| SIZES.map(|size| (*call, size))) {
            let one_page = ["__get_free_page", "get_zeroed_page"].contains(&call);
            let size = if one_page { PAGE_SIZE } else { size };
            for &right in row.frees {
                for addr in allocate(&mut mm, call, size, cache) {
                    let is = mm.describe(addr);
                    assert!(row.kinds.contains(&is), "{call}: {is}");
                    let usable = mm.usable_size(addr).unwrap().next_power_of_two();
                    let align = row.alignment.of(size).min(usable);
                    assert_eq!(addr.0 % align, 0, "{call} of {size}");
                    let mapping =
                        if mm.is_vmalloc_addr(addr) { Mapping::Vmalloc } else { Mapping::Direct };
                    assert!(row.mappings.contains(&mapping), "{call}: {mapping:?}");
                    assert_eq!(mm.virt_addr_valid(addr), mapping == Mapping::Direct);
                    free(&mut mm, right, addr, size, cache).unwrap();
                }
            }
        }
    }
    mm.validate().unwrap();
}

#[test]
fn every_conversion_leads_to_the_frame_or_says_what_does() {
    let mut mm = boot(4096, 4096);
    let cache = mm.kmem_cache_create(40, 0, SlabFlags(0), None).unwrap();
    for row in ALLOCATORS {
        for addr in allocate(&mut mm, row.calls[0], 9000, cache) {
            for offset in [0, 7] {
                let addr = Vaddr(addr.0 + offset);
                let page = Vaddr(addr.0 - addr.0 % PAGE_SIZE);
                let frame = if mm.is_vmalloc_addr(addr) {
                    mm.memory().translate(page).unwrap()
                } else {
                    Pfn((direct_phys(page).unwrap().0 / PAGE_SIZE) as u32)
                };
                for conversion in crate::words::guide::CONVERSIONS {
                    let is_promised = row.conversions().any(|call| call == conversion.call);
                    match convert(&mm, conversion.call, addr) {
                        Ok(page) => assert_eq!(page, frame, "{}", conversion.call),
                        Err(fault) => {
                            assert!(!is_promised, "{fault}");
                            assert_eq!(fault.right, conversion.instead);
                            assert_eq!(convert(&mm, fault.right.unwrap(), addr), Ok(frame));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_mapped_has_no_page() {
    let mut mm = boot(64, 64);
    let area = mm.vmalloc(2 * PAGE_SIZE).unwrap();
    let guard = Vaddr(area.0 + 2 * PAGE_SIZE);
    let freed = mm.vmalloc(PAGE_SIZE).unwrap();
    mm.vfree(freed).unwrap();
    let beyond = Pfn(64).to_virt();
    let last_byte = Vaddr(VMALLOC_START + 64 * PAGE_SIZE - 1);
    let nowhere = [Vaddr::NULL, Vaddr::ZERO_SIZE_PTR, Vaddr(0x1234), beyond, Vaddr(u64::MAX)];
    for addr in nowhere.into_iter().chain([guard, freed, last_byte]) {
        let mapped = addr == guard || addr == freed;
        assert_eq!(mm.is_vmalloc_addr(addr), mapped, "{addr:x?}");
        assert!(!mm.virt_addr_valid(addr));
        for call in [ConvertCall::VirtToPage, ConvertCall::VirtToPhys, ConvertCall::VmallocToPage] {
            let fault = convert(&mm, call, addr).unwrap_err();
            assert_eq!((fault.addr, fault.right), (addr, None), "{call}");
        }
    }
    assert!(mm.page_address(Pfn(64)).is_err());
    let fault = mm.virt_to_phys(area).unwrap_err();
    let text = std::format!("{fault}");
    assert!(text.contains("an area of vmalloc; use vmalloc_to_page"), "{text}");
}
