//! Tenants that misbehave, each in one way, and who objects to it.
//!
//! The one idea: an oracle's own tests show that it barks at a record made by hand. That a record
//! tells of what a tenant did, and that it is shown to the oracles at all, is the work of lane and
//! executor; so each fault here is played by a whole tenant, on a trace, through `check`. A part of
//! the harness that goes deaf leaves a fault unnoticed, and a test red.
//!
//! A call that never returns is not among the faults, since the harness has no clock: whoever runs
//! it stops it. A tenant that puts a request off for ever is one.

mod answers;
mod counts;
mod memory;
mod tenant;
mod waits;

use kvroute_harness::campaign::{self, EveryOp};
use kvroute_harness::generate::generate;
use kvroute_harness::lane::{LaneSpec, Routing};
use kvroute_harness::oracle::ORACLES;
use kvroute_harness::subject::Pack;
use kvroute_harness::{Campaign, Failure, Trace, check};
use std::collections::BTreeSet;
use tenant::{Fault, NONE, boot, with};

macro_rules! campaign {
    ($packs:expr) => {
        Campaign {
            name: "routed",
            sentence: "A tenant that may have a fault.",
            lanes: &[LaneSpec { name: "tenant", routing: Routing::AsWritten, boot, packs: $packs }],
            follows: 0,
            profile: campaign::ROUTED.profile,
            every_op: EveryOp::VmapTrees,
        }
    };
}

/// A single tenant that claims to be Linux.
static ALONE: Campaign = campaign!(&[Pack::Generic, Pack::Linux]);

/// One that claims no more than any allocator.
static MODEST: Campaign = campaign!(&[Pack::Generic]);

/// Every fault.
fn faults() -> impl Iterator<Item = &'static Fault> {
    [memory::FAULTS, answers::FAULTS, counts::FAULTS, waits::FAULTS].into_iter().flatten()
}

fn run(fault: &'static Fault, trace: &Trace) -> Result<(), Box<Failure>> {
    run_in(&ALONE, fault, trace)
}

fn run_in(campaign: &Campaign, fault: &'static Fault, trace: &Trace) -> Result<(), Box<Failure>> {
    with(fault, || check(campaign, trace)).map(|_| ())
}

#[test]
fn every_fault_is_objected_to_by_its_oracle() {
    let mut complaints = Vec::new();
    for fault in faults() {
        let trace = Trace::parse(fault.trace).expect("a trace");
        if let Err(failure) = run(&NONE, &trace) {
            complaints.push(format!("{}: the trace itself is wrong: {failure}", fault.what));
        }
        match run(fault, &trace) {
            Err(failure) if failure.oracle == fault.oracle => {}
            Err(failure) => complaints.push(format!("{}: {failure}", fault.what)),
            Ok(()) => complaints.push(format!("{}: nobody objects", fault.what)),
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn every_oracle_has_a_fault_to_object_to() {
    let mut played: BTreeSet<&str> = faults().map(|fault| fault.oracle).collect();
    // Where Linux is not claimed, the generic oracles have the word.
    for fault in faults() {
        let trace = Trace::parse(fault.trace).expect("a trace");
        played.extend(run_in(&MODEST, fault, &trace).err().map(|failure| failure.oracle));
    }
    // Only several lanes can disagree, and who counts is held to the counters in place of `drain`.
    let missing = ORACLES.iter().filter(|oracle| !played.contains(oracle.name));
    assert_eq!(missing.map(|oracle| oracle.name).collect::<Vec<_>>(), ["drain", "agreement"]);
}

#[test]
fn nobody_objects_to_a_tenant_without_a_fault() {
    for seed in 0..24 {
        let trace = generate(&ALONE.profile, &mut fastrand::Rng::with_seed(seed));
        if let Err(failure) = run(&NONE, &trace) {
            panic!("seed {seed}: {failure}");
        }
    }
}
