//! Every way in which a call can fail, as types.
//!
//! The one idea: a call that fails has changed nothing, and its error says which resource was short
//! or which rule was broken, where the kernel returns NULL, warns, corrupts memory or oopses.

use crate::words::addr::Vaddr;
use crate::words::fate::Fate;
pub use crate::words::free_call::{FreeCall, FreeVerdict};
use crate::words::gfp::{__GFP_NOFAIL, Gfp};
use crate::words::task::Context;
use core::fmt::{self, Display, Formatter};

/// The resource that a request could not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shortage {
    /// No free block of this order above the watermark that applies (R3.6).
    Pages {
        /// log2 of the number of contiguous pages asked for.
        order: u32,
    },
    /// No hole of the vmalloc space is large enough (R4.7).
    VmallocSpace,
    /// No hole of the range that the caller gave is large enough (the NOFAIL series of 2021).
    Range,
    /// The embedder's page tables took no more mappings (R4.2).
    Mapping,
    /// Failure injection refused the call at this site.
    Injected(FaultSite),
}

impl Shortage {
    /// The error of a request with these flags that met this shortage: fail, or wait for its end.
    pub const fn under(self, gfp: Gfp) -> AllocError {
        if gfp.has(__GFP_NOFAIL) {
            AllocError::WouldBlock(self)
        } else {
            AllocError::NoMemory(self)
        }
    }
}

/// The places where failure can be injected (Documentation/fault-injection).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultSite {
    /// `failslab`: an object is about to be taken from a cache.
    Slab,
    /// `fail_page_alloc`: a block is about to be taken from the page allocator.
    PageAlloc,
    /// `fail_vmap`: a range of the vmalloc space is about to be taken.
    Vmap,
}

/// Why an allocation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AllocError {
    /// NULL in the kernel: the resource was short and the request may fail.
    NoMemory(Shortage),
    /// A `__GFP_NOFAIL` request that would sleep: wait for this shortage to end, call again
    /// (R4.14).
    WouldBlock(Shortage),
    /// Larger than this allocator can ever serve: order 11, 4 MiB of kmalloc, `INT_MAX`, all of
    /// memory (R1.1, R3.2, R4.2, R5.1).
    TooLarge,
    /// No bytes, of an interface that gives whole pages and has no `ZERO_SIZE_PTR` (R3.3, R4.2).
    ZeroSize,
    /// No page is free, none can be reclaimed and no process is left to kill; the request is one
    /// that Linux never fails, and so it panics: "System is deadlocked on memory" (R3.8).
    Deadlock {
        /// log2 of the number of contiguous pages asked for.
        order: u32,
    },
    /// The product of an array call does not fit (R1.1, R5.4).
    Overflow,
    /// An alignment that is no power of two, a range that is empty or outside the vmalloc space, or
    /// a node that the machine does not have.
    BadArgument,
    /// `__GFP_NOFAIL` in a request that cannot keep the promise, refused up front.
    ImpossibleNofail(Impossible),
    /// The call may sleep and its caller must not, by its context or by its flags (R1.12, R4.4,
    /// R4.13, R5.7); or it may take a lock, and its caller may have interrupted who holds it
    /// (R1.13).
    BadContext,
}

impl AllocError {
    /// Refuses what flags and context rule out, before anything is changed: to sleep where that is
    /// forbidden (R1.12), anything in a non-maskable interrupt (R1.13), and `__GFP_NOFAIL` to a
    /// request that may not sleep (R3.7).
    ///
    /// # Errors
    /// [`AllocError::BadContext`], or [`AllocError::ImpossibleNofail`] with
    /// [`Impossible::NonBlocking`].
    pub const fn check_caller(gfp: Gfp, context: Context) -> Result<(), Self> {
        if gfp.may_block() && !context.may_sleep() || matches!(context, Context::Nmi) {
            Err(Self::BadContext)
        } else if gfp.has(__GFP_NOFAIL) && !gfp.may_block() {
            Err(Self::ImpossibleNofail(Impossible::NonBlocking))
        } else {
            Ok(())
        }
    }

    /// The error of a request that no state of the machine could serve: `otherwise`, or with
    /// `__GFP_NOFAIL` the reason why its promise cannot be kept.
    pub const fn never(gfp: Gfp, why: Impossible, otherwise: Self) -> Self {
        if gfp.has(__GFP_NOFAIL) { Self::ImpossibleNofail(why) } else { otherwise }
    }
}

/// Why a `__GFP_NOFAIL` request can never be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Impossible {
    /// It may not sleep (R3.7; Linux 6.1 returns NULL).
    NonBlocking,
    /// It is larger than any block or than all of memory (R3.2, R4.2; Linux 6.1 returns NULL).
    TooLarge,
    /// It asks for no bytes of whole pages (R3.3, R4.2; Linux 6.1 returns NULL).
    ZeroSize,
    /// The caller's range is shorter than the request with its guard page (R4.14; Linux 6.1 loops
    /// for ever).
    RangeTooSmall,
}

/// What an address is, as far as the allocator can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddrKind {
    /// The null pointer.
    Null,
    /// [`Vaddr::ZERO_SIZE_PTR`] or an address below it.
    ZeroSizePtr,
    /// Inside an object of a kmalloc size class.
    KmallocObject,
    /// Inside an object of a cache made by `kmem_cache_create`.
    CacheObject,
    /// Inside a large kmalloc block.
    LargeKmalloc,
    /// Inside a block of `alloc_pages` or `__get_free_pages`.
    Pages,
    /// Inside memory of `alloc_pages_exact`.
    PagesExact,
    /// Inside memory of `dma_alloc_coherent`.
    DmaCoherent,
    /// Inside an area of `vmalloc` or its guard page.
    Vmalloc,
    /// An object, block or area that has been freed, or was never handed out.
    Free,
    /// Memory of the allocator's own, or kept back at boot.
    Reserved,
    /// No memory of this machine.
    Nothing,
}

impl Display for AddrKind {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Null => "NULL",
            Self::ZeroSizePtr => "ZERO_SIZE_PTR",
            Self::KmallocObject => "an object of kmalloc",
            Self::CacheObject => "an object of a cache",
            Self::LargeKmalloc => "a large block of kmalloc",
            Self::Pages => "a block of pages",
            Self::PagesExact => "pages of alloc_pages_exact",
            Self::DmaCoherent => "coherent memory",
            Self::Vmalloc => "an area of vmalloc",
            Self::Free => "free memory",
            Self::Reserved => "memory of the allocator's own",
            Self::Nothing => "no memory of this machine",
        })
    }
}

/// A free that was refused and changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FreeFault {
    /// The address that the caller gave.
    pub addr: Vaddr,
    /// The call that was made.
    pub called: FreeCall,
    /// What was wrong with it.
    pub verdict: FreeVerdict,
    /// What the address is.
    pub is: AddrKind,
    /// The call that frees the live memory at or around the address, given its start.
    pub right: Option<FreeCall>,
    /// What Linux 6.1 does in its place.
    pub on_linux: Fate,
}

impl Display for FreeFault {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { addr, called, verdict, is, right, on_linux } = self;
        let called = called.name();
        write!(out, "{called} of {:#x} refused: {} {is}", addr.0, verdict.place())?;
        if let Some(right) = right {
            write!(out, "; free it with {}", right.name())?;
        }
        write!(out, " (on Linux 6.1 this {on_linux}")?;
        match on_linux {
            Fate::Oops | Fate::Bug => write!(out, " in {called})"),
            _ => out.write_str(")"),
        }
    }
}

/// The conversions between addresses and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConvertCall {
    /// `is_vmalloc_addr`.
    IsVmallocAddr,
    /// `virt_addr_valid`.
    VirtAddrValid,
    /// `virt_to_page`.
    VirtToPage,
    /// `page_address`.
    PageAddress,
    /// `virt_to_phys`.
    VirtToPhys,
    /// `vmalloc_to_page`.
    VmallocToPage,
}

impl ConvertCall {
    /// The call's C name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IsVmallocAddr => "is_vmalloc_addr",
            Self::VirtAddrValid => "virt_addr_valid",
            Self::VirtToPage => "virt_to_page",
            Self::PageAddress => "page_address",
            Self::VirtToPhys => "virt_to_phys",
            Self::VmallocToPage => "vmalloc_to_page",
        }
    }
}

impl Display for ConvertCall {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// A conversion that was refused, where the kernel's would have yielded a wrong page or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConvertFault {
    /// The address that the caller gave, or that the page would have.
    pub addr: Vaddr,
    /// The call that was made.
    pub called: ConvertCall,
    /// What the address is.
    pub is: AddrKind,
    /// The conversion that does apply to the address, if one does.
    pub right: Option<ConvertCall>,
}

impl Display for ConvertFault {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { addr, called, is, right } = self;
        write!(out, "{called} of {:#x} refused: {is}", addr.0)?;
        match right {
            Some(right) => write!(out, "; use {right}"),
            None => Ok(()),
        }
    }
}

/// Why memory was not given another size. It is as it was, and still its holder's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReallocError {
    /// The new memory was refused, as to any other request.
    Alloc(AllocError),
    /// The old memory cannot be replaced by this call.
    Free(FreeFault),
}
