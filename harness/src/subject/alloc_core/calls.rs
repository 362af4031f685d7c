//! alloc-core's calls: each row of the table is one call of `Mm`, and its error an answer.
//!
//! The boot allocator's are in `early`, since they need what there is before the hand-over.

use super::Machine;
use super::answer::{bad_free, done, freed, refused, scoped};
use super::words::{cache_flags, flags, side};
use super::{AllocCore, early};
use crate::call::{Calls, List, MAX_LIST};
use crate::subject::{Answer, Refusal};
use crate::words::{CacheHandle, Gfp, SlabFlags};
use alloc_core::addr::{PAGE_SIZE, Pfn, VMALLOC_START, Vaddr};
use alloc_core::error::{AllocError, ConvertCall, ConvertFault, FreeCall, ReallocError};
use alloc_core::gfp::{__GFP_FS, __GFP_IO};
use alloc_core::task::Scope;
use alloc_core::{CacheId, Ctor, DestroyError, Mm, PageCacheKind, VmallocRange};

fn id(cache: CacheHandle) -> CacheId {
    CacheId::from_raw(cache.0)
}

fn count(nr: u64) -> u32 {
    u32::try_from(nr).unwrap_or(u32::MAX)
}

/// Memory, or why there is none.
fn granted<M: Machine>(mm: &Mm<M>, result: Result<Vaddr, AllocError>) -> Answer {
    result.map_or_else(refused, |addr| memory(mm, addr, None))
}

fn memory<M: Machine>(mm: &Mm<M>, addr: Vaddr, bus: Option<u64>) -> Answer {
    let usable = mm.usable_size(addr).unwrap_or(0);
    Answer::Memory { addr: addr.0, usable, bus }
}

/// Memory in several pieces of one size.
fn several<M: Machine>(mm: &Mm<M>, pieces: &[Vaddr]) -> Answer {
    let usable = pieces.first().and_then(|first| mm.usable_size(*first)).unwrap_or(0);
    let addrs: Vec<u64> = pieces.iter().map(|piece| piece.0).collect();
    Answer::Several { addrs: List::of(&addrs), usable }
}

fn reallocated<M: Machine>(mm: &Mm<M>, result: Result<Vaddr, ReallocError>) -> Answer {
    match result {
        Ok(addr) => memory(mm, addr, None),
        Err(ReallocError::Alloc(error)) => refused(error),
        Err(ReallocError::Free(fault)) => bad_free(fault),
    }
}

fn converted(result: Result<Answer, ConvertFault>) -> Answer {
    result.unwrap_or_else(|fault| Answer::WrongKind(fault.right.map(ConvertCall::name)))
}

/// The page whose first byte is at an address of the direct map.
fn page_at<M: Machine>(mm: &Mm<M>, addr: u64) -> Option<Pfn> {
    mm.virt_to_page(Vaddr(addr)).ok().filter(|_| addr.is_multiple_of(PAGE_SIZE))
}

/// What allocates: the call of `Mm` by the same name.
macro_rules! allocates {
    ($($name:ident($($arg:ident: $type:ty),*) => |$mm:ident| $call:expr;)*) => {
        $(fn $name(&mut self, $($arg: $type),*) -> Answer {
            let $mm = self.mm_mut();
            let result = $call;
            granted(self.mm(), result)
        })*
    };
}

/// What allocates by the route of the request.
macro_rules! routes {
    ($($name:ident($($arg:ident: $type:ty),*) => |$mm:ident, $route:ident| $call:expr;)*) => {
        $(fn $name(&mut self, $($arg: $type),*) -> Answer {
            let $route = side(self.route);
            let $mm = self.mm_mut();
            let result = $call;
            granted(self.mm(), result)
        })*
    };
}

/// What frees.
macro_rules! frees {
    ($($name:ident($($arg:ident: $type:ty),*) => |$mm:ident| $call:expr;)*) => {
        $(fn $name(&mut self, $($arg: $type),*) -> Answer {
            let $mm = self.mm_mut();
            freed($call)
        })*
    };
}

impl<M: Machine> Calls for AllocCore<M> {
    type Answer = Answer;

    allocates! {
        alloc_pages(gfp: Gfp, order: u32) => |mm| mm.alloc_pages(flags(gfp), order).map(Pfn::to_virt);
        alloc_pages_node(nid: Option<u8>, gfp: Gfp, order: u32) =>
            |mm| mm.alloc_pages_node(nid, flags(gfp), order).map(Pfn::to_virt);
        __get_free_pages(gfp: Gfp, order: u32) => |mm| mm.__get_free_pages(flags(gfp), order);
        __get_free_page(gfp: Gfp) => |mm| mm.__get_free_page(flags(gfp));
        get_zeroed_page(gfp: Gfp) => |mm| mm.get_zeroed_page(flags(gfp));
        alloc_pages_exact(size: u64, gfp: Gfp) => |mm| mm.alloc_pages_exact(size, flags(gfp));
        kmalloc(size: u64, gfp: Gfp) => |mm| mm.kmalloc(size, flags(gfp));
        kzalloc(size: u64, gfp: Gfp) => |mm| mm.kzalloc(size, flags(gfp));
        kmalloc_node(size: u64, gfp: Gfp, node: Option<u8>) =>
            |mm| mm.kmalloc_node(size, flags(gfp), node);
        kmalloc_nolock(size: u64, gfp: Gfp, node: Option<u8>) =>
            |mm| mm.kmalloc_nolock(size, flags(gfp), node);
        kmalloc_array(n: u64, size: u64, gfp: Gfp) => |mm| mm.kmalloc_array(n, size, flags(gfp));
        kcalloc(n: u64, size: u64, gfp: Gfp) => |mm| mm.kcalloc(n, size, flags(gfp));
        kmem_cache_alloc(cache: CacheHandle, gfp: Gfp) =>
            |mm| mm.kmem_cache_alloc(id(cache), flags(gfp));
        kmem_cache_zalloc(cache: CacheHandle, gfp: Gfp) =>
            |mm| mm.kmem_cache_zalloc(id(cache), flags(gfp));
        kmem_cache_alloc_node(cache: CacheHandle, gfp: Gfp, node: Option<u8>) =>
            |mm| mm.kmem_cache_alloc_node(id(cache), flags(gfp), node);
        vmalloc(size: u64) => |mm| mm.vmalloc(size);
        vzalloc(size: u64) => |mm| mm.vzalloc(size);
        vmalloc_node(size: u64, node: Option<u8>) => |mm| mm.vmalloc_node(size, node);
        __vmalloc(size: u64, gfp: Gfp) => |mm| mm.__vmalloc(size, flags(gfp));
        vmalloc_huge(size: u64, gfp: Gfp) => |mm| mm.vmalloc_huge(size, flags(gfp));
    }

    routes! {
        kvmalloc(size: u64, gfp: Gfp) => |mm, route| mm.kvmalloc(size, flags(gfp), route);
        kvzalloc(size: u64, gfp: Gfp) => |mm, route| mm.kvzalloc(size, flags(gfp), route);
        kvmalloc_node(size: u64, gfp: Gfp, node: Option<u8>) =>
            |mm, route| mm.kvmalloc_node(size, flags(gfp), node, route);
        kvzalloc_node(size: u64, gfp: Gfp, node: Option<u8>) =>
            |mm, route| mm.kvzalloc_node(size, flags(gfp), node, route);
        kvmalloc_array(n: u64, size: u64, gfp: Gfp) =>
            |mm, route| mm.kvmalloc_array(n, size, flags(gfp), route);
        kvcalloc(n: u64, size: u64, gfp: Gfp) =>
            |mm, route| mm.kvcalloc(n, size, flags(gfp), route);
    }

    frees! {
        free_pages(addr: u64, order: u32) => |mm| mm.free_pages(Vaddr(addr), order);
        free_page(addr: u64) => |mm| mm.free_page(Vaddr(addr));
        free_pages_exact(addr: u64, size: u64) => |mm| mm.free_pages_exact(Vaddr(addr), size);
        dma_free_coherent(addr: u64, size: u64) => |mm| mm.dma_free_coherent(Vaddr(addr), size);
        kfree(addr: u64) => |mm| mm.kfree(Vaddr(addr));
        kfree_nolock(addr: u64) => |mm| mm.kfree_nolock(Vaddr(addr));
        kfree_rcu(addr: u64, rhf: u64) => |mm| mm.kvfree_rcu(Vaddr(addr), rhf);
        kvfree_rcu(addr: u64, rhf: u64) => |mm| mm.kvfree_rcu(Vaddr(addr), rhf);
        kfree_sensitive(addr: u64) => |mm| mm.kfree_sensitive(Vaddr(addr));
        kmem_cache_free(cache: CacheHandle, addr: u64) =>
            |mm| mm.kmem_cache_free(id(cache), Vaddr(addr));
        vfree(addr: u64) => |mm| mm.vfree(Vaddr(addr));
        vfree_atomic(addr: u64) => |mm| mm.vfree_atomic(Vaddr(addr));
        vunmap(addr: u64) => |mm| mm.vunmap(Vaddr(addr));
        kvfree(addr: u64) => |mm| mm.kvfree(Vaddr(addr));
        kvfree_sensitive(addr: u64, len: u64) => |mm| mm.kvfree_sensitive(Vaddr(addr), len);
    }

    /// It takes a page; an address that is no page's has none to give.
    fn __free_pages(&mut self, page: u64, order: u32) -> Answer {
        let mm = self.mm_mut();
        freed(match page_at(mm, page) {
            Some(pfn) => mm.__free_pages(pfn, order),
            None => mm.free_pages(Vaddr(page), order),
        })
    }

    fn put_page(&mut self, page: u64) -> Answer {
        let mm = self.mm_mut();
        freed(match page_at(mm, page) {
            Some(pfn) => mm.put_page(pfn),
            None => Err(mm.refusal(Vaddr(page), FreeCall::PutPage)),
        })
    }

    fn dma_alloc_coherent(&mut self, size: u64, gfp: Gfp) -> Answer {
        let coherent = self.mm_mut().dma_alloc_coherent(size, flags(gfp));
        coherent.map_or_else(refused, |at| memory(self.mm(), at.addr, Some(at.bus.0)))
    }

    fn krealloc(&mut self, addr: u64, size: u64, gfp: Gfp) -> Answer {
        let result = self.mm_mut().krealloc(Vaddr(addr), size, flags(gfp));
        reallocated(self.mm(), result)
    }

    fn kvrealloc(&mut self, addr: u64, old_size: u64, size: u64, gfp: Gfp) -> Answer {
        let route = side(self.route);
        let result = self.mm_mut().kvrealloc(Vaddr(addr), old_size, size, flags(gfp), route);
        reallocated(self.mm(), result)
    }

    fn vrealloc(&mut self, addr: u64, size: u64, gfp: Gfp) -> Answer {
        let result = self.mm_mut().vrealloc(Vaddr(addr), size, flags(gfp));
        reallocated(self.mm(), result)
    }

    fn ksize(&mut self, addr: u64) -> Answer {
        self.mm().ksize(Vaddr(addr)).map_or_else(bad_free, Answer::Size)
    }

    fn kmem_cache_create(
        &mut self,
        size: u64,
        align: u64,
        flags: SlabFlags,
        ctor: Option<u64>,
    ) -> Answer {
        let mm = self.mm_mut();
        let result = mm.kmem_cache_create(size, align, cache_flags(flags), ctor.map(Ctor));
        result.map_or_else(refused, |cache| Answer::Cache(CacheHandle(cache.to_raw())))
    }

    fn kmem_cache_alloc_bulk(&mut self, cache: CacheHandle, gfp: Gfp, size: u64) -> Answer {
        let mut objects = [Vaddr::NULL; MAX_LIST];
        let objects = &mut objects[..(size as usize).min(MAX_LIST)];
        match self.mm_mut().kmem_cache_alloc_bulk(id(cache), flags(gfp), objects) {
            Ok(()) => several(self.mm(), objects),
            Err(error) => refused(error),
        }
    }

    fn kmem_cache_free_bulk(&mut self, cache: CacheHandle, p: List) -> Answer {
        let objects: Vec<Vaddr> = p.iter().map(|addr| Vaddr(*addr)).collect();
        freed(self.mm_mut().kmem_cache_free_bulk(id(cache), &objects))
    }

    fn kmem_cache_destroy(&mut self, cache: CacheHandle) -> Answer {
        match self.mm_mut().kmem_cache_destroy(id(cache)) {
            Ok(()) => Answer::Done,
            Err(DestroyError::Busy(nr_objects)) => Answer::Busy(nr_objects.into()),
            Err(DestroyError::BadContext) => Answer::Refused(Refusal::BadContext),
            Err(DestroyError::NoSuchCache) => Answer::Refused(Refusal::BadArgument),
        }
    }

    fn __vmalloc_node_range(
        &mut self,
        size: u64,
        align: u64,
        start: u64,
        end: u64,
        gfp: Gfp,
    ) -> Answer {
        let at = |offset| Vaddr(VMALLOC_START.saturating_add(offset));
        let (start, end, gfp) = (at(start), at(end), flags(gfp));
        let result =
            self.mm_mut().__vmalloc_node_range(VmallocRange { size, align, start, end, gfp });
        granted(self.mm(), result)
    }

    fn vm_unmap_aliases(&mut self) -> Answer {
        done(self.mm_mut().vm_unmap_aliases())
    }

    fn is_vmalloc_addr(&mut self, addr: u64) -> Answer {
        Answer::Flag(self.mm().is_vmalloc_addr(Vaddr(addr)))
    }

    fn virt_addr_valid(&mut self, addr: u64) -> Answer {
        Answer::Flag(self.mm().virt_addr_valid(Vaddr(addr)))
    }

    fn virt_to_page(&mut self, addr: u64) -> Answer {
        converted(self.mm().virt_to_page(Vaddr(addr)).map(|page| Answer::Frame(page.0)))
    }

    /// A trace has no pages, so it names one by an address that shows it.
    fn page_address(&mut self, page: u64) -> Answer {
        let page = self.mm().vmalloc_to_page(Vaddr(page)).unwrap_or(Pfn(u32::MAX));
        converted(self.mm().page_address(page).map(|addr| Answer::Address(addr.0)))
    }

    fn virt_to_phys(&mut self, addr: u64) -> Answer {
        converted(self.mm().virt_to_phys(Vaddr(addr)).map(|at| Answer::Phys(at.0)))
    }

    fn vmalloc_to_page(&mut self, addr: u64) -> Answer {
        converted(self.mm().vmalloc_to_page(Vaddr(addr)).map(|page| Answer::Frame(page.0)))
    }

    /// A trace names a page by an address that shows it, and holds it by that of the direct map.
    fn get_page(&mut self, page: u64) -> Answer {
        let page = self.mm_mut().get_page(Vaddr(page));
        page.map_or(Answer::WrongKind(None), |page| Answer::Address(page.to_virt().0))
    }

    fn memalloc_nofs_save(&mut self) -> Answer {
        scoped(self.mm_mut().memalloc_save(Scope::Nofs))
    }

    fn memalloc_nofs_restore(&mut self) -> Answer {
        scoped(self.mm_mut().memalloc_restore(Scope::Nofs))
    }

    fn memalloc_noio_save(&mut self) -> Answer {
        scoped(self.mm_mut().memalloc_save(Scope::Noio))
    }

    fn memalloc_noio_restore(&mut self) -> Answer {
        scoped(self.mm_mut().memalloc_restore(Scope::Noio))
    }

    fn tick(&mut self) -> Answer {
        self.mm_mut().tick();
        Answer::Done
    }

    /// What it takes to drop the pages is named by flags, the file system's before the disk's.
    fn add_to_page_cache(&mut self, nr_pages: u64, needs: Gfp) -> Answer {
        let needs = flags(needs);
        let kind = match () {
            () if needs.has(__GFP_FS) => PageCacheKind::Filesystem,
            () if needs.has(__GFP_IO) => PageCacheKind::Dirty,
            () => PageCacheKind::Clean,
        };
        done(self.mm_mut().add_to_page_cache(count(nr_pages), kind))
    }

    fn start_process(&mut self, nr_pages: u64) -> Answer {
        done(self.mm_mut().start_process(count(nr_pages)))
    }

    fn drop_caches(&mut self) -> Answer {
        self.mm_mut().drop_caches();
        Answer::Done
    }

    fn memblock_alloc(&mut self, size: u64, align: u64) -> Answer {
        self.early().map_or_else(too_late, |early| early::alloc(early, size, align))
    }

    fn memblock_reserve(&mut self, base: u64, size: u64) -> Answer {
        self.early().map_or_else(too_late, |early| early::reserve(early, base, size))
    }

    fn memblock_phys_free(&mut self, base: u64, size: u64) -> Answer {
        self.memblock_free(base, size)
    }

    fn memblock_free(&mut self, addr: u64, size: u64) -> Answer {
        self.early().map_or_else(too_late, |early| early::free(early, addr, size))
    }
}

fn too_late() -> Answer {
    Answer::Refused(Refusal::TooLate)
}
