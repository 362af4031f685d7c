//! [`RealMemory`]: a machine whose frames are real memory.
//!
//! The allocator maps and unmaps page by page. What lies next to each other is collected and shown
//! in one piece, before the caller goes on: a system call costs more than a page.
//!
//! It knows who has a page no more than the simulated machine does.

#![expect(unsafe_code, reason = "what is mapped is read and written where it is mapped")]

use super::bases::Bases;
use super::space::Space;
use alloc_core::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
use alloc_core::memory::{MapError, Memory};
use kvroute_harness::subject::alloc_core::Machine;
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::fmt::{self, Display, Formatter};
use std::rc::Rc;

/// The most separate pieces that can be shown at a time. Each takes up to two of the host's
/// mappings, of which a process has 65 530 (`vm.max_map_count`).
const NR_PIECES_MAX: u32 = 16 << 10;

/// Why the host cannot go on. It says nothing about the caller, nor about the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The host refused a mapping.
    Host(Errno),
    /// More pieces of vmalloc memory are live than the host maps (16 384).
    Pieces,
}

impl Display for Trouble {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(errno) => write!(out, "the host refused a mapping: {errno}"),
            Self::Pieces => write!(out, "more than {NR_PIECES_MAX} pieces of vmalloc are mapped"),
        }
    }
}

impl std::error::Error for Trouble {}

/// A page-table entry: empty, or the frame's number and 1, and a bit if a piece begins there.
const EMPTY: u32 = 0;
const BEGINS: u32 = 1 << 31;

/// Pages next to each other that are to be shown, or hidden.
#[derive(Clone, Copy, Default)]
struct Pending {
    first_page: u64,
    /// The frame of the first page, if they are to be shown.
    first_frame: Option<u64>,
    nr_pages: u64,
}

impl Pending {
    /// Adds a page behind the others, if that is where it belongs.
    fn extend(&mut self, page: u64, frame: Option<u64>) -> bool {
        let follows = self.nr_pages > 0
            && page == self.first_page + self.nr_pages
            && frame == self.first_frame.map(|first| first + self.nr_pages);
        self.nr_pages += u64::from(follows);
        follows
    }
}

thread_local! {
    /// Memory of machines that are gone, for the next ones.
    static MACHINES: RefCell<Vec<RealMemory>> = const { RefCell::new(Vec::new()) };
}

/// A machine's frames as a memory file, and where this process sees them.
pub struct RealMemory {
    space: Space,
    nr_frames: u32,
    /// Entry `n` belongs to the n-th page of the vmalloc space.
    page_table: Vec<u32>,
    /// One past the highest entry ever used since the last reset.
    nr_entries_used: usize,
    pending: Pending,
    nr_pieces: u32,
    fault: Option<&'static str>,
    trouble: Rc<Cell<Option<Trouble>>>,
}

impl RealMemory {
    /// A machine of so many frames and so many pages of vmalloc space, of which none is mapped. It
    /// may have been another's before, and hold what that has left.
    ///
    /// # Errors
    /// The host has not so much to give.
    pub fn fresh(nr_frames: u32, nr_vmalloc_pages: u32) -> Result<Self, Trouble> {
        let nr_entries = nr_vmalloc_pages as usize;
        let fits = |it: &Self| it.nr_frames == nr_frames && it.page_table.len() == nr_entries;
        let kept = MACHINES.with_borrow_mut(Vec::pop).filter(fits);
        if let Some(mut memory) = kept {
            memory.reset()?;
            return Ok(memory);
        }
        let nr_bytes = (nr_frames as usize) << PAGE_SHIFT;
        let space = Space::reserve(nr_bytes, nr_entries << PAGE_SHIFT).map_err(Trouble::Host)?;
        Ok(Self {
            space,
            nr_frames,
            page_table: vec![EMPTY; nr_entries],
            nr_entries_used: 0,
            pending: Pending::default(),
            nr_pieces: 0,
            fault: None,
            trouble: Rc::default(),
        })
    }

    fn reset(&mut self) -> Result<(), Trouble> {
        let nr_bytes = self.nr_entries_used << PAGE_SHIFT;
        if self.nr_pieces > 0 {
            let start = self.space.bases.here(VMALLOC_START);
            self.space.hide(start, nr_bytes).map_err(Trouble::Host)?;
        }
        self.page_table[..self.nr_entries_used].fill(EMPTY);
        (self.nr_entries_used, self.nr_pieces) = (0, 0);
        (self.pending, self.fault) = (Pending::default(), None);
        self.trouble = Rc::default();
        Ok(())
    }

    /// Where its memory is.
    pub fn bases(&self) -> Bases {
        self.space.bases
    }

    /// What the host has refused, if it has. Once it has, nothing else is to be believed.
    pub fn trouble(&self) -> Rc<Cell<Option<Trouble>>> {
        Rc::clone(&self.trouble)
    }

    fn entry(page: Vaddr) -> usize {
        ((page.0 - VMALLOC_START) >> PAGE_SHIFT) as usize
    }

    /// Takes note of a page that is to be shown, or hidden; whether it begins a piece.
    fn change(&mut self, entry: usize, frame: Option<Pfn>) -> bool {
        let (page, frame) = (entry as u64, frame.map(|pfn| u64::from(pfn.0)));
        let begins = !self.pending.extend(page, frame);
        if begins {
            self.carry_out();
            self.pending = Pending { first_page: page, first_frame: frame, nr_pages: 1 };
        }
        begins
    }

    /// Shows or hides what is pending.
    fn carry_out(&mut self) {
        let Pending { first_page, first_frame, nr_pages } = std::mem::take(&mut self.pending);
        if nr_pages == 0 {
            return;
        }
        let at = self.space.bases.here(VMALLOC_START + (first_page << PAGE_SHIFT));
        let len = (nr_pages << PAGE_SHIFT) as usize;
        let result = match first_frame {
            Some(frame) => self.space.show(at, frame << PAGE_SHIFT, len),
            None => self.space.hide(at, len),
        };
        let trouble = match result {
            Err(errno) => Some(Trouble::Host(errno)),
            Ok(()) if self.nr_pieces > NR_PIECES_MAX => Some(Trouble::Pieces),
            Ok(()) => None,
        };
        self.trouble.set(self.trouble.get().or(trouble));
    }

    /// The place in the file of an address.
    fn place(&self, addr: u64) -> Option<usize> {
        let pfn = self.frame_of(addr)?;
        Some(((pfn as usize) << PAGE_SHIFT) + (addr & (PAGE_SIZE - 1)) as usize)
    }

    /// Where a mapped page is shown. In the middle of a call that may yet have to be done, and if
    /// the host has refused it never will be: then its bytes are in the file alone.
    fn shown_at(&self, addr: u64) -> Option<u64> {
        let is_shown =
            addr >= VMALLOC_START && self.pending.nr_pages == 0 && self.trouble.get().is_none();
        is_shown.then(|| self.space.bases.here(addr))
    }
}

/// The bytes from `addr` to the end of its page, or `len`.
fn in_page(addr: u64, len: u64) -> usize {
    len.min(PAGE_SIZE - addr % PAGE_SIZE) as usize
}

impl Memory for RealMemory {
    fn nr_frames(&self) -> u32 {
        self.nr_frames
    }

    fn nr_vmalloc_pages(&self) -> u64 {
        self.page_table.len() as u64
    }

    #[inline]
    fn load(&self, at: Paddr) -> u64 {
        self.space.load(at.0 as usize)
    }

    #[inline]
    fn store(&mut self, at: Paddr, word: u64) {
        self.space.store(at.0 as usize, word);
    }

    fn zero(&mut self, at: Paddr, nr_bytes: u64) {
        self.space.span_mut(at.0 as usize, nr_bytes as usize).fill(0);
    }

    fn map(&mut self, page: Vaddr, frame: Pfn) -> Result<(), MapError> {
        let entry = Self::entry(page);
        if self.page_table[entry] != EMPTY {
            self.fault = Some("a page was mapped while it was mapped");
        }
        let begins = self.change(entry, Some(frame));
        self.nr_pieces += u32::from(begins);
        self.page_table[entry] = (frame.0 + 1) | if begins { BEGINS } else { 0 };
        self.nr_entries_used = self.nr_entries_used.max(entry + 1);
        Ok(())
    }

    fn unmap(&mut self, page: Vaddr) {
        let entry = Self::entry(page);
        match std::mem::replace(&mut self.page_table[entry], EMPTY) {
            EMPTY => self.fault = Some("a page was unmapped that was not mapped"),
            mapped => self.nr_pieces -= mapped / BEGINS,
        }
        self.change(entry, None);
    }

    fn translate(&self, page: Vaddr) -> Option<Pfn> {
        let index = page.0.checked_sub(VMALLOC_START)? >> PAGE_SHIFT;
        (self.page_table.get(index as usize)? % BEGINS).checked_sub(1).map(Pfn)
    }

    /// The host flushes whatever it unmaps.
    fn flush(&mut self, _start: Vaddr, _end: Vaddr) {}
}

impl Machine for RealMemory {
    /// A caller's bytes: those of an area where it is mapped, so that a wrong mapping shows.
    fn span(&self, addr: u64, len: u64) -> Option<&[u8]> {
        let (place, len) = (self.place(addr)?, in_page(addr, len));
        Some(match self.shown_at(addr) {
            // SAFETY: the page has a frame, and all that has one is shown.
            Some(at) => unsafe { self.space.shown(at, len) },
            None => self.space.span(place, len),
        })
    }

    fn span_mut(&mut self, addr: u64, len: u64) -> Option<&mut [u8]> {
        let (place, len) = (self.place(addr)?, in_page(addr, len));
        Some(match self.shown_at(addr) {
            // SAFETY: as in `span`.
            Some(at) => unsafe { self.space.shown_mut(at, len) },
            None => self.space.span_mut(place, len),
        })
    }

    fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    fn settle(&mut self) {
        self.carry_out();
    }

    fn retire(mut self) {
        self.carry_out();
        MACHINES.with_borrow_mut(|machines| machines.push(self));
    }
}
