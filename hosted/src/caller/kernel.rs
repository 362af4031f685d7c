//! The handle that a caller in Rust is given: calls under their C names, and real pointers.

use super::current;
use kvroute_harness::call::ask;
use kvroute_harness::caller::{NoMemory, Source};
use kvroute_harness::subject::Answer;
use kvroute_harness::words::{CacheHandle, Context, Gfp, SlabFlags};
use std::marker::PhantomData;
use std::panic::Location;
use std::ptr::NonNull;

/// The kernel that a caller runs in. It belongs to one run, and so to one thread.
#[derive(Debug)]
pub struct Kernel(PhantomData<*const ()>);

/// Memory, or none.
pub(super) fn memory(answer: Answer) -> Result<NonNull<u8>, NoMemory> {
    let granted = answer.granted().first().copied();
    granted.and_then(|here| NonNull::new(here as *mut u8)).ok_or(NoMemory)
}

/// The place in the caller's source that calls.
#[track_caller]
fn here() -> Source {
    Source::from(Location::caller())
}

fn number(pointer: *mut u8) -> u64 {
    pointer as u64
}

/// What makes memory.
macro_rules! makes {
    ($($name:ident($($arg:ident: $type:ty),*) => $request:expr;)*) => {
        /// The calls that make memory, under their C names.
        #[expect(missing_docs, reason = "each is a row of the table of calls")]
        #[expect(clippy::missing_errors_doc, reason = "each fails as in C, with no memory")]
        impl Kernel {
            $(#[track_caller]
            pub fn $name(&self, $($arg: $type),*) -> Result<NonNull<u8>, NoMemory> {
                memory(current::call($request, here()))
            })*
        }
    };
}

/// What gives nothing.
macro_rules! does {
    ($($name:ident($($arg:ident: $type:ty),*) => $request:expr;)*) => {
        /// The calls that free memory, and those about scopes, under their C names.
        #[expect(missing_docs, reason = "each is a row of the table of calls")]
        impl Kernel {
            $(#[track_caller]
            pub fn $name(&self, $($arg: $type),*) {
                let _ = current::call($request, here());
            })*
        }
    };
}

makes! {
    kmalloc(size: u64, flags: Gfp) => ask::kmalloc(size, flags);
    kzalloc(size: u64, flags: Gfp) => ask::kzalloc(size, flags);
    kmalloc_array(n: u64, size: u64, flags: Gfp) => ask::kmalloc_array(n, size, flags);
    kcalloc(n: u64, size: u64, flags: Gfp) => ask::kcalloc(n, size, flags);
    krealloc(ptr: *mut u8, size: u64, flags: Gfp) => ask::krealloc(number(ptr), size, flags);
    vmalloc(size: u64) => ask::vmalloc(size);
    vzalloc(size: u64) => ask::vzalloc(size);
    __vmalloc(size: u64, flags: Gfp) => ask::__vmalloc(size, flags);
    kvmalloc(size: u64, flags: Gfp) => ask::kvmalloc(size, flags);
    kvzalloc(size: u64, flags: Gfp) => ask::kvzalloc(size, flags);
    kvmalloc_array(n: u64, size: u64, flags: Gfp) => ask::kvmalloc_array(n, size, flags);
    kvcalloc(n: u64, size: u64, flags: Gfp) => ask::kvcalloc(n, size, flags);
    kvrealloc(ptr: *mut u8, old: u64, size: u64, flags: Gfp) =>
        ask::kvrealloc(number(ptr), old, size, flags);
    kmem_cache_alloc(cache: CacheHandle, flags: Gfp) => ask::kmem_cache_alloc(cache, flags);
    kmem_cache_zalloc(cache: CacheHandle, flags: Gfp) => ask::kmem_cache_zalloc(cache, flags);
    __get_free_pages(flags: Gfp, order: u32) => ask::__get_free_pages(flags, order);
}

does! {
    kfree(ptr: *mut u8) => ask::kfree(number(ptr));
    kfree_sensitive(ptr: *mut u8) => ask::kfree_sensitive(number(ptr));
    vfree(ptr: *mut u8) => ask::vfree(number(ptr));
    kvfree(ptr: *mut u8) => ask::kvfree(number(ptr));
    kvfree_sensitive(ptr: *mut u8, len: u64) => ask::kvfree_sensitive(number(ptr), len);
    kfree_rcu(ptr: *mut u8, rhf: u64) => ask::kfree_rcu(number(ptr), rhf);
    kvfree_rcu(ptr: *mut u8, rhf: u64) => ask::kvfree_rcu(number(ptr), rhf);
    tick() => ask::tick();
    kmem_cache_free(cache: CacheHandle, ptr: *mut u8) =>
        ask::kmem_cache_free(cache, number(ptr));
    kmem_cache_destroy(cache: CacheHandle) => ask::kmem_cache_destroy(cache);
    free_pages(ptr: *mut u8, order: u32) => ask::free_pages(number(ptr), order);
    memalloc_nofs_save() => ask::memalloc_nofs_save();
    memalloc_nofs_restore() => ask::memalloc_nofs_restore();
    memalloc_noio_save() => ask::memalloc_noio_save();
    memalloc_noio_restore() => ask::memalloc_noio_restore();
}

impl Kernel {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }

    /// Makes a cache of objects.
    ///
    /// # Errors
    /// As in C.
    #[track_caller]
    pub fn kmem_cache_create(
        &self,
        size: u64,
        align: u64,
        flags: SlabFlags,
    ) -> Result<CacheHandle, NoMemory> {
        match current::call(ask::kmem_cache_create(size, align, flags, None), here()) {
            Answer::Cache(cache) => Ok(cache),
            _ => Err(NoMemory),
        }
    }

    /// How many bytes the object has that memory of kmalloc lies in.
    #[track_caller]
    pub fn ksize(&self, ptr: *mut u8) -> u64 {
        match current::call(ask::ksize(number(ptr)), here()) {
            Answer::Size(size) => size,
            _ => 0,
        }
    }

    /// Whether an address is one of vmalloc's.
    #[track_caller]
    pub fn is_vmalloc_addr(&self, ptr: *mut u8) -> bool {
        current::call(ask::is_vmalloc_addr(number(ptr)), here()) == Answer::Flag(true)
    }

    /// The number of the frame behind an address of the direct map.
    #[track_caller]
    pub fn virt_to_page(&self, ptr: *mut u8) -> u32 {
        match current::call(ask::virt_to_page(number(ptr)), here()) {
            Answer::Frame(frame) => frame,
            _ => 0,
        }
    }

    /// Runs a part of the caller in a context: under a spinlock, in an interrupt.
    pub fn in_context<T>(&self, context: Context, part: impl FnOnce() -> T) -> T {
        let before = current::enter(context);
        let result = part();
        current::enter(before);
        result
    }
}
