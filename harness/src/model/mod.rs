//! The reference model: what one lane's caller has been told, and what follows from it.
//!
//! The one idea: the model judges. It keeps the book of live allocations by address and never asks
//! the allocator anything; from the book alone follow the verdict of every free, what may overlap,
//! what memory must contain, and what the allocator's counters must add up to.
//!
//! It has two rooms. What any caller may rely on stands in the files of this folder: what a call
//! wants, what it was granted, frees and replaces, and the book of what is live. What only Linux
//! promises stands in `linux`, with all that has to be remembered for it. This file joins the two;
//! the others of this folder, and the generic oracles, do not look into that room.
//!
//! It does not predict where policy is free, and it keeps no contents: those follow from a seed.

mod allocation;
mod book;
mod free;
mod grant;
pub(crate) mod linux;
mod realloc;
mod want;

use crate::call::{List, Request};
use crate::op::Class;
use crate::subject::Layout;
use crate::trace::Machine;
use crate::words::gfp::__GFP_COMP;
use crate::words::{Context, order_of, pages_of};
pub(crate) use allocation::{Allocation, Contents, Kind, RCU_HEAD, RCU_OFFSET_END, Via};
use book::Book;
pub(crate) use free::{Free, Freeing, Verdict, right_call};
pub(crate) use grant::Granted;
use linux::Linux;
use linux::rules::KMALLOC_MAX_CACHE;
use realloc::Replaced;
use want::Old;
pub(crate) use want::{Interface, Want};

/// What one lane's caller has been told.
pub(crate) struct Model {
    /// What is live.
    pub book: Book,
    /// What else is known of a lane that claims to be Linux.
    pub linux: Linux,
}

impl Model {
    /// An empty book about a machine.
    pub(crate) fn new(layout: Layout, machine: &Machine) -> Self {
        Self { linux: Linux::new(&layout, machine), book: Book::new(layout) }
    }

    /// What a request asks for, or `None` if it asks for no memory. A block of a heap keeps the
    /// alignment that it was asked for with.
    pub(crate) fn want(&self, request: &Request) -> Option<Want> {
        let want = Want::of(request)?;
        match (want.interface, want.from) {
            (Interface::Heap(_), Some(Old { addr, .. })) => {
                let align = match self.book.at(addr)?.kind {
                    Kind::Heap { align } => align,
                    _ => 1,
                };
                Some(Want { interface: Interface::Heap(align), ..want })
            }
            _ => Some(self.as_linux_wants(want)),
        }
    }

    /// The live memory that a request replaces, if it is a reallocation of live memory.
    pub(crate) fn replaced(&self, want: &Want) -> Option<Replaced<'_>> {
        let from = want.from?;
        let old = self.book.at(from.addr)?;
        Some(match old.kind {
            Kind::Heap { .. } => Replaced::moved(old, want, old.size),
            _ => self.replaced_by_linux(want, from, old),
        })
    }

    /// Whether memory granted at `addr` is the memory that the request was to replace.
    pub(crate) fn is_same(&self, want: &Want, addr: u64) -> bool {
        want.from.is_some_and(|old| old.addr == addr)
    }

    /// The size and the alignment that a request's caller may rely on.
    pub(crate) fn promise(&self, want: &Want) -> (u64, u64) {
        match want.interface {
            Interface::Cache(handle) => {
                let cache = self.linux.cache(handle);
                let (size, align) = cache.map_or((0, 0), |cache| (cache.size, cache.align));
                (size, want.alignment(align))
            }
            _ => (want.size.unwrap_or(0), want.alignment(0)),
        }
    }

    /// What is known of memory that was granted to a request.
    pub(crate) fn granted(&self, want: &Want, addr: u64, usable: u64) -> Granted {
        let (size, align) = self.promise(want);
        let (kind, stays) = (self.kind_of(want, addr), self.is_same(want, addr));
        Granted { addr, usable, size, align, kind, stays }
    }

    /// What memory granted at `addr` is.
    fn kind_of(&self, want: &Want, addr: u64) -> Kind {
        if self.is_same(want, addr)
            && let Some(old) = self.book.at(addr)
        {
            return old.kind;
        }
        match want.interface {
            Interface::Pages { order } => {
                Kind::Pages { order, is_compound: want.gfp.has(__GFP_COMP) }
            }
            Interface::PagesExact => {
                Kind::PagesExact { nr_pages: pages_of(want.size.unwrap_or(0)) }
            }
            Interface::DmaCoherent => Kind::DmaCoherent { order: order_of(want.size.unwrap_or(0)) },
            Interface::Cache(handle) => Kind::CacheObject(handle),
            Interface::Vmalloc { .. } => Kind::Vmalloc,
            Interface::Boot(_) => Kind::Boot,
            Interface::Heap(align) => Kind::Heap { align },
            Interface::Frames(_) => Kind::Frames,
            Interface::Kvmalloc { .. } if self.book.is_vmalloc(addr) => Kind::Vmalloc,
            _ if want.size.unwrap_or(0) > KMALLOC_MAX_CACHE => Kind::LargeKmalloc,
            _ => Kind::Kmalloc,
        }
    }

    /// The free that a request is, if it is one, made in a context.
    pub(crate) fn freeing(&self, request: &Request, context: Context) -> Option<Freeing> {
        let free = Free::of(request, self.linux.policy().tells_old_size())?;
        let addrs = List::of(request.freed());
        let mut decisive = (*addrs.first()?, Verdict::NoOp);
        for (place, &addr) in addrs.iter().enumerate() {
            let verdict = match free.how.is_foreign() {
                true => self.book.judge_foreign(free, addr),
                false => self.judge_free(free, addr, context),
            };
            // What comes before it in the list is free by then.
            let is_again = addrs[..place].contains(&addr);
            decisive = match verdict {
                Verdict::Accept(_) if is_again => (addr, Verdict::Refuse(Class::DoubleFree, None)),
                Verdict::Accept(_) | Verdict::NoOp if place > 0 => continue,
                verdict => (addr, verdict),
            };
            if !matches!(decisive.1, Verdict::Accept(_) | Verdict::NoOp) {
                break;
            }
        }
        let (addr, verdict) = decisive;
        Some(Freeing { free, addrs, addr, verdict })
    }

    /// Enters an allocation. `frames` are the frames behind it, in order.
    pub(crate) fn enter(&mut self, allocation: Allocation, frames: &[u32]) {
        self.linux.note_entered(&allocation);
        self.book.enter(allocation, frames);
    }

    /// Strikes an allocation out that a CPU has freed; the frames behind it, in order, are nobody's
    /// from now on.
    pub(crate) fn strike(&mut self, addr: u64, frames: &[u32], cpu: u8) -> Option<Allocation> {
        let allocation = self.book.strike(addr, frames)?;
        self.linux.note_struck(&allocation, cpu);
        Some(allocation)
    }

    /// Replaces the entry of memory that stayed in place by one with its new size and contents.
    pub(crate) fn renew(&mut self, allocation: Allocation) {
        self.linux.forget_just_freed();
        self.book.put(allocation);
    }
}

/// A live area, for the tests of this folder.
#[cfg(test)]
fn test_area(addr: u64, size: u64) -> Allocation {
    let contents = Contents::Painted(1);
    let usable = size.next_multiple_of(crate::words::PAGE);
    let (kind, via) = (Kind::Vmalloc, Via::Own);
    let (cpu, reg, head) = (0, None, None);
    Allocation { id: 1, addr, size, usable, kind, via, cpu, reg, head, contents }
}
