//! What a fresh machine granted, to be asked of it once more at the end.

use super::Objection;
use super::largest::largest_grant;
use crate::call::Request;
use crate::lane::{Lane, Record};
use crate::oracle::Jury;
use crate::subject::{Answer, Cap, Caps};

/// The most requests that are made once more at the end.
const NR_AGAIN: usize = 8;

/// What a fresh machine granted, before anything was given back.
pub(super) struct Fresh {
    pub(super) granted: Vec<Request>,
    /// The most that it gives at once, if that can be asked of it.
    pub(super) largest: Option<Request>,
    /// Whether that is still to be asked, before all else.
    is_to_be_asked: bool,
    is_over: bool,
}

impl Fresh {
    /// No request yet. An allocator with counters is held to those and asked nothing again, so
    /// nothing is noted for it.
    pub(super) fn of(caps: Caps) -> Self {
        let is_over = caps.has(Cap::Counters);
        let is_to_be_asked = !is_over && caps.has(Cap::GivesBack);
        Self { granted: Vec::new(), largest: None, is_to_be_asked, is_over }
    }

    /// Before the first request that is not the boot allocator's: asks for the most that the fresh
    /// machine gives.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        lane: &mut Lane,
        jury: &Jury,
    ) -> Result<(), Objection> {
        if self.is_to_be_asked && !request.call.is_boot() {
            self.is_to_be_asked = false;
            self.largest = largest_grant(lane, jury)?;
        }
        Ok(())
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
