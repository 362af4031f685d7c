//! Conversions: what must come of asking what an address is, or for the page behind it.
//!
//! The one idea: the layout says how an address is mapped, and the machine's page table, which
//! the lane has looked at, says which frame it shows. From the two follows one right answer, and
//! for an address that a conversion does not apply to the refusal (R7).
//!
//! Nothing here looks at what is live: free memory of the direct map has pages as well.

use super::Model;
use crate::subject::{Answer, Request};
use crate::words::PAGE;

/// A call that converts, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// `is_vmalloc_addr`.
    IsVmalloc,
    /// `virt_addr_valid`.
    IsValid,
    /// `virt_to_page`.
    VirtToPage,
    /// `page_address`, of the page behind an address.
    PageAddress,
    /// `virt_to_phys`.
    VirtToPhys,
    /// `vmalloc_to_page`.
    VmallocToPage,
}

impl Conversion {
    /// The conversion that a request is, and the address it converts.
    pub fn of(request: &Request) -> Option<(Self, u64)> {
        Some(match *request {
            Request::IsVmallocAddr { addr } => (Conversion::IsVmalloc, addr),
            Request::VirtAddrValid { addr } => (Conversion::IsValid, addr),
            Request::VirtToPage { addr } => (Conversion::VirtToPage, addr),
            Request::PageAddress { page } => (Conversion::PageAddress, page),
            Request::VirtToPhys { addr } => (Conversion::VirtToPhys, addr),
            Request::VmallocToPage { addr } => (Conversion::VmallocToPage, addr),
            _ => return None,
        })
    }
}

impl Model {
    /// The only right answer to a conversion of `addr`, behind which the page table shows `frame`.
    pub fn convert(&self, conversion: Conversion, addr: u64, frame: Option<u32>) -> Answer {
        let layout = &self.layout;
        let is_direct = self.is_direct(addr);
        // Linux counts the last byte of the space out (R4.6).
        let is_vmalloc = (layout.vmalloc_start..layout.vmalloc_end - 1).contains(&addr);
        let refused = Answer::WrongKind(frame.map(|_| "vmalloc_to_page"));
        match (conversion, frame) {
            (Conversion::IsVmalloc, _) => Answer::Flag(is_vmalloc),
            (Conversion::IsValid, _) => Answer::Flag(is_direct),
            (Conversion::VirtToPage, Some(frame)) if is_direct => Answer::Frame(frame),
            (Conversion::VirtToPhys, Some(frame)) if is_direct => {
                Answer::Phys(u64::from(frame) * PAGE + addr % PAGE)
            }
            (Conversion::VmallocToPage, Some(frame)) => Answer::Frame(frame),
            (Conversion::PageAddress, Some(frame)) => {
                Answer::Address(layout.direct_start + u64::from(frame) * PAGE)
            }
            _ => refused,
        }
    }
}
