//! Whether a shortage that an allocator names is real.
//!
//! The one idea: a request may be refused for want of a resource only if that resource was short,
//! and what was free is known from the counters that accounting checks against the book. An
//! allocator that fails now and then without need (a spurious NULL) is caught by nothing else.
//!
//! Where the exact need is not known (metadata, fragmentation of slabs) the rule leans to the
//! allocator, and says so: each such answer is counted as a [`Relaxation`].

use super::effort::lowest_watermark;
use super::kvmalloc::Policy;
use super::room::Search;
use super::rules::{KMALLOC_MAX, VmallocCost, has_block, min_slab_order, size_class, vmalloc_cost};
use super::space::Space;
use crate::model::{Interface, Want};
use crate::relaxation::{Relaxation, Relaxed};
use crate::subject::Effort;
use crate::subject::{Facts, Refusal};
use crate::words::{Current, HUGE_PAGE, PAGE, PAGE_ALLOC_COSTLY_ORDER, Route, order_of, pages_of};

/// Frames that the metadata of one vmalloc may need beyond what is counted for it: a slab each for
/// vm_struct, vmap_area (twice) and the page array, the largest of order 3.
const NR_METADATA_PAGES: u64 = 16;

/// What was free around a refused request.
pub(crate) struct Situation<'a> {
    /// Counters before.
    pub before: &'a Facts,
    /// Counters after.
    pub after: &'a Facts,
    /// The vmalloc space.
    pub space: &'a Space,
    /// How kvmalloc decides.
    pub policy: &'a Policy,
    /// Bytes from one object to the next, of the cache that was asked.
    pub stride: u64,
    /// The min watermark of each node.
    pub min_free: u64,
    /// Who makes the request.
    pub caller: Current,
    /// The only node that will do, if the request says so.
    pub only_node: Option<u8>,
    /// Injected failures that fired.
    pub nr_faults: u32,
    /// What the request has cost others.
    pub effort: Effort,
    /// Where what is let pass is counted.
    pub relaxed: &'a Relaxed,
}

impl Situation<'_> {
    /// Whether `refusal`, given to a request of `size` bytes, names a resource that was short.
    pub(crate) fn is_real(&self, want: &Want, size: u64, refusal: Refusal) -> bool {
        self.is_short(want, size, refusal)
            || self.relaxed.if_so(self.nr_faults > 0, Relaxation::InjectedFailure)
    }

    fn is_short(&self, want: &Want, size: u64, refusal: Refusal) -> bool {
        match refusal {
            Refusal::Pages { order } => self.are_pages_short(want, size, order),
            Refusal::VmallocSpace => self.is_space_short(want),
            Refusal::Range => {
                matches!(want.interface, Interface::Vmalloc { .. }) && self.is_space_short(want)
            }
            // Page tables are pages too, and taken whatever the caller's flags are (R4.4).
            Refusal::Mapping => self.are_frames_short(size),
            Refusal::Injected => false,
            _ => true,
        }
    }

    fn are_pages_short(&self, want: &Want, size: u64, order: u32) -> bool {
        match want.interface {
            Interface::Pages { order: wanted } => {
                order == wanted && self.is_block_short(want, order)
            }
            Interface::PagesExact | Interface::DmaCoherent => {
                order == order_of(size) && self.is_block_short(want, order)
            }
            Interface::Kmalloc => self.is_kmalloc_short(want, size, order),
            // The smallest slab holds one object, with what lies between it and the next (R1.9).
            Interface::Cache(_) => {
                order == order_of(self.stride)
                    && (self.is_block_short(want, order)
                        || self.relaxed.if_so(self.may_lack_slabs(want), Relaxation::SeveralSlabs))
            }
            Interface::Vmalloc { .. } => self.are_frames_short(size),
            Interface::Boot(_) | Interface::Heap(_) | Interface::Frames(_) => false,
            Interface::Kvmalloc { route } => {
                let sides = self.policy.sides(size, want.gfp, route);
                // The first try, kmalloc, may have lost __GFP_NOFAIL and with it half of the
                // reserve.
                let first_try = Want { gfp: self.policy.first_try(size, want.gfp, route), ..*want };
                if sides.vmalloc {
                    self.are_frames_short(size)
                        && (!sides.slab || self.is_first_try_short(want, size, route))
                } else {
                    self.is_kmalloc_short(&first_try, size, order)
                }
            }
        }
    }

    /// Whether kmalloc could not serve a kvmalloc's first try. What vmalloc has reclaimed after it
    /// came too late.
    pub(crate) fn is_first_try_short(&self, want: &Want, size: u64, route: Route) -> bool {
        let first_try = Want { gfp: self.policy.first_try(size, want.gfp, route), ..*want };
        let order = order_of_kmalloc(size);
        self.nr_faults > 0 || size > KMALLOC_MAX || self.lacks_block(self.before, &first_try, order)
    }

    fn is_kmalloc_short(&self, want: &Want, size: u64, order: u32) -> bool {
        size <= KMALLOC_MAX && order == order_of_kmalloc(size) && self.is_block_short(want, order)
    }

    fn is_block_short(&self, want: &Want, order: u32) -> bool {
        // Who has reclaimed looks at what is free then.
        let has_reclaimed = self.effort != Effort::default();
        self.lacks_block(self.before, want, order)
            && (!has_reclaimed || self.lacks_block(self.after, want, order))
    }

    /// Whether a request for several objects may have used up on the way what one of them needed.
    fn may_lack_slabs(&self, want: &Want) -> bool {
        let order = order_of(self.stride);
        let blocks = self.before.nr_free_blocks.iter().zip(0_u32..).skip(order as usize);
        let nr_pages: u64 = blocks.map(|(nr, order)| u64::from(*nr) << order).sum();
        // Before the slab that could not be had, as many as all objects but one fill; no slab is
        // larger than this where a smaller one would do (R1.9).
        let nr_objects = ((PAGE << order) / self.stride.max(1)).max(1);
        let nr_made = want.nr_pieces.saturating_sub(1) / nr_objects;
        let most = (nr_made + 1) << order.max(PAGE_ALLOC_COSTLY_ORDER);
        nr_made > 0 && nr_pages.min(self.nr_free_pages(self.before)) <= most + self.reserve()
    }

    fn lacks_block(&self, facts: &Facts, want: &Want, order: u32) -> bool {
        let watermark = lowest_watermark(want.gfp, order, self.caller, self.min_free);
        !has_block(facts, order, want.gfp, watermark, self.only_node)
    }

    fn are_frames_short(&self, size: u64) -> bool {
        // What was taken has been given back, and what was reclaimed on the way is free now.
        let nr_free = self.nr_free_pages(self.before).max(self.nr_free_pages(self.after));
        let is_plain = nr_free < vmalloc_cost(pages_of(size)).nr_pages;
        let may_be = nr_free <= self.need(pages_of(size));
        is_plain || self.relaxed.if_so(may_be, Relaxation::Metadata)
    }

    /// Free frames where the request may take them.
    fn nr_free_pages(&self, facts: &Facts) -> u64 {
        match self.only_node {
            Some(node) => facts.nodes[usize::from(node)].nr_free_pages.into(),
            None => facts.nr_free_pages,
        }
    }

    /// Frames that a vmalloc of so many pages is certainly served with: its own, those of its page
    /// array, a page table for each huge page that they may touch, and metadata.
    fn need(&self, nr_pages: u64) -> u64 {
        let VmallocCost { nr_pages, .. } = vmalloc_cost(nr_pages);
        let nr_tables = nr_pages * PAGE / HUGE_PAGE + 4;
        nr_pages + nr_tables + NR_METADATA_PAGES + self.reserve()
    }

    /// Whether a node certainly has the frames for a vmalloc.
    pub(crate) fn has_frames_on(&self, node: u8, size: u64) -> bool {
        let nr_free_pages = self.before.nodes[usize::from(node)].nr_free_pages;
        u64::from(nr_free_pages) > self.need(pages_of(size))
    }

    /// What is kept back on all nodes together.
    fn reserve(&self) -> u64 {
        reserve(self.before, self.min_free)
    }

    /// Whether nothing stands in the way of an area of `nr_pages` pages in huge ones: there is
    /// room, and there are blocks for them, one of which the metadata may split.
    pub(crate) fn has_huge_pages(&self, want: &Want, nr_pages: u64) -> bool {
        let blocks = self.before.nr_free_blocks[9..].iter().zip(0..);
        let nr_blocks: u64 = blocks.map(|(nr, order)| u64::from(*nr) << order).sum();
        let places = self.space.places(&Search::of(want, self.policy));
        self.nr_faults == 0
            // Each node has its own watermark.
            && self.before.nr_nodes == 0
            && nr_blocks > nr_pages * PAGE / HUGE_PAGE
            && self.before.nr_free_pages > self.need(nr_pages)
            && places.is_some_and(|places| places.huge.is_certain())
    }

    fn may_lack_node(&self, search: &Search) -> bool {
        may_lack_node(search, self.before, self.min_free)
    }

    fn is_space_short(&self, want: &Want) -> bool {
        let search = Search::of(want, self.policy);
        let places = self.space.places(&search);
        let room = places.as_ref().map(|places| &places.small);
        match room {
            Some(room) if room.lowest().is_none() => true,
            _ if self.relaxed.if_so(self.may_lack_node(&search), Relaxation::NoNode) => true,
            Some(room) => self.relaxed.if_so(!room.is_certain(), Relaxation::ShortHole),
            None => {
                let align = search.range.map_or(0, |(_, _, align)| align / PAGE);
                let needed = vmalloc_cost(search.nr_pages).nr_area_pages + align;
                let is_part = |(start, end, _)| !self.space.is_whole(start, end);
                let is_part = search.range.is_some_and(is_part);
                self.relaxed.if_so(is_part, Relaxation::UnknownPlace)
                    || self
                        .relaxed
                        .if_so(self.after.nr_largest_hole_pages < needed, Relaxation::LargestHole)
            }
        }
    }
}

/// Whether so few frames are free that a search may have no node for a split in the middle of a
/// hole, and without one the space counts as short (R4.9).
pub(crate) fn may_lack_node(search: &Search, before: &Facts, min_free: u64) -> bool {
    search.may_split() && before.nr_free_pages <= NR_METADATA_PAGES + reserve(before, min_free)
}

fn reserve(facts: &Facts, min_free: u64) -> u64 {
    min_free * u64::from(facts.nr_nodes.max(1))
}

/// The order of the smallest block that serves a kmalloc of `size` bytes (R1.1, R1.9).
fn order_of_kmalloc(size: u64) -> u32 {
    size_class(size).map_or_else(|| order_of(size), min_slab_order)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::{Request, ask};
    use crate::trace::Machine;
    use crate::words::gfp::{GFP_ATOMIC, GFP_KERNEL, Gfp};

    #[track_caller]
    fn check(request: Request, nr_free: u64, blocks: [u32; 11], refusal: Refusal, expected: bool) {
        let facts = Facts {
            nr_free_pages: nr_free,
            nr_free_blocks: blocks,
            nr_largest_hole_pages: 16,
            ..Facts::default()
        };
        let want = Want::of(&request).unwrap();
        let space = Space::new(0, 16 * PAGE, 1);
        let situation = Situation {
            before: &facts,
            after: &facts,
            space: &space,
            policy: &Policy::of(&Machine::default()),
            stride: 0,
            min_free: 16,
            caller: Current::default(),
            only_node: None,
            nr_faults: 0,
            effort: Effort::default(),
            relaxed: &Relaxed::default(),
        };
        assert_eq!(situation.is_real(&want, want.size.unwrap(), refusal), expected);
    }

    fn pages(gfp: Gfp, order: u32) -> Request {
        ask::alloc_pages(gfp, order)
    }

    #[test]
    fn a_block_is_short_if_none_is_free_or_the_watermark_forbids_it() {
        let none = [0; 11];
        let mut one_of_order_3 = none;
        one_of_order_3[3] = 1;
        let order_2 = Refusal::Pages { order: 2 };
        check(pages(GFP_KERNEL, 2), 100, none, order_2, true);
        check(pages(GFP_KERNEL, 2), 100, one_of_order_3, order_2, false);
        check(pages(GFP_KERNEL, 2), 19, one_of_order_3, order_2, true);
        check(pages(GFP_ATOMIC, 2), 19, one_of_order_3, order_2, false);
        check(pages(GFP_KERNEL, 1), 19, none, order_2, false);
    }

    #[test]
    fn space_is_short_if_no_hole_fits() {
        let vmalloc = |size| ask::vmalloc(size);
        check(vmalloc(15 * PAGE), 1000, [9; 11], Refusal::VmallocSpace, false);
        check(vmalloc(16 * PAGE), 1000, [9; 11], Refusal::VmallocSpace, true);
        check(vmalloc(PAGE), 1000, [9; 11], Refusal::Range, false);
        check(vmalloc(PAGE), 1000, [9; 11], Refusal::Injected, false);
    }
}
