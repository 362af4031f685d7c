//! What the executor makes of a trace, and what it counts.
//!
//! What a trace means is said in `docs/trace-language.md`, and shows in the answers of an allocator
//! that is right. What happens to one that is not is in `faulty`.

use kvroute_harness::campaign::{FAULTS, NOFAIL, ROUTED};
use kvroute_harness::verdict::EXPECTATION;
use kvroute_harness::{Campaign, Stats, Trace, check, check_expected};

fn expected(campaign: &Campaign, text: &str) -> Stats {
    let trace = Trace::parse(text).expect("a trace");
    check_expected(campaign, &trace).unwrap_or_else(|failure| panic!("{failure}"))
}

fn checked(campaign: &Campaign, text: &str) -> Stats {
    let trace = Trace::parse(text).expect("a trace");
    check(campaign, &trace).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn memory_that_no_register_keeps_is_freed_at_once() {
    let all = "alloc_pages(GFP_KERNEL, 5) # -> Pages\n".repeat(3);
    let stats = expected(&NOFAIL, &format!("machine (frames: 64, min_free: 0)\n{all}"));
    assert_eq!(stats.nr_releases, 3);
}

#[test]
fn a_register_is_freed_before_it_is_assigned_again() {
    let all = "r0 = alloc_pages(GFP_KERNEL, 5) # -> Pages\n".repeat(3);
    expected(&NOFAIL, &format!("machine (frames: 64, min_free: 0)\n{all}"));
}

#[test]
fn who_waits_blocks_its_task_and_what_it_is_to_replace() {
    let stats = expected(
        &NOFAIL,
        "machine (frames: 64, min_free: 0, shuffle: 0x0)\n\
         c0 = kmem_cache_create(0x40, 0x0)\n\
         r0 = kmalloc(0x4000, GFP_KERNEL)\n\
         r1 = alloc_pages(GFP_KERNEL, 5)\n\
         r2 = krealloc(r0, 0x20000, GFP_KERNEL|__GFP_NOFAIL) (task: 1) # -> Blocked\n\
         kfree(r0)\n\
         kfree(r2)\n\
         tick() (task: 1)\n\
         __free_pages(r1, 5)\n\
         kfree(r2) # -> Done",
    );
    assert_eq!((stats.nr_skipped(), stats.nr_served, stats.nr_unservable), (3, 1, 0));
}

#[test]
fn a_cache_that_someone_waits_for_is_not_destroyed() {
    let pages: String = (0..64).map(|nr| format!("r{nr} = alloc_pages(GFP_ATOMIC, 0)\n")).collect();
    let stats = expected(
        &NOFAIL,
        &format!(
            "machine (frames: 64, min_free: 0)\nc0 = kmem_cache_create(0x40, 0x0)\n{pages}\
             r64 = kmem_cache_alloc(c0, GFP_KERNEL|__GFP_NOFAIL) (task: 1) # -> Blocked\n\
             kmem_cache_destroy(c0)"
        ),
    );
    assert_eq!((stats.nr_skipped(), stats.nr_served), (1, 1));
}

#[test]
fn what_the_harness_frees_by_itself_it_frees_where_it_may_sleep() {
    let stats = expected(
        &NOFAIL,
        "c0 = kmem_cache_create(0x40, 0x0)\n\
         c0 = kmem_cache_create(0x40, 0x0) (context: hardirq) # -> BadContext\n\
         kmem_cache_destroy(c0)",
    );
    // The second line has destroyed the cache, and made none.
    assert_eq!(stats.nr_skipped(), 1);
}

#[test]
fn a_register_is_empty_when_nothing_could_be_replaced() {
    expected(
        &NOFAIL,
        "r0 = kmalloc(0x40, GFP_KERNEL)\nr1 = kmalloc(0x40, GFP_KERNEL)\n\
         r1 = krealloc(r0+0x8, 0x80, GFP_KERNEL) # -> Interior\nkfree(r1) # -> Done",
    );
}

#[test]
fn what_only_some_lanes_have_is_not_compared_and_counted() {
    let trace = "machine (vmalloc_pages: 16)\nr0 = kvmalloc(0x20000, GFP_KERNEL)\nkvfree(r0)";
    assert_eq!(checked(&ROUTED, trace).nr_incomparable, 1);
}

#[test]
fn an_answer_that_is_not_expected_fails_in_the_lane_that_is_followed() {
    let trace = "r0 = kvmalloc(0x3000, GFP_KERNEL) # -> Vmalloc";
    let trace = Trace::parse(trace).expect("a trace");
    let failure = check_expected(&ROUTED, &trace).expect_err("it is from the pages");
    assert_eq!((failure.oracle, failure.lane), (EXPECTATION, Some("as-written")));
    // Another lane takes the other side.
    static OTHER: Campaign = Campaign { follows: 3, ..ROUTED };
    check_expected(&OTHER, &trace).expect("that lane always takes the vmalloc side");
}

/// Traces which together raise every count.
const COUNTED: [&str; 4] = [
    "machine (frames: 64, min_free: 0)\n\
     r0 = alloc_pages(GFP_KERNEL, 5)\n\
     r1 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 5) (task: 1)\n\
     kfree(NULL) (task: 1)\n\
     start_process(24)\n\
     r2 = alloc_pages(GFP_KERNEL, 3)\n\
     __free_pages(r0, 5)",
    "machine (frames: 64, min_free: 0)\nr0 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 6)",
    "r0 = kmalloc(0x40, GFP_KERNEL) (failslab: 1)\nkfree(r1)\nr2 = kmalloc(0x400001, GFP_KERNEL)",
    "r0 = kmalloc(0x40, GFP_KERNEL)\nkfree(r0)\nkfree(r0)",
];

/// The counts of a run that are single numbers, by their names.
fn counts(stats: &Stats) -> [(&'static str, u64); 14] {
    let effort = stats.effort;
    let answers = stats.calls.iter().flatten().sum();
    let relaxed = stats.relaxed.used().map(|(_, nr)| nr).sum();
    [
        ("traces", stats.nr_traces),
        ("ops", stats.nr_ops),
        ("ops of lanes", stats.nr_lane_ops),
        ("answers", answers),
        ("answers of the lane", stats.lanes[0].classes.iter().sum()),
        ("skipped", stats.nr_skipped()),
        ("releases", stats.nr_releases),
        ("faults", stats.nr_faults),
        ("kills", effort.nr_oom_kills),
        ("warnings", effort.nr_warnings),
        ("retries", stats.nr_retries),
        ("served and not", stats.nr_served * 1000 + stats.nr_unservable),
        ("looks", stats.nr_checks),
        ("relaxed", relaxed),
    ]
}

#[test]
fn everything_is_counted_and_the_counts_of_runs_add_up() {
    let mut sum = Stats::new(FAULTS.lanes);
    let mut sums = [0; 14];
    for trace in COUNTED {
        let one = checked(&FAULTS, trace);
        sums = std::array::from_fn(|at| sums[at] + counts(&one)[at].1);
        sum.add(&one);
    }
    for ((what, counted), expected) in counts(&sum).into_iter().zip(sums) {
        assert_eq!(counted, expected, "{what}");
        assert!(counted > 0, "nothing raises the count of {what}");
    }
    assert_eq!(sum.nr_ops, 13);
    assert_eq!(sum.nr_lane_ops + sum.nr_skipped(), sum.nr_ops);
    assert_eq!((sum.nr_faults, sum.nr_served, sum.nr_unservable), (1, 1, 1));
    assert!(sum.lanes[0].peak_pages > 32);
}
