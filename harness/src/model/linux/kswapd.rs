//! kswapd: which nodes' kswapd has certainly been woken, and what it may do then (R3.5, R3.6).
//!
//! A request that is told there are no pages has gone the slow way, and has woken the kswapd of
//! every node that it may take from and that is below its high watermark. At the next tick each of
//! those balances its own node, and no other.
//!
//! A request that was served may have woken it as well; that is not followed.

use crate::subject::Facts;
use crate::words::NR_NODES;

/// Who has been woken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kswapd {
    is_woken: [bool; NR_NODES],
}

/// What a node has; a machine with one node has it all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NodePages {
    /// Free pages, but for what CPUs keep.
    pub nr_free: u64,
    /// Pages of the page cache.
    pub nr_cached: u64,
}

impl NodePages {
    /// Of every node.
    fn of(facts: &Facts) -> Vec<Self> {
        if facts.nr_nodes == 0 {
            let nr_cached = facts.nr_cache_pages.iter().sum();
            return vec![Self { nr_free: facts.nr_free_pages, nr_cached }];
        }
        let nodes = facts.nodes[..usize::from(facts.nr_nodes)].iter();
        nodes
            .map(|node| Self {
                nr_free: node.nr_free_pages.into(),
                nr_cached: node.nr_cache_pages.into_iter().map(u64::from).sum(),
            })
            .collect()
    }
}

/// The free pages of a node at which its kswapd rests: half as many again as the min watermark.
fn high_watermark(min_free: u64) -> u64 {
    min_free + min_free / 2
}

impl Kswapd {
    /// A request that wakes it found too few pages on all nodes that would do.
    pub(crate) fn wake(&mut self, before: &Facts, min_free: u64, only_node: Option<u8>) {
        for (node, pages) in NodePages::of(before).into_iter().enumerate() {
            let is_asked = only_node.is_none_or(|only| usize::from(only) == node);
            self.is_woken[node] |= is_asked && pages.nr_free < high_watermark(min_free);
        }
    }

    /// It has run, or has nothing left to do.
    pub(crate) fn rest(&mut self) {
        *self = Self::default();
    }

    /// What is wrong with what kswapd did at a tick, if anything.
    pub(crate) fn fault(&self, before: &Facts, after: &Facts, min_free: u64) -> Option<String> {
        let high = high_watermark(min_free);
        let nodes = NodePages::of(before).into_iter().zip(NodePages::of(after));
        nodes.enumerate().find_map(|(node, (before, after))| {
            if after.nr_cached < before.nr_cached && before.nr_free >= high {
                let nr_dropped = before.nr_cached - after.nr_cached;
                let nr_free = before.nr_free;
                Some(format!("{nr_dropped} pages of node {node} were dropped; {nr_free} were free"))
            } else if self.is_woken[node] && after.nr_cached > 0 && after.nr_free < high {
                let NodePages { nr_free, nr_cached } = after;
                Some(format!(
                    "kswapd was woken, and left node {node} with {nr_free} pages free of {high} \
                     that it should have, and {nr_cached} cached"
                ))
            } else {
                None
            }
        })
    }
}
