//! The frames that are held for ever, to fragment a machine.
//!
//! They belong to the subject and to nobody whom a trace could be. The allocator would be right to
//! take one back from whoever has its address, so a wild free that hits one is refused here, as it
//! would be if the frame were somebody's kernel.
//!
//! How many there are is counted by the subject, and judged by nobody.

use super::Machine;
use crate::call::{Call, Frees, Request};
use crate::op::Class;
use crate::subject::{Answer, FreeRefusal};
use alloc_core::Mm;
use alloc_core::addr::Pfn;
use alloc_core::gfp::{__GFP_MEMALLOC, __GFP_NOWARN, GFP_NOWAIT};

/// Frames that are held, in order.
#[derive(Default)]
pub(super) struct Held(Vec<Pfn>);

impl Held {
    /// Holds one page of each of so many pairs that the other pages, now holes, make `percent` of
    /// what is free (R8.3).
    pub(super) fn fragment<M: Machine>(mm: &mut Mm<M>, percent: u32) -> Self {
        // As many pages as become holes are held, and no longer free.
        let nr_holes =
            u64::from(mm.stat().nr_free_pages) * u64::from(percent) / u64::from(100 + percent);
        let flags = GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOWARN;
        let mut taken: Vec<Pfn> =
            (0..2 * nr_holes).map_while(|_| mm.alloc_pages(flags, 0).ok()).collect();
        taken.sort_unstable();
        let mut held = Vec::with_capacity(taken.len() / 2);
        for (place, &pfn) in taken.iter().enumerate() {
            let has_buddy = taken.get(place + 1).is_some_and(|next| next.0 == pfn.0 | 1);
            if pfn.0 % 2 == 1 || !has_buddy {
                mm.__free_pages(pfn, 0).expect("a page that was just taken");
            } else {
                held.push(pfn);
            }
        }
        mm.drain_all_pages();
        Self(held)
    }

    /// The number of frames.
    pub(super) fn nr_pages(&self) -> u32 {
        self.0.len() as u32
    }

    /// What comes of a free of one of them, or of a reference to it.
    pub(super) fn refusal(&self, memory: &impl Machine, request: &Request) -> Option<Answer> {
        let refusal = match (request.call, request.spec().frees) {
            (Call::GetPage, _) => Answer::WrongKind(None),
            (_, Frees::Pages | Frees::PutPage) => {
                let (verdict, right, on_linux) = (Class::Wild, None, None);
                Answer::BadFree(FreeRefusal { verdict, right, on_linux })
            }
            _ => return None,
        };
        let frame = memory.frame_of(request.address()?).filter(|_| !self.0.is_empty())?;
        self.0.binary_search(&Pfn(frame)).is_ok().then_some(refusal)
    }
}

#[cfg(test)]
mod test {
    use crate::campaign::PAGES;
    use crate::{Trace, check_expected};

    #[test]
    fn no_wild_free_gives_back_what_is_held() {
        // Every frame of the upper half is either held or a hole.
        let frees = (0x200..0x220_u64).map(|frame| {
            let addr = 0xffff_8880_0000_0000 + frame * 0x1000;
            format!(
                "free_pages({addr:#x}, 0)\nfree_page({addr:#x})\nput_page({addr:#x})\n\
                     get_page({addr:#x})\n"
            )
        });
        let text = "machine (frames: 1024, fragmented: 100)\n\
                    r0 = kmalloc(8, GFP_KERNEL) # -> Slab\n"
            .to_owned()
            + &frees.collect::<String>();
        let trace = Trace::parse(&text).expect("a trace");
        check_expected(&PAGES, &trace).unwrap_or_else(|failure| panic!("{failure}"));
    }
}
