//! `rlsf`: two levels of free lists.

use kvroute_hosted::heap::{Growth, Heap};
use std::alloc::Layout;
use std::ptr::NonNull;

macro_rules! tlsf {
    ($(#[$doc:meta])* $name:ident $package:ident $empty:ident $($call:tt)?) => {
        $(#[$doc])*
        pub struct $name($package::Tlsf<'static, u32, u32, 28, 32>);

        impl Heap for $name {
            const REALLOC: bool = true;
            const GROWTH: Growth = Growth::ByRegions;

            unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
                let mut heap = Self($package::Tlsf::$empty $($call)?);
                // SAFETY: as the caller promises.
                unsafe { heap.extend(region) };
                Some(heap)
            }

            fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
                self.0.allocate(layout)
            }

            unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
                // SAFETY: as the caller promises.
                unsafe { self.0.deallocate(ptr, layout.align()) };
            }

            unsafe fn realloc(
                &mut self,
                ptr: NonNull<u8>,
                layout: Layout,
                new_size: usize,
            ) -> Option<NonNull<u8>> {
                let new = Layout::from_size_align(new_size, layout.align()).ok()?;
                // SAFETY: as the caller promises.
                unsafe { self.0.reallocate(ptr, new) }
            }

            unsafe fn extend(&mut self, piece: NonNull<[u8]>) {
                // SAFETY: the piece is the heap's for its life.
                unsafe { self.0.insert_free_block_ptr(piece) };
            }
        }
    };
}

tlsf!(
    /// 0.1.
    V0_1 rlsf_0_1 INIT
);
tlsf!(
    /// 0.2.
    V0_2 rlsf new ()
);
