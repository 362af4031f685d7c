//! A frame allocator under kvroute: a bit for each frame.
//!
//! ```sh
//! cargo run --release --package kvroute-hosted --example bitmap_frames -- \
//!     run bitmap-frames --seconds 10
//! ```

use kvroute_hosted::heap::FrameAllocator;
use std::ops::Range;

/// Which frames are free, from the first one that it manages on.
pub(crate) struct BitmapFrames {
    first: usize,
    free: Vec<bool>,
}

impl FrameAllocator for BitmapFrames {
    const ALIGNS: bool = true;
    const ADDS: bool = true;

    fn boot(frames: Range<usize>) -> Option<Self> {
        Some(Self { first: frames.start, free: vec![true; frames.len()] })
    }

    fn alloc(&mut self, count: usize, align: usize) -> Option<usize> {
        let end = self.first + self.free.len();
        let starts = (self.first.next_multiple_of(align)..end).step_by(align);
        let is_run = |start: &usize| {
            let run = self.free.get(start - self.first..).and_then(|rest| rest.get(..count));
            run.is_some_and(|run| run.iter().all(|is_free| *is_free))
        };
        let start = starts.take_while(|start| start + count <= end).find(is_run)?;
        self.free[start - self.first..][..count].fill(false);
        Some(start)
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        self.free[first - self.first..][..count].fill(true);
    }

    fn add(&mut self, frames: Range<usize>) {
        self.free.resize(frames.end - self.first, true);
    }
}

kvroute_hosted::frames_campaign!(BITMAP_FRAMES = "bitmap-frames"[BitmapFrames]);

fn main() -> std::process::ExitCode {
    static CAMPAIGNS: [&kvroute_hosted::harness::Campaign; 1] = [&BITMAP_FRAMES];
    kvroute_hosted::harness::cli::main(&CAMPAIGNS)
}
