//! Child processes, and the signals that end them.
//!
//! A child is a copy of this process with the calling thread alone in it, so the caller need not be
//! found again, and its addresses are the same in every child. A signal that would kill it is told
//! to the parent as the mistake that it is; the stack of the handler is the caller's.
#![expect(unsafe_code, reason = "fork and signal handlers are unsafe to set up")]

use super::report::{self, Report};
use super::{current, exit};
use kvroute_harness::caller::{Misuse, Rule};
use kvroute_harness::exec::catch_quietly;
use nix::libc::{SI_KERNEL, c_int, c_void, sigaltstack, siginfo_t, stack_t};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, alarm, fork};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::ptr;

/// The seconds that one run may take.
const SECONDS_MAX: u32 = 10;
/// The bytes of stack that a handler has.
const STACK: usize = 1 << 20;

/// The signals of a process that has gone wrong, or has taken too long.
const SIGNALS: [Signal; 6] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGABRT,
    Signal::SIGALRM,
];

/// Does something in a child process, and says what that reports.
pub(super) fn report_of(work: impl FnOnce()) -> Report {
    let failed = |what: &str, why: String| Report::Trouble(format!("{what}: {why}"));
    let (mut reader, writer) = match std::io::pipe() {
        Ok(ends) => ends,
        Err(error) => return failed("no pipe", error.to_string()),
    };
    // A child that was to keep panics quiet first would wait for a thread that is not in it, if one
    // was just panicking.
    let _ = catch_quietly(|| ());
    // SAFETY: the child goes on in this thread alone. What it uses that other threads may have
    // locked is the host's allocator, which a fork leaves usable.
    let child = match unsafe { fork() } {
        Err(errno) => return failed("no child process", errno.to_string()),
        Ok(ForkResult::Child) => {
            drop(reader);
            report::listen(File::from(OwnedFd::from(writer)));
            catch_signals();
            work();
            exit::now()
        }
        Ok(ForkResult::Parent { child }) => child,
    };
    drop(writer);
    let mut text = Vec::new();
    let read = reader.read_to_end(&mut text);
    let status = waitpid(child, None);
    match (read, serde_json::from_slice(&text)) {
        (Ok(_), Ok(report)) => report,
        _ => failed("the caller's process ended without a word", format!("{status:?}")),
    }
}

/// A run begins: its time is counted from now on.
pub(super) fn restart_clock() {
    alarm::set(SECONDS_MAX);
}

fn catch_signals() {
    // A caller that has used up its stack leaves none to the handler.
    let stack = vec![0_u8; STACK].leak();
    let stack = stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the memory is this stack's for ever.
    unsafe { sigaltstack(&raw const stack, ptr::null_mut()) };
    // Once caught a signal is as it was: a second one ends the process.
    let flags =
        SaFlags::SA_SIGINFO | SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER | SaFlags::SA_ONSTACK;
    let action = SigAction::new(SigHandler::SigAction(on_signal), flags, SigSet::empty());
    for signal in SIGNALS {
        // SAFETY: the handler does not return. What it does is safe where the caller's own code was
        // interrupted, and elsewhere it only writes to the pipe.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    let is_caller = current::interrupt();
    // What was interrupted may hold what is needed here: then nothing is told, but it ends.
    let ends = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(Signal::SIGALRM, &ends) };
    restart_clock();
    let signal = Signal::try_from(signal).map_or("a signal", Signal::as_str);
    if !is_caller {
        let says = "in kvroute itself: the caller may have overwritten what the allocator keeps";
        report::send(&Report::Trouble(format!("{signal} {says}")));
    }
    let is_access = matches!(signal, "SIGSEGV" | "SIGBUS");
    if is_access {
        // SAFETY: the host has filled it in, and it is a fault's.
        let (at, code) = unsafe { ((*info).si_addr() as u64, (*info).si_code) };
        if code == SI_KERNEL {
            let says = "an access to what is no address; freed memory holds 0x6b in every byte";
            current::stop(Misuse::new(Rule::NoAddress, says));
        }
        current::stop(current::fault(at));
    }
    let misuse = match signal {
        "SIGALRM" => Misuse::new(Rule::Endless, format!("it takes more than {SECONDS_MAX} s")),
        _ => Misuse::new(Rule::Panic, format!("it dies of {signal}")),
    };
    current::stop(misuse);
}
