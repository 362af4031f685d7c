//! Frees that come later: `kvfree_rcu` and `kfree_rcu` (R6.7).
//!
//! The one idea: what is queued is live until a grace period is over, since a reader may have found
//! it before it was unlinked; so it keeps its bytes, all but those of the `rcu_head` that its
//! holder has set aside in it, and the queue is a list through those.
//!
//! ```text
//!  first ──► head of the last ──► head of the one before ──► NULL
//!            ┌───────┬──────────────┬──────────────────┐
//!  an object │ bytes │ next, offset │ bytes            │
//!            └───────┴──────────────┴──────────────────┘
//!            ◄offset ►
//! ```
//!
//! A tick ends the grace period of all that is queued. Until then every other free of it is one too
//! many; to know that, each call that frees walks the queue, if there is any.

use crate::kvmalloc::{Kvmalloc, RcuQueue};
use crate::memory::Memory;
use crate::slab::objects::Refused;
use crate::words::addr::{PAGE_SHIFT, Paddr, Vaddr};

/// Bytes of an `rcu_head`: a link and a word.
const RCU_HEAD_BYTES: u64 = 16;

/// An `rcu_head` begins below this offset: a larger one could be the address of a function
/// (`__is_kvfree_rcu_offset`).
const OFFSET_END: u64 = 4096;

/// Where an `rcu_head` at an offset ends; beyond all memory if there can be none.
pub(crate) fn rcu_head_end(offset: u64) -> u64 {
    let may_be = offset < OFFSET_END && offset.is_multiple_of(8);
    if may_be { offset + RCU_HEAD_BYTES } else { u64::MAX }
}

impl<M: Memory> Kvmalloc<M> {
    /// Queues memory of either side, whose `rcu_head` is `offset` bytes into it.
    pub(crate) fn kvfree_rcu(&mut self, addr: Vaddr, offset: u64) -> Result<(), Refused> {
        if addr == Vaddr::NULL {
            return Ok(());
        }
        if rcu_head_end(offset) > self.usable(addr)? {
            return Err(Refused);
        }
        let head = Vaddr(addr.0 + offset);
        self.store(head, self.queue.first.0);
        self.store(Vaddr(head.0 + 8), offset);
        self.queue = RcuQueue { first: head, nr: self.queue.nr + 1 };
        Ok(())
    }

    /// Frees all that is queued, the last first. If a holder has written to an `rcu_head` since,
    /// the memory that it led to is lost.
    pub(crate) fn end_grace_period(&mut self) {
        while self.queue.nr > 0 {
            let (object, next) = self.queued_at(self.queue.first);
            self.queue = RcuQueue { first: next, nr: self.queue.nr - 1 };
            let freed = if self.vmalloc.vmap.contains(object) {
                self.vmalloc.vfree_at_once(object)
            } else {
                self.vmalloc.kmalloc.kfree(object)
            };
            if freed.is_err() {
                self.queue = RcuQueue::EMPTY;
            }
        }
    }

    /// Whether memory that begins at an address waits for the end of its grace period.
    pub(crate) fn is_queued(&self, addr: Vaddr) -> bool {
        self.queued().any(|object| object == addr)
    }

    /// All that is queued, the last first.
    pub(crate) fn queued(&self) -> impl Iterator<Item = Vaddr> {
        let mut head = self.queue.first;
        (0..self.queue.nr).map(move |_| {
            let (object, next) = self.queued_at(head);
            head = next;
            object
        })
    }

    /// The memory whose `rcu_head` this is, and the next one.
    fn queued_at(&self, head: Vaddr) -> (Vaddr, Vaddr) {
        let offset = self.load(Vaddr(head.0.wrapping_add(8)));
        (Vaddr(head.0.wrapping_sub(offset)), Vaddr(self.load(head)))
    }

    /// Where a word of an `rcu_head` is; nowhere if the link to it was damaged.
    fn word(&self, at: Vaddr) -> Option<Paddr> {
        let nr_bytes = u64::from(self.vmalloc.memory().nr_frames()) << PAGE_SHIFT;
        let is_there = |word: &Paddr| word.0.is_multiple_of(8) && word.0 < nr_bytes;
        self.vmalloc.phys(at).filter(is_there)
    }

    fn load(&self, at: Vaddr) -> u64 {
        self.word(at).map_or(0, |word| self.vmalloc.memory().load(word))
    }

    fn store(&mut self, at: Vaddr, value: u64) {
        if let Some(word) = self.word(at) {
            self.vmalloc.memory_mut().store(word, value);
        }
    }
}
