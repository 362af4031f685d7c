//! alloc-core on a machine, as a subject.
//!
//! It translates requests into calls and errors into answers, word for word. The machine below may
//! be any [`Machine`]; the simulated one is kept from one trace to the next, so that booting costs
//! what the trace before touched.
//!
//! It judges nothing; what it cannot translate does not exist.

mod answer;
mod calls;
mod early;
mod frames;
mod held;
mod machine;
pub mod scale;
pub mod sim_memory;
mod words;

use super::{Answer, Cap, Caps, Epochs, Facts, Layout, Mismatch, Reply, Subject};
use crate::call::{Request, dispatch};
use crate::op::{Faults, Setting};
use crate::paint::first_difference_of;
use crate::trace;
use crate::words::Route;
use alloc_core::addr::{PAGE_OFFSET, PAGE_SIZE, VMALLOC_START};
use alloc_core::error::Shortage;
use alloc_core::task::Current;
use alloc_core::{BootParams, EarlyMm, FaultPlan, KvmallocVersion, Mm};
use held::Held;
use sim_memory::SimMemory;
use words::{current, effort, nodes};

pub use machine::Machine;

/// alloc-core, before and after the hand-over of its boot allocator.
enum Machinery<M> {
    Early(Box<EarlyMm<M>>),
    Ready(Box<Mm<M>>),
}

/// alloc-core, booted.
struct AllocCore<M: Machine> {
    /// Present until it is dropped.
    machinery: Option<Machinery<M>>,
    /// The share of free memory that is to be holes after the hand-over, in percent.
    fragmented: u32,
    /// Frames held for ever, to fragment the machine.
    held: Held,
    /// The number of nodes, if there are several.
    nr_nodes: u8,
    /// The route of the request at hand.
    route: Route,
}

/// Boots alloc-core on a fresh simulated machine.
///
/// # Errors
/// If the machine is too small to boot; `Limits` keeps traces above that.
pub fn boot(machine: &trace::Machine) -> Result<Box<dyn Subject>, String> {
    boot_on(SimMemory::fresh(machine.frames, machine.vmalloc_pages), machine)
}

/// Boots alloc-core on memory of the machine's size, in which no page is mapped.
///
/// # Errors
/// As [`boot`].
pub fn boot_on<M: Machine + 'static>(
    memory: M,
    machine: &trace::Machine,
) -> Result<Box<dyn Subject>, String> {
    let params = BootParams {
        min_free_pages: machine.min_free,
        shuffle: machine.shuffle,
        version: version(machine.policy_name()),
        cutoff_pages: machine.cutoff,
        nr_cpus: machine.cpus as u8,
        nr_nodes: machine.nodes as u8,
        pcp_high: machine.pcp_high,
    };
    let early = EarlyMm::boot(memory, params).map_err(|error| format!("{error:?}"))?;
    let machinery = Some(Machinery::Early(Box::new(early)));
    let nr_nodes = if machine.nodes > 1 { machine.nodes as u8 } else { 0 };
    let (fragmented, held) = (machine.fragmented, Held::default());
    Ok(Box::new(AllocCore { machinery, fragmented, held, nr_nodes, route: Route::Policy }))
}

/// The version of kvmalloc that a trace calls by this name.
fn version(name: &str) -> KvmallocVersion {
    let version = KvmallocVersion::ALL.iter().find(|version| version.name() == name);
    *version.expect("alloc-core has every version that a trace can name")
}

impl<M: Machine> Drop for AllocCore<M> {
    fn drop(&mut self) {
        match self.machinery.take() {
            Some(Machinery::Early(early)) => early.into_memory().retire(),
            Some(Machinery::Ready(mm)) => mm.into_memory().retire(),
            None => {}
        }
    }
}

impl<M: Machine> AllocCore<M> {
    fn mm(&self) -> &Mm<M> {
        match &self.machinery {
            Some(Machinery::Ready(mm)) => mm,
            _ => unreachable!("nothing else is asked before the hand-over"),
        }
    }

    fn mm_mut(&mut self) -> &mut Mm<M> {
        match &mut self.machinery {
            Some(Machinery::Ready(mm)) => mm,
            _ => unreachable!("nothing else is asked before the hand-over"),
        }
    }

    fn memory(&self) -> &M {
        match &self.machinery {
            Some(Machinery::Early(early)) => early.memory(),
            _ => self.mm().memory(),
        }
    }

    fn memory_mut(&mut self) -> &mut M {
        match &mut self.machinery {
            Some(Machinery::Early(early)) => early.memory_mut(),
            Some(Machinery::Ready(mm)) => mm.memory_mut(),
            None => unreachable!("present until dropped"),
        }
    }

    /// The boot allocator, until it hands over.
    fn early(&mut self) -> Option<&mut EarlyMm<M>> {
        match &mut self.machinery {
            Some(Machinery::Early(early)) => Some(early),
            _ => None,
        }
    }
}

#[cfg(test)]
pub(crate) use sim_memory::take_frames_kept;

/// Goes through `len` bytes in pieces that lie next to each other: `piece` is told how many are
/// done and how many are left, and says how many it did, or that it can do no more.
fn in_spans(len: usize, mut piece: impl FnMut(usize, u64) -> Option<usize>) -> usize {
    let mut done = 0;
    while done < len {
        let Some(nr) = piece(done, (len - done) as u64) else { break };
        done += nr;
    }
    done
}

impl<M: Machine> Subject for AllocCore<M> {
    /// All but to see who writes where there is no memory at all, which no simulated machine lets
    /// anybody do, and to be asked for equal rounds: what is kept is counted.
    fn caps(&self) -> Caps {
        Caps::ALL.without(Cap::Bounds).without(Cap::Reuses)
    }

    fn apply(&mut self, request: &Request, setting: &Setting) -> Reply {
        self.route = request.route;
        if request.spec().family.is_foreign() {
            return Reply::default();
        }
        if request.call.is_boot() {
            let answer = dispatch(self, request).unwrap_or(Answer::Unsupported);
            return Reply { answer, ..Reply::default() };
        }
        self.mm_mut().set_current(current(setting.caller));
        let Faults { any, slab, page_alloc, vmap } = setting.faults;
        self.mm_mut().set_faults(FaultPlan { any, slab, page_alloc, vmap });
        let fired_before = self.mm().nr_faults_fired();
        let effort_before = self.mm().effort();
        let refusal = self.held.refusal(self.mm().memory(), request);
        let made = || dispatch(self, request).unwrap_or(Answer::Unsupported);
        let answer = refusal.unwrap_or_else(made);
        let mm = self.mm();
        let effort = effort(mm.effort().since(effort_before));
        let epochs = Epochs {
            memory: mm.release_epoch(Shortage::Pages { order: 0 }),
            space: mm.release_epoch(Shortage::VmallocSpace),
        };
        Reply { answer, nr_faults: mm.nr_faults_fired() - fired_before, epochs, effort }
    }

    fn read(&self, addr: u64, bytes: &mut [u8]) -> usize {
        in_spans(bytes.len(), |done, left| {
            let span = self.memory().span(addr + done as u64, left)?;
            bytes[done..][..span.len()].copy_from_slice(span);
            Some(span.len())
        })
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> usize {
        in_spans(bytes.len(), |done, left| {
            let span = self.memory_mut().span_mut(addr + done as u64, left)?;
            span.copy_from_slice(&bytes[done..][..span.len()]);
            Some(span.len())
        })
    }

    fn paint(&mut self, addr: u64, bytes: &'static [u8]) -> usize {
        in_spans(bytes.len(), |done, _| {
            let nr_written = self.memory_mut().paint(addr + done as u64, &bytes[done..])?;
            Some(nr_written as usize)
        })
    }

    fn compare(&self, addr: u64, expected: &[u8]) -> Result<(), Mismatch> {
        let mut mismatch = None;
        let nr_alike = in_spans(expected.len(), |done, left| {
            let span = self.memory().span(addr + done as u64, left)?;
            let differs = first_difference_of(span, &expected[done..][..span.len()]);
            mismatch = differs.map(|at| Mismatch::Differs(done + at));
            mismatch.is_none().then_some(span.len())
        });
        match mismatch {
            Some(mismatch) => Err(mismatch),
            None if nr_alike < expected.len() => Err(Mismatch::Unmapped(nr_alike)),
            None => Ok(()),
        }
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
            nr_queued: stat.nr_queued.into(),
            nr_area_pages: stat.nr_area_pages,
            nr_lazy_pages: stat.nr_lazy_pages,
            nr_largest_hole_pages: stat.nr_largest_hole_pages,
            nr_tlb_flushes: stat.nr_tlb_flushes,
        }
    }

    fn layout(&self) -> Layout {
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

    fn resume(&mut self) {
        self.memory_mut().resume();
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
