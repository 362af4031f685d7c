//! Plans: everything that is decided for a caller, request by request.
//!
//! A request that a plan does not name is served as a fresh machine would serve it, so the empty
//! plan is an ordinary run. What a plan decides may always happen on a real machine: it takes no
//! route that the request may not take, and fails nothing that cannot fail.
//!
//! A plan is an input like a trace. It is drawn from a seed, made of a fuzzer's bytes, recorded in
//! a run and shrunk, and its text can be put back into a test: `2: vmalloc, 5: fails`.

use crate::call::Request;
use crate::op::Faults;
use crate::paint::mix;
use crate::words::Route;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Where memory is to lie, among the places that the allocator could give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Place {
    /// Where the allocator puts it.
    #[default]
    Natural,
    /// Where it is aligned to no more than it must be.
    LeastAligned,
    /// As near to the end of a page as can be.
    PageEnd,
    /// Beside the memory that was given last.
    Touching,
    /// Where nothing has lain before.
    Fresh,
}

/// What fresh memory holds that is not to be zeroed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filling {
    /// Zeros, as on a fresh machine.
    #[default]
    Zeros,
    /// Random bytes.
    Junk,
}

/// What is decided for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The side of kvmalloc that serves it.
    pub route: Route,
    /// Whether it fails.
    pub fails: bool,
    /// Where its memory lies.
    pub place: Place,
    /// What its memory holds.
    pub filling: Filling,
}

impl Decision {
    /// What a fresh machine does by itself.
    pub const NATURAL: Self =
        Self { route: Route::Policy, fails: false, place: Place::Natural, filling: Filling::Zeros };

    /// A failure.
    pub const FAILS: Self = Self { fails: true, ..Self::NATURAL };

    /// The decision that a number stands for; 0 is the natural one. One in 16 fails.
    fn of(number: u8) -> Self {
        let routes = [Route::Policy, Route::Slab, Route::Vmalloc, Route::Vmalloc];
        let places = [
            Place::Natural,
            Place::LeastAligned,
            Place::PageEnd,
            Place::Touching,
            Place::Fresh,
            Place::LeastAligned,
            Place::PageEnd,
            Place::Natural,
        ];
        // The sixteen numbers with these four bits.
        let fails = number & 0x3c == 0x3c;
        let filling = if number & 0x80 == 0 { Filling::Zeros } else { Filling::Junk };
        Self {
            route: routes[usize::from(number & 3)],
            fails,
            place: if fails { Place::Natural } else { places[usize::from(number >> 2 & 7)] },
            filling,
        }
    }

    /// The route that a request takes. One that is to fail takes the side that falls back to no
    /// other.
    pub(super) fn route_of(self, request: &Request) -> Route {
        match self.fails {
            true if request.spec().traits.routed => Route::Slab,
            _ => self.route,
        }
    }

    /// The failures to inject.
    pub(super) fn faults(self) -> Faults {
        Faults { any: self.fails.into(), ..Faults::default() }
    }

    /// The same, with one part of it as a fresh machine would have it, for each part that differs.
    pub fn simpler(self) -> impl Iterator<Item = Self> {
        let natural = Self::NATURAL;
        [
            natural,
            Self { route: natural.route, ..self },
            Self { fails: natural.fails, ..self },
            Self { place: natural.place, ..self },
            Self { filling: natural.filling, ..self },
        ]
        .into_iter()
        .filter(move |simpler| *simpler != self)
    }
}

/// How requests are decided that a plan does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Others {
    /// As a fresh machine does.
    #[default]
    Natural,
    /// Those from this number on are all alike, and those before it are natural.
    From(u32, Decision),
    /// Each from this seed and its number.
    Random(u64),
}

/// What is decided for every request of a run. Requests are counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    named: BTreeMap<u32, Decision>,
    others: Others,
}

impl Plan {
    /// A plan that decides all requests in one way.
    pub fn of(others: Others) -> Self {
        Self { named: BTreeMap::new(), others }
    }

    /// A plan that decides some requests, and leaves the others as they are.
    pub fn naming(named: impl IntoIterator<Item = (u32, Decision)>) -> Self {
        let is_natural = |(_, decision): &(u32, Decision)| *decision == Decision::NATURAL;
        let named = named.into_iter().filter(|item| !is_natural(item)).collect();
        Self { named, others: Others::Natural }
    }

    /// The plan that a fuzzer's bytes stand for, one a request; those that are missing, and those
    /// that are 0, are natural.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let number = |place: usize| u32::try_from(place + 1).unwrap_or(u32::MAX);
        let decisions = bytes.iter().enumerate();
        Self::naming(decisions.map(|(place, byte)| (number(place), Decision::of(*byte))))
    }

    /// What is decided for the request of this number.
    pub fn decision(&self, number: u32) -> Decision {
        if let Some(decision) = self.named.get(&number) {
            return *decision;
        }
        match self.others {
            Others::Natural => Decision::NATURAL,
            Others::From(first, _) if number < first => Decision::NATURAL,
            Others::From(_, decision) => decision,
            Others::Random(seed) => Decision::of(mix(seed, number.into()) as u8),
        }
    }

    /// How it decides the requests that it does not name.
    pub fn others(&self) -> Others {
        self.others
    }

    /// The requests that it names, with what it decides for them.
    pub fn decisions(&self) -> impl ExactSizeIterator<Item = (u32, Decision)> {
        self.named.iter().map(|(number, decision)| (*number, *decision))
    }
}

/// The words of a plan's text that choose a place.
const PLACES: [(&str, Place); 4] = [
    ("least-aligned", Place::LeastAligned),
    ("page-end", Place::PageEnd),
    ("touching", Place::Touching),
    ("fresh", Place::Fresh),
];

impl Display for Decision {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let route = (self.route != Route::Policy).then(|| self.route.name());
        let fails = self.fails.then_some("fails");
        let place = PLACES.iter().find(|(_, place)| *place == self.place).map(|(name, _)| *name);
        let junk = (self.filling == Filling::Junk).then_some("junk");
        let words: Vec<&str> = [route, fails, place, junk].into_iter().flatten().collect();
        out.write_str(&words.join(" "))
    }
}

/// As [`FromStr`] reads it: the requests that it names, and those from a number on, but for what is
/// drawn from a seed.
impl Display for Plan {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let named = self.decisions().map(|(number, decision)| format!("{number}: {decision}"));
        let others = match self.others {
            Others::From(first, decision) => Some(format!("{first}..: {decision}")),
            Others::Natural | Others::Random(_) => None,
        };
        let parts: Vec<String> = named.chain(others).collect();
        out.write_str(&parts.join(", "))
    }
}

/// What is wrong with a plan's text, and where: the column counts characters from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The column.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Display for PlanError {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for PlanError {}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut plan = Plan::default();
        for part in text.split(',').filter(|_| !text.trim().is_empty()) {
            plan.add(part).map_err(|(piece, message)| {
                let offset = piece.as_ptr() as usize - text.as_ptr() as usize;
                PlanError { column: text[..offset].chars().count() + 1, message }
            })?;
        }
        Ok(plan)
    }
}

impl Plan {
    /// Adds what a part of a plan's text says; or the piece of it that is wrong, and why.
    fn add<'a>(&mut self, part: &'a str) -> Result<(), (&'a str, String)> {
        let Some((whom, what)) = part.split_once(':') else {
            let message = "expected the number of a request and a colon, as in '2: vmalloc'";
            return Err((part.trim_start(), message.into()));
        };
        let whom = whom.trim();
        let first = whom.strip_suffix("..");
        let number = first.unwrap_or(whom).parse::<u32>().ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| (whom, format!("'{whom}' is no number of a request")))?;
        let decision = decision(what)?;
        let is_new = match first {
            Some(_) => {
                let before = std::mem::replace(&mut self.others, Others::From(number, decision));
                before == Others::Natural
            }
            None => self.named.insert(number, decision).is_none(),
        };
        if is_new { Ok(()) } else { Err((whom, format!("'{whom}' is said twice"))) }
    }
}

/// The decision that some words are; or the word that is none, and a message.
fn decision(words: &str) -> Result<Decision, (&str, String)> {
    let mut decision = Decision::NATURAL;
    for word in words.split_whitespace() {
        match word {
            "slab" => decision.route = Route::Slab,
            "vmalloc" => decision.route = Route::Vmalloc,
            "fails" => decision.fails = true,
            "junk" => decision.filling = Filling::Junk,
            _ => {
                let place = PLACES.iter().find(|(name, _)| *name == word);
                let unknown = || (word, format!("'{word}' is no decision: {WORDS}"));
                decision.place = place.ok_or_else(unknown)?.1;
            }
        }
    }
    Ok(decision)
}

/// What a decision can be made of, for a message.
const WORDS: &str =
    "there are slab, vmalloc, fails, least-aligned, page-end, touching, fresh and junk";

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        for seed in 0..200 {
            let random = Plan::of(Others::Random(seed));
            let plan = Plan::naming((1..20).map(|number| (number, random.decision(number))));
            assert_eq!(plan.to_string().parse(), Ok(plan.clone()), "{plan}");
        }
        assert_eq!("".parse(), Ok(Plan::default()));
        let from: Plan = "2: slab, 5..: fails".parse().unwrap();
        assert_eq!(from.to_string(), "2: slab, 5..: fails");
        assert_eq!([4, 5, 900].map(|number| from.decision(number).fails), [false, true, true]);
        assert_eq!(" 3:fails ,1 : vmalloc  junk".parse::<Plan>().unwrap().to_string(), {
            "1: vmalloc junk, 3: fails"
        });
    }

    #[test]
    fn a_mistake_has_its_place() {
        for (text, column, part) in [
            ("2", 1, "a colon"),
            ("2: vmaloc", 4, "'vmaloc' is no decision"),
            ("1: fails, x: slab", 11, "'x' is no number"),
            ("0: fails", 1, "'0' is no number"),
            ("1: fails, 1: slab", 11, "twice"),
            ("1..: fails, 2..: slab", 13, "twice"),
            ("1...: fails", 1, "no number"),
            ("1: fails,", 10, "a colon"),
        ] {
            let error = text.parse::<Plan>().unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn bytes_reach_every_decision_and_zeros_are_natural() {
        assert_eq!(Plan::from_bytes(&[0; 100]), Plan::default());
        let all: Vec<Decision> = (0..=255).map(Decision::of).collect();
        let nr_failing = all.iter().filter(|decision| decision.fails).count();
        assert_eq!(nr_failing, 16);
        for (_, place) in PLACES {
            for route in [Route::Policy, Route::Slab, Route::Vmalloc] {
                for filling in [Filling::Zeros, Filling::Junk] {
                    let decision = Decision { route, fails: false, place, filling };
                    assert!(all.contains(&decision), "{decision}");
                }
            }
        }
    }
}
