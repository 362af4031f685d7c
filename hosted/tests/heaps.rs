//! Heaps and frame allocators on real memory: a right one passes, and each fault is objected to by
//! its oracle.
//!
//! `KVROUTE_HEAP_OPS` sets the number of ops. What churns find is tested in `churns.rs`.

#[expect(dead_code, reason = "its main is the example's")]
#[path = "../examples/bitmap_frames.rs"]
mod bitmap_frames;
#[macro_use]
mod faulty;

use bitmap_frames::{BITMAP_FRAMES, BitmapFrames};
use faulty::list_heap::{LIST_HEAP, ListHeap};
use kvroute_hosted::harness::generate::generate;
use kvroute_hosted::harness::{Campaign, Failure, Stats, Trace, check, check_expected};
use kvroute_hosted::heap::{FrameAllocator, OfAllocator, OfGlobal};
use kvroute_hosted::{frames_campaign, heap_campaign};
use std::alloc::System;
use std::ops::Range;
use std::path::Path;

/// The frame allocator of the example, which forgets the last frame of a run.
struct Forgetful(BitmapFrames);

impl FrameAllocator for Forgetful {
    fn boot(frames: Range<usize>) -> Option<Self> {
        BitmapFrames::boot(frames).map(Self)
    }

    fn alloc(&mut self, count: usize, align: usize) -> Option<usize> {
        let first = self.0.alloc(count, align)?;
        if count > 3 {
            self.0.dealloc(first + count - 1, 1);
        }
        Some(first)
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        self.0.dealloc(first, count);
    }
}

/// The frame allocator of the example, which takes the frame before its first for its own too.
struct Grabbing(BitmapFrames);

impl FrameAllocator for Grabbing {
    fn boot(frames: Range<usize>) -> Option<Self> {
        BitmapFrames::boot(frames.start.saturating_sub(1)..frames.end).map(Self)
    }

    fn alloc(&mut self, count: usize, align: usize) -> Option<usize> {
        self.0.alloc(count, align)
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        self.0.dealloc(first, count);
    }
}

/// The frame allocator of the example, which does without frames if they are few.
struct Choosy(BitmapFrames);

impl FrameAllocator for Choosy {
    fn boot(frames: Range<usize>) -> Option<Self> {
        Some(frames).filter(|frames| frames.len() >= 64).and_then(BitmapFrames::boot).map(Self)
    }

    fn alloc(&mut self, count: usize, align: usize) -> Option<usize> {
        self.0.alloc(count, align)
    }

    fn dealloc(&mut self, first: usize, count: usize) {
        self.0.dealloc(first, count);
    }
}

/// Runs generated traces of at least so many ops.
fn run(campaign: &Campaign, nr_ops: u64) -> Result<Stats, Box<Failure>> {
    let mut rng = fastrand::Rng::with_seed(10);
    let mut stats = Stats::new(campaign.lanes);
    while stats.nr_ops < nr_ops {
        stats.add(&check(campaign, &generate(&campaign.profile, &mut rng))?);
    }
    Ok(stats)
}

fn nr_ops() -> u64 {
    std::env::var("KVROUTE_HEAP_OPS").map_or(200_000, |nr| nr.parse().expect("a number of ops"))
}

#[test]
fn right_allocators_pass() {
    heap_campaign!(SYSTEM = "system" [OfGlobal<System>]);
    heap_campaign!(ALLOCATOR = "allocator" [OfAllocator<System>]);
    heap_campaign!(BOTH = "both" [ListHeap, OfGlobal<System>]);
    frames_campaign!(CHOOSY = "choosy"[Choosy]);
    for campaign in [&LIST_HEAP, &BITMAP_FRAMES, &SYSTEM, &ALLOCATOR, &BOTH, &CHOOSY] {
        let stats = run(campaign, nr_ops()).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(stats.executed_share() > 0.7, "{}: {}", campaign.name, stats.executed_share());
    }
}

#[test]
fn faults_are_objected_to() {
    frames_campaign!(FORGETFUL = "forgetful"[Forgetful]);
    frames_campaign!(GRABBING = "grabbing"[Grabbing]);
    let frames = [("FORGETFUL", &FORGETFUL, "overlap"), ("GRABBING", &GRABBING, "promise")];
    for (fault, campaign, oracle) in faulty_heaps!().into_iter().chain(frames) {
        let failure = run(campaign, 1_000_000).expect_err(fault);
        assert_eq!(failure.oracle, oracle, "{fault}: {failure}");
    }
}

/// Where the host maps the memory is no part of an answer.
#[test]
fn what_is_aligned_beyond_the_memory_is_not_to_be_had() {
    let frames = "r0 = alloc_frames(1, 0x10000000000)  # -> NoMemory\n";
    // There is such an address in 16 MiB, wherever these are mapped.
    let heap = "machine (frames: 4096)\nr0 = alloc(8, 0x800000)  # -> NoMemory\n";
    for (campaign, text) in [(&BITMAP_FRAMES, frames), (&LIST_HEAP, heap)] {
        let trace = Trace::parse(text).expect("a trace");
        check_expected(campaign, &trace).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// The seeds of the campaigns expect nothing that only the reference heap gives.
#[test]
fn the_seeds_hold_on_real_memory() {
    for (campaign, folder) in [(&LIST_HEAP, "heap"), (&BITMAP_FRAMES, "frames")] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(folder);
        for entry in std::fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let text = std::fs::read_to_string(&path).expect("a readable seed");
            let trace = Trace::parse(&text).expect("a trace");
            if let Err(failure) = check_expected(campaign, &trace) {
                panic!("{}: {failure}", path.display());
            }
        }
    }
}
