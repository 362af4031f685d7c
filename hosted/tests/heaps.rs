//! Heaps and frame allocators on real memory: a right one passes, and each fault is objected to by
//! its oracle.
//!
//! The faults are played by the heap of the examples, with one line too many. `KVROUTE_HEAP_OPS`
//! sets the number of ops.

#![expect(unsafe_code, reason = "a heap is about raw memory")]

#[expect(dead_code, reason = "its main is the example's")]
#[path = "../examples/bitmap_frames.rs"]
mod bitmap_frames;
#[expect(dead_code, reason = "its main is the example's")]
#[path = "../examples/list_heap.rs"]
mod list_heap;

use bitmap_frames::{BITMAP_FRAMES, BitmapFrames};
use kvroute_hosted::harness::generate::generate;
use kvroute_hosted::harness::{Campaign, Failure, Stats, Trace, check, check_expected};
use kvroute_hosted::heap::{FrameAllocator, GivesBack, Growth, Heap, OfAllocator, OfGlobal};
use kvroute_hosted::{frames_campaign, heap_campaign};
use list_heap::{LIST_HEAP, ListHeap};
use std::alloc::{Layout, System};
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;

/// What a faulty heap does wrong.
mod fault {
    pub(super) const LOSES_PADDING: u8 = 0;
    pub(super) const WRITES_BEHIND_A_PIECE: u8 = 1;
    pub(super) const FORGETS_TO_COPY: u8 = 2;
    pub(super) const COPIES_A_BYTE_LESS: u8 = 3;
    pub(super) const CLEARS_A_BYTE_LESS: u8 = 4;
    pub(super) const IGNORES_LARGE_ALIGNMENTS: u8 = 5;
    pub(super) const GIVES_TWICE: u8 = 6;
    pub(super) const ANSWERS_OUTSIDE: u8 = 7;
    pub(super) const KEEPS_A_HEADER_IN_THE_BLOCK: u8 = 8;
    pub(super) const CLAIMS_MORE: u8 = 9;
    pub(super) const COUNTS_NO_FREE: u8 = 10;
    pub(super) const LOSES_WHAT_IS_FREED: u8 = 11;
    pub(super) const WRITES_FAR_BEHIND_ITS_REGION: u8 = 12;
}
use fault::*;

/// The heap of the example, with a fault.
struct Faulty<const FAULT: u8> {
    right: ListHeap,
    last: Option<NonNull<u8>>,
    nr_unfreed: usize,
    nr_lost: usize,
}

impl<const FAULT: u8> Heap for Faulty<FAULT> {
    const GIVES_BACK: GivesBack = match FAULT {
        LOSES_WHAT_IS_FREED => GivesBack::ForLater,
        _ => GivesBack::All,
    };
    const REALLOC: bool = true;
    const ALLOC_ZEROED: bool = true;
    const USABLE_SIZE: bool = true;
    const USED_BYTES: bool = true;
    const GROWTH: Growth = match FAULT {
        WRITES_FAR_BEHIND_ITS_REGION => Growth::Never,
        _ => Growth::ByRegions,
    };

    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
        if FAULT == WRITES_FAR_BEHIND_ITS_REGION {
            // SAFETY: none: it is not the heap's.
            unsafe { region.cast::<u8>().add(region.len() + 0x400).write(1) };
        }
        // SAFETY: the region is the heap's.
        let right = unsafe { ListHeap::boot(region) }?;
        Some(Self { right, last: None, nr_unfreed: 0, nr_lost: 0 })
    }

    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let is_large = layout.align() > 4096;
        let asked = match FAULT {
            IGNORES_LARGE_ALIGNMENTS if is_large => {
                Layout::from_size_align(layout.size(), 64).ok()?
            }
            _ => layout,
        };
        let block = self.right.alloc(asked)?;
        if FAULT == GIVES_TWICE && layout.size() == 64 {
            return Some(*self.last.get_or_insert(block));
        }
        if FAULT == ANSWERS_OUTSIDE && layout.size() == 64 {
            return NonNull::new(0x40 as *mut u8);
        }
        if FAULT == KEEPS_A_HEADER_IN_THE_BLOCK {
            self.last = Some(block);
        }
        Some(block)
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        if FAULT == KEEPS_A_HEADER_IN_THE_BLOCK
            && let Some(last) = self.last.take().filter(|last| *last != ptr)
        {
            // SAFETY: the block has a byte, and is the harness'.
            unsafe { last.write(last.read() ^ 1) };
        }
        let is_lost = match FAULT {
            LOSES_PADDING => layout.size() % 16 == 1,
            LOSES_WHAT_IS_FREED => true,
            _ => false,
        };
        if is_lost {
            self.nr_lost += layout.size().next_multiple_of(16);
            return;
        }
        if FAULT == COUNTS_NO_FREE {
            self.nr_unfreed += 1;
        }
        // SAFETY: as the caller promises.
        unsafe { self.right.dealloc(ptr, layout) };
    }

    unsafe fn realloc(
        &mut self,
        ptr: NonNull<u8>,
        layout: Layout,
        new_size: usize,
    ) -> Option<NonNull<u8>> {
        let nr_kept = match FAULT {
            FORGETS_TO_COPY => 0,
            COPIES_A_BYTE_LESS => layout.size().min(new_size) - 1,
            _ => layout.size().min(new_size),
        };
        let moved = self.right.alloc(Layout::from_size_align(new_size, layout.align()).ok()?)?;
        // SAFETY: both blocks are live, and the caller gives the old one back.
        unsafe {
            ptr.copy_to_nonoverlapping(moved, nr_kept);
            self.right.dealloc(ptr, layout);
        }
        Some(moved)
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.right.alloc(layout)?;
        let nr_cleared = layout.size() - usize::from(FAULT == CLEARS_A_BYTE_LESS);
        // SAFETY: the block has as many bytes.
        unsafe { block.write_bytes(0, nr_cleared) };
        Some(block)
    }

    fn usable_size(&self, _ptr: NonNull<u8>, layout: Layout) -> usize {
        let claimed = if FAULT == CLAIMS_MORE && layout.size() < 0x1000 { 16 } else { 0 };
        layout.size().next_multiple_of(16) + claimed
    }

    fn used_bytes(&self) -> usize {
        self.right.used_bytes() + self.nr_unfreed - self.nr_lost
    }

    unsafe fn extend(&mut self, piece: NonNull<[u8]>) {
        if FAULT == WRITES_BEHIND_A_PIECE && piece.len() < 16 {
            // SAFETY: none: it writes a header where there is no room for one.
            unsafe { piece.cast::<[u8; 16]>().write_unaligned([1; 16]) };
        }
        // SAFETY: as the caller promises.
        unsafe { self.right.extend(piece) };
    }
}

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
    macro_rules! faulty {
        ($($fault:ident by $oracle:literal),* $(,)?) => { [$({
            heap_campaign!(FAULTY = "faulty" [Faulty<$fault>]);
            (stringify!($fault), &FAULTY, $oracle)
        }),*] };
    }
    frames_campaign!(FORGETFUL = "forgetful"[Forgetful]);
    frames_campaign!(GRABBING = "grabbing"[Grabbing]);
    let heaps = faulty![
        LOSES_PADDING by "drain",
        WRITES_BEHIND_A_PIECE by "bounds",
        FORGETS_TO_COPY by "promise",
        COPIES_A_BYTE_LESS by "promise",
        CLEARS_A_BYTE_LESS by "contents",
        IGNORES_LARGE_ALIGNMENTS by "promise",
        GIVES_TWICE by "overlap",
        ANSWERS_OUTSIDE by "promise",
        KEEPS_A_HEADER_IN_THE_BLOCK by "contents",
        CLAIMS_MORE by "overlap",
        COUNTS_NO_FREE by "structure",
        LOSES_WHAT_IS_FREED by "rounds",
        WRITES_FAR_BEHIND_ITS_REGION by "bounds",
    ];
    let frames = [("FORGETFUL", &FORGETFUL, "overlap"), ("GRABBING", &GRABBING, "promise")];
    for (fault, campaign, oracle) in heaps.into_iter().chain(frames) {
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
