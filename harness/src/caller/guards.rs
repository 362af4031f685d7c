//! What a caller with real pointers has written where it may not.
//!
//! Nobody sees such a caller's accesses. But between two of its calls nobody else runs, so whatever
//! has changed by then, and is not live memory of the caller's, it has written: the bytes behind
//! what it asked for, up to the end of the object, and what it freed last.
//!
//! What it reads is not seen; what was freed holds [`FREED`], so that what it reads is wrong.

use super::holdings::{Given, Holdings};
use super::misuse::Misuse;
use crate::op::Reg;
use crate::oracle::caller::Rule;
use crate::paint::ZEROS;
use crate::subject::{Mismatch, Subject};
use crate::words::PAGE;
use std::collections::VecDeque;

/// What freed memory holds, as in a kernel with `slub_debug` (`POISON_FREE`).
const FREED: u8 = 0x6b;
/// What lies around an allocation (`SLUB_RED_ACTIVE`).
const ZONE: u8 = 0xcc;
/// The most bytes that are looked at behind an allocation, and in one that was freed.
const LEN: usize = 256;
/// The most allocations that are looked at after they were freed.
const NR_FREED: usize = 16;

static FREED_BYTES: [u8; LEN] = [FREED; LEN];
static ZONE_BYTES: [u8; LEN] = [ZONE; LEN];

/// Memory that was freed, and what it held when the caller went on.
struct Freed {
    reg: Reg,
    addr: u64,
    bytes: Vec<u8>,
}

/// The bytes that are watched.
#[derive(Default)]
pub(super) struct Guards {
    freed: VecDeque<Freed>,
}

/// The bytes of red zone before and behind an allocation of which so many are usable.
fn zones(given: &Given) -> [(u64, usize); 2] {
    let behind = given.usable.saturating_sub(given.size).min(LEN as u64) as usize;
    [(given.addr - given.skew, given.skew as usize), (given.addr + given.size, behind)]
}

impl Guards {
    /// Puts red zones around an allocation.
    pub(super) fn surround(subject: &mut dyn Subject, given: &Given) {
        for (start, len) in zones(given) {
            subject.paint(start, &ZONE_BYTES[..len]);
        }
    }

    /// What is wrong with the red zones of an allocation that is about to be freed or replaced.
    pub(super) fn broken_zone(subject: &dyn Subject, given: &Given) -> Option<Misuse> {
        let name = given.request.spec().name;
        zones(given).into_iter().find_map(|(start, len)| {
            let Err(Mismatch::Differs(at)) = subject.compare(start, &ZONE_BYTES[..len]) else {
                return None;
            };
            let offset = (start + at as u64).wrapping_sub(given.addr) as i64;
            let says = format!(
                "it has written at offset {offset} of {} bytes of {name}, as is seen when they are freed",
                given.size
            );
            Some(Misuse::new(Rule::OutOfBounds, says))
        })
    }

    /// Takes the red zone behind an allocation away, which may be about to grow into it; what was
    /// zero there is zero again.
    pub(super) fn lift(subject: &mut dyn Subject, given: &Given) {
        let [_, (start, len)] = zones(given);
        subject.paint(start, &ZEROS[..len]);
    }

    /// Spoils memory that is about to be freed.
    pub(super) fn spoil(subject: &mut dyn Subject, given: &Given) {
        subject.paint(given.addr, &FREED_BYTES[..given.size.min(LEN as u64) as usize]);
    }

    /// From now on memory that was freed is watched.
    pub(super) fn watch(&mut self, reg: Reg, given: &Given) {
        let bytes = vec![0; given.size.min(LEN as u64) as usize];
        self.freed.push_back(Freed { reg, addr: given.addr, bytes });
        if self.freed.len() > NR_FREED {
            self.freed.pop_front();
        }
    }

    /// Memory was given. The pages of an area show in the direct map too, where what lay in them
    /// before may be watched: that is the caller's again.
    pub(super) fn pass_on(&mut self, subject: &dyn Subject, given: &Given) {
        let layout = subject.layout();
        if self.freed.is_empty() || given.addr < layout.vmalloc_start {
            return;
        }
        let end = given.addr + given.size;
        for frame in (given.addr..end).step_by(PAGE as usize).filter_map(|at| subject.frame_of(at))
        {
            let page = layout.direct_start + u64::from(frame) * PAGE;
            let meets = |freed: &Freed| {
                freed.addr < page + PAGE && page < freed.addr + freed.bytes.len() as u64
            };
            self.freed.retain(|freed| !meets(freed));
        }
    }

    /// The caller goes on: what it may not change is as it is now. What is another's by now, or
    /// cannot be reached, is watched no more.
    pub(super) fn renew(&mut self, subject: &dyn Subject, held: &Holdings) {
        self.freed.retain_mut(|freed| {
            let len = freed.bytes.len() as u64;
            !held.meets(freed.addr, len)
                && subject.read(freed.addr, &mut freed.bytes) == freed.bytes.len()
        });
    }

    /// What the caller has changed since, if it has; and in which allocation.
    pub(super) fn changed(&self, subject: &dyn Subject, held: &Holdings) -> Option<(Reg, Misuse)> {
        self.freed.iter().find_map(|freed| {
            let Err(Mismatch::Differs(at)) = subject.compare(freed.addr, &freed.bytes) else {
                return None;
            };
            let name = held.given(freed.reg).request.spec().name;
            let says = format!("it has written at offset {at} of freed memory of {name}");
            Some((freed.reg, Misuse::new(Rule::UseAfterFree, says)))
        })
    }
}
