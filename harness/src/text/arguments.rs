//! Reading the arguments of a call, each as its role in the table wants it.
//!
//! It knows no call by name: which roles there are, and in which order, a row says.

use super::MAX_ORDER_WRITTEN;
use super::cursor::Cursor;
use super::words::{Bad, Expected, Vocabulary};
use crate::call::{CallSpec, MAX_ARGS, MAX_LIST, NUMA_NO_NODE, Role};
use crate::op::{Arg, Ptr};
use crate::words::SLAB_FLAG_NAMES;
use crate::words::gfp::{GFP_NAMES, Gfp};

impl Cursor<'_> {
    /// Reads the arguments of a call with their parentheses.
    pub(super) fn arguments(&mut self, spec: &CallSpec) -> Result<[Arg; MAX_ARGS], Bad> {
        let mut args = [Arg::Number(0); MAX_ARGS];
        self.expect(b'(')?;
        for (place, &(_, kind)) in spec.args.iter().enumerate() {
            if place > 0 && !self.take(b',') {
                if kind.is_optional() {
                    break;
                }
                return self.bad(Expected::Argument(spec.call, place));
            }
            args[place] = self.argument(kind)?;
        }
        match self.take(b')') {
            true => Ok(args),
            false => self.bad(Expected::Close(spec.call)),
        }
    }

    fn argument(&mut self, kind: Role) -> Result<Arg, Bad> {
        Ok(match kind {
            Role::Size | Role::Held => Arg::Number(self.number("a number of bytes", u64::MAX)?),
            Role::Count => Arg::Number(self.number("a number of elements", u64::MAX)?),
            Role::Results => Arg::Number(self.number("a number of results", MAX_LIST as u64)?),
            Role::Align => Arg::Number(self.number("an alignment", u64::MAX)?),
            Role::Order => Arg::Number(self.number("an order", MAX_ORDER_WRITTEN)?),
            Role::RangeStart | Role::RangeEnd | Role::Offset => {
                Arg::Number(self.number("an offset in bytes", u64::MAX)?)
            }
            Role::Phys => Arg::Number(self.number("a physical address", u64::MAX)?),
            Role::Gfp => Arg::Gfp(self.gfp()?),
            Role::SlabFlags => Arg::Number(self.slab_flags()?),
            Role::Ctor => Arg::Number(self.named(
                "NULL",
                0,
                "`NULL` or the word that the constructor writes",
            )?),
            Role::Node => {
                Arg::Number(self.named("NUMA_NO_NODE", NUMA_NO_NODE, "a node or `NUMA_NO_NODE`")?)
            }
            Role::Freed | Role::Replaced | Role::Read | Role::Written => Arg::Ptr(self.ptr()?),
            Role::FreedList => {
                self.skip_spaces();
                if self.peek() != b'r' || !self.at_register() {
                    return self.bad(Expected::Phrase("memory registers `r0`, `r0..r3`, …"));
                }
                let first = self.register()?;
                Arg::Regs(first, self.registers_from(first)? as u8)
            }
            Role::Cache => {
                self.skip_spaces();
                if self.peek() != b'c' || !self.at_register() {
                    return self.bad(Expected::Phrase("a cache register `c0`, `c1`, …"));
                }
                Arg::Cache(self.register()?)
            }
        })
    }

    fn gfp(&mut self) -> Result<Gfp, Bad> {
        let bits = |word: &[u8]| {
            let row = GFP_NAMES.iter().find(|(name, _)| name.as_bytes() == word);
            row.map(|row| row.1.0.into())
        };
        let flags = self.flags(Vocabulary::Flag, "GFP flags", u32::MAX.into(), bits)?;
        Ok(Gfp(flags as u32))
    }

    fn slab_flags(&mut self) -> Result<u64, Bad> {
        let bits = |word: &[u8]| {
            let row = SLAB_FLAG_NAMES.iter().find(|(name, _)| name.as_bytes() == word);
            row.map(|row| row.1)
        };
        self.flags(Vocabulary::SlabFlag, "flags of a cache", u64::MAX, bits)
    }

    /// Reads names of flags and numbers, joined with `|`.
    fn flags(
        &mut self,
        vocabulary: Vocabulary,
        what: &'static str,
        most: u64,
        bits_of: impl Fn(&[u8]) -> Option<u64>,
    ) -> Result<u64, Bad> {
        let mut flags = 0;
        loop {
            self.skip_spaces();
            if self.peek().is_ascii_digit() {
                flags |= self.number(what, most)?;
            } else {
                let (at, word) = self.word();
                flags |= bits_of(word).ok_or(Bad::one_of(at, vocabulary))?;
            }
            if !self.take(b'|') {
                return Ok(flags);
            }
        }
    }

    fn named(&mut self, name: &str, value: u64, what: &'static str) -> Result<u64, Bad> {
        self.skip_spaces();
        if self.peek().is_ascii_digit() {
            return self.number(what, u64::MAX);
        }
        match self.word() {
            (_, word) if word == name.as_bytes() => Ok(value),
            (at, _) => Err(Bad { at, expected: Expected::Phrase(what) }),
        }
    }

    fn ptr(&mut self) -> Result<Ptr, Bad> {
        const OFFSET: &str = "an offset in bytes";
        self.skip_spaces();
        if self.peek() == b'r' && self.at_register() {
            let register = self.register()?;
            let offset = if self.take(b'+') {
                self.number(OFFSET, i64::MAX.unsigned_abs())? as i64
            } else if self.take(b'-') {
                (self.number(OFFSET, i64::MIN.unsigned_abs())? as i64).wrapping_neg()
            } else {
                0
            };
            return Ok(Ptr::Reg(register, offset));
        }
        if self.peek().is_ascii_digit() {
            return Ok(Ptr::Const(self.number("an address", u64::MAX)?));
        }
        match self.word() {
            (_, b"NULL") => Ok(Ptr::Const(0)),
            (_, b"ZERO_SIZE_PTR") => Ok(Ptr::Const(16)),
            (at, _) => Err(Bad {
                at,
                expected: Expected::Phrase("a register `r0`, `r1`, … or an address"),
            }),
        }
    }
}
