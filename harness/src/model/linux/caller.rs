//! What follows from who calls: the scopes of tasks, and frees that are put off to the next tick.
//!
//! An area that was freed in an interrupt is nobody's any more, and yet it keeps its frames and its
//! addresses until the workers run (R4.13). So it leaves the live allocations at once, and the sums
//! only at the tick. What waits for a grace period is live until then, for its readers (R6.7).
//!
//! Whether a context allows a call is judged in the oracles.

use super::Linux;
use crate::call::Frees;
use crate::model::{Allocation, Free, Kind, Model};
use crate::words::gfp::{__GFP_FS, __GFP_IO, Gfp};
use crate::words::{Context, NR_TASKS, Scope};

/// What the model knows of callers.
#[derive(Default)]
pub(super) struct Callers {
    /// The open scopes of each task, the innermost last.
    scopes: [Vec<Scope>; NR_TASKS],
    /// The areas whose free was put off, and the frames behind them.
    deferred: Vec<(Allocation, Vec<u32>)>,
    /// Where memory is that waits for the end of a grace period, and the frames behind it.
    queued: Vec<(u64, Vec<u32>)>,
}

impl Linux {
    /// Opens a scope of a task.
    pub(crate) fn open_scope(&mut self, task: u8, scope: Scope) {
        self.callers.scopes[usize::from(task)].push(scope);
    }

    /// Closes the innermost scope of a task.
    pub(crate) fn close_scope(&mut self, task: u8) {
        self.callers.scopes[usize::from(task)].pop();
    }

    /// The open scopes of a task, the innermost last.
    pub(crate) fn scopes(&self, task: u8) -> &[Scope] {
        &self.callers.scopes[usize::from(task)]
    }

    /// What the scopes of a task leave of a request's flags (R3.10).
    pub(crate) fn masked(&self, gfp: Gfp, task: u8) -> Gfp {
        let scopes = self.scopes(task);
        let mut masked = gfp;
        if !scopes.is_empty() {
            masked.0 &= !__GFP_FS.0;
        }
        if scopes.contains(&Scope::Noio) {
            masked.0 &= !__GFP_IO.0;
        }
        masked
    }

    /// The area whose free was put off and whose range, guard page included, holds `addr`.
    pub(crate) fn deferred_at(&self, addr: u64) -> Option<&Allocation> {
        let areas = self.callers.deferred.iter().map(|(area, _)| area);
        areas.into_iter().find(|area| (area.addr..area.end()).contains(&addr))
    }

    /// The number of areas whose free was put off.
    pub(crate) fn nr_deferred(&self) -> usize {
        self.callers.deferred.len()
    }

    /// How much waits for the end of a grace period.
    pub(crate) fn nr_queued(&self) -> usize {
        self.callers.queued.len()
    }
}

impl Model {
    /// Whether a free that is accepted takes effect at the next tick only (R4.13).
    pub(crate) fn is_deferred_by(&self, free: Free, addr: u64, context: Context) -> bool {
        let in_interrupt = matches!(context, Context::Softirq | Context::Hardirq);
        let is_area = self.book.at(addr).is_some_and(|held| held.kind == Kind::Vmalloc);
        is_area && (in_interrupt || free.how == Frees::VfreeAtomic)
    }

    /// Takes an area out of the live allocations; the rest happens at the next tick.
    pub(crate) fn defer(&mut self, addr: u64, frames: &[u32]) {
        self.linux.just_freed = None;
        if let Some(allocation) = self.book.take(addr) {
            self.linux.callers.deferred.push((allocation, frames.to_vec()));
        }
    }

    /// Takes note that live memory is to be freed after a grace period, with its `rcu_head` at an
    /// offset. Its register holds it no longer.
    pub(crate) fn queue(&mut self, addr: u64, offset: u64, frames: &[u32]) {
        // Linux takes a page to list pointers in.
        self.linux.just_freed = None;
        if let Some(held) = self.book.at_mut(addr) {
            (held.head, held.reg) = (Some(offset), None);
            self.linux.callers.queued.push((addr, frames.to_vec()));
        }
    }

    /// What waits for the end of a grace period.
    pub(crate) fn queued(&self) -> impl Iterator<Item = &Allocation> {
        self.linux.callers.queued.iter().filter_map(|(addr, _)| self.book.at(*addr))
    }

    /// Frees what waited for the end of a grace period, and says what that was, the last first.
    /// Which objects come next is not known then: they are freed by a worker, and in no order that
    /// a caller may rely on.
    pub(crate) fn end_grace_period(&mut self, cpu: u8) -> Vec<(Allocation, Vec<u32>)> {
        let queued = std::mem::take(&mut self.linux.callers.queued).into_iter().rev();
        let mut freed = Vec::new();
        for (addr, frames) in queued {
            if let Some(held) = self.strike(addr, &frames, cpu) {
                self.linux.forget_reuse_like(&held);
                freed.push((held, frames));
            }
        }
        self.linux.just_freed = None;
        freed
    }

    /// Frees what was put off, and says what that was, the last first.
    pub(crate) fn free_deferred(&mut self) -> Vec<(Allocation, Vec<u32>)> {
        let deferred = std::mem::take(&mut self.linux.callers.deferred).into_iter().rev();
        let mut freed = Vec::new();
        for (area, frames) in deferred {
            let (addr, cpu) = (area.addr, area.cpu as u8);
            self.book.put(area);
            freed.extend(self.strike(addr, &frames, cpu).map(|area| (area, frames)));
        }
        self.linux.just_freed = None;
        freed
    }
}

#[cfg(test)]
mod test {
    use crate::call::ask;
    use crate::model::{Free, Kind, Model, Verdict};
    use crate::op::Class;
    use crate::subject::Layout;
    use crate::trace::Machine;
    use crate::words::gfp::{GFP_KERNEL, GFP_NOFS, GFP_NOIO};
    use crate::words::{Context, Scope};

    const AREA: u64 = 0xffff_c900_0000_0000;

    fn model() -> Model {
        let (vmalloc_start, vmalloc_end) = (AREA, AREA + (64 << 12));
        let layout = Layout { direct_start: 0, direct_end: 64 << 12, vmalloc_start, vmalloc_end };
        Model::new(layout, &Machine::default())
    }

    #[test]
    fn a_deferred_area_is_dead_but_counted_until_the_tick() {
        let mut model = model();
        let area = crate::model::test_area(AREA, 8192);
        model.enter(area, &[3, 4]);
        let vfree = Free::of(&ask::vfree(AREA), true).unwrap();
        assert!(model.is_deferred_by(vfree, AREA, Context::Hardirq));
        assert!(!model.is_deferred_by(vfree, AREA, Context::Task));
        model.defer(AREA, &[3, 4]);
        assert!(model.book.at(AREA).is_none() && model.linux.deferred_at(AREA + 4096).is_some());
        assert!(model.book.is_frame_taken(3, Kind::Kmalloc));
        assert_eq!(model.linux.totals().nr_areas, 1);
        model.free_deferred();
        assert!(!model.book.is_frame_taken(3, Kind::Kmalloc));
        assert_eq!((model.linux.totals().nr_areas, model.linux.nr_deferred()), (0, 0));
    }

    #[test]
    fn what_is_queued_is_live_until_the_grace_period_ends() {
        let mut model = model();
        model.enter(crate::model::test_area(AREA, 8192), &[3, 4]);
        let verdict =
            |model: &Model, request| model.freeing(&request, Context::Task).unwrap().verdict;
        for (offset, expected) in [
            (0xff8, Verdict::Accept(AREA)),
            (0x1000, Verdict::Refuse(Class::WrongSize, Some("vfree"))),
            (0xc, Verdict::Refuse(Class::WrongSize, Some("vfree"))),
        ] {
            assert_eq!(verdict(&model, ask::kvfree_rcu(AREA, offset)), expected);
        }
        model.queue(AREA, 8, &[3, 4]);
        assert!(model.book.at(AREA).is_some() && model.queued().count() == 1);
        let again = Verdict::Refuse(Class::DoubleFree, None);
        assert_eq!(verdict(&model, ask::vfree(AREA)), again);
        assert_eq!(verdict(&model, ask::kvfree_rcu(AREA, 8)), again);
        assert_eq!(model.end_grace_period(0).len(), 1);
        assert!(model.book.at(AREA).is_none() && !model.book.is_frame_taken(3, Kind::Kmalloc));
    }

    #[test]
    fn the_strongest_open_scope_masks() {
        let mut model = model();
        model.linux.open_scope(1, Scope::Noio);
        model.linux.open_scope(1, Scope::Nofs);
        assert_eq!(model.linux.masked(GFP_KERNEL, 1), GFP_NOIO);
        assert_eq!(model.linux.masked(GFP_KERNEL, 0), GFP_KERNEL);
        model.linux.close_scope(1);
        model.linux.close_scope(1);
        model.linux.open_scope(1, Scope::Nofs);
        assert_eq!(model.linux.masked(GFP_KERNEL, 1), GFP_NOFS);
    }
}
