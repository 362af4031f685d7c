//! What an address is, and hence what was wrong with a free.
//!
//! The one idea: the answer depends on the address alone, never on how its holder came by it. So
//! the floors below only refuse a free, and the reason is found here, from the same descriptors
//! and trees that a correct free uses.
//!
//! Nothing here changes anything.

use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, Vaddr};
use crate::cache::CacheKind;
use crate::error::{AddrKind, FreeCall, FreeFault, FreeVerdict};
use crate::frame::{Frame, FrameState};
use crate::guide::right_free;
use crate::kmalloc::{direct, direct_phys};
use crate::kvmalloc::Kvmalloc;
use crate::memory::Memory;
use crate::task::Context;
use crate::vmalloc::{Owner, VmStruct};

/// The live memory around an address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    /// Its first byte.
    pub(crate) start: Vaddr,
    /// Where things of its kind could start: multiples of this from the start.
    step: u64,
    /// Bytes that its holder may use.
    pub(crate) usable: u64,
    /// Whether it must be given back as it was constructed.
    has_ctor: bool,
}

impl<M: Memory> Kvmalloc<M> {
    /// What an address is, and the live memory around it if it is in any.
    pub(crate) fn describe(&self, addr: Vaddr) -> (AddrKind, Option<Live>) {
        if addr == Vaddr::NULL {
            return (AddrKind::Null, None);
        }
        if addr.is_zero_or_null() {
            return (AddrKind::ZeroSizePtr, None);
        }
        if self.vmalloc.vmap.contains(addr) {
            return self.describe_mapped(addr);
        }
        let pages = &self.vmalloc.kmalloc.slab.pages;
        let Some(at) = direct_phys(addr) else {
            return (AddrKind::Nothing, None);
        };
        match pages.map.head_of(&pages.memory, at) {
            Some((head, frame)) => self.describe_direct(at, head, frame),
            None => (AddrKind::Nothing, None),
        }
    }

    /// Why `called` was refused for `addr`.
    pub(crate) fn fault(&self, addr: Vaddr, called: FreeCall) -> FreeFault {
        let (is, live) = self.describe(addr);
        let verdict = match live {
            Some(live) if live.start == addr => mistake(is, called, live, self.vmalloc.context()),
            Some(live) if (addr.0 - live.start.0).is_multiple_of(live.step) => {
                FreeVerdict::Interior
            }
            Some(_) => FreeVerdict::Misaligned,
            None if is == AddrKind::Free => FreeVerdict::DoubleFree,
            None => FreeVerdict::Wild,
        };
        let right = match verdict {
            FreeVerdict::BadContext => Some(FreeCall::VfreeAtomic),
            _ => live.and_then(|_| right_free(is)),
        };
        FreeFault { addr, called, verdict, is, right }
    }

    fn describe_mapped(&self, addr: Vaddr) -> (AddrKind, Option<Live>) {
        let memory = self.vmalloc.memory();
        let Some(area) = self.vmalloc.vmap.find_area(memory, addr) else {
            // A hole was never handed out or has been freed, as has a lazy area.
            return (AddrKind::Free, None);
        };
        match VmStruct(area.vm(memory)).owner(memory) {
            Owner::Caller => {}
            Owner::PageArray => return (AddrKind::Reserved, None),
            Owner::Deferred => return (AddrKind::Free, None),
        }
        let usable = area.size(memory) - PAGE_SIZE;
        let live =
            Live { start: Vaddr(area.start(memory)), step: PAGE_SIZE, usable, has_ctor: false };
        (AddrKind::Vmalloc, Some(live))
    }

    fn describe_direct(&self, at: Paddr, head: Pfn, frame: Frame) -> (AddrKind, Option<Live>) {
        let usable = u64::from(frame.nr_pages()) << PAGE_SHIFT;
        let block = Live { start: head.to_virt(), step: PAGE_SIZE, usable, has_ctor: false };
        match frame.state {
            FrameState::Free => (AddrKind::Free, None),
            FrameState::Pages => (AddrKind::Pages, Some(block)),
            FrameState::PagesExact => (AddrKind::PagesExact, Some(self.exact_pages(head))),
            FrameState::DmaCoherent => (AddrKind::DmaCoherent, Some(block)),
            FrameState::LargeKmalloc => (AddrKind::LargeKmalloc, Some(block)),
            FrameState::Slab | FrameState::RetiredSlab => self.describe_object(at, head, frame),
            // The direct map's view of a vmalloc page is nobody's to free.
            FrameState::Reserved | FrameState::Tail | FrameState::Vmalloc => {
                (AddrKind::Reserved, None)
            }
        }
    }

    /// All the pages that were asked for together with this one.
    fn exact_pages(&self, page: Pfn) -> Live {
        let run = self.vmalloc.kmalloc.slab.pages.exact_run(page);
        let usable = u64::from(run.nr_pages) << PAGE_SHIFT;
        Live { start: run.first.to_virt(), step: PAGE_SIZE, usable, has_ctor: false }
    }

    fn describe_object(&self, at: Paddr, slab: Pfn, frame: Frame) -> (AddrKind, Option<Live>) {
        let slabs = &self.vmalloc.kmalloc.slab;
        let Some(object) = slabs.object_at(slab, frame, at) else {
            return (AddrKind::Reserved, None);
        };
        let kind = match object.geometry.kind {
            CacheKind::Internal => return (AddrKind::Reserved, None),
            CacheKind::Kmalloc => AddrKind::KmallocObject,
            CacheKind::User => AddrKind::CacheObject,
        };
        if !slabs.is_live(&object) {
            return (AddrKind::Free, None);
        }
        let usable = u64::from(object.geometry.size);
        let has_ctor = object.geometry.has_ctor;
        (kind, Some(Live { start: direct(object.start), step: 8, usable, has_ctor }))
    }
}

/// What is wrong with freeing live memory at its start, given that it was refused.
fn mistake(is: AddrKind, called: FreeCall, live: Live, context: Context) -> FreeVerdict {
    let sleeps = matches!(called, FreeCall::Vfree | FreeCall::Kvfree | FreeCall::KvfreeSensitive);
    match (called, is) {
        // The right call, at the wrong time.
        (_, AddrKind::Vmalloc) if sleeps && context == Context::Atomic => FreeVerdict::BadContext,
        (FreeCall::FreePages, AddrKind::Pages) => FreeVerdict::WrongOrder,
        (FreeCall::FreePagesExact, AddrKind::PagesExact)
        | (FreeCall::DmaFreeCoherent, AddrKind::DmaCoherent) => FreeVerdict::WrongSize,
        (
            FreeCall::KvfreeSensitive,
            AddrKind::KmallocObject
            | AddrKind::CacheObject
            | AddrKind::LargeKmalloc
            | AddrKind::Vmalloc,
        ) if !live.has_ctor => FreeVerdict::WrongSize,
        (FreeCall::KmemCacheFree, AddrKind::KmallocObject | AddrKind::CacheObject) => {
            FreeVerdict::WrongCache
        }
        _ => FreeVerdict::WrongAllocator,
    }
}
