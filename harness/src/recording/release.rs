//! The frees of a recording, as ops.
//!
//! What a free means is decided by who owns the address (`owners`), and which call frees it by what
//! it is: a trace must be legal in every lane, whatever that lane made of the request.
//!
//! This file does not find out what is nested (`nest`, `pages`).

use super::converter::{Converter, op};
use super::event::RecordedFree;
use super::nest::ZERO_SIZE_PTR;
use super::owners::{Live, Origin, Owner, Released};
use super::{Served, Told};
use crate::call::Call;
use crate::op::{Arg, Ptr};

impl Converter {
    pub(super) fn free(&mut self, context: u32, call: RecordedFree, ptr: Option<u64>) {
        let Some(ptr) = ptr else {
            self.counts.hidden_addresses += 1;
            self.nest.end_run(context);
            return;
        };
        if self.nest.is_inner_free(context, call, ptr) {
            self.counts.nested += 1;
            return;
        }
        if call == RecordedFree::Kvfree {
            self.nest.expect_inner_free(context, ptr);
        }
        match self.owners.disown(ptr) {
            Some(Owner::Register(live)) => {
                self.nest.end_run(context);
                self.free_register(live, Some(call));
            }
            Some(Owner::Internal { pages }) => {
                self.counts.nested += 1;
                self.explain_page_frees(context, pages);
            }
            None if (ptr == 0 || ptr == ZERO_SIZE_PTR) && call != RecordedFree::KmemCacheFree => {
                self.nest.end_run(context);
                self.emit_free(recorded_call(call), &[Arg::Ptr(Ptr::Const(ptr))]);
            }
            None => {
                self.nest.end_run(context);
                *self.counts.frees_without_allocation.entry(call).or_default() += 1;
            }
        }
    }

    /// The records of a vmalloc area are gone, so the page frees just before were the area's.
    fn explain_page_frees(&mut self, context: u32, pages: u64) {
        let explained = self.nest.area_gone(context, pages);
        self.counts.nested += explained;
        if let Some(count) = self.counts.frees_without_allocation.get_mut(&RecordedFree::FreePages)
        {
            *count -= explained;
        }
    }

    /// Frees a register by the recorded call if that is legal in every lane, else by its own.
    pub(super) fn free_register(&mut self, live: Live, recorded: Option<RecordedFree>) {
        self.owners.return_register(live);
        let call = self.legal_call(live.kind, recorded);
        let ptr = Arg::Ptr(Ptr::Reg(live.reg, 0));
        match (call, live.kind) {
            (Call::KmemCacheFree, Origin::Cache(cache)) => {
                self.emit_free(call, &[Arg::Cache(cache), ptr]);
            }
            (_, Origin::Pages(order)) => self.emit_free(call, &[ptr, Arg::Number(order.into())]),
            _ => self.emit_free(call, &[ptr]),
        }
    }

    /// The call that frees memory of a kind: the recorded one where no lane can object to it.
    fn legal_call(&mut self, kind: Origin, recorded: Option<RecordedFree>) -> Call {
        let own = own_free(kind);
        let Some(recorded) = recorded else { return own };
        match (kind, recorded) {
            (Origin::Kmalloc | Origin::Cache(_), RecordedFree::Kfree | RecordedFree::Kvfree)
            | (Origin::Vmalloc, RecordedFree::Kvfree) => return recorded_call(recorded),
            (Origin::Kvmalloc, RecordedFree::Kfree) => self.counts.kfree_of_kvmalloc += 1,
            _ if recorded_call(recorded) == own => {}
            _ => self.counts.mismatched_frees += 1,
        }
        own
    }

    pub(super) fn page_free(&mut self, context: u32, (pfn, order): (u64, u8), under_object: bool) {
        let released = self.owners.release(pfn, order);
        if released.of_register {
            self.nest.end_run(context);
        } else if released.internal || under_object {
            self.counts.nested += 1;
        } else {
            self.nest.unknown_page_free(context);
            let unmatched = &mut self.counts.frees_without_allocation;
            *unmatched.entry(RecordedFree::FreePages).or_default() += 1;
        }
        self.free_blocks(released);
    }

    /// Frees the registers of blocks of which no page is left.
    pub(super) fn free_blocks(&mut self, released: Released) {
        for (live, split) in released.whole {
            self.counts.split_blocks += u64::from(split);
            self.free_register(live, None);
        }
    }

    fn emit_free(&mut self, call: Call, args: &[Arg]) {
        self.emit(op(call, args), Served::NotAnAllocation, Told::default());
    }
}

/// The call that a recorded free is in the language of traces.
fn recorded_call(call: RecordedFree) -> Call {
    match call {
        RecordedFree::Kfree => Call::Kfree,
        RecordedFree::KmemCacheFree => Call::KmemCacheFree,
        RecordedFree::Kvfree => Call::Kvfree,
        RecordedFree::Vfree => Call::Vfree,
        RecordedFree::FreePages => Call::FreePagesPage,
    }
}

/// The call that frees memory of a kind in every lane.
fn own_free(kind: Origin) -> Call {
    match kind {
        Origin::Kmalloc => Call::Kfree,
        Origin::Cache(_) => Call::KmemCacheFree,
        Origin::Kvmalloc => Call::Kvfree,
        Origin::Vmalloc => Call::Vfree,
        Origin::Pages(_) => Call::FreePagesPage,
    }
}
