//! Page-table pages of the vmalloc space, and the flushes that its mappings cost.
//!
//! The entries for 2 MiB each, the PMDs, fit in one page, so the space is an array of words, one
//! for each PMD: its table, if it has one, and how many pages are mapped through it. A PMD gets its
//! table when the first page is mapped there (R4.4); a huge mapping fills one without a table
//! (R4.12).
//!
//! Linux keeps a table for ever; here a shrink gives those back that map nothing. The entries
//! themselves are the machine's: what a table's page holds is not looked at.

use crate::frames::frame::FrameState;
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::words::addr::{PAGE_SHIFT, PMD_SHIFT, PMD_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
use crate::words::error::{AllocError, Shortage};
use crate::words::gfp::{__GFP_FS, __GFP_IO, __GFP_NOFAIL, __GFP_THISNODE, GFP_KERNEL, Gfp};

/// Flags with which a page table is allocated: always `GFP_KERNEL`, less what the scope masks that
/// vmalloc opens around it (R4.2, R4.4). The scope follows from two of the caller's flags:
///
/// | `__GFP_FS` | `__GFP_IO` | scope | e.g. |
/// |---|---|---|---|
/// | yes | either | none | `GFP_KERNEL` |
/// | no | yes | NOFS | `GFP_NOFS` |
/// | no | no | NOIO | `GFP_NOIO`, and `GFP_ATOMIC`, whose caller may not sleep at all |
pub(crate) const fn page_table_gfp(gfp: Gfp) -> Gfp {
    let always = GFP_KERNEL;
    if gfp.has(__GFP_FS) {
        always
    } else if gfp.has(__GFP_IO) {
        always.without(__GFP_FS)
    } else {
        always.without(Gfp(__GFP_IO.0 | __GFP_FS.0))
    }
}

/// What a PMD's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pmd {
    /// Its table.
    pub(crate) table: Option<Pfn>,
    /// The pages that are mapped through the table.
    pub(crate) nr_mapped: u32,
}

/// The PMDs of the vmalloc space.
///
/// # Invariants
/// 13. A PMD in which a page is mapped by itself has a table; it counts those pages, and its
///     page is in the page-table state. Every page in that state is some PMD's table.
#[derive(Debug)]
pub(crate) struct PageTables {
    pmds: Paddr,
    end: Vaddr,
    /// Whether a caller that may not sleep gets its tables without sleep, as since late 2025
    /// (R4.15).
    pub(crate) spares_sleep: bool,
    /// Flushes of cached translations since boot.
    pub(crate) nr_flushes: u64,
}

impl PageTables {
    /// The bytes of the PMDs' words for a space of so many pages.
    pub(crate) const fn bytes_for(nr_vmalloc_pages: u64) -> u64 {
        (nr_vmalloc_pages << PAGE_SHIFT).div_ceil(PMD_SIZE) * 8
    }

    /// A space in which nothing is mapped; the words are carved memory at `pmds`.
    pub(crate) fn boot<M: Memory>(memory: &mut M, pmds: Paddr) -> Self {
        let nr_pages = memory.nr_vmalloc_pages();
        memory.zero(pmds, Self::bytes_for(nr_pages));
        let end = Vaddr(VMALLOC_START + (nr_pages << PAGE_SHIFT));
        Self { pmds, end, spares_sleep: false, nr_flushes: 0 }
    }

    /// Whether mapping sleeps for this request, whatever its flags say.
    pub(crate) fn may_sleep(&self, gfp: Gfp) -> bool {
        gfp.may_block() || !self.spares_sleep
    }

    fn gfp(&self, gfp: Gfp) -> Gfp {
        if self.may_sleep(gfp) { page_table_gfp(gfp) } else { gfp.without(__GFP_THISNODE) }
    }

    /// The start of every PMD that meets `start..end`.
    pub(crate) fn starts(start: Vaddr, end: Vaddr) -> impl Iterator<Item = Vaddr> {
        (start.0 >> PMD_SHIFT..end.0.div_ceil(PMD_SIZE)).map(|pmd| Vaddr(pmd << PMD_SHIFT))
    }

    /// The start of every PMD of the space.
    pub(crate) fn all(&self) -> impl Iterator<Item = Vaddr> {
        Self::starts(Vaddr(VMALLOC_START), self.end)
    }

    const fn word(&self, addr: Vaddr) -> Paddr {
        Paddr(self.pmds.0 + ((addr.0 - VMALLOC_START) >> PMD_SHIFT) * 8)
    }

    /// What is known of the PMD around an address.
    pub(crate) fn pmd<M: Memory>(&self, memory: &M, addr: Vaddr) -> Pmd {
        let word = memory.load(self.word(addr));
        let table = (word as u32).checked_sub(1).map(Pfn);
        Pmd { table, nr_mapped: (word >> 32) as u32 }
    }

    fn set_pmd<M: Memory>(&self, memory: &mut M, addr: Vaddr, pmd: Pmd) {
        let table = pmd.table.map_or(0, |pfn| pfn.0 + 1);
        memory.store(self.word(addr), u64::from(table) | u64::from(pmd.nr_mapped) << 32);
    }

    /// Makes sure that every PMD of `start..end` has a table.
    ///
    /// # Errors
    /// There is no page for one. A request that must not fail waits: for its mapping, since the
    /// tables are not asked for with its flags (R4.2).
    pub(crate) fn populate<M: Memory>(
        &mut self,
        pages: &mut PageAllocator<M>,
        start: Vaddr,
        end: Vaddr,
        gfp: Gfp,
    ) -> Result<(), AllocError> {
        for addr in Self::starts(start, end) {
            let pmd = self.pmd(&pages.memory, addr);
            if pmd.table.is_some() {
                continue;
            }
            match pages.alloc_block(self.gfp(gfp), 0, FrameState::PageTable) {
                Ok(pfn) => {
                    let pmd = Pmd { table: Some(pfn), ..pmd };
                    self.set_pmd(&mut pages.memory, addr, pmd);
                    // Who waits to map something here needs a page less now.
                    pages.release_epoch += 1;
                }
                Err(error) => {
                    self.release_idle(pages, start, addr);
                    let waits = gfp.has(__GFP_NOFAIL);
                    return Err(if waits { Shortage::Mapping.under(gfp) } else { error });
                }
            }
        }
        Ok(())
    }

    /// Counts the pages of `start..end` as mapped, one by one, by tables that are there.
    pub(crate) fn add<M: Memory>(&self, memory: &mut M, start: Vaddr, end: Vaddr) {
        self.count(memory, start, end, u32::wrapping_add);
    }

    /// Takes back what [`Self::add`] counted.
    pub(crate) fn sub<M: Memory>(&self, memory: &mut M, start: Vaddr, end: Vaddr) {
        self.count(memory, start, end, u32::wrapping_sub);
    }

    fn count<M: Memory>(&self, memory: &mut M, start: Vaddr, end: Vaddr, by: fn(u32, u32) -> u32) {
        for addr in Self::starts(start, end) {
            let mut pmd = self.pmd(memory, addr);
            let inside = end.0.min(addr.0.saturating_add(PMD_SIZE)) - start.0.max(addr.0);
            pmd.nr_mapped = by(pmd.nr_mapped, (inside >> PAGE_SHIFT) as u32);
            self.set_pmd(memory, addr, pmd);
        }
    }

    /// Gives back the tables of `start..end` that map nothing; returns how many. Their addresses
    /// may still be cached, so they are flushed (`pmd_free_pte_page`).
    pub(crate) fn release_idle<M: Memory>(
        &mut self,
        pages: &mut PageAllocator<M>,
        start: Vaddr,
        end: Vaddr,
    ) -> u32 {
        let mut nr_released = 0;
        for addr in Self::starts(start, end) {
            let pmd = self.pmd(&pages.memory, addr);
            if let (Some(table), 0) = (pmd.table, pmd.nr_mapped) {
                let empty = Pmd { table: None, nr_mapped: 0 };
                self.set_pmd(&mut pages.memory, addr, empty);
                pages.free_block(table);
                nr_released += 1;
            }
        }
        if nr_released > 0 {
            self.flush(&mut pages.memory, start, end);
        }
        nr_released
    }

    /// [`Self::release_idle`] everywhere.
    pub(crate) fn shrink<M: Memory>(&mut self, pages: &mut PageAllocator<M>) -> u32 {
        self.release_idle(pages, Vaddr(VMALLOC_START), self.end)
    }

    /// Has the machine forget cached translations of a range.
    pub(crate) fn flush<M: Memory>(&mut self, memory: &mut M, start: Vaddr, end: Vaddr) {
        self.nr_flushes += 1;
        memory.flush(start, end);
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::pages::allocator::test::boot;
    use crate::words::addr::PAGE_SIZE;
    use crate::words::gfp::{GFP_ATOMIC, GFP_NOFS, GFP_NOIO};

    #[test]
    fn a_table_is_allocated_in_the_scope_of_its_caller() {
        for (gfp, expect) in [
            (GFP_KERNEL, GFP_KERNEL),
            (GFP_NOFS, GFP_NOFS),
            (GFP_NOIO, GFP_NOIO),
            (GFP_ATOMIC, GFP_NOIO),
            (GFP_KERNEL.without(__GFP_IO), GFP_KERNEL),
            (GFP_KERNEL | __GFP_NOFAIL, GFP_KERNEL),
        ] {
            assert_eq!(page_table_gfp(gfp), expect, "{gfp:x?}");
        }
    }

    #[test]
    fn a_table_is_kept_while_it_maps_and_given_back_when_it_does_not() {
        let mut pages = boot(64, 0, 0);
        pages.memory.set_nr_vmalloc_pages(1024 + 1);
        let words = pages.alloc_pages(GFP_KERNEL, 0).unwrap().to_phys();
        let mut tables = PageTables::boot(&mut pages.memory, words);
        let before = pages.nr_free_pages();
        // The last page of the first PMD, all of the second and the only one of the third.
        let at = |page: u64| Vaddr(VMALLOC_START + page * PAGE_SIZE);
        let (start, end) = (at(511), at(1025));
        tables.populate(&mut pages, start, end, GFP_KERNEL).unwrap();
        tables.add(&mut pages.memory, start, end);
        let counts: [u32; 3] =
            [511, 512, 1024].map(|page| tables.pmd(&pages.memory, at(page)).nr_mapped);
        assert_eq!((counts, pages.nr_free_pages()), ([1, 512, 1], before - 3));
        tables.sub(&mut pages.memory, at(512), end);
        assert_eq!(tables.shrink(&mut pages), 2);
        tables.sub(&mut pages.memory, start, at(512));
        assert_eq!((tables.shrink(&mut pages), tables.nr_flushes), (1, 2));
        assert_eq!(pages.nr_free_pages(), before);
    }

    #[test]
    fn without_a_page_for_one_table_the_others_go_back() {
        let mut pages = boot(64, 0, 0);
        pages.memory.set_nr_vmalloc_pages(1024);
        let words = pages.alloc_pages(GFP_KERNEL, 0).unwrap().to_phys();
        let mut tables = PageTables::boot(&mut pages.memory, words);
        while pages.nr_free_pages() > 1 {
            pages.alloc_pages(GFP_KERNEL, 0).unwrap();
        }
        let end = Vaddr(VMALLOC_START + 2 * PMD_SIZE);
        let rows = [
            (GFP_KERNEL, AllocError::Deadlock { order: 0 }),
            (GFP_KERNEL | __GFP_NOFAIL, AllocError::WouldBlock(Shortage::Mapping)),
        ];
        for (gfp, expect) in rows {
            let result = tables.populate(&mut pages, Vaddr(VMALLOC_START), end, gfp);
            assert_eq!((result, pages.nr_free_pages()), (Err(expect), 1));
        }
    }
}
