//! Invariants 8 to 13: the vmalloc address space, what its areas show, and its page tables.

use super::{Corruption, ensure, ensure_at};
use crate::frames::frame::FrameState;
use crate::kmalloc::direct_phys;
use crate::memory::Memory;
use crate::slab::cache_list::AREA_BYTES;
use crate::vmalloc::area_pages::Vmalloc;
use crate::vmalloc::page_table::PageTables;
use crate::vmalloc::vm_struct::{EntrySize, Owner, VmStruct};
use crate::vmalloc::vmap_tree::{VmapArea, VmapTree};
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};

/// A treap of a million nodes is deeper than this with a probability that does not matter.
const MAX_DEPTH: u32 = 128;

/// What a walk over a tree adds up, and how far it has come.
#[derive(Debug, Default)]
struct Walk {
    nr_nodes: u32,
    nr_pages: u64,
    last_end: u64,
}

/// A node on the way of a walk.
struct Visit {
    node: VmapArea,
    start: u64,
    end: u64,
    /// Where the range before it ends.
    last_end: u64,
}

/// What the busy areas add up to.
#[derive(Debug, Default)]
struct Owned {
    nr_pages: u64,
    nr_huge_pages: u64,
    nr_internal: u32,
    nr_deferred: u32,
}

impl<M: Memory> Vmalloc<M> {
    /// Checks invariants 8 to 13, given 1 to 7.
    pub(crate) fn check(&self) -> Result<(), Corruption> {
        let nowhere = Vaddr::NULL;
        let nr_nodes = self.check_trees()?;
        let vmap = &self.vmap;
        let mut owned = Owned::default();
        self.walk(vmap.free.root(), 0, &mut Walk::default(), &mut |visit| self.ensure_node(visit))?;
        self.walk(vmap.lazy.root(), 0, &mut Walk::default(), &mut |visit| {
            self.ensure_node(visit)?;
            self.ensure_apart(&vmap.free, visit.start, visit.end)
        })?;
        self.walk(vmap.busy.root(), 0, &mut Walk::default(), &mut |visit| {
            self.ensure_node(visit)?;
            self.ensure_apart(&vmap.free, visit.start, visit.end)?;
            self.ensure_apart(&vmap.lazy, visit.start, visit.end)?;
            self.check_area(visit.start, visit.end, &mut owned)
        })?;
        let same = owned.nr_internal == self.nr_internal_areas;
        ensure(same, 9, "the count of areas of page arrays is off", nowhere)?;
        self.check_deferred(&owned)?;
        let slab = &self.kmalloc.slab;
        let preloaded = vmap.preload.iter().filter(|node| **node != VmapArea::NONE);
        let sound = preloaded.clone().all(|node| self.is_node(*node));
        ensure(sound, 8, "a preloaded node is no node", nowhere)?;
        let (nr_live, _) = slab.caches.vmap_area().counts(&slab.pages.memory);
        let nr_nodes = nr_nodes + preloaded.count() as u32;
        ensure(nr_nodes == nr_live + 1, 8, "a node is on no tree, or on two", nowhere)?;
        let (nr_live, _) = slab.caches.vm_struct().counts(&slab.pages.memory);
        ensure(vmap.nr_areas == nr_live, 10, "a descriptor has no area", nowhere)?;
        let in_state = u64::from(slab.pages.nr_pages(FrameState::Vmalloc));
        ensure(owned.nr_pages == in_state, 10, "a vmalloc page is in no area", nowhere)?;
        self.check_tables(owned.nr_pages - owned.nr_huge_pages)
    }

    /// Invariant 13, given that every small area has a table wherever it is mapped.
    fn check_tables(&self, nr_small_pages: u64) -> Result<(), Corruption> {
        let (memory, pages) = (self.memory(), &self.kmalloc.slab.pages);
        let (mut nr_tables, mut nr_mapped) = (0, 0);
        for addr in self.vmap.tables.all() {
            let pmd = self.vmap.tables.pmd(memory, addr);
            let Some(table) = pmd.table else {
                ensure(pmd.nr_mapped == 0, 13, "pages are mapped without a table", addr)?;
                continue;
            };
            let is_table = table.0 < pages.map.nr_frames()
                && pages.map.frame(memory, table).state == FrameState::PageTable;
            ensure(is_table, 13, "a PMD's table is no page table", addr)?;
            nr_tables += 1;
            nr_mapped += u64::from(pmd.nr_mapped);
        }
        let nowhere = Vaddr::NULL;
        let same = nr_tables == pages.nr_pages(FrameState::PageTable);
        ensure(same, 13, "a page table belongs to no PMD", nowhere)?;
        ensure(nr_mapped == nr_small_pages, 13, "the counts of mapped pages are off", nowhere)
    }

    /// Checks the three trees by themselves, in time that grows with the ranges only: the order of
    /// the nodes, the largest range below each, and that together they cover the space. Returns
    /// the number of nodes.
    pub(crate) fn check_trees(&self) -> Result<u32, Corruption> {
        let nowhere = Vaddr::NULL;
        let vmap = &self.vmap;
        let (mut holes, mut busy, mut lazy) = (Walk::default(), Walk::default(), Walk::default());
        self.walk(vmap.free.root(), 0, &mut holes, &mut |&Visit { start, last_end, .. }| {
            ensure(start != last_end, 9, "two holes touch and are not merged", Vaddr(start))
        })?;
        self.walk(vmap.busy.root(), 0, &mut busy, &mut |_| Ok(()))?;
        self.walk(vmap.lazy.root(), 0, &mut lazy, &mut |_| Ok(()))?;
        let covered = holes.nr_pages + busy.nr_pages + lazy.nr_pages;
        let space = (vmap.end().0 - VMALLOC_START) >> PAGE_SHIFT;
        ensure(covered == space, 9, "holes and areas do not cover the space", nowhere)?;
        let same = busy.nr_pages == vmap.nr_area_pages && lazy.nr_pages == vmap.nr_lazy_pages;
        ensure(same, 9, "the counts of pages of areas are off", nowhere)?;
        ensure(busy.nr_nodes == vmap.nr_areas, 9, "the count of areas is off", nowhere)?;
        Ok(holes.nr_nodes + busy.nr_nodes + lazy.nr_nodes)
    }

    fn check_deferred(&self, owned: &Owned) -> Result<(), Corruption> {
        let memory = self.memory();
        let mut area = self.deferred;
        for _ in 0..self.nr_deferred_areas {
            let start = if self.is_node(area) { area.start(memory) } else { 0 };
            let is_busy = self.vmap.find_area(memory, Vaddr(start)) == Some(area);
            let vm = VmStruct(if is_busy { area.vm(memory) } else { Paddr(0) });
            let sound = is_busy && vm.owner(memory) == Owner::Deferred;
            ensure(sound, 12, "what is on the deferred list is no deferred area", Vaddr(start))?;
            area = vm.next_deferred(memory);
        }
        let same = area == VmapArea::NONE && owned.nr_deferred == self.nr_deferred_areas;
        ensure(same, 12, "the deferred areas are not those on the list", Vaddr::NULL)
    }

    fn is_node(&self, node: VmapArea) -> bool {
        let slab = &self.kmalloc.slab;
        node == self.vmap.first || slab.is_object_of(slab.caches.vmap_area(), node.0)
    }

    fn ensure_node(&self, visit: &Visit) -> Result<(), Corruption> {
        ensure_at(self.is_node(visit.node), 8, "a node of a tree is no live node", visit.node.0)
    }

    /// Visits a subtree in order; returns its largest range. It ends whatever the links are: a node
    /// met twice would start below the end of the last one, and a chain without end is too deep.
    fn walk(
        &self,
        node: VmapArea,
        depth: u32,
        walk: &mut Walk,
        visit: &mut dyn FnMut(&Visit) -> Result<(), Corruption>,
    ) -> Result<u64, Corruption> {
        if node == VmapArea::NONE {
            return Ok(0);
        }
        let memory = self.memory();
        let memory_end = u64::from(memory.nr_frames()) << PAGE_SHIFT;
        ensure_at(depth < MAX_DEPTH, 8, "a tree is too deep", node.0)?;
        let is_inside = node.0.0.is_multiple_of(AREA_BYTES) && node.0.0 < memory_end;
        ensure_at(is_inside, 8, "a node of a tree is no node", node.0)?;
        let below = self.walk(node.left(memory), depth + 1, walk, visit)?;
        let (start, end) = (node.start(memory), node.end(memory));
        let inside = VMALLOC_START <= start && start < end && end <= self.vmap.end().0;
        ensure_at(inside, 8, "a range is empty or outside the space", node.0)?;
        let aligned = (start | end) % PAGE_SIZE == 0;
        ensure_at(aligned && start >= walk.last_end, 8, "ranges overlap or are odd", node.0)?;
        visit(&Visit { node, start, end, last_end: walk.last_end })?;
        walk.last_end = end;
        walk.nr_nodes += 1;
        walk.nr_pages += (end - start) >> PAGE_SHIFT;
        let above = self.walk(node.right(memory), depth + 1, walk, visit)?;
        let largest = below.max(above).max(end - start);
        let same = node.largest(memory) == largest;
        ensure_at(same, 8, "a subtree's largest range is wrong", node.0)?;
        Ok(largest)
    }

    /// No range of a tree that was walked before overlaps `start..end`.
    fn ensure_apart(&self, tree: &VmapTree, start: u64, end: u64) -> Result<(), Corruption> {
        let memory = self.memory();
        let (below, above) = tree.around(memory, start);
        let apart = below.is_none_or(|node| node.end(memory) <= start)
            && above.is_none_or(|node| node.start(memory) >= end);
        ensure(apart, 9, "ranges of two trees overlap", Vaddr(start))
    }

    fn check_area(&self, start: u64, end: u64, owned: &mut Owned) -> Result<(), Corruption> {
        let (memory, slab) = (self.memory(), &self.kmalloc.slab);
        let addr = Vaddr(start);
        let Some(area) = self.vmap.find_area(memory, addr) else {
            return ensure(false, 8, "an area cannot be found", addr);
        };
        let vm = VmStruct(area.vm(memory));
        let sound = slab.is_object_of(slab.caches.vm_struct(), vm.0);
        ensure(sound, 10, "an area has no descriptor", addr)?;
        let nr_pages = vm.nr_pages(memory);
        let same = nr_pages == ((end - start) >> PAGE_SHIFT) - 1;
        ensure(same, 10, "an area and its descriptor disagree on the size", addr)?;
        let array = vm.pages(memory);
        ensure(self.is_array(array, nr_pages), 10, "an area has no page array", addr)?;
        for index in 0..nr_pages {
            self.check_page(Vaddr(start + (index << PAGE_SHIFT)), array, index)?;
        }
        let guard = memory.translate(Vaddr(end - PAGE_SIZE));
        ensure(guard.is_none(), 11, "a guard page is mapped", addr)?;
        owned.nr_pages += nr_pages;
        owned.nr_internal += u32::from(vm.owner(memory) == Owner::PageArray);
        owned.nr_deferred += u32::from(vm.owner(memory) == Owner::Deferred);
        if vm.entry(memory) == EntrySize::Huge {
            owned.nr_huge_pages += nr_pages;
            return self.check_huge(start, nr_pages);
        }
        for pmd in PageTables::starts(addr, Vaddr(end - PAGE_SIZE)) {
            let has_table = self.vmap.tables.pmd(memory, pmd).table.is_some();
            ensure(has_table, 13, "an area is mapped without a page table", addr)?;
        }
        Ok(())
    }

    /// A huge entry shows as many contiguous pages, at as large a multiple, and leaves no room for
    /// a table.
    fn check_huge(&self, start: u64, nr_pages: u64) -> Result<(), Corruption> {
        let memory = self.memory();
        let end = start + (nr_pages << PAGE_SHIFT);
        ensure((start | end).is_multiple_of(PMD_SIZE), 10, "a huge mapping is odd", Vaddr(start))?;
        for page in (start..end).step_by(PAGE_SIZE as usize).map(Vaddr) {
            let huge = Vaddr(page.0 & !(PMD_SIZE - 1));
            let shown = [huge, page].map(|page| memory.translate(page).map(Pfn::to_phys));
            let [Some(first), Some(own)] = shown else {
                return ensure(false, 10, "a page of a huge mapping is not mapped", page);
            };
            let fits =
                first.0.is_multiple_of(PMD_SIZE) && own.0.wrapping_sub(first.0) == page.0 - huge.0;
            ensure(fits, 10, "the pages of a huge mapping are not contiguous", page)?;
            let has_table = self.vmap.tables.pmd(memory, page).table.is_some();
            ensure(!has_table, 13, "a huge mapping has a page table", page)?;
        }
        Ok(())
    }

    /// Whether a page array of `nr_pages` entries starts at `array`.
    fn is_array(&self, array: Vaddr, nr_pages: u64) -> bool {
        let (memory, slab) = (self.memory(), &self.kmalloc.slab);
        let size = nr_pages * 8;
        if size <= PAGE_SIZE {
            let cache = slab.caches.page_array(size);
            return direct_phys(array).is_some_and(|at| slab.is_object_of(cache, at));
        }
        self.vmap.find_area(memory, array).is_some_and(|area| {
            let vm = VmStruct(area.vm(memory));
            area.start(memory) == array.0
                && area.size(memory) >= size + PAGE_SIZE
                && slab.is_object_of(slab.caches.vm_struct(), vm.0)
                && vm.owner(memory) == Owner::PageArray
        })
    }

    fn check_page(&self, page: Vaddr, array: Vaddr, index: u64) -> Result<(), Corruption> {
        let (memory, pages) = (self.memory(), &self.kmalloc.slab.pages);
        let shown = memory.translate(page);
        let named = self.slot(array, index).map(|slot| Pfn(memory.load(slot) as u32));
        ensure(shown == named, 10, "a page shows a frame that its array does not name", page)?;
        let Some(frame) = shown.filter(|frame| frame.0 < pages.map.nr_frames()) else {
            return ensure(false, 10, "a page of an area is not mapped", page);
        };
        let is_page = pages.map.frame(memory, frame).state == FrameState::Vmalloc;
        ensure(is_page, 10, "a page shows a frame that is not vmalloc's", page)?;
        let back = pages.map.private(memory, frame);
        ensure(back == page.0, 10, "a frame is shown at two pages", page)
    }
}

#[cfg(test)]
mod test {
    use crate::memory::Memory;
    use crate::test_memory::TestMemory;
    use crate::words::addr::{PAGE_SIZE, Pfn, Vaddr};
    use crate::{BootParams, Mm};

    #[test]
    fn a_damaged_mapping_is_found() {
        type Damage = fn(&mut TestMemory, Vaddr);
        let rows: [(Damage, u8); 3] = [
            (|memory, area| memory.unmap(area), 10),
            (|memory, area| memory.map(Vaddr(area.0 + 2 * PAGE_SIZE), Pfn(9)).unwrap(), 11),
            (
                |memory, area| {
                    let other = memory.translate(Vaddr(area.0 + PAGE_SIZE)).unwrap();
                    memory.unmap(area);
                    memory.map(area, other).unwrap();
                },
                10,
            ),
        ];
        for (damage, invariant) in rows {
            let mut mm = Mm::boot(TestMemory::new(256, 256), BootParams::default()).unwrap();
            let area = mm.vmalloc(2 * PAGE_SIZE).unwrap();
            mm.validate().unwrap();
            damage(mm.memory_mut(), area);
            assert_eq!(mm.validate().unwrap_err().invariant, invariant);
        }
    }

    #[test]
    fn a_stale_maximum_is_found_by_looking_at_the_trees_alone() {
        let mut mm = Mm::boot(TestMemory::new(256, 256), BootParams::default()).unwrap();
        mm.vmalloc(2 * PAGE_SIZE).unwrap();
        let vmalloc = &mut mm.kvmalloc.vmalloc;
        let hole = vmalloc.vmap.free.root();
        let (start, end) = (hole.start(vmalloc.memory()), hole.end(vmalloc.memory()));
        hole.set_range(&mut vmalloc.kmalloc.slab.pages.memory, start, end - PAGE_SIZE);
        assert_eq!(mm.validate_vmap().unwrap_err().invariant, 8);
        assert_eq!(mm.validate().unwrap_err().invariant, 8);
    }
}
