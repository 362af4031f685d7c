//! Which events happen inside a call of kvmalloc or vmalloc.
//!
//! The one idea: a context (a task, or an interrupt on a CPU) is a stack of open calls, and what it
//! allocates while a call is open belongs to that call. A tracer loses events, so a stack also
//! knows what can no longer be true, and closes calls whose return it will not see:
//!
//! - After kvmalloc's own request has succeeded, nothing but its return can follow.
//! - Inside kvmalloc, the only vmalloc is of kvmalloc's size; inside vmalloc, the only one is of
//!   its array of page pointers (`mm/vmalloc.c`, `__vmalloc_area_node`).
//! - No call makes more than [`MOST_OBJECTS`] objects.
//!
//! This file does not know which addresses are live (`owners`).

use crate::words::Gfp;
use std::collections::BTreeSet;

use super::event::{PAGE, RecordedFree, What};
use super::{Served, Told};

/// The largest request that a slab cache of 6.1 serves; larger ones go to the page allocator.
const KMALLOC_MAX_CACHE_SIZE: u64 = 2 * PAGE;
/// The address that kmalloc(0) yields.
pub(super) const ZERO_SIZE_PTR: u64 = 16;
/// More objects than this in one call mean that its return was lost. Reclaim on behalf of a call
/// may allocate some of its own.
const MOST_OBJECTS: u32 = 64;

/// A call that was entered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entered {
    /// kvmalloc_node
    Kv { size: u64, gfp: Gfp },
    /// __vmalloc_node_range
    Vm { size: u64, align: u64, range: (u64, u64), gfp: Gfp },
}

/// A call that returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Returned {
    /// The call.
    pub(super) call: Entered,
    /// Its result.
    pub(super) ret: u64,
    /// Where the result came from.
    pub(super) served: Served,
    /// What the request inside tells.
    pub(super) told: Told,
    /// It was made by another call that is still open.
    pub(super) nested: bool,
}

/// What the request inside a kvmalloc yielded.
#[derive(Clone, Copy, Debug)]
struct Inner {
    ptr: u64,
    served: Served,
    bytes_alloc: Option<u64>,
}

#[derive(Debug)]
struct Open {
    call: Entered,
    /// What kvmalloc will return, once the request inside it has succeeded.
    result: Option<Inner>,
    /// The flags of kvmalloc's first request to kmalloc.
    first_try: Option<Gfp>,
    /// Objects allocated inside.
    objects: u32,
}

#[derive(Debug, Default)]
struct OpenCalls {
    open: Vec<Open>,
    /// kvfree was called with this address, and the free inside it comes next.
    inner_free: Option<u64>,
    /// Page frees in a row whose allocation was not seen.
    run: u64,
}

/// The open calls of all contexts.
#[derive(Debug)]
pub(super) struct Nest {
    contexts: Vec<OpenCalls>,
    /// Contexts that are not as they were at the beginning, since events were lost last.
    touched: BTreeSet<u32>,
    /// Calls that were given up because their return was lost.
    pub(super) calls_without_return: u64,
    /// Returns of calls whose entry was not seen.
    pub(super) returns_without_call: u64,
}

impl Nest {
    pub(super) fn new(contexts: usize) -> Self {
        Self {
            contexts: (0..contexts).map(|_| OpenCalls::default()).collect(),
            touched: BTreeSet::new(),
            calls_without_return: 0,
            returns_without_call: 0,
        }
    }

    /// Whether a call is open in the context.
    pub(super) fn is_open(&self, context: u32) -> bool {
        !self.contexts[context as usize].open.is_empty()
    }

    /// Enters a call.
    pub(super) fn enter(&mut self, context: u32, call: Entered) {
        let open = Open { call, result: None, first_try: None, objects: 0 };
        self.contexts[context as usize].open.push(open);
        self.touched.insert(context);
    }

    /// Closes the innermost call if `next` shows that its return was lost. To be called until it
    /// yields `None`; what it yields is a call whose result is known all the same.
    pub(super) fn overdue(&mut self, context: u32, next: &What) -> Option<Returned> {
        while let Some(top) = self.contexts[context as usize].open.last() {
            if !is_overdue(top, next) {
                return None;
            }
            self.calls_without_return += 1;
            if let Some(returned) = self.give_up(context) {
                return Some(returned);
            }
        }
        None
    }

    /// Closes the innermost call without its return.
    fn give_up(&mut self, context: u32) -> Option<Returned> {
        let open = &mut self.contexts[context as usize].open;
        let top = open.pop()?;
        let Inner { ptr: ret, served, bytes_alloc } = top.result?;
        let told = Told { bytes_alloc, first_try: top.first_try };
        Some(Returned { call: top.call, ret, served, told, nested: !open.is_empty() })
    }

    /// Closes every open call: events were lost, or there are no more. Yields, with their contexts,
    /// the calls whose results are known all the same.
    pub(super) fn abandon(&mut self) -> Vec<(u32, Returned)> {
        let mut known = Vec::new();
        for context in std::mem::take(&mut self.touched) {
            while self.is_open(context) {
                self.calls_without_return += 1;
                known.extend(self.give_up(context).map(|returned| (context, returned)));
            }
            self.contexts[context as usize].inner_free = None;
            self.contexts[context as usize].run = 0;
        }
        known
    }

    /// The pages of the area that the innermost call makes; 0 if it is not vmalloc.
    pub(super) fn area_pages(&self, context: u32) -> u64 {
        match self.contexts[context as usize].open.last() {
            Some(Open { call: Entered::Vm { size, .. }, .. }) => size.div_ceil(PAGE),
            _ => 0,
        }
    }

    /// An object was allocated in the context: perhaps it is what an open kvmalloc will return.
    pub(super) fn object(
        &mut self,
        context: u32,
        ptr: Option<u64>,
        (size, bytes_alloc): (u64, u64),
        gfp: Gfp,
    ) {
        let Some(top) = self.contexts[context as usize].open.last_mut() else { return };
        top.objects += 1;
        if !matches!(top.call, Entered::Kv { size: wanted, .. } if wanted == size) {
            return;
        }
        top.first_try.get_or_insert(gfp);
        if let Some(ptr) = ptr.filter(|ptr| *ptr != 0) {
            let served = side(bytes_alloc);
            top.result = Some(Inner { ptr, served, bytes_alloc: Some(bytes_alloc) });
        }
    }

    /// kvmalloc_node returns.
    pub(super) fn kv_return(&mut self, context: u32, ret: u64) -> Option<Returned> {
        let top = self.leave(context, |call| matches!(call, Entered::Kv { .. }))?;
        let Entered::Kv { size, .. } = top.call else { return None };
        let (served, bytes_alloc) = match top.result {
            Some(inner) if inner.ptr == ret => (inner.served, inner.bytes_alloc),
            // The request inside was lost, so the size must tell which side served it.
            _ => (served(ret, side(size)), None),
        };
        let nested = self.is_open(context);
        let told = Told { bytes_alloc, first_try: top.first_try };
        Some(Returned { call: top.call, ret, served, told, nested })
    }

    /// __vmalloc_node_range returns.
    pub(super) fn vm_return(&mut self, context: u32, ret: u64) -> Option<Returned> {
        let top = self.leave(context, |call| matches!(call, Entered::Vm { .. }))?;
        let outer = self.contexts[context as usize].open.last_mut();
        let nested = outer.is_some();
        if let Some(Open { call: Entered::Kv { .. }, result, .. }) = outer {
            let inner = Inner { ptr: ret, served: Served::Vmalloc, bytes_alloc: None };
            *result = (ret != 0).then_some(inner);
        }
        let served = served(ret, Served::Vmalloc);
        Some(Returned { call: top.call, ret, served, told: Told::default(), nested })
    }

    /// Takes the innermost call of a kind off the stack; those above it lost their return.
    fn leave(&mut self, context: u32, is_kind: impl Fn(&Entered) -> bool) -> Option<Open> {
        let open = &mut self.contexts[context as usize].open;
        let Some(place) = open.iter().rposition(|open| is_kind(&open.call)) else {
            self.returns_without_call += 1;
            return None;
        };
        self.calls_without_return += (open.len() - place - 1) as u64;
        open.truncate(place + 1);
        open.pop()
    }

    /// kvfree was called: the free inside it comes next in its context.
    pub(super) fn expect_inner_free(&mut self, context: u32, ptr: u64) {
        self.contexts[context as usize].inner_free = Some(ptr);
        self.touched.insert(context);
    }

    /// Whether a free is the one inside the kvfree before it.
    pub(super) fn is_inner_free(&mut self, context: u32, call: RecordedFree, ptr: u64) -> bool {
        let expected = self.contexts[context as usize].inner_free.take();
        matches!(call, RecordedFree::Kfree | RecordedFree::Vfree) && expected == Some(ptr)
    }

    /// A page was freed whose allocation was not seen: it may turn out to be of a vmalloc area,
    /// whose pages are allocated in bulk and without an event.
    pub(super) fn unknown_page_free(&mut self, context: u32) {
        self.contexts[context as usize].run += 1;
        self.touched.insert(context);
    }

    /// vmalloc's own records of an area of so many pages are freed; its pages were freed just
    /// before. How many unknown page frees this explains.
    pub(super) fn area_gone(&mut self, context: u32, pages: u64) -> u64 {
        std::mem::take(&mut self.contexts[context as usize].run).min(pages)
    }

    /// Notes that an event passes: only a free can be the one inside a kvfree, and only frees stand
    /// between the pages of an area and its records.
    pub(super) fn passes(&mut self, context: u32, what: &What) {
        let here = &mut self.contexts[context as usize];
        let is_free = matches!(what, What::Free { .. });
        if !is_free {
            here.inner_free = None;
        }
        if !is_free && !matches!(what, What::PageFree { .. }) {
            here.run = 0;
        }
    }

    /// Page frees that come later are of another area.
    pub(super) fn end_run(&mut self, context: u32) {
        self.contexts[context as usize].run = 0;
    }
}

/// Whether the call on top of the stack must have returned before `next`.
fn is_overdue(top: &Open, next: &What) -> bool {
    match (top.call, next) {
        (Entered::Kv { .. }, What::KvReturn { .. }) | (_, What::Lost) => false,
        (Entered::Kv { .. }, _) if top.result.is_some() => true,
        (Entered::Kv { .. }, What::KvCall { .. }) => true,
        (Entered::Kv { size, .. }, What::VmCall { size: inner, .. }) => *inner != size,
        (Entered::Vm { size, .. }, What::VmCall { size: inner, .. }) => {
            *inner != size.div_ceil(PAGE) * size_of::<u64>() as u64
        }
        _ => top.objects > MOST_OBJECTS,
    }
}

/// The side of slab that serves an object of this size.
pub(super) fn side(bytes: u64) -> Served {
    if bytes > KMALLOC_MAX_CACHE_SIZE { Served::Pages } else { Served::Slab }
}

/// How a request was served that yielded `ret`, if it was served from `side`.
pub(super) fn served(ret: u64, side: Served) -> Served {
    match ret {
        0 => Served::Refused,
        ZERO_SIZE_PTR => Served::ZeroSize,
        _ => side,
    }
}
