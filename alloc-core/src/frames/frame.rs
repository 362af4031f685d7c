//! The descriptor of a page frame (Linux's `struct page`) and the array of them, the mem_map.
//!
//! The one idea: the *heads* partition the frames into naturally aligned blocks. A frame is either
//! the head of its block (free, a block of pages, a slab, …) or a tail that says nothing, so the
//! head of any frame is the first frame that is no tail among the aligned-down candidates of
//! orders 0, 1, 2, …. A tail is an all-zero word, so a fresh mem_map needs no loop.
//!
//! The mem_map lies in the managed memory itself, four words to a frame. Nothing here decides what
//! a frame is used for; a state read from a damaged word counts as reserved.

use crate::memory::Memory;
use crate::words::addr::{NR_ORDERS, PAGE_SHIFT, Paddr, Pfn};

/// Bytes of one descriptor.
pub(crate) const FRAME_BYTES: u64 = 32;
/// The link of a frame that has no neighbour on its list.
pub(crate) const NO_FRAME: Pfn = Pfn(u32::MAX);
/// The number of frame states, for counters indexed by state.
pub(crate) const NR_FRAME_STATES: usize = 14;

/// What a frame is the head of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameState {
    /// No head: it belongs to the block of a frame below it.
    Tail = 0,
    /// Kept back at boot, for ever.
    Reserved = 1,
    /// A free block of the buddy allocator.
    Free = 2,
    /// A block handed out by the page interface.
    Pages = 3,
    /// A slab.
    Slab = 4,
    /// A slab whose free list was found damaged: it takes frees, and hands out nothing.
    RetiredSlab = 5,
    /// A kmalloc too large for any size class.
    LargeKmalloc = 6,
    /// A page of a vmalloc area.
    Vmalloc = 7,
    /// A page of `alloc_pages_exact`.
    PagesExact = 8,
    /// A block that a device sees as well.
    DmaCoherent = 9,
    /// A page of the page cache.
    PageCache = 10,
    /// A page of a process.
    Process = 11,
    /// A page table of the vmalloc space.
    PageTable = 12,
    /// A block that some CPU keeps for itself, free but not merged.
    PerCpu = 13,
}

impl FrameState {
    const fn decode(byte: u8) -> Self {
        match byte {
            0 => Self::Tail,
            2 => Self::Free,
            3 => Self::Pages,
            4 => Self::Slab,
            5 => Self::RetiredSlab,
            6 => Self::LargeKmalloc,
            7 => Self::Vmalloc,
            8 => Self::PagesExact,
            9 => Self::DmaCoherent,
            10 => Self::PageCache,
            11 => Self::Process,
            12 => Self::PageTable,
            13 => Self::PerCpu,
            _ => Self::Reserved,
        }
    }
}

/// The first word of a descriptor: what the block is and how full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What the frame is the head of.
    pub(crate) state: FrameState,
    /// log2 of the block's pages.
    pub(crate) order: u8,
    /// Of a slab: whether it is some CPU's active one, and so on no list.
    pub(crate) frozen: bool,
    /// Whether the block was taken with `__GFP_COMP`, so that its tails know their head.
    pub(crate) is_compound: bool,
    /// Of a slab: how many objects it holds.
    pub(crate) objects: u16,
    /// Of a slab: how many of them are live. Of pages: how many references there are beside that
    /// of their holder (R3.13).
    pub(crate) inuse: u16,
    /// Of a slab: how many have ever been handed out; the rest are not on the free list yet.
    pub(crate) fresh: u16,
}

impl Frame {
    /// The head of a block that is no slab.
    pub(crate) const fn block(state: FrameState, order: u32) -> Self {
        let (order, frozen, is_compound) = (order as u8, false, false);
        Self { state, order, frozen, is_compound, objects: 0, inuse: 0, fresh: 0 }
    }

    /// The number of pages of the block.
    pub(crate) const fn nr_pages(self) -> u32 {
        1 << self.order
    }

    /// Whether the frame is the head of a slab, in service or not.
    pub(crate) const fn is_slab(self) -> bool {
        matches!(self.state, FrameState::Slab | FrameState::RetiredSlab)
    }

    const fn encode(self) -> u64 {
        self.state as u64
            | (self.order as u64) << 8
            | (self.frozen as u64) << 15
            | (self.is_compound as u64) << 14
            | (self.objects as u64) << 16
            | (self.inuse as u64) << 32
            | (self.fresh as u64) << 48
    }

    const fn decode(word: u64) -> Self {
        Self {
            state: FrameState::decode(word as u8),
            order: (word >> 8) as u8 & 0x3f,
            frozen: word >> 15 & 1 == 1,
            is_compound: word >> 14 & 1 == 1,
            objects: (word >> 16) as u16,
            inuse: (word >> 32) as u16,
            fresh: (word >> 48) as u16,
        }
    }
}

/// Where the descriptors are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemMap {
    base: Paddr,
    nr_frames: u32,
}

impl MemMap {
    /// The mem_map of `nr_frames` frames, at `base`; every frame becomes a tail.
    pub(crate) fn clear<M: Memory>(memory: &mut M, base: Paddr, nr_frames: u32) -> Self {
        memory.zero(base, u64::from(nr_frames) * FRAME_BYTES);
        Self { base, nr_frames }
    }

    /// The number of frames described.
    pub(crate) const fn nr_frames(&self) -> u32 {
        self.nr_frames
    }

    const fn word(&self, pfn: Pfn, index: u64) -> Paddr {
        Paddr(self.base.0 + pfn.0 as u64 * FRAME_BYTES + index * 8)
    }

    /// Reads what a frame is.
    pub(crate) fn frame<M: Memory>(&self, memory: &M, pfn: Pfn) -> Frame {
        Frame::decode(memory.load(self.word(pfn, 0)))
    }

    /// Writes what a frame is.
    pub(crate) fn set_frame<M: Memory>(&self, memory: &mut M, pfn: Pfn, frame: Frame) {
        memory.store(self.word(pfn, 0), frame.encode());
    }

    /// Says that a slab is some CPU's active one. That CPU keeps all of its free list for itself.
    pub(crate) fn freeze<M: Memory>(&self, memory: &mut M, slab: Pfn) {
        let frame = self.frame(memory, slab);
        self.set_frame(memory, slab, Frame { frozen: true, ..frame });
        let first = self.private(memory, slab);
        self.set_kept(memory, slab, first, frame.fresh - frame.inuse);
        self.set_private(memory, slab, 0);
    }

    /// Of an active slab, which is on no list: the first free object that its CPU keeps for itself,
    /// 0 for none, and how many these are.
    pub(crate) fn kept<M: Memory>(&self, memory: &M, slab: Pfn) -> (u64, u16) {
        let word = memory.load(self.word(slab, 1));
        (word & ((1 << 48) - 1), (word >> 48) as u16)
    }

    /// Writes what [`Self::kept`] reads.
    pub(crate) fn set_kept<M: Memory>(&self, memory: &mut M, slab: Pfn, first: u64, nr: u16) {
        memory.store(self.word(slab, 1), first | u64::from(nr) << 48);
    }

    /// Says that a slab is no longer any CPU's active one.
    pub(crate) fn unfreeze<M: Memory>(&self, memory: &mut M, slab: Pfn) {
        let frame = self.frame(memory, slab);
        self.set_frame(memory, slab, Frame { frozen: false, ..frame });
    }

    /// The neighbours of a head on its list: next and previous.
    pub(crate) fn links<M: Memory>(&self, memory: &M, pfn: Pfn) -> (Pfn, Pfn) {
        let word = memory.load(self.word(pfn, 1));
        (Pfn(word as u32), Pfn((word >> 32) as u32))
    }

    /// Writes the neighbours of a head on its list.
    pub(crate) fn set_links<M: Memory>(&self, memory: &mut M, pfn: Pfn, next: Pfn, prev: Pfn) {
        memory.store(self.word(pfn, 1), u64::from(next.0) | u64::from(prev.0) << 32);
    }

    /// Of a slab: its first free object but for what a CPU keeps, 0 for none. Of a vmalloc page:
    /// the address that shows it. Of a page of a process: the next one. Of an exact page: the run
    /// of pages that it belongs to.
    pub(crate) fn private<M: Memory>(&self, memory: &M, pfn: Pfn) -> u64 {
        memory.load(self.word(pfn, 2))
    }

    /// Writes the word that [`Self::private`] reads.
    pub(crate) fn set_private<M: Memory>(&self, memory: &mut M, pfn: Pfn, word: u64) {
        memory.store(self.word(pfn, 2), word);
    }

    /// Of a slab: the descriptor of its cache.
    pub(crate) fn cache<M: Memory>(&self, memory: &M, pfn: Pfn) -> Paddr {
        Paddr(memory.load(self.word(pfn, 3)))
    }

    /// Writes the descriptor of a slab's cache.
    pub(crate) fn set_cache<M: Memory>(&self, memory: &mut M, pfn: Pfn, cache: Paddr) {
        memory.store(self.word(pfn, 3), cache.0);
    }

    /// Of the first page of a process: the number of its pages.
    pub(crate) fn process_size<M: Memory>(&self, memory: &M, pfn: Pfn) -> u32 {
        memory.load(self.word(pfn, 3)) as u32
    }

    /// Writes the number of a process's pages.
    pub(crate) fn set_process_size<M: Memory>(&self, memory: &mut M, pfn: Pfn, nr_pages: u32) {
        memory.store(self.word(pfn, 3), u64::from(nr_pages));
    }

    /// The head of the block that the frame at `at` belongs to; `None` beyond the last frame.
    pub(crate) fn head_of<M: Memory>(&self, memory: &M, at: Paddr) -> Option<(Pfn, Frame)> {
        if at.0 >> PAGE_SHIFT >= u64::from(self.nr_frames) {
            return None;
        }
        let pfn = (at.0 >> PAGE_SHIFT) as u32;
        for order in 0..NR_ORDERS as u32 {
            let candidate = Pfn(pfn >> order << order);
            let frame = self.frame(memory, candidate);
            if frame.state != FrameState::Tail {
                return Some((candidate, frame));
            }
        }
        None
    }

    /// Puts a head in front of the list that starts at `*first`.
    pub(crate) fn list_push<M: Memory>(&self, memory: &mut M, first: &mut Pfn, pfn: Pfn) {
        self.set_links(memory, pfn, *first, NO_FRAME);
        if *first != NO_FRAME {
            let (next, _) = self.links(memory, *first);
            self.set_links(memory, *first, next, pfn);
        }
        *first = pfn;
    }

    /// Takes a head off the list that starts at `*first`.
    pub(crate) fn list_remove<M: Memory>(&self, memory: &mut M, first: &mut Pfn, pfn: Pfn) {
        let (next, prev) = self.links(memory, pfn);
        if prev == NO_FRAME {
            *first = next;
        } else {
            let (_, before) = self.links(memory, prev);
            self.set_links(memory, prev, next, before);
        }
        if next != NO_FRAME {
            let (after, _) = self.links(memory, next);
            self.set_links(memory, next, after, prev);
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::test_memory::TestMemory;

    #[test]
    fn a_frame_survives_encoding() {
        let states = [
            FrameState::Tail,
            FrameState::Reserved,
            FrameState::Free,
            FrameState::Pages,
            FrameState::Slab,
            FrameState::RetiredSlab,
            FrameState::LargeKmalloc,
            FrameState::Vmalloc,
            FrameState::PagesExact,
            FrameState::DmaCoherent,
            FrameState::PageCache,
            FrameState::Process,
            FrameState::PageTable,
            FrameState::PerCpu,
        ];
        assert_eq!(states.len(), NR_FRAME_STATES);
        for state in states {
            for (frozen, is_compound) in [(false, true), (true, false)] {
                let block = Frame { frozen, is_compound, ..Frame::block(state, 10) };
                let frame = Frame { objects: 512, inuse: 7, fresh: 511, ..block };
                assert_eq!(Frame::decode(frame.encode()), frame);
            }
        }
    }

    #[test]
    fn a_tail_finds_its_head() {
        let mut memory = TestMemory::new(64, 0);
        let map = MemMap::clear(&mut memory, Paddr(0), 64);
        map.set_frame(&mut memory, Pfn(8), Frame::block(FrameState::Pages, 3));
        map.set_frame(&mut memory, Pfn(12), Frame::block(FrameState::Tail, 0));
        let head = map.head_of(&memory, Pfn(15).to_phys()).map(|(pfn, _)| pfn);
        assert_eq!(head, Some(Pfn(8)));
        assert_eq!(map.head_of(&memory, Pfn(64).to_phys()), None);
    }

    #[test]
    fn a_list_loses_its_middle() {
        let mut memory = TestMemory::new(64, 0);
        let map = MemMap::clear(&mut memory, Paddr(0), 64);
        let mut first = NO_FRAME;
        for pfn in [Pfn(3), Pfn(5), Pfn(9)] {
            map.list_push(&mut memory, &mut first, pfn);
        }
        map.list_remove(&mut memory, &mut first, Pfn(5));
        assert_eq!(first, Pfn(9));
        assert_eq!(map.links(&memory, Pfn(9)), (Pfn(3), NO_FRAME));
        assert_eq!(map.links(&memory, Pfn(3)), (NO_FRAME, Pfn(9)));
    }
}
