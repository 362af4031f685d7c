//! One lane's way through a trace: each op with what it implies, judged step by step.
//!
//! What is freed and asked once more at the end of the trace is in `end`.

use super::fresh::Fresh;
use super::{Objection, Witness};
use crate::call::{Call, Makes, Request, ask};
use crate::campaign::EveryOp;
use crate::lane::{Action, Lane, Record, Skip, Waiter};
use crate::model::{Allocation, Via};
use crate::op::{Class, Op, Reg, Setting};
use crate::oracle::{Event, Jury, Step, Target, View, Wake};
use crate::paint::mix;
use crate::stats::Stats;
use crate::subject::{Answer, Cap, Reach, Reply};
use std::collections::VecDeque;

/// All memory and all structures are checked at the end, and before that every this many ops, or
/// every as many ops as there are live allocations if those are more. So the cost of checking, per
/// op, stays the same however much is live.
const CHECK_INTERVAL_OPS: usize = 128;

/// A lane and its place in the campaign.
pub(super) struct Runner<'a> {
    pub(super) place: usize,
    pub(super) lane: Lane,
    pub(super) jury: Jury,
    every_op: EveryOp,
    witness: Witness<'a>,
    /// The op after which everything is looked at next.
    next_check: usize,
    /// What the fresh machine granted.
    pub(super) fresh: Fresh,
    /// The requests that were carried out.
    pub(super) nr_steps: u64,
}

impl<'a> Runner<'a> {
    /// The way of a lane that has booted.
    pub(super) fn of(place: usize, lane: Lane, every_op: EveryOp, witness: Witness<'a>) -> Self {
        Self {
            place,
            jury: Jury::of(lane.spec.packs, lane.caps),
            fresh: Fresh::of(lane.caps),
            lane,
            every_op,
            witness,
            next_check: CHECK_INTERVAL_OPS,
            nr_steps: 0,
        }
    }

    /// Carries one op out, with what it implies.
    pub(super) fn op(
        &mut self,
        op: &Op,
        index: usize,
        stats: &mut Stats,
    ) -> Result<View, Objection> {
        let view = match self.try_op(op, index, stats) {
            Ok(view) => view?,
            Err(skip) => {
                match (op.call, skip) {
                    (Call::Write, Skip::NoMemory) => self.jury.judge(&Event::Stray)?,
                    (_, Skip::Destroyed) => self.jury.judge(&Event::Destroyed)?,
                    _ => {}
                }
                stats.skip(op.call, skip);
                View { is_kv: op.call.spec().traits.routed, ..View::default() }
            }
        };
        if self.every_op == EveryOp::VmapTrees {
            let structure = self.lane.subject().validate_vmap();
            self.jury.judge(&Event::Check { damage: None, structure })?;
        }
        self.look_beside(Reach::Near)?;
        if index >= self.next_check {
            self.next_check = index + CHECK_INTERVAL_OPS.max(self.lane.model().book.nr_live());
            self.check(stats)?;
        }
        Ok(view)
    }

    fn try_op(
        &mut self,
        op: &Op,
        index: usize,
        stats: &mut Stats,
    ) -> Result<Result<View, Objection>, Skip> {
        let id = index as u32;
        let action = self.lane.resolve(op, id)?;
        (0..op.nr_dst()).try_for_each(|nth| self.lane.release_before(op, nth).map(drop))?;
        Ok(self.act(op, id, &action, stats))
    }

    fn act(
        &mut self,
        op: &Op,
        id: u32,
        action: &Action,
        stats: &mut Stats,
    ) -> Result<View, Objection> {
        let is_kv = op.call.spec().traits.routed;
        let (target, usable) = self.target(op).unzip();
        let cache = self.lane.named_cache(op);
        for nth in 0..op.nr_dst() {
            if let Ok(Some(request)) = self.lane.release_before(op, nth) {
                self.lane.gives_up(op.dst.and_then(|dst| dst.checked_add(nth)));
                self.release(id, request, &op.setting(), stats)?;
            }
        }
        self.lane.gives_up(op.put_page());
        let seen = match *action {
            Action::Request(request) => self.request(op, id, request, stats)?,
            Action::Write { addr, end } => {
                View { class: Some(self.write(id, addr, end)?), ..View::default() }
            }
        };
        match seen.class {
            Some(class) => stats.answer(self.place, op.call, class, is_kv),
            None => stats.skip(op.call, Skip::Unsupported),
        }
        Ok(View { is_kv, target, cache, usable: usable.unwrap_or(0), ..seen })
    }

    /// Carries a request of the trace out; what is known of its answer.
    fn request(
        &mut self,
        op: &Op,
        id: u32,
        request: Request,
        stats: &mut Stats,
    ) -> Result<View, Objection> {
        let (class, Reply { answer, effort, .. }) =
            self.step(id, request, &op.setting(), op.dst, stats)?;
        self.lane.gives_up(None);
        match answer {
            Answer::Address(page)
                if op.dst.is_none() && op.call.spec().makes == Makes::Reference =>
            {
                self.release(id, ask::put_page(page), &op.setting(), stats)?;
            }
            _ if op.dst.is_none() => self.discard(id, answer, &op.setting(), stats)?,
            _ => {}
        }
        self.serve_waiters(op.call == Call::Tick, stats)?;
        let on_linux = match answer {
            Answer::BadFree(refusal) => refusal.on_linux,
            _ => None,
        };
        Ok(View { class, on_linux, effort, ..View::default() })
    }

    /// Carries a request out, has it judged, and enters it in the book.
    pub(super) fn step(
        &mut self,
        id: u32,
        request: Request,
        setting: &Setting,
        dst: Option<Reg>,
        stats: &mut Stats,
    ) -> Result<(Option<Class>, Reply), Objection> {
        self.fresh.ask(&request, &mut self.lane, &self.jury)?;
        let mut record = self.lane.perform(id, request, setting, None);
        self.nr_steps += 1;
        self.judge(&record, stats)?;
        stats.request(self.place, &record);
        self.fresh.note(&record);
        let (class, reply) = (self.lane.classify(&record), record.reply);
        self.lane.commit(&mut record, dst);
        Ok((class, reply))
    }

    pub(super) fn judge(&self, record: &Record, stats: &Stats) -> Result<(), Objection> {
        let Lane { min_free, pcp_high, .. } = self.lane;
        let (model, relaxed) = (self.lane.model(), &stats.relaxed);
        let step = Step { model, min_free, pcp_high, record, relaxed };
        (self.witness)(&step);
        self.jury.judge(&Event::Step(&step))
    }

    /// Frees something that the trace does not free itself.
    fn release(
        &mut self,
        id: u32,
        request: Request,
        setting: &Setting,
        stats: &mut Stats,
    ) -> Result<(), Objection> {
        self.jury.judge(&Event::Left(&[request]))?;
        stats.nr_releases += 1;
        self.step(id, request, &setting.of_harness(), None, stats)?;
        self.serve_waiters(false, stats)
    }

    /// Frees memory that went to no register.
    fn discard(
        &mut self,
        id: u32,
        answer: Answer,
        setting: &Setting,
        stats: &mut Stats,
    ) -> Result<(), Objection> {
        for addr in answer.granted() {
            if let Some(request) = self.lane.release_of(*addr) {
                self.release(id, request, setting, stats)?;
            }
        }
        Ok(())
    }

    /// Lets the waiters ask once more whose shortage may have ended, and at a tick all of them.
    /// Memory that goes to no register is freed, which may wake others in turn.
    pub(super) fn serve_waiters(
        &mut self,
        is_tick: bool,
        stats: &mut Stats,
    ) -> Result<(), Objection> {
        if self.lane.waiters().is_empty() {
            return Ok(());
        }
        let mut wakes = Vec::new();
        let mut unwanted = Vec::new();
        let mut woken = VecDeque::from(self.lane.take_woken(is_tick));
        while let Some(waiter) = woken.pop_front() {
            let why = self.lane.why_again(&waiter);
            let Waiter { id, dst, request, caller, .. } = waiter;
            let setting = Setting { caller, ..Setting::default() };
            let mut record = self.lane.perform(id, request, &setting, Some(why));
            self.judge(&record, stats)?;
            stats.request(self.place, &record);
            stats.nr_retries += 1;
            let answer = record.reply.answer;
            let is_served = answer.is_grant();
            wakes.push(Wake { id, request, is_served });
            self.lane.commit(&mut record, dst);
            if is_served {
                stats.nr_served += 1;
                if dst.is_none() {
                    unwanted.push((id, answer, setting));
                }
                // Serving it may have made a slab or freed memory. A waiter that this may serve,
                // and that has waited longer than the others, asks before them.
                woken.extend(self.lane.take_woken(false));
                woken.make_contiguous().sort_by_key(|waiter| waiter.id);
            }
        }
        self.jury.judge(&Event::Wakes(&wakes))?;
        unwanted.into_iter().try_for_each(|(id, answer, by)| self.discard(id, answer, &by, stats))
    }

    fn write(&mut self, id: u32, addr: u64, end: u64) -> Result<Class, Objection> {
        let damage = self.lane.rewrite(id, addr);
        self.jury.judge(&Event::Rewrite { damage })?;
        let size = self.lane.model().book.at(addr).map_or(0, |held| held.size);
        if end <= size {
            return Ok(Class::Done);
        }
        self.jury.judge(&Event::Overrun(self.lane.overrun(addr)))?;
        Ok(Class::OutOfBounds)
    }

    pub(super) fn check(&mut self, stats: &mut Stats) -> Result<(), Objection> {
        stats.nr_checks += 1;
        let damage = self.lane.verify_all();
        let structure = self.lane.subject().validate();
        self.look_beside(Reach::Everywhere)?;
        self.jury.judge(&Event::Check { damage, structure })
    }

    /// Looks for what was written beside the allocator's memory, if that can be seen.
    pub(super) fn look_beside(&self, reach: Reach) -> Result<(), Objection> {
        if !self.lane.caps.has(Cap::Bounds) {
            return Ok(());
        }
        let trespass = self.lane.subject().trespass(reach);
        trespass.map_or(Ok(()), |addr| self.jury.judge(&Event::Bounds(addr)))
    }

    /// What the op's address arguments point at, and how many bytes that may use. Of a list the
    /// first address counts, with what the others point at beside it.
    fn target(&self, op: &Op) -> Option<(Target, u64)> {
        let model = self.lane.model();
        let is_kv = |held: &Allocation| held.via == Via::Kvmalloc;
        let point_at = |address: u64| {
            let own = model.book.containing(address).map(|held| (held, address - held.addr));
            let (held, offset) = own.or_else(|| model.behind(address))?;
            Some((held, offset, own.is_none()))
        };
        let addrs = self.lane.pointers(op).unwrap_or_default();
        let address = addrs.first().copied().or_else(|| self.lane.pointer(op))?;
        let (held, offset, is_shared) = point_at(address)?;
        // What waits for a grace period is as good as free.
        let is_free = held.head.is_some();
        let (id, is_kv_held) = (held.id, is_kv(held));
        let mut target = Target { id, offset, further: 0, is_shared, is_kv: is_kv_held, is_free };
        let mut usable = held.usable;
        for addr in addrs.iter().skip(1) {
            let pointed_at = point_at(*addr);
            let (id, offset) = pointed_at.map_or((0, 0), |(held, at, _)| (held.id.into(), at));
            target.further = mix(mix(target.further, id), offset);
            match pointed_at {
                Some((held, _, is_shared)) => {
                    target.is_shared |= is_shared;
                    target.is_kv |= is_kv(held);
                    target.is_free |= held.head.is_some();
                    usable = usable.saturating_add(held.usable);
                }
                None => target.is_free = true,
            }
        }
        Some((target, usable))
    }
}
