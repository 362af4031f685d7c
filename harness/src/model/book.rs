//! The book: what is live, and whose each frame is.
//!
//! It holds for every allocator, whatever it promises beyond that: live memory lies apart, in
//! address and in frame, and holds what its caller wrote. What a call means is not known here.

use super::{Allocation, Contents, Kind};
use crate::op::Reg;
use crate::subject::Layout;
use crate::words::PAGE;
use std::collections::BTreeMap;

/// Who uses a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FrameUse {
    Nobody,
    /// One allocation has all of it.
    Whole,
    /// This many objects lie in it.
    Shared(u16),
}

/// What one lane's caller holds.
pub(crate) struct Book {
    layout: Layout,
    live: BTreeMap<u64, Allocation>,
    frames: Vec<FrameUse>,
}

impl Book {
    /// An empty book about memory that lies so.
    pub(super) fn new(layout: Layout) -> Self {
        let nr_frames = ((layout.direct_end - layout.direct_start) / PAGE) as usize;
        Self { layout, live: BTreeMap::new(), frames: vec![FrameUse::Nobody; nr_frames] }
    }

    /// Where the lane's memory lies.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether an address lies in the vmalloc space.
    pub(crate) fn is_vmalloc(&self, addr: u64) -> bool {
        (self.layout.vmalloc_start..self.layout.vmalloc_end).contains(&addr)
    }

    /// Whether an address lies in the direct map.
    pub(crate) fn is_direct(&self, addr: u64) -> bool {
        (self.layout.direct_start..self.layout.direct_end).contains(&addr)
    }

    /// Where the direct map shows a frame.
    pub(crate) fn page(&self, frame: u32) -> u64 {
        self.layout.direct_start + u64::from(frame) * PAGE
    }

    /// The live allocation that starts at `addr`.
    pub(crate) fn at(&self, addr: u64) -> Option<&Allocation> {
        self.live.get(&addr)
    }

    /// As [`at`](Self::at), to change.
    pub(super) fn at_mut(&mut self, addr: u64) -> Option<&mut Allocation> {
        self.live.get_mut(&addr)
    }

    /// The live allocation whose range, guard page included, holds `addr`.
    pub(crate) fn containing(&self, addr: u64) -> Option<&Allocation> {
        let (_, allocation) = self.live.range(..=addr).next_back()?;
        (addr < allocation.end()).then_some(allocation)
    }

    /// Every live allocation in address order.
    pub(crate) fn live(&self) -> impl DoubleEndedIterator<Item = &Allocation> {
        self.live.values()
    }

    /// The number of live allocations.
    pub(crate) fn nr_live(&self) -> usize {
        self.live.len()
    }

    /// A live allocation whose range meets `start..end`.
    pub(crate) fn overlapping(&self, start: u64, end: u64) -> Option<&Allocation> {
        let (_, below) = self.live.range(..end).next_back()?;
        (below.end() > start).then_some(below)
    }

    /// The same, of others than the allocation at an address, if there is one. Live allocations lie
    /// apart, so only the last one can meet the range that begins before its end.
    pub(crate) fn overlapping_beside(
        &self,
        own: Option<u64>,
        start: u64,
        end: u64,
    ) -> Option<&Allocation> {
        let (_, below) = self.live.range(..end).rev().find(|(addr, _)| Some(**addr) != own)?;
        (below.end() > start).then_some(below)
    }

    /// Whether a frame is in use in a way that memory of `kind` cannot share.
    pub(crate) fn is_frame_taken(&self, frame: u32, kind: Kind) -> bool {
        let small = matches!(kind, Kind::Kmalloc | Kind::CacheObject(_));
        match self.frames.get(frame as usize) {
            None | Some(FrameUse::Whole) => true,
            Some(FrameUse::Shared(_)) => !small,
            Some(FrameUse::Nobody) => false,
        }
    }

    /// Enters an allocation. `frames` are the frames behind it, in order.
    pub(super) fn enter(&mut self, allocation: Allocation, frames: &[u32]) {
        for frame in whose_frames(&allocation, frames) {
            let place = &mut self.frames[*frame as usize];
            *place = match *place {
                FrameUse::Shared(nr) if allocation.is_small() => FrameUse::Shared(nr + 1),
                _ if allocation.is_small() => FrameUse::Shared(1),
                _ => FrameUse::Whole,
            };
        }
        self.live.insert(allocation.addr, allocation);
    }

    /// Strikes an allocation out; the frames behind it, in order, are nobody's from now on.
    pub(super) fn strike(&mut self, addr: u64, frames: &[u32]) -> Option<Allocation> {
        let allocation = self.live.remove(&addr)?;
        for frame in whose_frames(&allocation, frames) {
            let place = &mut self.frames[*frame as usize];
            *place = match *place {
                FrameUse::Shared(nr) if nr > 1 => FrameUse::Shared(nr - 1),
                _ => FrameUse::Nobody,
            };
        }
        Some(allocation)
    }

    /// Enters memory whose frames are in the book already: what stayed where it was, with a new
    /// size and new contents, or what comes back.
    pub(super) fn put(&mut self, allocation: Allocation) {
        self.live.insert(allocation.addr, allocation);
    }

    /// Takes an allocation out, and leaves it its frames.
    pub(super) fn take(&mut self, addr: u64) -> Option<Allocation> {
        self.live.remove(&addr)
    }

    /// Enters each frame in which a byte of an allocation lies as wholly used.
    pub(super) fn fill_frames(&mut self) {
        let direct_start = self.layout.direct_start;
        for taken in self.live.values() {
            let (start, end) = (taken.addr - direct_start, taken.end() - direct_start);
            let frames = (start / PAGE) as usize..end.div_ceil(PAGE) as usize;
            self.frames[frames].fill(FrameUse::Whole);
        }
    }

    /// Changes what a live allocation holds.
    pub(crate) fn set_contents(&mut self, addr: u64, contents: Contents) {
        if let Some(allocation) = self.live.get_mut(&addr) {
            allocation.contents = contents;
        }
    }

    /// Says that the first bytes of a live allocation were cleared, be they of its slack.
    pub(crate) fn clear(&mut self, addr: u64, nr_cleared: u64) {
        if let Some(held) = self.live.get_mut(&addr).filter(|_| nr_cleared > 0) {
            let before = std::mem::replace(&mut held.contents, Contents::Painted(0));
            held.contents = Contents::Cleared(nr_cleared, before.into());
        }
    }

    /// Says that a register no longer holds the allocation at an address, if it did.
    pub(crate) fn forget_register(&mut self, addr: u64, reg: Reg) {
        if let Some(allocation) = self.live.get_mut(&addr).filter(|held| held.reg == Some(reg)) {
            allocation.reg = None;
        }
    }
}

/// The frames behind an allocation that the book tracks: none of one from boot, since what is taken
/// before the hand-over may share frames.
fn whose_frames<'a>(allocation: &Allocation, frames: &'a [u32]) -> &'a [u32] {
    if allocation.kind == Kind::Boot { &[] } else { frames }
}
