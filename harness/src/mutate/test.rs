//! Mutants are traces, fit in their buffers, and follow their seeds.

use super::*;
use crate::call::Call;
use crate::generate::CallSet;

static PROFILE: Profile = Profile { misuse: Share(200), ..Profile::new(CallSet::All) };

fn no_engine(_: &mut [u8], _: usize, _: usize) -> usize {
    0
}

#[test]
fn mutants_read_back_strictly_and_stay_small() {
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let mut trace = Trace::default();
        for _ in 0..1000 {
            mutate(&mut trace, &PROFILE, &mut rng);
            assert!(trace.ops.len() <= MAX_FUZZ_OPS);
        }
        let text = trace.to_string();
        assert_eq!(Trace::parse(&text), Ok(trace.clone()), "seed {seed}");
        assert_eq!(Trace::parse_lenient(text.as_bytes()), trace, "seed {seed}");
    }
}

#[test]
fn nearly_every_mutation_changes_the_trace() {
    let mut rng = Rng::with_seed(1);
    let trace = generate(&PROFILE, &mut rng);
    let changed = (0..2000).filter(|_| {
        let mut mutant = trace.clone();
        mutate(&mut mutant, &PROFILE, &mut rng);
        mutant != trace
    });
    let nr_changed = changed.count();
    assert!(nr_changed >= 1890, "{nr_changed}");
}

#[test]
fn every_mutation_bears_any_trace() {
    let mut rng = Rng::with_seed(2);
    for round in 0..3000 {
        let mut trace = generate(&PROFILE, &mut rng);
        trace.ops.truncate(round % 4);
        for (_, mutation) in MUTATIONS {
            let swarm = Swarm::draw(&PROFILE, &mut rng);
            mutation(&mut trace, &mut Knife { profile: &PROFILE, swarm, rng: &mut rng });
        }
        assert_eq!(Trace::parse(&trace.to_string()), Ok(trace));
    }
}

#[test]
fn a_mutant_uses_no_call_beyond_the_profile() {
    static KV: [Call; 4] = [Call::Kvmalloc, Call::Kvcalloc, Call::Kvfree, Call::Write];
    let profile = Profile::new(CallSet::These(&KV));
    let mut rng = Rng::with_seed(3);
    let mut trace = generate(&profile, &mut rng);
    for _ in 0..2000 {
        mutate(&mut trace, &profile, &mut rng);
        assert!(trace.ops.iter().all(|op| KV.contains(&op.call)));
    }
}

#[test]
fn a_mutant_fits_and_ends_with_a_whole_line() {
    let mut rng = Rng::with_seed(4);
    let text = generate(&PROFILE, &mut rng).to_string();
    for seed in 0..2000 {
        let max_size = rng.index(1..12_000);
        let mut bytes = vec![0; max_size.max(text.len())];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let size = text.len().min(max_size);
        let written = libfuzzer_mutate(&mut bytes, size, max_size, seed, &PROFILE, no_engine);
        assert!(written <= max_size);
        assert_eq!(Trace::parse_lenient(&bytes[..written]).nr_dropped_lines, 0);
        assert!(written == 0 || bytes[written - 1] == b'\n');
    }
}

#[test]
fn the_engine_gets_one_mutation_in_eight() {
    fn engine(bytes: &mut [u8], _: usize, _: usize) -> usize {
        bytes[0] = b'!';
        1
    }
    let text = b"kfree(NULL)\n";
    let by_engine = (0..8000).filter(|&seed| {
        let mut bytes = [0; 4096];
        bytes[..text.len()].copy_from_slice(text);
        libfuzzer_mutate(&mut bytes, text.len(), 4096, seed, &PROFILE, engine);
        bytes[0] == b'!'
    });
    assert!((800..1200).contains(&by_engine.count()));
}

#[test]
fn the_same_seed_makes_the_same_mutant() {
    let text = generate(&PROFILE, &mut Rng::with_seed(5)).to_string();
    let other = generate(&PROFILE, &mut Rng::with_seed(6)).to_string();
    for seed in 0..200 {
        let [a, b] = [0, 1].map(|_| {
            let mut bytes = text.clone().into_bytes();
            bytes.resize(60_000, 0);
            let size = text.len();
            let size = libfuzzer_mutate(&mut bytes, size, 60_000, seed, &PROFILE, no_engine);
            let mut crossed = vec![0; 60_000];
            let len = libfuzzer_cross(&bytes[..size], other.as_bytes(), &mut crossed, seed);
            crossed.truncate(len);
            (bytes, crossed)
        });
        assert_eq!(a, b);
    }
}

#[test]
fn a_cross_is_made_of_its_parents() {
    let mut rng = Rng::with_seed(7);
    let (a, b) = (generate(&PROFILE, &mut rng), generate(&PROFILE, &mut rng));
    for _ in 0..200 {
        let child = cross(&a, &b, &mut rng);
        // Sizes may have been made smaller, but whose ops they are still shows.
        let same = |op: &Op, other: &Op| op.call == other.call && op.dst == other.dst;
        let known = |op: &Op| a.ops.iter().chain(&b.ops).any(|other| same(op, other));
        assert!(child.ops.iter().all(known));
        assert!(child.machine == a.machine || child.machine == b.machine);
    }
    assert_eq!(cross(&Trace::default(), &Trace::default(), &mut rng).ops, []);
}

#[test]
fn most_mutants_are_light() {
    let mut heavy = 0;
    for seed in 0..400 {
        let mut rng = Rng::with_seed(seed);
        let mut trace = generate(&PROFILE, &mut rng);
        for op in &mut trace.ops {
            if let (Call::Kvmalloc, Arg::Number(size)) = (op.call, &mut op.args[0]) {
                *size = 1 << 20;
            }
        }
        mutate(&mut trace, &PROFILE, &mut rng);
        let bytes: u64 = trace.ops.iter().map(|op| bytes_of(op, &trace.machine)).sum();
        heavy += u32::from(bytes > 4 * LIGHT_TRACE_BYTES);
    }
    assert!((1..60).contains(&heavy), "{heavy} of 400 mutants are heavy");
}

#[test]
fn mutants_stand_at_the_ends_of_arguments() {
    let seed = Trace::parse("r0 = kmalloc(0x40, GFP_KERNEL)\nr1 = alloc_pages(GFP_KERNEL, 1)\n");
    let seed = seed.expect("a trace");
    let mut rng = Rng::with_seed(3);
    let (mut sizes, mut orders) = (0, 0);
    for _ in 0..8000 {
        let mut mutant = seed.clone();
        mutate(&mut mutant, &PROFILE, &mut rng);
        let number = |op: &Op, place: usize| match op.args[place] {
            Arg::Number(number) => number,
            _ => 0,
        };
        let of = |call| mutant.ops.iter().filter(move |op| op.call == call);
        sizes += of(Call::Kmalloc).filter(|op| number(op, 0) > 1 << 32).count();
        orders += of(Call::AllocPages).filter(|op| number(op, 1) > 50).count();
    }
    assert!(sizes > 10 && orders > 10, "{sizes} sizes and {orders} orders");
}

/// An order or a size that nothing grants meets a context in which nothing may sleep.
#[test]
fn what_is_beyond_all_is_asked_for_where_nothing_may_sleep() {
    let text = "machine\nr0 = alloc_pages(GFP_KERNEL, 0)\nr1 = kmalloc(0x40, GFP_KERNEL)\n";
    let trace = Trace::parse(text).expect("a trace");
    let mut rng = Rng::with_seed(5);
    let mut nr_met = [0; 2];
    for _ in 0..20_000 {
        let mut mutant = trace.clone();
        let swarm = Swarm::draw(&PROFILE, &mut rng);
        change_op(&mut mutant, &mut Knife { profile: &PROFILE, swarm, rng: &mut rng });
        let [block, object] = [&mutant.ops[0], &mutant.ops[1]];
        let is_beyond = |arg, most| matches!(arg, Arg::Number(number) if number >= most);
        let is_task = |op: &Op| op.caller.context == crate::words::Context::Task;
        nr_met[0] += u32::from(is_beyond(block.args[1], 64) && !is_task(block));
        nr_met[1] += u32::from(is_beyond(object.args[0], 1 << 31) && !is_task(object));
    }
    assert!(nr_met.iter().all(|nr| *nr >= 20), "{nr_met:?}");
}
