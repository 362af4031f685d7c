//! Guests: an allocator that is not Linux passes the door, and its faults do not.
//!
//! The guest is a bump allocator of three calls: what a person writes who has read `Subject` and
//! nothing else. It counts nothing, has one kind of memory, and would not survive a wrong free. It
//! is held to what any caller of any allocator may rely on.
//!
//! `KVROUTE_GUEST_OPS` sets the number of ops; the nightly makes ten million.

use kvroute_harness::call::{Call, Request};
use kvroute_harness::campaign::{Campaign, EveryOp, Isolation};
use kvroute_harness::generate::{CallSet, Profile, Share, generate};
use kvroute_harness::lane::{LaneSpec, Routing};
use kvroute_harness::op::Setting;
use kvroute_harness::subject::{Answer, Cap, Caps, FlatMemory, Pack, Refusal, Reply, Subject};
use kvroute_harness::trace::Machine;
use kvroute_harness::words::gfp::__GFP_ZERO;
use kvroute_harness::{Failure, Stats, check};

/// Where its memory begins.
const BASE: u64 = 0x10_0000;

/// How it misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It never takes back the space of what was freed.
    Leaks,
    /// It aligns nothing.
    Askew,
    /// It hands out the end of what it handed out before.
    Overlaps,
    /// It does not clear what is to be cleared.
    Dirty,
    /// It gives a byte less than asked.
    Short,
    /// It forgets every free.
    KeepsAll,
}

/// An allocator that moves a mark, and moves it back when all is free.
struct Bump {
    memory: FlatMemory,
    used: u64,
    nr_live: usize,
    fault: Fault,
}

impl Bump {
    fn alloc(&mut self, size: u64, is_zeroed: bool) -> Answer {
        if size == 0 {
            return Answer::Memory { addr: 16, usable: 0, bus: None };
        }
        let align = if size.is_power_of_two() { size.max(8) } else { 8 };
        let align = if self.fault == Fault::Askew { 1 } else { align };
        // The base is aligned to no more than 1 MiB.
        let start = self.used.next_multiple_of(align.min(1 << 20));
        let overlaps = self.fault == Fault::Overlaps && start >= BASE + align;
        let start = if overlaps { start - align } else { start };
        let fits = start.checked_add(size).is_some_and(|end| end <= self.memory.end());
        if !fits || align > 1 << 20 {
            return Answer::Refused(Refusal::Pages { order: 0 });
        }
        if is_zeroed && self.fault != Fault::Dirty {
            self.memory.fill(start, size as usize, 0);
        }
        self.used = start + size;
        self.nr_live += 1;
        let usable = if self.fault == Fault::Short { size - 1 } else { size };
        Answer::Memory { addr: start, usable, bus: None }
    }

    fn free(&mut self, addr: u64) -> Answer {
        if addr > 16 && self.fault != Fault::KeepsAll {
            self.nr_live -= 1;
            if self.nr_live == 0 && self.fault != Fault::Leaks {
                self.used = BASE;
            }
        }
        Answer::Done
    }
}

impl Subject for Bump {
    fn caps(&self) -> Caps {
        Caps::of(&[Cap::GivesBack, Cap::Reuses])
    }

    fn apply(&mut self, request: &Request, _setting: &Setting) -> Reply {
        let size = request.size().unwrap_or(0);
        let wants_zero = request.gfp().is_some_and(|gfp| gfp.has(__GFP_ZERO));
        let answer = match request.call {
            Call::Kmalloc => self.alloc(size, wants_zero),
            Call::Kzalloc => self.alloc(size, true),
            Call::Kfree => self.free(request.freed()[0]),
            _ => Answer::Unsupported,
        };
        Reply { answer, ..Reply::default() }
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> usize {
        self.memory.read(addr, bytes)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> usize {
        self.memory.write(addr, bytes)
    }
}

fn boot_with(machine: &Machine, fault: Fault) -> Result<Box<dyn Subject>, String> {
    let memory = FlatMemory::new(BASE, machine.frames as usize * 4096, 0xa5);
    Ok(Box::new(Bump { memory, used: BASE, nr_live: 0, fault }))
}

/// A campaign of one lane, with the guest that has a fault.
macro_rules! campaign {
    ($fault:ident) => {{
        static LANES: [LaneSpec; 1] = [LaneSpec {
            name: "bump",
            routing: Routing::AsWritten,
            boot: |machine| boot_with(machine, Fault::$fault),
            packs: &[Pack::Generic],
        }];
        static CAMPAIGN: Campaign = Campaign {
            name: "bump",
            sentence: "A bump allocator.",
            lanes: &LANES,
            follows: 0,
            profile: Profile {
                misuse: Share(100),
                ..Profile::new(CallSet::These(&[
                    Call::Kmalloc,
                    Call::Kzalloc,
                    Call::Kfree,
                    Call::Write,
                ]))
            },
            every_op: EveryOp::Nothing,
            isolation: Isolation::Here,
            churns: &[],
        };
        &CAMPAIGN
    }};
}

/// Runs generated traces of at least so many ops.
fn run(campaign: &Campaign, nr_ops: u64) -> Result<Stats, Box<Failure>> {
    let mut rng = fastrand::Rng::with_seed(8);
    let mut stats = Stats::new(campaign.lanes);
    while stats.nr_ops < nr_ops {
        stats.add(&check(campaign, &generate(&campaign.profile, &mut rng))?);
    }
    Ok(stats)
}

#[test]
fn a_right_bump_allocator_passes() {
    let nr_ops = std::env::var("KVROUTE_GUEST_OPS").map_or(100_000, |nr| nr.parse().expect("ops"));
    let stats = run(campaign!(None), nr_ops).unwrap_or_else(|failure| panic!("{failure}"));
    // Most is carried out; wrong frees are not, and what was not judged is counted.
    assert!(stats.executed_share() > 0.7, "{}", stats.executed_share());
    let granted: u64 = stats.lanes[0].classes.iter().sum();
    assert!(granted > nr_ops / 3);
    assert!(
        stats.excused.keys().copied().eq(["bounds", "patience", "structure"]),
        "{:?}",
        stats.excused
    );
}

#[test]
fn its_faults_are_objected_to() {
    for (campaign, oracle) in [
        (campaign!(Leaks), "drain"),
        (campaign!(Askew), "promise"),
        (campaign!(Overlaps), "overlap"),
        (campaign!(Dirty), "contents"),
        (campaign!(Short), "promise"),
        (campaign!(KeepsAll), "drain"),
    ] {
        let failure = run(campaign, 1_000_000).expect_err(oracle);
        assert_eq!(failure.oracle, oracle, "{failure}");
    }
}
