//! Coherent memory: blocks that a device sees as the processor does (R7.3).
//!
//! Coherent memory has two addresses, and neither follows from the other. The caller gets both from
//! one call: the virtual one for itself, the bus address for the device.
//!
//! There is one device with one window on all of memory, no IOMMU and no bounce buffer, so the
//! block is contiguous on both sides.

use crate::frames::frame::FrameState;
use crate::memory::Memory;
use crate::pages::allocator::PageAllocator;
use crate::words::addr::{DmaAddr, Paddr, Vaddr, order_for};
use crate::words::error::AllocError;
use crate::words::gfp::{__GFP_ZERO, Gfp};

/// The two addresses of coherent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coherent {
    /// Where the processor sees it.
    pub addr: Vaddr,
    /// Where the device sees it.
    pub bus: DmaAddr,
}

impl<M: Memory> PageAllocator<M> {
    /// `dma_alloc_coherent`: memory of `size` bytes, aligned to its order, that reads as zero
    /// whatever the flags say (`dma_direct_alloc`).
    pub(crate) fn dma_alloc(&mut self, size: u64, gfp: Gfp) -> Result<Coherent, AllocError> {
        let (pfn, _) = self.alloc_sized(size, gfp | __GFP_ZERO, FrameState::DmaCoherent)?;
        Ok(Coherent { addr: pfn.to_virt(), bus: pfn.to_phys().to_dma() })
    }

    /// `dma_free_coherent`: gives a block back; `false`, and nothing has changed, if none of this
    /// size's order begins at `at`.
    pub(crate) fn dma_free(&mut self, at: Paddr, size: u64) -> bool {
        let Some((pfn, frame)) = self.map.head_of(&self.memory, at) else { return false };
        let is_block = frame.state == FrameState::DmaCoherent
            && pfn.to_phys() == at
            && size != 0
            && order_for(size) == u32::from(frame.order);
        if is_block {
            self.free_block(pfn);
        }
        is_block
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::pages::allocator::test::boot;
    use crate::words::addr::{DMA_OFFSET, PAGE_OFFSET, PAGE_SIZE};
    use crate::words::gfp::GFP_KERNEL;

    #[test]
    fn coherent_memory_is_zero_and_has_two_addresses() {
        let mut pages = boot(256, 0, 7);
        let Coherent { addr, bus } = pages.dma_alloc(3 * PAGE_SIZE, GFP_KERNEL).unwrap();
        let at = Paddr(addr.0 - PAGE_OFFSET);
        assert_eq!((at.0 % (4 * PAGE_SIZE), bus), (0, DmaAddr(at.0 + DMA_OFFSET)));
        let words = (at.0..at.0 + 3 * PAGE_SIZE).step_by(8);
        assert!(words.map(Paddr).all(|word| pages.memory.load(word) == 0));
        assert!(!pages.dma_free(at, 2 * PAGE_SIZE));
        assert!(!pages.dma_free(at, 0));
        assert!(pages.dma_free(at, 4 * PAGE_SIZE));
        pages.check().unwrap();
    }
}
