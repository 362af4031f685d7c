//! Slabs over pages: `slabmalloc`, and `buddy-slab-allocator`.

use buddy_slab_allocator::slab::SizeClass;
use buddy_slab_allocator::{BuddyAllocator, SlabAllocResult, SlabAllocator, SlabDeallocResult};
use kvroute_hosted::heap::{GivesBack, Heap};
use slabmalloc::{AllocationError, Allocator, LargeObjectPage, ObjectPage, ZoneAllocator};
use std::alloc::Layout;
use std::ptr::NonNull;

const PAGE: usize = 4096;
const LARGE_PAGE: usize = 2 << 20;

/// `slabmalloc`, which is given a page when it has no room for a layout: small ones from the start
/// of the region, large ones from its end.
pub struct Zone {
    zone: ZoneAllocator<'static>,
    start: usize,
    end: usize,
}

impl Zone {
    /// Gives a page more to the slabs that serve a layout.
    fn refill(&mut self, layout: Layout) -> Option<()> {
        if layout.size() <= ZoneAllocator::MAX_BASE_ALLOC_SIZE {
            let page = self.start.next_multiple_of(PAGE);
            self.start = Some(page + PAGE).filter(|start| *start <= self.end)?;
            // SAFETY: the page is in the region, and an empty one is all zero.
            unsafe {
                (page as *mut u8).write_bytes(0, PAGE);
                self.zone.refill(layout, &mut *(page as *mut ObjectPage<'static>)).ok()
            }
        } else {
            let page = self.end.checked_sub(LARGE_PAGE)? / LARGE_PAGE * LARGE_PAGE;
            self.end = Some(page).filter(|page| *page >= self.start)?;
            // SAFETY: as above.
            unsafe {
                (page as *mut u8).write_bytes(0, LARGE_PAGE);
                self.zone.refill_large(layout, &mut *(page as *mut LargeObjectPage<'static>)).ok()
            }
        }
    }
}

impl Heap for Zone {
    // A page stays with its size class.
    const GIVES_BACK: GivesBack = GivesBack::ForLater;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let start = region.as_ptr().cast::<u8>() as usize;
        Some(Self { zone: ZoneAllocator::new(), start, end: start + region.len() })
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        match self.zone.allocate(layout) {
            Err(AllocationError::OutOfMemory) => {
                self.refill(layout)?;
                self.zone.allocate(layout).ok()
            }
            answer => answer.ok(),
        }
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // What it refuses is lost, which later rounds show.
        let _ = self.zone.deallocate(ptr, layout);
    }
}

/// `buddy-slab-allocator`: pages from its buddies, and slabs of them for what is small.
pub struct BuddySlab {
    pages: Box<BuddyAllocator<PAGE>>,
    slabs: SlabAllocator<PAGE>,
}

impl BuddySlab {
    /// Room for a class of small objects.
    fn refill(&mut self, class: SizeClass, nr_pages: usize) -> Option<()> {
        let nr_bytes = nr_pages * PAGE;
        let base = self.pages.alloc_pages(nr_pages, nr_bytes).ok()?;
        self.slabs.add_slab(class, base, nr_bytes, 0);
        Some(())
    }
}

impl Heap for BuddySlab {
    // An empty slab may stay with its class.
    const GIVES_BACK: GivesBack = GivesBack::ForLater;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let mut pages = Box::new(BuddyAllocator::new());
        // SAFETY: the region is the heap's for its life.
        unsafe { pages.init(&mut *region.as_ptr()) }.ok()?;
        Some(Self { pages, slabs: SlabAllocator::new() })
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if SizeClass::from_layout(layout).is_none() {
            let nr_pages = layout.size().div_ceil(PAGE);
            let base = self.pages.alloc_pages(nr_pages, layout.align().max(PAGE)).ok()?;
            return NonNull::new(base as *mut u8);
        }
        loop {
            match self.slabs.alloc(layout).ok()? {
                SlabAllocResult::Allocated(ptr) => return Some(ptr),
                SlabAllocResult::NeedsSlab { size_class, pages } => {
                    self.refill(size_class, pages)?;
                }
            }
        }
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        let addr = ptr.as_ptr() as usize;
        if SizeClass::from_layout(layout).is_none() {
            self.pages.dealloc_pages(addr, layout.size().div_ceil(PAGE));
        } else if let SlabDeallocResult::FreeSlab { base, pages } = self.slabs.dealloc(ptr, layout)
        {
            self.pages.dealloc_pages(base, pages);
        }
    }
}
