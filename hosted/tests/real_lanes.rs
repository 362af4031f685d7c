//! Traces down two lanes of alloc-core, one on simulated memory and one on real memory: every
//! oracle must find them alike.
//!
//! What the host shows of an area is tried in the machine's own tests, and by callers.
//! `KVROUTE_REAL_TRACES` sets the number of traces of each campaign.

use fastrand::Rng;
use kvroute_harness::campaign::{Campaign, FAULTS, FREES, NOFAIL, ROUTED, VMALLOC};
use kvroute_harness::check;
use kvroute_harness::generate::generate;
use kvroute_harness::lane::{LaneSpec, Routing};
use kvroute_harness::subject::alloc_core::{boot, boot_on};
use kvroute_harness::subject::{Boot, Pack, Subject};
use kvroute_harness::trace::Machine;
use kvroute_hosted::machine::{RealMemory, Trouble};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

thread_local! {
    /// What the host has refused to the machine that was booted last.
    static TROUBLE: RefCell<Rc<Cell<Option<Trouble>>>> = RefCell::default();
}

fn boot_real(machine: &Machine) -> Result<Box<dyn Subject>, String> {
    let memory = RealMemory::fresh(machine.frames, machine.vmalloc_pages);
    let memory = memory.map_err(|trouble| trouble.to_string())?;
    TROUBLE.set(memory.trouble());
    boot_on(memory, machine)
}

const fn lane(name: &'static str, boot: Boot) -> LaneSpec {
    LaneSpec { name, routing: Routing::AsWritten, boot, packs: &[Pack::Generic, Pack::Linux] }
}

static LANES: [LaneSpec; 2] = [lane("simulated", boot), lane("real", boot_real)];

#[test]
fn real_memory_behaves_as_simulated_memory_does() {
    let nr_traces = std::env::var("KVROUTE_REAL_TRACES").map_or(60, |nr| nr.parse().unwrap());
    let mut nr_ops = 0;
    for campaign in [&ROUTED, &VMALLOC, &FREES, &NOFAIL, &FAULTS] {
        let on_both = Campaign { lanes: &LANES, follows: 0, ..*campaign };
        for seed in 0..nr_traces {
            let trace = generate(&on_both.profile, &mut Rng::with_seed(seed));
            let stats = check(&on_both, &trace).unwrap_or_else(|failure| panic!("{failure}"));
            assert_eq!(TROUBLE.with_borrow(|trouble| trouble.get()), None, "the host's");
            nr_ops += stats.nr_ops;
        }
    }
    assert!(nr_ops > 50 * nr_traces, "{nr_ops} ops were carried out");
}
