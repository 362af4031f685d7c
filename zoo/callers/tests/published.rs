//! What published code comes to under routing, hostile placement and failed requests.
//!
//! Whoever asks for memory in a way that can fail must not be accused of anything; who does in a
//! way that cannot is told what that means.

use kvroute_hosted::caller::{Config, Failure, KVmalloc, Kernel, Kmalloc, Vmalloc, explore};
use kvroute_zoo_callers as callers;
use std::fmt::Debug;

/// No mistake is found, and requests were failed on the way.
#[track_caller]
fn silent<T: Debug + PartialEq>(caller: impl Fn() -> callers::Outcome<T>) {
    let explored = explore(&Config::new().seeds(128), |_: &Kernel| caller());
    let explored = explored.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(explored.nr_refused > 0, "nothing was refused in {explored:?}");
    println!("{explored:?}");
}

/// The caller ends the process in its ordinary way when this request is refused.
#[track_caller]
fn ends_without_memory<T: Debug + PartialEq>(caller: impl Fn() -> callers::Outcome<T>, plan: &str) {
    match explore(&Config::new().seeds(128), |_: &Kernel| caller()) {
        Err(Failure::Found(found)) => {
            let (finding, what) = (&found.finding, &found.finding.misuse.says);
            assert_eq!(finding.plan.to_string(), plan, "{what}");
            assert_eq!(finding.misuse.rule.name(), "panic", "{what}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn hashbrown_is_silent() {
    silent(|| callers::table(Kmalloc));
    silent(|| callers::table(Vmalloc));
    silent(|| callers::table(KVmalloc));
}

#[test]
fn vectors_of_allocator_api2_are_silent() {
    silent(|| callers::vectors_02(KVmalloc));
    silent(|| callers::vectors_02(Kmalloc));
    silent(|| callers::vectors(KVmalloc));
    silent(|| callers::vectors(Kmalloc));
    silent(|| callers::vectors(Vmalloc));
}

#[test]
fn smallvec_is_silent() {
    silent(|| callers::small_vector(KVmalloc));
    silent(|| callers::small_vector(Kmalloc));
    silent(|| callers::small_vector(Vmalloc));
}

#[test]
fn blink_alloc_is_silent() {
    silent(|| callers::arena(KVmalloc));
    silent(|| callers::arena(Kmalloc));
}

#[test]
fn shrinking_ends_the_process_where_there_is_no_memory() {
    ends_without_memory(|| callers::table_that_shrinks(KVmalloc), "2: fails");
    ends_without_memory(|| callers::small_vector_that_shrinks(KVmalloc), "2: fails");
}
