//! Addresses and sizes: what a number of bytes, a page frame and a kernel virtual address are.
//!
//! The one idea: the address itself says which kind of memory it is. Frame `n` is visible at
//! `PAGE_OFFSET + n * PAGE_SIZE` (the direct map), and everything from `VMALLOC_START` on was put
//! there by a page-table entry. `kvfree` needs nothing else to choose its side (R5.6, R7).
//!
//! This file does no memory access and knows no allocator.

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page (R0.2).
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// log2 of [`PMD_SIZE`].
pub const PMD_SHIFT: u32 = 21;
/// Bytes that one huge mapping shows, and that one page table covers (R0.2).
pub const PMD_SIZE: u64 = 1 << PMD_SHIFT;
/// The orders of the buddy allocator are `0..NR_ORDERS`; Linux 6.1 calls this number `MAX_ORDER`
/// (R0.2).
pub const NR_ORDERS: usize = 11;
/// Orders above this one are costly: the page allocator gives up on them early (R0.2).
pub const PAGE_ALLOC_COSTLY_ORDER: u32 = 3;
/// The largest object, of a cache or of kmalloc (`KMALLOC_MAX_SIZE`, R0.2).
pub(crate) const KMALLOC_MAX_SIZE: u64 = 4 << 20;
/// Virtual address of frame 0 in the direct map (x86_64 without KASLR).
pub const PAGE_OFFSET: u64 = 0xffff_8880_0000_0000;
/// First virtual address of the vmalloc space (x86_64 without KASLR, R4.6).
pub const VMALLOC_START: u64 = 0xffff_c900_0000_0000;
/// Where a device sees frame 0: its bus has other memory below, as behind a `dma-ranges` property.
/// So a bus address is never a physical one by accident, nor a virtual one (R7.3).
pub const DMA_OFFSET: u64 = 0x40_0000_0000;

/// The number of a page frame: physical address divided by [`PAGE_SIZE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(pub u32);

impl Pfn {
    /// The frame's address in the direct map (`page_address`).
    pub const fn to_virt(self) -> Vaddr {
        Vaddr(PAGE_OFFSET + ((self.0 as u64) << PAGE_SHIFT))
    }

    /// The physical address of the frame's first byte (`PFN_PHYS`).
    pub const fn to_phys(self) -> Paddr {
        Paddr((self.0 as u64) << PAGE_SHIFT)
    }
}

/// A physical address in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Paddr(pub u64);

impl Paddr {
    /// What a device calls the address (`phys_to_dma`).
    pub const fn to_dma(self) -> DmaAddr {
        DmaAddr(self.0 + DMA_OFFSET)
    }
}

/// An address as a device sees it on its bus, in bytes (`dma_addr_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DmaAddr(pub u64);

/// A kernel virtual address in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vaddr(pub u64);

impl Vaddr {
    /// The null pointer.
    pub const NULL: Self = Self(0);
    /// What a zero-byte `kmalloc` returns: not null, not dereferenceable (R1.1).
    pub const ZERO_SIZE_PTR: Self = Self(16);

    /// `ZERO_OR_NULL_PTR`: null, `ZERO_SIZE_PTR` and everything between (R0.2).
    pub const fn is_zero_or_null(self) -> bool {
        self.0 <= Self::ZERO_SIZE_PTR.0
    }

    /// Whether the address is the first byte of a page.
    pub const fn is_page_aligned(self) -> bool {
        self.0 & (PAGE_SIZE - 1) == 0
    }
}

/// The number of pages that `size_bytes` bytes need.
pub const fn pages_for(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(PAGE_SIZE)
}

/// `get_order`: the smallest order whose block holds `size_bytes` (at least 1) bytes.
pub const fn order_for(size_bytes: u64) -> u32 {
    pages_for(size_bytes).next_power_of_two().trailing_zeros()
}
