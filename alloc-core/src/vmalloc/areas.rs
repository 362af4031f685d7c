//! vmalloc: memory that is contiguous in virtual addresses only (R4).
//!
//! The one idea: four things are gathered one after the other (a descriptor, a range, an array of
//! page frames, the pages themselves), then every page is mapped. Each step undoes its own work
//! when a later one fails, in the reverse order, so a failed call leaves no trace.
//!
//! A caller that may have huge pages is served in two attempts, the second with small ones (R4.12).
//! No page belongs to two areas.

use crate::kmalloc::{direct, direct_phys};
use crate::memory::Memory;
use crate::slab::objects::Refused;
use crate::vmalloc::area_pages::Vmalloc;
use crate::vmalloc::vm_struct::{EntrySize, Owner, VmStruct};
use crate::vmalloc::vmap::{TakenRange, VmapRequest};
use crate::vmalloc::vmap_tree::VmapArea;
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, VMALLOC_START, Vaddr, pages_for};
use crate::words::error::{AllocError, Impossible, Shortage};
use crate::words::gfp::{
    __GFP_ATOMIC, __GFP_COMP, __GFP_DIRECT_RECLAIM, __GFP_FS, __GFP_HIGH, __GFP_IO, __GFP_MEMALLOC,
    __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_NORETRY, __GFP_NOWARN, __GFP_RECLAIM,
    __GFP_RETRY_MAYFAIL, Gfp,
};
use crate::words::task::Context;

/// The flags that say how to get memory, as opposed to which (`GFP_RECLAIM_MASK`).
const GFP_RECLAIM_MASK: Gfp = Gfp(__GFP_RECLAIM.0
    | __GFP_HIGH.0
    | __GFP_IO.0
    | __GFP_FS.0
    | __GFP_NOWARN.0
    | __GFP_RETRY_MAYFAIL.0
    | __GFP_NOFAIL.0
    | __GFP_NORETRY.0
    | __GFP_MEMALLOC.0
    | __GFP_NOMEMALLOC.0
    | __GFP_ATOMIC.0);

/// The arguments of `__vmalloc_node_range`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VmallocRange {
    /// Bytes; the area has a guard page more.
    pub size: u64,
    /// A power of two; less than a page means a page.
    pub align: u64,
    /// The area must not start below this address.
    pub start: Vaddr,
    /// The area, guard page included, must end at or below this address.
    pub end: Vaddr,
    /// What may be done to get the memory.
    pub gfp: Gfp,
}

/// When the range of a freed area may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeReuse {
    /// After the next purge, as always when memory is freed (R4.10).
    Lazily,
    /// At once: a failed call takes its own work back, and leaves no lazy area behind.
    AtOnce,
}

impl<M: Memory> Vmalloc<M> {
    /// The whole vmalloc space as a range.
    pub(crate) const fn anywhere(&self, size: u64, gfp: Gfp) -> VmallocRange {
        let start = Vaddr(VMALLOC_START);
        VmallocRange { size, align: 1, start, end: self.vmap.end(), gfp }
    }

    /// `__vmalloc_node_range`.
    pub(crate) fn alloc(&mut self, range: &VmallocRange) -> Result<Vaddr, AllocError> {
        self.alloc_for(range, Owner::Caller, EntrySize::Small)
    }

    /// `__vmalloc_node_range` with `VM_ALLOW_HUGE_VMAP`: huge pages for 2 MiB and more, and when
    /// that fails, whatever was short, small ones (R4.12).
    ///
    /// Linux lets a `__GFP_NOFAIL` request wait for ever for a hole that huge pages need, though
    /// small ones would find room (R4.14). Here it takes the small ones, and waits only if there
    /// is no room for those.
    ///
    /// With `__GFP_COMP` Linux splits compound pages, and its report comes when they are freed,
    /// page after page. Here such a request is refused, whatever it would have got.
    pub(crate) fn alloc_huge(&mut self, range: &VmallocRange) -> Result<Vaddr, AllocError> {
        if range.size < PMD_SIZE {
            return self.alloc(range);
        }
        self.refuse(range)?;
        if range.gfp.has(__GFP_COMP) {
            return Err(AllocError::BadArgument);
        }
        self.alloc_for(range, Owner::Caller, EntrySize::Huge).or_else(|_| self.alloc(range))
    }

    /// `vfree`: takes the start of a caller's area, and NULL. It frees at once where it may sleep,
    /// and at the next tick in an interrupt (R4.13).
    pub(crate) fn vfree(&mut self, addr: Vaddr) -> Result<(), Refused> {
        if addr == Vaddr::NULL {
            return Ok(());
        }
        let area = self.callers_area(addr)?;
        match self.context() {
            Context::Task => self.free_area(area, RangeReuse::Lazily),
            Context::Softirq | Context::Hardirq => self.defer(area),
            Context::Atomic | Context::Nmi => return Err(Refused),
        }
        Ok(())
    }

    /// `vfree_atomic`: frees at the next tick, and so may be called in any context.
    pub(crate) fn vfree_atomic(&mut self, addr: Vaddr) -> Result<(), Refused> {
        if addr != Vaddr::NULL {
            let area = self.callers_area(addr)?;
            self.defer(area);
        }
        Ok(())
    }

    /// `vfree` of who may sleep, whoever calls.
    pub(crate) fn vfree_at_once(&mut self, addr: Vaddr) -> Result<(), Refused> {
        let area = self.callers_area(addr)?;
        self.free_area(area, RangeReuse::Lazily);
        Ok(())
    }

    /// Frees the deferred areas, the last one first, as the workqueue does (`delayed_vfree_work`).
    pub(crate) fn free_deferred(&mut self) {
        while self.deferred != VmapArea::NONE {
            let area = self.deferred;
            let memory = self.memory();
            self.deferred = VmStruct(area.vm(memory)).next_deferred(memory);
            self.nr_deferred_areas -= 1;
            self.free_area(area, RangeReuse::Lazily);
        }
    }

    fn defer(&mut self, area: VmapArea) {
        let (vm, next) = (VmStruct(area.vm(self.memory())), self.deferred);
        vm.defer(self.memory_mut(), next);
        self.deferred = area;
        self.nr_deferred_areas += 1;
    }

    /// The bytes that the holder of a caller's area may use: all but the guard page.
    pub(crate) fn usable(&self, addr: Vaddr) -> Result<u64, Refused> {
        let area = self.callers_area(addr)?;
        Ok(area.size(self.memory()) - PAGE_SIZE)
    }

    /// The bytes that were asked for of a caller's area; `None` if there is none.
    pub(crate) fn requested(&self, addr: Vaddr) -> Option<u64> {
        let area = self.callers_area(addr).ok()?;
        Some(VmStruct(area.vm(self.memory())).requested(self.memory()))
    }

    /// Takes note that a caller's area, if it is one, is to hold so many bytes from now on.
    pub(crate) fn set_requested(&mut self, addr: Vaddr, size: u64) {
        if let Ok(area) = self.callers_area(addr) {
            VmStruct(area.vm(self.memory())).set_requested(self.memory_mut(), size);
        }
    }

    /// The area that starts at `addr` and that a caller may free.
    fn callers_area(&self, addr: Vaddr) -> Result<VmapArea, Refused> {
        let memory = self.memory();
        let area = self.vmap.find_area(memory, addr).ok_or(Refused)?;
        let is_callers = VmStruct(area.vm(memory)).owner(memory) == Owner::Caller;
        if area.start(memory) == addr.0 && is_callers { Ok(area) } else { Err(Refused) }
    }

    /// Refuses what can never be served, with a word in the log (R4.2); returns the number of pages
    /// and what would be short if no hole fits.
    fn refuse(&mut self, range: &VmallocRange) -> Result<(u64, Shortage), AllocError> {
        let VmallocRange { size, align, start, end, gfp } = *range;
        let outside = start.0 < VMALLOC_START || end.0 > self.vmap.end().0;
        if !align.is_power_of_two() || start >= end || outside {
            return Err(AllocError::BadArgument);
        }
        // Whatever the flags say, page tables are taken with GFP_KERNEL and may sleep (R4.4), up to
        // late 2025; in an interrupt Linux stops at a BUG_ON (R4.2).
        if self.vmap.tables.may_sleep(gfp) || self.context().in_interrupt() {
            AllocError::check_caller(gfp | __GFP_DIRECT_RECLAIM, self.context())?;
        }
        AllocError::check_caller(gfp, self.context())?;
        if size == 0 {
            // Whatever the caller declines.
            self.others_mut().warn(gfp.without(__GFP_NOWARN));
            return Err(AllocError::never(gfp, Impossible::ZeroSize, AllocError::ZeroSize));
        }
        if size >> PAGE_SHIFT > u64::from(self.kmalloc.slab.pages.nr_managed_pages()) {
            return Err(self.others_mut().refuse_too_large(gfp));
        }
        let whole = start.0 == VMALLOC_START && end == self.vmap.end();
        let shortage = if whole { Shortage::VmallocSpace } else { Shortage::Range };
        if (pages_for(size) + 1) << PAGE_SHIFT > end.0 - start.0 {
            self.others_mut().warn(gfp);
            let short = AllocError::NoMemory(shortage);
            return Err(AllocError::never(gfp, Impossible::RangeTooSmall, short));
        }
        Ok((pages_for(size), shortage))
    }

    fn alloc_for(
        &mut self,
        range: &VmallocRange,
        owner: Owner,
        entry: EntrySize,
    ) -> Result<Vaddr, AllocError> {
        let (nr_pages, shortage) = self.refuse(range)?;
        let nr_pages = nr_pages.next_multiple_of(1 << entry.order());
        let reclaim = Gfp(range.gfp.0 & GFP_RECLAIM_MASK.0);
        let request = VmapRequest {
            size: (nr_pages + 1) << PAGE_SHIFT,
            align: range.align.max(entry.size()),
            start: range.start.0,
            end: range.end.0,
            gfp: reclaim,
            shortage,
        };
        let (vm, taken) = match self.take_area(&request) {
            Ok(both) => both,
            // The page allocator waits for pages without a word.
            Err(error @ AllocError::WouldBlock(Shortage::Pages { .. })) => return Err(error),
            Err(error) => {
                self.others_mut().warn(range.gfp);
                return Err(error);
            }
        };
        // From here on Linux is silent about failures (R4.3).
        match self.populate(taken, range.gfp | __GFP_NOWARN, entry) {
            Ok((area, pages)) => {
                let memory = self.memory_mut();
                area.set_vm(memory, vm.0);
                let words = [range.size, nr_pages, pages.0, owner as u64, 0, entry as u64];
                vm.init(memory, words);
                self.nr_internal_areas += u32::from(owner == Owner::PageArray);
                Ok(Vaddr(area.start(self.memory())))
            }
            Err(error) => {
                self.kmalloc.slab.free_internal(vm.0);
                Err(error)
            }
        }
    }

    /// Takes a descriptor and a range for it.
    fn take_area(&mut self, request: &VmapRequest) -> Result<(VmStruct, TakenRange), AllocError> {
        let slab = &mut self.kmalloc.slab;
        let vm = slab.alloc(slab.caches.vm_struct(), request.gfp)?;
        match self.vmap.alloc(slab, request) {
            Ok(taken) => Ok((VmStruct(vm), taken)),
            Err(error) => {
                slab.free_internal(vm);
                Err(error)
            }
        }
    }

    /// Fills a range with pages; returns the area and its page array, or hands the range back.
    fn populate(
        &mut self,
        taken: TakenRange,
        gfp: Gfp,
        entry: EntrySize,
    ) -> Result<(VmapArea, Vaddr), AllocError> {
        let area = taken.area;
        let nr_pages = (area.size(self.memory()) >> PAGE_SHIFT) - 1;
        let result = self.alloc_array(nr_pages, gfp).and_then(|array| {
            let filled = self.alloc_pages(array, nr_pages, gfp, entry);
            let mapped = filled.and_then(|()| self.map_pages(area, array, gfp, entry));
            if mapped.is_err() {
                self.free_array(array, nr_pages, RangeReuse::AtOnce);
            }
            mapped.map(|()| (area, array))
        });
        if result.is_err() {
            self.vmap.undo(&mut self.kmalloc.slab, &taken);
        }
        result
    }

    /// Takes memory for `nr_pages` page frame numbers: an object, or beyond a page an area of the
    /// allocator's own (R4.2).
    fn alloc_array(&mut self, nr_pages: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        let size = nr_pages * 8;
        let gfp = Gfp(gfp.0 & GFP_RECLAIM_MASK.0);
        if size > PAGE_SIZE {
            let range = self.anywhere(size, gfp);
            return self.alloc_for(&range, Owner::PageArray, EntrySize::Small);
        }
        let slab = &mut self.kmalloc.slab;
        slab.alloc(slab.caches.page_array(size), gfp).map(direct)
    }

    fn free_array(&mut self, array: Vaddr, nr_pages: u64, reuse: RangeReuse) {
        if nr_pages * 8 <= PAGE_SIZE {
            if let Some(at) = direct_phys(array) {
                self.kmalloc.slab.free_internal(at);
            }
        } else if let Some(area) = self.vmap.find_area(self.memory(), array) {
            self.free_area(area, reuse);
        }
    }

    /// Frees a busy area with all that belongs to it. Needs no memory.
    fn free_area(&mut self, area: VmapArea, reuse: RangeReuse) {
        let memory = self.memory();
        let (start, vm) = (area.start(memory), VmStruct(area.vm(memory)));
        let (nr_pages, array) = (vm.nr_pages(memory), vm.pages(memory));
        let (entry, end) = (vm.entry(memory), Vaddr(start + (nr_pages << PAGE_SHIFT)));
        self.nr_internal_areas -= u32::from(vm.owner(memory) == Owner::PageArray);
        self.unmap_pages(start, nr_pages);
        if entry == EntrySize::Small {
            self.vmap.tables.sub(&mut self.kmalloc.slab.pages.memory, Vaddr(start), end);
        }
        self.free_pages(array, nr_pages);
        self.free_array(array, nr_pages, reuse);
        self.kmalloc.slab.free_internal(vm.0);
        match reuse {
            RangeReuse::Lazily => self.vmap.free(&mut self.kmalloc.slab, area),
            RangeReuse::AtOnce => {
                let Vmalloc { kmalloc, vmap, .. } = self;
                vmap.tables.flush(&mut kmalloc.slab.pages.memory, Vaddr(start), end);
                vmap.tables.release_idle(&mut kmalloc.slab.pages, Vaddr(start), end);
                vmap.undo_area(&mut kmalloc.slab, area);
            }
        }
    }
}
