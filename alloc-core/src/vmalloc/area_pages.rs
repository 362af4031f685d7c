//! The pages of a vmalloc area: taken one by one or in huge blocks, mapped, unmapped, given back.
//!
//! A page array says which frame each page of an area shows, so what was taken can be given back
//! whether or not it was ever mapped. What fails halfway takes its own work back.
//!
//! When an area is made and freed, and whose it is, is in `areas`.

use crate::frames::frame::FrameState;
use crate::kmalloc::{Kmalloc, direct_phys};
use crate::memory::Memory;
use crate::pages::others::Others;
use crate::vmalloc::vm_struct::EntrySize;
use crate::vmalloc::vmap::VmapSpace;
use crate::vmalloc::vmap_tree::VmapArea;
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, Vaddr};
use crate::words::error::{AllocError, Shortage};
use crate::words::gfp::{__GFP_DIRECT_RECLAIM, __GFP_NOFAIL, Gfp};
use crate::words::task::Context;

/// Pages that are asked for at once (`vm_area_alloc_pages`).
const NR_BATCH: u64 = 100;

/// vmalloc, which owns kmalloc and the address space.
///
/// # Invariants
/// 10. Every page of a busy area is mapped to the frame that the page array names; that frame is
///     in the vmalloc state and names the page in turn, so no frame is mapped twice.
/// 11. The guard page of an area is not mapped.
/// 12. The deferred areas are those on the deferred list, and their number equals a recount.
#[derive(Debug)]
pub(crate) struct Vmalloc<M> {
    pub(crate) kmalloc: Kmalloc<M>,
    pub(crate) vmap: VmapSpace,
    pub(crate) nr_internal_areas: u32,
    pub(crate) nr_deferred_areas: u32,
    /// The area deferred last.
    pub(crate) deferred: VmapArea,
}

impl<M: Memory> Vmalloc<M> {
    /// vmalloc of a machine where no area exists.
    pub(crate) const fn boot(kmalloc: Kmalloc<M>, vmap: VmapSpace) -> Self {
        let deferred = VmapArea::NONE;
        Self { kmalloc, vmap, nr_internal_areas: 0, nr_deferred_areas: 0, deferred }
    }

    /// The context of the caller.
    pub(crate) const fn context(&self) -> Context {
        self.kmalloc.slab.pages.current.context
    }

    pub(crate) const fn memory(&self) -> &M {
        &self.kmalloc.slab.pages.memory
    }

    pub(crate) const fn memory_mut(&mut self) -> &mut M {
        &mut self.kmalloc.slab.pages.memory
    }

    pub(crate) const fn others_mut(&mut self) -> &mut Others {
        &mut self.kmalloc.slab.pages.others
    }

    /// Where element `index` of a page array is.
    pub(crate) fn slot(&self, array: Vaddr, index: u64) -> Option<Paddr> {
        self.phys(Vaddr(array.0 + index * 8))
    }

    /// The physical address behind an address of the direct map or of a mapped page.
    pub(crate) fn phys(&self, addr: Vaddr) -> Option<Paddr> {
        if !self.vmap.contains(addr) {
            return direct_phys(addr);
        }
        let inside = addr.0 % PAGE_SIZE;
        let frame = self.memory().translate(Vaddr(addr.0 - inside))?;
        Some(Paddr(frame.to_phys().0 + inside))
    }

    /// The page frame number in element `index` of a page array.
    fn page(&self, array: Vaddr, index: u64) -> Option<Pfn> {
        self.slot(array, index).map(|slot| Pfn(self.memory().load(slot) as u32))
    }

    /// Takes the pages in blocks of what one entry maps: small ones lie wherever single pages are
    /// free. For a block of a huge page no one waits (R4.2), and it is split, so that all pages are
    /// alike from here on.
    pub(crate) fn alloc_pages(
        &mut self,
        array: Vaddr,
        nr: u64,
        gfp: Gfp,
        entry: EntrySize,
    ) -> Result<(), AllocError> {
        let order = entry.order();
        let gfp = if order == 0 { gfp } else { gfp.without(__GFP_NOFAIL) };
        let gives_up = self.kmalloc.slab.pages.current.is_killed && !gfp.has(__GFP_NOFAIL);
        for index in (0..nr).step_by(1 << order) {
            // Pages are taken by the hundred, without an effort unless it is for one alone; and
            // after that no more for a task that is being killed (R3.12).
            let is_alone = index % NR_BATCH == 0 && index + 1 == nr;
            let gfp = if gives_up && !is_alone { gfp.without(__GFP_DIRECT_RECLAIM) } else { gfp };
            let pages = &mut self.kmalloc.slab.pages;
            match pages.alloc_block(gfp, order, FrameState::Vmalloc) {
                Ok(first) => {
                    if order > 0 {
                        pages.split_page(first, order);
                    }
                    for inside in 0..1 << order {
                        if let Some(slot) = self.slot(array, index + inside) {
                            self.memory_mut().store(slot, u64::from(first.0) + inside);
                        }
                    }
                }
                Err(error) => {
                    self.free_pages(array, index);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives the first `nr` pages of a page array back, but for those that somebody else has a
    /// reference to.
    pub(crate) fn free_pages(&mut self, array: Vaddr, nr: u64) {
        for index in 0..nr {
            if let Some(pfn) = self.page(array, index) {
                self.kmalloc.slab.pages.put_block(pfn);
            }
        }
    }

    /// Maps all pages of an area, or frees them.
    pub(crate) fn map_pages(
        &mut self,
        area: VmapArea,
        array: Vaddr,
        gfp: Gfp,
        entry: EntrySize,
    ) -> Result<(), AllocError> {
        let memory = self.memory();
        let (start, end) = (Vaddr(area.start(memory)), Vaddr(area.end(memory) - PAGE_SIZE));
        let nr = (end.0 - start.0) >> PAGE_SHIFT;
        let Vmalloc { kmalloc, vmap, .. } = self;
        let pages = &mut kmalloc.slab.pages;
        let tables = match entry {
            EntrySize::Small => vmap.tables.populate(pages, start, end, gfp),
            EntrySize::Huge => {
                // What a table mapped here before is gone, and a huge entry takes its place.
                vmap.tables.release_idle(pages, start, end);
                Ok(())
            }
        };
        if let Err(error) = tables {
            self.free_pages(array, nr);
            return Err(error);
        }
        for index in 0..nr {
            let page = Vaddr(start.0 + (index << PAGE_SHIFT));
            let Some(pfn) = self.page(array, index) else { continue };
            let pages = &mut self.kmalloc.slab.pages;
            if pages.memory.map(page, pfn).is_err() {
                self.unmap_pages(start.0, index);
                let Vmalloc { kmalloc, vmap, .. } = self;
                let pages = &mut kmalloc.slab.pages;
                if index > 0 {
                    // The range is reusable at once, not after the next purge.
                    vmap.tables.flush(&mut pages.memory, start, page);
                }
                vmap.tables.release_idle(pages, start, end);
                self.free_pages(array, nr);
                return Err(Shortage::Mapping.under(gfp));
            }
            pages.map.set_private(&mut pages.memory, pfn, page.0);
        }
        if entry == EntrySize::Small {
            self.vmap.tables.add(&mut self.kmalloc.slab.pages.memory, start, end);
        }
        Ok(())
    }

    /// Takes the mappings of the first `nr` pages from `start` on away.
    pub(crate) fn unmap_pages(&mut self, start: u64, nr: u64) {
        for index in 0..nr {
            self.memory_mut().unmap(Vaddr(start + (index << PAGE_SHIFT)));
        }
    }
}
