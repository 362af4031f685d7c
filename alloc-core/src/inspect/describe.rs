//! What an address is, and hence what was wrong with a free.
//!
//! The one idea: the answer depends on the address alone, never on how its holder came by it. So
//! the floors below only refuse a free, and the reason is found here, from the same descriptors
//! and trees that a correct free uses.
//!
//! Nothing here changes anything.

use crate::frames::frame::{Frame, FrameState};
use crate::kmalloc::{direct, direct_phys};
use crate::kvmalloc::Kvmalloc;
use crate::memory::Memory;
use crate::slab::cache::CacheOwner;
use crate::vmalloc::vm_struct::{Owner, VmStruct};
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, Vaddr, order_for, pages_for};
use crate::words::error::{AddrKind, FreeCall, FreeFault, FreeVerdict};
use crate::words::fate::{self, Cell, Fate, Fit, Spot};
use crate::words::guide::right_free;
use crate::words::task::Context;

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
    /// Whether it is a block whose tails know their head.
    pub(crate) is_compound: bool,
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

    /// Why `called` was refused for `addr`. `told` is how many bytes it was told that the memory
    /// has, if it was told.
    pub(crate) fn fault(&self, addr: Vaddr, called: FreeCall, told: Option<u64>) -> FreeFault {
        let (is, live) = self.describe(addr);
        let spot = match live {
            Some(live) => live.spot(is, addr),
            None => self.spot_of_nobody(is, addr),
        };
        let nobodys = if addr.is_zero_or_null() { 0 } else { PAGE_SIZE };
        let own = live.map_or(nobodys, |live| live.usable);
        let context = self.vmalloc.context();
        let fit = fit(called, own, told, context);
        let Cell { verdict, on_linux } = fate::cell(spot, called, fit);
        let askew = live.is_some_and(|live| !(addr.0 - live.start.0).is_multiple_of(live.step));
        let verdict = match verdict {
            Some(FreeVerdict::Interior) if askew => FreeVerdict::Misaligned,
            None if context == Context::Nmi => FreeVerdict::BadContext,
            // vfree may sleep, which Linux 6.1 notices in an interrupt only (R4.13). After a grace
            // period it is a worker's.
            None | Some(FreeVerdict::WrongSize)
                if context == Context::Atomic
                    && is == AddrKind::Vmalloc
                    && called != FreeCall::KvfreeRcu =>
            {
                FreeVerdict::BadContext
            }
            None if context == Context::Hardirq && is == AddrKind::DmaCoherent => {
                FreeVerdict::BadContext
            }
            Some(verdict) => verdict,
            // Nothing else that the matrix calls right is refused.
            None => FreeVerdict::WrongAllocator,
        };
        let on_linux = match (verdict, is) {
            // `BUG_ON(in_nmi())` in vfree; others take locks without asking.
            (FreeVerdict::BadContext, AddrKind::Vmalloc) if context == Context::Nmi => Fate::Bug,
            (FreeVerdict::BadContext, _) if context == Context::Nmi => Fate::MaySpin,
            // `WARN_ON(irqs_disabled())` in dma_free_attrs, which goes on.
            (FreeVerdict::BadContext, AddrKind::DmaCoherent) => Fate::WarnFreed,
            _ if called == FreeCall::FreePagesExact && told == Some(0) => Fate::Nothing,
            _ => on_linux,
        };
        let right = match verdict {
            FreeVerdict::BadContext if context == Context::Nmi => None,
            FreeVerdict::BadContext if is == AddrKind::Vmalloc => Some(FreeCall::VfreeAtomic),
            _ => live.and_then(|_| right_free(is)),
        };
        let fault = FreeFault { addr, called, verdict, is, right, on_linux };
        if self.is_queued(addr) { fault_of_queued(fault) } else { fault }
    }

    /// Why a free of several objects was refused that names one of them again.
    pub(crate) fn fault_of_again(&self, addr: Vaddr, called: FreeCall) -> FreeFault {
        // The free list comes back to it, and so will two callers.
        let (verdict, on_linux) = (FreeVerdict::DoubleFree, Fate::SilentCorruption);
        FreeFault { verdict, right: None, on_linux, ..self.fault(addr, called, None) }
    }

    /// Why `ksize` was refused for `addr`.
    pub(crate) fn size_fault(&self, addr: Vaddr) -> FreeFault {
        let (is, live) = self.describe(addr);
        let spot = live.map_or_else(|| self.spot_of_nobody(is, addr), |live| live.spot(is, addr));
        let on_linux = fate::ksize(spot, live.map_or(0, |live| live.usable));
        // Its verdict is that of a kfree.
        FreeFault { called: FreeCall::Ksize, on_linux, ..self.fault(addr, FreeCall::Kfree, None) }
    }

    /// The row of the free matrix for an address that is in no live memory.
    fn spot_of_nobody(&self, is: AddrKind, addr: Vaddr) -> Spot {
        let is_mapped = self.vmalloc.vmap.contains(addr);
        match is {
            AddrKind::Null => Spot::Null,
            AddrKind::ZeroSizePtr => Spot::ZeroSizePtr,
            AddrKind::Free if is_mapped => {
                match self.vmalloc.vmap.find_area(self.vmalloc.memory(), addr) {
                    Some(_) => Spot::Deferred,
                    None if self.vmalloc.vmap.is_lazy(self.vmalloc.memory(), addr) => {
                        Spot::LazySpace
                    }
                    None => Spot::FreeSpace,
                }
            }
            AddrKind::Reserved if is_mapped => Spot::InternalArea,
            AddrKind::Free => self.spot_in_direct_map(addr, Spot::FreePage, Spot::FreeObject),
            AddrKind::Reserved => self.spot_in_direct_map(addr, Spot::Reserved, Spot::Internal),
            _ => Spot::Nothing,
        }
    }

    /// `page`, or in a slab `object`; or the object that the slab would hand out next.
    fn spot_in_direct_map(&self, addr: Vaddr, page: Spot, object: Spot) -> Spot {
        let slabs = &self.vmalloc.kmalloc.slab;
        let pages = &slabs.pages;
        let at = direct_phys(addr);
        match at.and_then(|at| pages.map.head_of(&pages.memory, at)) {
            Some((slab, frame)) if frame.is_slab() => {
                let found = at.and_then(|at| slabs.object_at(slab, frame, at));
                let first = found.map(|object| Paddr(slabs.freed_last(&object)));
                let is_first = first.is_some() && first == at;
                if object == Spot::FreeObject && is_first { Spot::FreedLast } else { object }
            }
            _ => page,
        }
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
        (AddrKind::Vmalloc, Some(Live::pages(Vaddr(area.start(memory)), usable)))
    }

    fn describe_direct(&self, at: Paddr, head: Pfn, frame: Frame) -> (AddrKind, Option<Live>) {
        let usable = u64::from(frame.nr_pages()) << PAGE_SHIFT;
        let is_compound = frame.is_compound;
        let block = Live { is_compound, ..Live::pages(head.to_virt(), usable) };
        match frame.state {
            FrameState::Free | FrameState::PerCpu => (AddrKind::Free, None),
            FrameState::Pages => (AddrKind::Pages, Some(block)),
            FrameState::PagesExact => (AddrKind::PagesExact, Some(self.exact_pages(head))),
            FrameState::DmaCoherent => (AddrKind::DmaCoherent, Some(block)),
            FrameState::LargeKmalloc => (AddrKind::LargeKmalloc, Some(block)),
            FrameState::Slab | FrameState::RetiredSlab => self.describe_object(at, head, frame),
            // The direct map's view of a vmalloc page is nobody's to free, and what others use is
            // theirs.
            FrameState::Reserved
            | FrameState::Tail
            | FrameState::Vmalloc
            | FrameState::PageTable
            | FrameState::PageCache
            | FrameState::Process => (AddrKind::Reserved, None),
        }
    }

    /// All the pages that were asked for together with this one.
    fn exact_pages(&self, page: Pfn) -> Live {
        let run = self.vmalloc.kmalloc.slab.pages.exact_run(page);
        let usable = u64::from(run.nr_pages) << PAGE_SHIFT;
        Live::pages(run.first.to_virt(), usable)
    }

    fn describe_object(&self, at: Paddr, slab: Pfn, frame: Frame) -> (AddrKind, Option<Live>) {
        let slabs = &self.vmalloc.kmalloc.slab;
        let Some(object) = slabs.object_at(slab, frame, at) else {
            return (AddrKind::Reserved, None);
        };
        let kind = match object.geometry.owner {
            CacheOwner::Internal => return (AddrKind::Reserved, None),
            CacheOwner::Kmalloc => AddrKind::KmallocObject,
            CacheOwner::User => AddrKind::CacheObject,
        };
        if !slabs.is_live(&object) {
            return (AddrKind::Free, None);
        }
        let usable = u64::from(object.geometry.size);
        let has_ctor = object.geometry.has_ctor;
        let start = direct(object.start);
        (kind, Some(Live { start, step: 8, usable, has_ctor, is_compound: false }))
    }
}

/// The same for memory that is to be freed after a grace period: whatever the call, it is one too
/// many (R6.7). One that would free it corrupts the queue, or what is given out next.
fn fault_of_queued(fault: FreeFault) -> FreeFault {
    let on_linux = match fault.on_linux {
        Fate::Ok | Fate::OkAccounting | Fate::WarnFreed => Fate::SilentCorruption,
        Fate::FreesAll | Fate::WarnFreesAll => Fate::SilentCorruption,
        other => other,
    };
    let (verdict, is, right) = (FreeVerdict::DoubleFree, AddrKind::Free, None);
    FreeFault { verdict, is, right, on_linux, ..fault }
}

impl Live {
    /// Whole pages.
    const fn pages(start: Vaddr, usable: u64) -> Self {
        Self { start, step: PAGE_SIZE, usable, has_ctor: false, is_compound: false }
    }

    /// The row of the free matrix for an address in this memory.
    fn spot(&self, is: AddrKind, addr: Vaddr) -> Spot {
        let is_start = addr == self.start;
        let is_one_page = self.usable == PAGE_SIZE;
        match is {
            AddrKind::KmallocObject if is_start => Spot::KmallocObject,
            AddrKind::CacheObject if is_start && self.has_ctor => Spot::ConstructedObject,
            AddrKind::CacheObject if is_start => Spot::CacheObject,
            AddrKind::LargeKmalloc if is_start => Spot::LargeKmalloc,
            AddrKind::Pages if is_start && is_one_page => Spot::OnePage,
            AddrKind::Pages if is_start && self.is_compound => Spot::Compound,
            AddrKind::Pages if is_start => Spot::Block,
            AddrKind::PagesExact if is_start => Spot::PagesExact,
            AddrKind::DmaCoherent if is_start => Spot::DmaCoherent,
            AddrKind::Vmalloc if is_start => Spot::Vmalloc,
            AddrKind::KmallocObject | AddrKind::CacheObject => Spot::InObject,
            AddrKind::Vmalloc if addr.is_page_aligned() => Spot::InVmalloc,
            AddrKind::Vmalloc => Spot::AskewVmalloc,
            _ => self.spot_in_pages(is, addr.0 - self.start.0 < PAGE_SIZE),
        }
    }

    /// The row for an address inside whole pages; the kernel ignores where in its page it lies.
    fn spot_in_pages(&self, is: AddrKind, is_first_page: bool) -> Spot {
        let is_compound = is == AddrKind::LargeKmalloc || self.is_compound;
        match is {
            AddrKind::PagesExact => Spot::InExactPage,
            _ if is_compound && is_first_page => Spot::InCompoundHead,
            _ if is_compound => Spot::InCompoundTail,
            _ if self.usable == PAGE_SIZE => Spot::InOnePage,
            _ if is_first_page => Spot::InFirstPage,
            _ => Spot::InLaterPage,
        }
    }
}

/// How what a refused call was told fits memory of `own` bytes.
fn fit(called: FreeCall, own: u64, told: Option<u64>, context: Context) -> Fit {
    // How the call counts what it frees or clears.
    let count = |bytes| match called {
        FreeCall::FreePages | FreeCall::DmaFreeCoherent => order_for(bytes).into(),
        FreeCall::FreePagesExact => pages_for(bytes),
        _ => bytes,
    };
    let may_be_less =
        matches!(called, FreeCall::KvfreeSensitive | FreeCall::Kvrealloc | FreeCall::KvfreeRcu);
    match told {
        Some(0) if !may_be_less => Fit::Smaller,
        Some(bytes) if count(bytes) > count(own) => Fit::Other,
        Some(bytes) if count(bytes) < count(own) && !may_be_less => Fit::Smaller,
        // Had it been the right cache, nothing would have been refused but in an NMI.
        None if called == FreeCall::KmemCacheFree && context != Context::Nmi => Fit::Other,
        _ => Fit::Right,
    }
}
