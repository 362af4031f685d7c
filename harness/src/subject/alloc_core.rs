//! alloc-core on a simulated machine, as a subject.
//!
//! The one idea: a translation, word for word, of requests into calls and of errors into answers.
//! The simulated machine is kept from one trace to the next, so that booting costs what the trace
//! before touched.
//!
//! It judges nothing; what it cannot translate does not exist.

mod answer;
mod early;
mod frames;
mod held;
pub mod scale;
pub mod sim_memory;
mod words;

use super::{Answer, CacheHandle, Epochs, Facts, Layout, Refusal, Reply, Request, Subject};
use crate::op::{Faults, Setting};
use crate::trace::Machine;
use alloc_core::addr::{PAGE_OFFSET, PAGE_SIZE, Pfn, VMALLOC_START, Vaddr};
use alloc_core::error::{
    AllocError, ConvertCall, ConvertFault, FreeCall, FreeFault, ReallocError, Shortage,
};
use alloc_core::task::Current;
use alloc_core::{
    BootParams, CacheId, Ctor, DestroyError, EarlyMm, FaultPlan, Mm, Policy, VmallocRange,
};
use answer::{bad_free, done, freed, refused, scoped};
use held::Held;
use sim_memory::SimMemory;
use std::cell::RefCell;
use words::{cache_flags, current, effort, flags, nodes, page_cache, scope, side};

thread_local! {
    /// Machines of traces that have ended, for the next ones.
    static MACHINES: RefCell<Vec<SimMemory>> = const { RefCell::new(Vec::new()) };
}

/// alloc-core, before and after the hand-over of its boot allocator.
enum Machinery {
    Early(Box<EarlyMm<SimMemory>>),
    Ready(Box<Mm<SimMemory>>),
}

/// alloc-core, booted.
struct AllocCore {
    /// Present until it is dropped.
    machinery: Option<Machinery>,
    /// The share of free memory that is to be holes after the hand-over, in percent.
    fragmented: u32,
    /// Frames held for ever, to fragment the machine.
    held: Held,
    /// The number of nodes, if there are several.
    nr_nodes: u8,
}

/// Boots alloc-core on a fresh machine.
///
/// # Panics
/// If the machine is too small to boot; `Limits` keeps traces above that.
pub fn boot(machine: &Machine) -> Box<dyn Subject> {
    let mut memory = MACHINES.with_borrow_mut(Vec::pop).unwrap_or_default();
    memory.reset(machine.frames, machine.vmalloc_pages);
    let params = BootParams {
        min_free_pages: machine.min_free,
        shuffle: machine.shuffle,
        policy: policy(machine.policy_name()),
        cutoff_pages: machine.cutoff,
        nr_cpus: machine.cpus as u8,
        nr_nodes: machine.nodes as u8,
        pcp_high: machine.pcp_high,
    };
    let early = EarlyMm::boot(memory, params).expect("every machine within Limits boots");
    let machinery = Some(Machinery::Early(Box::new(early)));
    let nr_nodes = if machine.nodes > 1 { machine.nodes as u8 } else { 0 };
    let (fragmented, held) = (machine.fragmented, Held::default());
    Box::new(AllocCore { machinery, fragmented, held, nr_nodes })
}

/// The version of kvmalloc that a trace calls by this name.
fn policy(name: &str) -> Policy {
    let policy = Policy::ALL.iter().find(|policy| policy.name() == name);
    *policy.expect("alloc-core has every version that a trace can name")
}

impl Drop for AllocCore {
    fn drop(&mut self) {
        let memory = match self.machinery.take() {
            Some(Machinery::Early(early)) => early.into_memory(),
            Some(Machinery::Ready(mm)) => mm.into_memory(),
            None => return,
        };
        MACHINES.with_borrow_mut(|machines| machines.push(memory));
    }
}

impl AllocCore {
    fn mm(&self) -> &Mm<SimMemory> {
        match &self.machinery {
            Some(Machinery::Ready(mm)) => mm,
            _ => unreachable!("nothing else is asked before the hand-over"),
        }
    }

    fn mm_mut(&mut self) -> &mut Mm<SimMemory> {
        match &mut self.machinery {
            Some(Machinery::Ready(mm)) => mm,
            _ => unreachable!("nothing else is asked before the hand-over"),
        }
    }

    fn memory(&self) -> &SimMemory {
        match &self.machinery {
            Some(Machinery::Early(early)) => early.memory(),
            _ => self.mm().memory(),
        }
    }

    fn memory_mut(&mut self) -> &mut SimMemory {
        match &mut self.machinery {
            Some(Machinery::Early(early)) => early.memory_mut(),
            Some(Machinery::Ready(mm)) => mm.memory_mut(),
            None => unreachable!("present until dropped"),
        }
    }

    fn call(&mut self, request: &Request) -> Answer {
        let id = |cache: CacheHandle| CacheId::from_raw(cache.0);
        let count = |nr: u64| u32::try_from(nr).unwrap_or(u32::MAX);
        let mm = self.mm_mut();
        match *request {
            Request::FreePagesPage { page, order } => freed(free_page(mm, page, order)),
            Request::PutPage { page } => freed(put_page(mm, page)),
            Request::FreePages { addr, order } => freed(mm.free_pages(Vaddr(addr), order)),
            Request::FreePage { addr } => freed(mm.free_page(Vaddr(addr))),
            Request::FreePagesExact { addr, size } => freed(mm.free_pages_exact(Vaddr(addr), size)),
            Request::DmaFreeCoherent { addr, size } => {
                freed(mm.dma_free_coherent(Vaddr(addr), size))
            }
            Request::Kfree { addr } => freed(mm.kfree(Vaddr(addr))),
            Request::KfreeSensitive { addr } => freed(mm.kfree_sensitive(Vaddr(addr))),
            Request::Ksize { addr } => mm.ksize(Vaddr(addr)).map_or_else(bad_free, Answer::Size),
            Request::KmemCacheCreate { size, align, flags, ctor } => {
                match mm.kmem_cache_create(size, align, cache_flags(flags), ctor.map(Ctor)) {
                    Ok(cache) => Answer::Cache(CacheHandle(cache.to_raw())),
                    Err(error) => refused(error),
                }
            }
            Request::KmemCacheFree { cache, addr } => {
                freed(mm.kmem_cache_free(id(cache), Vaddr(addr)))
            }
            Request::KmemCacheDestroy { cache } => match mm.kmem_cache_destroy(id(cache)) {
                Ok(()) => Answer::Done,
                Err(DestroyError::Busy(nr_objects)) => Answer::Busy(nr_objects.into()),
                Err(DestroyError::BadContext) => Answer::Refused(Refusal::BadContext),
                Err(DestroyError::NoSuchCache) => Answer::Refused(Refusal::BadArgument),
            },
            Request::Vfree { addr } => freed(mm.vfree(Vaddr(addr))),
            Request::VfreeAtomic { addr } => freed(mm.vfree_atomic(Vaddr(addr))),
            Request::Vunmap { addr } => freed(mm.vunmap(Vaddr(addr))),
            Request::VmUnmapAliases => done(mm.vm_unmap_aliases()),
            Request::Kvfree { addr } => freed(mm.kvfree(Vaddr(addr))),
            Request::KvfreeSensitive { addr, len } => freed(mm.kvfree_sensitive(Vaddr(addr), len)),
            Request::DmaAllocCoherent { size, gfp } => {
                let coherent = mm.dma_alloc_coherent(size, flags(gfp));
                coherent.map_or_else(refused, |at| granted(mm, at.addr, Some(at.bus.0)))
            }
            Request::MemallocSave { scope: kind } => scoped(mm.memalloc_save(scope(kind))),
            Request::MemallocRestore { scope: kind } => scoped(mm.memalloc_restore(scope(kind))),
            Request::Tick => {
                mm.tick();
                Answer::Done
            }
            Request::AddToPageCache { nr_pages, kind } => {
                done(mm.add_to_page_cache(count(nr_pages), page_cache(kind)))
            }
            Request::StartProcess { nr_pages } => done(mm.start_process(count(nr_pages))),
            Request::DropCaches => {
                mm.drop_caches();
                Answer::Done
            }
            Request::Krealloc { addr, size, gfp } => {
                reallocated(mm, |mm| mm.krealloc(Vaddr(addr), size, flags(gfp)))
            }
            Request::Kvrealloc { addr, old_size, size, gfp, route } => reallocated(mm, |mm| {
                mm.kvrealloc(Vaddr(addr), old_size.unwrap_or(0), size, flags(gfp), side(route))
            }),
            _ => match allocate(mm, request) {
                Some(Ok(addr)) => granted(mm, addr, None),
                Some(Err(error)) => refused(error),
                None => convert(mm, request)
                    .unwrap_or_else(|fault| Answer::WrongKind(fault.right.map(ConvertCall::name))),
            },
        }
    }
}

/// For each machine that is kept for the next traces: the frames whose bytes it keeps. They are
/// kept no longer.
#[cfg(test)]
pub(crate) fn take_frames_kept() -> Vec<u64> {
    let machines = MACHINES.take();
    machines.iter().map(|machine| machine.nr_frames_kept() as u64).collect()
}

fn granted(mm: &Mm<SimMemory>, addr: Vaddr, bus: Option<u64>) -> Answer {
    let usable = mm.usable_size(addr).unwrap_or(0);
    Answer::Memory { addr: addr.0, usable, bus }
}

fn reallocated(
    mm: &mut Mm<SimMemory>,
    call: impl FnOnce(&mut Mm<SimMemory>) -> Result<Vaddr, ReallocError>,
) -> Answer {
    match call(mm) {
        Ok(addr) => granted(mm, addr, None),
        Err(ReallocError::Alloc(error)) => refused(error),
        Err(ReallocError::Free(fault)) => bad_free(fault),
    }
}

/// The calls that ask for memory.
fn allocate(mm: &mut Mm<SimMemory>, request: &Request) -> Option<Result<Vaddr, AllocError>> {
    let id = |cache: CacheHandle| CacheId::from_raw(cache.0);
    Some(match *request {
        Request::AllocPages { gfp, order } => mm.alloc_pages(flags(gfp), order).map(Pfn::to_virt),
        Request::AllocPagesNode { node, gfp, order } => {
            mm.alloc_pages_node(node, flags(gfp), order).map(Pfn::to_virt)
        }
        Request::KmallocNode { size, gfp, node } => mm.kmalloc_node(size, flags(gfp), node),
        Request::KmemCacheAllocNode { cache, gfp, node } => {
            mm.kmem_cache_alloc_node(id(cache), flags(gfp), node)
        }
        Request::VmallocNode { size, node } => mm.vmalloc_node(size, node),
        Request::KvmallocNode { size, gfp, node, route } => {
            mm.kvmalloc_node(size, flags(gfp), node, side(route))
        }
        Request::KvzallocNode { size, gfp, node, route } => {
            mm.kvzalloc_node(size, flags(gfp), node, side(route))
        }
        Request::GetFreePages { gfp, order } => mm.__get_free_pages(flags(gfp), order),
        Request::GetFreePage { gfp } => mm.__get_free_page(flags(gfp)),
        Request::AllocPagesExact { size, gfp } => mm.alloc_pages_exact(size, flags(gfp)),
        Request::GetZeroedPage { gfp } => mm.get_zeroed_page(flags(gfp)),
        Request::Kmalloc { size, gfp } => mm.kmalloc(size, flags(gfp)),
        Request::Kzalloc { size, gfp } => mm.kzalloc(size, flags(gfp)),
        Request::KmallocArray { n, size, gfp } => mm.kmalloc_array(n, size, flags(gfp)),
        Request::Kcalloc { n, size, gfp } => mm.kcalloc(n, size, flags(gfp)),
        Request::KmemCacheAlloc { cache, gfp } => mm.kmem_cache_alloc(id(cache), flags(gfp)),
        Request::KmemCacheZalloc { cache, gfp } => mm.kmem_cache_zalloc(id(cache), flags(gfp)),
        Request::Vmalloc { size } => mm.vmalloc(size),
        Request::Vzalloc { size } => mm.vzalloc(size),
        Request::VmallocGfp { size, gfp } => mm.__vmalloc(size, flags(gfp)),
        Request::VmallocHuge { size, gfp } => mm.vmalloc_huge(size, flags(gfp)),
        Request::VmallocNodeRange { size, align, start, end, gfp } => {
            let at = |offset| Vaddr(VMALLOC_START.saturating_add(offset));
            let (start, end, gfp) = (at(start), at(end), flags(gfp));
            let range = VmallocRange { size, align, start, end, gfp };
            mm.__vmalloc_node_range(range)
        }
        Request::Kvmalloc { size, gfp, route } => mm.kvmalloc(size, flags(gfp), side(route)),
        Request::Kvzalloc { size, gfp, route } => mm.kvzalloc(size, flags(gfp), side(route)),
        Request::KvmallocArray { n, size, gfp, route } => {
            mm.kvmalloc_array(n, size, flags(gfp), side(route))
        }
        Request::Kvcalloc { n, size, gfp, route } => mm.kvcalloc(n, size, flags(gfp), side(route)),
        _ => return None,
    })
}

/// The conversions between addresses and pages.
fn convert(mm: &Mm<SimMemory>, request: &Request) -> Result<Answer, ConvertFault> {
    Ok(match *request {
        Request::IsVmallocAddr { addr } => Answer::Flag(mm.is_vmalloc_addr(Vaddr(addr))),
        Request::VirtAddrValid { addr } => Answer::Flag(mm.virt_addr_valid(Vaddr(addr))),
        Request::VirtToPage { addr } => Answer::Frame(mm.virt_to_page(Vaddr(addr))?.0),
        // A trace has no pages, so it names one by an address that shows it.
        Request::PageAddress { page } => {
            let page = mm.vmalloc_to_page(Vaddr(page)).unwrap_or(Pfn(u32::MAX));
            Answer::Address(mm.page_address(page)?.0)
        }
        Request::VirtToPhys { addr } => Answer::Phys(mm.virt_to_phys(Vaddr(addr))?.0),
        Request::VmallocToPage { addr } => Answer::Frame(mm.vmalloc_to_page(Vaddr(addr))?.0),
        _ => Answer::Unsupported,
    })
}

/// `__free_pages` takes a page; an address that is no page's has none to give.
fn free_page(mm: &mut Mm<SimMemory>, page: u64, order: u32) -> Result<(), FreeFault> {
    match page_at(mm, page) {
        Some(pfn) => mm.__free_pages(pfn, order),
        None => mm.free_pages(Vaddr(page), order),
    }
}

/// `put_page`, likewise.
fn put_page(mm: &mut Mm<SimMemory>, page: u64) -> Result<(), FreeFault> {
    match page_at(mm, page) {
        Some(pfn) => mm.put_page(pfn),
        None => Err(mm.refusal(Vaddr(page), FreeCall::PutPage)),
    }
}

/// The page whose first byte is at an address of the direct map.
fn page_at(mm: &Mm<SimMemory>, addr: u64) -> Option<Pfn> {
    mm.virt_to_page(Vaddr(addr)).ok().filter(|_| addr.is_multiple_of(PAGE_SIZE))
}

impl Subject for AllocCore {
    fn apply(&mut self, request: &Request, setting: &Setting) -> Reply {
        if request.is_boot() {
            let machine = match &mut self.machinery {
                Some(Machinery::Early(early)) => Some(early.as_mut()),
                _ => None,
            };
            let answer = early::answer(machine, request);
            let (epochs, effort) = Default::default();
            return Reply { answer, nr_faults: 0, epochs, effort };
        }
        self.mm_mut().set_current(current(setting.caller));
        let Faults { any, slab, page_alloc, vmap } = setting.faults;
        self.mm_mut().set_faults(FaultPlan { any, slab, page_alloc, vmap });
        let fired_before = self.mm().nr_faults_fired();
        let effort_before = self.mm().effort();
        let refusal = self.held.refusal(self.mm().memory(), request);
        let answer = refusal.unwrap_or_else(|| self.call(request));
        let mm = self.mm();
        let effort = effort(mm.effort().since(effort_before));
        let epochs = Epochs {
            memory: mm.release_epoch(Shortage::Pages { order: 0 }),
            space: mm.release_epoch(Shortage::VmallocSpace),
        };
        Reply { answer, nr_faults: mm.nr_faults_fired() - fired_before, epochs, effort }
    }

    fn span(&self, addr: u64, len: u64) -> Option<&[u8]> {
        self.memory().span(addr, len)
    }

    fn span_mut(&mut self, addr: u64, len: u64) -> Option<&mut [u8]> {
        self.memory_mut().span_mut(addr, len)
    }

    fn write(&mut self, addr: u64, bytes: &'static [u8]) -> Option<u64> {
        self.memory_mut().write(addr, bytes)
    }

    fn frame_of(&self, addr: u64) -> Option<u32> {
        self.memory().frame_of(addr)
    }

    fn frame_of_bus(&self, bus: u64) -> Option<u32> {
        self.memory().frame_of_bus(bus)
    }

    fn facts(&self) -> Facts {
        if let Some(Machinery::Early(_)) = self.machinery {
            return Facts::default();
        }
        let stat = self.mm().stat();
        Facts {
            nr_managed_pages: stat.nr_managed_pages.into(),
            nr_free_pages: stat.nr_free_pages.into(),
            nr_free_blocks: stat.nr_free_blocks,
            nr_nodes: self.nr_nodes,
            nodes: if self.nr_nodes > 0 { nodes(stat.nodes) } else { Default::default() },
            nr_per_cpu_pages: stat.nr_per_cpu_pages.into(),
            nr_held_pages: self.held.nr_pages().into(),
            nr_block_pages: (stat.nr_block_pages - self.held.nr_pages()).into(),
            nr_large_kmalloc_pages: stat.nr_large_kmalloc_pages.into(),
            nr_slab_pages: stat.nr_slab_pages.into(),
            nr_empty_slab_pages: stat.nr_empty_slab_pages.into(),
            nr_cache_pages: stat.nr_cache_pages.map(u64::from),
            nr_process_pages: stat.nr_process_pages.into(),
            nr_processes: stat.nr_processes.into(),
            nr_vmalloc_pages: stat.nr_vmalloc_pages.into(),
            nr_page_table_pages: stat.nr_page_table_pages.into(),
            nr_kmalloc_objects: stat.nr_kmalloc_objects.into(),
            nr_cache_objects: stat.nr_cache_objects.into(),
            nr_internal_objects: stat.nr_internal_objects.into(),
            nr_areas: stat.nr_areas.into(),
            nr_deferred_areas: stat.nr_deferred_areas.into(),
            nr_area_pages: stat.nr_area_pages,
            nr_lazy_pages: stat.nr_lazy_pages,
            nr_largest_hole_pages: stat.nr_largest_hole_pages,
            nr_tlb_flushes: stat.nr_tlb_flushes,
        }
    }

    fn layout(&self) -> Layout {
        use alloc_core::memory::Memory;
        let memory = self.memory();
        Layout {
            direct_start: PAGE_OFFSET,
            direct_end: PAGE_OFFSET + u64::from(memory.nr_frames()) * PAGE_SIZE,
            vmalloc_start: VMALLOC_START,
            vmalloc_end: VMALLOC_START + memory.nr_vmalloc_pages() * PAGE_SIZE,
        }
    }

    fn validate(&self) -> Result<(), String> {
        if let Some(Machinery::Early(early)) = &self.machinery {
            return early.validate().map_err(|corruption| corruption.to_string());
        }
        let mm = self.mm();
        if let Some(fault) = mm.memory().fault() {
            return Err(fault.into());
        }
        // Whatever a caller of ours writes stays inside its memory, so a damaged free list is a
        // bug.
        match mm.stat().nr_corrupt_slabs {
            0 => mm.validate().map_err(|corruption| corruption.to_string()),
            nr => Err(format!("{nr} slabs were taken out of service as damaged")),
        }
    }

    fn validate_vmap(&self) -> Result<(), String> {
        if let Some(Machinery::Early(_)) = self.machinery {
            return Ok(());
        }
        self.mm().validate_vmap().map_err(|corruption| corruption.to_string())
    }

    fn hand_over(&mut self) {
        self.machinery = self.machinery.take().map(|machinery| match machinery {
            Machinery::Early(early) => Machinery::Ready(Box::new(early.hand_over())),
            ready => ready,
        });
        let percent = std::mem::take(&mut self.fragmented);
        if percent > 0 {
            self.held = Held::fragment(self.mm_mut(), percent);
        }
    }

    fn settle(&mut self) {
        let mm = self.mm_mut();
        mm.set_current(Current::default());
        mm.tick();
        mm.evict_others();
        mm.vm_unmap_aliases().expect("a task may sleep");
        mm.shrink_all();
    }
}
