//! The frame allocator under test. Put yours in the place of what [`Mine`] does; nothing else has
//! to change.

use kvroute_harness::Campaign;
use kvroute_hosted::heap::FrameAllocator;
use std::ops::Range;

/// Your frame allocator as kvroute sees it. This one has a list of the frames that are free, and
/// gives them one by one.
pub struct Mine {
    free: Vec<usize>,
}

impl FrameAllocator for Mine {
    fn boot(frames: Range<usize>) -> Option<Self> {
        Some(Self { free: frames.collect() })
    }

    fn alloc(&mut self, count: usize, _align: usize) -> Option<usize> {
        if count == 1 { self.free.pop() } else { None }
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        self.free.extend(first..first + count);
    }
}

kvroute_hosted::frames_campaign!(MINE = "mine"[Mine]);

/// The campaigns that the command line knows by name.
pub static CAMPAIGNS: [&Campaign; 1] = [&MINE];
