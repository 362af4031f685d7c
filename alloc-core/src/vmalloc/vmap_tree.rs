//! A balanced tree of ranges of the vmalloc space, whose nodes lie in managed memory.
//!
//! The one idea: a treap. A node's priority is a hash of its own address, so the tree needs no
//! balance field, no parent links and no state besides the root, and its depth is logarithmic
//! whatever the order of calls. Each node also knows the largest range in its subtree, which makes
//! the search for the lowest fitting hole logarithmic (R4.7).
//!
//! ```text
//!                       40..56   largest 24
//!                      /                   \
//!        8..16   largest 8                   96..120  largest 24
//!                     \                      /
//!                 20..24  largest 4      64..80   largest 16
//! ```
//!
//! From left to right the ranges are in order; from top to bottom the priorities fall. A search for
//! 12 passes over the left half, since its topmost node says that no range there is longer than 8,
//! and finds 40..56; one for 20 also passes over 64..80, and finds 96..120.
//!
//! A node is inserted where the priorities leave off being higher than its own: the subtree there
//! is split into what lies below it and above it, which become its children. To remove a node, its
//! two children are merged into one subtree, the higher priority on top at each step.
//!
//! The tree allocates nothing: whoever inserts a node brings it. Ranges of one tree never overlap.

use crate::memory::Memory;
use crate::words::addr::Paddr;

/// A node (Linux's `struct vmap_area`): an object of eight words. Its words are: start, end, left,
/// right, largest size in the subtree, and the descriptor that the area's owner keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VmapArea(pub(crate) Paddr);

impl VmapArea {
    /// No node.
    pub(crate) const NONE: Self = Self(Paddr(0));

    fn load<M: Memory>(self, m: &M, index: u64) -> u64 {
        m.load(Paddr(self.0.0 + index * 8))
    }

    fn store<M: Memory>(self, m: &mut M, index: u64, word: u64) {
        m.store(Paddr(self.0.0 + index * 8), word);
    }

    /// The first address of the range.
    pub(crate) fn start<M: Memory>(self, m: &M) -> u64 {
        self.load(m, 0)
    }

    /// The address behind the range.
    pub(crate) fn end<M: Memory>(self, m: &M) -> u64 {
        self.load(m, 1)
    }

    /// The bytes of the range.
    pub(crate) fn size<M: Memory>(self, m: &M) -> u64 {
        self.end(m) - self.start(m)
    }

    /// Writes the range. On a tree, the order of the nodes must stay.
    pub(crate) fn set_range<M: Memory>(self, m: &mut M, start: u64, end: u64) {
        self.store(m, 0, start);
        self.store(m, 1, end);
    }

    /// The subtree of lower ranges.
    pub(crate) fn left<M: Memory>(self, m: &M) -> Self {
        Self(Paddr(self.load(m, 2)))
    }

    /// The subtree of higher ranges.
    pub(crate) fn right<M: Memory>(self, m: &M) -> Self {
        Self(Paddr(self.load(m, 3)))
    }

    fn set_left<M: Memory>(self, m: &mut M, child: Self) {
        self.store(m, 2, child.0.0);
    }

    fn set_right<M: Memory>(self, m: &mut M, child: Self) {
        self.store(m, 3, child.0.0);
    }

    /// The size of the largest range in the subtree; 0 for none.
    pub(crate) fn largest<M: Memory>(self, m: &M) -> u64 {
        if self == Self::NONE { 0 } else { self.load(m, 4) }
    }

    /// The descriptor that the owner of a busy area keeps.
    pub(crate) fn vm<M: Memory>(self, m: &M) -> Paddr {
        Paddr(self.load(m, 5))
    }

    /// Writes the owner's descriptor.
    pub(crate) fn set_vm<M: Memory>(self, m: &mut M, vm: Paddr) {
        self.store(m, 5, vm.0);
    }

    /// What [`Self::largest`] must be, from the node and its children.
    pub(crate) fn compute_largest<M: Memory>(self, m: &M) -> u64 {
        let below = self.left(m).largest(m).max(self.right(m).largest(m));
        self.size(m).max(below)
    }

    fn update<M: Memory>(self, m: &mut M) {
        let largest = self.compute_largest(m);
        if largest != self.largest(m) {
            self.store(m, 4, largest);
        }
    }

    /// The hash of the node's address that stands for a random priority (a 64-bit finalizer).
    pub(crate) const fn priority(self) -> u64 {
        let mut word = self.0.0 >> 3;
        word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        word ^ word >> 33
    }
}

/// What a search wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Search {
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes that a hole needs to fit wherever it starts: a subtree without such a hole is passed
    /// over, whatever a shorter one in it might hold by chance.
    pub(crate) length: u64,
    /// A power of two.
    pub(crate) align: u64,
    /// The lowest address to use.
    pub(crate) vstart: u64,
    /// The range must end at or below this address.
    pub(crate) vend: u64,
}

impl Search {
    /// Where the range would start in `node`, wherever it then ends (`is_within_this_va`).
    fn place<M: Memory>(&self, m: &M, node: VmapArea) -> Option<u64> {
        let start = node.start(m).max(self.vstart).checked_next_multiple_of(self.align)?;
        (start.checked_add(self.size)? <= node.end(m)).then_some(start)
    }

    /// Whether a hole in this subtree fits, wherever it starts.
    fn is_below<M: Memory>(&self, m: &M, node: VmapArea) -> bool {
        node.largest(m) >= self.length
    }
}

/// A tree of disjoint ranges.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmapTree {
    root: VmapArea,
}

impl VmapTree {
    /// A tree without nodes.
    pub(crate) const EMPTY: Self = Self { root: VmapArea::NONE };

    /// The root, for walks.
    pub(crate) const fn root(&self) -> VmapArea {
        self.root
    }

    /// Adds a node, whose range is set.
    pub(crate) fn insert<M: Memory>(&mut self, m: &mut M, node: VmapArea) {
        let (start, size) = (node.start(m), node.size(m));
        let (mut parent, mut at) = (VmapArea::NONE, self.root);
        while at != VmapArea::NONE && at.priority() >= node.priority() {
            if at.largest(m) < size {
                at.store(m, 4, size);
            }
            parent = at;
            at = if start < at.start(m) { at.left(m) } else { at.right(m) };
        }
        let (low, high) = split(m, at, start);
        node.set_left(m, low);
        node.set_right(m, high);
        // What the word held before is not a size; compute and write it.
        let largest = node.compute_largest(m);
        node.store(m, 4, largest);
        if parent == VmapArea::NONE {
            self.root = node;
        } else if start < parent.start(m) {
            parent.set_left(m, node);
        } else {
            parent.set_right(m, node);
        }
    }

    /// Takes a node off the tree.
    pub(crate) fn remove<M: Memory>(&mut self, m: &mut M, node: VmapArea) {
        let key = node.start(m);
        self.root = remove(m, self.root, node, key);
    }

    /// Repairs the subtree sizes after the range of `node` has changed in place.
    pub(crate) fn refresh<M: Memory>(&self, m: &mut M, node: VmapArea) {
        let key = node.start(m);
        refresh(m, self.root, node, key);
    }

    /// The node whose range contains an address.
    pub(crate) fn find<M: Memory>(&self, m: &M, addr: u64) -> Option<VmapArea> {
        let mut at = self.root;
        while at != VmapArea::NONE {
            if addr < at.start(m) {
                at = at.left(m);
            } else if addr >= at.end(m) {
                at = at.right(m);
            } else {
                return Some(at);
            }
        }
        None
    }

    /// The last node that starts below `addr`, and the first that starts at or above it.
    pub(crate) fn around<M: Memory>(
        &self,
        m: &M,
        addr: u64,
    ) -> (Option<VmapArea>, Option<VmapArea>) {
        let (mut below, mut above, mut at) = (None, None, self.root);
        while at != VmapArea::NONE {
            if at.start(m) < addr {
                below = Some(at);
                at = at.right(m);
            } else {
                above = Some(at);
                at = at.left(m);
            }
        }
        (below, above)
    }

    /// The first range on the way that fits, and where in it; if that place leaves the range that
    /// may be used, there is none (R4.7).
    ///
    /// With an alignment above a page that need not be the lowest that fits: a hole shorter than
    /// [`Search::length`] is only looked at if it lies on the way to one that is not, or is the
    /// root.
    pub(crate) fn lowest_fit<M: Memory>(&self, m: &M, search: &Search) -> Option<(VmapArea, u64)> {
        if self.root == VmapArea::NONE {
            return None;
        }
        lowest_fit(m, self.root, search).filter(|(_, start)| start + search.size <= search.vend)
    }
}

/// Splits a subtree into the nodes that start below `key` and the others.
fn split<M: Memory>(m: &mut M, node: VmapArea, key: u64) -> (VmapArea, VmapArea) {
    if node == VmapArea::NONE {
        return (node, node);
    }
    if node.start(m) < key {
        let right = node.right(m);
        let (low, high) = split(m, right, key);
        node.set_right(m, low);
        node.update(m);
        (node, high)
    } else {
        let left = node.left(m);
        let (low, high) = split(m, left, key);
        node.set_left(m, high);
        node.update(m);
        (low, node)
    }
}

/// Joins two subtrees, all of whose nodes are in this order.
fn merge<M: Memory>(m: &mut M, low: VmapArea, high: VmapArea) -> VmapArea {
    if low == VmapArea::NONE {
        return high;
    }
    if high == VmapArea::NONE {
        return low;
    }
    if low.priority() >= high.priority() {
        let right = low.right(m);
        let right = merge(m, right, high);
        low.set_right(m, right);
        low.update(m);
        low
    } else {
        let left = high.left(m);
        let left = merge(m, low, left);
        high.set_left(m, left);
        high.update(m);
        high
    }
}

fn remove<M: Memory>(m: &mut M, at: VmapArea, node: VmapArea, key: u64) -> VmapArea {
    if at == node {
        let (low, high) = (at.left(m), at.right(m));
        return merge(m, low, high);
    }
    if at == VmapArea::NONE {
        return at;
    }
    if key < at.start(m) {
        let child = at.left(m);
        let left = remove(m, child, node, key);
        if left != child {
            at.set_left(m, left);
        }
    } else {
        let child = at.right(m);
        let right = remove(m, child, node, key);
        if right != child {
            at.set_right(m, right);
        }
    }
    at.update(m);
    at
}

fn refresh<M: Memory>(m: &mut M, at: VmapArea, node: VmapArea, key: u64) {
    if at == VmapArea::NONE {
        return;
    }
    if at != node {
        let child = if key < at.start(m) { at.left(m) } else { at.right(m) };
        refresh(m, child, node, key);
    }
    at.update(m);
}

fn lowest_fit<M: Memory>(m: &M, at: VmapArea, search: &Search) -> Option<(VmapArea, u64)> {
    // Everything to the left of a range that starts at or below `vstart` ends below it.
    let left = at.left(m);
    if search.vstart < at.start(m)
        && search.is_below(m, left)
        && let Some(found) = lowest_fit(m, left, search)
    {
        return Some(found);
    }
    // What starts at or above `vend` cannot be used. Without this, a search whose `length` leaves
    // its alignment out would try every large range above, and find no place in any of them.
    if at.start(m) >= search.vend {
        return None;
    }
    if let Some(start) = search.place(m, at) {
        return Some((at, start));
    }
    let right = at.right(m);
    if search.is_below(m, right) { lowest_fit(m, right, search) } else { None }
}

#[cfg(test)]
mod test {
    extern crate std;

    use super::*;
    use crate::test_memory::{TestMemory, TestRandom};
    use crate::words::addr::PAGE_SIZE;
    use std::collections::BTreeMap;

    fn depth(m: &TestMemory, at: VmapArea) -> usize {
        if at == VmapArea::NONE {
            return 0;
        }
        assert_eq!(at.largest(m), at.compute_largest(m));
        1 + depth(m, at.left(m)).max(depth(m, at.right(m)))
    }

    #[test]
    fn a_tree_behaves_as_an_ordered_map() {
        let mut m = TestMemory::new(64, 0);
        let (mut tree, mut model, mut random) = (VmapTree::EMPTY, BTreeMap::new(), TestRandom(3));
        for round in 0..6000 {
            let slot = random.below(1024);
            let start = slot * 16 * PAGE_SIZE;
            // Node 0 would be `NONE`.
            let node = VmapArea(Paddr(64 + slot * 64));
            if model.remove(&start).is_some() {
                tree.remove(&mut m, node);
            } else {
                let end = start + (1 + random.below(16)) * PAGE_SIZE;
                node.set_range(&mut m, start, end);
                tree.insert(&mut m, node);
                model.insert(start, end);
            }
            let addr = random.below(1024 * 16) * PAGE_SIZE;
            let expect = model.range(..=addr).next_back().filter(|&(_, &end)| addr < end);
            let actual = tree.find(&m, addr).map(|node| node.start(&m));
            assert_eq!(actual, expect.map(|(&start, _)| start));
            let size = (1 + random.below(16)) * PAGE_SIZE;
            let search =
                Search { size, length: size, align: PAGE_SIZE, vstart: addr, vend: u64::MAX };
            let expect = model.iter().find(|&(&s, &e)| e - s >= size && s.max(addr) + size <= e);
            let actual = tree.lowest_fit(&m, &search).map(|(node, _)| node.start(&m));
            assert_eq!(actual, expect.map(|(&start, _)| start));
            if round % 100 == 0 {
                assert!(depth(&m, tree.root()) < 40);
            }
        }
    }

    /// How many words a search of `tree` loads.
    fn nr_loads(m: &TestMemory, tree: &VmapTree, search: &Search, expect: Option<u64>) -> u64 {
        let before = m.nr_loads.get();
        let found = tree.lowest_fit(m, search).map(|(node, _)| node.start(m) / PAGE_SIZE);
        let nr_loads = m.nr_loads.get() - before;
        assert_eq!(found, expect, "{search:?}");
        nr_loads
    }

    /// Loads are counted, since they do not depend on who else uses the machine.
    #[test]
    fn a_search_is_logarithmic_in_the_number_of_holes() {
        for nr_nodes in [100, 1_000, 10_000, 100_000] {
            let mut m = TestMemory::new((nr_nodes / 64 + 2) as u32, 0);
            let mut tree = VmapTree::EMPTY;
            // Holes of 9 pages at odd places, too short for an aligned 8; only the last has room.
            for number in 0..nr_nodes {
                let (start, nr_pages) =
                    (number * 32 + 1, if number + 1 < nr_nodes { 9 } else { 15 });
                let node = VmapArea(Paddr(64 + number * 64));
                node.set_range(&mut m, start * PAGE_SIZE, (start + nr_pages) * PAGE_SIZE);
                tree.insert(&mut m, node);
            }
            let (last, page) = ((nr_nodes - 1) * 32 + 1, PAGE_SIZE);
            let all = Search {
                size: 10 * page,
                length: 10 * page,
                align: page,
                vstart: 0,
                vend: u64::MAX,
            };
            let aligned = Search { size: 8 * page, length: 15 * page, align: 8 * page, ..all };
            // A range of just the size, anywhere: no length is added, so every hole is a candidate.
            let at = nr_nodes / 2 * 32 * page;
            let exact = Search { length: 8 * page, vstart: at, vend: at + 8 * page, ..aligned };
            let late = Search { size: page, length: page, vstart: (last - 1) * page, ..all };
            let searches =
                [(all, Some(last)), (aligned, Some(last)), (exact, None), (late, Some(last))];
            for (search, expect) in searches {
                let nr_loads = nr_loads(&m, &tree, &search, expect);
                let most = 20 * (nr_nodes.ilog2() as u64);
                std::println!("{nr_nodes} {nr_loads} {most} {}", depth(&m, tree.root()));
                assert!(nr_loads <= most, "{nr_loads} words of {nr_nodes} nodes for {search:?}");
            }
        }
    }
}
