//! The heap under test. Put yours in the place of what [`Mine`] does; nothing else has to change.

use kvroute_harness::Campaign;
use kvroute_hosted::heap::{GivesBack, Heap};
use std::alloc::Layout;
use std::ptr::NonNull;

/// Your heap as kvroute sees it. This one gives memory and takes none back.
pub struct Mine {
    next: usize,
    end: usize,
}

impl Heap for Mine {
    // What a heap can do besides is said by constants like this one; the others are in the guide.
    const GIVES_BACK: GivesBack = GivesBack::Nothing;

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        let start = region.as_ptr().cast::<u8>() as usize;
        Some(Self { next: start, end: start + region.len() })
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let start = self.next.checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size()).filter(|end| *end <= self.end)?;
        self.next = end;
        NonNull::new(start as *mut u8)
    }

    unsafe fn dealloc(&mut self, _ptr: NonNull<u8>, _layout: Layout) {}
}

kvroute_hosted::heap_campaign!(MINE = "mine"[Mine]);

/// The campaigns that the command line knows by name.
pub static CAMPAIGNS: [&Campaign; 1] = [&MINE];
