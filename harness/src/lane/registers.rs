//! The registers of one lane: what each name in a trace stands for here.
//!
//! The one idea: a register that was never assigned holds NULL, as does one whose request was
//! refused, so that a line can be deleted from a trace and every other keeps its meaning.
//!
//! Whether the memory behind an address is live is in the model's book, not here.

use crate::op::{Ptr, Reg};
use crate::words::CacheHandle;

/// Why an op was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Skip {
    /// A register that it names belongs to a NOFAIL request that still waits.
    Waiting,
    /// Its task is blocked in a NOFAIL request.
    Blocked,
    /// The cache register holds no cache.
    NoCache,
    /// The cache in the cache register is destroyed.
    Destroyed,
    /// The register to write through holds no memory.
    NoMemory,
    /// The allocator has no such call.
    Unsupported,
    /// It is wrong, and the allocator would not refuse it.
    Misuse,
}

/// What a memory register holds.
#[derive(Clone, Copy)]
enum Register {
    Address(u64),
    /// A NOFAIL request that still waits will fill it.
    Waiting,
}

/// What a cache register holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CacheRegister {
    Empty,
    Cache(CacheHandle),
    /// A cache that is destroyed.
    Destroyed,
}

/// The registers of one lane.
#[derive(Default)]
pub(super) struct Registers {
    memory: Vec<Register>,
    caches: Vec<CacheRegister>,
}

impl Registers {
    /// The address in a memory register; `None` while a request waits to fill it.
    pub(super) fn address(&self, reg: Reg) -> Option<u64> {
        match self.memory.get(usize::from(reg)) {
            None => Some(0),
            Some(Register::Address(addr)) => Some(*addr),
            Some(Register::Waiting) => None,
        }
    }

    /// The address that a pointer argument names.
    pub(super) fn resolve(&self, ptr: Ptr) -> Result<u64, Skip> {
        match ptr {
            Ptr::Const(addr) => Ok(addr),
            Ptr::Reg(reg, offset) => {
                let addr = self.address(reg).ok_or(Skip::Waiting)?;
                Ok(addr.wrapping_add_signed(offset))
            }
        }
    }

    /// The cache in a cache register.
    pub(super) fn cache(&self, reg: Reg) -> Result<CacheHandle, Skip> {
        match self.caches.get(usize::from(reg)) {
            Some(CacheRegister::Cache(cache)) => Ok(*cache),
            Some(CacheRegister::Destroyed) => Err(Skip::Destroyed),
            Some(CacheRegister::Empty) | None => Err(Skip::NoCache),
        }
    }

    /// Puts an address into a memory register.
    pub(super) fn set(&mut self, dst: Reg, addr: u64) {
        set_at(&mut self.memory, dst, Register::Address(addr), Register::Address(0));
    }

    /// Marks a memory register as waited for.
    pub(super) fn set_waiting(&mut self, dst: Reg) {
        set_at(&mut self.memory, dst, Register::Waiting, Register::Address(0));
    }

    /// Puts a cache into a cache register.
    pub(super) fn set_cache(&mut self, dst: Reg, cache: CacheHandle) {
        set_at(&mut self.caches, dst, CacheRegister::Cache(cache), CacheRegister::Empty);
    }

    /// Empties a cache register whose cache is destroyed. One that could not be, since it is busy,
    /// stays.
    pub(super) fn empty_cache(&mut self, dst: Option<Reg>) {
        let place = dst.and_then(|dst| self.caches.get_mut(usize::from(dst)));
        if let Some(place) = place.filter(|it| **it == CacheRegister::Destroyed) {
            *place = CacheRegister::Empty;
        }
    }

    /// Says in every register that holds a cache that it is destroyed.
    pub(super) fn destroy_cache(&mut self, cache: CacheHandle) {
        for place in self.caches.iter_mut().filter(|it| **it == CacheRegister::Cache(cache)) {
            *place = CacheRegister::Destroyed;
        }
    }
}

/// Sets a place of a vector that grows on demand.
fn set_at<T: Clone>(places: &mut Vec<T>, at: Reg, value: T, empty: T) {
    let at = usize::from(at);
    if places.len() <= at {
        places.resize(at + 1, empty);
    }
    places[at] = value;
}
