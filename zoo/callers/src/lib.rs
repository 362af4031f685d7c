//! Published code that takes memory, as callers: each function is given one of the kernel's
//! allocators, takes memory by way of a crate, and returns what it computed.
//!
//! None may depend on which memory it got, and each must give back all of it, whichever request
//! fails. A collection that can do without memory is asked to (`try_reserve`), as kernel code
//! would.
//!
//! What came of it is in `docs/your-caller.md`, and is held by `tests/published.rs`.

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use allocator_api2_02::alloc::Allocator as Allocator02;
use allocator_api2_02::vec::Vec as Vec02;
use blink_alloc::BlinkAlloc;
use hashbrown::HashMap;
use smallvec::SmallVec;
use std::alloc::Layout;
use std::fmt::Debug;
use std::hash::{BuildHasherDefault, Hasher};

/// There was no memory.
#[derive(Debug)]
pub struct Short;

/// What a caller comes to.
pub type Outcome<T> = Result<T, Short>;

fn short<E: Debug>(_: E) -> Short {
    Short
}

/// A hash that is the same in every run, as a caller has to be.
#[derive(Default)]
pub struct Fixed(u64);

impl Hasher for Fixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        self.0 = bytes.iter().fold(self.0 ^ 0xcbf2_9ce4_8422_2325, step);
    }
}

/// A table of hashbrown: grown from nothing to several pages, thinned, cloned and searched.
pub fn table<A: Allocator02 + Clone>(allocator: A) -> Outcome<u64> {
    let mut table: HashMap<u64, [u64; 5], BuildHasherDefault<Fixed>, A> =
        HashMap::with_hasher_in(BuildHasherDefault::default(), allocator);
    for key in 0..300 {
        table.try_reserve(1).map_err(short)?;
        table.insert(key, [key; 5]);
    }
    table.retain(|key, _| key % 3 != 0);
    table.try_reserve(1000).map_err(short)?;
    table.remove(&1);
    Ok((0..300).filter_map(|key| table.get(&key)).map(|value| value[4]).sum())
}

/// A table that gives back what it does not need, which has no way to say that there is no memory
/// for the smaller one.
pub fn table_that_shrinks<A: Allocator02 + Clone>(allocator: A) -> Outcome<u64> {
    let mut table: HashMap<u64, u64, BuildHasherDefault<Fixed>, A> =
        HashMap::with_hasher_in(BuildHasherDefault::default(), allocator);
    table.try_reserve(500).map_err(short)?;
    table.extend((0..10).map(|key| (key, key)));
    table.shrink_to_fit();
    Ok(table.values().sum())
}

/// The vectors of allocator-api2 0.2, one inside the other.
pub fn vectors_02<A: Allocator02 + Clone>(allocator: A) -> Outcome<usize> {
    let mut rows: Vec02<Vec02<u32, A>, A> = Vec02::new_in(allocator.clone());
    for row in 1..20 {
        let mut numbers = Vec02::new_in(allocator.clone());
        numbers.try_reserve(row * 64).map_err(short)?;
        numbers.extend(0..row as u32 * 64);
        rows.try_reserve(1).map_err(short)?;
        rows.push(numbers);
    }
    Ok(rows.iter().flatten().filter(|number| **number % 2 == 0).count())
}

/// A value that is aligned as SIMD state is.
#[repr(align(64))]
struct Aligned([u8; 100]);

/// Vectors and boxes of allocator-api2 0.4; what is aligned to a line of the cache is looked at.
pub fn vectors<A: Allocator + Clone>(allocator: A) -> Outcome<usize> {
    let mut lines: Vec<Aligned, A> = Vec::new_in(allocator.clone());
    let boxed = Box::try_new_in([7_u64; 700], allocator.clone()).map_err(short)?;
    for nr in 0..50 {
        lines.try_reserve(1).map_err(short)?;
        lines.push(Aligned([nr; 100]));
        let place = lines.as_ptr() as usize;
        assert!(place.is_multiple_of(64), "lines at {place:#x}");
    }
    let slice = Box::<[u8], A>::try_new_zeroed_slice_in(3000, allocator).map_err(short)?;
    // SAFETY: zeros are bytes.
    let slice = unsafe { slice.assume_init() };
    let sum = |line: &Aligned| line.0.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    Ok(lines.iter().map(sum).sum::<usize>() + boxed[699] as usize + usize::from(slice[2999]))
}

/// A vector of smallvec that leaves its inline place, comes back and leaves it again.
pub fn small_vector<A: Allocator + Clone>(allocator: A) -> Outcome<u64> {
    let mut small: SmallVec<u64, 8, A> = SmallVec::new_in(allocator);
    let mut sum = 0;
    for round in [4, 2000, 6, 900] {
        for number in 0..round {
            small.try_reserve(1).map_err(short)?;
            small.push(number);
        }
        small.retain(|number| number % 2 == 0);
        sum += small.iter().sum::<u64>();
        small.truncate(3);
        small.try_grow(5).map_err(short)?;
    }
    small.shrink_to_fit();
    Ok(sum)
}

/// A vector that gives back a part of its memory, which has no way to say that there is none for
/// the smaller one.
pub fn small_vector_that_shrinks<A: Allocator + Clone>(allocator: A) -> Outcome<u64> {
    let mut small: SmallVec<u64, 8, A> = SmallVec::new_in(allocator);
    small.try_reserve_exact(2000).map_err(short)?;
    small.extend(0..20);
    small.shrink_to_fit();
    Ok(small.iter().sum())
}

/// An arena of blink-alloc: blocks of many sizes and alignments, two rounds of them.
pub fn arena<A: Allocator + Clone>(allocator: A) -> Outcome<u64> {
    let mut arena = BlinkAlloc::new_in(allocator);
    let mut sum = 0;
    for round in 0..2 {
        for nr in 0..60_usize {
            let layout = Layout::from_size_align(1 + nr * 37, 1 << (nr % 7)).map_err(short)?;
            let memory = arena.allocate(layout).map_err(short)?;
            assert!(memory.cast::<u8>().as_ptr().addr().is_multiple_of(layout.align()));
            // SAFETY: all of it was asked for.
            unsafe { memory.cast::<u8>().write_bytes(nr as u8, layout.size()) };
            // SAFETY: it was written just now.
            sum += u64::from(unsafe { memory.cast::<u8>().add(nr * 37).read() }) + round;
        }
        arena.reset();
    }
    Ok(sum)
}
