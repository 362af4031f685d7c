//! The kernel's allocators for code that takes one as a parameter, in the sense of
//! `allocator-api2`.
//!
//! Two versions of that crate are in use, and what is written for one does not take an allocator of
//! the other: each is a feature, and the types are the same. Memory is asked for with `GFP_KERNEL`.
#![expect(unsafe_code, reason = "the trait is unsafe to implement")]

use super::allocator::{Allocator, KVmalloc, Kmalloc, Vmalloc};
use kvroute_harness::words::gfp::GFP_KERNEL;
use std::alloc::Layout;
use std::ptr::NonNull;

/// Allocators of the kernel's as allocators of a version of the crate.
macro_rules! implement {
    ($version:ident: $($allocator:ty)*) => { $(
        // SAFETY: memory stays where it is until it is freed, whichever copy of the type frees it.
        unsafe impl $version::alloc::Allocator for $allocator {
            #[track_caller]
            fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, $version::alloc::AllocError> {
                let memory = <Self as Allocator>::alloc(layout, GFP_KERNEL, None);
                memory.map_err(|_| $version::alloc::AllocError)
            }

            #[track_caller]
            unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
                // SAFETY: what is asked of this one's caller.
                unsafe { <Self as Allocator>::free(ptr, layout) }
            }

            #[track_caller]
            unsafe fn grow(
                &self,
                ptr: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $version::alloc::AllocError> {
                // SAFETY: what is asked of this one's caller.
                let memory = unsafe { <Self as Allocator>::realloc(ptr, new, old, GFP_KERNEL) };
                memory.map_err(|_| $version::alloc::AllocError)
            }

            #[track_caller]
            unsafe fn shrink(
                &self,
                ptr: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $version::alloc::AllocError> {
                // SAFETY: what is asked of this one's caller.
                unsafe { $version::alloc::Allocator::grow(self, ptr, old, new) }
            }
        }
    )* };
}

#[cfg(feature = "allocator-api2")]
implement!(allocator_api2: Kmalloc Vmalloc KVmalloc);

#[cfg(feature = "allocator-api2-02")]
implement!(allocator_api2_02: Kmalloc Vmalloc KVmalloc);
