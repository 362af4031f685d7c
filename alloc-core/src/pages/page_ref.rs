//! References to pages beside that of their holder: `get_page`, and what becomes of a block that is
//! freed while somebody else still has one (R3.13).
//!
//! The one idea: who takes a block holds the first reference to it, and memory goes back when the
//! last one is dropped. Only the head of a block counts, so of a block that is not compound no more
//! than the first page can outlive the free.
//!
//! ```text
//!                        a reference to the first page, and then __free_pages or vfree
//!   a page, or an area's page      ├─ P ─┤                stays, as a page of its own
//!   a compound block               ├─ H t t t t t t t ─┤  stays as it is
//!   a block that is not compound   ├─ P ─┤▒▒▒▒▒▒▒▒▒▒▒▒▒   the first page stays, the rest is freed
//! ```

use crate::frames::frame::{Frame, FrameState};
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::words::addr::Pfn;

impl<M: Memory> PageAllocator<M> {
    /// `get_page`: one more reference to the block of which `head` is the first page; `false` if no
    /// more can be counted.
    pub(crate) fn get_page(&mut self, head: Pfn) -> bool {
        let frame = self.map.frame(&self.memory, head);
        let counted = frame.inuse.checked_add(1).map(|inuse| Frame { inuse, ..frame });
        if let Some(counted) = counted {
            self.map.set_frame(&mut self.memory, head, counted);
        }
        counted.is_some()
    }

    /// Whether somebody beside its holder has a reference to the page.
    pub(crate) fn is_shared(&self, page: Pfn) -> bool {
        if page.0 >= self.map.nr_frames() {
            return false;
        }
        let frame = self.map.frame(&self.memory, page);
        matches!(frame.state, FrameState::Pages | FrameState::Vmalloc) && frame.inuse > 0
    }

    /// Drops a reference to a page that is shared.
    pub(crate) fn put_shared(&mut self, page: Pfn) {
        let frame = self.map.frame(&self.memory, page);
        let rest = Frame { inuse: frame.inuse - 1, ..frame };
        self.map.set_frame(&mut self.memory, page, rest);
    }

    /// `__free_pages`: drops the reference of the block's holder. What somebody else has a
    /// reference to stays, as pages of the page interface, and the rest goes back.
    pub(crate) fn put_block(&mut self, head: Pfn) {
        if !self.is_shared(head) {
            return self.free_block(head);
        }
        self.put_shared(head);
        let frame = self.map.frame(&self.memory, head);
        if frame.is_compound {
            return;
        }
        let first = Frame { inuse: frame.inuse, ..Frame::block(FrameState::Pages, 0) };
        self.map.set_frame(&mut self.memory, head, first);
        self.recount(frame.state, FrameState::Pages, frame.nr_pages());
        for order in (0..u32::from(frame.order)).rev() {
            let rest = Pfn(head.0 + (1 << order));
            self.map.set_frame(&mut self.memory, rest, Frame::block(FrameState::Pages, order));
            self.free_block(rest);
        }
    }
}
