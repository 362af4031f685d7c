//! What several oracles ask about the circumstances of a step.
//!
//! It judges nothing.

use crate::lane::Record;
use crate::model::Want;
use crate::model::linux::shortage::Situation;
use crate::oracle::Step;
use crate::words::gfp::__GFP_COMP;

/// What was free around a step.
pub(super) fn situation<'a>(step: &'a Step, want: &Want) -> Situation<'a> {
    Situation {
        before: &step.record.before,
        after: &step.record.after,
        space: step.model.linux.space(),
        policy: step.model.linux.policy(),
        stride: step.model.stride(want),
        min_free: step.min_free,
        caller: step.record.caller,
        only_node: step.record.only_node(want),
        nr_faults: step.record.reply.nr_faults,
        effort: step.record.reply.effort,
        relaxed: step.relaxed,
    }
}

/// Whether the call names a node that the machine does not have.
pub(super) fn is_missing(record: &Record, want: &Want) -> bool {
    want.node.is_some_and(|node| node >= record.before.nr_nodes.max(1))
}

/// Whether a request may get huge pages and wants them compound, which Linux grants wrongly: it
/// splits them, so that who frees them as compound pages corrupts memory (R4.12).
pub(super) fn is_misused(step: &Step, want: &Want) -> bool {
    want.gfp.has(__GFP_COMP) && step.model.linux.policy().huge_pages(want).is_some()
}
