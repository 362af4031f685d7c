//! Panics that are findings: what they said, where, and that they say it nowhere else.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread runs something whose panic is a finding.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Silences panics: each becomes a failure, which tells its place in the source. A program that
/// runs traces calls this once: a panic is a finding like any other, and shrinking one repeats it a
/// thousand times.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|panic| {
        PANIC_PLACE.set(panic.location().map(ToString::to_string));
    }));
}

/// Where this thread panicked last, if panics are kept quiet and nobody has asked before.
pub fn last_panic_place() -> Option<String> {
    PANIC_PLACE.take()
}

/// Runs something whose panic is a finding: the panic says nothing, but its place is kept. Panics
/// of other threads are nobody's business here.
///
/// # Errors
/// What the panic said.
pub fn catch_quietly<T>(run: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if IS_QUIET.get() {
                PANIC_PLACE.set(panic.location().map(ToString::to_string));
            } else {
                others(panic);
            }
        }));
    });
    let before = IS_QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    IS_QUIET.set(before);
    result
}

/// What a panic said.
pub fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
