//! Writing a trace: one line per op, in the one spelling that the corpus uses.
//!
//! What is printed reads back as the same trace, and the same trace always prints the same, so that
//! two traces are equal when their text is.
//!
//! Sizes, alignments and offsets are hexadecimal, counts and orders decimal. There is always a
//! header, and [`Shown`] says which fields it always has. It runs in the fuzzer's loop, so it
//! pushes bytes and does not use `write!`.

use super::{CALLER_FIELDS, CORRECT_CALLER, FAULT_SITES, MACHINE_FIELDS, Shown, Written};
use crate::call::{NUMA_NO_NODE, Role, Yields};
use crate::op::{Arg, Op, Ptr, Reg};
use crate::trace::{Claim, Machine, Trace};
use crate::words::gfp::{GFP_NAMES, Gfp, name_flags};
use crate::words::{CONTEXTS, ROUTES, Route, SLAB_FLAG_NAMES};
use std::fmt;

/// The column at which expectations begin, if the line is not longer.
const EXPECTATION_COLUMN: usize = 50;

impl Trace {
    /// Appends the trace's text.
    pub fn print_into(&self, out: &mut Vec<u8>) {
        for line in &self.why {
            out.extend_from_slice(if line.is_empty() { b"#" } else { b"# " });
            // A line break would turn the rest of the comment into calls.
            out.extend(line.bytes().map(|b| if b == b'\n' { b' ' } else { b }));
            out.push(b'\n');
        }
        machine(self.machine, out);
        out.push(b'\n');
        if self.claim == Claim::Correct {
            out.extend_from_slice(CORRECT_CALLER.as_bytes());
            out.push(b'\n');
        }
        for op in &self.ops {
            op.print_into(out);
            out.push(b'\n');
        }
    }
}

impl Op {
    /// Appends the op's line, without a line break.
    pub fn print_into(&self, out: &mut Vec<u8>) {
        let spec = self.call.spec();
        let start = out.len();
        if let Some(dst) = self.dst {
            let letter = if spec.yields == Yields::Cache { b'c' } else { b'r' };
            registers(letter, dst, self.nr_dst(), out);
            out.extend_from_slice(b" = ");
        }
        out.extend_from_slice(spec.name.as_bytes());
        out.push(b'(');
        let is_left_out = |place: &usize| {
            spec.args[*place].1.is_optional() && self.args[*place] == Arg::Number(0)
        };
        let nr_left_out = (0..spec.args.len()).rev().take_while(is_left_out).count();
        let written = &spec.args[..spec.args.len() - nr_left_out];
        for (place, (&(_, kind), arg)) in written.iter().zip(&self.args).enumerate() {
            if place > 0 {
                out.extend_from_slice(b", ");
            }
            argument(kind, *arg, out);
        }
        out.push(b')');
        properties(self, out);
        if let Some(class) = self.expect {
            let width = (out.len() - start + 1).max(EXPECTATION_COLUMN);
            out.resize(start + width, b' ');
            out.extend_from_slice(b"# -> ");
            out.extend_from_slice(class.name().as_bytes());
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(64 * (self.ops.len() + 2));
        self.print_into(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// The same as `Display`: what a failed assertion and `cargo fuzz fmt` show can be replayed.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(96);
        self.print_into(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

fn machine(machine: Machine, out: &mut Vec<u8>) {
    out.extend_from_slice(b"machine ");
    let mut separator: &[u8] = b"(";
    let default = Machine::default();
    for field in MACHINE_FIELDS {
        let value = (field.of)(&machine);
        if field.shown == Shown::IfSet && value == (field.of)(&default) {
            continue;
        }
        out.extend_from_slice(separator);
        out.extend_from_slice(field.name.as_bytes());
        out.extend_from_slice(b": ");
        match field.written {
            Written::Decimal => decimal(value.into(), out),
            Written::Hexadecimal => hex(value.into(), out),
            Written::Name(names) => out.extend_from_slice(names[value as usize].as_bytes()),
        }
        separator = b", ";
    }
    out.push(b')');
}

fn argument(kind: Role, arg: Arg, out: &mut Vec<u8>) {
    match (kind, arg) {
        (Role::Count | Role::Results | Role::Order, Arg::Number(number)) => decimal(number, out),
        (Role::Node, Arg::Number(NUMA_NO_NODE)) => out.extend_from_slice(b"NUMA_NO_NODE"),
        (Role::Node, Arg::Number(node)) => decimal(node, out),
        (Role::Ctor, Arg::Number(0)) => out.extend_from_slice(b"NULL"),
        (Role::SlabFlags, Arg::Number(flags)) => {
            flag_names(SLAB_FLAG_NAMES.iter().copied(), flags, out);
        }
        (_, Arg::Number(number)) => hex(number, out),
        (_, Arg::Gfp(Gfp(flags))) => {
            flag_names(
                GFP_NAMES.iter().map(|(name, bits)| (*name, bits.0.into())),
                flags.into(),
                out,
            );
        }
        (_, Arg::Ptr(address)) => ptr(address, out),
        (_, Arg::Cache(cache)) => register(b'c', cache, out),
        (_, Arg::Regs(first, nr)) => registers(b'r', first, nr.into(), out),
    }
}

fn flag_names(names: impl Iterator<Item = (&'static str, u64)>, flags: u64, out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"";
    let rest = name_flags(names, flags, |name| {
        out.extend_from_slice(separator);
        out.extend_from_slice(name.as_bytes());
        separator = b"|";
    });
    if flags == 0 {
        out.push(b'0');
    } else if rest != 0 {
        out.extend_from_slice(separator);
        hex(rest, out);
    }
}

fn ptr(address: Ptr, out: &mut Vec<u8>) {
    match address {
        Ptr::Const(0) => out.extend_from_slice(b"NULL"),
        Ptr::Const(16) => out.extend_from_slice(b"ZERO_SIZE_PTR"),
        Ptr::Const(address) => hex(address, out),
        Ptr::Reg(from, offset) => {
            register(b'r', from, out);
            if offset != 0 {
                out.push(if offset > 0 { b'+' } else { b'-' });
                hex(offset.unsigned_abs(), out);
            }
        }
    }
}

fn properties(op: &Op, out: &mut Vec<u8>) {
    let mut separator: &[u8] = b" (";
    if op.route != Route::Policy {
        let row = ROUTES.iter().find(|(_, route)| *route == op.route);
        property(&mut separator, "route", out);
        out.extend_from_slice(row.map_or("", |(name, _)| name).as_bytes());
    }
    for field in CALLER_FIELDS {
        let number = (field.of)(&op.caller);
        if number != 0 {
            property(&mut separator, field.name, out);
            decimal(number.into(), out);
        }
    }
    if let Some((name, _)) = CONTEXTS[1..].iter().find(|(_, context)| *context == op.caller.context)
    {
        property(&mut separator, "context", out);
        out.extend_from_slice(name.as_bytes());
    }
    for site in FAULT_SITES {
        let count = (site.of)(&op.faults);
        if count != 0 {
            property(&mut separator, site.name, out);
            decimal(count.into(), out);
        }
    }
    if separator == b", " {
        out.push(b')');
    }
}

fn property(separator: &mut &[u8], name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(separator);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    *separator = b", ";
}

/// So many registers from one on.
fn registers(letter: u8, first: Reg, nr: u16, out: &mut Vec<u8>) {
    register(letter, first, out);
    if nr > 1 {
        out.extend_from_slice(b"..");
        register(letter, first.saturating_add(nr - 1), out);
    }
}

fn register(letter: u8, number: Reg, out: &mut Vec<u8>) {
    out.push(letter);
    decimal(number.into(), out);
}

fn hex(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0x");
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = (number >> (4 * place)) as usize & 0xf;
        out.push(b"0123456789abcdef"[digit]);
    }
}

fn decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut first = digits.len();
    let mut rest = number;
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}
