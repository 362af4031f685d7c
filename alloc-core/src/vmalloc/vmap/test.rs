//! The address space by itself: thousands of ranges are taken and given back, and each lies where
//! R4.7 says, worked out here from a list of holes.

extern crate std;

use super::*;
use crate::test_memory::TestRandom;
use crate::words::gfp::GFP_KERNEL;
use std::collections::BTreeMap;
use std::vec::Vec;

const NR_PAGES: u64 = 400;

/// Where R4.7 says that a range may be taken, given the holes as start and end: the lowest
/// place that fits, and the one in the lowest hole that is as long as the alignment may need.
fn expect(holes: &BTreeMap<u64, u64>, request: &VmapRequest) -> (Option<u64>, Option<u64>) {
    let VmapRequest { size, align, start, end, .. } = *request;
    let slack = if align > PAGE_SIZE && end - start != size { align - 1 } else { 0 };
    let lowest = |length: u64| {
        let place = |from: u64| from.max(start).next_multiple_of(align);
        let fits =
            |(from, to): &(&u64, &u64)| *to - *from >= length && place(**from) + size <= **to;
        let at = holes.iter().find(fits).map(|(from, _)| place(*from))?;
        (at + size <= end).then_some(at)
    };
    (lowest(size), lowest(size + slack))
}

#[test]
fn more_cpus_let_more_wait_for_a_purge() {
    let large = [1, 2, 3, 4, 7, 8].map(|nr_cpus| lazy_max_pages(1 << 33, nr_cpus));
    assert_eq!(large, [8192, 16384, 16384, 24576, 24576, 32768]);
    assert_eq!([1, 8].map(|nr_cpus| lazy_max_pages(64, nr_cpus)), [8, 32]);
    assert_eq!(lazy_max_pages(65536, 4), 24576);
}

#[test]
fn ranges_are_taken_where_the_rules_say() {
    let mut slab = crate::slab::objects::test::boot(512);
    slab.pages.memory.set_nr_vmalloc_pages(NR_PAGES);
    let mut page = || slab.pages.alloc_pages(GFP_KERNEL, 0).unwrap().to_phys();
    let [node, tables] = [(); 2].map(|()| page());
    let tables = PageTables::boot(&mut slab.pages.memory, tables);
    let mut space = VmapSpace::boot(&mut slab.pages.memory, node, tables, 1);
    let mut used: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut live, mut random) = (Vec::new(), TestRandom(11));
    let (mut nr_passed_over, mut nr_found_by_chance) = (0, 0);
    for _ in 0..4000 {
        let holes = {
            let (mut holes, mut from) = (BTreeMap::new(), VMALLOC_START);
            for (&start, &end) in used.iter().chain([(&space.end, &space.end)]) {
                if from < start {
                    holes.insert(from, start);
                }
                from = end;
            }
            holes
        };
        if random.below(9) < 5 {
            let start = VMALLOC_START + random.below(NR_PAGES / 2) * PAGE_SIZE;
            let end = start + (1 + random.below(NR_PAGES / 2)) * PAGE_SIZE;
            let size = (1 + random.below(9)) * PAGE_SIZE;
            let align = PAGE_SIZE << random.below(4);
            let shortage = Shortage::Range;
            let request = VmapRequest { size, align, start, end, gfp: GFP_KERNEL, shortage };
            let taken = space.alloc(&mut slab, &request).ok();
            let actual = taken.map(|taken| taken.area.start(&slab.pages.memory));
            let (lowest, sure) = expect(&holes, &request);
            assert!(actual.is_none_or(|at| lowest.is_some_and(|low| low <= at)));
            assert!(sure.is_none_or(|sure| actual.is_some_and(|at| at <= sure)));
            nr_passed_over += u32::from(actual != lowest);
            nr_found_by_chance += u32::from(actual != sure);
            if let Some(taken) = taken {
                let start = taken.area.start(&slab.pages.memory);
                used.insert(start, start + size);
                live.push(taken.area);
            }
        } else if !live.is_empty() {
            let area = live.swap_remove(random.below(live.len() as u64) as usize);
            used.remove(&area.start(&slab.pages.memory));
            space.free(&mut slab, area);
            space.purge(&mut slab);
        }
        assert_eq!(space.nr_areas as usize, live.len());
    }
    // Both must happen: a short hole is no more passed over always than it is looked at always.
    assert!(nr_passed_over > 10 && nr_found_by_chance > 10);
    live.drain(..).for_each(|area| space.free(&mut slab, area));
    space.purge(&mut slab);
    space.drop_preload(&mut slab);
    assert_eq!(space.free.root(), space.first);
    assert_eq!(space.free.root().largest(&slab.pages.memory), NR_PAGES * PAGE_SIZE);
    assert_eq!(slab.nr_live, [0; 3]);
}
