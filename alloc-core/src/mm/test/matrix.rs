//! The free matrix, cell by cell: memory of every kind is made, and every call tries to free it.
//!
//! The matrix is what a refusal is explained from, so here it is held to what the calls themselves
//! do. A refused free changes nothing, so one machine serves a whole row.

use super::*;
use crate::slab::cache::Ctor;
use crate::vmalloc::vm_struct::VmStruct;
use crate::words::addr::order_for;
use crate::words::error::ReallocError;
use crate::words::fate::{COLUMNS, Cell, Fate, Fit, MATRIX, Spot, WRONG_SIZES, cell};
use crate::words::gfp::__GFP_COMP;
use crate::words::task::Current;
use core::ops::ControlFlow;

/// A machine with something at an address.
struct Stage {
    mm: Mm<TestMemory>,
    /// The address to free.
    addr: Vaddr,
    /// The bytes of what is there; a page where nothing is.
    own: u64,
    /// The cache that it is of, or any.
    cache: CacheId,
    /// Another cache.
    other: CacheId,
}

/// Has something at an address; of this cache if it is of one.
type Make = fn(&mut Mm<TestMemory>, CacheId) -> Vaddr;

/// Ways to have something at an address, and the row that is about it.
const STAGES: &[(Spot, Make)] = &[
    (Spot::Null, |_, _| Vaddr::NULL),
    (Spot::ZeroSizePtr, |mm, _| mm.kmalloc(0, GFP_KERNEL).unwrap()),
    (Spot::ZeroSizePtr, |_, _| Vaddr(1)),
    (Spot::KmallocObject, |mm, _| mm.kmalloc(100, GFP_KERNEL).unwrap()),
    (Spot::KmallocObject, |mm, _| mm.kmalloc(8192, GFP_KERNEL).unwrap()),
    (Spot::KmallocObject, |mm, _| mm.kvmalloc(5000, GFP_KERNEL, Route::Slab).unwrap()),
    (Spot::CacheObject, |mm, cache| mm.kmem_cache_alloc(cache, GFP_KERNEL).unwrap()),
    (Spot::ConstructedObject, |mm, cache| mm.kmem_cache_alloc(cache, GFP_KERNEL).unwrap()),
    (Spot::LargeKmalloc, |mm, _| mm.kmalloc(16384, GFP_KERNEL).unwrap()),
    (Spot::LargeKmalloc, |mm, _| mm.kvmalloc(20000, GFP_KERNEL, Route::Slab).unwrap()),
    (Spot::OnePage, |mm, _| mm.get_zeroed_page(GFP_KERNEL).unwrap()),
    (Spot::OnePage, |mm, _| mm.__get_free_pages(GFP_KERNEL | __GFP_COMP, 0).unwrap()),
    (Spot::Block, |mm, _| mm.__get_free_pages(GFP_KERNEL, 2).unwrap()),
    (Spot::Compound, |mm, _| mm.__get_free_pages(GFP_KERNEL | __GFP_COMP, 2).unwrap()),
    (Spot::PagesExact, |mm, _| mm.alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL).unwrap()),
    (Spot::DmaCoherent, |mm, _| mm.dma_alloc_coherent(8192, GFP_KERNEL).unwrap().addr),
    (Spot::Vmalloc, |mm, _| mm.vmalloc(2 * PAGE_SIZE).unwrap()),
    (Spot::Vmalloc, |mm, _| mm.kvmalloc(8192, GFP_KERNEL, Route::Vmalloc).unwrap()),
    // Memory is nobody's in particular: another task may free it.
    (Spot::KmallocObject, |mm, _| of_another_task(mm, |mm| mm.kmalloc(100, GFP_KERNEL))),
    (Spot::OnePage, |mm, _| of_another_task(mm, |mm| mm.get_zeroed_page(GFP_KERNEL))),
    (Spot::Vmalloc, |mm, _| of_another_task(mm, |mm| mm.vmalloc(8192))),
    (Spot::InObject, |mm, _| inside(mm.kmalloc(100, GFP_KERNEL), 8)),
    (Spot::InObject, |mm, _| inside(mm.kmalloc(100, GFP_KERNEL), 4)),
    (Spot::InObject, |mm, cache| inside(mm.kmem_cache_alloc(cache, GFP_KERNEL), 8)),
    (Spot::InOnePage, |mm, _| inside(mm.get_zeroed_page(GFP_KERNEL), 8)),
    (Spot::InFirstPage, |mm, _| inside(mm.__get_free_pages(GFP_KERNEL, 2), 8)),
    (Spot::InFirstPage, |mm, _| inside(coherent(mm), 8)),
    (Spot::InLaterPage, |mm, _| inside(mm.__get_free_pages(GFP_KERNEL, 2), PAGE_SIZE)),
    (Spot::InLaterPage, |mm, _| inside(coherent(mm), PAGE_SIZE + 8)),
    (Spot::InExactPage, |mm, _| inside(mm.alloc_pages_exact(12288, GFP_KERNEL), 8192)),
    (Spot::InExactPage, |mm, _| inside(mm.alloc_pages_exact(12288, GFP_KERNEL), 8)),
    (Spot::InCompoundHead, |mm, _| inside(mm.kmalloc(16384, GFP_KERNEL), 64)),
    (Spot::InCompoundHead, |mm, _| inside(compound(mm), 1)),
    (Spot::InCompoundTail, |mm, _| inside(mm.kmalloc(16384, GFP_KERNEL), PAGE_SIZE)),
    (Spot::InCompoundTail, |mm, _| inside(compound(mm), 3 * PAGE_SIZE + 8)),
    (Spot::InVmalloc, |mm, _| inside(mm.vmalloc(2 * PAGE_SIZE), PAGE_SIZE)),
    (Spot::InVmalloc, |mm, _| inside(mm.vmalloc(2 * PAGE_SIZE), 2 * PAGE_SIZE)),
    (Spot::AskewVmalloc, |mm, _| inside(mm.vmalloc(2 * PAGE_SIZE), 8)),
    (Spot::FreedLast, |mm, _| freed_objects(mm)[1]),
    (Spot::FreeObject, |mm, _| freed_objects(mm)[0]),
    (Spot::FreePage, |mm, _| {
        let block = mm.__get_free_pages(GFP_KERNEL, 1).unwrap();
        mm.free_pages(block, 1).unwrap();
        block
    }),
    (Spot::FreePage, |mm, _| {
        let large = mm.kmalloc(16384, GFP_KERNEL).unwrap();
        mm.kfree(large).unwrap();
        large
    }),
    (Spot::Deferred, |mm, _| {
        let area = mm.vmalloc(PAGE_SIZE).unwrap();
        mm.vfree_atomic(area).unwrap();
        area
    }),
    (Spot::LazySpace, |mm, _| {
        let area = mm.vmalloc(PAGE_SIZE).unwrap();
        mm.vfree_atomic(area).unwrap();
        mm.tick();
        area
    }),
    (Spot::FreeSpace, |mm, _| {
        let area = mm.vmalloc(PAGE_SIZE).unwrap();
        mm.vfree(area).unwrap();
        mm.vm_unmap_aliases().unwrap();
        area
    }),
    (Spot::FreeSpace, |mm, _| inside(mm.vmalloc(PAGE_SIZE), 64 * PAGE_SIZE)),
    (Spot::Reserved, |_, _| Pfn(0).to_virt()),
    (Spot::Reserved, |mm, _| {
        let page = mm.vmalloc(PAGE_SIZE).map(|area| mm.vmalloc_to_page(area).unwrap());
        mm.page_address(page.unwrap()).unwrap()
    }),
    (Spot::Reserved, |mm, _| Pfn(mm.memory().nr_frames() - 1).to_virt()),
    (Spot::Reserved, |mm, _| inside(Ok(Pfn(mm.memory().nr_frames() - 1).to_virt()), BOOT_BYTES)),
    (Spot::Reserved, |_, _| direct(BOOT_RESERVED)),
    (Spot::Internal, |mm, _| direct(descriptor(mm, PAGE_SIZE).0)),
    (Spot::InternalArea, |mm, _| descriptor(mm, 600 * PAGE_SIZE).pages(mm.memory())),
    (Spot::Nothing, |_, _| Vaddr(0x1234)),
    (Spot::Nothing, |_, _| Vaddr(u64::MAX - 11)),
    (Spot::Nothing, |mm, _| Pfn(mm.memory().nr_frames()).to_virt()),
];

/// Where every stage has a byte reserved at boot.
const BOOT_RESERVED: Paddr = Paddr(700 * PAGE_SIZE);
/// What every stage takes from the boot allocator, which has it in the last frame.
const BOOT_BYTES: u64 = 64;

/// A machine with memory that was taken before the hand-over.
fn boot_with_reservations() -> Mm<TestMemory> {
    let memory = TestMemory::new(1024, 1024);
    let params = BootParams { shuffle: 77, ..BootParams::default() };
    let mut early = EarlyMm::boot(memory, params).unwrap();
    early.memblock_alloc(BOOT_BYTES, PAGE_SIZE).unwrap();
    early.memblock_reserve(BOOT_RESERVED, 1).unwrap();
    early.hand_over()
}

fn of_another_task(
    mm: &mut Mm<TestMemory>,
    make: fn(&mut Mm<TestMemory>) -> Result<Vaddr, AllocError>,
) -> Vaddr {
    mm.set_current(Current { task: 1, ..Current::default() });
    let addr = make(mm).unwrap();
    mm.set_current(Current::default());
    addr
}

fn inside(start: Result<Vaddr, AllocError>, offset: u64) -> Vaddr {
    Vaddr(start.unwrap().0 + offset)
}

fn coherent(mm: &mut Mm<TestMemory>) -> Result<Vaddr, AllocError> {
    mm.dma_alloc_coherent(8192, GFP_KERNEL).map(|memory| memory.addr)
}

fn compound(mm: &mut Mm<TestMemory>) -> Result<Vaddr, AllocError> {
    mm.__get_free_pages(GFP_KERNEL | __GFP_COMP, 2)
}

/// Two objects of one slab in the order in which they were freed; a third one is live.
fn freed_objects(mm: &mut Mm<TestMemory>) -> [Vaddr; 2] {
    let [one, two, _live] = [(); 3].map(|()| mm.kmalloc(64, GFP_KERNEL).unwrap());
    [one, two].map(|object| {
        mm.kfree(object).unwrap();
        object
    })
}

/// The descriptor of a new area.
fn descriptor(mm: &mut Mm<TestMemory>, size: u64) -> VmStruct {
    let area = mm.vmalloc(size).unwrap();
    let memory = mm.memory();
    VmStruct(mm.kvmalloc.vmalloc.vmap.find_area(memory, area).unwrap().vm(memory))
}

/// A reallocation as a free of the old memory.
fn moved(result: Result<Vaddr, ReallocError>) -> Result<(), FreeFault> {
    match result {
        Ok(_) => Ok(()),
        Err(ReallocError::Free(fault)) => Err(fault),
        Err(ReallocError::Alloc(error)) => panic!("{error:?}"),
    }
}

impl Stage {
    fn set(spot: Spot, make: Make) -> Self {
        let mut mm = boot_with_reservations();
        let ctor = (spot == Spot::ConstructedObject).then_some(Ctor(7));
        let cache = mm.kmem_cache_create(40, 0, SlabFlags(0), ctor).unwrap();
        let other = mm.kmem_cache_create(40, 0, SlabFlags(0), None).unwrap();
        let addr = make(&mut mm, cache);
        let own = mm.usable_size(addr).unwrap_or(PAGE_SIZE);
        Self { mm, addr, own, cache, other }
    }

    /// Tries a free. `None` where what it shall be told cannot be less.
    fn free(&mut self, call: FreeCall, fit: Fit) -> Option<Result<(), FreeFault>> {
        let Self { mm, addr, own, cache, other } = self;
        let (addr, own) = (*addr, *own);
        let told = |unit: u64| match fit {
            Fit::Right => Some(own),
            Fit::Smaller => own.checked_sub(unit).filter(|told| *told > 0),
            Fit::Other => Some(own + unit),
        };
        Some(match call {
            FreeCall::Kfree => mm.kfree(addr),
            FreeCall::KfreeNolock => mm.kfree_nolock(addr),
            FreeCall::Kvfree => mm.kvfree(addr),
            FreeCall::Vfree => mm.vfree(addr),
            FreeCall::VfreeAtomic => mm.vfree_atomic(addr),
            FreeCall::Vunmap => mm.vunmap(addr),
            FreeCall::KfreeSensitive => mm.kfree_sensitive(addr),
            FreeCall::KvfreeSensitive => mm.kvfree_sensitive(addr, told(1)?),
            FreeCall::KvfreeRcu => {
                let offset = if fit == Fit::Other { own } else { 0 };
                mm.kvfree_rcu(addr, offset).map(|()| mm.tick())
            }
            FreeCall::Krealloc => moved(mm.krealloc(addr, 0, GFP_KERNEL)),
            FreeCall::Kvrealloc => {
                // Nothing can be copied from NULL, and to no bytes it stays NULL.
                let is_null = addr.is_zero_or_null();
                let old_size = if is_null { told(1)? - own } else { told(1)? };
                let size = if is_null { 2 * old_size } else { own + PAGE_SIZE };
                moved(mm.kvrealloc(addr, old_size, size, GFP_KERNEL, Route::Policy))
            }
            FreeCall::Vrealloc if addr == Vaddr::NULL => moved(mm.vrealloc(addr, 0, GFP_KERNEL)),
            FreeCall::Vrealloc => moved(mm.vrealloc(addr, own + PAGE_SIZE, GFP_KERNEL)),
            FreeCall::KmemCacheFree if fit == Fit::Right => mm.kmem_cache_free(*cache, addr),
            FreeCall::KmemCacheFree => mm.kmem_cache_free(*other, addr),
            FreeCall::FreePages => {
                let order = match fit {
                    Fit::Right => order_for(own),
                    Fit::Smaller => order_for(own).checked_sub(1)?,
                    Fit::Other => order_for(own) + 1,
                };
                mm.free_pages(addr, order)
            }
            FreeCall::PutPage => match direct_phys(addr) {
                Some(at) if addr.is_page_aligned() && mm.virt_addr_valid(addr) => {
                    mm.put_page(Pfn((at.0 >> PAGE_SHIFT) as u32))
                }
                _ => Err(mm.refusal(addr, call)),
            },
            FreeCall::DmaFreeCoherent => mm.dma_free_coherent(addr, told(own / 2)?),
            FreeCall::FreePagesExact => mm.free_pages_exact(addr, told(PAGE_SIZE)?),
            FreeCall::Ksize => unreachable!("it frees nothing, and has no column"),
        })
    }

    /// Holds one cell to what comes of the free; breaks if the memory is gone.
    fn check(&mut self, what: &str, call: FreeCall, fit: Fit, cell: Cell) -> ControlFlow<()> {
        let before = self.mm.stat();
        let is = self.mm.describe(self.addr);
        let Some(result) = self.free(call, fit) else { return ControlFlow::Continue(()) };
        match (result, cell.verdict) {
            (Ok(()), None) if self.addr.is_zero_or_null() => assert_eq!(self.mm.stat(), before),
            (Ok(()), None) => {
                assert_eq!(self.mm.describe(self.addr), AddrKind::Free, "{what}");
                return ControlFlow::Break(());
            }
            (Err(fault), Some(verdict)) => {
                let told = match fault.verdict {
                    FreeVerdict::Misaligned => FreeVerdict::Interior,
                    told => told,
                };
                assert_eq!((told, fault.on_linux), (verdict, cell.on_linux), "{what}: {fault}");
                assert_eq!((self.mm.stat(), self.mm.describe(self.addr)), (before, is), "{what}");
            }
            (result, verdict) => panic!("{what}: {result:?}, the matrix says {verdict:?}"),
        }
        ControlFlow::Continue(())
    }
}

#[test]
fn every_cell_is_what_comes_of_the_free() {
    for &(spot, make) in STAGES {
        let mut stage = Stage::set(spot, make);
        let sizes = WRONG_SIZES.iter().map(|row| (row.call, row.fit));
        for (call, fit) in COLUMNS.into_iter().chain(sizes) {
            let what = std::format!("{spot:?} at {:#x}, {call:?}, {fit:?}", stage.addr.0);
            if stage.check(&what, call, fit, cell(spot, call, fit)).is_break() {
                stage.mm.validate().unwrap();
                stage = Stage::set(spot, make);
            }
        }
        stage.mm.validate().unwrap();
    }
}

#[test]
fn ksize_says_what_linux_tells() {
    let mut mm = boot(256, 256);
    let compound = |mm: &mut Mm<TestMemory>, order| {
        mm.__get_free_pages(GFP_KERNEL | __GFP_COMP, order).unwrap()
    };
    let object = mm.kmalloc(64, GFP_KERNEL).unwrap();
    let large = mm.kmalloc(16384, GFP_KERNEL).unwrap();
    for (addr, on_linux) in [
        (compound(&mut mm, 2), Fate::TellsSize),
        (compound(&mut mm, 1), Fate::WarnTellsNone),
        (mm.__get_free_pages(GFP_KERNEL, 2).unwrap(), Fate::WarnTellsNone),
        (Vaddr(object.0 + 8), Fate::TellsSize),
        (Vaddr(large.0 + 8), Fate::WarnTellsNone),
        (mm.vmalloc(64).unwrap(), Fate::Oops),
        (Vaddr(0x1234), Fate::Oops),
    ] {
        let fault = mm.ksize(addr).unwrap_err();
        assert_eq!((fault.called, fault.on_linux), (FreeCall::Ksize, on_linux), "{fault}");
    }
}

#[test]
fn every_row_is_tried() {
    for (spot, _) in MATRIX {
        assert!(STAGES.iter().any(|(staged, _)| staged == spot), "{spot:?}");
    }
}

#[test]
fn a_refusal_says_what_linux_does() {
    let mut mm = boot(256, 256);
    let area = mm.vmalloc(PAGE_SIZE).unwrap();
    let text = std::format!("{}", mm.kfree(area).unwrap_err());
    let rest =
        "refused: it is an area of vmalloc; free it with vfree (on Linux 6.1 this oopses in kfree)";
    assert_eq!(text, std::format!("kfree of {:#x} {rest}", area.0));
    let block = mm.__get_free_pages(GFP_KERNEL, 2).unwrap();
    let text = std::format!("{}", mm.free_pages(block, 1).unwrap_err());
    assert!(text.contains("another size than that of a block of pages"), "{text}");
    assert!(text.ends_with("(on Linux 6.1 this leaks a part, silently)"), "{text}");
}
