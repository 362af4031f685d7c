//! The kernel that a caller runs in: every call under its C name, memory to read and write, and
//! the contexts in which a call can be made.
//!
//! A request goes to the subject as the plan decides, what the subject answers is judged, and the
//! call is written down as a line of a trace. What Linux would answer with a warning, an oops or a
//! killed process ends the run: the caller is left at once, as a thread is that has crashed.
//!
//! Which plan is tried when is `explore`'s business.

use super::config::Config;
use super::misuse::{Misuse, Source};
use super::plan::Plan;
use super::state::{State, Told};
use crate::call::Request;
use crate::op::Reg;
use crate::oracle::caller::Rule;
use crate::subject::alloc_core::boot;
use crate::subject::{Answer, Layout, Refusal};
use crate::trace::Machine;
use crate::words::{Context, Current, PAGE};
use std::cell::RefCell;
use std::fmt::{self, Debug, Display, Formatter};
use std::panic::Location;

/// A booted machine with one caller on it.
pub struct Kernel {
    state: RefCell<State>,
}

/// No memory was given: C's `NULL`, which a caller passes on as `ENOMEM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

impl Display for NoMemory {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str("no memory (ENOMEM)")
    }
}

impl std::error::Error for NoMemory {}

/// A pointer into memory of a [`Kernel`].
#[derive(Clone, Copy)]
pub struct Pointer<'k> {
    pub(super) kernel: &'k Kernel,
    pub(super) addr: u64,
    /// The allocation that it was derived from, if it is known.
    pub(super) origin: Option<Reg>,
}

impl PartialEq for Pointer<'_> {
    /// Compares the addresses, as C does.
    fn eq(&self, other: &Self) -> bool {
        self.addr == other.addr
    }
}

impl Debug for Pointer<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.addr)
    }
}

impl Kernel {
    /// Boots a machine on which requests are decided as a plan says.
    ///
    /// # Panics
    /// If the machine does not boot.
    pub(super) fn boot(config: &Config, plan: Plan) -> Self {
        let mut subject = boot(&config.machine)
            .unwrap_or_else(|reason| panic!("the machine does not boot: {reason}"));
        subject.hand_over();
        Self { state: RefCell::new(State::new(subject, config, plan)) }
    }

    /// What can be told of the run.
    pub(super) fn into_told(self, machine: Machine) -> Told {
        self.state.into_inner().into_told(machine)
    }

    /// Runs a part of the caller in a context: under a spinlock, in an interrupt.
    pub fn in_context<T>(&self, context: Context, part: impl FnOnce() -> T) -> T {
        let current = self.current();
        self.with_current(Current { context, ..current }, part)
    }

    /// Runs a part of the caller as a task of this number, which has scopes of its own.
    pub fn as_task<T>(&self, task: u8, part: impl FnOnce() -> T) -> T {
        let current = self.current();
        self.with_current(Current { task, ..current }, part)
    }

    /// Runs a part of the caller inside a file system, in a transaction: what it asks for must not
    /// let reclaim enter a file system again, which would wait for that transaction.
    pub fn in_filesystem<T>(&self, part: impl FnOnce() -> T) -> T {
        let task = Some(self.current().task);
        let before = std::mem::replace(&mut self.state.borrow_mut().in_filesystem, task);
        let result = part();
        self.state.borrow_mut().in_filesystem = before;
        result
    }

    fn current(&self) -> Current {
        self.state.borrow().caller
    }

    fn with_current<T>(&self, current: Current, part: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut self.state.borrow_mut().caller, current);
        let result = part();
        self.state.borrow_mut().caller = before;
        result
    }

    /// `NULL`.
    pub fn null(&self) -> Pointer<'_> {
        self.pointer(0)
    }

    /// A pointer made of a number.
    pub fn pointer(&self, addr: u64) -> Pointer<'_> {
        Pointer { kernel: self, addr, origin: self.state.borrow().held.containing(addr) }
    }

    /// Has a device see memory (`dma_map_single`): the address at which it does. Linux refuses
    /// memory of vmalloc, with a warning.
    #[track_caller]
    pub fn dma_map_single(&self, memory: Pointer, len: u64) -> u64 {
        self.check_access(memory, len);
        let Layout { direct_start, direct_end, .. } = self.state.borrow().layout;
        if !(direct_start..direct_end).contains(&memory.addr) {
            let says = format!(
                "dma_map_single of {:#x}, which is vmalloc's; Linux: WARN 'rejecting DMA map of vmalloc memory'",
                memory.addr
            );
            self.object(Rule::Dma, says, memory.origin);
        }
        memory.addr.wrapping_sub(direct_start)
    }

    /// Where a device sees coherent memory (`dma_alloc_coherent`); none for any other.
    pub fn bus_of(&self, memory: Pointer) -> Option<u64> {
        let state = self.state.borrow();
        let given = state.held.given(memory.origin?);
        Some(given.bus? + memory.addr.wrapping_sub(given.addr))
    }

    /// What a device does that writes to memory that it sees, page by page.
    #[track_caller]
    pub fn device_write(&self, bus: u64, bytes: &[u8]) {
        let (mut bus, mut rest) = (bus, bytes);
        while !rest.is_empty() {
            let len = rest.len().min((PAGE - bus % PAGE) as usize);
            let (part, after) = rest.split_at(len);
            let addr = self.state.borrow().addr_of_bus(bus);
            self.pointer(addr).write(part);
            (bus, rest) = (bus.wrapping_add(len as u64), after);
        }
    }

    #[track_caller]
    pub(super) fn read(&self, from: Pointer, bytes: &mut [u8]) {
        self.check_access(from, bytes.len() as u64);
        self.state.borrow().subject.read(from.addr, bytes);
    }

    #[track_caller]
    pub(super) fn write(&self, to: Pointer, bytes: &[u8]) {
        let len = bytes.len() as u64;
        self.state.borrow_mut().log_write(to.addr, len, to.origin);
        let meets_head = self.state.borrow().held.objection_to_write(to.addr, len);
        if !self.check_access(to, len) {
            return;
        }
        match meets_head {
            Some(misuse) => self.object_with(misuse, to.origin),
            None => {
                self.state.borrow_mut().subject.write(to.addr, bytes);
            }
        }
    }

    /// Objects to an access that is not allowed; whether it is. A caller that is unwinding is not
    /// stopped by it.
    #[track_caller]
    fn check_access(&self, to: Pointer, len: u64) -> bool {
        let objection = self.state.borrow().held.objection(to.addr, len, to.origin);
        let is_allowed = objection.is_none();
        if let Some(misuse) = objection {
            self.object_with(misuse, to.origin);
        }
        is_allowed
    }

    /// Ends the run: a rule was broken, about memory of this number.
    #[track_caller]
    pub(super) fn object(&self, rule: Rule, says: impl Into<String>, about: Option<Reg>) {
        self.object_with(Misuse::new(rule, says), about);
    }

    #[track_caller]
    fn object_with(&self, misuse: Misuse, about: Option<Reg>) {
        let at = Some(Source::from(Location::caller()));
        // A caller that is unwinding already may free things on the way, and is not stopped twice.
        if !std::thread::panicking() {
            let misuse = self.state.borrow().held.placed(misuse, about, at);
            // It may be caught on its way out, and counts all the same.
            self.state.borrow_mut().misuse.get_or_insert(misuse.clone());
            std::panic::resume_unwind(Box::new(misuse));
        }
    }

    /// Makes a call. `origins` are the allocations that its addresses were derived from.
    #[track_caller]
    pub(super) fn call(&self, request: Request, origins: &[Option<Reg>]) -> Answer {
        if std::thread::panicking() {
            return Answer::Refused(Refusal::Injected);
        }
        let at = Source::from(Location::caller());
        let origins = &self.state.borrow().known(&request, origins)[..];
        let about = origins.iter().copied().flatten().next();
        let step = self.state.borrow_mut().step(request, origins, at);
        match step {
            Ok(answer) => answer,
            Err(misuse) => {
                self.object_with(*misuse, about);
                Answer::Refused(Refusal::Injected)
            }
        }
    }

    /// The pieces of memory that were just given.
    pub(super) fn pieces(&self, answer: Answer) -> Vec<Pointer<'_>> {
        let addrs = answer.granted();
        let next = self.state.borrow().held.next();
        let first = next.saturating_sub(addrs.len() as Reg);
        let piece =
            |(addr, reg): (&u64, Reg)| Pointer { kernel: self, addr: *addr, origin: Some(reg) };
        addrs.iter().zip(first..).map(piece).collect()
    }
}
