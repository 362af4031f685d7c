//! What the host shows of the vmalloc space, brought up to what the page table says.
//!
//! The one idea: the allocator maps and unmaps page by page, and the host need not know before the
//! caller goes on. By then much of it has been taken back, and what lies next to each other is one
//! call of the host's. A page that is hidden loses its access and keeps its frame, which costs an
//! eighth of taking the mapping away; where the next page there has the same frame, it is given
//! its access again.

use super::space::Space;
use alloc_core::addr::{PAGE_SHIFT, Pfn, VMALLOC_START};
use rustix::io::Errno;
use std::fmt::{self, Display, Formatter};

/// The most separate pieces that can be shown at a time. Each takes up to two of the host's
/// mappings, of which a process has 65 530 (`vm.max_map_count`).
pub(super) const NR_PIECES_MAX: u32 = 16 << 10;
/// The most pages that keep their frame while they are hidden; each may be a mapping of its own.
pub(super) const NR_KEPT_MAX: usize = 4 << 10;

/// Why the host cannot go on. It says nothing about the caller, nor about the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The host refused a mapping.
    Host(Errno),
    /// More pieces of vmalloc memory are live than the host maps (16 384).
    Pieces,
}

impl Display for Trouble {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(errno) => write!(out, "the host refused a mapping: {errno}"),
            Self::Pieces => write!(out, "more than {NR_PIECES_MAX} pieces of vmalloc are mapped"),
        }
    }
}

impl std::error::Error for Trouble {}

/// A page as the host has it.
#[derive(Clone, Copy, Default)]
struct Page {
    frame: Option<Pfn>,
    is_open: bool,
    /// Whether a piece begins there.
    begins: bool,
}

/// What the host has to do with a page. Neighbours of which it is the same are one call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// To show the frame that is so far ahead of the page.
    Show(i64),
    /// To let the frame be seen again that it has.
    Open,
    Hide,
}

/// The pages of the vmalloc space.
pub(super) struct Shown {
    pages: Vec<Page>,
    /// Those that may have changed since the caller went on.
    changed: Vec<usize>,
    nr_pieces: u32,
    nr_kept: usize,
}

impl Shown {
    /// So many pages, none of which is shown.
    pub(super) fn new(nr_pages: usize) -> Self {
        let pages = vec![Page::default(); nr_pages];
        Self { pages, changed: Vec::new(), nr_pieces: 0, nr_kept: 0 }
    }

    /// Takes note that a page may be to show, or to hide.
    pub(super) fn change(&mut self, page: usize) {
        self.changed.push(page);
    }

    /// Has the host show each page with the frame that `wanted` says, and hide those with none.
    pub(super) fn settle(
        &mut self,
        space: &Space,
        wanted: impl Fn(usize) -> Option<Pfn>,
    ) -> Result<(), Trouble> {
        if self.changed.is_empty() {
            return Ok(());
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let step = |page: &usize| Some((*page, self.step(*page, wanted(*page))?));
        let steps: Vec<(usize, Step)> = changed.iter().filter_map(step).collect();
        for run in steps.chunk_by(|(page, step), next| (page + 1, *step) == *next) {
            self.carry_out(space, run[0], run.len())?;
        }
        changed.clear();
        self.changed = changed;
        Ok(())
    }

    fn step(&self, page: usize, wanted: Option<Pfn>) -> Option<Step> {
        let Page { frame, is_open, .. } = self.pages[page];
        match wanted {
            None => is_open.then_some(Step::Hide),
            Some(_) if wanted != frame => {
                wanted.map(|wanted| Step::Show(i64::from(wanted.0) - page as i64))
            }
            Some(_) => (!is_open).then_some(Step::Open),
        }
    }

    /// Does the same with some pages next to each other.
    fn carry_out(
        &mut self,
        space: &Space,
        (first, step): (usize, Step),
        nr_pages: usize,
    ) -> Result<(), Trouble> {
        let at = space.bases.here(VMALLOC_START + ((first as u64) << PAGE_SHIFT));
        let len = nr_pages << PAGE_SHIFT;
        let keeps = self.nr_kept + nr_pages <= NR_KEPT_MAX;
        match step {
            Step::Show(ahead) => {
                let offset = (first as i64 + ahead) as u64;
                space.show(at, offset << PAGE_SHIFT, len)
            }
            Step::Open => space.open(at, len),
            Step::Hide if keeps => space.close(at, len),
            Step::Hide => space.hide(at, len),
        }
        .map_err(Trouble::Host)?;
        for page in first..first + nr_pages {
            let frame = match step {
                Step::Show(ahead) => Some(Pfn((page as i64 + ahead) as u32)),
                Step::Hide if !keeps => None,
                Step::Open | Step::Hide => self.pages[page].frame,
            };
            let is_open = step != Step::Hide;
            self.enter(page, Page { frame, is_open, begins: is_open && page == first });
        }
        if self.nr_pieces > NR_PIECES_MAX { Err(Trouble::Pieces) } else { Ok(()) }
    }

    fn enter(&mut self, page: usize, now: Page) {
        let is_kept = |page: Page| page.frame.is_some() && !page.is_open;
        let before = std::mem::replace(&mut self.pages[page], now);
        self.nr_kept = self.nr_kept + usize::from(is_kept(now)) - usize::from(is_kept(before));
        self.nr_pieces = self.nr_pieces + u32::from(now.begins) - u32::from(before.begins);
    }
}
