//! The calls of the trace language: one table, of which everything else about a call is a look-up.
//!
//! A row says what a call is called, what it makes and frees, and which part each of its arguments
//! plays ([`Role`]). Parsing, printing, generating and mutating read the parts; the model reads
//! what is made and freed; an adapter implements [`Calls`], which has a method for each row, so
//! that the compiler names the arm that a new row lacks.
//!
//! What a call does is not said here: that is the subject's, and the model's to judge.

mod dispatch;
mod list;
mod request;
mod rows;
mod table;

pub(crate) use rows::for_each_call;

use crate::words::Gfp;
use crate::words::gfp::{__GFP_ACCOUNT, __GFP_ZERO};

pub use dispatch::{Calls, ask, dispatch};
pub use list::{List, MAX_LIST};
pub use request::{Request, Words};
pub use table::{ALL_CALLS, CALLS, Call};

/// The most arguments that a call has.
pub const MAX_ARGS: usize = 5;

/// The node that names none.
pub const NUMA_NO_NODE: u64 = u64::MAX;

/// The part that an argument plays, and so what kind of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A number of bytes to ask for.
    Size,
    /// A number of bytes that the caller says it has.
    Held,
    /// A number of array elements, or of pages.
    Count,
    /// How many pieces of memory the call is to give, each in a register of its own.
    Results,
    /// An alignment in bytes.
    Align,
    /// log2 of a number of pages.
    Order,
    /// Where a range of the vmalloc space starts, in bytes from the start of the space.
    RangeStart,
    /// Where such a range ends.
    RangeEnd,
    /// An offset into an allocation, in bytes.
    Offset,
    /// GFP flags.
    Gfp,
    /// The address of what the call frees.
    Freed,
    /// The addresses of all that the call frees, which come last.
    FreedList,
    /// The address of what the call replaces: it frees what it does not keep.
    Replaced,
    /// The address that the call asks about.
    Read,
    /// The address of what the caller writes to.
    Written,
    /// A cache.
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

impl Role {
    /// Whether an argument that is 0 may be left out at the end of a call.
    pub const fn is_optional(self) -> bool {
        matches!(self, Role::SlabFlags | Role::Ctor)
    }

    /// Whether a trace writes the argument as an address: a register, perhaps with an offset, or a
    /// constant.
    pub const fn is_address(self) -> bool {
        matches!(self, Role::Freed | Role::Replaced | Role::Read | Role::Written)
    }

    /// Whether the argument is an end of a range of the vmalloc space.
    pub const fn is_range(self) -> bool {
        matches!(self, Role::RangeStart | Role::RangeEnd)
    }
}

/// What a call gives its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Makes {
    /// Nothing.
    Nothing,
    /// An answer about an address.
    Fact,
    /// A cache.
    NewCache,
    /// A block of the page allocator.
    Pages,
    /// Whole pages for so many bytes.
    PagesExact,
    /// A block that a device sees as well.
    DmaCoherent,
    /// Memory of kmalloc: an object of a size class, or a block of its own.
    Kmalloc,
    /// An object of a cache.
    Object,
    /// An area of the vmalloc space.
    Vmalloc,
    /// Memory from either side of kvmalloc.
    Kvmalloc,
    /// Memory of the boot allocator.
    Boot,
    /// A reference to a page that somebody holds, by the page's address in the direct map.
    Reference,
    /// A block of a heap that is not Linux'.
    Heap,
    /// A run of frames of a frame allocator that is not Linux'.
    Frames,
}

impl Makes {
    /// What the register on the left of `=` receives.
    pub const fn yields(self) -> Yields {
        match self {
            Makes::Nothing | Makes::Fact => Yields::Nothing,
            Makes::NewCache => Yields::Cache,
            _ => Yields::Memory,
        }
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

/// How a call frees what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frees {
    /// It frees nothing.
    Nothing,
    /// As `kfree`, by the address.
    Kfree,
    /// As `kfree`, of what was taken without a lock.
    KfreeNolock,
    /// As `kfree`, and cleared before.
    KfreeSensitive,
    /// As `kfree`, once its bytes are elsewhere.
    Krealloc,
    /// As `kvfree`, by the side on which the address lies.
    Kvfree,
    /// As `kvfree`, and cleared before.
    KvfreeSensitive,
    /// As `kvfree`, once its bytes are elsewhere.
    Kvrealloc,
    /// As `kvfree`, after a grace period.
    KvfreeRcu,
    /// As `vfree`.
    Vfree,
    /// As `vfree`, later.
    VfreeAtomic,
    /// As `vfree`, once its bytes are elsewhere.
    Vrealloc,
    /// A mapping of `vmap`; there is no `vmap` here, so it is always wrong.
    Vunmap,
    /// A block of the order that is said.
    Pages,
    /// A block of the order that its first page knows.
    PutPage,
    /// Pages for the bytes that are said.
    PagesExact,
    /// A coherent block for the bytes that are said.
    DmaCoherent,
    /// An object of the cache that is said.
    Object,
    /// A whole cache, which must be empty.
    Destroy,
    /// Memory of the boot allocator.
    Boot,
    /// A block of a heap.
    Heap,
    /// A block of a heap, once its bytes are elsewhere.
    HeapRealloc,
    /// A run of frames.
    Frames,
}

impl Frees {
    /// Whether the free matrix, which is Linux', says nothing of it: what is freed so is known by
    /// its address and by nothing else.
    pub const fn is_foreign(self) -> bool {
        matches!(self, Frees::Heap | Frees::HeapRealloc | Frees::Frames)
    }
}

/// One row of [`CALLS`].
#[derive(Debug)]
pub struct CallSpec {
    /// The call.
    pub call: Call,
    /// Its C name, as written in a trace.
    pub name: &'static str,
    /// The interface that it belongs to.
    pub family: Family,
    /// What it makes.
    pub makes: Makes,
    /// What it assigns.
    pub yields: Yields,
    /// How it frees.
    pub frees: Frees,
    /// What is special about it.
    pub traits: Traits,
    /// The calls that may free what it makes, the most natural one first.
    pub freed_by: &'static [Call],
    /// Its arguments in order: the name used in messages, and the part.
    pub args: &'static [(&'static str, Role)],
    /// The version of Linux that it came with, if that is later than 6.1; else nothing.
    pub since: &'static str,
    /// The campaigns that draw it beside those that draw every call.
    pub campaigns: &'static [&'static str],
}

impl CallSpec {
    /// The place of the first argument that plays a part.
    pub fn place(&self, role: Role) -> Option<usize> {
        self.args.iter().position(|(_, of)| *of == role)
    }

    /// The GFP flags that it takes.
    pub fn flags(&self) -> Gfp {
        if self.traits.nolock { Gfp(__GFP_ZERO.0 | __GFP_ACCOUNT.0) } else { Gfp(u32::MAX) }
    }

    /// Whether an argument plays a part.
    pub fn has(&self, role: Role) -> bool {
        self.place(role).is_some()
    }
}

/// The interfaces that calls belong to, which are the sections of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Blocks of pages.
    Pages,
    /// Memory that devices see.
    Dma,
    /// kmalloc.
    Kmalloc,
    /// Caches of one's own.
    Caches,
    /// The vmalloc space.
    Vmalloc,
    /// kvmalloc.
    Kvmalloc,
    /// Questions about addresses.
    Addresses,
    /// What a task says of itself.
    Scopes,
    /// What others do, and time.
    World,
    /// The boot allocator.
    Boot,
    /// A heap that is not Linux'.
    Heap,
    /// A frame allocator that is not Linux'.
    Frames,
    /// What a caller does with its memory.
    Caller,
}

impl Family {
    /// Whether its calls are those of other allocators than Linux'.
    pub const fn is_foreign(self) -> bool {
        matches!(self, Family::Heap | Family::Frames)
    }
}

/// What is special about a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// What it gives reads as zero, whatever the flags say.
    pub zeroes: bool,
    /// It takes a route.
    pub routed: bool,
    /// It asks for huge pages.
    pub huge: bool,
    /// It may sleep, and has no flags that would say so.
    pub sleeps: bool,
    /// It enables interrupts, and so may not be made where they are disabled.
    pub enables_irqs: bool,
    /// It waits for no lock, and so may be made anywhere. It takes few flags.
    pub nolock: bool,
}

impl Call {
    /// The call's row in [`CALLS`].
    pub const fn spec(self) -> &'static CallSpec {
        &CALLS[self as usize]
    }

    /// Whether the call is the boot allocator's, and so too late after any that is not.
    pub fn is_boot(self) -> bool {
        self.spec().family == Family::Boot
    }

    /// Whether the call replaces memory by other memory.
    pub fn is_realloc(self) -> bool {
        self.spec().has(Role::Replaced)
    }

    /// Whether the call frees, and does nothing else.
    pub fn is_free(self) -> bool {
        self.spec().has(Role::Freed) || self.spec().has(Role::FreedList)
    }

    /// Whether the call takes an object from a cache.
    pub fn needs_cache(self) -> bool {
        self.spec().makes == Makes::Object
    }

    /// Whether the call sleeps whatever its flags are.
    pub fn sleeps(self) -> bool {
        self.spec().traits.sleeps || self.spec().makes == Makes::Vmalloc
    }
}
