//! The rows of the table of calls, handed to the macro that makes something of them.
//!
//! Columns: the call's name here and in C, what it makes, how it frees, what is special about it,
//! the calls that free what it makes (the most natural one first), the campaigns that draw it
//! beside those that draw every call, its arguments, and the version that it came with if Linux 6.1
//! has no such call. What the words mean is said at `Makes`,
//! `Frees`, `Traits` and `Role`.

// One row a line, however long: the columns are what makes the table readable.
#[rustfmt::skip]
macro_rules! for_each_call {
    ($then:ident) => { $then! {
    callers {
        Write              write                 [pages kmalloc vmalloc kvmalloc heap frames] (ptr: Written, offset: Offset, len: Size);
    }
    foreign {
        Heap {
            Alloc              alloc                 Heap        Nothing         [] [Dealloc] [heap] (size: Size, align: Align);
            AllocZeroed        alloc_zeroed          Heap        Nothing         [zeroes] [Dealloc] [heap] (size: Size, align: Align);
            Dealloc            dealloc               Nothing     Heap            [] [] [heap] (ptr: Freed);
            Realloc            realloc               Heap        HeapRealloc     [] [Dealloc] [heap] (ptr: Replaced, size: Size);
            Extend             extend                Nothing     Nothing         [] [] [heap] (size: Size);
        }
        Frames {
            AllocFrames        alloc_frames          Frames      Nothing         [] [DeallocFrames] [frames] (count: Count, align: Align);
            DeallocFrames      dealloc_frames        Nothing     Frames          [] [] [frames] (ptr: Freed);
            AddFrames          add_frames            Nothing     Nothing         [] [] [frames] (count: Count);
        }
    }
    Pages {
        AllocPages         alloc_pages           Pages       Nothing         [] [FreePagesPage] [pages kmalloc kvmalloc] (gfp: Gfp, order: Order);
        AllocPagesNode     alloc_pages_node      Pages       Nothing         [] [FreePagesPage] [pages] (nid: Node, gfp: Gfp, order: Order);
        GetFreePages       __get_free_pages      Pages       Nothing         [] [FreePages] [pages] (gfp: Gfp, order: Order);
        GetFreePage        __get_free_page       Pages       Nothing         [] [FreePage FreePages PutPage] [pages] (gfp: Gfp);
        GetZeroedPage      get_zeroed_page       Pages       Nothing         [zeroes] [FreePages FreePage PutPage] [pages] (gfp: Gfp);
        FreePagesPage      __free_pages          Nothing     Pages           [] [] [pages kmalloc kvmalloc] (page: Freed, order: Order);
        FreePages          free_pages            Nothing     Pages           [] [] [pages] (addr: Freed, order: Order);
        PutPage            put_page              Nothing     PutPage         [] [] [pages vmalloc kvmalloc] (page: Freed);
        FreePage           free_page             Nothing     Pages           [] [] [pages] (addr: Freed);
        AllocPagesExact    alloc_pages_exact     PagesExact  Nothing         [] [FreePagesExact] [pages] (size: Size, gfp: Gfp);
        FreePagesExact     free_pages_exact      Nothing     PagesExact      [] [] [pages] (addr: Freed, size: Held);
    }
    Dma {
        DmaAllocCoherent   dma_alloc_coherent    DmaCoherent Nothing         [zeroes] [DmaFreeCoherent] [pages] (size: Size, gfp: Gfp);
        DmaFreeCoherent    dma_free_coherent     Nothing     DmaCoherent     [] [] [pages] (addr: Freed, size: Held);
    }
    Kmalloc {
        Kmalloc            kmalloc               Kmalloc     Nothing         [] [Kfree Kvfree KfreeSensitive KvfreeSensitive KfreeRcu] [kmalloc vmalloc] (size: Size, flags: Gfp);
        Kzalloc            kzalloc               Kmalloc     Nothing         [zeroes] [Kfree Kvfree KfreeSensitive KfreeRcu] [kmalloc] (size: Size, flags: Gfp);
        KmallocNode        kmalloc_node          Kmalloc     Nothing         [] [Kfree Kvfree KfreeSensitive KfreeRcu] [kmalloc] (size: Size, flags: Gfp, node: Node);
        KmallocArray       kmalloc_array         Kmalloc     Nothing         [] [Kfree Kvfree KfreeSensitive] [kmalloc] (n: Count, size: Size, flags: Gfp);
        Kcalloc            kcalloc               Kmalloc     Nothing         [zeroes] [Kfree Kvfree KfreeSensitive] [kmalloc] (n: Count, size: Size, flags: Gfp);
        KmallocNolock      kmalloc_nolock        Kmalloc     Nothing         [nolock] [KfreeNolock] [kmalloc] (size: Size, gfp_flags: Gfp, node: Node) since "6.18";
        Kfree              kfree                 Nothing     Kfree           [] [] [kmalloc vmalloc] (ptr: Freed);
        KfreeNolock        kfree_nolock          Nothing     KfreeNolock     [nolock] [] [kmalloc] (object: Freed) since "6.18";
        KfreeSensitive     kfree_sensitive       Nothing     KfreeSensitive  [] [] [kmalloc] (ptr: Freed);
        Krealloc           krealloc              Kmalloc     Krealloc        [] [Kfree Kvfree KfreeSensitive] [kmalloc] (ptr: Replaced, size: Size, flags: Gfp);
        KfreeRcu           kfree_rcu             Nothing     KvfreeRcu       [] [] [kmalloc vmalloc] (ptr: Freed, rhf: Offset);
        Ksize              ksize                 Fact        Nothing         [] [] [kmalloc] (ptr: Read);
    }
    Caches {
        KmemCacheCreate    kmem_cache_create     NewCache    Nothing         [sleeps] [] [kmalloc] (size: Size, align: Align, flags: SlabFlags, ctor: Ctor);
        KmemCacheAlloc     kmem_cache_alloc      Object      Nothing         [] [KmemCacheFree KmemCacheFreeBulk KfreeRcu] [kmalloc] (cache: Cache, flags: Gfp);
        KmemCacheZalloc    kmem_cache_zalloc     Object      Nothing         [zeroes] [KmemCacheFree KmemCacheFreeBulk KfreeSensitive] [kmalloc] (cache: Cache, flags: Gfp);
        KmemCacheAllocNode kmem_cache_alloc_node Object      Nothing         [] [KmemCacheFree KmemCacheFreeBulk] [kmalloc] (cache: Cache, flags: Gfp, node: Node);
        KmemCacheAllocBulk kmem_cache_alloc_bulk Object      Nothing         [enables_irqs] [KmemCacheFree KmemCacheFreeBulk] [kmalloc] (cache: Cache, flags: Gfp, size: Results);
        KmemCacheFree      kmem_cache_free       Nothing     Object          [] [] [kmalloc] (cache: Cache, ptr: Freed);
        KmemCacheFreeBulk  kmem_cache_free_bulk Nothing      Object          [] [] [kmalloc] (cache: Cache, p: FreedList);
        KmemCacheDestroy   kmem_cache_destroy    Nothing     Destroy         [sleeps] [] [kmalloc] (cache: Cache);
    }
    Vmalloc {
        Vmalloc            vmalloc               Vmalloc     Nothing         [] [Vfree Kvfree KvfreeSensitive VfreeAtomic KvfreeRcu] [vmalloc kvmalloc] (size: Size);
        Vzalloc            vzalloc               Vmalloc     Nothing         [zeroes] [Vfree Kvfree VfreeAtomic KvfreeRcu] [vmalloc] (size: Size);
        VmallocNode        vmalloc_node          Vmalloc     Nothing         [] [Vfree Kvfree VfreeAtomic] [vmalloc] (size: Size, node: Node);
        VmallocGfp         __vmalloc             Vmalloc     Nothing         [] [Vfree Kvfree VfreeAtomic] [vmalloc] (size: Size, flags: Gfp);
        VmallocHuge        vmalloc_huge          Vmalloc     Nothing         [huge] [Vfree Kvfree VfreeAtomic] [vmalloc] (size: Size, flags: Gfp);
        VmallocNodeRange   __vmalloc_node_range  Vmalloc     Nothing         [] [Vfree Kvfree VfreeAtomic] [vmalloc] (size: Size, align: Align, start: RangeStart, end: RangeEnd, flags: Gfp);
        Vfree              vfree                 Nothing     Vfree           [] [] [vmalloc kvmalloc] (addr: Freed);
        VfreeAtomic        vfree_atomic          Nothing     VfreeAtomic     [] [] [vmalloc] (addr: Freed);
        Vrealloc           vrealloc              Vmalloc     Vrealloc        [] [Vfree Kvfree VfreeAtomic] [vmalloc] (addr: Replaced, newsize: Size, flags: Gfp) since "6.12";
        Vunmap             vunmap                Nothing     Vunmap          [] [] [vmalloc] (addr: Freed);
        VmUnmapAliases     vm_unmap_aliases      Nothing     Nothing         [sleeps] [] [vmalloc kvmalloc] ();
    }
    Kvmalloc {
        Kvmalloc           kvmalloc              Kvmalloc    Nothing         [routed] [Kvfree KvfreeSensitive KvfreeRcu] [kvmalloc] (size: Size, flags: Gfp);
        Kvzalloc           kvzalloc              Kvmalloc    Nothing         [routed zeroes] [Kvfree KvfreeSensitive KvfreeRcu] [kvmalloc] (size: Size, flags: Gfp);
        KvmallocNode       kvmalloc_node         Kvmalloc    Nothing         [routed] [Kvfree KvfreeSensitive KvfreeRcu] [kvmalloc] (size: Size, flags: Gfp, node: Node);
        KvzallocNode       kvzalloc_node         Kvmalloc    Nothing         [routed zeroes] [Kvfree KvfreeSensitive] [kvmalloc] (size: Size, flags: Gfp, node: Node);
        KvmallocArray      kvmalloc_array        Kvmalloc    Nothing         [routed] [Kvfree KvfreeSensitive KvfreeRcu] [kvmalloc] (n: Count, size: Size, flags: Gfp);
        Kvcalloc           kvcalloc              Kvmalloc    Nothing         [routed zeroes] [Kvfree KvfreeSensitive] [kvmalloc] (n: Count, size: Size, flags: Gfp);
        Kvfree             kvfree                Nothing     Kvfree          [] [] [kvmalloc] (addr: Freed);
        KvfreeSensitive    kvfree_sensitive      Nothing     KvfreeSensitive [] [] [kvmalloc] (addr: Freed, len: Held);
        KvfreeRcu          kvfree_rcu            Nothing     KvfreeRcu       [] [] [kvmalloc vmalloc] (ptr: Freed, rhf: Offset);
        Kvrealloc          kvrealloc             Kvmalloc    Kvrealloc       [routed] [Kvfree KvfreeSensitive] [kvmalloc] (ptr: Replaced, oldsize: Held, newsize: Size, flags: Gfp);
    }
    Addresses {
        IsVmallocAddr      is_vmalloc_addr       Fact        Nothing         [] [] [kvmalloc] (addr: Read);
        VirtAddrValid      virt_addr_valid       Fact        Nothing         [] [] [kmalloc] (addr: Read);
        VirtToPage         virt_to_page          Fact        Nothing         [] [] [pages] (addr: Read);
        PageAddress        page_address          Fact        Nothing         [] [] [pages vmalloc] (page: Read);
        VirtToPhys         virt_to_phys          Fact        Nothing         [] [] [kmalloc] (addr: Read);
        VmallocToPage      vmalloc_to_page       Fact        Nothing         [] [] [vmalloc kvmalloc] (addr: Read);
        GetPage            get_page              Reference   Nothing         [] [PutPage] [pages vmalloc kvmalloc] (page: Read);
    }
    Scopes {
        MemallocNofsSave   memalloc_nofs_save    Nothing     Nothing         [] [] [] ();
        MemallocNofsRestore memalloc_nofs_restore Nothing     Nothing         [] [] [] ();
        MemallocNoioSave   memalloc_noio_save    Nothing     Nothing         [] [] [] ();
        MemallocNoioRestore memalloc_noio_restore Nothing     Nothing         [] [] [] ();
    }
    World {
        Tick               tick                  Nothing     Nothing         [] [] [pages kmalloc vmalloc kvmalloc] ();
        AddToPageCache     add_to_page_cache     Nothing     Nothing         [] [] [pages kvmalloc] (nr_pages: Count, needs: Gfp);
        StartProcess       start_process         Nothing     Nothing         [] [] [pages kvmalloc] (nr_pages: Count);
        DropCaches         drop_caches           Nothing     Nothing         [] [] [] ();
    }
    Boot {
        MemblockAlloc      memblock_alloc        Boot        Nothing         [zeroes] [MemblockFree] [pages] (size: Size, align: Align);
        MemblockReserve    memblock_reserve      Nothing     Nothing         [] [] [pages] (base: Phys, size: Size);
        MemblockPhysFree   memblock_phys_free    Nothing     Boot            [] [] [pages] (base: Phys, size: Held);
        MemblockFree       memblock_free         Nothing     Boot            [] [] [pages] (ptr: Freed, size: Held);
    }
    } };
}

pub(crate) use for_each_call;
