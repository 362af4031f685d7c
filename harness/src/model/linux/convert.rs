//! Conversions: what must come of asking what an address is, or for the page behind it.
//!
//! The layout says how an address is mapped, and the machine's page table, which the lane has
//! looked at, says which frame it shows. From the two follows one right answer, and for an address
//! that a conversion does not apply to the refusal (R7).
//!
//! Nothing here looks at what is live: free memory of the direct map has pages as well.

use crate::call::Call;
use crate::model::Model;
use crate::subject::Answer;
use crate::words::PAGE;

impl Model {
    /// The only right answer to a conversion of `addr`, behind which the page table shows `frame`.
    pub(crate) fn convert(&self, call: Call, addr: u64, frame: Option<u32>) -> Answer {
        let layout = self.book.layout();
        let is_direct = self.book.is_direct(addr);
        // Linux counts the last byte of the space out (R4.6).
        let is_vmalloc = (layout.vmalloc_start..layout.vmalloc_end - 1).contains(&addr);
        let instead = frame.filter(|_| call != Call::GetPage).map(|_| "vmalloc_to_page");
        let refused = Answer::WrongKind(instead);
        match (call, frame) {
            (Call::IsVmallocAddr, _) => Answer::Flag(is_vmalloc),
            (Call::VirtAddrValid, _) => Answer::Flag(is_direct),
            (Call::VirtToPage, Some(frame)) if is_direct => Answer::Frame(frame),
            (Call::VirtToPhys, Some(frame)) if is_direct => {
                Answer::Phys(u64::from(frame) * PAGE + addr % PAGE)
            }
            (Call::VmallocToPage, Some(frame)) => Answer::Frame(frame),
            (Call::PageAddress, Some(frame)) => {
                Answer::Address(layout.direct_start + u64::from(frame) * PAGE)
            }
            (Call::GetPage, Some(frame)) => {
                self.counted_page(addr, frame).map_or(refused, Answer::Address)
            }
            _ => refused,
        }
    }
}
