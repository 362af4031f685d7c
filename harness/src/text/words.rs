//! What the reader says when a line is wrong: the words it expected, what it found, and a hint.
//!
//! The one idea: a mistake is two words on the stack ([`Bad`]) until somebody wants to read it, so
//! that the lenient reader drops bad lines without an allocation.
//!
//! This file does not read traces; `parse` does.

use super::{CALLER_FIELDS, FAULT_SITES, MACHINE_FIELDS};
use crate::call::{CALLS, Call};
use crate::op::{CLASSES, Reg};
use crate::words::gfp::GFP_NAMES;
use crate::words::{CONTEXTS, ROUTES, SLAB_FLAG_NAMES};
use std::fmt;

/// Why a trace that a person named could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1 on.
    pub line: usize,
    /// The column in characters, from 1 on.
    pub column: usize,
    /// What could have stood there.
    pub expected: String,
    /// What stands there, in backquotes, or `the end of the line`.
    pub found: String,
    /// The known word that the found one resembles.
    pub hint: Option<&'static str>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, expected, found, hint } = self;
        write!(f, "line {line}, column {column}: expected {expected}, found {found}")?;
        match hint {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

/// A kind of word of which there is a table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vocabulary {
    Call,
    Flag,
    SlabFlag,
    Property,
    MachineField,
    Route,
    Context,
    Class,
    /// The values of this field of the header.
    Names(&'static str, &'static [&'static str]),
}

impl Vocabulary {
    fn phrase(self) -> &'static str {
        match self {
            Self::Call => "a call",
            Self::Flag => "GFP flags",
            Self::SlabFlag => "flags of a cache",
            Self::Property => "a property of the call",
            Self::MachineField => "a field of the machine",
            Self::Route => "a route",
            Self::Context => "a context",
            Self::Class => "a class of answer",
            Self::Names(field, _) => field,
        }
    }

    fn words(self) -> Vec<&'static str> {
        match self {
            Self::Call => CALLS.iter().map(|spec| spec.name).chain(["machine", "caller"]).collect(),
            Self::Flag => GFP_NAMES.iter().map(|(name, _)| *name).collect(),
            Self::SlabFlag => SLAB_FLAG_NAMES.iter().map(|(name, _)| *name).collect(),
            Self::Property => {
                let faults = FAULT_SITES.iter().map(|site| site.name);
                let callers = CALLER_FIELDS.iter().map(|field| field.name);
                faults.chain(callers).chain(["route", "context"]).collect()
            }
            Self::MachineField => MACHINE_FIELDS.iter().map(|field| field.name).collect(),
            Self::Route => ROUTES.iter().map(|(name, _)| *name).collect(),
            Self::Context => CONTEXTS.iter().map(|(name, _)| *name).collect(),
            Self::Class => CLASSES.iter().map(|(_, name, _)| *name).collect(),
            Self::Names(_, names) => names.to_vec(),
        }
    }
}

/// What could have stood in the place of a mistake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// What the words say.
    Phrase(&'static str),
    /// One of a table's words.
    OneOf(Vocabulary),
    /// A number of some kind that is not larger than this.
    AtMost(&'static str, u64),
    /// A field of the machine within these limits.
    Within(&'static str, u32, u32),
    /// A punctuation mark.
    Symbol(u8),
    /// A comma and the argument of this number: the call has too few.
    Argument(Call, usize),
    /// The closing parenthesis: the call has too many arguments.
    Close(Call),
    /// No route beside a call that knows only one.
    NoRoute(Call),
    /// No register before a call that yields nothing.
    NoRegister(Call),
    /// So many registers, since the call says that it has so many results.
    Registers(u16),
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Phrase(words) => f.write_str(words),
            Self::OneOf(vocabulary) => f.write_str(vocabulary.phrase()),
            Self::AtMost(what, most) => write!(f, "{what} of at most {most}"),
            Self::Within(name, least, most) => {
                write!(f, "{name} between {least} and {most}")
            }
            Self::Symbol(symbol) => write!(f, "`{}`", char::from(symbol)),
            Self::Argument(call, place) => {
                let spec = call.spec();
                write!(f, "`,` and `{}`, argument {}", spec.args[place].0, place + 1)?;
                write!(f, " of the {} of {}", spec.args.len(), spec.name)
            }
            Self::Close(call) => {
                let spec = call.spec();
                write!(f, "`)` after the arguments of {} ({})", spec.name, spec.args.len())
            }
            Self::NoRoute(call) => {
                write!(f, "no route, since {} knows only one", call.spec().name)
            }
            Self::Registers(1) => f.write_str("one register, for one result at most"),
            Self::Registers(nr) => write!(f, "{nr} registers, `r0..r{}`, for {nr} results", nr - 1),
            Self::NoRegister(call) => {
                write!(f, "no register, since {} yields nothing", call.spec().name)
            }
        }
    }
}

/// A mistake: where in the text, and what should have stood there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bad {
    pub(super) at: usize,
    pub(super) expected: Expected,
}

impl Bad {
    /// The word at `at` is none of this kind.
    pub(super) fn one_of(at: usize, vocabulary: Vocabulary) -> Self {
        Self { at, expected: Expected::OneOf(vocabulary) }
    }

    /// Says in words what is wrong with `text`.
    pub(super) fn explain(self, text: &str) -> ParseError {
        let before = &text.as_bytes()[..self.at];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let word = token(&text[self.at..]);
        let is_register = names_negative_register(word);
        let hint = match self.expected {
            Expected::OneOf(vocabulary) if !is_register => nearest(word, &vocabulary.words()),
            _ => None,
        };
        let mut found = match word.chars().next() {
            None => "the end of the line".to_owned(),
            // It could move the cursor of a terminal, or not be seen at all.
            Some(c) if c.is_control() => format!("the character U+{:04X}", u32::from(c)),
            Some(_) => format!("`{word}`"),
        };
        if before[line_start..].contains(&b'\r') {
            found += " behind a carriage return, which alone ends no line";
        }
        ParseError {
            line: before.iter().filter(|&&b| b == b'\n').count() + 1,
            column: text[line_start..self.at].chars().count() + 1,
            expected: match is_register {
                true => Expected::AtMost("a register number", Reg::MAX.into()).to_string(),
                false => self.expected.to_string(),
            },
            found,
            hint,
        }
    }
}

/// The word or the single character that `text` begins with; nothing at the end of the line.
fn token(text: &str) -> &str {
    let inside = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let start = if text.starts_with("r-") || text.starts_with("c-") { 2 } else { 0 };
    let end = text[start..].find(|c| !inside(c)).map_or(text.len(), |end| start + end);
    match text.chars().next() {
        Some('\n' | '\r') | None => "",
        Some(c) => &text[..end.max(c.len_utf8())],
    }
}

/// Whether the word is a register but for the sign of its number.
fn names_negative_register(word: &str) -> bool {
    let number = word.strip_prefix("r-").or_else(|| word.strip_prefix("c-"));
    number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// The word that `wrong` is at most a third of its letters away from; of several the first.
fn nearest(wrong: &str, words: &[&'static str]) -> Option<&'static str> {
    let most = wrong.len().div_ceil(3).min(3);
    // Where lengths differ by more, so do letters; and a wrong word may be as long as its file.
    let near = words.iter().filter(|word| word.len().abs_diff(wrong.len()) <= most);
    let best = near.map(|word| (distance(wrong, word), *word)).min_by_key(|near| near.0)?;
    (best.0 <= most).then_some(best.1)
}

/// How many letters must be inserted, deleted or replaced to turn `a` into `b`; two neighbours that
/// changed places count once, and case does not count.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase().into_bytes(), b.to_ascii_lowercase().into_bytes());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, far) | (far, 0) => far,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let crossed = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    replaced.min(crossed).min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1)
                }
            };
        }
    }
    rows[a.len()][b.len()]
}
