//! What it costs to judge a churn: the same acts with the whole book, with nothing but their blocks
//! written and read, and alone.
//!
//! ```sh
//! cargo run --release --example churn
//! ```
//!
//! Nothing is checked here but that the acts mean the same three times. Each figure is the best of
//! several, in nanoseconds an act.

#![allow(dead_code, reason = "of some crates not every version is asked here")]

#[path = "../src/dl.rs"]
mod dl;
#[path = "../src/linked_list.rs"]
mod linked_list;
#[path = "../src/talc_heap.rs"]
mod talc_heap;
#[path = "../src/tlsf.rs"]
mod tlsf;

use kvroute_harness::churn::{Churn, NR_SLOTS, What};
use kvroute_harness::generate::CallSet;
use kvroute_harness::seed::Kind;
use kvroute_hosted::heap::{Heap, heap_has, lead, pattern};
use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;
use std::slice;
use std::time::Instant;

/// Churns, and how often each is led.
const NR_CHURNS: u64 = 24;
const NR_TIMES: usize = 7;

/// What is done with the blocks of a heap that is believed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// Nothing.
    Left,
    /// They are written when they are new, and read before they go.
    Used,
}

/// A block, and the key of its contents.
type Block = (NonNull<u8>, Layout, u64);

fn write(blocks: Blocks, (ptr, layout, key): Block) {
    if blocks == Blocks::Used {
        // SAFETY: the heap has just given the block.
        pattern::paint(unsafe { slice::from_raw_parts_mut(ptr.as_ptr(), layout.size()) }, key);
    }
}

fn read(blocks: Blocks, (ptr, layout, key): Block) {
    if blocks == Blocks::Used {
        // SAFETY: the block is live.
        let bytes = unsafe { slice::from_raw_parts(ptr.as_ptr(), layout.size()) };
        black_box(pattern::is_painted(bytes, key));
    }
}

/// Carries the acts out, and nothing else; how many blocks that gave.
fn bare<H: Heap>(churn: Churn, memory: &mut [u8], blocks: Blocks) -> usize {
    let mut live: [Option<Block>; NR_SLOTS] = [None; NR_SLOTS];
    let mut nr_given = 0;
    // SAFETY: the memory is the heap's until it goes.
    let Some(mut heap) = (unsafe { H::boot(NonNull::from(memory)) }) else { return 0 };
    for act in churn {
        let (held, key) = (&mut live[act.slot], act.number as u64);
        match act.what {
            What::Alloc { size, align } | What::AllocZeroed { size, align } => {
                let layout =
                    Layout::from_size_align(size, align).expect("a churn's layouts are right");
                let ptr = match act.what {
                    What::Alloc { .. } => heap.alloc(layout),
                    _ => heap.alloc_zeroed(layout),
                };
                *held = ptr.map(|ptr| (ptr, layout, key));
                held.iter().for_each(|block| write(blocks, *block));
                nr_given += usize::from(held.is_some());
            }
            What::Realloc { size } => {
                let Some(old @ (ptr, layout, _)) = *held else { continue };
                read(blocks, old);
                // SAFETY: the block is live.
                let Some(ptr) = (unsafe { heap.realloc(ptr, layout, size) }) else { continue };
                let layout = Layout::from_size_align(size, layout.align()).expect("as above");
                *held = Some((ptr, layout, key));
                write(blocks, (ptr, layout, key));
                nr_given += 1;
            }
            What::Dealloc => {
                let Some(block @ (ptr, layout, _)) = held.take() else { continue };
                read(blocks, block);
                // SAFETY: the block is live.
                unsafe { heap.dealloc(ptr, layout) };
            }
        }
    }
    nr_given
}

/// The shortest time that something takes for all churns, by the act.
fn nanoseconds(nr_acts: usize, mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_nanos() as f64
    };
    (0..NR_TIMES).map(time).fold(f64::INFINITY, f64::min) / nr_acts as f64
}

fn figures<H: Heap>(name: &str) {
    let churn = |number| {
        let seed = Kind::Churn.seed(kvroute_harness::paint::mix(1, number));
        Churn::of_seed(seed, CallSet::Had("heap", heap_has::<H>))
    };
    let churns: Vec<Churn> = (0..NR_CHURNS).map(churn).collect();
    let nr_acts = churns.iter().map(|churn| churn.clone().count()).sum();
    let mut memory = vec![0; 4 << 20];
    let mut alone = |blocks| {
        nanoseconds(nr_acts, || {
            for churn in &churns {
                let nr_bytes = churn.machine().frames as usize * 4096;
                black_box(bare::<H>(churn.clone(), &mut memory[..nr_bytes], blocks));
            }
        })
    };
    let (left, used) = (alone(Blocks::Left), alone(Blocks::Used));
    let judged = nanoseconds(nr_acts, || {
        for churn in &churns {
            lead::<H>(&mut churn.clone(), &mut |_| ()).expect("a right heap");
        }
    });
    let (rate, ratio) = (1e3 / judged, judged / used);
    println!("{name:<14} {left:>8.0} {used:>8.0} {judged:>8.0} {rate:>8.2} {ratio:>8.2}");
}

fn main() {
    println!("nanoseconds     alone  written   judged  M acts/s  judged/written");
    figures::<tlsf::V0_2>("rlsf");
    figures::<talc_heap::Cell>("talc");
    figures::<dl::Dl>("dlmalloc");
    figures::<linked_list::V0_10>("linked_list");
}
