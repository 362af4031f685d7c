//! What a caller has done, as a trace: its calls and what it wrote.

use super::holdings::Holdings;
use super::plan::Decision;
use crate::call::{Call, MAX_ARGS, Request, Role, Yields};
use crate::op::{Arg, Faults, Op, Ptr, Reg};
use crate::trace::{Machine, Trace};
use crate::words::{CacheHandle, Current, Gfp, Route};

/// The lines so far.
#[derive(Default)]
pub(super) struct Log {
    ops: Vec<Op>,
}

impl Log {
    /// The lines, on the machine on which they were carried out.
    pub(super) fn into_trace(self, machine: Machine) -> Trace {
        Trace { machine, ops: self.ops, ..Trace::default() }
    }

    /// Writes a call down: who makes it, and the allocations that its addresses come from.
    pub(super) fn call(
        &mut self,
        held: &Holdings,
        request: &Request,
        decision: Decision,
        (caller, origins): (Current, &[Option<Reg>]),
    ) {
        let spec = request.spec();
        let mut args = [Arg::Number(0); MAX_ARGS];
        let words = request.words().iter().zip(spec.args).zip(origins);
        for (place, ((word, (_, role)), origin)) in args.iter_mut().zip(words) {
            *place = match role {
                Role::Gfp => Arg::Gfp(Gfp(*word as u32)),
                Role::Cache => Arg::Cache(held.cache(CacheHandle(*word))),
                role if role.is_address() => Arg::Ptr(held.written(*word, *origin)),
                _ => Arg::Number(*word),
            };
        }
        let dst = match spec.yields {
            Yields::Memory => Some(held.next()),
            Yields::Cache => Some(held.next_cache()),
            Yields::Nothing => None,
        };
        let (route, faults) = (decision.route_of(request), decision.faults());
        let op = Op { dst, call: request.call, args, route, faults, ..blank(caller) };
        match spec.place(Role::FreedList) {
            Some(place) => self.frees(op, place, &origins[place..]),
            None => self.ops.push(op),
        }
    }

    /// Writes a call down that frees several allocations: a line for those whose registers follow
    /// each other.
    fn frees(&mut self, mut op: Op, place: usize, origins: &[Option<Reg>]) {
        let regs: Vec<Reg> = origins.iter().copied().flatten().collect();
        for run in regs.chunk_by(|reg, next| reg.checked_add(1) == Some(*next)) {
            op.args[place] = Arg::Regs(run[0], run.len() as u8);
            self.ops.push(op);
        }
    }

    /// Writes a write down; writes to one allocation that follow each other are one line.
    pub(super) fn write(&mut self, reg: Reg, start: u64, len: u64, caller: Current) {
        let register = Arg::Ptr(Ptr::Reg(reg, 0));
        let (mut first, mut end) = (start, start.saturating_add(len));
        if let Some(last) = self.ops.last()
            && let (Call::Write, [of, Arg::Number(offset), Arg::Number(len), ..]) =
                (last.call, last.args)
            && of == register
        {
            (first, end) = (first.min(offset), end.max(offset.saturating_add(len)));
            self.ops.pop();
        }
        let mut args = [Arg::Number(0); MAX_ARGS];
        args[..3].copy_from_slice(&[register, Arg::Number(first), Arg::Number(end - first)]);
        self.ops.push(Op { call: Call::Write, args, ..blank(caller) });
    }
}

/// A line without anything in it.
fn blank(caller: Current) -> Op {
    Op {
        dst: None,
        call: Call::Write,
        args: [Arg::Number(0); MAX_ARGS],
        route: Route::Policy,
        faults: Faults::default(),
        caller,
        expect: None,
    }
}
