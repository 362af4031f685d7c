//! From an op to what a lane has to do: registers become addresses, and calls become requests.
//!
//! The one idea: this is the one match over all calls that says what each asks for. A request is
//! the call with its registers resolved; what two calls have in common is found in `model::rules`.
//!
//! Nothing is carried out here.

use super::{Lane, Skip, Waiter};
use crate::model::rules::{Family, Want};
use crate::model::{Allocation, Free};
use crate::op::{Arg, Call, NUMA_NO_NODE, Op, Route};
use crate::subject::{CacheHandle, Request};
use crate::words::gfp::{__GFP_FS, __GFP_IO, Gfp};
use crate::words::{PageCache, Scope, SlabFlags};

/// What an op asks of a lane.
pub enum Action {
    /// A request to the allocator.
    Request(Request),
    /// A write by the caller: the allocation's start, and the first byte past what is written.
    Write {
        /// Where the allocation starts.
        addr: u64,
        /// The end of the write, counted from there.
        end: u64,
    },
}

/// The arguments of an op, read in a lane.
struct Arguments<'a> {
    lane: &'a Lane,
    op: &'a Op,
}

impl Arguments<'_> {
    fn number(&self, place: usize) -> u64 {
        match self.op.args[place] {
            Arg::Number(number) => number,
            _ => 0,
        }
    }

    fn order(&self, place: usize) -> u32 {
        self.number(place).min(u64::from(u32::MAX)) as u32
    }

    /// A number beyond all nodes stays one.
    fn node(&self, place: usize) -> Option<u8> {
        match self.number(place) {
            NUMA_NO_NODE => None,
            node => Some(u8::try_from(node).unwrap_or(u8::MAX)),
        }
    }

    fn gfp(&self, place: usize) -> Gfp {
        match self.op.args[place] {
            Arg::Gfp(gfp) => gfp,
            _ => Gfp(0),
        }
    }

    fn ptr(&self, place: usize) -> Result<u64, Skip> {
        match self.op.args[place] {
            Arg::Ptr(ptr) => self.lane.registers.resolve(ptr),
            _ => Ok(0),
        }
    }

    fn cache(&self, place: usize) -> Result<CacheHandle, Skip> {
        match self.op.args[place] {
            Arg::Cache(reg) => self.lane.registers.cache(reg).ok_or(Skip::NoCache),
            _ => Err(Skip::NoCache),
        }
    }
}

impl Lane {
    /// Turns an op into what this lane has to do.
    pub fn resolve(&self, op: &Op, index: u32) -> Result<Action, Skip> {
        if self.is_blocked(op.caller.task) {
            return Err(Skip::Blocked);
        }
        let arguments = Arguments { lane: self, op };
        if op.call == Call::Write {
            let addr = arguments.ptr(0)?;
            let held = self.model.at(addr).ok_or(Skip::NoMemory)?;
            let end = arguments.number(1).saturating_add(arguments.number(2));
            return Ok(Action::Write { addr: held.addr, end });
        }
        let route = self.spec.routing.route(index, op.route);
        let request = self.request(op.call, &arguments, route)?;
        match Free::of(&request) {
            Some((_, addr)) if self.is_awaited(addr) => Err(Skip::Waiting),
            _ => Ok(Action::Request(request)),
        }
    }

    /// Whether an address points into memory that a waiting request is to replace.
    pub(super) fn is_awaited(&self, addr: u64) -> bool {
        let replaces = |waiter: &Waiter| {
            let old = Want::of(&waiter.request).and_then(|want| want.from);
            let held = self.model.containing(addr);
            old.zip(held).is_some_and(|(old, held)| old.addr == held.addr)
        };
        self.waiters.iter().any(replaces)
    }

    fn request(&self, call: Call, args: &Arguments, route: Route) -> Result<Request, Skip> {
        Ok(match call {
            Call::Kmalloc => Request::Kmalloc { size: args.number(0), gfp: args.gfp(1) },
            Call::Kzalloc => Request::Kzalloc { size: args.number(0), gfp: args.gfp(1) },
            Call::KmallocArray => {
                let (n, size) = (args.number(0), args.number(1));
                Request::KmallocArray { n, size, gfp: args.gfp(2) }
            }
            Call::Kcalloc => {
                let (n, size) = (args.number(0), args.number(1));
                Request::Kcalloc { n, size, gfp: args.gfp(2) }
            }
            Call::Kfree => Request::Kfree { addr: args.ptr(0)? },
            Call::KfreeSensitive => Request::KfreeSensitive { addr: args.ptr(0)? },
            Call::Krealloc => {
                Request::Krealloc { addr: args.ptr(0)?, size: args.number(1), gfp: args.gfp(2) }
            }
            Call::Kvrealloc => {
                let (addr, size, gfp) = (args.ptr(0)?, args.number(2), args.gfp(3));
                let old_size = self.model.policy().tells_old_size().then(|| args.number(1));
                Request::Kvrealloc { addr, old_size, size, gfp, route }
            }
            Call::Ksize => Request::Ksize { addr: args.ptr(0)? },
            Call::KmemCacheCreate => {
                let (size, align) = (args.number(0), args.number(1));
                // A bit beyond the word is as unknown as any.
                let flags = SlabFlags(u32::try_from(args.number(2)).unwrap_or(u32::MAX));
                let ctor = Some(args.number(3)).filter(|word| *word != 0);
                Request::KmemCacheCreate { size, align, flags, ctor }
            }
            Call::KmemCacheAlloc => {
                Request::KmemCacheAlloc { cache: args.cache(0)?, gfp: args.gfp(1) }
            }
            Call::KmemCacheZalloc => {
                Request::KmemCacheZalloc { cache: args.cache(0)?, gfp: args.gfp(1) }
            }
            Call::KmemCacheFree => {
                Request::KmemCacheFree { cache: args.cache(0)?, addr: args.ptr(1)? }
            }
            Call::KmemCacheDestroy => {
                Request::KmemCacheDestroy { cache: self.unwaited(args.cache(0)?)? }
            }
            _ => return block_request(call, args, route),
        })
    }

    /// The request that frees what the op's destination holds, if it holds something.
    pub fn release_before(&self, op: &Op) -> Result<Option<Request>, Skip> {
        let Some(dst) = op.dst else { return Ok(None) };
        if op.call == Call::KmemCacheCreate {
            let Some(cache) = self.registers.cache(dst) else { return Ok(None) };
            return Ok(Some(Request::KmemCacheDestroy { cache: self.unwaited(cache)? }));
        }
        let addr = self.registers.address(dst).ok_or(Skip::Waiting)?;
        let held = self.model.at(addr).filter(|held| held.reg == Some(dst));
        // What a reallocation is to replace is its own to free.
        let source = self.pointer(op);
        let replaces =
            |held: &&Allocation| source.is_some_and(|at| (held.addr..held.end()).contains(&at));
        match held.filter(|held| self.model.can_free(held) && !replaces(held)) {
            Some(held) if self.is_awaited(held.addr) => Err(Skip::Waiting),
            held => Ok(held.map(Allocation::right_free)),
        }
    }

    /// A cache that no waiter will ask for an object, so that its caller may destroy it.
    fn unwaited(&self, cache: CacheHandle) -> Result<CacheHandle, Skip> {
        let asks = |waiter: &Waiter| matches!(Want::of(&waiter.request), Some(want) if want.family == Family::Cache(cache));
        if self.waiters.iter().any(asks) { Err(Skip::Waiting) } else { Ok(cache) }
    }

    /// The address that the op's pointer argument names, if it has one.
    pub fn pointer(&self, op: &Op) -> Option<u64> {
        let ptr = op.args.iter().find_map(|arg| match arg {
            Arg::Ptr(ptr) => Some(*ptr),
            _ => None,
        });
        self.registers.resolve(ptr?).ok()
    }

    /// The op that made the cache which an op names, if it names one that is there.
    pub fn named_cache(&self, op: &Op) -> Option<u32> {
        let handle = op.args.iter().find_map(|arg| match arg {
            Arg::Cache(reg) => self.registers.cache(*reg),
            _ => None,
        });
        self.model.cache(handle?).map(|cache| cache.id)
    }
}

/// The calls of the page allocator and of devices; all others are passed on.
fn block_request(call: Call, args: &Arguments, route: Route) -> Result<Request, Skip> {
    Ok(match call {
        Call::AllocPages => Request::AllocPages { gfp: args.gfp(0), order: args.order(1) },
        Call::GetFreePages => Request::GetFreePages { gfp: args.gfp(0), order: args.order(1) },
        Call::GetFreePage => Request::GetFreePage { gfp: args.gfp(0) },
        Call::GetZeroedPage => Request::GetZeroedPage { gfp: args.gfp(0) },
        Call::FreePagesPage => Request::FreePagesPage { page: args.ptr(0)?, order: args.order(1) },
        Call::PutPage => Request::PutPage { page: args.ptr(0)? },
        Call::FreePages => Request::FreePages { addr: args.ptr(0)?, order: args.order(1) },
        Call::FreePage => Request::FreePage { addr: args.ptr(0)? },
        Call::AllocPagesExact => {
            Request::AllocPagesExact { size: args.number(0), gfp: args.gfp(1) }
        }
        Call::FreePagesExact => {
            Request::FreePagesExact { addr: args.ptr(0)?, size: args.number(1) }
        }
        Call::DmaAllocCoherent => {
            Request::DmaAllocCoherent { size: args.number(0), gfp: args.gfp(1) }
        }
        Call::DmaFreeCoherent => {
            Request::DmaFreeCoherent { addr: args.ptr(0)?, size: args.number(1) }
        }
        _ => return mapped_request(call, args, route),
    })
}

/// The calls that name a node.
fn node_request(call: Call, args: &Arguments, route: Route) -> Result<Request, Skip> {
    let (size, gfp) = (args.number(0), args.gfp(1));
    Ok(match call {
        Call::AllocPagesNode => {
            Request::AllocPagesNode { node: args.node(0), gfp, order: args.order(2) }
        }
        Call::KmallocNode => Request::KmallocNode { size, gfp, node: args.node(2) },
        Call::KmemCacheAllocNode => {
            Request::KmemCacheAllocNode { cache: args.cache(0)?, gfp, node: args.node(2) }
        }
        Call::VmallocNode => Request::VmallocNode { size, node: args.node(1) },
        Call::KvmallocNode => Request::KvmallocNode { size, gfp, node: args.node(2), route },
        Call::KvzallocNode => Request::KvzallocNode { size, gfp, node: args.node(2), route },
        _ => return conversion(call, args.ptr(0)?),
    })
}

/// The calls of vmalloc and kvmalloc.
fn mapped_request(call: Call, args: &Arguments, route: Route) -> Result<Request, Skip> {
    Ok(match call {
        Call::Vmalloc => Request::Vmalloc { size: args.number(0) },
        Call::Vzalloc => Request::Vzalloc { size: args.number(0) },
        Call::VmallocGfp => Request::VmallocGfp { size: args.number(0), gfp: args.gfp(1) },
        Call::VmallocHuge => Request::VmallocHuge { size: args.number(0), gfp: args.gfp(1) },
        Call::VmallocNodeRange => Request::VmallocNodeRange {
            size: args.number(0),
            align: args.number(1),
            start: args.number(2),
            end: args.number(3),
            gfp: args.gfp(4),
        },
        Call::Vfree => Request::Vfree { addr: args.ptr(0)? },
        Call::VfreeAtomic => Request::VfreeAtomic { addr: args.ptr(0)? },
        Call::Vunmap => Request::Vunmap { addr: args.ptr(0)? },
        Call::VmUnmapAliases => Request::VmUnmapAliases,
        Call::Kvmalloc => Request::Kvmalloc { size: args.number(0), gfp: args.gfp(1), route },
        Call::Kvzalloc => Request::Kvzalloc { size: args.number(0), gfp: args.gfp(1), route },
        Call::KvmallocArray => {
            let (n, size) = (args.number(0), args.number(1));
            Request::KvmallocArray { n, size, gfp: args.gfp(2), route }
        }
        Call::Kvcalloc => {
            let (n, size) = (args.number(0), args.number(1));
            Request::Kvcalloc { n, size, gfp: args.gfp(2), route }
        }
        Call::Kvfree => Request::Kvfree { addr: args.ptr(0)? },
        Call::KvfreeSensitive => {
            Request::KvfreeSensitive { addr: args.ptr(0)?, len: args.number(1) }
        }
        Call::MemallocNofsSave => Request::MemallocSave { scope: Scope::Nofs },
        Call::MemallocNofsRestore => Request::MemallocRestore { scope: Scope::Nofs },
        Call::MemallocNoioSave => Request::MemallocSave { scope: Scope::Noio },
        Call::MemallocNoioRestore => Request::MemallocRestore { scope: Scope::Noio },
        Call::Tick => Request::Tick,
        Call::AddToPageCache => {
            Request::AddToPageCache { nr_pages: args.number(0), kind: kind_needing(args.gfp(1)) }
        }
        Call::StartProcess => Request::StartProcess { nr_pages: args.number(0) },
        Call::DropCaches => Request::DropCaches,
        _ if call.is_boot() => return boot_request(call, args),
        _ => return node_request(call, args, route),
    })
}

/// The kind of cached page that takes these flags to be dropped.
fn kind_needing(gfp: Gfp) -> PageCache {
    if gfp.has(__GFP_FS) {
        PageCache::Filesystem
    } else if gfp.has(__GFP_IO) {
        PageCache::Dirty
    } else {
        PageCache::Clean
    }
}

/// The calls of the boot allocator. Physical addresses are named by their place in the direct map.
fn boot_request(call: Call, args: &Arguments) -> Result<Request, Skip> {
    let direct = args.lane.model.layout().direct_start;
    let (addr, size) = (direct.saturating_add(args.number(0)), args.number(1));
    Ok(match call {
        Call::MemblockAlloc => Request::MemblockAlloc { size: args.number(0), align: size },
        Call::MemblockReserve => Request::MemblockReserve { addr, size },
        Call::MemblockPhysFree => Request::MemblockFree { addr, size },
        _ => Request::MemblockFree { addr: args.ptr(0)?, size },
    })
}

/// The conversions between addresses and pages.
fn conversion(call: Call, addr: u64) -> Result<Request, Skip> {
    Ok(match call {
        Call::IsVmallocAddr => Request::IsVmallocAddr { addr },
        Call::VirtAddrValid => Request::VirtAddrValid { addr },
        Call::VirtToPage => Request::VirtToPage { addr },
        Call::PageAddress => Request::PageAddress { page: addr },
        Call::VirtToPhys => Request::VirtToPhys { addr },
        Call::VmallocToPage => Request::VmallocToPage { addr },
        _ => return Err(Skip::Unsupported),
    })
}
