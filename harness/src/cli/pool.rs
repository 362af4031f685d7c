//! Numbered pieces of work on several threads, and their results in the order of the numbers.
//!
//! The one idea: who takes the results sees what one thread alone would have produced, so that a
//! run says the same on any number of cores; what was begun beyond its end is thrown away.
//!
//! What the work is, and when it is enough, is the caller's to say.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

/// Results that may wait for each thread until they are taken.
const NR_AHEAD: u64 = 32;

/// How far the work may run ahead of a piece that takes long: what waits for its turn takes memory.
struct Ahead {
    /// The first number that may not be begun yet.
    end: Mutex<u64>,
    moved: Condvar,
    most: u64,
}

impl Ahead {
    fn new(most: u64) -> Self {
        Self { end: Mutex::new(most), moved: Condvar::new(), most }
    }

    /// Waits until the work with this number may be begun.
    fn wait(&self, number: u64) {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = self.moved.wait_while(end, |end| number >= *end);
        drop(waits.unwrap_or_else(PoisonError::into_inner));
    }

    /// Says which result is awaited now.
    fn move_to(&self, awaited: u64) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) =
            awaited.saturating_add(self.most);
        self.moved.notify_all();
    }
}

/// Lets all threads go on, to find that nobody listens.
struct End<'a>(&'a Ahead);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.move_to(u64::MAX);
    }
}

/// The number of threads that the machine has cores for.
pub(crate) fn default_jobs() -> NonZero<usize> {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Does the work for 0, 1, 2, … on `jobs` threads, and has `take` look at the results in this
/// order, until it breaks.
///
/// # Errors
/// There cannot be so many threads.
pub(crate) fn in_order<T: Send, B>(
    jobs: NonZero<usize>,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> ControlFlow<B>,
) -> Result<B, String> {
    if jobs == NonZero::<usize>::MIN {
        // Nothing is gained by handing results over.
        let mut ends = (0..).filter_map(|number| take(number, work(number)).break_value());
        return Ok(ends.next().expect("there is always another number"));
    }
    let next = AtomicU64::new(0);
    let ahead = Ahead::new(NR_AHEAD * jobs.get() as u64);
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        // Whatever ends this, a thread that waits is told.
        let _end = End(&ahead);
        for thread in 1..=jobs.get() {
            let (sender, next, work, ahead) = (sender.clone(), &next, &work, &ahead);
            let begun = thread::Builder::new().spawn_scoped(scope, move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    ahead.wait(number);
                    // A panic is a result too, for its turn to come.
                    let result = catch_unwind(AssertUnwindSafe(|| work(number)));
                    // Nobody listens any more once the last result was taken.
                    if sender.send((number, result)).is_err() {
                        return;
                    }
                }
            });
            // Those that were begun find that nobody listens, and end.
            begun.map_err(|error| format!("thread {thread} of {jobs} cannot begin: {error}"))?;
        }
        drop(sender);
        let (mut early, mut awaited) = (BTreeMap::new(), 0);
        loop {
            let (number, result) = receiver.recv().expect("a thread that works sends results");
            early.insert(number, result);
            while let Some(result) = early.remove(&awaited) {
                let result = result.unwrap_or_else(|panic| resume_unwind(panic));
                if let ControlFlow::Break(end) = take(awaited, result) {
                    return Ok(end);
                }
                awaited += 1;
                ahead.move_to(awaited);
            }
        }
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    #[should_panic(expected = "the fifth")]
    fn a_panic_is_passed_on_in_its_turn() {
        let work = |number| assert!(number != 5, "the fifth");
        let enough = |number, ()| match number {
            5 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        in_order(NonZero::new(3).unwrap(), work, enough).unwrap();
    }

    #[test]
    fn results_come_in_order_and_end_where_they_are_told_to() {
        for jobs in [1, 2, 7] {
            // The first of every ten takes longest.
            let work = |number: u64| {
                let effort = if number.is_multiple_of(10) { 20_000 } else { 10 };
                (0..effort).fold(number, |sum, _| std::hint::black_box(sum));
                number * number
            };
            let mut taken = Vec::new();
            let end = in_order(NonZero::new(jobs).unwrap(), work, |number, square| {
                taken.push(square);
                if number == 99 { ControlFlow::Break("enough") } else { ControlFlow::Continue(()) }
            });
            assert_eq!(end, Ok("enough"));
            assert_eq!(taken, (0..100).map(|number| number * number).collect::<Vec<u64>>());
        }
    }
}
