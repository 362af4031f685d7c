//! The most that an allocator gives at once, found by asking.
//!
//! What is asked for here goes at once, and no book knows of it: it is asked when nothing is live,
//! and nothing is written to it.

use super::Lane;
use crate::call::{Request, ask};
use crate::op::Setting;
use crate::subject::Answer;
use crate::trace::Limits;
use crate::words::PAGE;

/// No machine has as many bytes.
const TOO_MANY_BYTES: u64 = 2 * Limits::FRAMES.1 as u64 * PAGE;

impl Lane {
    /// Makes a request and gives back what it gives.
    pub(crate) fn try_grant(&mut self, request: Request) -> Answer {
        let answer = self.subject.apply(&request, &Setting::default()).answer;
        for addr in answer.granted() {
            for free in request.spec().freed_by.iter().take(1) {
                self.subject.apply(&Request::new(*free, &[*addr]), &Setting::default());
            }
        }
        answer
    }

    /// The request for the most bytes, or else for the most frames, that is granted now; none if
    /// the allocator knows neither call, or has nothing.
    pub(crate) fn largest_grant(&mut self) -> Option<Request> {
        let bytes = |size| ask::alloc(size, 1);
        let frames = |nr| ask::alloc_frames(nr, PAGE);
        self.largest(TOO_MANY_BYTES, bytes).or_else(|| self.largest(TOO_MANY_BYTES / PAGE, frames))
    }

    /// The largest request of a kind that is granted, if one of a single unit is.
    fn largest(&mut self, too_many: u64, request: fn(u64) -> Request) -> Option<Request> {
        let (mut granted, mut refused) = (0, too_many);
        // What cannot be had at all is not asked for again and again.
        while refused - granted > 1 {
            let between = if granted == 0 { 1 } else { granted.midpoint(refused) };
            match self.try_grant(request(between)).is_grant() {
                true => granted = between,
                false if granted == 0 => return None,
                false => refused = between,
            }
        }
        Some(request(granted))
    }
}
