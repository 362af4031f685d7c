//! A tenant that is right in all it does but for one fault.
//!
//! The one idea: a fault is a row of functions, each of which stands before one method of the right
//! allocator, and all but the faulty one pass on what they are asked. So a row says everything of
//! its fault, and nothing else.
//!
//! What is wrong with a fault is its row's to say, and an oracle's to find.

use kvroute_harness::call::Request;
use kvroute_harness::op::Setting;
use kvroute_harness::subject::{
    Answer, Caps, Facts, Layout, Mismatch, Reach, Reply, Subject, alloc_core,
};
use kvroute_harness::trace::Machine;
use std::cell::Cell;

/// A fault, who must object to it, and a trace that shows it.
pub(crate) struct Fault {
    /// What the tenant does wrong.
    pub(crate) what: &'static str,
    /// The oracle that objects.
    pub(crate) oracle: &'static str,
    /// A trace of which nobody has anything to say if the tenant is right.
    pub(crate) trace: &'static str,
    /// Where it is seen, if that is not the trace's last op.
    pub(crate) seen: Seen,
    pub(crate) caps: fn(&Tenant) -> Caps,
    pub(crate) apply: fn(&mut Tenant, &Request, &Setting) -> Reply,
    pub(crate) compare: fn(&Tenant, u64, &[u8]) -> Result<(), Mismatch>,
    pub(crate) read: fn(&Tenant, u64, &mut [u8]) -> usize,
    pub(crate) frame_of: fn(&Tenant, u64) -> Option<u32>,
    pub(crate) frame_of_bus: fn(&Tenant, u64) -> Option<u32>,
    pub(crate) facts: fn(&Tenant) -> Facts,
    pub(crate) validate: fn(&Tenant) -> Result<(), String>,
    pub(crate) validate_vmap: fn(&Tenant) -> Result<(), String>,
    pub(crate) trespass: fn(&Tenant, Reach) -> Option<u64>,
    pub(crate) hand_over: fn(&mut Tenant),
    pub(crate) settle: fn(&mut Tenant),
}

/// Where in its trace a fault is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// At the last op.
    AtLastOp,
    /// When everything is freed.
    AtTheEnd,
}

/// No fault: everything is passed on.
pub(crate) static NONE: Fault = RIGHT;

/// What a row does not say.
pub(crate) const RIGHT: Fault = Fault {
    what: "nothing wrong",
    oracle: "",
    trace: "",
    seen: Seen::AtLastOp,
    caps: |tenant| tenant.right.caps(),
    apply: |tenant, request, setting| tenant.right.apply(request, setting),
    compare: |tenant, addr, expected| tenant.right.compare(addr, expected),
    read: |tenant, addr, bytes| tenant.right.read(addr, bytes),
    frame_of: |tenant, addr| tenant.right.frame_of(addr),
    frame_of_bus: |tenant, bus| tenant.right.frame_of_bus(bus),
    facts: |tenant| tenant.right.facts(),
    validate: |tenant| tenant.right.validate(),
    validate_vmap: |tenant| tenant.right.validate_vmap(),
    trespass: |tenant, reach| tenant.right.trespass(reach),
    hand_over: |tenant| tenant.right.hand_over(),
    settle: |tenant| tenant.right.settle(),
};

thread_local! {
    /// The fault of the next tenants. A lane boots through a plain function, which nothing else can
    /// be told.
    static FAULT: Cell<&'static Fault> = const { Cell::new(&NONE) };
}

/// Runs something with tenants that have this fault.
pub(crate) fn with<T>(fault: &'static Fault, run: impl FnOnce() -> T) -> T {
    let before = FAULT.replace(fault);
    let result = run();
    FAULT.set(before);
    result
}

/// Boots a tenant with the fault of the moment.
pub(crate) fn boot(machine: &Machine) -> Result<Box<dyn Subject>, String> {
    let right = alloc_core::boot(machine)?;
    Ok(Box::new(Tenant { right, fault: FAULT.get(), granted: Vec::new(), nr_calls: 0 }))
}

/// The tenant.
pub(crate) struct Tenant {
    /// The allocator that does what is right.
    pub(crate) right: Box<dyn Subject>,
    fault: &'static Fault,
    /// All that it has granted, live or not: where, and how many bytes.
    pub(crate) granted: Vec<(u64, u64)>,
    /// The requests before the one at hand.
    pub(crate) nr_calls: usize,
}

impl Tenant {
    /// Where what was granted as the nth from 0 on lies; 0 if there was no such.
    pub(crate) fn place(&self, nth: usize) -> u64 {
        self.granted.get(nth).map_or(0, |granted| granted.0)
    }

    /// Makes the call as if nothing stood beside it.
    pub(crate) fn ask(&mut self, request: Request) -> Reply {
        self.right.apply(&request, &Setting::default())
    }

    /// Changes a byte.
    pub(crate) fn spoil(&mut self, addr: u64) {
        let mut byte = [0];
        if self.right.read(addr, &mut byte) == 1 {
            self.right.write(addr, &[byte[0] ^ 0x55]);
        }
    }
}

impl Subject for Tenant {
    fn caps(&self) -> Caps {
        (self.fault.caps)(self)
    }

    fn apply(&mut self, request: &Request, setting: &Setting) -> Reply {
        let reply = (self.fault.apply)(self, request, setting);
        self.nr_calls += 1;
        if let Answer::Memory { usable, .. } | Answer::Several { usable, .. } = reply.answer {
            self.granted.extend(reply.answer.granted().iter().map(|addr| (*addr, usable)));
        }
        reply
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> usize {
        (self.fault.read)(self, addr, bytes)
    }

    fn compare(&self, addr: u64, expected: &[u8]) -> Result<(), Mismatch> {
        (self.fault.compare)(self, addr, expected)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> usize {
        self.right.write(addr, bytes)
    }

    fn paint(&mut self, addr: u64, bytes: &'static [u8]) -> usize {
        self.right.paint(addr, bytes)
    }

    fn frame_of(&self, addr: u64) -> Option<u32> {
        (self.fault.frame_of)(self, addr)
    }

    fn frame_of_bus(&self, bus: u64) -> Option<u32> {
        (self.fault.frame_of_bus)(self, bus)
    }

    fn facts(&self) -> Facts {
        (self.fault.facts)(self)
    }

    fn layout(&self) -> Layout {
        self.right.layout()
    }

    fn validate(&self) -> Result<(), String> {
        (self.fault.validate)(self)
    }

    fn validate_vmap(&self) -> Result<(), String> {
        (self.fault.validate_vmap)(self)
    }

    fn trespass(&self, reach: Reach) -> Option<u64> {
        (self.fault.trespass)(self, reach)
    }

    fn hand_over(&mut self) {
        (self.fault.hand_over)(self);
    }

    fn settle(&mut self) {
        (self.fault.settle)(self);
    }
}
