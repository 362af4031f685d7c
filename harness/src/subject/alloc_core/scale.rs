//! What a call costs alloc-core when ever more is allocated.
//!
//! The one idea: time is noisy and the same work is not. The machine counts how often the allocator
//! loads and stores a word of its memory, so that whether the cost of a call grows with what is
//! live is a number that comes out the same everywhere.
//!
//! There is no clock here; the command line has one.

use crate::random::Draw;
use alloc_core::addr::{Paddr, Pfn, VMALLOC_START, Vaddr};
use alloc_core::gfp::GFP_KERNEL;
use alloc_core::memory::{MapError, Memory};
use alloc_core::{BootParams, Mm};
use fastrand::Rng;
use std::cell::Cell;

/// Bytes in a page.
const PAGE: u64 = 4096;

/// A machine that counts what is asked of it, and whose memory costs nothing until it is used.
struct CountingMemory {
    words: Vec<u64>,
    /// The frame behind each page of the vmalloc space, plus one.
    table: Vec<u32>,
    nr_loads: Cell<u64>,
    nr_stores: u64,
    nr_mapped: u64,
}

impl CountingMemory {
    fn new(nr_frames: u64, nr_vmalloc_pages: u64) -> Self {
        Self {
            words: vec![0; (nr_frames * PAGE / 8) as usize],
            table: vec![0; nr_vmalloc_pages as usize],
            nr_loads: Cell::new(0),
            nr_stores: 0,
            nr_mapped: 0,
        }
    }
}

fn slot(page: Vaddr) -> usize {
    ((page.0 - VMALLOC_START) / PAGE) as usize
}

impl Memory for CountingMemory {
    fn nr_frames(&self) -> u32 {
        (self.words.len() as u64 * 8 / PAGE) as u32
    }

    fn nr_vmalloc_pages(&self) -> u64 {
        self.table.len() as u64
    }

    fn load(&self, at: Paddr) -> u64 {
        self.nr_loads.set(self.nr_loads.get() + 1);
        self.words[at.0 as usize / 8]
    }

    fn store(&mut self, at: Paddr, word: u64) {
        self.nr_stores += 1;
        self.words[at.0 as usize / 8] = word;
    }

    fn zero(&mut self, at: Paddr, nr_bytes: u64) {
        self.nr_stores += nr_bytes / 8;
        self.words[at.0 as usize / 8..][..nr_bytes as usize / 8].fill(0);
    }

    fn map(&mut self, page: Vaddr, frame: Pfn) -> Result<(), MapError> {
        self.nr_mapped += 1;
        self.table[slot(page)] = frame.0 + 1;
        Ok(())
    }

    fn unmap(&mut self, page: Vaddr) {
        self.table[slot(page)] = 0;
    }

    fn translate(&self, page: Vaddr) -> Option<Pfn> {
        self.table[slot(page)].checked_sub(1).map(Pfn)
    }

    fn flush(&mut self, _start: Vaddr, _end: Vaddr) {}
}

/// What is allocated and freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Objects of 64 bytes.
    Kmalloc,
    /// Single pages.
    Pages,
    /// Areas of one page.
    Vmalloc,
}

/// Every case: its name, and the most that fits into a machine of 1 GiB.
pub static CASES: &[(Case, &str, u64)] = &[
    (Case::Kmalloc, "kmalloc(64)", 1_000_000),
    (Case::Pages, "alloc_pages(0)", 100_000),
    (Case::Vmalloc, "vmalloc(4096)", 100_000),
];

/// What a free and an allocation cost together, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Words loaded.
    pub loads: f64,
    /// Words stored.
    pub stores: f64,
}

/// An allocator with so much live, of which one after the other is replaced.
pub struct Bench {
    case: Case,
    mm: Mm<CountingMemory>,
    live: Vec<Vaddr>,
    rng: Rng,
}

impl Bench {
    /// Boots a machine in proportion to what is to be live, and allocates it.
    ///
    /// # Panics
    /// If the allocator refuses what the machine has room for.
    pub fn new(case: Case, nr_live: u64) -> Self {
        let (bytes_each, vmalloc_pages) = match case {
            Case::Kmalloc => (64, 1024),
            Case::Pages => (PAGE, 1024),
            // A page, its share of three slabs, a guard page; what is freed is lazy for a while.
            Case::Vmalloc => (PAGE + 256, 4 * nr_live),
        };
        let nr_frames = 1024 + (nr_live * bytes_each).div_ceil(PAGE) * 5 / 4;
        let memory = CountingMemory::new(nr_frames, vmalloc_pages);
        let params = BootParams { shuffle: 1, ..BootParams::default() };
        let mm = Mm::boot(memory, params).expect("the machine is large enough to boot");
        let mut bench = Self { case, mm, live: Vec::new(), rng: Rng::with_seed(nr_live) };
        bench.live = (0..nr_live).map(|_| bench.alloc()).collect();
        bench
    }

    /// Frees something live, anything, and allocates another in its place, `nr_pairs` times.
    pub fn replace(&mut self, nr_pairs: u64) -> Work {
        let count = |mm: &Mm<CountingMemory>| (mm.memory().nr_loads.get(), mm.memory().nr_stores);
        let (loads, stores) = count(&self.mm);
        for _ in 0..nr_pairs {
            let place = self.rng.index(0..self.live.len());
            self.free(self.live[place]);
            self.live[place] = self.alloc();
        }
        let (more_loads, more_stores) = count(&self.mm);
        let mean = |counted: u64| counted as f64 / nr_pairs as f64;
        Work { loads: mean(more_loads - loads), stores: mean(more_stores - stores) }
    }

    fn alloc(&mut self) -> Vaddr {
        let mm = &mut self.mm;
        let result = match self.case {
            Case::Kmalloc => mm.kmalloc(64, GFP_KERNEL),
            Case::Pages => mm.__get_free_pages(GFP_KERNEL, 0),
            Case::Vmalloc => mm.vmalloc(PAGE),
        };
        result.expect("the machine has room")
    }

    fn free(&mut self, addr: Vaddr) {
        let result = match self.case {
            Case::Kmalloc => self.mm.kfree(addr),
            Case::Pages => self.mm.free_pages(addr, 0),
            Case::Vmalloc => self.mm.vfree(addr),
        };
        result.expect("the address is live");
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_work_of_a_call_does_not_grow_with_what_is_live() {
        for &(case, name, _) in CASES {
            let work = |nr_live| {
                let Work { loads, stores } = Bench::new(case, nr_live).replace(20_000);
                loads + stores
            };
            let (few, many) = (work(1000), work(30_000));
            // The trees of the vmalloc space are some levels deeper.
            let most = if case == Case::Vmalloc { 2.0 } else { 1.25 };
            assert!(
                many < few * most,
                "{name}: {few:.1} words with 1000 live, {many:.1} with 30000"
            );
        }
    }

    #[test]
    fn the_same_bench_does_the_same_work() {
        let work = || Bench::new(Case::Vmalloc, 100).replace(1000);
        assert_eq!(work(), work());
    }
}
