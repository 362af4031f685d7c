//! kvmalloc: contiguous memory if that is easy, mapped memory otherwise (R5).
//!
//! The one idea: the caller must not care which it got, so which it gets may be chosen. [`Route`]
//! makes that choice an argument: the kernel's own policy, or either side wherever that side
//! could ever serve the call (seeds/lwn-kvmalloc-2017.txt).

use crate::addr::{PAGE_SIZE, Vaddr};
use crate::error::{AllocError, Impossible};
use crate::gfp::{__GFP_NOFAIL, __GFP_NORETRY, __GFP_NOWARN, __GFP_RETRY_MAYFAIL, Gfp};
use crate::kmem_cache::KMALLOC_MAX_SIZE;
use crate::memory::Memory;
use crate::slab::Refused;
use crate::vmalloc::Vmalloc;

/// Larger requests are mistakes, and refused (R5.1).
const INT_MAX: u64 = i32::MAX as u64;

/// Which side serves a kvmalloc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Route {
    /// Linux 6.1's policy: the slab side first, then vmalloc for more than a page (R5.1).
    #[default]
    Policy,
    /// The slab side only, without the fallback; the policy where slab can never serve the size.
    Slab,
    /// The vmalloc side at once; the policy where the caller may not use vmalloc.
    Vmalloc,
}

/// kvmalloc, which owns vmalloc.
#[derive(Debug)]
pub(crate) struct Kvmalloc<M> {
    pub(crate) vmalloc: Vmalloc<M>,
}

impl<M: Memory> Kvmalloc<M> {
    /// `kvmalloc`, by the given route.
    pub(crate) fn kvmalloc(
        &mut self,
        size: u64,
        gfp: Gfp,
        route: Route,
    ) -> Result<Vaddr, AllocError> {
        if size == 0 {
            return Ok(Vaddr::ZERO_SIZE_PTR);
        }
        AllocError::check_nofail(gfp)?;
        match route {
            Route::Slab if size <= KMALLOC_MAX_SIZE => self.vmalloc.kmalloc.kmalloc(size, gfp),
            Route::Vmalloc if gfp.may_block() && size <= INT_MAX => self.mapped(size, gfp),
            _ => self.by_policy(size, gfp),
        }
    }

    /// `kvfree`: the address tells the side (R5.6).
    pub(crate) fn kvfree(&mut self, addr: Vaddr) -> Result<(), Refused> {
        if self.vmalloc.vmap.contains(addr) {
            self.vmalloc.vfree(addr)
        } else {
            self.vmalloc.kmalloc.kfree(addr)
        }
    }

    /// Linux 6.1's procedure (R5.1).
    fn by_policy(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        let mut lightly = gfp;
        if size > PAGE_SIZE {
            lightly |= __GFP_NOWARN;
            if !gfp.has(__GFP_RETRY_MAYFAIL) {
                lightly |= __GFP_NORETRY;
            }
            lightly = lightly.without(__GFP_NOFAIL);
        }
        let error = match self.vmalloc.kmalloc.kmalloc(size, lightly) {
            Ok(addr) => return Ok(addr),
            Err(error) => error,
        };
        if size <= PAGE_SIZE || !gfp.may_block() {
            return Err(error);
        }
        if size > INT_MAX {
            return Err(AllocError::never(gfp, Impossible::TooLarge, AllocError::TooLarge));
        }
        self.mapped(size, gfp)
    }

    fn mapped(&mut self, size: u64, gfp: Gfp) -> Result<Vaddr, AllocError> {
        let range = self.vmalloc.anywhere(size, gfp);
        self.vmalloc.alloc(&range)
    }
}
