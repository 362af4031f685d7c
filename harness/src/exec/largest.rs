//! The most that an allocator gives at once, found by asking.

use super::Objection;
use crate::call::{Request, ask};
use crate::lane::Lane;
use crate::oracle::{Event, Jury};
use crate::subject::Answer;
use crate::trace::Limits;
use crate::words::PAGE;

/// No machine has as many bytes.
const TOO_MANY_BYTES: u64 = 2 * Limits::FRAMES.1 as u64 * PAGE;

/// Makes a request of which no book knows, and gives back what it gives if nobody objects.
pub(super) fn try_grant(
    lane: &mut Lane,
    jury: &Jury,
    request: Request,
) -> Result<Answer, Objection> {
    let probe = lane.probe(request);
    jury.judge(&Event::Probe(&probe))?;
    lane.take_back(&probe);
    Ok(probe.answer)
}

/// The request for the most bytes, or else for the most frames, that is granted now; none if the
/// allocator knows neither call, or has nothing.
pub(super) fn largest_grant(lane: &mut Lane, jury: &Jury) -> Result<Option<Request>, Objection> {
    let mut is_granted = |request| try_grant(lane, jury, request).map(|it| it.is_grant());
    let bytes = |size| ask::alloc(size, 1);
    let frames = |nr| ask::alloc_frames(nr, PAGE);
    match largest(TOO_MANY_BYTES, bytes, &mut is_granted)? {
        None => largest(TOO_MANY_BYTES / PAGE, frames, &mut is_granted),
        some => Ok(some),
    }
}

/// The largest request of a kind that is granted, if one of a single unit is.
fn largest(
    too_many: u64,
    request: fn(u64) -> Request,
    is_granted: &mut impl FnMut(Request) -> Result<bool, Objection>,
) -> Result<Option<Request>, Objection> {
    let (mut granted, mut refused) = (0, too_many);
    // What cannot be had at all is not asked for again and again.
    while refused - granted > 1 {
        let between = if granted == 0 { 1 } else { granted.midpoint(refused) };
        match is_granted(request(between))? {
            true => granted = between,
            false if granted == 0 => return Ok(None),
            false => refused = between,
        }
    }
    Ok(Some(request(granted)))
}
