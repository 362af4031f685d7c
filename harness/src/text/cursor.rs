//! A place in a trace's text, and the smallest steps from there: words, numbers, signs.
//!
//! A line ends where the text does, so nothing here needs to know which of the two it meets, and no
//! step but [`Cursor::skip_line`] ever leaves the line.
//!
//! This file does not know what a trace is made of; `parse` does.

use super::words::{Bad, Expected};
use crate::call::MAX_LIST;
use crate::op::Reg;

/// What may follow two dots.
const LAST_REGISTER: &str = "a memory register at most seven behind the one before";

/// What the cursor reads at the end of a line and of the text.
pub(super) const END: u8 = b'\n';

/// A place in the text. It never moves past the end of a line but in [`Cursor::skip_line`].
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
    /// Where a failure is injected into no call, if one is. It means nothing, and the fuzzer may
    /// write it.
    pub(super) idle_fault: Option<usize>,
}

impl<'a> Cursor<'a> {
    /// The beginning of a text.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, idle_fault: None }
    }

    /// Whether a register follows: `r` or `c`, and a digit. No call begins like that.
    pub(super) fn at_register(&self) -> bool {
        matches!(self.peek(), b'r' | b'c')
            && self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit)
    }

    /// Reads a register; the caller has looked at its letter.
    pub(super) fn register(&mut self) -> Result<Reg, Bad> {
        let at = self.at;
        self.at += 1;
        match self.number("a register number", Reg::MAX.into()) {
            Ok(number) => Ok(number as Reg),
            Err(bad) => Err(Bad { at, ..bad }),
        }
    }

    /// Reads what may follow a register: `..` and the last of several. Says how many they are.
    pub(super) fn registers_from(&mut self, first: Reg) -> Result<u64, Bad> {
        if !self.text[self.at..].starts_with(b"..") {
            return Ok(1);
        }
        self.at += 2;
        let at = self.at;
        let last = if self.peek() == b'r' && self.at_register() { self.register()? } else { 0 };
        match last.checked_sub(first) {
            Some(more @ 1..) if usize::from(more) < MAX_LIST => Ok(u64::from(more) + 1),
            _ => Err(Bad { at, expected: Expected::Phrase(LAST_REGISTER) }),
        }
    }

    /// Reads a decimal or hexadecimal number of at most `most`.
    pub(super) fn number(&mut self, what: &'static str, most: u64) -> Result<u64, Bad> {
        self.skip_spaces();
        let at = self.at;
        let hex = self.text[at..].starts_with(b"0x");
        let radix = if hex { 16 } else { 10 };
        self.at += if hex { 2 } else { 0 };
        let first = self.at;
        let mut value = 0_u64;
        while let Some(digit) = char::from(self.peek()).to_digit(radix) {
            let longer = value.checked_mul(radix.into());
            value = longer
                .and_then(|longer| longer.checked_add(digit.into()))
                .filter(|value| *value <= most)
                .ok_or(Bad { at, expected: Expected::AtMost(what, most) })?;
            self.at += 1;
        }
        // Two dots go on to the last of several registers.
        let is_range = self.text[self.at..].starts_with(b"..");
        if self.at == first || is_word(self.peek()) || (self.peek() == b'.' && !is_range) {
            return Err(Bad { at, expected: Expected::Phrase(what) });
        }
        Ok(value)
    }

    /// Reads letters, digits and underscores, perhaps none; also says where they begin.
    pub(super) fn word(&mut self) -> (usize, &'a [u8]) {
        self.skip_spaces();
        let at = self.at;
        while is_word(self.peek()) {
            self.at += 1;
        }
        (at, &self.text[at..self.at])
    }

    /// Reads a word that may have dots in it.
    pub(super) fn name(&mut self) -> (usize, &'a [u8]) {
        self.skip_spaces();
        let at = self.at;
        while is_word(self.peek()) || self.peek() == b'.' {
            self.at += 1;
        }
        (at, &self.text[at..self.at])
    }

    pub(super) fn take(&mut self, symbol: u8) -> bool {
        self.skip_spaces();
        let there = self.peek() == symbol;
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, symbol: u8) -> Result<(), Bad> {
        match self.take(symbol) {
            true => Ok(()),
            false => self.bad(Expected::Symbol(symbol)),
        }
    }

    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(END)
    }

    pub(super) fn skip_spaces(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// Moves to the start of the next line.
    pub(super) fn skip_line(&mut self) {
        while self.peek() != END {
            self.at += 1;
        }
        self.at += 1;
    }

    /// The mistake that something else should stand here.
    pub(super) fn bad<T>(&self, expected: Expected) -> Result<T, Bad> {
        Err(Bad { at: self.at, expected })
    }
}

/// Whether the byte can stand in a word or a number.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
