//! A subject: an allocator under test, seen through the narrowest waist that all of them fit.
//!
//! The one idea: apply a request, read and write the memory that came back, and report facts. Every
//! oracle works on any subject; what a subject cannot do it answers with [`Answer::Unsupported`],
//! which is counted and shown.
//!
//! A subject makes no judgement and knows no trace: registers have been resolved before it is
//! asked.

pub mod alloc_core;
mod facts;

pub use facts::{Effort, Epochs, Facts, NR_PAGE_CACHES, NodeStat};

use crate::call::Request;
use crate::op::{Class, Setting};
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
    /// What was wrong; only `BadContext` and the classes from `WrongAllocator` to `Wild` stand
    /// here.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// First address of the direct map.
    pub direct_start: u64,
    /// End of the direct map.
    pub direct_end: u64,
    /// First address of the vmalloc space.
    pub vmalloc_start: u64,
    /// End of the vmalloc space.
    pub vmalloc_end: u64,
}

/// An allocator under test.
pub trait Subject {
    /// Makes the call. Injected failures are counted from this call on.
    fn apply(&mut self, request: &Request, setting: &Setting) -> Reply;

    /// The bytes from `addr` on, as many of `len` as lie next to each other; `None` where nothing
    /// is mapped.
    fn span(&self, addr: u64, len: u64) -> Option<&[u8]>;

    /// As [`span`](Self::span), to write to.
    fn span_mut(&mut self, addr: u64, len: u64) -> Option<&mut [u8]>;

    /// Writes the beginning of `bytes` at `addr`, as much of it as lies next to each other, and
    /// says how much that was; `None` where nothing is mapped. They never change, so a subject
    /// whose memory is simulated may keep the reference in place of a copy.
    fn write(&mut self, addr: u64, bytes: &'static [u8]) -> Option<u64> {
        let span = self.span_mut(addr, bytes.len() as u64)?;
        span.copy_from_slice(&bytes[..span.len()]);
        Some(span.len() as u64)
    }

    /// The number of the frame behind an address.
    fn frame_of(&self, addr: u64) -> Option<u32>;

    /// The number of the frame that a device finds at an address of its bus.
    fn frame_of_bus(&self, bus: u64) -> Option<u32>;

    /// What the allocator counts.
    fn facts(&self) -> Facts;

    /// Where memory lies.
    fn layout(&self) -> Layout;

    /// Checks the allocator's own structures.
    ///
    /// # Errors
    /// The broken invariant, in words.
    fn validate(&self) -> Result<(), String>;

    /// Checks the structures of the vmalloc space alone, fast enough to be asked after every op. A
    /// subject that keeps no such structures finds nothing wrong.
    ///
    /// # Errors
    /// The broken invariant, in words.
    fn validate_vmap(&self) -> Result<(), String> {
        Ok(())
    }

    /// Ends the boot: what has not been taken is the page allocator's from now on. Until then a
    /// subject has only requests to the boot allocator to answer, and nothing to count. A subject
    /// without a boot allocator has nothing to end.
    fn hand_over(&mut self) {}

    /// Gives back what is free but kept for later (frees deferred areas, purges lazy ones, shrinks
    /// caches).
    fn settle(&mut self);
}
