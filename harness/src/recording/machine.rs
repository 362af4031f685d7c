//! The machine that a recording needs.
//!
//! The one idea: the lanes of a replay place the same request differently, so the machine is made
//! for the dearest placement of each: a kvmalloc request takes a power of two of pages in one lane
//! and a page and its guard in another. Memory is then doubled and vmalloc space quadrupled: a
//! replay is about routing, and a lane that runs out of memory says nothing about it.
//!
//! Costs are in bytes of slab, page frames, and pages of vmalloc space.

use super::event::PAGE;
use crate::trace::{Limits, Machine};

/// A bound on each cost, so that sums of absurd sizes cannot overflow.
const COST_LIMIT: u64 = 1 << 40;
/// The smallest machine: recordings start on a machine that already runs.
const LEAST_FRAMES: u64 = 4096;

/// What it takes to hold one allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    slab_bytes: u64,
    frames: u64,
    vmalloc_pages: u64,
}

impl Cost {
    /// An object that kmalloc or a cache makes.
    pub(super) fn object(bytes_alloc: u64) -> Self {
        if bytes_alloc > 2 * PAGE {
            return Self { frames: block_frames(bytes_alloc), ..Self::default() };
        }
        Self { slab_bytes: bytes_alloc, ..Self::default() }
    }

    /// A block of pages.
    pub(super) fn pages(order: u8) -> Self {
        Self { frames: 1 << order, ..Self::default() }
    }

    /// A vmalloc area and its guard page.
    pub(super) fn vmalloc(size: u64, align: u64) -> Self {
        let pages = size.div_ceil(PAGE).min(COST_LIMIT);
        let padding = (align / PAGE).min(COST_LIMIT);
        Self { slab_bytes: 0, frames: pages, vmalloc_pages: pages + padding + 1 }
    }

    /// A kvmalloc request, wherever it goes.
    pub(super) fn kvmalloc(size: u64) -> Self {
        Self { frames: block_frames(size), ..Self::vmalloc(size, 0) }
    }
}

/// The frames of the smallest block of at least `bytes`.
fn block_frames(bytes: u64) -> u64 {
    bytes.min(COST_LIMIT).div_ceil(PAGE).next_power_of_two()
}

/// The most that a recording's live allocations take at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Peaks {
    /// Page frames, those of slabs estimated.
    pub frames: u64,
    /// Pages of vmalloc space, if every kvmalloc request goes there.
    pub vmalloc_pages: u64,
}

impl Peaks {
    /// The machine on which such a recording replays with room to spare, within [`Limits`].
    ///
    /// A recording beyond the limits gets the largest machine; its replay then shows refusals.
    pub fn machine(&self) -> Machine {
        let (_, most_frames) = Limits::FRAMES;
        let (_, most_pages) = Limits::VMALLOC_PAGES;
        Machine {
            frames: room(self.frames, 2, most_frames),
            vmalloc_pages: room(self.vmalloc_pages, 4, most_pages),
            min_free: 64,
            ..Machine::default()
        }
    }
}

/// The power of two that holds `times` the peak.
fn room(peak: u64, times: u64, most: u32) -> u32 {
    let wanted = peak.min(COST_LIMIT).saturating_mul(times).max(LEAST_FRAMES).next_power_of_two();
    u32::try_from(wanted).unwrap_or(most).min(most)
}

/// Adds up what is live.
#[derive(Debug, Default)]
pub(super) struct Meter {
    now: Cost,
    /// The most there was.
    pub(super) peaks: Peaks,
}

impl Meter {
    pub(super) fn add(&mut self, cost: Cost) {
        self.now.slab_bytes += cost.slab_bytes;
        self.now.frames += cost.frames;
        self.now.vmalloc_pages += cost.vmalloc_pages;
        // Half of a slab may be holes: its objects were freed and their neighbours live on.
        let slab_frames = (2 * self.now.slab_bytes).div_ceil(PAGE);
        self.peaks.frames = self.peaks.frames.max(self.now.frames + slab_frames);
        self.peaks.vmalloc_pages = self.peaks.vmalloc_pages.max(self.now.vmalloc_pages);
    }

    pub(super) fn remove(&mut self, cost: Cost) {
        self.now.slab_bytes -= cost.slab_bytes;
        self.now.frames -= cost.frames;
        self.now.vmalloc_pages -= cost.vmalloc_pages;
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_machine_has_room_for_the_peak() {
        let machine = Peaks { frames: 5000, vmalloc_pages: 3000 }.machine();
        assert_eq!((machine.frames, machine.vmalloc_pages), (16384, 16384));
        let smallest = Peaks::default().machine();
        assert_eq!((smallest.frames, smallest.vmalloc_pages), (4096, 4096));
        let largest = Peaks { frames: u64::MAX, vmalloc_pages: u64::MAX }.machine();
        assert_eq!(largest.frames, Limits::FRAMES.1);
        assert_eq!(largest.vmalloc_pages, Limits::VMALLOC_PAGES.1);
    }

    #[test]
    fn the_dearest_placement_counts() {
        assert_eq!(Cost::kvmalloc(8), Cost { slab_bytes: 0, frames: 1, vmalloc_pages: 2 });
        assert_eq!(Cost::kvmalloc(0x5000), Cost { slab_bytes: 0, frames: 8, vmalloc_pages: 6 });
        assert_eq!(Cost::vmalloc(16384, 16384).vmalloc_pages, 9);
    }
}
