//! A program with nothing under it but `core`, which boots alloc-core and calls each of its floors.
//!
//! It has to link, not to run. Generic code is only compiled where it is used, so
//! building the library alone would prove less: every floor must be reached from `_start`.
//!
//! There is no unsafe code: the machine is a local variable.

#![no_std]
#![no_main]

use alloc_core::addr::{PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
use alloc_core::gfp::{__GFP_ZERO, GFP_KERNEL};
use alloc_core::memory::{MapError, Memory};
use alloc_core::{BootParams, Mm, Route, SlabFlags};
use core::hint::black_box;

const NR_FRAMES: usize = 64;
const WORDS_PER_PAGE: usize = PAGE_SIZE as usize / 8;

/// A machine of 64 frames and 64 pages of vmalloc space.
struct Array {
    words: [u64; NR_FRAMES * WORDS_PER_PAGE],
    table: [Option<Pfn>; NR_FRAMES],
}

impl Array {
    fn slot(page: Vaddr) -> usize {
        ((page.0 - VMALLOC_START) / PAGE_SIZE) as usize
    }
}

impl Memory for Array {
    fn nr_frames(&self) -> u32 {
        NR_FRAMES as u32
    }

    fn nr_vmalloc_pages(&self) -> u64 {
        NR_FRAMES as u64
    }

    fn load(&self, at: Paddr) -> u64 {
        self.words[at.0 as usize / 8]
    }

    fn store(&mut self, at: Paddr, word: u64) {
        self.words[at.0 as usize / 8] = word;
    }

    fn zero(&mut self, at: Paddr, nr_bytes: u64) {
        self.words[at.0 as usize / 8..][..nr_bytes as usize / 8].fill(0);
    }

    fn map(&mut self, page: Vaddr, frame: Pfn) -> Result<(), MapError> {
        self.table[Self::slot(page)] = Some(frame);
        Ok(())
    }

    fn unmap(&mut self, page: Vaddr) {
        self.table[Self::slot(page)] = None;
    }

    fn translate(&self, page: Vaddr) -> Option<Pfn> {
        self.table[Self::slot(page)]
    }

    fn flush(&mut self, _start: Vaddr, _end: Vaddr) {}
}

/// A call of each floor. `black_box` keeps the compiler from knowing how they end.
fn exercise() -> Option<()> {
    let machine = Array { words: [0; NR_FRAMES * WORDS_PER_PAGE], table: [None; NR_FRAMES] };
    let params = BootParams {
        min_free_pages: black_box(4),
        shuffle: black_box(1),
        ..BootParams::default()
    };
    let mut mm = Mm::boot(machine, params).ok()?;
    let page = mm.alloc_pages(black_box(GFP_KERNEL), black_box(1)).ok()?;
    let cache = mm.kmem_cache_create(black_box(24), black_box(8), SlabFlags(0), None).ok()?;
    let object = mm.kmem_cache_alloc(cache, black_box(GFP_KERNEL)).ok()?;
    let area = mm.vmalloc(black_box(9000)).ok()?;
    let either = mm.kvmalloc(black_box(9000), GFP_KERNEL | __GFP_ZERO, Route::Policy).ok()?;
    mm.kvfree(black_box(either)).ok()?;
    mm.vfree(black_box(area)).ok()?;
    mm.vm_unmap_aliases();
    mm.kmem_cache_free(cache, black_box(object)).ok()?;
    mm.kmem_cache_destroy(cache).ok()?;
    mm.__free_pages(black_box(page), 1).ok()?;
    mm.validate().ok()
}

/// Where a program begins that has no C library to begin it.
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    black_box(exercise());
    loop {}
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
