//! Drain: when everything has been freed, what the fresh machine served is served again.
//!
//! It needs no look inside: an allocator that leaks, or that cannot put together what it took
//! apart, has less to give the second time. One that counts is held to its counters instead, and
//! one that keeps something for later to what it gives after equal rounds.

use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Answer, Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "drain",
    sentence: "after everything is freed, what the fresh machine served is served again",
    pack: Pack::Generic,
    needs: Caps::of(&[Cap::GivesBack]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    match event {
        Event::Again { request, answer: answer @ (Answer::Refused(_) | Answer::WouldBlock(_)) } => {
            Err(format!(
                "{request:?} was granted by the fresh machine, and with everything freed it is \
                 answered with {answer:?}"
            ))
        }
        Event::End(end) if end.nr_live != 0 => {
            Err(format!("{} allocations could not be freed at the end", end.nr_live))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::oracle::End;
    use crate::subject::{Facts, Refusal};
    use crate::words::gfp::GFP_KERNEL;

    #[test]
    fn barks_on_a_request_that_is_not_granted_again() {
        let request = ask::kmalloc(8, GFP_KERNEL);
        let granted = Answer::Memory { addr: 4096, usable: 8, bus: None };
        assert_eq!(judge(&Event::Again { request, answer: granted }), Ok(()));
        let answer = Answer::Refused(Refusal::Pages { order: 0 });
        assert!(judge(&Event::Again { request, answer }).is_err());
    }

    #[test]
    fn barks_on_what_could_not_be_freed() {
        let facts = Facts::default();
        let end = |nr_live| judge(&Event::End(&End { at_boot: &facts, now: &facts, nr_live }));
        assert!(end(1).is_err());
        assert_eq!(end(0), Ok(()));
    }
}
