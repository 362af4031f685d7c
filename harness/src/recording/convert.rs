//! From events to the ops of a trace.
//!
//! A recording is converted in one pass, in its own order. Each event either is a call of the
//! trace, or is nested in one, or has no partner in the recording, and is counted as that.
//!
//! A refused or empty request gets the register that the next allocation will get. If a lane serves
//! it where the kernel did not, the language's own rule (assigning frees the old value) disposes of
//! it, and the trace stays legal either way.
//!
//! This file writes what allocates; `release` writes what frees.

use super::converter::{Converter, op};
use super::error::{Problem, RecordingError};
use super::event::{PAGE, TraceEvent, What};
use super::kernel::Kernel;
use super::machine::Cost;
use super::nest::{Entered, Returned, ZERO_SIZE_PTR, served, side};
use super::owners::{Origin, Owner};
use super::pages::page_roles;
use super::read::Log;
use super::{Counts, Recording, Served, Told};
use crate::call::Call;
use crate::op::{Arg, Op, Reg};
use crate::trace::{POLICIES, Trace};
use crate::words::Gfp;

/// Makes a recording of the events of a text.
pub(super) fn convert(log: Log) -> Result<Recording, RecordingError> {
    let roles = page_roles(&log.events, log.contexts);
    let mut converter = Converter::new(&log);
    converter.counts.direct_map_base = roles.base;
    for (event, under_object) in log.events.iter().zip(&roles.under_object) {
        converter.line = event.line;
        converter.event(event, *under_object)?;
    }
    converter.abandon()?;
    Ok(Recording { under_objects: roles.blocks, ..converter.finish(log) })
}

/// What the recorded kernel answered to a request.
#[derive(Clone, Copy)]
struct KernelAnswer {
    ptr: u64,
    served: Served,
    told: Told,
}

/// The version of kvmalloc that a kernel has: the latest that is not younger than it.
fn policy_of(kernel: Kernel) -> u32 {
    let is_old_enough = |name: &str| match name.parse::<Kernel>() {
        Ok(version) => version <= kernel,
        // Before and after all versions there are two that are none.
        Err(_) => name != "latest",
    };
    POLICIES.iter().rposition(|name| is_old_enough(name)).unwrap_or(0) as u32
}

impl Converter {
    fn event(&mut self, event: &TraceEvent, under_object: bool) -> Result<(), RecordingError> {
        let context = event.context;
        if event.what == What::Lost {
            return self.abandon();
        }
        self.counts.events += 1;
        while let Some(returned) = self.nest.overdue(context, &event.what) {
            self.returned(context, &returned)?;
        }
        self.nest.passes(context, &event.what);
        match event.what {
            What::Object { ptr, size, bytes_alloc, gfp, from_cache } => {
                if self.nest.is_open(context) {
                    self.nest.object(context, ptr, (size, bytes_alloc), gfp);
                    self.counts.hidden_addresses += u64::from(ptr.is_none());
                    self.internal(context, ptr.unwrap_or(0));
                    return Ok(());
                }
                self.object(ptr, (size, bytes_alloc), gfp, from_cache)
            }
            What::Free { call, ptr } => {
                self.free(context, call, ptr);
                Ok(())
            }
            What::PageAlloc { pfn, order, gfp } => {
                let nested = under_object || self.nest.is_open(context);
                self.page_alloc(pfn, order, gfp, nested)
            }
            What::PageFree { pfn, order } => {
                self.page_free(context, (pfn, order), under_object);
                Ok(())
            }
            What::KvCall { .. } | What::VmCall { .. } => {
                self.enter(context, event.what);
                Ok(())
            }
            What::KvReturn { ret } => {
                let returned = self.nest.kv_return(context, ret);
                returned.map_or(Ok(()), |returned| self.returned(context, &returned))
            }
            What::VmReturn { ret } => {
                let returned = self.nest.vm_return(context, ret);
                returned.map_or(Ok(()), |returned| self.returned(context, &returned))
            }
            What::Lost => Ok(()),
        }
    }

    /// Events were lost: no open call can be trusted to see its return.
    fn abandon(&mut self) -> Result<(), RecordingError> {
        for (context, returned) in self.nest.abandon() {
            self.returned(context, &returned)?;
        }
        Ok(())
    }

    fn enter(&mut self, context: u32, what: What) {
        self.counts.nested += u64::from(self.nest.is_open(context));
        let call = match what {
            What::KvCall { size, gfp } => Entered::Kv { size, gfp },
            What::VmCall { size, align, range, gfp } => Entered::Vm { size, align, range, gfp },
            _ => return,
        };
        self.nest.enter(context, call);
    }

    /// An object that a caller asked for.
    fn object(
        &mut self,
        ptr: Option<u64>,
        sizes: (u64, u64),
        gfp: Gfp,
        from_cache: bool,
    ) -> Result<(), RecordingError> {
        let (size, bytes_alloc) = sizes;
        let (op, kind, side) = if from_cache {
            let cache = self.cache(sizes)?;
            let op = op(Call::KmemCacheAlloc, &[Arg::Cache(cache), Arg::Gfp(gfp)]);
            (op, Origin::Cache(cache), Served::Slab)
        } else {
            let op = op(Call::Kmalloc, &[Arg::Number(size), Arg::Gfp(gfp)]);
            (op, Origin::Kmalloc, side(bytes_alloc))
        };
        let told = Told { bytes_alloc: Some(bytes_alloc), first_try: None };
        let Some(ptr) = ptr else { return self.hidden(op, side, told) };
        let answer = KernelAnswer { ptr, served: served(ptr, side), told };
        self.allocation(op, answer, kind, Cost::object(bytes_alloc))
    }

    /// A request whose result was printed without its address: nothing tells when it is freed. It
    /// gets the register that the next allocation will get, which then disposes of it.
    fn hidden(&mut self, mut op: Op, side: Served, told: Told) -> Result<(), RecordingError> {
        self.counts.hidden_addresses += 1;
        op.dst = Some(self.owners.next_register().ok_or_else(|| self.too_many_live())?);
        self.emit(op, side, told);
        Ok(())
    }

    /// The cache for objects of these sizes, made at its first use.
    fn cache(&mut self, sizes: (u64, u64)) -> Result<Reg, RecordingError> {
        if let Some(cache) = self.caches.get(&sizes) {
            return Ok(*cache);
        }
        let Ok(cache) = Reg::try_from(self.caches.len()) else {
            return Err(self.too_many("caches", u64::from(Reg::MAX) + 1));
        };
        self.caches.insert(sizes, cache);
        let (size, bytes_alloc) = sizes;
        // A multiple of a cache line says nothing (it may be by chance); else words are aligned.
        let align = if bytes_alloc % 64 == 0 { 0 } else { 8 };
        let mut op = op(Call::KmemCacheCreate, &[Arg::Number(size), Arg::Number(align)]);
        op.dst = Some(cache);
        self.emit(op, Served::NotAnAllocation, Told::default());
        Ok(cache)
    }

    /// kvmalloc or vmalloc returned.
    fn returned(&mut self, context: u32, returned: &Returned) -> Result<(), RecordingError> {
        let ret = returned.ret;
        if returned.nested {
            self.internal(context, ret);
            return Ok(());
        }
        let (op, kind, cost) = match returned.call {
            Entered::Kv { size, gfp } => {
                let op = op(Call::Kvmalloc, &[Arg::Number(size), Arg::Gfp(gfp)]);
                (op, Origin::Kvmalloc, Cost::kvmalloc(size))
            }
            Entered::Vm { size, align, range, gfp } => {
                let op = self.vmalloc_op((size, align), range, gfp);
                (op, Origin::Vmalloc, Cost::vmalloc(size, align))
            }
        };
        let Returned { served, told, .. } = *returned;
        self.allocation(op, KernelAnswer { ptr: ret, served, told }, kind, cost)
    }

    /// A plain `__vmalloc` where that says it all. The end of a range is filled in when the
    /// machine is known.
    fn vmalloc_op(&self, (size, align): (u64, u64), range: (u64, u64), gfp: Gfp) -> Op {
        if range == self.vmalloc_space && align <= PAGE {
            return op(Call::VmallocGfp, &[Arg::Number(size), Arg::Gfp(gfp)]);
        }
        let numbers = [size, align, 0, 0].map(Arg::Number);
        let [size, align, start, end] = numbers;
        op(Call::VmallocNodeRange, &[size, align, start, end, Arg::Gfp(gfp)])
    }

    /// A request and its answer, to be kept in a register if there is anything to keep.
    fn allocation(
        &mut self,
        mut op: Op,
        answer: KernelAnswer,
        kind: Origin,
        cost: Cost,
    ) -> Result<(), RecordingError> {
        let KernelAnswer { ptr, served, told } = answer;
        if matches!(served, Served::Refused | Served::ZeroSize) {
            op.dst = Some(self.owners.next_register().ok_or_else(|| self.too_many_live())?);
            self.emit(op, served, told);
            return Ok(());
        }
        self.displace(ptr);
        let live = self.owners.take_register(kind, cost).ok_or_else(|| self.too_many_live())?;
        self.owners.own(ptr, Owner::Register(live));
        op.dst = Some(live.reg);
        self.emit(op, served, told);
        Ok(())
    }

    /// An allocation inside the innermost open call, or the address that a call inside it returned.
    fn internal(&mut self, context: u32, ptr: u64) {
        self.counts.nested += 1;
        let pages = self.nest.area_pages(context);
        if ptr != 0 && ptr != ZERO_SIZE_PTR {
            self.displace(ptr);
            self.owners.own(ptr, Owner::Internal { pages });
        }
    }

    /// Frees what is taken to live at an address that is allocated anew.
    fn displace(&mut self, ptr: u64) {
        if let Some(Owner::Register(live)) = self.owners.disown(ptr) {
            self.counts.missed_frees += 1;
            self.free_register(live, None);
        }
    }

    fn page_alloc(
        &mut self,
        pfn: Option<u64>,
        order: u8,
        gfp: Gfp,
        nested: bool,
    ) -> Result<(), RecordingError> {
        self.counts.nested += u64::from(nested);
        let mut op = op(Call::AllocPages, &[Arg::Gfp(gfp), Arg::Number(order.into())]);
        let Some(pfn) = pfn else {
            if !nested {
                op.dst = Some(self.owners.next_register().ok_or_else(|| self.too_many_live())?);
                self.emit(op, Served::Refused, Told::default());
            }
            return Ok(());
        };
        let missed = self.owners.release(pfn, order);
        self.counts.missed_frees += u64::from(missed.of_register);
        self.free_blocks(missed);
        if nested {
            self.owners.add_block(pfn, order, None);
            return Ok(());
        }
        let live = self.owners.take_register(Origin::Pages(order), Cost::pages(order));
        let live = live.ok_or_else(|| self.too_many_live())?;
        self.owners.add_block(pfn, order, Some(live));
        op.dst = Some(live.reg);
        self.emit(op, Served::Pages, Told::default());
        Ok(())
    }

    fn too_many_live(&self) -> RecordingError {
        self.too_many("live allocations", u64::from(Reg::MAX) + 1)
    }

    fn too_many(&self, what: &'static str, limit: u64) -> RecordingError {
        RecordingError::at_line(self.line as usize, Problem::TooMany { what, limit })
    }

    fn finish(mut self, log: Log) -> Recording {
        let peaks = self.owners.meter.peaks;
        let mut machine = peaks.machine();
        machine.policy = log.kernel.map_or(machine.policy, policy_of);
        let space = u64::from(machine.vmalloc_pages) * PAGE;
        for op in self.ops.iter_mut().filter(|op| op.call == Call::VmallocNodeRange) {
            op.args[3] = Arg::Number(space);
        }
        let counts = Counts {
            lines: log.lines,
            unknown_events: log.unknown_events,
            unused_fields: log.unused_fields,
            unknown_flags: log.unknown_flags,
            flags_as_numbers: log.flags_as_numbers,
            split_names: log.split_names,
            lost: log.lost,
            calls_without_return: self.nest.calls_without_return,
            returns_without_call: self.nest.returns_without_call,
            caches: self.caches.len() as u64,
            live_at_end: self.owners.registers_in_use(),
            ..self.counts
        };
        let trace = Trace { machine, ops: self.ops, ..Trace::default() };
        let Self { served, told, lines, .. } = self;
        let (kernel, under_objects) = (log.kernel, Vec::new());
        Recording { trace, served, told, under_objects, lines, counts, peaks, kernel }
    }
}
