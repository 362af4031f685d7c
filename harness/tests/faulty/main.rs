//! Tenants that misbehave, each in one way, and who objects to it.
//!
//! The one idea: an oracle's own tests show that it barks at a record made by hand. That a record
//! tells of what a tenant did, and that it is shown to the oracles at all, is the work of lane and
//! executor; so each fault here is played by a whole tenant, on a trace, through `check`. A part of
//! the harness that goes deaf leaves a fault unnoticed, and a test red.
//!
//! A call that never returns, and one that ends the process, are not among the faults here: they
//! are played in a process of their own, by `proptests/tests/worker.rs`. A tenant that puts a
//! request off for ever is one.

mod answers;
mod counts;
mod grace;
mod lists;
mod memory;
mod nolock;
mod references;
mod tenant;
mod waits;

use kvroute_harness::campaign::{self, EveryOp, Isolation};
use kvroute_harness::generate::generate;
use kvroute_harness::lane::{LaneSpec, Routing};
use kvroute_harness::oracle::ORACLES;
use kvroute_harness::subject::{Boot, Pack, alloc_core};
use kvroute_harness::verdict::PANIC;
use kvroute_harness::{Campaign, Failure, Trace, check};
use std::collections::BTreeSet;
use tenant::{Fault, NONE, RIGHT, Seen, boot, with};

const fn lane(name: &'static str, boot: Boot, packs: &'static [Pack]) -> LaneSpec {
    LaneSpec { name, routing: Routing::AsWritten, boot, packs }
}

const fn campaign(lanes: &'static [LaneSpec]) -> Campaign {
    Campaign {
        name: "routed",
        sentence: "A tenant that may have a fault, beside one that has none.",
        lanes,
        follows: 0,
        profile: campaign::ROUTED.profile,
        every_op: EveryOp::VmapTrees,
        isolation: Isolation::Here,
        churns: &[],
    }
}

const CLAIMS: &[Pack] = &[Pack::Generic, Pack::Linux];

/// A tenant that claims to be Linux.
static LINUX: Campaign =
    campaign(&[lane("right", alloc_core::boot, CLAIMS), lane("tenant", boot, CLAIMS)]);

/// One that claims no more than any allocator.
static MODEST: Campaign = campaign(&[lane("tenant", boot, &[Pack::Generic])]);

/// Every fault.
fn faults() -> impl Iterator<Item = &'static Fault> {
    [
        memory::FAULTS,
        lists::FAULTS,
        references::FAULTS,
        nolock::FAULTS,
        grace::FAULTS,
        answers::FAULTS,
        counts::FAULTS,
        waits::FAULTS,
    ]
    .into_iter()
    .flatten()
}

fn run(campaign: &Campaign, fault: &'static Fault, trace: &Trace) -> Result<(), Box<Failure>> {
    with(fault, || check(campaign, trace)).map(|_| ())
}

/// What is wrong with what is said of a fault, if anything.
fn complaint(fault: &'static Fault) -> Option<String> {
    let trace = Trace::parse(fault.trace).expect("a trace");
    if let Err(failure) = run(&LINUX, &NONE, &trace) {
        return Some(format!("the trace itself is wrong: {failure}"));
    }
    let Err(failure) = run(&LINUX, fault, &trace) else { return Some("nobody objects".into()) };
    let at = match fault.seen {
        Seen::AtLastOp => trace.ops.len() - 1,
        Seen::AtTheEnd => trace.ops.len(),
    };
    let lane = (fault.oracle != "agreement").then_some("tenant");
    let is_right = (failure.oracle, failure.op, failure.lane) == (fault.oracle, at, lane);
    (!is_right).then(|| format!("{} should object, at op {at}: {failure}", fault.oracle))
}

#[test]
fn every_fault_is_objected_to_by_its_oracle_where_it_shows() {
    let complaints = faults().filter_map(|fault| Some((fault.what, complaint(fault)?)));
    let complaints: Vec<String> =
        complaints.map(|(what, complaint)| format!("{what}: {complaint}")).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_oracle_has_a_fault_to_object_to() {
    let mut played: BTreeSet<&str> = faults().map(|fault| fault.oracle).collect();
    // Where Linux is not claimed, the generic oracles have the word.
    for fault in faults() {
        let trace = Trace::parse(fault.trace).expect("a trace");
        let objector = run(&MODEST, fault, &trace).err().map(|failure| failure.oracle);
        // Whatever a tenant says, the harness does not stumble over it.
        assert!(objector != Some(PANIC) || fault.oracle == PANIC, "{}", fault.what);
        played.extend(objector);
    }
    let missing = ORACLES.iter().filter(|oracle| CLAIMS.contains(&oracle.pack));
    let missing = missing.filter(|oracle| !played.contains(oracle.name));
    assert_eq!(missing.map(|oracle| oracle.name).collect::<Vec<_>>(), [""; 0]);
}

/// Damage that no op comes across is seen long before the end, by the look at everything.
#[test]
fn what_nobody_touches_is_looked_at_now_and_then() {
    static SPOILT: Fault = Fault {
        apply: |tenant, request, setting| {
            if tenant.nr_calls == 2 {
                tenant.spoil(tenant.place(1));
            }
            tenant.right.apply(request, setting)
        },
        ..RIGHT
    };
    static BROKEN: Fault = Fault {
        validate: |tenant| if tenant.nr_calls < 100 { Ok(()) } else { Err("a loop".into()) },
        ..RIGHT
    };
    let start = "r0 = kmalloc(0x40, GFP_KERNEL)\nr1 = kmalloc(0x40, GFP_KERNEL)\n";
    let trace = Trace::parse(&(start.to_owned() + &"kfree(NULL)\n".repeat(400))).expect("a trace");
    for (fault, oracle) in [(&SPOILT, "contents"), (&BROKEN, "structure")] {
        let failure = run(&LINUX, fault, &trace).expect_err("it shows");
        assert_eq!(failure.oracle, oracle);
        assert!((100..200).contains(&failure.op), "{oracle}: {}", failure.op);
    }
    run(&LINUX, &NONE, &trace).expect("nothing is wrong");
}

#[test]
fn nobody_objects_to_a_tenant_without_a_fault() {
    for seed in 0..24 {
        let trace = generate(&LINUX.profile, &mut fastrand::Rng::with_seed(seed));
        if let Err(failure) = run(&LINUX, &NONE, &trace) {
            panic!("seed {seed}: {failure}");
        }
    }
}
