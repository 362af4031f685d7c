//! A program of somebody else's: the command line over allocators that take their process with
//! them.
//!
//! Each is right until it is asked for a page or more of kmalloc memory, or is to take some back,
//! and then does what no oracle can see from the same process. It is what a worker is there for,
//! and what `proptests/tests/worker.rs` runs.

use kvroute_harness::call::{Call, Request};
use kvroute_harness::campaign::{self, Campaign, Isolation};
use kvroute_harness::cli;
use kvroute_harness::generate::{CallSet, Profile};
use kvroute_harness::lane::{LaneSpec, Routing};
use kvroute_harness::op::Setting;
use kvroute_harness::subject::{Answer, Caps, FlatMemory, Pack, Refusal, Reply, Subject};
use kvroute_harness::words::gfp::__GFP_ZERO;
use signal_hook::consts::{SIGABRT, SIGSEGV};
use signal_hook::low_level::raise;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{process, thread};

/// The smallest request of kmalloc memory that ends badly.
const FATAL_BYTES: u64 = 0x1000;

/// Where its memory begins, and how it is parted.
const BASE: u64 = 1 << 20;
const SLOT_BYTES: u64 = 0x4000;
const NR_SLOTS: usize = 256;

/// How it ends.
#[derive(Clone, Copy)]
enum End {
    /// At a large request.
    Taking(fn()),
    /// When it is to take something back.
    TakingBack(fn()),
}

/// An allocator of slots, and how it ends.
struct Mortal {
    memory: FlatMemory,
    is_live: [bool; NR_SLOTS],
    end: End,
}

impl Mortal {
    fn kmalloc(&mut self, size: u64, wants_zero: bool) -> Answer {
        if let End::Taking(end) = self.end
            && size >= FATAL_BYTES
        {
            end();
        }
        let slot = self.is_live.iter().position(|is_live| !is_live);
        match slot.filter(|_| size <= SLOT_BYTES) {
            _ if size == 0 => Answer::Memory { addr: 16, usable: 0, bus: None },
            Some(slot) => {
                self.is_live[slot] = true;
                let addr = BASE + slot as u64 * SLOT_BYTES;
                if wants_zero {
                    self.memory.fill(addr, size as usize, 0);
                }
                Answer::Memory { addr, usable: size, bus: None }
            }
            None => Answer::Refused(Refusal::Pages { order: 0 }),
        }
    }

    fn kfree(&mut self, addr: u64) -> Answer {
        if let End::TakingBack(end) = self.end {
            end();
        }
        if let Some(offset) = addr.checked_sub(BASE) {
            self.is_live[(offset / SLOT_BYTES) as usize] = false;
        }
        Answer::Done
    }
}

impl Subject for Mortal {
    fn caps(&self) -> Caps {
        Caps::NONE
    }

    fn apply(&mut self, request: &Request, _setting: &Setting) -> Reply {
        let answer = match request.call {
            Call::Kmalloc => {
                let wants_zero = request.gfp().is_some_and(|gfp| gfp.has(__GFP_ZERO));
                self.kmalloc(request.size().unwrap_or(0), wants_zero)
            }
            Call::Kfree => self.kfree(request.freed()[0]),
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

/// A campaign of one allocator with this end, beside one that is right.
macro_rules! campaign {
    ($name:literal, $isolation:ident, $when:ident($end:expr)) => {{
        static LANES: [LaneSpec; 2] = [
            LaneSpec {
                name: "right",
                routing: Routing::AsWritten,
                boot: |_| boot(End::Taking(|| ())),
                packs: &[Pack::Generic],
            },
            LaneSpec {
                name: "mortal",
                routing: Routing::AsWritten,
                boot: |_| boot(End::$when($end)),
                packs: &[Pack::Generic],
            },
        ];
        static CAMPAIGN: Campaign = Campaign {
            name: $name,
            sentence: "An allocator that ends badly, beside one that does not.",
            lanes: &LANES,
            profile: Profile::new(CallSet::These(&[Call::Kmalloc, Call::Kfree, Call::Write])),
            isolation: Isolation::$isolation,
            ..campaign::KMALLOC
        };
        &CAMPAIGN
    }};
}

/// A campaign whose churns end the process, and whose traces do not.
static CHURN: Campaign = Campaign {
    name: "churn",
    isolation: Isolation::Worker,
    churns: &[|churn, note| {
        churn.nth(10);
        note(10);
        process::abort()
    }],
    ..campaign::HEAP
};

fn boot(end: End) -> Result<Box<dyn Subject>, String> {
    let memory = FlatMemory::new(BASE, NR_SLOTS * SLOT_BYTES as usize, 0);
    Ok(Box::new(Mortal { memory, is_live: [false; NR_SLOTS], end }))
}

/// The runtime looks at the first signal of this kind, takes it for none of its own, and lets the
/// next one end the process.
fn fault() {
    loop {
        raise(SIGSEGV).expect("a signal");
    }
}

fn overflow_the_stack() {
    fn deeper(depth: u64) -> u64 {
        std::hint::black_box([depth; 512]);
        if depth == u64::MAX { 0 } else { deeper(depth + 1) + 1 }
    }
    std::hint::black_box(deeper(0));
}

fn say_and_abort() {
    println!("not heard");
    eprintln!("free(): invalid pointer {:#x}", process::id());
    raise(SIGABRT).expect("a signal");
}

fn exit_the_third_time() {
    static NR_TIMES: AtomicU32 = AtomicU32::new(0);
    if NR_TIMES.fetch_add(1, Ordering::Relaxed) == 2 {
        process::exit(3);
    }
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn wait_for_ever() {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

static CAMPAIGNS: &[&Campaign] = &[
    campaign!("right", Here, Taking(|| ())),
    campaign!("crash", Here, Taking(|| process::abort())),
    campaign!("fault", Worker, Taking(fault)),
    campaign!("overflow", Worker, Taking(overflow_the_stack)),
    campaign!("abort", Worker, Taking(say_and_abort)),
    campaign!("exit", Worker, Taking(|| process::exit(0))),
    campaign!("third", Worker, Taking(exit_the_third_time)),
    campaign!("spin", Worker, Taking(spin)),
    campaign!("wait", Worker, Taking(wait_for_ever)),
    campaign!("free", Worker, TakingBack(|| process::abort())),
    &CHURN,
];

fn main() -> ExitCode {
    cli::main(CAMPAIGNS)
}
