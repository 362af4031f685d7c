//! The `frames` campaign as a fuzz target; everything that decides anything is in the harness.
#![no_main]

use kvroute_harness::{Trace, campaign::FRAMES, fuzz, mutate};
use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|trace: Trace| fuzz(&FRAMES, &trace));
fuzz_mutator!(|text: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::libfuzzer_mutate(text, size, max_size, seed, &FRAMES.profile, fuzzer_mutate)
});
fuzz_crossover!(|one: &[u8], other: &[u8], out: &mut [u8], seed: u32| {
    mutate::libfuzzer_cross(one, other, out, seed)
});
