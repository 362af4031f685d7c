//! Bringing a lane's book, registers and contents up to date with what was carried out.
//!
//! The one idea: only what no oracle objected to is entered. Granted memory is painted the moment
//! it is entered, so that from then on every byte of live memory is known.
//!
//! Nothing is judged here, and the allocator is asked for nothing but access to bytes.

use super::{Lane, Record, Waiter};
use crate::bytes::{self, Damage};
use crate::call::{Call, Frees, MAX_LIST};
use crate::model::linux::Cache;
use crate::model::linux::room::Search;
use crate::model::linux::shortage::may_lack_node;
use crate::model::linux::space::SearchTold;
use crate::model::{Allocation, Contents, Free, Granted, Interface, Kind, Via, Want};
use crate::op::Reg;
use crate::paint::mix;
use crate::subject::{Answer, Refusal};
use crate::words::{PAGE, Scope};
use std::mem::take;

/// The largest allocation whose bytes may be left as the allocator left them.
const ECHO_BYTES_MAX: u64 = 256;

/// The largest block whose bytes may be those of other pages.
pub(crate) const IMITATED_BYTES_MAX: u64 = 4 * PAGE;

/// What came of a byte that a caller wrote past what it had asked for.
pub(crate) enum Overrun {
    /// It was not written: whatever is there is not the caller's.
    NoSlack,
    /// It was, and this is what the guard showed.
    Seen(Option<Damage>),
}

/// Whether a request has dropped cached pages, or had a process killed.
fn took_from_others(record: &Record) -> bool {
    record.reply.effort.nr_oom_kills > 0
        || record.before.nr_cache_pages != record.after.nr_cache_pages
}

/// The registers on the left of a line from this one on; one that is none where there is none.
fn registers_of(record: &Record, dst: Option<Reg>) -> impl Iterator<Item = Option<Reg>> {
    let nr = record.request.nr_results().clamp(1, MAX_LIST as u64) as u16;
    (0..nr).map(move |nth| dst.and_then(|dst| dst.checked_add(nth)))
}

impl Lane {
    /// Brings the book up to date with a record that no oracle objected to. What the record knows
    /// of frames is gone afterwards; a record is too large to be moved about.
    pub(crate) fn commit(&mut self, record: &mut Record, dst: Option<Reg>) {
        // It searches before an area is taken, and before the one that it replaces is freed.
        self.note_search(record);
        // A request that names a node may have made a slab of that node its CPU's active one.
        if record.before.nr_nodes > 0 && record.want.is_some_and(|want| want.node.is_some()) {
            self.model.linux.forget_reuse();
        }
        self.note_kswapd(record);
        self.enter_in_book(record, dst);
    }

    /// Takes note of who has woken kswapd for certain, and of when it has run.
    fn note_kswapd(&mut self, record: &Record) {
        use Refusal::{Deadlock, Pages};
        if record.request.call == Call::Tick {
            self.model.linux.kswapd_mut().rest();
        }
        let is_short = self.claims_linux()
            && matches!(
                record.reply.answer,
                Answer::Refused(Pages { .. } | Deadlock { .. }) | Answer::WouldBlock(Pages { .. })
            );
        let Some(want) = record.want.filter(|_| is_short && record.reply.nr_faults == 0) else {
            return;
        };
        // What else was asked for on the way to an area, or a first try in vain, is not known.
        let asks_pages = matches!(
            want.interface,
            Interface::Pages { .. }
                | Interface::PagesExact
                | Interface::DmaCoherent
                | Interface::Kmalloc
        );
        if asks_pages && self.model.powers(&want, record.caller, None).wakes_kswapd() {
            let only_node = record.only_node(&want);
            self.model.linux.kswapd_mut().wake(&record.before, self.min_free, only_node);
        }
    }

    /// Takes note of what a call's search for room, if it made one, may have purged.
    fn note_search(&mut self, record: &Record) {
        let Some(want) = record.want.filter(|_| self.claims_linux()) else { return };
        let Some(told) = self.told_of_search(record, &want) else { return };
        let search = Search::of(&want, self.model.linux.policy());
        let space = self.model.linux.space_mut();
        // Without a node for a split, be it by an injected failure, it has purged and tried again.
        let may_lose_node = search.may_split() && record.reply.nr_faults > 0;
        if may_lose_node || may_lack_node(&search, &record.before, self.min_free) {
            space.doubt();
        }
        // An injected failure can end the attempt with huge pages before its search.
        match record.reply.nr_faults {
            0 => space.searched(&[search], told),
            _ => space.searched(&[search, search.in_small_pages()], told),
        }
    }

    /// What an answer tells of a search for room; nothing if there was none.
    fn told_of_search(&self, record: &Record, want: &Want) -> Option<SearchTold> {
        use Refusal::{Deadlock, Injected, Mapping, Pages, Range, VmallocSpace};
        let (Answer::Refused(refusal) | Answer::WouldBlock(refusal)) = record.reply.answer else {
            let area = record.granted.filter(|it| !it.stays && self.model.book.is_vmalloc(it.addr));
            return area.map(|area| SearchTold::Place(area.addr));
        };
        match refusal {
            _ if !self.model.may_map(want) => None,
            VmallocSpace | Range if record.reply.nr_faults == 0 => Some(SearchTold::NoRoom),
            VmallocSpace | Range | Pages { .. } | Deadlock { .. } | Mapping | Injected => {
                Some(SearchTold::Nothing)
            }
            _ => None,
        }
    }

    fn enter_in_book(&mut self, record: &mut Record, dst: Option<Reg>) {
        match record.reply.answer {
            Answer::Memory { .. } => {
                if let (Some(want), Some(granted)) = (record.want, record.granted) {
                    self.enter(record, &want, granted, dst);
                }
            }
            Answer::Several { .. } => self.enter_each(record, dst),
            Answer::Refused(_) => {
                // A failed call may have left the allocator a slab of its own where memory was
                // free.
                self.model.linux.forget_just_freed();
                self.forget_given_back(record);
                match record.request.call {
                    Call::KmemCacheCreate => self.registers.empty_cache(dst),
                    _ => registers_of(record, dst).for_each(|dst| self.assign_nothing(dst)),
                }
            }
            Answer::BadFree(_) | Answer::WrongKind(_) => self.assign_nothing(dst),
            Answer::Address(page) if record.request.call == Call::GetPage => {
                let addr = record.request.address().unwrap_or(page);
                self.model.share(addr, page, dst);
                self.assign(dst, page);
            }
            Answer::WouldBlock(shortage) => {
                self.model.linux.forget_just_freed();
                self.forget_given_back(record);
                if record.want.is_some() {
                    let waiting = registers_of(record, dst).flatten();
                    waiting.for_each(|dst| self.registers.set_waiting(dst));
                }
                // A waiter that asks again and is not served keeps its place.
                let place = self.waiters.partition_point(|waiter| waiter.id < record.id);
                self.waiters.insert(
                    place,
                    Waiter {
                        id: record.id,
                        dst,
                        request: record.request,
                        caller: record.caller,
                        shortage,
                        epoch: record.reply.epochs.of(shortage),
                        took_from_others: took_from_others(record),
                        is_injected: record.reply.nr_faults > 0,
                    },
                );
            }
            Answer::Cache(handle) => {
                self.model.linux.enter_cache(handle, Cache::asked_for(record.id, &record.request));
                if let Some(dst) = dst {
                    self.registers.set_cache(dst, handle);
                }
                self.model.linux.forget_just_freed();
            }
            Answer::Done => self.commit_done(record),
            _ => {}
        }
        self.frames = take(&mut record.frames);
    }

    /// Enters the last try of a waiter, which goes to no register and is not to wait any longer.
    pub(crate) fn commit_settled(&mut self, record: &mut Record) {
        match record.reply.answer {
            Answer::WouldBlock(_) => {
                self.model.linux.forget_just_freed();
                self.frames = take(&mut record.frames);
            }
            _ => self.commit(record, None),
        }
    }

    fn commit_done(&mut self, record: &Record) {
        if let Some(freeing) = record.freeing.filter(|freeing| !freeing.accepted().is_empty()) {
            // What stands last is freed first, as Linux does it (`build_detached_freelist`).
            for (piece, addr) in freeing.accepted().iter().enumerate().rev() {
                self.bury(record, freeing.free, *addr, record.frames_of(piece));
            }
            return;
        }
        self.model.linux.forget_just_freed();
        let task = record.caller.task;
        match record.request.call {
            Call::MemblockReserve => self.enter_reserved(record),
            Call::Tick => {
                let mut freed = self.model.free_deferred();
                freed.extend(self.model.end_grace_period(record.caller.cpu));
                freed.iter().for_each(|(old, frames)| self.keep_shared(old, frames));
            }
            Call::VmUnmapAliases => self.model.linux.space_mut().purge(),
            Call::MemallocNofsSave => self.model.linux.open_scope(task, Scope::Nofs),
            Call::MemallocNoioSave => self.model.linux.open_scope(task, Scope::Noio),
            Call::MemallocNofsRestore | Call::MemallocNoioRestore => {
                self.model.linux.close_scope(task);
            }
            Call::KmemCacheDestroy => {
                if let Some(cache) = record.request.cache() {
                    self.model.linux.strike_cache(cache);
                    self.registers.destroy_cache(cache);
                }
            }
            _ => {}
        }
    }

    /// Strikes out memory that was freed, now or at the next tick; what is freed after a grace
    /// period stays until then.
    fn bury(&mut self, record: &Record, free: Free, addr: u64, frames: &[u32]) {
        if let Some(head) = free.head() {
            return self.model.queue(addr, head, frames);
        }
        let given_up = self.given_up.take();
        let is_counted =
            free.how == Frees::PutPage && self.model.linux.unshare(addr, given_up).is_some();
        if is_counted || self.model.pass_on(addr) {
            return;
        }
        // What is cleared before it is freed is zero in the pages that stay.
        let usable = self.model.book.at(addr).map_or(0, |held| held.usable);
        self.model.book.clear(addr, free.nr_cleared(usable));
        if self.model.is_deferred_by(free, addr, record.caller.context) {
            self.model.defer(addr, frames);
        } else if let Some(old) = self.model.strike(addr, frames, record.caller.cpu) {
            self.keep_shared(&old, frames);
        }
    }

    /// Enters the pages of memory that was struck out to which somebody has a reference: each is an
    /// allocation of its own from now on, and holds what it held, and an `rcu_head` where there was
    /// one.
    fn keep_shared(&mut self, old: &Allocation, frames: &[u32]) {
        if self.model.linux.references().next().is_none() {
            return;
        }
        for (start, frame) in (0..).step_by(PAGE as usize).zip(frames) {
            let addr = self.model.book.page(*frame);
            let Some(reg) = self.model.linux.unshare(addr, None) else { continue };
            let page = Allocation {
                addr,
                size: PAGE,
                usable: PAGE,
                kind: Kind::Pages { order: 0, is_compound: false },
                via: Via::Own,
                reg,
                head: None,
                contents: self.part(old, start, addr),
                ..*old
            };
            self.model.enter(page, &[*frame]);
            self.model.linux.set_owner(addr);
        }
    }

    /// What a page at `addr` holds that began `start` bytes into memory which is gone.
    fn part(&self, gone: &Allocation, start: u64, addr: u64) -> Contents {
        let part = Contents::Part(gone.clone().into(), start);
        let Some(head) = gone.head_range() else { return part };
        let [from, end] = [head.start, head.end].map(|at| at.clamp(start, start + PAGE) - start);
        let patch = bytes::echo(self.subject.as_ref(), addr + from, end - from);
        Contents::Patched(from, patch, part.into())
    }

    fn enter(&mut self, record: &Record, want: &Want, granted: Granted, dst: Option<Reg>) {
        let Granted { addr, usable, size, kind, .. } = granted;
        let replaced = self.model.replaced(want).map(|replaced| replaced.old.addr);
        self.assign(dst, addr);
        if granted.is_memory() {
            let id = record.id;
            let is_kv = matches!(want.interface, Interface::Kvmalloc { .. })
                || record.request.call == Call::Kvrealloc;
            let via = match () {
                () if is_kv => Via::Kvmalloc,
                () if want.is_nolock => Via::Nolock,
                () => Via::Own,
            };
            let draw = mix(id.into(), 0);
            let imitated = match kind {
                Kind::Heap { .. } => self.imitate(draw, addr, size),
                _ => None,
            };
            let contents = imitated.unwrap_or_else(|| self.choose_contents(draw, addr, size));
            let (cpu, reg, head) = (record.caller.cpu.into(), dst, None);
            let granted =
                Allocation { id, addr, size, usable, kind, via, cpu, reg, head, contents };
            bytes::write_all(self.subject.as_mut(), &granted);
            if replaced == Some(addr) {
                self.model.renew(granted);
                return;
            }
            self.model.enter(granted, &record.frames);
        }
        if let (Some(old), Some(freeing)) = (replaced, record.freeing) {
            self.bury(record, freeing.free, old, &record.old_frames);
        }
    }

    /// Enters several pieces of memory, each in a register of its own. Registers for which there is
    /// none hold NULL.
    fn enter_each(&mut self, record: &Record, dst: Option<Reg>) {
        registers_of(record, dst).for_each(|dst| self.assign_nothing(dst));
        let registers = registers_of(record, dst).chain(std::iter::repeat(None));
        let pieces = record.grants().enumerate().zip(registers);
        for ((piece, granted), dst) in pieces.filter(|((_, granted), _)| granted.is_memory()) {
            let Granted { addr, usable, size, kind, .. } = granted;
            self.assign(dst, addr);
            // Each has bytes of its own, or nobody would see that two were mistaken.
            let draw = mix(record.id.into(), 2 * piece as u64);
            let contents = self.choose_contents(draw, addr, size);
            let (id, cpu, reg) = (record.id, record.caller.cpu.into(), dst);
            let head = None;
            let via = Via::Own;
            let granted =
                Allocation { id, addr, size, usable, kind, via, cpu, reg, head, contents };
            bytes::write_all(self.subject.as_mut(), &granted);
            self.model.enter(granted, record.frames_of(piece));
        }
    }

    /// A request for several objects that failed may have taken some on the way: which one its
    /// cache hands out next is not known.
    fn forget_given_back(&mut self, record: &Record) {
        if record.request.nr_results() != 1
            && let Some(cache) = record.request.cache()
        {
            self.model.linux.forget_reuse_of(cache);
        }
    }

    /// Enters a range that was reserved, whose contents are the caller's.
    fn enter_reserved(&mut self, record: &Record) {
        let (addr, size) = (record.request.address(), record.request.size());
        let (addr, size) = (addr.unwrap_or(0), size.unwrap_or(0));
        let allocation = Allocation {
            id: record.id,
            addr,
            size,
            usable: size,
            kind: Kind::Boot,
            via: Via::Own,
            cpu: 0,
            reg: None,
            head: None,
            contents: self.choose_contents(mix(record.id.into(), 0), addr, size),
        };
        bytes::write_all(self.subject.as_mut(), &allocation);
        self.model.enter(allocation, &[]);
    }

    /// One small allocation in eight keeps the bytes that the allocator left in it: its own
    /// metadata, now a caller's contents (a free-list link, a header).
    fn choose_contents(&self, draw: u64, addr: u64, size: u64) -> Contents {
        if size <= ECHO_BYTES_MAX && draw.is_multiple_of(8) {
            Contents::Echo(bytes::echo(self.subject.as_ref(), addr, size))
        } else {
            Contents::Painted(draw)
        }
    }

    /// One block of a heap in sixteen gets a copy of what lies at the same place of another page: a
    /// caller's bytes that look like a header or a link, wherever the heap looks for its own.
    fn imitate(&mut self, draw: u64, addr: u64, size: u64) -> Option<Contents> {
        if size > IMITATED_BYTES_MAX || draw % 16 != 1 {
            return None;
        }
        let other = addr ^ (PAGE << ((draw >> 8) % 8));
        let bytes = bytes::echo(self.subject.as_ref(), other, size);
        let is_whole = bytes.len() as u64 == size;
        let written = is_whole && self.subject.write(addr, &bytes) == bytes.len();
        written.then_some(Contents::Echo(bytes))
    }

    /// Empties the register of a request that was refused, unless it holds the memory that was not
    /// replaced.
    fn assign_nothing(&mut self, dst: Option<Reg>) {
        let held = dst.and_then(|dst| self.registers.address(dst));
        if held.and_then(|addr| self.model.book.at(addr)).is_none_or(|held| held.reg != dst) {
            self.assign(dst, 0);
        }
    }

    /// Puts an address into a register, which is then no longer the holder of what it held before.
    fn assign(&mut self, dst: Option<Reg>, addr: u64) {
        let Some(dst) = dst else { return };
        if let Some(before) = self.registers.address(dst) {
            self.model.book.forget_register(before, dst);
        }
        self.registers.set(dst, addr);
    }

    /// Verifies an allocation and writes new contents to it; `id` keys them.
    pub(crate) fn rewrite(&mut self, id: u32, addr: u64) -> Option<Damage> {
        let allocation = self.model.book.at(addr)?;
        let damage = bytes::verify(self.subject.as_ref(), allocation);
        self.model.book.set_contents(addr, Contents::Painted(mix(id.into(), 1)));
        if let Some(allocation) = self.model.book.at(addr) {
            bytes::write_all(self.subject.as_mut(), allocation);
        }
        damage
    }

    /// Writes one byte just past an allocation's requested size, as a careless caller would, looks
    /// at the guard, and repairs it.
    pub(crate) fn overrun(&mut self, addr: u64) -> Overrun {
        let held = self.model.book.at(addr).filter(|held| held.size < held.usable);
        let Some(allocation) = held else { return Overrun::NoSlack };
        let end = allocation.addr + allocation.size;
        let mut byte = [0];
        if self.subject.read(end, &mut byte) == 0 {
            return Overrun::NoSlack;
        }
        self.subject.write(end, &[!byte[0]]);
        let seen = bytes::verify(self.subject.as_ref(), allocation);
        self.subject.write(end, &byte);
        Overrun::Seen(seen)
    }

    /// Looks at every byte of every live allocation.
    pub(crate) fn verify_all(&self) -> Option<Damage> {
        self.model.book.live().find_map(|held| bytes::verify(self.subject.as_ref(), held))
    }
}
