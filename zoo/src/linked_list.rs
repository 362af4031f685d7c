//! `linked_list_allocator`: holes in a list, grown at its end.

use kvroute_hosted::heap::{GivesBack, Growth, Heap};
use std::alloc::Layout;
use std::ptr::NonNull;

/// A heap cannot be made of fewer bytes, which is documented.
const LEAST_BYTES: usize = 3 * size_of::<usize>();

macro_rules! linked_list {
    ($(#[$doc:meta])* $name:ident $package:ident $start:ty, $gives_back:ident) => {
        $(#[$doc])*
        pub struct $name($package::Heap);

        impl Heap for $name {
            const GIVES_BACK: GivesBack = GivesBack::$gives_back;
            const USED_BYTES: bool = true;
            const GROWTH: Growth = Growth::AtItsEnd;

            unsafe fn boot(region: NonNull<[u8]>) -> Option<Self> {
                if region.len() < LEAST_BYTES {
                    return None;
                }
                let mut heap = $package::Heap::empty();
                // SAFETY: the region is the heap's for its life.
                unsafe { heap.init(region.as_ptr().cast::<u8>() as $start, region.len()) };
                Some(Self(heap))
            }

            fn alloc(&mut self, layout: Layout) -> Option<NonNull<u8>> {
                self.0.allocate_first_fit(layout).ok()
            }

            unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
                // SAFETY: as the caller promises.
                unsafe { self.0.deallocate(ptr, layout) };
            }

            fn used_bytes(&self) -> usize {
                self.0.used()
            }

            unsafe fn extend(&mut self, piece: NonNull<[u8]>) {
                // 0.9 takes an extension by nothing for a hole that is freed twice.
                if !piece.is_empty() {
                    // SAFETY: the piece lies right behind the heap.
                    unsafe { self.0.extend(piece.len()) };
                }
            }
        }
    };
}

linked_list!(
    /// 0.9, whose places are numbers. It loses padding, which its bounds must not wait for.
    V0_9 linked_list_0_9 usize, Nothing
);
linked_list!(
    /// 0.10.
    V0_10 linked_list_allocator *mut u8, All
);
linked_list!(
    /// 0.10, and not asked whether it loses padding.
    Bounds0_10 linked_list_allocator *mut u8, Nothing
);
