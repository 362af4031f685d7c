//! Published allocators under kvroute: one campaign each, and the command line for them.
//!
//! ```sh
//! cargo run --release -- run rlsf --seconds 10
//! cargo run --release -- run talc-against-rlsf --seconds 10
//! ```
//!
//! Which versions are looked at, and what is expected of each, stands in `versions.txt`; `check.sh`
//! holds them to it, and writes what it saw into `table.txt`. An adapter says what the crate's
//! documentation promises and no more.

mod buddy;
mod bump;
mod dl;
mod linked_list;
mod lists;
mod pico;
mod ranges;
mod slabs;
mod talc_heap;
mod tlsf;

use kvroute_harness::Campaign;
use kvroute_hosted::{frames_campaign, heap_campaign};
use std::process::ExitCode;

heap_campaign!(LINKED_LIST_0_9 = "linked-list-0.9"[linked_list::V0_9]);
heap_campaign!(LINKED_LIST = "linked-list"[linked_list::V0_10]);
heap_campaign!(LINKED_LIST_BOUNDS = "linked-list-bounds"[linked_list::Bounds0_10]);
heap_campaign!(RLSF_0_1 = "rlsf-0.1"[tlsf::V0_1]);
heap_campaign!(RLSF = "rlsf"[tlsf::V0_2]);
heap_campaign!(TALC = "talc"[talc_heap::Cell]);
heap_campaign!(BUDDY_HEAP = "buddy-heap"[buddy::Heap]);
heap_campaign!(BUMPALO = "bumpalo"[bump::Bumpalo]);
heap_campaign!(TALC_AGAINST_RLSF = "talc-against-rlsf" [talc_heap::Cell, tlsf::V0_2]);
frames_campaign!(BUDDY_FRAMES_0_6 = "buddy-frames-0.6"[buddy::Frames0_6]);
frames_campaign!(BUDDY_FRAMES_0_7 = "buddy-frames-0.7"[buddy::Frames0_7]);
frames_campaign!(BUDDY_FRAMES = "buddy-frames"[buddy::Frames]);
heap_campaign!(DLMALLOC = "dlmalloc"[dl::Dl]);
heap_campaign!(PICOALLOC = "picoalloc"[pico::Pico]);
heap_campaign!(SLABMALLOC = "slabmalloc"[slabs::Zone]);
heap_campaign!(BUDDY_SLAB = "buddy-slab"[slabs::BuddySlab]);
heap_campaign!(GOOD_MEMORY = "good-memory"[lists::Good]);
heap_campaign!(BUDDY_ALLOC = "buddy-alloc"[lists::Buddies]);
frames_campaign!(RANGE_ALLOC = "range-alloc"[ranges::Ranges]);
frames_campaign!(OFFSET_ALLOCATOR = "offset-allocator"[ranges::Offsets]);
frames_campaign!(VM_ALLOCATOR = "vm-allocator"[ranges::Addresses]);
frames_campaign!(BITMAP_ALLOCATOR = "bitmap-allocator"[ranges::Bits]);

/// Those that can be asked for.
static CAMPAIGNS: [&Campaign; 22] = [
    &LINKED_LIST_0_9,
    &LINKED_LIST,
    &LINKED_LIST_BOUNDS,
    &RLSF_0_1,
    &RLSF,
    &TALC,
    &BUDDY_HEAP,
    &BUMPALO,
    &TALC_AGAINST_RLSF,
    &BUDDY_FRAMES_0_6,
    &BUDDY_FRAMES_0_7,
    &BUDDY_FRAMES,
    &DLMALLOC,
    &PICOALLOC,
    &SLABMALLOC,
    &BUDDY_SLAB,
    &GOOD_MEMORY,
    &BUDDY_ALLOC,
    &RANGE_ALLOC,
    &OFFSET_ALLOCATOR,
    &VM_ALLOCATOR,
    &BITMAP_ALLOCATOR,
];

fn main() -> ExitCode {
    kvroute_harness::cli::main(&CAMPAIGNS)
}
