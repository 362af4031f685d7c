//! The executor: one trace down all lanes of a campaign, in lock step, judged at every step.
//!
//! The one idea: an op becomes a request in every lane; each request is carried out, judged against
//! the lane's book and only then entered in it; then the lanes' answers are judged together.
//! Waiting NOFAIL requests ask again after whatever freed something. The end of the trace frees
//! everything, with the same judgements.
//!
//! It decides nothing: what is legal is the oracles' business, what is done the lanes'.

mod end;
mod panics;
mod watch;

use crate::call::{Call, Request};
use crate::campaign::{Campaign, EveryOp};
use crate::lane::{Action, Lane, LaneSpec, Record, Skip, Waiter};
use crate::model::{Allocation, Via};
use crate::op::{Class, Op, Reg, Setting};
use crate::oracle::{Event, Jury, Step, Target, View, Wake};
use crate::paint::mix;
use crate::stats::Stats;
use crate::subject::{Answer, Cap, Caps, Pack, Reply};
use crate::trace::Trace;
use crate::verdict::{EXPECTATION, Failure, NO_BOOT};
use end::Fresh;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use watch::{AnswersOnly, Progress, Watch, describe};

pub(crate) use panics::catch_quietly;
pub use panics::{keep_panics_quiet, last_panic_place, message};
#[cfg(feature = "worker")]
use watch::Noting;
pub(crate) use watch::Place;
#[cfg(feature = "worker")]
pub(crate) use watch::explain_noting;
pub use watch::{Explanation, explain};

/// All memory and all structures are checked at the end, and before that every this many ops, or
/// every as many ops as there are live allocations if those are more. So the cost of checking, per
/// op, stays the same however much is live.
const CHECK_INTERVAL_OPS: usize = 128;

/// An objection, before it is known where in the trace it arose.
type Objection = (&'static str, String);

/// Runs a trace.
///
/// # Errors
/// The first objection of an oracle. With `expectations`, also the first answer, of the lane that
/// follows the trace, that the trace does not expect.
pub fn run(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
) -> Result<Stats, Box<Failure>> {
    watch(campaign, trace, expectations, |_| ())
}

/// Runs a trace and shows `watcher` the answers of all lanes to each op. An allocator that panics
/// has failed like any other.
///
/// # Errors
/// As [`run`].
pub fn watch(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    watcher: impl FnMut(&[View]),
) -> Result<Stats, Box<Failure>> {
    watch_closely(campaign, trace, expectations, &mut AnswersOnly(watcher), &|_| ())
}

/// Runs a trace and shows `witness` every step of every lane before it is judged.
///
/// # Errors
/// As [`run`].
pub(crate) fn witness(
    campaign: &Campaign,
    trace: &Trace,
    witness: Witness,
) -> Result<Stats, Box<Failure>> {
    let nobody = &mut AnswersOnly(|_: &[View]| ());
    watch_closely(campaign, trace, Expectations::Ignored, nobody, witness)
}

/// Runs a trace, and `note` is told of every lane's turn before it is taken.
///
/// # Errors
/// As [`run`].
#[cfg(feature = "worker")]
pub(crate) fn run_noting(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    note: impl FnMut(Place),
) -> Result<Stats, Box<Failure>> {
    let watcher = &mut Noting(AnswersOnly(|_: &[View]| ()), note);
    watch_closely(campaign, trace, expectations, watcher, &|_| ())
}

/// Who is shown every step.
type Witness<'a> = &'a dyn Fn(&Step);

/// As [`watch`], and the watcher also sees an op that no more than some lanes have answered.
fn watch_closely(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    watcher: &mut impl Watch,
    witness: Witness,
) -> Result<Stats, Box<Failure>> {
    let mut progress = Progress::default();
    // Nothing that the closure touches is looked at after a panic but what stands in `progress`.
    let run = || run_lanes(campaign, trace, expectations, watcher, witness, &mut progress);
    let result = catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(Box::new(progress.panicked(campaign, trace, panic.as_ref()))));
    if result.is_err() && progress.lane.is_some() && progress.op < trace.ops.len() {
        watcher.unfinished_op(&progress.views);
    }
    result
}

fn run_lanes(
    campaign: &Campaign,
    trace: &Trace,
    expectations: Expectations,
    watcher: &mut impl Watch,
    witness: Witness,
    progress: &mut Progress,
) -> Result<Stats, Box<Failure>> {
    let mut stats = Stats::new(campaign.lanes);
    stats.nr_traces = 1;
    stats.nr_ops = trace.ops.len() as u64;
    stats.nr_dropped_lines = trace.nr_dropped_lines.into();
    let boot = |(place, spec): (usize, LaneSpec)| {
        watcher.turn(Place { op: 0, lane: place });
        let mut lane = Lane::boot(spec, &trace.machine).map_err(|reason| (spec.name, reason))?;
        Ok(Runner {
            place,
            jury: Jury::of(spec.packs, lane.caps),
            fresh: Fresh::of(&mut lane),
            lane,
            every_op: campaign.every_op,
            witness,
            next_check: CHECK_INTERVAL_OPS,
            nr_steps: 0,
        })
    };
    let runners: Result<Vec<Runner>, _> =
        campaign.lanes.iter().copied().enumerate().map(boot).collect();
    let mut runners = runners.map_err(|(lane, reason)| {
        progress.lane = Some(lane);
        Box::new(progress.failure(campaign, trace, NO_BOOT, reason))
    })?;
    let between = Jury::of(&[Pack::Generic], Caps::ALL);
    let fail = |progress: &Progress, (oracle, reason): Objection| {
        Box::new(progress.failure(campaign, trace, oracle, reason))
    };
    let mut seen = Vec::with_capacity(runners.len());
    for (index, op) in trace.ops.iter().enumerate() {
        progress.op = index;
        for runner in &mut runners {
            progress.lane = Some(runner.lane.spec.name);
            watcher.turn(Place { op: index, lane: runner.place });
            let view = runner.op(op, index, &mut stats);
            let view = view.map_err(|objection| fail(progress, objection))?;
            progress.views.push(view);
            if expectations == Expectations::Checked && runner.place == campaign.follows {
                as_expected(op, &view).map_err(|objection| fail(progress, objection))?;
            }
        }
        progress.lane = None;
        std::mem::swap(&mut seen, &mut progress.views);
        progress.views.clear();
        watcher.op(&seen);
        stats.nr_incomparable += u64::from(is_incomparable(&seen));
        let across = Event::Across(&seen, &stats.relaxed);
        between.judge(&across).map_err(|objection| fail(progress, objection))?;
    }
    progress.op = trace.ops.len();
    for runner in &mut runners {
        progress.lane = Some(runner.lane.spec.name);
        watcher.turn(Place { op: progress.op, lane: runner.place });
        let lane = &mut stats.lanes[runner.place];
        runner.lane.hand_over();
        (lane.at_boot, lane.left) = (runner.lane.at_boot, *runner.lane.facts());
        runner.finish(&mut stats).map_err(|objection| fail(progress, objection))?;
        stats.excuse(runner.jury.excused(), runner.nr_steps);
    }
    Ok(stats)
}

/// Whether the op means different things in two lanes.
fn is_incomparable(views: &[View]) -> bool {
    let means = |view: &View| (view.target, view.cache);
    views.iter().any(|view| means(view) != means(&views[0]))
}

/// Whether the `# -> …` comments of a trace are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectations {
    /// An answer that differs is a failure.
    Checked,
    /// They are comments.
    Ignored,
}

fn as_expected(op: &Op, view: &View) -> Result<(), Objection> {
    match (op.expect, view.class) {
        (Some(expected), actual) if actual != Some(expected) => {
            let actual = describe(view, "nothing: the op was skipped");
            Err((EXPECTATION, format!("the trace expects {}, got {actual}", expected.name())))
        }
        _ => Ok(()),
    }
}

/// A lane and its place in the campaign.
struct Runner<'a> {
    place: usize,
    lane: Lane,
    jury: Jury,
    every_op: EveryOp,
    witness: Witness<'a>,
    /// The op after which everything is looked at next.
    next_check: usize,
    /// What the fresh machine granted.
    fresh: Fresh,
    /// The requests that were carried out.
    nr_steps: u64,
}

impl Runner<'_> {
    /// Carries one op out, with what it implies.
    fn op(&mut self, op: &Op, index: usize, stats: &mut Stats) -> Result<View, Objection> {
        let view = match self.try_op(op, index, stats) {
            Ok(view) => view?,
            Err(skip) => {
                if (op.call, skip) == (Call::Write, Skip::NoMemory) {
                    self.jury.judge(&Event::Stray)?;
                }
                stats.skip(op.call, skip);
                View { is_kv: op.call.spec().traits.routed, ..View::default() }
            }
        };
        if self.every_op == EveryOp::VmapTrees {
            let structure = self.lane.subject().validate_vmap();
            self.jury.judge(&Event::Check { damage: None, structure })?;
        }
        if self.lane.caps.has(Cap::Bounds) {
            self.jury.judge(&Event::Bounds(self.lane.subject().trespass()))?;
        }
        if index >= self.next_check {
            self.next_check = index + CHECK_INTERVAL_OPS.max(self.lane.model().nr_live());
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
        let release = self.lane.release_before(op, 0)?;
        (1..op.nr_dst()).try_for_each(|nth| self.lane.release_before(op, nth).map(|_| ()))?;
        Ok(self.act(op, id, &action, release, stats))
    }

    fn act(
        &mut self,
        op: &Op,
        id: u32,
        action: &Action,
        release: Option<Request>,
        stats: &mut Stats,
    ) -> Result<View, Objection> {
        let is_kv = op.call.spec().traits.routed;
        let (target, usable) = self.target(op).unzip();
        let cache = self.lane.named_cache(op);
        if let Some(request) = release {
            self.release(id, request, &op.setting(), stats)?;
        }
        for nth in 1..op.nr_dst() {
            if let Ok(Some(request)) = self.lane.release_before(op, nth) {
                self.release(id, request, &op.setting(), stats)?;
            }
        }
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
        if op.dst.is_none() {
            self.discard(id, answer, &op.setting(), stats)?;
        }
        self.serve_waiters(op.call == Call::Tick, stats)?;
        let on_linux = match answer {
            Answer::BadFree(refusal) => refusal.on_linux,
            _ => None,
        };
        Ok(View { class, on_linux, effort, ..View::default() })
    }

    /// Carries a request out, has it judged, and enters it in the book.
    fn step(
        &mut self,
        id: u32,
        request: Request,
        setting: &Setting,
        dst: Option<Reg>,
        stats: &mut Stats,
    ) -> Result<(Option<Class>, Reply), Objection> {
        let mut record = self.lane.perform(id, request, setting, None);
        self.nr_steps += 1;
        self.judge(&record, stats)?;
        stats.request(self.place, &record);
        self.fresh.note(&record);
        let (class, reply) = (self.lane.classify(&record), record.reply);
        self.lane.commit(&mut record, dst);
        Ok((class, reply))
    }

    fn judge(&self, record: &Record, stats: &Stats) -> Result<(), Objection> {
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
    fn serve_waiters(&mut self, is_tick: bool, stats: &mut Stats) -> Result<(), Objection> {
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
        let size = self.lane.model().at(addr).map_or(0, |held| held.size);
        if end <= size {
            return Ok(Class::Done);
        }
        if let Some(seen) = self.lane.overrun(addr) {
            self.jury.judge(&Event::Overrun { seen })?;
        }
        Ok(Class::OutOfBounds)
    }

    fn check(&mut self, stats: &mut Stats) -> Result<(), Objection> {
        stats.nr_checks += 1;
        let damage = self.lane.verify_all();
        let structure = self.lane.subject().validate();
        self.jury.judge(&Event::Bounds(self.lane.subject().trespass()))?;
        self.jury.judge(&Event::Check { damage, structure })
    }

    /// What the op's address arguments point at, and how many bytes that may use. Of a list the
    /// first address counts, with what the others point at beside it.
    fn target(&self, op: &Op) -> Option<(Target, u64)> {
        let model = self.lane.model();
        let is_kv = |held: &Allocation| held.via == Via::Kvmalloc;
        let point_at = |address: u64| {
            let held = model.containing(address).map(|held| (held, address - held.addr));
            let (held, offset) = held.or_else(|| model.behind(address))?;
            Some((held.id, offset, held))
        };
        let addrs = self.lane.pointers(op).unwrap_or_default();
        let address = addrs.first().copied().or_else(|| self.lane.pointer(op))?;
        let (id, offset, held) = point_at(address)?;
        // What waits for a grace period is as good as free.
        let (is_kv_held, is_free) = (is_kv(held), held.head.is_some());
        let mut target = Target { id, offset, further: 0, is_kv: is_kv_held, is_free };
        let mut usable = held.usable;
        for addr in addrs.iter().skip(1) {
            let pointed_at = point_at(*addr);
            let (id, offset) = pointed_at.map_or((0, 0), |(id, offset, _)| (id.into(), offset));
            target.further = mix(mix(target.further, id), offset);
            match pointed_at {
                Some((.., held)) => {
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
