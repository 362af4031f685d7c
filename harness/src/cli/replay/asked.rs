//! The question 'what if': the same requests on another machine, or under another policy.
//!
//! The recorded requests run once on the machine that the recording is given and once on the one
//! that was asked for, and the two answers stand side by side. `sweep` asks for every cutoff and
//! level of fragmentation at once.

use crate::stats::Stats;
use crate::trace::{Limits, Machine, POLICIES};
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use super::rows::Extra;
use crate::report::grouped;

#[derive(clap::Args)]
pub(crate) struct Asked {
    /// What if: kvmalloc as in this version.
    #[arg(long, value_name = "VERSION", value_parser = PossibleValuesParser::new(POLICIES))]
    policy: Option<String>,
    /// What if: kvmalloc never falls back for requests of at most this many pages.
    #[arg(long, value_name = "PAGES", value_parser = range(Limits::CUTOFF))]
    cutoff: Option<u32>,
    /// What if: the machine has this many page frames. Without it the frames that --fragmented
    /// holds are added.
    #[arg(long, value_name = "N", value_parser = range(Limits::FRAMES))]
    frames: Option<u32>,
    /// What if: this much of the free memory lies in single pages.
    #[arg(long, value_name = "PERCENT", value_parser = range(Limits::FRAGMENTED))]
    fragmented: Option<u32>,
}

fn range((least, most): (u32, u32)) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(least)..=i64::from(most))
}

impl Asked {
    /// The machine that is asked for in place of the recording's own; `None` if none is.
    pub(super) fn machine(&self, own: &Machine) -> Option<Machine> {
        let Self { policy, cutoff, frames, fragmented } = self;
        if (policy.is_none() && cutoff.is_none()) && (frames.is_none() && fragmented.is_none()) {
            return None;
        }
        let policy = policy.as_ref().and_then(|name| POLICIES.iter().position(|p| p == name));
        let percent = fragmented.unwrap_or(own.fragmented);
        // Each single page costs another that is held beside it.
        let held = u64::from(own.frames) * u64::from(percent) / 100;
        let with_held = (u64::from(own.frames) + held).min(Limits::FRAMES.1.into()) as u32;
        Some(Machine {
            policy: policy.map_or(own.policy, |place| place as u32),
            cutoff: cutoff.unwrap_or(own.cutoff),
            frames: frames.unwrap_or(with_held),
            fragmented: percent,
            ..*own
        })
    }
}

/// What a machine is, as far as it can be asked for.
pub(super) fn as_text(machine: &Machine) -> String {
    let cutoff = match machine.cutoff {
        0 => "its own cutoff".to_owned(),
        pages => format!("cutoff {pages}"),
    };
    format!(
        "kvmalloc of {}, {cutoff}, {} frames, {} % of them in single pages",
        POLICIES[machine.policy as usize],
        grouped(machine.frames.into()),
        machine.fragmented
    )
}

pub(super) fn as_json(machine: &Machine) -> Value {
    json!({
        "policy": POLICIES[machine.policy as usize], "cutoff": machine.cutoff,
        "frames": machine.frames, "fragmented": machine.fragmented,
    })
}

/// What each run cost, as lines of the table.
pub(super) fn costs(runs: &[&Stats]) -> Vec<Extra> {
    let line = |name, of: fn(&Stats) -> u64| {
        let cells = runs.iter().map(|stats| grouped(of(stats))).collect();
        (name, cells)
    };
    vec![
        line("peak frames", |stats| stats.lanes[0].peak_pages),
        line("page tables at the end", |stats| stats.lanes[0].left.nr_page_table_pages),
        line("rounds of reclaim", |stats| stats.effort.nr_reclaim_rounds),
        line("OOM kills", |stats| stats.effort.nr_oom_kills),
    ]
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_not_asked_for_stays_as_recorded() {
        let own = Machine { frames: 1000, ..Machine::default() };
        let nothing = Asked { policy: None, cutoff: None, frames: None, fragmented: None };
        assert_eq!(nothing.machine(&own), None);
        let later = Asked { policy: Some("v6.16".to_owned()), ..nothing };
        let machine = later.machine(&own).expect("a machine");
        assert_eq!(POLICIES[machine.policy as usize], "v6.16");
        assert_eq!(Machine { policy: own.policy, ..machine }, own);
    }

    #[test]
    fn a_fragmented_machine_has_as_much_memory_unless_its_frames_are_given() {
        let own = Machine { frames: 1000, ..Machine::default() };
        let half = |frames| {
            let asked = Asked { policy: None, cutoff: Some(4), frames, fragmented: Some(50) };
            asked.machine(&own).expect("a machine")
        };
        assert_eq!((half(None).frames, half(None).fragmented, half(None).cutoff), (1500, 50, 4));
        assert_eq!(half(Some(800)).frames, 800);
    }
}
