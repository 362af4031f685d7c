//! Requests that no book knows of: what is asked for goes at once.
//!
//! They are made when nothing is live, and nothing is written to what they give. It is looked at
//! all the same, since nothing may be given back that was never given.

use super::Lane;
use crate::call::Request;
use crate::model::Granted;
use crate::op::Setting;
use crate::subject::Answer;

/// A request, and what could be seen of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// The request.
    pub request: Request,
    /// The answer.
    pub answer: Answer,
    /// What came of it, if that is memory.
    pub granted: Option<Granted>,
    /// The first or else the last byte of it, if that cannot be accessed.
    pub unmapped: Option<u64>,
}

impl Lane {
    /// Makes a request, and looks at what it gives.
    pub(crate) fn probe(&mut self, request: Request) -> Probe {
        self.hand_over();
        let answer = self.subject.apply(&request, &Setting::default()).answer;
        let granted = match (self.model.want(&request), answer) {
            (Some(want), Answer::Memory { addr, usable, .. }) => {
                Some(self.model.granted(&want, addr, usable))
            }
            _ => None,
        };
        let unmapped = granted.and_then(|granted| self.unmapped_end(granted));
        Probe { request, answer, granted, unmapped }
    }

    /// Gives back what a request gave.
    pub(crate) fn take_back(&mut self, probe: &Probe) {
        let Some(free) = probe.request.spec().freed_by.first() else { return };
        for addr in probe.answer.granted() {
            self.subject.apply(&Request::new(*free, &[*addr]), &Setting::default());
        }
    }

    /// The first or the last byte of memory, if it cannot be accessed.
    fn unmapped_end(&self, granted: Granted) -> Option<u64> {
        let Granted { addr, usable, .. } = granted;
        let cannot_be_read =
            |offset: &u64| self.subject.read(addr.wrapping_add(*offset), &mut [0]) == 0;
        [0, usable.saturating_sub(1)].into_iter().find(cannot_be_read)
    }
}
