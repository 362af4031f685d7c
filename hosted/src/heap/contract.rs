//! What an author says of an allocator: the two traits.
//!
//! Each optional call has a constant that says whether there is such a call; what an allocator does
//! not have is not asked of it.
//!
//! Nothing is judged here.

#![expect(unsafe_code, reason = "a heap's promises are about raw memory")]

use kvroute_harness::call::Call;
use kvroute_harness::subject::{Cap, Caps};
use std::alloc::Layout;
use std::ops::Range;
use std::ptr::NonNull;

/// Where a heap's memory comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Regions,
    System,
}

impl Home {
    /// It is given regions, and writes nowhere else.
    pub const REGIONS: Self = Self(Place::Regions);

    /// It takes memory from the system, so that nothing is known of its bounds.
    ///
    /// # Safety
    /// What the heap gives can be read and written until it is taken back, and so can as many bytes
    /// of it as the heap calls usable: there is nothing to hold that against before it is done.
    pub const unsafe fn system() -> Self {
        Self(Place::System)
    }
}

/// How a heap is given more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Not at all.
    Never,
    /// The bytes right behind those that it has.
    AtItsEnd,
    /// Another region, which may lie right behind the last one or apart from it.
    ByRegions,
}

/// A heap.
///
/// # Safety
/// None is needed to implement it: a heap that breaks its promises is what the harness looks for,
/// and where it says that memory is, the harness looks in the regions alone. Of one that takes its
/// memory elsewhere more must be promised ([`Home::system`]). A heap that writes where it must not
/// may take the process down with it.
pub trait Heap: Sized {
    /// Where its memory comes from.
    const HOME: Home = Home::REGIONS;
    /// What is left when all is freed.
    const GIVES_BACK: GivesBack = GivesBack::All;
    /// Whether there is [`realloc`](Self::realloc).
    const REALLOC: bool = false;
    /// Whether there is [`alloc_zeroed`](Self::alloc_zeroed).
    const ALLOC_ZEROED: bool = false;
    /// Whether there is [`usable_size`](Self::usable_size).
    const USABLE_SIZE: bool = false;
    /// Whether there is [`used_bytes`](Self::used_bytes).
    const USED_BYTES: bool = false;
    /// Whether, and how, there is [`extend`](Self::extend).
    const GROWTH: Growth = Growth::Never;

    /// A heap over a region, or none if the region is too small for one. A heap that takes its
    /// memory from the system leaves the region alone.
    ///
    /// # Safety
    /// The region is the heap's alone, for the whole of its life.
    unsafe fn boot(region: NonNull<[u8]>) -> Option<Self>;

    /// Memory for a layout, which has at least one byte.
    fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes memory back.
    ///
    /// # Safety
    /// `ptr` is live memory of this heap, and `layout` what it was last asked for with.
    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout);

    /// Makes `new_size` bytes of it, at least one, with the same alignment; if there are none, the
    /// old memory stays as it is.
    ///
    /// # Safety
    /// As [`dealloc`](Self::dealloc), and `new_size` makes a layout with the alignment.
    unsafe fn realloc(
        &mut self,
        _ptr: NonNull<u8>,
        _layout: Layout,
        _new_size: usize,
    ) -> Option<NonNull<u8>> {
        None
    }

    /// As [`alloc`](Self::alloc), and all bytes of the layout read as zero.
    fn alloc_zeroed(&mut self, _layout: Layout) -> Option<NonNull<u8>> {
        None
    }

    /// How many bytes of live memory its caller may use, at least the layout's.
    fn usable_size(&self, _ptr: NonNull<u8>, layout: Layout) -> usize {
        layout.size()
    }

    /// How many bytes are in use: none less than its callers have, and when all is freed as many as
    /// at first.
    fn used_bytes(&self) -> usize {
        0
    }

    /// Takes more memory, if it can use it.
    ///
    /// # Safety
    /// As [`boot`](Self::boot), of the piece.
    unsafe fn extend(&mut self, _piece: NonNull<[u8]>) {}
}

/// Whether a heap has a call.
pub const fn heap_has<H: Heap>(call: Call) -> bool {
    match call {
        Call::AllocZeroed => H::ALLOC_ZEROED,
        Call::Realloc => H::REALLOC,
        Call::Extend => !matches!(H::GROWTH, Growth::Never),
        _ => true,
    }
}

/// Whether a frame allocator has a call.
pub const fn frames_have<F: FrameAllocator>(call: Call) -> bool {
    F::ADDS || !matches!(call, Call::AddFrames)
}

/// What an allocator does with memory that is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivesBack {
    /// It is as good as new when all is freed.
    All,
    /// It may keep something for later, but serves equal rounds of requests equally.
    ForLater,
    /// It never takes memory back, as a bump allocator.
    Nothing,
}

impl GivesBack {
    /// What its subject can do.
    pub(super) fn caps(self) -> Caps {
        match self {
            Self::All => Caps::of(&[Cap::GivesBack, Cap::Reuses]),
            Self::ForLater => Caps::of(&[Cap::Reuses]),
            Self::Nothing => Caps::NONE,
        }
    }
}

/// An allocator of page frames, which are numbers.
pub trait FrameAllocator: Sized {
    /// As [`Heap::GIVES_BACK`].
    const GIVES_BACK: GivesBack = GivesBack::All;
    /// Whether it can align a run to more than a frame.
    const ALIGNS: bool = false;
    /// Whether there is [`add`](Self::add).
    const ADDS: bool = false;

    /// An allocator of these frames, or none if it cannot manage them.
    fn boot(frames: Range<usize>) -> Option<Self>;

    /// The first of `count` frames that follow each other, a multiple of `align`, which is a power
    /// of two.
    fn alloc(&mut self, count: usize, align: usize) -> Option<usize>;

    /// Takes `count` frames back that were given together.
    fn dealloc(&mut self, first: usize, count: usize);

    /// Takes more frames.
    fn add(&mut self, _frames: Range<usize>) {}
}
