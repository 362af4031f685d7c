//! The words of the trace language: every call, its arguments, and what may stand beside it.
//!
//! The one idea: [`CALLS`] is a table, and printing, parsing, generating and mutating an op all
//! read that table. A new call is a new row and a new variant of [`Call`]. The compiler does not
//! find the matches that must know it; `CONTRIBUTING.md` lists them, and what misses each.
//!
//! This file does not know what a call does; `subject` and `model` do.

use crate::words::{Context, Current, Gfp};

/// A call of the allocation interface, under its C name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the row in CALLS names each call in C, and Linux documents it")]
pub enum Call {
    AllocPages,
    AllocPagesNode,
    GetFreePages,
    GetFreePage,
    GetZeroedPage,
    FreePagesPage,
    FreePages,
    PutPage,
    FreePage,
    AllocPagesExact,
    FreePagesExact,
    DmaAllocCoherent,
    DmaFreeCoherent,
    Kmalloc,
    Kzalloc,
    KmallocNode,
    KmallocArray,
    Kcalloc,
    Kfree,
    KfreeSensitive,
    Krealloc,
    Ksize,
    KmemCacheCreate,
    KmemCacheAlloc,
    KmemCacheZalloc,
    KmemCacheAllocNode,
    KmemCacheFree,
    KmemCacheDestroy,
    Vmalloc,
    Vzalloc,
    VmallocNode,
    VmallocGfp,
    VmallocHuge,
    VmallocNodeRange,
    Vfree,
    VfreeAtomic,
    Vunmap,
    VmUnmapAliases,
    Kvmalloc,
    Kvzalloc,
    KvmallocNode,
    KvzallocNode,
    KvmallocArray,
    Kvcalloc,
    Kvfree,
    IsVmallocAddr,
    VirtAddrValid,
    VirtToPage,
    PageAddress,
    VirtToPhys,
    VmallocToPage,
    KvfreeSensitive,
    MemallocNofsSave,
    MemallocNofsRestore,
    MemallocNoioSave,
    MemallocNoioRestore,
    Tick,
    AddToPageCache,
    StartProcess,
    DropCaches,
    Kvrealloc,
    MemblockAlloc,
    MemblockReserve,
    MemblockPhysFree,
    MemblockFree,
    Write,
}

/// What kind of value an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    /// A number of bytes to ask for.
    Size,
    /// A number of bytes that the caller says it has.
    Held,
    /// A number of array elements.
    Count,
    /// An alignment in bytes.
    Align,
    /// log2 of a number of pages.
    Order,
    /// An offset into the vmalloc space, in bytes.
    VmallocOffset,
    /// An offset into an allocation, in bytes.
    Offset,
    /// GFP flags.
    Gfp,
    /// An address: a register, perhaps with an offset, or a constant.
    Ptr,
    /// A cache register.
    Cache,
    /// A node: a number, or [`NUMA_NO_NODE`].
    Node,
    /// Flags of a cache.
    SlabFlags,
    /// A physical address.
    Phys,
    /// A constructor: the word that it leaves all over an object, or `NULL` for none.
    Ctor,
}

/// The node that names none.
pub const NUMA_NO_NODE: u64 = u64::MAX;

impl ArgKind {
    /// Whether an argument that is 0 may be left out at the end of a call.
    pub fn is_optional(self) -> bool {
        matches!(self, ArgKind::SlabFlags | ArgKind::Ctor)
    }
}

/// What the register on the left of `=` receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// The call stands alone.
    Nothing,
    /// Memory, in a register `r0`, `r1`, ….
    Memory,
    /// A cache, in a register `c0`, `c1`, ….
    Cache,
}

/// One row of [`CALLS`].
#[derive(Debug)]
pub struct CallSpec {
    /// The call.
    pub call: Call,
    /// Its C name, as written in a trace.
    pub name: &'static str,
    /// What it assigns.
    pub yields: Yields,
    /// Its arguments in order: the name used in messages, and the kind.
    pub args: &'static [(&'static str, ArgKind)],
    /// Whether `(route: …)` may stand beside it.
    pub takes_route: bool,
}

macro_rules! calls {
    ($($call:ident $name:literal $yields:ident ($($arg:literal $kind:ident),*) $route:literal;)*) => {
        /// Every call of the language. The row's place is the call's number: `CALLS[call as
        /// usize]`.
        pub static CALLS: &[CallSpec] = &[$(CallSpec {
            call: Call::$call,
            name: $name,
            yields: Yields::$yields,
            args: &[$(($arg, ArgKind::$kind)),*],
            takes_route: $route,
        }),*];
        /// Every call, for a campaign that leaves none out.
        pub const ALL_CALLS: &[Call] = &[$(Call::$call),*];
    };
}

calls! {
    AllocPages       "alloc_pages"          Memory  ("gfp" Gfp, "order" Order) false;
    AllocPagesNode   "alloc_pages_node"     Memory  ("nid" Node, "gfp" Gfp, "order" Order) false;
    GetFreePages     "__get_free_pages"     Memory  ("gfp" Gfp, "order" Order) false;
    GetFreePage      "__get_free_page"      Memory  ("gfp" Gfp) false;
    GetZeroedPage    "get_zeroed_page"      Memory  ("gfp" Gfp) false;
    FreePagesPage    "__free_pages"         Nothing ("page" Ptr, "order" Order) false;
    FreePages        "free_pages"           Nothing ("addr" Ptr, "order" Order) false;
    PutPage          "put_page"             Nothing ("page" Ptr) false;
    FreePage         "free_page"            Nothing ("addr" Ptr) false;
    AllocPagesExact  "alloc_pages_exact"    Memory  ("size" Size, "gfp" Gfp) false;
    FreePagesExact   "free_pages_exact"     Nothing ("addr" Ptr, "size" Held) false;
    DmaAllocCoherent "dma_alloc_coherent"   Memory  ("size" Size, "gfp" Gfp) false;
    DmaFreeCoherent  "dma_free_coherent"    Nothing ("addr" Ptr, "size" Held) false;
    Kmalloc          "kmalloc"              Memory  ("size" Size, "flags" Gfp) false;
    Kzalloc          "kzalloc"              Memory  ("size" Size, "flags" Gfp) false;
    KmallocNode      "kmalloc_node"         Memory  ("size" Size, "flags" Gfp, "node" Node) false;
    KmallocArray     "kmalloc_array"        Memory  ("n" Count, "size" Size, "flags" Gfp) false;
    Kcalloc          "kcalloc"              Memory  ("n" Count, "size" Size, "flags" Gfp) false;
    Kfree            "kfree"                Nothing ("ptr" Ptr) false;
    KfreeSensitive   "kfree_sensitive"      Nothing ("ptr" Ptr) false;
    Krealloc         "krealloc"             Memory  ("ptr" Ptr, "size" Size, "flags" Gfp) false;
    Ksize            "ksize"                Nothing ("ptr" Ptr) false;
    KmemCacheCreate  "kmem_cache_create"    Cache   ("size" Size, "align" Align, "flags" SlabFlags, "ctor" Ctor) false;
    KmemCacheAlloc   "kmem_cache_alloc"     Memory  ("cache" Cache, "flags" Gfp) false;
    KmemCacheZalloc  "kmem_cache_zalloc"    Memory  ("cache" Cache, "flags" Gfp) false;
    KmemCacheAllocNode "kmem_cache_alloc_node" Memory ("cache" Cache, "flags" Gfp, "node" Node) false;
    KmemCacheFree    "kmem_cache_free"      Nothing ("cache" Cache, "ptr" Ptr) false;
    KmemCacheDestroy "kmem_cache_destroy"   Nothing ("cache" Cache) false;
    Vmalloc          "vmalloc"              Memory  ("size" Size) false;
    Vzalloc          "vzalloc"              Memory  ("size" Size) false;
    VmallocNode      "vmalloc_node"         Memory  ("size" Size, "node" Node) false;
    VmallocGfp       "__vmalloc"            Memory  ("size" Size, "flags" Gfp) false;
    VmallocHuge      "vmalloc_huge"         Memory  ("size" Size, "flags" Gfp) false;
    VmallocNodeRange "__vmalloc_node_range" Memory  ("size" Size, "align" Align, "start" VmallocOffset, "end" VmallocOffset, "flags" Gfp) false;
    Vfree            "vfree"                Nothing ("addr" Ptr) false;
    VfreeAtomic      "vfree_atomic"         Nothing ("addr" Ptr) false;
    Vunmap           "vunmap"               Nothing ("addr" Ptr) false;
    VmUnmapAliases   "vm_unmap_aliases"     Nothing () false;
    Kvmalloc         "kvmalloc"             Memory  ("size" Size, "flags" Gfp) true;
    Kvzalloc         "kvzalloc"             Memory  ("size" Size, "flags" Gfp) true;
    KvmallocNode     "kvmalloc_node"        Memory  ("size" Size, "flags" Gfp, "node" Node) true;
    KvzallocNode     "kvzalloc_node"        Memory  ("size" Size, "flags" Gfp, "node" Node) true;
    KvmallocArray    "kvmalloc_array"       Memory  ("n" Count, "size" Size, "flags" Gfp) true;
    Kvcalloc         "kvcalloc"             Memory  ("n" Count, "size" Size, "flags" Gfp) true;
    Kvfree           "kvfree"               Nothing ("addr" Ptr) false;
    IsVmallocAddr    "is_vmalloc_addr"      Nothing ("addr" Ptr) false;
    VirtAddrValid    "virt_addr_valid"      Nothing ("addr" Ptr) false;
    VirtToPage       "virt_to_page"         Nothing ("addr" Ptr) false;
    PageAddress      "page_address"         Nothing ("page" Ptr) false;
    VirtToPhys       "virt_to_phys"         Nothing ("addr" Ptr) false;
    VmallocToPage    "vmalloc_to_page"      Nothing ("addr" Ptr) false;
    KvfreeSensitive  "kvfree_sensitive"     Nothing ("addr" Ptr, "len" Held) false;
    MemallocNofsSave    "memalloc_nofs_save"    Nothing () false;
    MemallocNofsRestore "memalloc_nofs_restore" Nothing () false;
    MemallocNoioSave    "memalloc_noio_save"    Nothing () false;
    MemallocNoioRestore "memalloc_noio_restore" Nothing () false;
    Tick             "tick"                 Nothing () false;
    AddToPageCache   "add_to_page_cache"    Nothing ("nr_pages" Count, "needs" Gfp) false;
    StartProcess     "start_process"        Nothing ("nr_pages" Count) false;
    DropCaches       "drop_caches"          Nothing () false;
    Kvrealloc        "kvrealloc"            Memory  ("ptr" Ptr, "oldsize" Held, "newsize" Size, "flags" Gfp) true;
    MemblockAlloc    "memblock_alloc"       Memory  ("size" Size, "align" Align) false;
    MemblockReserve  "memblock_reserve"     Nothing ("base" Phys, "size" Size) false;
    MemblockPhysFree "memblock_phys_free"   Nothing ("base" Phys, "size" Held) false;
    MemblockFree     "memblock_free"        Nothing ("ptr" Ptr, "size" Held) false;
    Write            "write"                Nothing ("ptr" Ptr, "offset" Offset, "len" Size) false;
}

impl Call {
    /// The call's row in [`CALLS`].
    pub fn spec(self) -> &'static CallSpec {
        &CALLS[self as usize]
    }

    /// Whether the call is the boot allocator's, and so too late after any that is not.
    pub fn is_boot(self) -> bool {
        use Call::{MemblockAlloc, MemblockFree, MemblockPhysFree, MemblockReserve};
        matches!(self, MemblockAlloc | MemblockReserve | MemblockPhysFree | MemblockFree)
    }
}

/// The number of a memory register (`r0`, …) or cache register (`c0`, …).
pub type Reg = u16;

/// An address as a trace writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ptr {
    /// The address in a register plus an offset in bytes: `r3`, `r3+0x8`, `r3-0x1`.
    Reg(Reg, i64),
    /// A constant: `NULL` (0), `ZERO_SIZE_PTR` (16) or a hexadecimal number.
    Const(u64),
}

/// One argument. Its variant always agrees with the [`ArgKind`] of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Any of the kinds that are numbers.
    Number(u64),
    /// GFP flags.
    Gfp(Gfp),
    /// An address.
    Ptr(Ptr),
    /// A cache register.
    Cache(Reg),
}

/// The side of kvmalloc that a request must take, whatever the policy would choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Route {
    /// The decision procedure of R5.1.
    #[default]
    Policy,
    /// The slab side where it can ever serve the request, without falling back.
    Slab,
    /// The vmalloc side where the caller may use it.
    Vmalloc,
}

/// Which calls of the fault sites fail during one op: the n-th from 1 on, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// `fail_nth`: counts the calls of all sites together.
    pub any: u16,
    /// `failslab`.
    pub slab: u16,
    /// `fail_page_alloc`.
    pub page_alloc: u16,
    /// `fail_vmap`.
    pub vmap: u16,
}

/// What stands beside a call and is no argument of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The failures to inject.
    pub faults: Faults,
    /// Who makes the call.
    pub caller: Current,
}

impl Setting {
    /// The harness itself calls, as the same task on the same CPU, and where it may sleep.
    pub fn of_harness(self) -> Self {
        let caller = Current { context: Context::Task, ..self.caller };
        Self { faults: Faults::default(), caller }
    }
}

/// The most arguments that a call has.
pub const MAX_ARGS: usize = 5;

/// One line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    /// The register on the left of `=`, if the call yields something and the line keeps it.
    pub dst: Option<Reg>,
    /// The call.
    pub call: Call,
    /// The arguments; places beyond the call's own are `Number(0)`.
    pub args: [Arg; MAX_ARGS],
    /// `(route: …)`.
    pub route: Route,
    /// `(fail_nth: …, failslab: …, fail_page_alloc: …, fail_vmap: …)`.
    pub faults: Faults,
    /// `(task: …, cpu: …, context: …)`: who makes the call.
    pub caller: Current,
    /// `# -> …`: what the lane that follows the trace must answer.
    pub expect: Option<Class>,
}

impl Op {
    /// What stands beside the call.
    pub fn setting(&self) -> Setting {
        Setting { faults: self.faults, caller: self.caller }
    }
}

/// The class of an answer: what an expectation names and a report counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants are described in CLASSES")]
pub enum Class {
    Done,
    Yes,
    No,
    Slab,
    Pages,
    Vmalloc,
    Boot,
    ZeroSizePtr,
    NoMemory,
    Deadlock,
    NoSpace,
    Injected,
    Blocked,
    TooLarge,
    ZeroSize,
    Overflow,
    BadArgument,
    ImpossibleNofail,
    BadContext,
    Unbalanced,
    Busy,
    TooLate,
    WrongKind,
    WrongAllocator,
    WrongOrder,
    WrongSize,
    WrongCache,
    DoubleFree,
    Interior,
    Misaligned,
    Wild,
    OutOfBounds,
}

/// Every class of answer: its name in a trace, and its meaning. `CLASSES[class as usize]`.
pub static CLASSES: &[(Class, &str, &str)] = &[
    (Class::Done, "Done", "the call did what it was asked and yields no memory"),
    (Class::Yes, "Yes", "what was asked about the address is true"),
    (Class::No, "No", "what was asked about the address is not true"),
    (Class::Slab, "Slab", "memory in the direct map, an object of a slab cache"),
    (Class::Pages, "Pages", "memory in the direct map, a block of the page allocator"),
    (Class::Vmalloc, "Vmalloc", "memory in the vmalloc space"),
    (Class::Boot, "Boot", "memory in the direct map, kept from the page allocator for ever"),
    (Class::ZeroSizePtr, "ZeroSizePtr", "ZERO_SIZE_PTR for a request of no bytes"),
    (Class::NoMemory, "NoMemory", "refused for want of page frames"),
    (Class::Deadlock, "Deadlock", "refused: no page, and nobody left to kill; Linux panics"),
    (
        Class::NoSpace,
        "NoSpace",
        "refused for want of room: in vmalloc space, the caller's range, or memblock's table",
    ),
    (Class::Injected, "Injected", "refused by failure injection"),
    (Class::Blocked, "Blocked", "a NOFAIL request that waits for its shortage to end"),
    (Class::TooLarge, "TooLarge", "refused: no such amount can ever be served"),
    (Class::ZeroSize, "ZeroSize", "refused: no bytes, of a call that gives whole pages"),
    (Class::Overflow, "Overflow", "refused: the array's size does not fit"),
    (
        Class::BadArgument,
        "BadArgument",
        "refused: an alignment, a range or a flag that means nothing",
    ),
    (Class::ImpossibleNofail, "ImpossibleNofail", "refused: a NOFAIL promise that cannot be kept"),
    (Class::BadContext, "BadContext", "refused: the call may sleep, and its caller may not"),
    (Class::Unbalanced, "Unbalanced", "refused: no such scope is the innermost open one"),
    (Class::Busy, "Busy", "refused: the cache still has live objects, or the range is taken"),
    (Class::TooLate, "TooLate", "refused: the boot allocator has handed its memory over"),
    (Class::WrongKind, "WrongKind", "conversion refused: it does not apply to such an address"),
    (Class::WrongAllocator, "WrongAllocator", "free refused: live memory of another allocator"),
    (Class::WrongOrder, "WrongOrder", "free refused: a block of another order"),
    (Class::WrongSize, "WrongSize", "free refused: the memory has another size, or fewer bytes"),
    (Class::WrongCache, "WrongCache", "free refused: an object of another cache"),
    (Class::DoubleFree, "DoubleFree", "free refused: already free"),
    (Class::Interior, "Interior", "free refused: inside live memory"),
    (Class::Misaligned, "Misaligned", "free refused: inside live memory, where nothing can start"),
    (Class::Wild, "Wild", "free refused: no memory that can be freed"),
    (Class::OutOfBounds, "OutOfBounds", "a write beyond the requested size, seen by the guard"),
];

impl Class {
    /// The class's name in a trace.
    pub fn name(self) -> &'static str {
        CLASSES[self as usize].1
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn tables_are_in_the_order_of_their_enums() {
        for (place, spec) in CALLS.iter().enumerate() {
            assert_eq!(spec.call as usize, place, "{}", spec.name);
            assert!(spec.args.len() <= MAX_ARGS, "{}", spec.name);
        }
        for (place, (class, name, _)) in CLASSES.iter().enumerate() {
            assert_eq!(*class as usize, place, "{name}");
        }
    }
}
