//! The calls that give memory back, and what can be wrong with one of them.
//!
//! What comes of each call is in `fate`; a free that was refused is an error of `error`.

/// The calls that give memory back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FreeCall {
    /// `kfree`.
    Kfree,
    /// `kfree_nolock`.
    KfreeNolock,
    /// `vfree`.
    Vfree,
    /// `vfree_atomic`.
    VfreeAtomic,
    /// `vunmap`.
    Vunmap,
    /// `kvfree`.
    Kvfree,
    /// `kvfree_rcu` and `kfree_rcu`, which free later.
    KvfreeRcu,
    /// `kmem_cache_free`, of one object or of each of several.
    KmemCacheFree,
    /// `free_pages`, `__free_pages` and `free_page`.
    FreePages,
    /// `put_page`.
    PutPage,
    /// `free_pages_exact`.
    FreePagesExact,
    /// `dma_free_coherent`.
    DmaFreeCoherent,
    /// `kfree_sensitive`.
    KfreeSensitive,
    /// `kvfree_sensitive`.
    KvfreeSensitive,
    /// `krealloc`, which frees what it replaces.
    Krealloc,
    /// `kvrealloc`, likewise.
    Kvrealloc,
    /// `vrealloc`, likewise.
    Vrealloc,
    /// `ksize`, which frees nothing, and looks at memory as `kfree` does.
    Ksize,
}

impl FreeCall {
    /// The call's C name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kfree => "kfree",
            Self::KfreeNolock => "kfree_nolock",
            Self::Vfree => "vfree",
            Self::VfreeAtomic => "vfree_atomic",
            Self::Vunmap => "vunmap",
            Self::Kvfree => "kvfree",
            Self::KvfreeRcu => "kvfree_rcu",
            Self::KmemCacheFree => "kmem_cache_free",
            Self::FreePages => "free_pages",
            Self::PutPage => "put_page",
            Self::FreePagesExact => "free_pages_exact",
            Self::DmaFreeCoherent => "dma_free_coherent",
            Self::KfreeSensitive => "kfree_sensitive",
            Self::KvfreeSensitive => "kvfree_sensitive",
            Self::Krealloc => "krealloc",
            Self::Kvrealloc => "kvrealloc",
            Self::Vrealloc => "vrealloc",
            Self::Ksize => "ksize",
        }
    }
}

/// What was wrong with a free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FreeVerdict {
    /// The memory is live and the address its start, but it came from another allocator.
    WrongAllocator,
    /// A block of pages, freed with another order than its own.
    WrongOrder,
    /// The right call, with another size than the memory's own or more bytes than it has.
    WrongSize,
    /// An object, freed into another cache than its own.
    WrongCache,
    /// The memory is already free.
    DoubleFree,
    /// The address lies inside live memory, aligned for its kind, but is not its start.
    Interior,
    /// The address lies inside live memory at no place where one of its kind could start.
    Misaligned,
    /// Nothing that can be freed is there.
    Wild,
    /// The call may sleep and the caller's context forbids that (R4.13), or it may have to unmap
    /// and interrupts are disabled.
    BadContext,
}

impl FreeVerdict {
    /// Where the address lies in what it is.
    pub(crate) const fn place(self) -> &'static str {
        match self {
            Self::Interior | Self::Misaligned => "inside",
            Self::WrongOrder | Self::WrongSize => "another size than that of",
            Self::WrongCache => "another cache than that of",
            Self::BadContext => "not in this context, and it is",
            Self::WrongAllocator | Self::DoubleFree | Self::Wild => "it is",
        }
    }
}
