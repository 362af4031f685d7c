//! From one kind of address to another: "I have this kind of address and I want that".
//!
//! The kernel's conversions compute and check nothing, so that on the wrong kind of address they
//! yield a wrong page (R7.1, R7.2). Here the address is looked up first: what it is and how it is
//! mapped decide whether a conversion applies, and one that does not is refused.
//!
//! Which conversion takes which address is data, in `guide`. Nothing here changes anything.

use crate::kmalloc::direct_phys;
use crate::kvmalloc::Kvmalloc;
use crate::memory::Memory;
use crate::words::addr::{PAGE_SHIFT, PAGE_SIZE, Paddr, Pfn, VMALLOC_START, Vaddr};
use crate::words::error::{AddrKind, ConvertCall, ConvertFault};
use crate::words::guide::{CONVERSIONS, Mapping};

impl<M: Memory> Kvmalloc<M> {
    /// `is_vmalloc_addr`: `VMALLOC_END` is the last byte of the space, and not included (R4.6).
    pub(crate) const fn is_vmalloc_addr(&self, addr: Vaddr) -> bool {
        let vmalloc_end = self.vmalloc.vmap.end().0 - 1;
        VMALLOC_START <= addr.0 && addr.0 < vmalloc_end
    }

    /// `virt_addr_valid`.
    pub(crate) fn virt_addr_valid(&self, addr: Vaddr) -> bool {
        matches!(self.look_up(addr), Some((Mapping::Direct, _)))
    }

    /// The frame that an address shows, if `called` is right for how the address is mapped.
    pub(crate) fn page_of(&self, addr: Vaddr, called: ConvertCall) -> Result<Pfn, ConvertFault> {
        let conversion = &CONVERSIONS[called as usize];
        let found = self.look_up(addr);
        match found {
            Some((mapping, pfn)) if conversion.takes(mapping) => Ok(pfn),
            _ => {
                let right = found.and(conversion.instead);
                Err(ConvertFault { addr, called, is: self.describe(addr).0, right })
            }
        }
    }

    /// `virt_to_phys`.
    pub(crate) fn virt_to_phys(&self, addr: Vaddr) -> Result<Paddr, ConvertFault> {
        let pfn = self.page_of(addr, ConvertCall::VirtToPhys)?;
        Ok(Paddr(pfn.to_phys().0 + addr.0 % PAGE_SIZE))
    }

    /// `page_address`: of a vmalloc page it is the address in the direct map as well.
    pub(crate) fn page_address(&self, pfn: Pfn) -> Result<Vaddr, ConvertFault> {
        let addr = pfn.to_virt();
        self.page_of(addr, ConvertCall::PageAddress).map(|_| addr)
    }

    /// The page behind an address to which `get_page` may take a reference: a page of an area, the
    /// first of a block, and of a compound one the first for all; and by its address in the direct
    /// map a page of an area to which there is a reference already (R3.13).
    pub(crate) fn counted_page(&self, addr: Vaddr) -> Result<Pfn, AddrKind> {
        let (is, live) = self.describe(addr);
        let page = self.page_of(addr, ConvertCall::VmallocToPage).map_err(|_| is)?;
        let pages = &self.vmalloc.kmalloc.slab.pages;
        match (is, live) {
            (AddrKind::Vmalloc, _) => Ok(page),
            (AddrKind::Pages, Some(live)) => {
                let first = self.page_of(live.start, ConvertCall::VirtToPage).map_err(|_| is)?;
                if page == first || live.is_compound { Ok(first) } else { Err(is) }
            }
            _ if !self.vmalloc.vmap.contains(addr) && pages.is_shared(page) => Ok(page),
            _ => Err(is),
        }
    }

    /// How an address is mapped, and the frame that it shows; `None` where nothing is mapped.
    fn look_up(&self, addr: Vaddr) -> Option<(Mapping, Pfn)> {
        let memory = self.vmalloc.memory();
        if self.vmalloc.vmap.contains(addr) {
            let page = Vaddr(addr.0 - addr.0 % PAGE_SIZE);
            return memory.translate(page).map(|pfn| (Mapping::Vmalloc, pfn));
        }
        let frame = direct_phys(addr)?.0 >> PAGE_SHIFT;
        let is_frame = frame < u64::from(memory.nr_frames());
        is_frame.then_some((Mapping::Direct, Pfn(frame as u32)))
    }
}
