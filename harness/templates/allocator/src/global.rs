//! The global allocator under test. Put yours in the place of what [`Mine`] does; nothing else has
//! to change.

use kvroute_harness::Campaign;
use kvroute_hosted::heap::OfGlobal;
use std::alloc::{GlobalAlloc, Layout, System};

/// Your allocator. One that starts afresh with each value makes every trace repeatable.
#[derive(Default)]
pub struct Mine;

// SAFETY: the system's allocator keeps what this trait promises.
unsafe impl GlobalAlloc for Mine {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller promises what is asked for there.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}

kvroute_hosted::heap_campaign!(MINE = "mine" [OfGlobal<Mine>]);

/// The campaigns that the command line knows by name.
pub static CAMPAIGNS: [&Campaign; 1] = [&MINE];
