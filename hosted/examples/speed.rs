//! What real memory costs, as figures:
//!
//! ```sh
//! cargo run --release -p kvroute-hosted --example speed
//! ```
#![expect(unsafe_code, reason = "the host's own mappings are what it compares with")]

use alloc_core::addr::{PAGE_SIZE, Pfn, VMALLOC_START, Vaddr};
use alloc_core::gfp::GFP_KERNEL;
use alloc_core::memory::Memory;
use alloc_core::{BootParams, Mm};
use kvroute_harness::subject::alloc_core::Machine;
use kvroute_hosted::caller::{Config, Kernel, NoMemory, explore, gfp};
use kvroute_hosted::machine::RealMemory;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use std::io::{Read, Write};
use std::ptr;
use std::time::Instant;

const NR_FRAMES: u32 = 4096;

/// The nanoseconds of one of `nr` rounds.
fn nanoseconds(nr: u32, mut round: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..nr).for_each(|_| round());
    start.elapsed().as_secs_f64() * 1e9 / f64::from(nr)
}

/// Pages that no two of are neighbours, mapped and unmapped by the machine; each time with frames
/// so far from those of the time before.
fn mapped(nr_pages: u64, shift: u64) -> f64 {
    let mut memory = RealMemory::fresh(NR_FRAMES, NR_FRAMES).expect("memory");
    let page = |at: u64| Vaddr(VMALLOC_START + at * PAGE_SIZE);
    let mut first = 0;
    nanoseconds(20_000 / nr_pages as u32, || {
        first = (first + shift) % 1024;
        let frame = |at: u64| Pfn((first + 2 * at) as u32);
        (0..nr_pages).for_each(|at| memory.map(page(at), frame(at)).expect("a page"));
        memory.resume();
        (0..nr_pages).for_each(|at| memory.unmap(page(at)));
        memory.resume();
    })
}

/// The same by the host alone.
fn raw(nr_pages: u64) -> f64 {
    let file = memfd_create("speed", MemfdFlags::CLOEXEC).expect("a memory file");
    ftruncate(&file, u64::from(NR_FRAMES) * PAGE_SIZE).expect("a memory file");
    let (none, len) = (ProtFlags::empty(), (NR_FRAMES as usize) << 12);
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping where the host wants it.
    let start = unsafe { mmap_anonymous(ptr::null_mut(), len, none, flags) }.expect("a range");
    let access = ProtFlags::READ | ProtFlags::WRITE;
    nanoseconds(20_000 / nr_pages as u32, || {
        for at in 0..nr_pages {
            let here = start.wrapping_byte_add((at * PAGE_SIZE) as usize);
            let (shared, offset) = (MapFlags::SHARED | MapFlags::FIXED, 2 * at * PAGE_SIZE);
            // SAFETY: it lies in the range above.
            unsafe { mmap(here, 4096, access, shared, &file, offset) }.expect("a page");
        }
        // SAFETY: it is the range above.
        unsafe { mmap_anonymous(start, (nr_pages as usize) << 12, none, flags | MapFlags::FIXED) }
            .expect("a range");
    })
}

fn kmalloc() -> f64 {
    let memory = RealMemory::fresh(NR_FRAMES, NR_FRAMES).expect("memory");
    let params = BootParams { min_free_pages: 16, shuffle: 1, ..BootParams::default() };
    let mut mm = Mm::boot(memory, params).expect("a machine");
    let pair = nanoseconds(2_000_000, || {
        let object = mm.kmalloc(64, GFP_KERNEL).expect("an object");
        mm.kfree(object).expect("a right free");
    });
    pair / 2.0
}

/// A caller with ten allocations.
fn ten(kv: &Kernel) -> Result<(), NoMemory> {
    let mut taken = Vec::with_capacity(10);
    let mut result = Ok(());
    for at in 1..=10 {
        match kv.kvmalloc(at * 100, gfp::GFP_KERNEL) {
            Ok(memory) => taken.push(memory),
            Err(error) => result = Err(error),
        }
    }
    taken.iter().for_each(|memory| kv.kvfree(memory.as_ptr()));
    result
}

fn runs(config: &Config) -> f64 {
    let start = Instant::now();
    let explored = explore(config, ten).expect("a right caller");
    explored.nr_runs as f64 / start.elapsed().as_secs_f64()
}

/// The milliseconds from where a caller begins, which dies of a signal at once, until it begins in
/// the next worker; and from there until it has died with stacks, and is reported.
fn crash() -> (f64, f64) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let clock = Instant::now();
    let dies = |_: &Kernel| -> Result<(), NoMemory> {
        let _ = (&writer).write_all(&clock.elapsed().as_secs_f64().to_le_bytes());
        // SAFETY: none, which is what it dies of.
        unsafe { ptr::dangling_mut::<u8>().write_volatile(1) };
        Ok(())
    };
    explore(&Config::new(), dies).expect_err("it dies");
    let mut begun = || {
        let mut bytes = [0; 8];
        reader.read_exact(&mut bytes).expect("two workers");
        f64::from_le_bytes(bytes)
    };
    let (first, second) = (begun(), begun());
    ((second - first) * 1e3, (clock.elapsed().as_secs_f64() - second) * 1e3)
}

fn main() {
    for nr_pages in [1, 256] {
        let (same, other, raw) = (mapped(nr_pages, 0), mapped(nr_pages, 1), raw(nr_pages));
        println!(
            "map and unmap {nr_pages:3} scattered pages: {other:7.0} ns, {:.2} times raw {raw:7.0} ns",
            other / raw
        );
        println!("  with the same frames again: {same:7.0} ns, {:.2} times", same / raw);
    }
    println!("kmalloc or kfree of 64 bytes: {:.0} ns", kmalloc());
    let config = Config::new().seeds(20_000);
    println!("a caller with ten allocations: {:.0} runs a second", runs(&config));
    let by_policy = config.by_policy();
    println!("the same, routed by the policy alone: {:.0} runs a second", runs(&by_policy));
    let crashes = [(); 9].map(|()| crash());
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut times = crashes.each_ref().map(of);
        times.sort_by(f64::total_cmp);
        times[4]
    };
    println!("a caller that dies: {:.1} ms until the next worker is at work", median(|it| it.0));
    println!("the last one of a search, with stacks: {:.0} ms until the report", median(|it| it.1));
}
