//! Reading a trace: a cursor over the bytes that stops at the first mistake of a line.
//!
//! The one idea: one reader of lines, two attitudes. [`Trace::parse`] turns the first mistake into
//! an error with line and column; [`Trace::parse_lenient`] drops the line and counts it, so that
//! decoding never fails and an old corpus keeps its meaning as calls are added.
//!
//! It runs in the fuzzer's loop: it walks the bytes once and allocates nothing but the list of ops.

use super::cursor::{Cursor, END, is_word};
use super::words::{Bad, Expected, ParseError, Vocabulary};
use super::{
    CALLER_FIELDS, FAULT_SITES, MACHINE_FIELDS, MAX_FUZZ_OPS, MachineField, Written, clamp_machine,
};
use crate::call::{CALLS, CallSpec, Yields};
use crate::op::{CLASSES, Faults, Op, Reg};
use crate::trace::{Claim, Machine, Trace};
use crate::words::{CONTEXTS, Current, ROUTES, Route};

impl Trace {
    /// Reads a trace that a person wrote. The first mistake is an error.
    ///
    /// Comment lines before the header, or before the first op if there is no header, become `why`.
    /// Other comments are dropped, but for an expectation `# -> Class` behind an op. Spaces are
    /// free, numbers may be decimal or hexadecimal, the header may name any of its fields, and
    /// `route: policy` means the same as no route.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut cursor = Cursor::new(text.as_bytes());
        let mut trace = Self::default();
        let mut stage = Stage::Why;
        while cursor.at < text.len() {
            cursor.line(&mut trace, &mut stage).map_err(|bad| bad.explain(text))?;
            cursor.skip_line();
        }
        Ok(trace)
    }

    /// Reads an input of the fuzzer, and counts the lines that were dropped because they mean
    /// nothing, or because they are beyond [`MAX_FUZZ_OPS`] ops.
    ///
    /// Comments, and with them expectations, are no part of an input: a mutant of a trace owes its
    /// parent no answer. The header is brought within the fuzzer's limits.
    pub fn parse_lenient(bytes: &[u8]) -> Self {
        let mut cursor = Cursor::new(bytes);
        let mut trace = Self::default();
        while cursor.at < bytes.len() {
            cursor.skip_spaces();
            match cursor.peek() {
                END | b'#' => {}
                _ if trace.ops.len() >= MAX_FUZZ_OPS => trace.nr_dropped_lines += 1,
                // No claim either: a mutant of a caller is another caller.
                b'c' if trace.ops.is_empty() && cursor.at_line_of(b"caller") => {}
                b'm' if trace.ops.is_empty() && cursor.at_line_of(b"machine") => {
                    match cursor.header() {
                        Ok(fields) => {
                            (trace.machine, trace.nr_clamped_fields) = lenient_machine(&fields);
                        }
                        Err(_) => trace.nr_dropped_lines += 1,
                    }
                }
                _ => match cursor.op() {
                    Ok(op) if matches!(cursor.peek(), END | b'#') => trace.ops.push(op),
                    _ => trace.nr_dropped_lines += 1,
                },
            }
            cursor.skip_line();
        }
        trace
    }
}

/// Which lines may still come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing but comments so far.
    Why,
    /// The machine has been read.
    Header,
    /// The claim has been read, and the machine if there is one.
    Claim,
    /// An op has been read.
    Ops,
}

/// A property of an op, by its place in its table.
#[derive(Clone, Copy)]
enum Property {
    Route,
    Context,
    Fault(usize),
    Caller(usize),
}

impl Property {
    fn named(word: &[u8]) -> Option<Self> {
        let fault = FAULT_SITES.iter().position(|site| site.name.as_bytes() == word);
        let caller = || CALLER_FIELDS.iter().position(|field| field.name.as_bytes() == word);
        match word {
            b"route" => Some(Self::Route),
            b"context" => Some(Self::Context),
            _ => fault.map(Self::Fault).or_else(|| caller().map(Self::Caller)),
        }
    }

    /// A bit of its own, to see that it stands there once.
    const fn bit(self) -> u16 {
        match self {
            Self::Route => 1,
            Self::Context => 2,
            Self::Caller(place) => 4 << place,
            Self::Fault(place) => (4 << CALLER_FIELDS.len()) << place,
        }
    }
}

/// The fields of the header as written: where each value stands, and the value.
type Fields = [Option<(usize, u64)>; MACHINE_FIELDS.len()];

/// The machine, and how many fields were written with another value than it has.
fn lenient_machine(fields: &Fields) -> (Machine, u32) {
    let mut machine = Machine::default();
    let written = || MACHINE_FIELDS.iter().zip(fields).filter_map(|(f, w)| Some((f, (*w)?.1)));
    for (field, value) in written() {
        *(field.of_mut)(&mut machine) = u32::try_from(value).unwrap_or(u32::MAX);
    }
    clamp_machine(&mut machine);
    let nr_clamped = written().filter(|(f, value)| u64::from((f.of)(&machine)) != *value).count();
    (machine, nr_clamped as u32)
}

fn strict_machine(fields: &Fields) -> Result<Machine, Bad> {
    let mut machine = Machine::default();
    for (field, written) in MACHINE_FIELDS.iter().zip(fields) {
        if let Some((at, value)) = *written {
            // Fields come in the table's order here, so `frames` is known before `min_free`.
            let most = if field.name == "min_free" { machine.frames } else { field.limits.1 };
            let least = field.limits.0;
            *(field.of_mut)(&mut machine) = u32::try_from(value)
                .ok()
                .filter(|value| (least..=most).contains(value))
                .ok_or(Bad { at, expected: Expected::Within(field.name, least, most) })?;
        }
    }
    Ok(machine)
}

impl Cursor<'_> {
    // Lines.

    /// Reads one line of a person's trace.
    fn line(&mut self, trace: &mut Trace, stage: &mut Stage) -> Result<(), Bad> {
        self.skip_spaces();
        match self.peek() {
            END => {}
            b'#' if *stage == Stage::Why => trace.why.push(self.comment()),
            b'#' => {}
            b'c' if self.at_line_of(b"caller") => {
                if !matches!(stage, Stage::Why | Stage::Header) {
                    return self.bad(Expected::Phrase("the caller once, before the first call"));
                }
                trace.claim = self.claim()?;
                *stage = Stage::Claim;
            }
            b'm' if self.at_line_of(b"machine") => {
                if *stage != Stage::Why {
                    return self.bad(Expected::Phrase("the machine once, before the first call"));
                }
                trace.machine = strict_machine(&self.header()?)?;
                *stage = Stage::Header;
            }
            _ => {
                let mut op = self.op()?;
                if let Some(at) = self.idle_fault {
                    return Err(Bad {
                        at,
                        expected: Expected::Phrase("a count of calls from 1 on"),
                    });
                }
                self.expectation(&mut op)?;
                trace.ops.push(op);
                *stage = Stage::Ops;
            }
        }
        Ok(())
    }

    /// Whether the line begins with this word of the header.
    fn at_line_of(&self, word: &[u8]) -> bool {
        let rest = self.text[self.at..].strip_prefix(word);
        rest.is_some_and(|rest| !rest.first().is_some_and(|&b| is_word(b)))
    }

    /// Reads what the header says of the calls.
    fn claim(&mut self) -> Result<Claim, Bad> {
        self.word();
        self.expect(b'(')?;
        match self.word() {
            (_, b"correct") => {}
            (at, _) => return Err(Bad { at, expected: Expected::Phrase("`correct`") }),
        }
        self.expect(b')')?;
        match self.peek_comment() {
            true => Ok(Claim::Correct),
            false => self.bad(Expected::Phrase("the end of the line")),
        }
    }

    /// The text of a comment line without its `#` and one space.
    fn comment(&mut self) -> String {
        let line = self.text[self.at + 1..].split(|&b| b == END).next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        String::from_utf8_lossy(line.strip_prefix(b" ").unwrap_or(line)).into_owned()
    }

    fn header(&mut self) -> Result<Fields, Bad> {
        self.word();
        let mut fields = Fields::default();
        if self.take(b'(') {
            self.list(|cursor| {
                let (at, word) = cursor.word();
                let place = MACHINE_FIELDS.iter().position(|f| f.name.as_bytes() == word);
                let place = place.ok_or(Bad::one_of(at, Vocabulary::MachineField))?;
                if fields[place].is_some() {
                    return Err(Bad { at, expected: Expected::Phrase("each field once") });
                }
                cursor.expect(b':')?;
                cursor.skip_spaces();
                let value_at = cursor.at;
                fields[place] = Some((value_at, cursor.value(&MACHINE_FIELDS[place])?));
                Ok(())
            })?;
        }
        match self.peek_comment() {
            true => Ok(fields),
            false => self.bad(Expected::Phrase("the end of the line")),
        }
    }

    /// Reads the value of a field of the header.
    fn value(&mut self, field: &MachineField) -> Result<u64, Bad> {
        let Written::Name(names) = field.written else { return self.number("a number", u64::MAX) };
        let (at, name) = self.name();
        let place = names.iter().position(|known| known.as_bytes() == name);
        place.map(|place| place as u64).ok_or(Bad::one_of(at, Vocabulary::Names(field.name, names)))
    }

    /// Whether nothing but a comment follows on the line.
    fn peek_comment(&mut self) -> bool {
        self.skip_spaces();
        matches!(self.peek(), END | b'#')
    }

    /// Reads `register = call(arguments) (properties)` up to the comment.
    fn op(&mut self) -> Result<Op, Bad> {
        let left_at = self.at;
        let left = self.left_side()?;
        let spec = self.call()?;
        let dst = match (spec.yields, left) {
            (_, None) => None,
            (Yields::Memory, Some((b'r', register, _))) => Some(register),
            (Yields::Cache, Some((b'c', register, 1))) => Some(register),
            (yields, Some(_)) => {
                let expected = match yields {
                    Yields::Nothing => Expected::NoRegister(spec.call),
                    Yields::Memory => Expected::Phrase("a memory register `r0`, `r1`, …"),
                    Yields::Cache => Expected::Phrase("a cache register `c0`, `c1`, …"),
                };
                return Err(Bad { at: left_at, expected });
            }
        };
        let args = self.arguments(spec)?;
        let mut op = Op {
            dst,
            call: spec.call,
            args,
            route: Route::Policy,
            faults: Faults::default(),
            caller: Current::default(),
            expect: None,
        };
        if left.is_some_and(|(.., nr)| nr != u64::from(op.nr_dst())) {
            return Err(Bad { at: left_at, expected: Expected::Registers(op.nr_dst()) });
        }
        if self.take(b'(') {
            self.properties(spec, &mut op)?;
        }
        self.skip_spaces();
        Ok(op)
    }

    /// Reads what follows an op: nothing, a comment, or an expectation.
    fn expectation(&mut self, op: &mut Op) -> Result<(), Bad> {
        if !self.peek_comment() {
            return self.bad(Expected::Phrase("the end of the line"));
        }
        if self.take(b'#') && self.take(b'-') && self.take(b'>') {
            let (at, word) = self.word();
            let row = CLASSES.iter().find(|(_, name, _)| name.as_bytes() == word);
            op.expect = Some(row.ok_or(Bad::one_of(at, Vocabulary::Class))?.0);
            self.skip_spaces();
            if self.peek() != END {
                return self.bad(Expected::Phrase("the end of the line"));
            }
        }
        Ok(())
    }

    // Parts of a line.

    /// The letter of the register on the left, its number, and how many there are from it on.
    fn left_side(&mut self) -> Result<Option<(u8, Reg, u64)>, Bad> {
        let letter = self.peek();
        if !self.at_register() {
            return Ok(None);
        }
        let register = self.register()?;
        let nr = self.registers_from(register)?;
        self.expect(b'=')?;
        Ok(Some((letter, register, nr)))
    }

    fn call(&mut self) -> Result<&'static CallSpec, Bad> {
        let (at, word) = self.word();
        let row = CALLS.iter().find(|spec| spec.name.as_bytes() == word);
        row.ok_or(Bad::one_of(at, Vocabulary::Call))
    }

    fn properties(&mut self, spec: &CallSpec, op: &mut Op) -> Result<(), Bad> {
        let mut seen = 0_u16;
        self.list(|cursor| {
            let (at, word) = cursor.word();
            let property = Property::named(word).ok_or(Bad::one_of(at, Vocabulary::Property))?;
            let bit = property.bit();
            if seen & bit != 0 {
                return Err(Bad { at, expected: Expected::Phrase("each property once") });
            }
            seen |= bit;
            if matches!(property, Property::Route) && !spec.traits.routed {
                return Err(Bad { at, expected: Expected::NoRoute(spec.call) });
            }
            cursor.expect(b':')?;
            match property {
                Property::Fault(place) => {
                    cursor.skip_spaces();
                    let at = cursor.at;
                    let count = cursor.number("a count of calls", u16::MAX.into())?;
                    *(FAULT_SITES[place].of_mut)(&mut op.faults) = count as u16;
                    cursor.idle_fault = cursor.idle_fault.or((count == 0).then_some(at));
                }
                Property::Caller(place) => {
                    let field = &CALLER_FIELDS[place];
                    let number = cursor.number("a number", u64::from(field.end) - 1)?;
                    *(field.of_mut)(&mut op.caller) = number as u8;
                }
                Property::Route => op.route = cursor.row(ROUTES, Vocabulary::Route)?,
                Property::Context => {
                    op.caller.context = cursor.row(CONTEXTS, Vocabulary::Context)?;
                }
            }
            Ok(())
        })
    }

    /// Reads a word that names a row of a table.
    fn row<T: Copy>(&mut self, rows: &[(&str, T)], vocabulary: Vocabulary) -> Result<T, Bad> {
        let (at, word) = self.word();
        let row = rows.iter().find(|(name, _)| name.as_bytes() == word);
        Ok(row.ok_or(Bad::one_of(at, vocabulary))?.1)
    }

    /// Reads items up to the closing parenthesis; the opening one has been read.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Bad>) -> Result<(), Bad> {
        if self.take(b')') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b')') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.bad(Expected::Phrase("`,` or `)`"));
            }
        }
    }
}
