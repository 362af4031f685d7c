//! A subject: an allocator under test, seen through the narrowest waist that all of them fit.
//!
//! A subject applies requests, lets its memory be read, written and compared, and says what else it
//! can do ([`Caps`]). All else has a default that tells nothing: a guest implements what it has.
//! A call that it does not have it answers with [`Answer::Unsupported`], which is counted.
//!
//! A subject makes no judgement and knows no trace: registers have been resolved before it is
//! asked.

pub mod alloc_core;
mod caps;
mod facts;
mod flat;
pub mod reference;

pub use caps::{CAPS, Cap, Caps, Pack};
pub use facts::{Effort, Epochs, Facts, NR_PAGE_CACHES, NodeStat};
pub use flat::FlatMemory;

use crate::call::{List, Request};
use crate::op::{Class, Setting};
use crate::paint;
use crate::trace::Machine;
use crate::words::CacheHandle;

/// Why an allocation was refused, in words that fit every allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is told in CLASSES, under the class that it has")]
pub enum Refusal {
    Pages { order: u32 },
    VmallocSpace,
    Range,
    Mapping,
    Injected,
    TooLarge,
    ZeroSize,
    Overflow,
    BadArgument,
    ImpossibleNofail,
    BadContext,
    Unbalanced,
    Deadlock { order: u32 },
    BootMemory,
    BootRegions,
    BootTaken,
    TooLate,
}

impl Refusal {
    /// Its class in a trace and in counts.
    pub fn class(self) -> Class {
        match self {
            Refusal::Pages { .. } | Refusal::Mapping => Class::NoMemory,
            Refusal::VmallocSpace | Refusal::Range => Class::NoSpace,
            Refusal::Injected => Class::Injected,
            Refusal::TooLarge => Class::TooLarge,
            Refusal::ZeroSize => Class::ZeroSize,
            Refusal::Overflow => Class::Overflow,
            Refusal::BadArgument => Class::BadArgument,
            Refusal::ImpossibleNofail => Class::ImpossibleNofail,
            Refusal::BadContext => Class::BadContext,
            Refusal::Unbalanced => Class::Unbalanced,
            Refusal::Deadlock { .. } => Class::Deadlock,
            Refusal::BootMemory => Class::NoMemory,
            Refusal::BootRegions => Class::NoSpace,
            Refusal::BootTaken => Class::Busy,
            Refusal::TooLate => Class::TooLate,
        }
    }
}

/// What a subject says of a free that it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeRefusal {
    /// What was wrong: [`Class::is_wrong_free`], or `BadContext`.
    pub verdict: Class,
    /// The call that would have been right, by its C name.
    pub right: Option<&'static str>,
    /// What Linux 6.1 does in its place, if the subject knows: a verb.
    pub on_linux: Option<&'static str>,
}

/// A subject's answer to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Memory: its address, and how many bytes the caller may use from there on.
    Memory {
        /// First byte.
        addr: u64,
        /// At least the requested size.
        usable: u64,
        /// Where a device sees the memory, if it is coherent.
        bus: Option<u64>,
    },
    /// Several pieces of memory, or none: as many as were asked for, or fewer.
    Several {
        /// First bytes.
        addrs: List,
        /// As for one, of each of them.
        usable: u64,
    },
    /// A new cache.
    Cache(CacheHandle),
    /// A size in bytes (`ksize`).
    Size(u64),
    /// Yes or no (`is_vmalloc_addr`, `virt_addr_valid`).
    Flag(bool),
    /// A page, by the number of its frame (`virt_to_page`, `vmalloc_to_page`).
    Frame(u32),
    /// A virtual address (`page_address`).
    Address(u64),
    /// A physical address (`virt_to_phys`).
    Phys(u64),
    /// A conversion that does not apply to the address, refused; and the one that does apply, by
    /// its C name, if there is one.
    WrongKind(Option<&'static str>),
    /// Done; nothing to return.
    Done,
    /// Refused, and allowed to be.
    Refused(Refusal),
    /// A NOFAIL request: this resource is short, ask again when it is not.
    WouldBlock(Refusal),
    /// A wrong free, refused.
    BadFree(FreeRefusal),
    /// The cache to destroy has this many live objects.
    Busy(u64),
    /// This subject has no such call.
    #[default]
    Unsupported,
}

impl Answer {
    /// Where the memory lies that was granted, if the answer is memory.
    pub fn granted(&self) -> &[u64] {
        match self {
            Answer::Memory { addr, .. } => std::slice::from_ref(addr),
            Answer::Several { addrs, .. } => addrs,
            _ => &[],
        }
    }

    /// Whether the request was granted, be it with nothing.
    pub fn is_grant(&self) -> bool {
        matches!(self, Answer::Memory { .. } | Answer::Several { .. })
    }
}

/// A subject's answer, and the injected failures that fired on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// How many fault sites fired.
    pub nr_faults: u32,
    /// How often memory, and how often vmalloc space, has been given back: a request that waits
    /// for one of them need not ask again while its number is the same.
    pub epochs: Epochs,
    /// What the request has cost others.
    pub effort: Effort,
}

/// Where a subject's memory lies; fixed for its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// First address of the memory that is mapped as a whole: Linux' direct map.
    pub direct_start: u64,
    /// Its end.
    pub direct_end: u64,
    /// First address of the space that is mapped page by page: Linux' vmalloc space.
    pub vmalloc_start: u64,
    /// Its end.
    pub vmalloc_end: u64,
}

/// The first place at which memory is not as expected, counted from where the comparison began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Another byte is there.
    Differs(usize),
    /// Nothing is there.
    Unmapped(usize),
}

/// How far from its memory a subject looks for what was written beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// As far as is cheap enough for every op.
    Near,
    /// Wherever anything could have been written.
    Everywhere,
}

/// Boots a subject on a fresh machine, or says why that cannot be done.
pub type Boot = fn(&Machine) -> Result<Box<dyn Subject>, String>;

/// An allocator under test.
pub trait Subject {
    /// What it can do beyond serving requests and keeping bytes.
    fn caps(&self) -> Caps;

    /// Makes the call. Injected failures are counted from this call on.
    fn apply(&mut self, request: &Request, setting: &Setting) -> Reply;

    /// Reads from `addr` on, and says how many bytes could be read.
    fn read(&self, addr: u64, bytes: &mut [u8]) -> usize;

    /// Writes from `addr` on, and says how many bytes could be written.
    fn write(&mut self, addr: u64, bytes: &[u8]) -> usize;

    /// As [`write`](Self::write), of bytes that never change: a subject whose memory is simulated
    /// may keep the reference in place of a copy.
    fn paint(&mut self, addr: u64, bytes: &'static [u8]) -> usize {
        self.write(addr, bytes)
    }

    /// Compares what is at `addr` with what is expected there.
    ///
    /// # Errors
    /// The first byte that is not as expected.
    fn compare(&self, addr: u64, expected: &[u8]) -> Result<(), Mismatch> {
        let mut actual = vec![0; expected.len()];
        let nr_read = self.read(addr, &mut actual);
        match paint::first_difference_of(&actual[..nr_read], &expected[..nr_read]) {
            Some(at) => Err(Mismatch::Differs(at)),
            None if nr_read < expected.len() => Err(Mismatch::Unmapped(nr_read)),
            None => Ok(()),
        }
    }

    /// Where its memory lies ([`Cap::Spaces`]).
    fn layout(&self) -> Layout {
        Layout::default()
    }

    /// The number of the frame behind an address ([`Cap::Frames`]).
    fn frame_of(&self, _addr: u64) -> Option<u32> {
        None
    }

    /// The number of the frame that a device finds at an address of its bus ([`Cap::Frames`]).
    fn frame_of_bus(&self, _bus: u64) -> Option<u32> {
        None
    }

    /// What the allocator counts ([`Cap::Counters`]).
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// Checks the allocator's own structures ([`Cap::Validation`]).
    ///
    /// # Errors
    /// The broken invariant, in words.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// Checks the structures of the vmalloc space alone, fast enough to be asked after every op.
    ///
    /// # Errors
    /// The broken invariant, in words.
    fn validate_vmap(&self) -> Result<(), String> {
        Ok(())
    }

    /// The first byte beside the memory that it was given that somebody has written to
    /// ([`Cap::Bounds`]). It is asked after every op, and now and then with a reach of everything.
    fn trespass(&self, _reach: Reach) -> Option<u64> {
        None
    }

    /// Ends the boot: what has not been taken is the page allocator's from now on. Until then a
    /// subject has only requests to the boot allocator to answer, and nothing to count.
    fn hand_over(&mut self) {}

    /// Its caller goes on: what was mapped for it can be accessed from now on, and what was
    /// unmapped cannot.
    fn resume(&mut self) {}

    /// Gives back what is free but kept for later (frees deferred areas, purges lazy ones, shrinks
    /// caches).
    fn settle(&mut self) {}
}
