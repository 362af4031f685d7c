//! What a fresh machine granted, to be asked of it once more at the end.

use crate::call::Request;
use crate::lane::{Lane, Record};
use crate::subject::{Answer, Cap};

/// The most requests that are made once more at the end.
const NR_AGAIN: usize = 8;

/// What a fresh machine granted, before anything was given back.
pub(super) struct Fresh {
    pub(super) granted: Vec<Request>,
    /// The most that it gives at once, if that can be asked of it.
    pub(super) largest: Option<Request>,
    is_over: bool,
}

impl Fresh {
    /// No request yet. An allocator with counters is held to those and asked nothing again, so
    /// nothing is noted for it.
    pub(super) fn of(lane: &mut Lane) -> Self {
        let is_over = lane.caps.has(Cap::Counters);
        let is_asked = !is_over && lane.caps.has(Cap::GivesBack);
        let largest = if is_asked { lane.largest_grant() } else { None };
        Self { granted: Vec::new(), largest, is_over }
    }

    /// Takes note of a request that was granted, if it can be made again: not for memory of others,
    /// which no caller can free, nor for objects, whose cache is destroyed.
    pub(super) fn note(&mut self, record: &Record) {
        if self.is_over {
            return;
        }
        let is_plain = record.want.is_some() && record.request.replaced().is_none();
        self.is_over |= !is_plain || record.reply.nr_faults > 0;
        if !self.is_over
            && matches!(record.reply.answer, Answer::Memory { addr, .. } if addr > 16)
            && !record.request.call.needs_cache()
        {
            self.granted.push(record.request);
            self.is_over = self.granted.len() == NR_AGAIN;
        }
    }
}
