//! Allocators as Rust code knows them: a trait without a receiver, as kernel code in Rust has it,
//! and the standard library's.
//!
//! A layout is part of what an allocation is: it must be the same when the memory is freed, or
//! grown, and a caller that says another is wrong.
#![expect(unsafe_code, reason = "the traits of allocators are unsafe to implement and to call")]

use super::current;
use super::kernel::memory;
use kvroute_harness::call::{Request, ask};
use kvroute_harness::caller::{NoMemory, Rule, Source};
use kvroute_harness::words::gfp::{__GFP_NOFAIL, GFP_KERNEL};
use kvroute_harness::words::{Gfp, PAGE};
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::Location;
use std::ptr::{self, NonNull};

/// What all memory of kmalloc is aligned to (`ARCH_KMALLOC_MINALIGN`).
pub const MIN_ALIGN: usize = 8;

/// An allocator of the kernel's, of the shape that kernel code in Rust uses: a type, and no value.
///
/// # Safety
/// Memory that is given has the layout that was asked for and is nobody else's until it is freed.
pub unsafe trait Allocator {
    /// What its memory is aligned to at least.
    const MIN_ALIGN: usize;

    /// Memory of a layout, from a node if one is named.
    ///
    /// # Errors
    /// There is none.
    #[track_caller]
    fn alloc(layout: Layout, flags: Gfp, node: Option<u8>) -> Result<NonNull<[u8]>, NoMemory>;

    /// Makes memory larger or smaller; it may move, and does if an allocator knows no better.
    ///
    /// # Errors
    /// There is none, and the old memory is as it was.
    ///
    /// # Safety
    /// `ptr` is memory of this allocator's with the layout `old`. A caller under test may break
    /// this where its pointer is live or was; that is what is judged.
    #[track_caller]
    unsafe fn realloc(
        ptr: NonNull<u8>,
        layout: Layout,
        old: Layout,
        flags: Gfp,
    ) -> Result<NonNull<[u8]>, NoMemory>
    where
        Self: Sized,
    {
        // SAFETY: what is asked of this one's caller.
        unsafe { moved::<Self>(ptr, layout, old, flags) }
    }

    /// Frees memory.
    ///
    /// # Safety
    /// As for [`realloc`](Self::realloc).
    #[track_caller]
    unsafe fn free(ptr: NonNull<u8>, layout: Layout);
}

/// kmalloc: physically contiguous memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kmalloc;

/// vmalloc: pages that are mapped one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vmalloc;

/// kvmalloc: either.
#[derive(Clone, Copy, Debug, Default)]
pub struct KVmalloc;

/// The bytes to ask kmalloc for, so that they are aligned: a power of two is aligned to itself, and
/// no other size to more than [`MIN_ALIGN`].
fn size_for(layout: Layout) -> u64 {
    let size = layout.size();
    let is_aligned = layout.align() <= MIN_ALIGN;
    let size = if is_aligned { size } else { size.max(layout.align()).next_power_of_two() };
    size as u64
}

/// Memory that a request is given, remembered with its layout. Nothing is asked for no bytes.
#[track_caller]
fn asked(layout: Layout, request: Request) -> Result<NonNull<[u8]>, NoMemory> {
    if layout.size() == 0 {
        let nowhere = ptr::without_provenance_mut(layout.align());
        let nowhere = NonNull::new(nowhere).ok_or(NoMemory)?;
        return Ok(NonNull::slice_from_raw_parts(nowhere, 0));
    }
    let first = memory(current::call(request, Source::from(Location::caller())))?;
    current::remember(first.as_ptr() as u64, layout);
    Ok(NonNull::slice_from_raw_parts(first, layout.size()))
}

/// Objects to a layout that is not the one with which memory was asked for.
fn check(ptr: NonNull<u8>, layout: Layout, what: &str) {
    let here = ptr.as_ptr() as u64;
    let is_wrong = |of: &Layout| *of != layout;
    if let Some(of) = current::layout_of(here).filter(is_wrong) {
        let says = || {
            format!(
                "it {what} memory as {} bytes aligned to {}; it asked for {} aligned to {}",
                layout.size(),
                layout.align(),
                of.size(),
                of.align()
            )
        };
        current::blame(Rule::Arguments, says, here);
    }
}

/// Frees memory that was remembered with its layout.
#[track_caller]
fn freed(ptr: NonNull<u8>, layout: Layout, request: fn(u64) -> Request) {
    if layout.size() > 0 {
        check(ptr, layout, "frees");
        let _ = current::call(request(ptr.as_ptr() as u64), Source::from(Location::caller()));
    }
}

/// Has memory replaced by another that a request gives.
#[track_caller]
fn replaced(
    ptr: NonNull<u8>,
    (layout, old): (Layout, Layout),
    request: Request,
) -> Result<NonNull<[u8]>, NoMemory> {
    check(ptr, old, "grows");
    asked(layout, request)
}

// SAFETY: alloc-core gives memory that is nobody else's, of a size that is aligned as asked.
unsafe impl Allocator for Kmalloc {
    const MIN_ALIGN: usize = MIN_ALIGN;

    #[track_caller]
    fn alloc(layout: Layout, flags: Gfp, node: Option<u8>) -> Result<NonNull<[u8]>, NoMemory> {
        asked(layout, ask::kmalloc_node(size_for(layout), flags, node))
    }

    #[track_caller]
    unsafe fn realloc(
        ptr: NonNull<u8>,
        layout: Layout,
        old: Layout,
        flags: Gfp,
    ) -> Result<NonNull<[u8]>, NoMemory> {
        // What krealloc leaves in place is aligned as it was.
        if layout.size() == 0 || old.size() == 0 || layout.align() > old.align() {
            // SAFETY: what is asked of this one's caller.
            return unsafe { moved::<Self>(ptr, layout, old, flags) };
        }
        let request = ask::krealloc(ptr.as_ptr() as u64, size_for(layout), flags);
        replaced(ptr, (layout, old), request)
    }

    #[track_caller]
    unsafe fn free(ptr: NonNull<u8>, layout: Layout) {
        freed(ptr, layout, ask::kfree);
    }
}

// SAFETY: as above, of whole pages.
unsafe impl Allocator for Vmalloc {
    const MIN_ALIGN: usize = PAGE as usize;

    #[track_caller]
    fn alloc(layout: Layout, flags: Gfp, _node: Option<u8>) -> Result<NonNull<[u8]>, NoMemory> {
        if layout.align() as u64 > PAGE {
            return Err(NoMemory);
        }
        // The call that takes a node takes no flags, and a node is a wish only.
        asked(layout, ask::__vmalloc(layout.size() as u64, flags))
    }

    #[track_caller]
    unsafe fn free(ptr: NonNull<u8>, layout: Layout) {
        freed(ptr, layout, ask::vfree);
    }
}

// SAFETY: as above, of either.
unsafe impl Allocator for KVmalloc {
    const MIN_ALIGN: usize = MIN_ALIGN;

    #[track_caller]
    fn alloc(layout: Layout, flags: Gfp, node: Option<u8>) -> Result<NonNull<[u8]>, NoMemory> {
        if layout.align() as u64 > PAGE {
            return Err(NoMemory);
        }
        asked(layout, ask::kvmalloc_node(size_for(layout), flags, node))
    }

    #[track_caller]
    unsafe fn free(ptr: NonNull<u8>, layout: Layout) {
        freed(ptr, layout, ask::kvfree);
    }
}

/// Memory of another layout with what the old had, which is freed.
///
/// # Safety
/// As for [`Allocator::realloc`].
#[track_caller]
unsafe fn moved<A: Allocator>(
    ptr: NonNull<u8>,
    layout: Layout,
    old: Layout,
    flags: Gfp,
) -> Result<NonNull<[u8]>, NoMemory> {
    if old.size() > 0 {
        check(ptr, old, "grows");
    }
    let new = A::alloc(layout, flags, None)?;
    let nr_kept = old.size().min(layout.size());
    // SAFETY: both are live, have so many bytes, and are not the same memory.
    unsafe { ptr::copy_nonoverlapping(ptr.as_ptr(), new.cast().as_ptr(), nr_kept) };
    // SAFETY: what is asked of this one's caller.
    unsafe { A::free(ptr, old) };
    Ok(new)
}

/// The global allocator of a program whose code is a caller: kvmalloc while a run is going on in
/// the thread, and the system's else.
///
/// Collections of the standard library end the process when they are given no memory, so what they
/// ask for must not fail. What a caller makes once and keeps for ever counts as a leak of the run
/// in which it did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Global;

// SAFETY: each piece of memory goes back to where it came from, which its address says.
unsafe impl GlobalAlloc for Global {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !current::is_caller() {
            // SAFETY: what is asked of this one's caller.
            return unsafe { System.alloc(layout) };
        }
        let flags = GFP_KERNEL | __GFP_NOFAIL;
        let memory = KVmalloc::alloc(layout, flags, None);
        memory.map_or(ptr::null_mut(), |memory| memory.cast().as_ptr())
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if !current::is_machine(ptr as u64) {
            // SAFETY: what is asked of this one's caller.
            return unsafe { System.dealloc(ptr, layout) };
        }
        // What outlives its run has gone with its machine.
        if let (true, Some(ptr)) = (current::is_caller(), NonNull::new(ptr)) {
            // SAFETY: what is asked of this one's caller.
            unsafe { KVmalloc::free(ptr, layout) };
        }
    }
}
