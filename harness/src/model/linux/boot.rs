//! The boot allocator as its callers see it: what they have taken, and what follows from that.
//!
//! Until the hand-over, memory is bytes: what nobody has taken is free, and the highest free range
//! that fits is the one to take. After it, what was taken lives for ever and is nobody's to free,
//! and its frames are its own.
//!
//! Where the allocator keeps its own descriptors no caller is told, but that they are at the
//! bottom.

use super::Linux;
use crate::model::{Allocation, Kind, Model, Verdict, Want};
use crate::op::Class;
use crate::subject::Layout;
use crate::words::PAGE;

impl Linux {
    /// Whether the boot allocator has not handed over yet.
    pub(crate) fn is_early(&self) -> bool {
        self.is_early
    }
}

impl Model {
    /// The boot allocator hands over: a frame in which a byte was taken is wholly used.
    pub(crate) fn hand_over(&mut self) {
        self.linux.is_early = false;
        self.linux.just_freed = None;
        self.book.fill_frames();
    }

    /// The number of allocations that live for ever.
    pub(crate) fn nr_boot(&self) -> usize {
        self.book.live().filter(|held| held.kind == Kind::Boot).count()
    }

    /// Whether there is still a call that frees an allocation. What waits for the end of a grace
    /// period is freed by itself.
    pub(crate) fn can_free(&self, allocation: &Allocation) -> bool {
        (self.linux.is_early || allocation.kind != Kind::Boot) && allocation.head.is_none()
    }

    /// Below this address the allocator may keep descriptors of its own: 64 bytes for each frame,
    /// 8 for each 2 MiB of vmalloc space, and some pages.
    pub(crate) fn boot_floor(&self) -> u64 {
        let Layout { direct_start, direct_end, vmalloc_start, vmalloc_end } = *self.book.layout();
        let nr_frames = (direct_end - direct_start) / PAGE;
        let nr_regions = (vmalloc_end - vmalloc_start).div_ceil(2 << 20);
        direct_start + nr_frames * 64 + nr_regions * 8 + 4 * PAGE
    }

    /// The highest place for a request among what callers have taken.
    pub(crate) fn highest_place(&self, want: &Want) -> Option<u64> {
        let (size, align) = self.promise(want);
        let mut end = self.book.layout().direct_end;
        for taken in self.book.live().rev() {
            let place = place_below(end, size, align)?;
            if place >= taken.end() {
                return Some(place);
            }
            end = taken.addr;
        }
        place_below(end, size, align).filter(|place| *place >= self.book.layout().direct_start)
    }

    /// What must come of `memblock_free`.
    pub(super) fn judge_boot_free(&self, addr: u64, size: u64) -> Verdict {
        let refuse = |class| Verdict::Refuse(class, None);
        if !self.linux.is_early {
            return refuse(Class::TooLate);
        }
        match self.book.containing(addr) {
            _ if addr == 0 => Verdict::NoOp,
            None => refuse(Class::Wild),
            Some(taken) if taken.addr != addr => refuse(Class::Interior),
            Some(taken) if taken.size != size => refuse(Class::WrongSize),
            Some(_) => Verdict::Accept(addr),
        }
    }
}

fn place_below(end: u64, size: u64, align: u64) -> Option<u64> {
    Some(end.checked_sub(size)? / align * align)
}
