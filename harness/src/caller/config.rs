//! How a caller is explored: the machine, how much is tried, and in which order.

use super::plan::{Plan, PlanError};
use crate::trace::Machine;

/// How a caller is explored.
#[derive(Clone, Debug)]
pub struct Config {
    /// The machine that it runs on.
    pub machine: Machine,
    /// How many random plans there are.
    pub seeds: u64,
    /// Calls of one run, beyond which a caller is one that does not end.
    pub calls_max: u32,
    /// The one plan to try, if it is not to be explored.
    pub plan: Option<Plan>,
    /// Whether the policy routes every request. What is not found then is found by random routing
    /// alone.
    pub by_policy: bool,
}

impl Default for Config {
    fn default() -> Self {
        let machine = Machine { frames: 4096, ..Machine::default() };
        Self { machine, seeds: 256, calls_max: 10_000, plan: None, by_policy: false }
    }
}

impl Config {
    /// A machine of 16 MiB with Linux 6.1, and 256 random plans.
    pub fn new() -> Self {
        Self::default()
    }

    /// So many random plans.
    #[must_use]
    pub fn seeds(self, seeds: u64) -> Self {
        Self { seeds, ..self }
    }

    /// So many calls in one run at most.
    #[must_use]
    pub fn calls_max(self, calls_max: u32) -> Self {
        Self { calls_max, ..self }
    }

    /// Without random routing: the policy routes every request.
    #[must_use]
    pub fn by_policy(self) -> Self {
        Self { by_policy: true, ..self }
    }

    /// On another machine.
    #[must_use]
    pub fn machine(self, machine: Machine) -> Self {
        Self { machine, ..self }
    }

    /// The kvmalloc of another version: `v4.12`, `v6.12`, `latest`, …
    ///
    /// # Panics
    /// If there is none of this name.
    #[must_use]
    pub fn version(self, name: &str) -> Self {
        let policy = Machine::policy_named(name);
        Self { machine: Machine { policy, ..self.machine }, ..self }
    }

    /// Under this plan alone.
    #[must_use]
    pub fn under(self, plan: Plan) -> Self {
        Self { plan: Some(plan), ..self }
    }

    /// Under the plan of this text alone: what the report of a finding says under `repeat`.
    ///
    /// # Panics
    /// If the text is no plan.
    #[must_use]
    pub fn plan(self, text: &str) -> Self {
        self.under(text.parse().unwrap_or_else(|error: PlanError| panic!("plan '{text}', {error}")))
    }
}

/// What first showed a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// An ordinary run.
    Policy,
    /// All by slab, or all by vmalloc.
    Routing,
    /// Memory at hostile places, or with hostile contents.
    Placement,
    /// Failed requests.
    Failure,
    /// A random plan, or the one that was named.
    Random,
}

/// The names of the phases.
pub const PHASES: [(Phase, &str); 5] = [
    (Phase::Policy, "policy"),
    (Phase::Routing, "routing"),
    (Phase::Placement, "placement"),
    (Phase::Failure, "failure sweep"),
    (Phase::Random, "random plan"),
];

impl Phase {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        PHASES[self as usize].1
    }
}
