//! The engine changes traces by their meaning, and keeps those that reach more of your code.
//!
//!     cargo fuzz run -s none traces -- -len_control=0 -max_len=16384
#![no_main]

use allocator_under_test::MINE;
use kvroute_harness::{Trace, fuzz, mutate};
use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|trace: Trace| fuzz(&MINE, &trace));
fuzz_mutator!(|text: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::libfuzzer_mutate(text, size, max_size, seed, &MINE.profile, fuzzer_mutate)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    mutate::libfuzzer_cross(one, other, out, seed)
});
