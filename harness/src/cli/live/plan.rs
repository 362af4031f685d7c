//! A plan of the kernel module: which requests of kvmalloc() it decides, and how.
//!
//! Its words are the module's parameters, so one text stands on a command line, in `KVROUTE_PLAN`,
//! behind `insmod`, and, a word a file, in sysfs. A word that is not said is as in a module that
//! has just been loaded.
//!
//! What the module makes of a plan is `live/plan.c`'s.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The module keeps the patterns of callers in so many bytes, and one that ends them.
pub(super) const CALLERS_BYTES_MAX: usize = 3071;

/// A pattern is at most some bytes longer than the name of a caller can be.
const PATTERN_BYTES_MAX: usize = 95;

/// The names of the parameters, in the order of writing: the requests are counted from when the
/// callers are set, and the last two switch the module on.
pub(super) const PARAMETERS: [&str; 10] = [
    "seed", "route", "size_min", "size_max", "first", "last", "edge", "callers", "fail", "permille",
];

/// The way of a request that a plan decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Memory of vmalloc.
    Vmalloc,
    /// Memory of slab.
    Slab,
    /// Linux's own; the request is only watched.
    Policy,
}

impl Way {
    const ALL: [Self; 3] = [Self::Vmalloc, Self::Slab, Self::Policy];

    /// The module's word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vmalloc => "vmalloc",
            Self::Slab => "slab",
            Self::Policy => "policy",
        }
    }
}

/// What the module's parameters say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The share of the requests that are decided.
    pub(super) permille: u64,
    /// Which of them.
    pub(super) seed: u64,
    /// How they are served.
    pub(super) way: Way,
    /// The bytes of requests that are decided.
    pub(super) sizes: RangeInclusive<u64>,
    /// Patterns of callers, with commas between them.
    pub(super) callers: String,
    /// The requests of each caller that are decided, from 1.
    pub(super) requests: RangeInclusive<u64>,
    /// The request of each caller that fails; 0 is none.
    pub(super) fail: u64,
    /// Whether memory of vmalloc ends where its last page ends.
    pub(super) edge: Edge,
}

/// Where memory of vmalloc lies in its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// At the beginning of the first.
    First,
    /// At the end of the last.
    Last,
}

impl Default for Plan {
    /// That of a module that has just been loaded, on a machine with pages of 4 KiB.
    fn default() -> Self {
        Self {
            permille: 0,
            seed: 1,
            way: Way::Vmalloc,
            sizes: 4097..=i32::MAX as u64,
            callers: "*".to_owned(),
            requests: 1..=u64::MAX,
            fail: 0,
            edge: Edge::First,
        }
    }
}

impl Plan {
    /// The same, deciding nothing.
    pub(super) fn off(&self) -> Self {
        Self { permille: 0, fail: 0, ..self.clone() }
    }

    /// Whether it decides nothing.
    pub(super) fn is_off(&self) -> bool {
        self.permille == 0 && self.fail == 0
    }

    /// The parameters with their values, in the order of writing.
    pub(super) fn settings(&self) -> [(&'static str, String); PARAMETERS.len()] {
        PARAMETERS.map(|name| (name, self.value(name)))
    }

    fn value(&self, name: &str) -> String {
        match name {
            "permille" => self.permille.to_string(),
            "seed" => self.seed.to_string(),
            "route" => self.way.name().to_owned(),
            "size_min" => self.sizes.start().to_string(),
            "size_max" => self.sizes.end().to_string(),
            "first" => self.requests.start().to_string(),
            "last" => self.requests.end().to_string(),
            "fail" => self.fail.to_string(),
            "edge" => u8::from(self.edge == Edge::Last).to_string(),
            _ => self.callers.clone(),
        }
    }

    /// Sets one parameter.
    ///
    /// # Errors
    /// There is none of this name, or the value is not one for it.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "permille" => self.permille = number(value, 0..=1000)?,
            "seed" => self.seed = number(value, 0..=u64::MAX)?,
            "route" => self.way = way(value)?,
            "size_min" => self.sizes = number(value, 0..=u64::MAX)?..=*self.sizes.end(),
            "size_max" => self.sizes = *self.sizes.start()..=number(value, 0..=u64::MAX)?,
            "first" => self.requests = number(value, 0..=u64::MAX)?..=*self.requests.end(),
            "last" => self.requests = *self.requests.start()..=number(value, 0..=u64::MAX)?,
            "fail" => self.fail = number(value, 0..=u64::MAX)?,
            "edge" => self.edge = edge(value)?,
            "callers" => self.callers = callers(value)?,
            _ => return Err(format!("no word of a plan; there are {}", PARAMETERS.join(", "))),
        }
        Ok(())
    }
}

fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    let [least, most] = [range.start(), range.end()];
    number.ok_or_else(|| format!("'{text}' is not a number from {least} to {most}"))
}

fn way(text: &str) -> Result<Way, String> {
    let found = Way::ALL.into_iter().find(|way| way.name() == text);
    found.ok_or_else(|| format!("'{text}' is not vmalloc, slab or policy"))
}

/// The kernel prints such a parameter as a letter, and takes a digit as well.
fn edge(text: &str) -> Result<Edge, String> {
    match text {
        "0" | "n" | "N" => Ok(Edge::First),
        "1" | "y" | "Y" => Ok(Edge::Last),
        _ => Err(format!("'{text}' is not 0 or 1")),
    }
}

/// What no name of a caller can fit, the module refuses too.
fn callers(text: &str) -> Result<String, String> {
    let fits = |pattern: &str| (1..=PATTERN_BYTES_MAX).contains(&pattern.len());
    if text.contains(char::is_whitespace) || !text.split(',').all(fits) {
        return Err("patterns with commas between them are wanted, as in ext4:*,xfs:*".to_owned());
    }
    if text.len() > CALLERS_BYTES_MAX {
        let nr_bytes = text.len();
        return Err(format!("{nr_bytes} bytes of patterns; the module takes {CALLERS_BYTES_MAX}"));
    }
    Ok(text.to_owned())
}

/// The words that are not as in a module that has just been loaded; always the share.
impl Display for Plan {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "permille={}", self.permille)?;
        let usual = Self::default().settings();
        for ((name, value), (_, usual)) in self.settings().iter().zip(&usual) {
            if value != usual && *name != "permille" {
                write!(out, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = Self::default();
        for word in text.split_whitespace() {
            let said = word.split_once('=');
            let (name, value) = said.ok_or_else(|| {
                format!("the plan's word '{word}': a name, '=' and a value are wanted")
            })?;
            plan.set(name, value).map_err(|what| format!("the plan's word '{word}': {what}"))?;
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        for text in [
            "permille=0",
            "permille=500 seed=7 callers=ext4:*,vmlinux:alloc_fdtable+0x*",
            "permille=1000 route=slab size_min=1 size_max=100 first=2 last=3 edge=1 fail=4",
        ] {
            let plan: Plan = text.parse().unwrap();
            assert_eq!(plan.to_string().parse(), Ok(plan.clone()), "{text}");
            assert_eq!(plan.is_off(), text == "permille=0", "{text}");
            assert!(plan.off().is_off());
            let mut set = Plan::default();
            for (name, value) in plan.settings() {
                set.set(name, &value).unwrap();
            }
            assert_eq!(set, plan);
        }
        assert_eq!("edge=Y".parse::<Plan>(), "edge=1".parse());
        assert_eq!(Plan::default().to_string(), "permille=0");
    }

    #[test]
    fn the_callers_are_set_before_the_module_is_switched_on() {
        let place = |name| PARAMETERS.iter().position(|parameter| *parameter == name);
        assert!(place("callers") < place("fail") && place("callers") < place("permille"));
        assert!(place("last") < place("callers") && place("edge") < place("callers"));
    }

    #[test]
    fn a_mistake_names_its_word() {
        let long = format!("callers={}", "x,".repeat(CALLERS_BYTES_MAX / 2) + "yz");
        let over = format!("callers={}", "x".repeat(PATTERN_BYTES_MAX + 1));
        for (text, what) in [
            ("permille", "'permille': a name, '='"),
            ("permille=1001", "'permille=1001': '1001' is not a number from 0 to 1000"),
            ("seed=1 premille=5", "'premille=5': no word of a plan; there are seed, route"),
            ("seed=-1", "'-1' is not a number"),
            ("route=pages", "'pages' is not vmalloc, slab or policy"),
            ("edge=2", "'2' is not 0 or 1"),
            ("callers=", "patterns with commas"),
            ("callers=a:*,,b:*", "patterns with commas"),
            ("callers=a:*,", "patterns with commas"),
            (over.as_str(), "patterns with commas"),
            (long.as_str(), "3072 bytes of patterns; the module takes 3071"),
        ] {
            let error = text.parse::<Plan>().unwrap_err();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
