//! A run of a caller that is not called from here: code with real pointers, in any language.
//!
//! Its calls come in as requests with the addresses that it has, and a mistake comes back as a
//! value: how the caller is stopped is up to who called it. Its pointers do not know where they
//! come from, so what an address belongs to is what is live there, or was last.

use super::config::Config;
use super::misuse::{Misuse, Source};
use super::plan::Plan;
use super::state::{State, Told};
use crate::call::Request;
use crate::oracle::caller::Rule;
use crate::subject::{Answer, Subject};
use crate::words::{Context, Current};

/// A run, from its first call to its end.
pub struct Session(State);

impl Session {
    /// Begins a run under a plan, on a subject that has been booted and has handed over, and whose
    /// memory the caller sees.
    pub fn begin(subject: Box<dyn Subject>, config: &Config, plan: Plan) -> Self {
        Self(State::guarded(subject, config, plan))
    }

    /// Makes a call for the caller, from a place in its source.
    ///
    /// # Errors
    /// The call is a mistake, or shows that what the caller did before it was one.
    pub fn call(&mut self, request: Request, at: Source) -> Result<Answer, Box<Misuse>> {
        let origins = self.0.remembered(&request);
        let about = origins.iter().copied().flatten().next();
        let result = self.0.step(request, &origins, at);
        self.0.subject.resume();
        result.map_err(|misuse| Box::new(self.0.held.placed(*misuse, about, Some(at))))
    }

    /// The mistake of a caller that breaks a rule with an address.
    pub fn broken(&self, rule: Rule, says: impl Into<String>, addr: u64) -> Misuse {
        self.0.held.placed(Misuse::new(rule, says), self.0.held.last_at(addr), None)
    }

    /// The mistake of a caller whose access to an address was a fault.
    pub fn faulted(&self, addr: u64) -> Misuse {
        let about = self.0.held.near(addr);
        let nowhere = || {
            let says = format!("an access to {addr:#x}, where nothing is mapped");
            Misuse::new(Rule::NoAddress, says)
        };
        let objection = about.and_then(|reg| self.0.held.objection(addr, 1, Some(reg)));
        let misuse = objection.unwrap_or_else(nowhere);
        self.0.held.placed(misuse, about, None)
    }

    /// The context that the caller is in.
    pub fn context(&self) -> Context {
        self.0.caller.context
    }

    /// From now on the caller is in a context.
    pub fn enter(&mut self, context: Context) {
        self.0.caller = Current { context, ..self.0.caller };
    }

    /// Whether memory, a cache or a scope would be left if the run ended now.
    pub fn leaves_something(&self) -> bool {
        self.0.held.left().is_some()
    }

    /// Ends the run: what can be told of it, and the mistake that its end shows.
    pub fn end(self, config: &Config) -> (Told, Option<Misuse>) {
        let changed = self.0.changed();
        let mut told = self.0.into_told(config.machine);
        let left = changed.or(told.left.take());
        (told, left)
    }
}
