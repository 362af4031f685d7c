//! References to pages beside that of their holder, and what outlives its free (R3.13).
//!
//! The one idea: while its holder lives, a reference is no memory of its own, only a mark at the
//! page; once the holder has freed its memory, the page is an allocation like any other, which
//! holds what it held, and the mark is spent. So whatever is judged of live memory is judged of a
//! page that outlived its free.
//!
//! The contents of such a page are the lane's to say.

use super::Linux;
use crate::model::{Allocation, Kind, Model};
use crate::op::Reg;
use crate::words::PAGE;

/// A page to which there are references beside that of its holder.
#[derive(Debug)]
pub(super) struct SharedPage {
    /// Where the memory of its holder starts.
    owner: u64,
    /// Where in that memory the page is.
    offset: u64,
    /// The register that each reference was put into.
    registers: Vec<Option<Reg>>,
}

impl Linux {
    /// Says that a page is an allocation of its own from now on, whoever else has references to it.
    pub(crate) fn set_owner(&mut self, page: u64) {
        if let Some(shared) = self.shared.get_mut(&page) {
            (shared.owner, shared.offset) = (page, 0);
        }
    }

    /// Whether somebody beside its holder has a reference to a page.
    pub(crate) fn is_shared(&self, page: u64) -> bool {
        self.shared.contains_key(&page)
    }

    /// Strikes out a reference to a page, that of `register` if it has one and else the last, and
    /// says which register it was put into.
    pub(crate) fn unshare(&mut self, page: u64, register: Option<Reg>) -> Option<Option<Reg>> {
        let shared = self.shared.get_mut(&page)?;
        let is_meant = |held: &Option<Reg>| register.is_some() && *held == register;
        let place = shared.registers.iter().position(is_meant);
        let register = shared.registers.remove(place.unwrap_or(shared.registers.len() - 1));
        if shared.registers.is_empty() {
            self.shared.remove(&page);
        }
        Some(register)
    }

    /// Whether a register holds a reference to a page.
    pub(crate) fn holds_reference(&self, register: Reg, page: u64) -> bool {
        let shared = self.shared.get(&page);
        shared.is_some_and(|shared| shared.registers.contains(&Some(register)))
    }

    /// Every reference, by the page that it is to.
    pub(crate) fn references(&self) -> impl Iterator<Item = u64> {
        self.shared.iter().flat_map(|(page, shared)| shared.registers.iter().map(|_| *page))
    }
}

impl Model {
    /// The page, by its address in the direct map, to which a reference to `addr` counts, behind
    /// which the page table shows `frame`.
    pub(crate) fn counted_page(&self, addr: u64, frame: u32) -> Option<u64> {
        let counted = self.counted_at(addr, frame)?;
        let nr = self.linux.shared.get(&counted).map_or(0, |shared| shared.registers.len());
        (nr < usize::from(u16::MAX)).then_some(counted)
    }

    fn counted_at(&self, addr: u64, frame: u32) -> Option<u64> {
        let page = self.book.page(frame);
        let Some(held) = self.book.containing(addr) else {
            let is_known = self.book.is_direct(addr) && self.linux.shared.contains_key(&page);
            return is_known.then_some(page);
        };
        match held.kind {
            Kind::Vmalloc => Some(page),
            Kind::Pages { is_compound, .. } if is_compound || addr - held.addr < PAGE => {
                Some(held.addr)
            }
            _ => None,
        }
    }

    /// Enters a reference to a page, which was taken by an address of its holder's memory.
    pub(crate) fn share(&mut self, addr: u64, page: u64, register: Option<Reg>) {
        let (owner, offset) = match self.book.containing(addr) {
            Some(held) if held.kind == Kind::Vmalloc => {
                (held.addr, (addr - held.addr) / PAGE * PAGE)
            }
            _ => (page, 0),
        };
        let new = SharedPage { owner, offset, registers: Vec::new() };
        self.linux.shared.entry(page).or_insert(new).registers.push(register);
    }

    /// Passes a page, or a compound block, from the holder that frees it to who has a reference to
    /// it; `false` if there is nobody, or only a part of the memory can stay.
    pub(crate) fn pass_on(&mut self, addr: u64) -> bool {
        let stays = self.book.at(addr).is_some_and(|held| {
            matches!(held.kind, Kind::Pages { order, is_compound } if order == 0 || is_compound)
        });
        let Some(register) = stays.then(|| self.linux.unshare(addr, None)).flatten() else {
            return false;
        };
        if let Some(held) = self.book.at_mut(addr) {
            held.reg = register;
        }
        true
    }

    /// The live memory, and the place in it, of which an address of the direct map shows a shared
    /// page.
    pub(crate) fn behind(&self, addr: u64) -> Option<(&Allocation, u64)> {
        let inside = addr % PAGE;
        let shared = self.linux.shared.get(&(addr - inside))?;
        Some((self.book.at(shared.owner)?, shared.offset + inside))
    }
}
