//! The end of a trace: everything is freed, who still waits is served, and the machine is held
//! against a fresh one.
//!
//! An allocator that counts is held to its counters. One that does not is asked once more for what
//! it granted when it was fresh.

use super::Objection;
use super::largest::{largest_grant, try_grant};
use super::runner::Runner;
use crate::call::{Request, ask};
use crate::lane::{Retry, Waiter};
use crate::op::Setting;
use crate::oracle::{End, Event};
use crate::stats::Stats;
use crate::subject::{Cap, Reach, Reply};

impl Runner<'_> {
    /// Frees everything, serves who still waits, and compares the machine with a fresh one.
    pub(super) fn finish(&mut self, stats: &mut Stats) -> Result<(), Objection> {
        self.check(stats)?;
        self.step(u32::MAX, ask::tick(), &Setting::default(), None, stats)?;
        self.serve_waiters(true, stats)?;
        self.jury.judge(&Event::Left(&self.lane.restores_at_end()))?;
        self.jury.judge(&Event::Left(&self.lane.frees_at_end()))?;
        self.free_everything(stats)?;
        while let Some(waiter) = self.lane.take_first_waiter() {
            self.settle_waiter(waiter, stats)?;
        }
        self.jury.judge(&Event::Left(&self.lane.destroys_at_end()))?;
        self.destroy_caches(stats)?;
        let now = self.lane.settle();
        self.check(stats)?;
        let model = self.lane.model();
        let nr_live = model.book.nr_live() - model.nr_boot();
        let end = End { at_boot: &self.lane.at_boot, now: &now, nr_live };
        self.jury.judge(&Event::End(&end))?;
        if self.lane.caps.has(Cap::Counters) { Ok(()) } else { self.drain(stats) }
    }

    /// Asks again for what the fresh machine granted. An allocator that keeps memory for later
    /// (`Reuses`) is measured between two equal rounds of requests, the first of which fills what
    /// it keeps.
    fn drain(&mut self, stats: &mut Stats) -> Result<(), Objection> {
        if let Some(request) = self.fresh.largest {
            let answer = try_grant(&mut self.lane, &self.jury, request)?;
            self.jury.judge(&Event::Again { request, answer })?;
        }
        self.round(stats)?;
        if self.lane.caps.has(Cap::Reuses)
            && let Some(request) = self.largest_before_round(stats)?
        {
            let answer = try_grant(&mut self.lane, &self.jury, request)?;
            self.jury.judge(&Event::Round { request, answer })?;
        }
        self.look_beside(Reach::Everywhere)
    }

    /// What was served at most before the last round of requests.
    fn largest_before_round(&mut self, stats: &mut Stats) -> Result<Option<Request>, Objection> {
        if self.fresh.largest.is_some() {
            return Ok(self.fresh.largest);
        }
        let largest = largest_grant(&mut self.lane, &self.jury)?;
        if largest.is_some() {
            self.round(stats)?;
        }
        Ok(largest)
    }

    /// Makes the first requests of the trace once more, which the fresh machine granted, and frees
    /// what they give.
    fn round(&mut self, stats: &mut Stats) -> Result<(), Objection> {
        for place in 0..self.fresh.granted.len() {
            let request = self.fresh.granted[place];
            stats.nr_releases += 1;
            let (_, Reply { answer, .. }) =
                self.step(u32::MAX, request, &Setting::default(), None, stats)?;
            self.jury.judge(&Event::Again { request, answer })?;
        }
        self.free_everything(stats)
    }

    fn free_everything(&mut self, stats: &mut Stats) -> Result<(), Objection> {
        for request in self.lane.frees_at_end() {
            stats.nr_releases += 1;
            self.step(u32::MAX, request, &Setting::default(), None, stats)?;
        }
        Ok(())
    }

    fn destroy_caches(&mut self, stats: &mut Stats) -> Result<(), Objection> {
        for request in self.lane.destroys_at_end() {
            stats.nr_releases += 1;
            self.step(u32::MAX, request, &Setting::default(), None, stats)?;
        }
        Ok(())
    }

    /// A waiter with the whole machine to itself: it is served now, or never can be. That it waits
    /// only for a real shortage has been judged, so one that still waits asks for more than the
    /// machine has.
    fn settle_waiter(&mut self, waiter: Waiter, stats: &mut Stats) -> Result<(), Objection> {
        self.lane.settle();
        let Waiter { id, request, caller, .. } = waiter;
        let setting = Setting { caller, ..Setting::default() };
        let mut record = self.lane.perform(id, request, &setting, Some(Retry::Alone));
        self.judge(&record, stats)?;
        stats.nr_retries += 1;
        match record.reply.answer {
            answer if answer.is_grant() => stats.nr_served += 1,
            _ => stats.nr_unservable += 1,
        }
        self.lane.commit_settled(&mut record);
        self.free_everything(stats)
    }
}
