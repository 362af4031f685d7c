//! Rounds: who does the same twice has as much left after the second time as after the first.
//!
//! An allocator may keep something for later, so that it is never as good as new again. But what it
//! keeps must serve the next round of the same requests; who has less to give after each has lost
//! something for ever. One that never takes memory back is not judged.

use crate::oracle::{Event, Judgement, Oracle};
use crate::subject::{Answer, Cap, Caps, Pack};

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "rounds",
    sentence: "after equal rounds of requests, all freed, as much is served as after one",
    pack: Pack::Generic,
    needs: Caps::of(&[Cap::Reuses]),
    judge,
};

fn judge(event: &Event) -> Judgement {
    match event {
        Event::Round { request, answer: answer @ (Answer::Refused(_) | Answer::WouldBlock(_)) } => {
            Err(format!(
                "{request:?} was served before a round of the trace's first requests, and after \
                 it is answered with {answer:?}"
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::ask;
    use crate::subject::Refusal;

    const REQUEST: crate::call::Request = ask::alloc(4096, 1);

    #[test]
    fn barks_on_less_after_another_round() {
        let shortage = Refusal::Pages { order: 0 };
        for answer in [Answer::Refused(shortage), Answer::WouldBlock(shortage)] {
            assert!(judge(&Event::Round { request: REQUEST, answer }).is_err());
        }
    }

    #[test]
    fn silent_on_as_much() {
        let answer = Answer::Memory { addr: 4096, usable: 4096, bus: None };
        assert_eq!(judge(&Event::Round { request: REQUEST, answer }), Ok(()));
    }
}
