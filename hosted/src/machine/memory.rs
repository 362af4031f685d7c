//! [`RealMemory`]: a machine whose frames are real memory.
//!
//! The bytes of an area are read and written in the file, where its frames are; the caller alone
//! uses them where they are mapped. So a page that is mapped wrongly shows as wrong contents.
//!
//! It knows who has a page no more than the simulated machine does.

use super::bases::Bases;
use super::shown::{Shown, Trouble};
use super::space::Space;
use alloc_core::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
use alloc_core::memory::{MapError, Memory};
use kvroute_harness::subject::alloc_core::Machine;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A page-table entry: empty, or the frame's number and 1.
const EMPTY: u32 = 0;

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
    shown: Shown,
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
            shown: Shown::new(nr_entries),
            fault: None,
            trouble: Rc::default(),
        })
    }

    fn reset(&mut self) -> Result<(), Trouble> {
        for (entry, frame) in self.page_table[..self.nr_entries_used].iter_mut().enumerate() {
            if std::mem::replace(frame, EMPTY) != EMPTY {
                self.shown.change(entry);
            }
        }
        (self.nr_entries_used, self.fault) = (0, None);
        self.trouble = Rc::default();
        self.resume();
        self.trouble.get().map_or(Ok(()), Err)
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

    /// The place in the file of an address.
    fn place(&self, addr: u64) -> Option<usize> {
        let pfn = self.frame_of(addr)?;
        Some(((pfn as usize) << PAGE_SHIFT) + (addr & (PAGE_SIZE - 1)) as usize)
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
        self.page_table[entry] = frame.0 + 1;
        self.shown.change(entry);
        self.nr_entries_used = self.nr_entries_used.max(entry + 1);
        Ok(())
    }

    fn unmap(&mut self, page: Vaddr) {
        let entry = Self::entry(page);
        if std::mem::replace(&mut self.page_table[entry], EMPTY) == EMPTY {
            self.fault = Some("a page was unmapped that was not mapped");
        }
        self.shown.change(entry);
    }

    fn translate(&self, page: Vaddr) -> Option<Pfn> {
        let index = page.0.checked_sub(VMALLOC_START)? >> PAGE_SHIFT;
        self.page_table.get(index as usize)?.checked_sub(1).map(Pfn)
    }

    /// The host flushes whatever it unmaps.
    fn flush(&mut self, _start: Vaddr, _end: Vaddr) {}
}

impl Machine for RealMemory {
    fn span(&self, addr: u64, len: u64) -> Option<&[u8]> {
        Some(self.space.span(self.place(addr)?, in_page(addr, len)))
    }

    fn span_mut(&mut self, addr: u64, len: u64) -> Option<&mut [u8]> {
        let place = self.place(addr)?;
        Some(self.space.span_mut(place, in_page(addr, len)))
    }

    fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    fn resume(&mut self) {
        let page_table = &self.page_table;
        let wanted = |entry: usize| page_table[entry].checked_sub(1).map(Pfn);
        if let Err(trouble) = self.shown.settle(&self.space, wanted) {
            self.trouble.set(self.trouble.get().or(Some(trouble)));
        }
    }

    fn retire(self) {
        if self.trouble.get().is_none() {
            MACHINES.with_borrow_mut(|machines| machines.push(self));
        }
    }
}

#[cfg(test)]
mod test {
    use super::super::shown::{NR_KEPT_MAX, NR_PIECES_MAX};
    use super::*;
    use nix::sys::uio::{RemoteIoVec, process_vm_readv};
    use nix::unistd::Pid;
    use std::io::IoSliceMut;

    /// A machine in which each frame begins with its number.
    fn numbered(nr_pages: u32) -> RealMemory {
        let mut memory = RealMemory::fresh(nr_pages, nr_pages).unwrap();
        let place = |frame: u32| Paddr(u64::from(frame) * PAGE_SIZE);
        (0..nr_pages).for_each(|frame| memory.store(place(frame), frame.into()));
        memory
    }

    fn page(number: u32) -> Vaddr {
        Vaddr(VMALLOC_START + u64::from(number) * PAGE_SIZE)
    }

    /// The frame that this process sees where a page is; none if the page cannot be accessed.
    fn seen(memory: &RealMemory, page: Vaddr) -> Option<u32> {
        let mut bytes = [0; 4];
        let place = RemoteIoVec { base: memory.bases().here(page.0) as usize, len: 4 };
        let nr_read = process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut bytes)], &[place]);
        (nr_read == Ok(4)).then(|| u32::from_le_bytes(bytes))
    }

    fn check(memory: &RealMemory) {
        for page in (0..memory.nr_vmalloc_pages() as u32).map(page) {
            let wanted = memory.translate(page).map(|frame| frame.0);
            assert_eq!(seen(memory, page), wanted, "{page:?}");
        }
    }

    #[test]
    fn the_host_shows_what_the_page_table_says() {
        const NR: u32 = 48;
        let mut random = fastrand::Rng::with_seed(7);
        let mut memory = numbered(NR);
        for round in 0..600 {
            for _ in 0..random.u32(1..6) {
                // Runs of one to six, of frames that are neighbours or not, and often as before.
                let (first, len) = (random.u32(0..NR - 6), random.u32(1..=6));
                let ahead = random.u32(0..4) * random.u32(1..3);
                for number in first..first + len {
                    match memory.translate(page(number)) {
                        Some(_) => memory.unmap(page(number)),
                        None => memory.map(page(number), Pfn((number * ahead) % NR)).unwrap(),
                    }
                }
            }
            memory.resume();
            check(&memory);
            if round % 50 == 49 {
                memory.retire();
                memory = RealMemory::fresh(NR, NR).unwrap();
                check(&memory);
            }
        }
    }

    #[test]
    fn more_pages_than_are_kept_are_hidden_as_well() {
        let nr = NR_KEPT_MAX as u32 + 500;
        let mut memory = numbered(nr);
        for shift in [1, 2] {
            let frame = |number: u32| Pfn((number * 2 + shift) % nr);
            (0..nr).for_each(|number| memory.map(page(number), frame(number)).unwrap());
            memory.resume();
            check(&memory);
            (0..nr).for_each(|number| memory.unmap(page(number)));
            memory.resume();
            check(&memory);
        }
        assert_eq!(memory.trouble().get(), None);
    }

    #[test]
    fn more_pieces_than_the_host_has_mappings_for_are_trouble() {
        let nr = NR_PIECES_MAX + 1;
        let mut memory = numbered(2 * nr);
        for number in 0..nr {
            memory.map(page(2 * number), Pfn(number)).unwrap();
        }
        memory.resume();
        assert_eq!(memory.trouble().get(), Some(Trouble::Pieces));
    }
}
