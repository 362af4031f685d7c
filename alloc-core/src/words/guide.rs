//! Which allocator to use: every way to get memory, and what may be done with what it gives.
//!
//! The one idea: the guide that Viro 2015 asks for is data, so that a person
//! and the allocator read the same rows: a refused free or conversion names the right call from
//! here, and `docs/which-allocator.md` is held to it by a test.
//!
//! Nothing here is carried out; a test of `mm` allocates by every row and holds the row to it.

use crate::words::addr::PAGE_SIZE;
use crate::words::error::{AddrKind, ConvertCall, FreeCall};

/// How memory is reached, and hence which conversions its addresses take (R7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mapping {
    /// Through the direct map: a fixed distance from the physical address, so that neighbours in
    /// virtual addresses are neighbours in physical ones.
    Direct,
    /// Through page tables of its own, page by page.
    Vmalloc,
}

/// The alignment that a caller may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alignment {
    /// 8 bytes, and a power of two is aligned to itself (R1.3).
    Size,
    /// As [`Alignment::Size`], but to no more than a page: all that the sides of kvmalloc share.
    SizeUpToPage,
    /// What the cache was created with, at least 8 bytes (R2.2).
    Cache,
    /// A page.
    Page,
    /// The size rounded up to a power of two pages (R3.1).
    Block,
}

impl Alignment {
    /// The alignment of a request of `size_bytes` (at least 1) bytes, without what a cache adds.
    pub const fn of(self, size_bytes: u64) -> u64 {
        let natural = if size_bytes.is_power_of_two() && size_bytes > 8 { size_bytes } else { 8 };
        match self {
            Self::Size => natural,
            Self::SizeUpToPage if natural > PAGE_SIZE => PAGE_SIZE,
            Self::SizeUpToPage => natural,
            Self::Cache => 8,
            Self::Page => PAGE_SIZE,
            Self::Block if size_bytes <= PAGE_SIZE => PAGE_SIZE,
            Self::Block => size_bytes.next_power_of_two(),
        }
    }
}

/// The contexts in which something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contexts {
    /// A task that holds no spinlock.
    pub task: bool,
    /// A task that must not sleep, as under a spinlock.
    pub atomic: bool,
    /// A soft interrupt, and wherever those are disabled.
    pub softirq: bool,
    /// An interrupt.
    pub hardirq: bool,
}

impl Contexts {
    /// Everywhere but in a non-maskable interrupt.
    pub const ANY: Self = Self { task: true, atomic: true, softirq: true, hardirq: true };
    /// Where one may sleep, and in interrupts, where the part that sleeps is done later (R4.13).
    pub const TASK_OR_INTERRUPT: Self = Self { atomic: false, ..Self::ANY };
    /// Where one may sleep.
    pub const TASK: Self = Self { task: true, atomic: false, softirq: false, hardirq: false };
}

/// A way to get memory.
#[derive(Debug)]
pub struct Allocator {
    /// What it is for.
    pub need: &'static str,
    /// The calls that allocate, the plainest one first.
    pub calls: &'static [&'static str],
    /// What its memory is, as an address.
    pub kinds: &'static [AddrKind],
    /// The calls that free its memory, the right one first and then those that do as well.
    pub frees: &'static [FreeCall],
    /// Where one may allocate; outside of a task with `GFP_ATOMIC` or `GFP_NOWAIT`.
    pub alloc_in: Contexts,
    /// Where one may free.
    pub free_in: Contexts,
    /// The alignment that may be relied on.
    pub alignment: Alignment,
    /// The ways in which its memory may be mapped; contiguous memory is mapped directly.
    pub mappings: &'static [Mapping],
}

impl Allocator {
    /// Whether its memory is always physically contiguous.
    pub fn is_contiguous(&self) -> bool {
        self.mappings == [Mapping::Direct]
    }

    /// The conversions that all of its memory takes.
    pub fn conversions(&self) -> impl Iterator<Item = ConvertCall> {
        let all_take = |row: &&Conversion| self.mappings.iter().all(|&mapping| row.takes(mapping));
        CONVERSIONS.iter().filter(all_take).map(|row| row.call)
    }
}

/// Every way to get memory, the usual ones first.
pub static ALLOCATORS: &[Allocator] = &[
    Allocator {
        need: "most things, of a few bytes to a few pages",
        calls: &["kmalloc", "kzalloc", "kmalloc_array", "kcalloc", "kmalloc_node"],
        kinds: &[AddrKind::KmallocObject, AddrKind::LargeKmalloc],
        frees: &[
            FreeCall::Kfree,
            FreeCall::Kvfree,
            FreeCall::KfreeSensitive,
            FreeCall::KvfreeSensitive,
        ],
        alloc_in: Contexts::ANY,
        free_in: Contexts::ANY,
        alignment: Alignment::Size,
        mappings: &[Mapping::Direct],
    },
    Allocator {
        need: "many objects of one type, or an alignment of your own",
        calls: &["kmem_cache_alloc", "kmem_cache_zalloc", "kmem_cache_alloc_node"],
        kinds: &[AddrKind::CacheObject],
        frees: &[FreeCall::KmemCacheFree, FreeCall::Kfree, FreeCall::Kvfree],
        alloc_in: Contexts::ANY,
        free_in: Contexts::ANY,
        alignment: Alignment::Cache,
        mappings: &[Mapping::Direct],
    },
    Allocator {
        need: "large buffers that only the CPU sees",
        calls: &[
            "vmalloc",
            "vzalloc",
            "vmalloc_node",
            "vmalloc_huge",
            "__vmalloc",
            "__vmalloc_node_range",
        ],
        kinds: &[AddrKind::Vmalloc],
        frees: &[FreeCall::Vfree, FreeCall::Kvfree, FreeCall::KvfreeSensitive],
        // Its page tables are allocated with reclaim whatever the flags say (R4.4).
        alloc_in: Contexts::TASK,
        // From an interrupt it is deferred; under a spinlock nothing tells vfree that it must not
        // sleep (R4.13). `vfree_atomic` is for there.
        free_in: Contexts::TASK_OR_INTERRUPT,
        alignment: Alignment::Page,
        mappings: &[Mapping::Vmalloc],
    },
    Allocator {
        need: "sizes from outside, small or large, that only the CPU sees",
        calls: &[
            "kvmalloc",
            "kvzalloc",
            "kvmalloc_array",
            "kvcalloc",
            "kvmalloc_node",
            "kvzalloc_node",
        ],
        kinds: &[AddrKind::KmallocObject, AddrKind::LargeKmalloc, AddrKind::Vmalloc],
        frees: &[FreeCall::Kvfree, FreeCall::KvfreeSensitive],
        // It seems to work elsewhere for as long as the slab side succeeds (R5.2).
        alloc_in: Contexts::TASK,
        free_in: Contexts::TASK_OR_INTERRUPT,
        alignment: Alignment::SizeUpToPage,
        mappings: &[Mapping::Direct, Mapping::Vmalloc],
    },
    Allocator {
        need: "pages as such: a reference to struct page",
        calls: &["alloc_pages", "alloc_pages_node"],
        kinds: &[AddrKind::Pages],
        frees: &[FreeCall::FreePages],
        alloc_in: Contexts::ANY,
        free_in: Contexts::ANY,
        alignment: Alignment::Block,
        mappings: &[Mapping::Direct],
    },
    Allocator {
        need: "page tables and their like: the address of a page",
        calls: &["__get_free_pages", "__get_free_page", "get_zeroed_page"],
        kinds: &[AddrKind::Pages],
        frees: &[FreeCall::FreePages],
        alloc_in: Contexts::ANY,
        free_in: Contexts::ANY,
        alignment: Alignment::Block,
        mappings: &[Mapping::Direct],
    },
    Allocator {
        need: "contiguous pages whose number is no power of two",
        calls: &["alloc_pages_exact"],
        kinds: &[AddrKind::PagesExact],
        frees: &[FreeCall::FreePagesExact],
        alloc_in: Contexts::ANY,
        free_in: Contexts::ANY,
        alignment: Alignment::Block,
        mappings: &[Mapping::Direct],
    },
    Allocator {
        need: "memory that a device sees as the CPU does",
        calls: &["dma_alloc_coherent"],
        kinds: &[AddrKind::DmaCoherent],
        frees: &[FreeCall::DmaFreeCoherent],
        alloc_in: Contexts::ANY,
        // Freeing may unmap, for which interrupts must be enabled (`dma_free_attrs`).
        free_in: Contexts { hardirq: false, ..Contexts::ANY },
        alignment: Alignment::Block,
        mappings: &[Mapping::Direct],
    },
];

/// The call that frees live memory of a kind; `None` for what nobody may free.
pub fn right_free(kind: AddrKind) -> Option<FreeCall> {
    let row = ALLOCATORS.iter().find(|row| row.kinds.contains(&kind))?;
    row.frees.first().copied()
}

/// A conversion between addresses and pages.
#[derive(Debug)]
pub struct Conversion {
    /// The call.
    pub call: ConvertCall,
    /// What one has.
    pub have: &'static str,
    /// What one wants.
    pub want: &'static str,
    /// The mappings whose addresses it takes.
    pub takes: &'static [Mapping],
    /// What to call for an address with another mapping.
    pub instead: Option<ConvertCall>,
    /// What Linux 6.1 does with an address that it does not take.
    pub otherwise: &'static str,
}

impl Conversion {
    /// Whether it is right for addresses with this mapping.
    pub fn takes(&self, mapping: Mapping) -> bool {
        self.takes.contains(&mapping)
    }
}

const EITHER: &[Mapping] = &[Mapping::Direct, Mapping::Vmalloc];

/// Every conversion (R7). `CONVERSIONS[call as usize]`.
pub static CONVERSIONS: &[Conversion] = &[
    Conversion {
        call: ConvertCall::IsVmallocAddr,
        have: "any address",
        want: "whether vmalloc space holds it",
        takes: EITHER,
        instead: None,
        otherwise: "says no",
    },
    Conversion {
        call: ConvertCall::VirtAddrValid,
        have: "any address",
        want: "whether the direct map holds it",
        takes: EITHER,
        instead: None,
        otherwise: "says no",
    },
    Conversion {
        call: ConvertCall::VirtToPage,
        have: "an address of the direct map",
        want: "its page",
        takes: &[Mapping::Direct],
        instead: Some(ConvertCall::VmallocToPage),
        otherwise: "gives a bogus page, which oopses on use",
    },
    Conversion {
        call: ConvertCall::PageAddress,
        have: "a page",
        want: "its address in the direct map, also if vmalloc gave it another",
        takes: EITHER,
        instead: None,
        otherwise: "computes an address that is no memory",
    },
    Conversion {
        call: ConvertCall::VirtToPhys,
        have: "an address of the direct map",
        want: "its physical address",
        takes: &[Mapping::Direct],
        instead: Some(ConvertCall::VmallocToPage),
        otherwise: "gives garbage, which may be the number of a real page",
    },
    Conversion {
        call: ConvertCall::VmallocToPage,
        have: "any mapped address",
        want: "its page",
        takes: EITHER,
        instead: None,
        otherwise: "gives NULL",
    },
];

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn conversions_are_in_the_order_of_their_enum() {
        for (place, row) in CONVERSIONS.iter().enumerate() {
            assert_eq!(row.call as usize, place, "{}", row.call);
            assert!(row.instead.is_none_or(|call| CONVERSIONS[call as usize].takes == EITHER));
        }
    }

    #[test]
    fn alignments_follow_the_size() {
        assert_eq!([1, 8, 96, 4096].map(|size| Alignment::Size.of(size)), [8, 8, 8, 4096]);
        assert_eq!([64, 8192, 9000].map(|size| Alignment::SizeUpToPage.of(size)), [64, 4096, 8]);
        assert_eq!([1, 4097, 8192].map(|size| Alignment::Block.of(size)), [4096, 8192, 8192]);
    }

    #[test]
    fn whatever_may_be_mapped_either_way_takes_only_what_both_take() {
        for row in ALLOCATORS {
            let is_direct = row.is_contiguous();
            let to_page = row.conversions().any(|call| call == ConvertCall::VirtToPage);
            assert_eq!(to_page, is_direct, "{}", row.need);
            assert!(row.conversions().any(|call| call == ConvertCall::VmallocToPage));
        }
    }
}
