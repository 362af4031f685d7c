//! Node: memory lies on the node that its caller named, or wished for by where it runs.
//!
//! A frame's number tells its node, since all nodes have as many frames. With `__GFP_THISNODE` no
//! other node will do; without it another one may give, but only where the one wished for plainly
//! had nothing (R1.7, R4.1, R5.1).
//!
//! An object of a slab lies where its slab is, and only a call that names a node looks there.
//! Whether a node's shortage is real is judged in `contract`.

use super::situation;
use crate::model::linux::rules::{has_block, watermark};
use crate::model::{Granted, Kind, Want};
use crate::oracle::{Event, Judgement, Oracle, Step};
use crate::relaxation::Relaxation;
use crate::subject::Effort;
use crate::subject::{Cap, Caps, Pack};
use crate::words::gfp::__GFP_THISNODE;
use crate::words::{PAGE, order_of};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "node",
    sentence: "memory lies on the node asked for, or on another if that one has none",
    pack: Pack::Linux,
    needs: Caps::of(&[Cap::Counters, Cap::Frames]),
    judge,
};

/// The largest order of which a slab may be made where a smaller one would do (R1.9).
const LARGEST_SLAB_ORDER: u32 = 3;

fn judge(event: &Event) -> Judgement {
    let Event::Step(step) = event else { return Ok(()) };
    let Some((want, granted)) = step.grant() else { return Ok(()) };
    let Granted { addr, kind, stays, .. } = granted;
    if situation::is_missing(step.record, want) {
        return Err(format!("{:?} names a node that is not there", step.record.request));
    }
    let is_new = granted.is_memory() && !stays;
    let is_object = matches!(kind, Kind::Kmalloc | Kind::CacheObject(_));
    if step.record.before.nr_nodes == 0 || !is_new || is_object && want.node.is_none() {
        return Ok(());
    }
    let nearest = step.record.nearest_node(want);
    let Some(other) = step.record.frames.iter().find(|frame| node_of(step, **frame) != nearest)
    else {
        return Ok(());
    };
    let place = format!("{addr:#x} shows frame {other} of node {}", node_of(step, *other));
    if want.gfp.has(__GFP_THISNODE) {
        return Err(format!("{place}; no node but {nearest} would do"));
    }
    if has_plenty(step, want, kind, nearest) {
        return Err(format!("{place}; node {nearest} was asked for, and had memory"));
    }
    step.relaxed.by(Relaxation::OtherNode);
    Ok(())
}

fn node_of(step: &Step, frame: u32) -> u8 {
    let layout = step.model.book.layout();
    let nr_frames = (layout.direct_end - layout.direct_start) / PAGE;
    let share = nr_frames.div_ceil(step.record.before.nr_nodes.into());
    (u64::from(frame) / share) as u8
}

/// Whether a node could certainly have served the request.
fn has_plenty(step: &Step, want: &Want, kind: Kind, node: u8) -> bool {
    let record = step.record;
    if record.reply.nr_faults > 0 || record.reply.effort != Effort::default() {
        return false;
    }
    let size = step.model.promise(want).0;
    let order = match kind {
        // Huge pages are looked for on all nodes before small ones on any.
        Kind::Vmalloc if step.model.linux.policy().huge_pages(want).is_some() => return false,
        Kind::Vmalloc => return situation::situation(step, want).has_frames_on(node, size),
        Kind::Pages { order, .. } | Kind::DmaCoherent { order } => order,
        Kind::LargeKmalloc | Kind::PagesExact { .. } => order_of(size),
        Kind::Kmalloc => order_of(2 * size).max(LARGEST_SLAB_ORDER),
        // Objects lie as far apart as their alignment wants (R2.2).
        Kind::CacheObject(_) => order_of(step.model.stride(want)).max(LARGEST_SLAB_ORDER),
        // There are no nodes before the hand-over, nor outside of Linux.
        Kind::Boot | Kind::Heap { .. } | Kind::Frames => return false,
    };
    let mark = watermark(want.gfp, step.min_free).max(step.min_free);
    has_block(&record.before, order, want.gfp, mark, Some(node))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::lane::Record;
    use crate::oracle::fixture::{DIRECT, barks, memory, model, record, silent};
    use crate::subject::Facts;
    use crate::subject::NodeStat;
    use crate::words::gfp::{GFP_KERNEL, Gfp};

    /// A page of frame 40, on the second of two nodes, given to a request that names a node.
    fn page_of_node_1(node: Option<u8>, gfp: Gfp) -> Record {
        let request = ask::alloc_pages_node(node, gfp, 0);
        let mut page = record(request, memory(DIRECT + 40 * PAGE, PAGE));
        page.before = two_nodes([32, 32]).into();
        page.frames = vec![40];
        page
    }

    fn two_nodes(nr_free_pages: [u32; 2]) -> Facts {
        let mut facts = Facts { nr_nodes: 2, ..Facts::default() };
        for (node, nr_free_pages) in facts.nodes.iter_mut().zip(nr_free_pages) {
            let free_orders = (nr_free_pages & 32) as u16;
            *node = NodeStat { nr_free_pages, free_orders, nr_cache_pages: [0; 3] };
        }
        facts
    }

    #[test]
    fn barks_on_memory_of_another_node() {
        barks(&ORACLE, &model(), &page_of_node_1(Some(0), GFP_KERNEL), "had memory");
        barks(&ORACLE, &model(), &page_of_node_1(None, GFP_KERNEL), "had memory");
        let mut short = page_of_node_1(Some(0), GFP_KERNEL | __GFP_THISNODE);
        short.before = two_nodes([0, 32]).into();
        barks(&ORACLE, &model(), &short, "no node but 0");
    }

    #[test]
    fn barks_on_memory_of_a_node_that_is_not_there() {
        barks(&ORACLE, &model(), &page_of_node_1(Some(2), GFP_KERNEL), "not there");
        let request = ask::kmalloc_node(8, GFP_KERNEL, Some(1));
        barks(&ORACLE, &model(), &record(request, memory(DIRECT, 8)), "not there");
    }

    #[test]
    fn silent_on_memory_where_it_should_be() {
        silent(&ORACLE, &model(), &page_of_node_1(Some(1), GFP_KERNEL | __GFP_THISNODE));
        let mut short = page_of_node_1(Some(0), GFP_KERNEL);
        short.before = two_nodes([0, 32]).into();
        silent(&ORACLE, &model(), &short);
        let mut on_the_second_cpu = page_of_node_1(None, GFP_KERNEL);
        on_the_second_cpu.caller.cpu = 1;
        silent(&ORACLE, &model(), &on_the_second_cpu);
    }
}
