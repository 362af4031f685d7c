//! Ctrl-C and SIGTERM.
//!
//! The first signal is a wish, which a subcommand looks up between two pieces of work to end with
//! what it has; the second ends the program where it is. The exit code is that of a program which
//! the signal has killed.
//!
//! What is printed at the end is the subcommand's to say.

use crate::cli::output;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// The signal that came, or 0.
static RECEIVED: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// A signal that asked for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal(u8);

impl Signal {
    /// The exit code of a program that it ends.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self.0
    }

    /// Its C name.
    pub(crate) fn name(self) -> &'static str {
        if i32::from(self.0) == SIGINT { "SIGINT" } else { "SIGTERM" }
    }
}

/// Begins to listen.
pub(crate) fn listen() {
    let received = RECEIVED.get_or_init(Arc::default);
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order, so that only the second signal finds that one was there before.
        let heard =
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())
                .and_then(|_| signal_hook::flag::register(signal, asked.clone()))
                .and_then(|_| {
                    signal_hook::flag::register_usize(signal, received.clone(), signal as usize)
                });
        if let Err(error) = heard {
            output::complain(&format!("signal {signal} ends the program at once: {error}"));
        }
    }
}

/// The signal that asks for the end, if one came.
pub(crate) fn received() -> Option<Signal> {
    let signal = RECEIVED.get().map_or(0, |received| received.load(Ordering::Relaxed));
    (signal > 0).then_some(Signal(signal as u8))
}
