//! The free matrix: what comes of every call that frees, on every kind of address.
//!
//! The one idea: the matrix is data. A cell says whether the call is right here, or what is wrong
//! with it, and what Linux 6.1.192 does in its place, as seen on a live kernel (R6). A refused free
//! is explained from its cell and from nothing else.
//!
//! That the calls themselves accept and refuse as the matrix says is tested cell by cell in `mm`.

use crate::words::addr::PAGE_SIZE;
use crate::words::free_call::{FreeCall, FreeVerdict};
use core::fmt::{self, Display, Formatter};

/// The largest object of a size class (`KMALLOC_MAX_CACHE_SIZE`).
const KMALLOC_MAX_CACHE_SIZE: u64 = 2 * PAGE_SIZE;

/// What Linux 6.1 does with a free, by itself and in its consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Frees the memory, right or by luck.
    Ok,
    /// As `Ok`, but counts it elsewhere.
    OkAccounting,
    /// Frees all of the memory around the address, whoever uses it.
    FreesAll,
    /// Warns each time, wipes nothing, and frees all of the memory around the address.
    WarnFreesAll,
    /// Warns each time, and frees the first page only.
    WarnFirstPage,
    /// Frees nothing and looks at nothing.
    Untouched,
    /// Does nothing at all.
    Nothing,
    /// Reports a bad page or corrupts memory without a word, as the neighbouring pages are.
    NeighboursDecide,
    /// Tells the size of the memory around the address.
    TellsSize,
    /// Warns each time, and tells a size of 0.
    WarnTellsNone,
    /// Warns each time, and frees nothing.
    WarnLeak,
    /// Warns the first time, and frees nothing.
    WarnOnceLeak,
    /// Warns each time, and frees the memory.
    WarnFreed,
    /// Warns the first time, and frees the first page only.
    WarnOnceFirstPage,
    /// Frees a part without a word; the rest is lost.
    SilentLeak,
    /// Reports a bad page, and loses the memory.
    BadPage,
    /// Corrupts memory without a word; the machine fails later, elsewhere.
    SilentCorruption,
    /// Spins for ever if the caller has interrupted who holds the lock.
    MaySpin,
    /// Oopses inside the call.
    Oops,
    /// Stops at a `BUG()` inside the call.
    Bug,
}

impl Fate {
    /// What "Linux 6.1 …" does, as a verb.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Ok => "frees it",
            Self::OkAccounting => "frees it and miscounts",
            Self::FreesAll => "frees all of it, silently",
            Self::WarnFreesAll => "warns, wipes nothing and frees all of it",
            Self::WarnFirstPage => "warns and frees the first page",
            Self::Untouched => "returns it untouched",
            Self::Nothing => "does nothing",
            Self::NeighboursDecide => {
                "reports a bad page or corrupts memory, as its neighbours are"
            }
            Self::TellsSize => "tells the size of what is there",
            Self::WarnTellsNone => "warns and tells 0",
            Self::WarnLeak => "warns and frees nothing",
            Self::WarnOnceLeak => "warns once and frees nothing",
            Self::WarnFreed => "warns and frees it",
            Self::WarnOnceFirstPage => "warns once and frees the first page",
            Self::SilentLeak => "leaks a part, silently",
            Self::BadPage => "reports a bad page and loses it",
            Self::SilentCorruption => "corrupts memory, silently",
            Self::MaySpin => "frees it, or spins for ever on a lock",
            Self::Oops => "oopses",
            Self::Bug => "stops at a BUG",
        }
    }
}

impl Display for Fate {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.verb())
    }
}

/// A row of the matrix: what is at an address, as finely as some free tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spot {
    /// NULL.
    Null,
    /// `ZERO_SIZE_PTR`, or an address between NULL and it.
    ZeroSizePtr,
    /// The start of a live object of a kmalloc size class.
    KmallocObject,
    /// The start of a live object of a cache.
    CacheObject,
    /// The start of a live object that must stay as it was constructed.
    ConstructedObject,
    /// The start of a large kmalloc block.
    LargeKmalloc,
    /// The start of a block of one page.
    OnePage,
    /// The start of a larger block, taken without `__GFP_COMP`.
    Block,
    /// The start of a larger block, taken with `__GFP_COMP`.
    Compound,
    /// The start of memory of `alloc_pages_exact`.
    PagesExact,
    /// The start of memory of `dma_alloc_coherent`.
    DmaCoherent,
    /// The start of an area of vmalloc.
    Vmalloc,
    /// Inside a live object.
    InObject,
    /// Inside the one page of a block.
    InOnePage,
    /// Inside the first page of a larger block or of exact or coherent pages.
    InFirstPage,
    /// Inside another page of a block without `__GFP_COMP`, or of coherent pages.
    InLaterPage,
    /// Inside another page of exact pages, which were split into single ones.
    InExactPage,
    /// Inside the first page of a compound or large kmalloc block.
    InCompoundHead,
    /// Inside another page of a compound or large kmalloc block.
    InCompoundTail,
    /// The start of another page of an area, or of its guard page.
    InVmalloc,
    /// Inside a page of an area, or of its guard page.
    AskewVmalloc,
    /// The object that was freed last of its slab.
    FreedLast,
    /// Another free object.
    FreeObject,
    /// A free page.
    FreePage,
    /// An area whose vfree has been deferred.
    Deferred,
    /// Vmalloc space that belongs to no area.
    FreeSpace,
    /// An area that was freed and whose addresses are not purged yet.
    LazySpace,
    /// A page kept back at boot, or a vmalloc area's page seen through the direct map.
    Reserved,
    /// An object, or the space between objects, of the allocator's own.
    Internal,
    /// An area of the allocator's own.
    InternalArea,
    /// No memory of this machine.
    Nothing,
}

/// How the order, the size or the cache that a free is given fits the memory. A call that is given
/// none of these fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fit {
    /// It is the memory's own.
    Right,
    /// It is less than the memory's own.
    Smaller,
    /// It is more than the memory's own, or another cache.
    Other,
}

/// A cell of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// What is wrong with the free; `None` if nothing is.
    pub verdict: Option<FreeVerdict>,
    /// What Linux 6.1 does.
    pub on_linux: Fate,
}

/// The columns: each call that frees, and how what it is given fits.
pub const COLUMNS: [(FreeCall, Fit); 20] = [
    (FreeCall::Kfree, Fit::Right),
    (FreeCall::Kvfree, Fit::Right),
    (FreeCall::Vfree, Fit::Right),
    (FreeCall::VfreeAtomic, Fit::Right),
    (FreeCall::Vunmap, Fit::Right),
    (FreeCall::KfreeSensitive, Fit::Right),
    (FreeCall::KvfreeSensitive, Fit::Right),
    (FreeCall::Krealloc, Fit::Right),
    (FreeCall::Kvrealloc, Fit::Right),
    (FreeCall::Vrealloc, Fit::Right),
    (FreeCall::KmemCacheFree, Fit::Right),
    (FreeCall::KmemCacheFree, Fit::Other),
    (FreeCall::FreePages, Fit::Right),
    (FreeCall::FreePages, Fit::Smaller),
    (FreeCall::FreePages, Fit::Other),
    (FreeCall::PutPage, Fit::Right),
    (FreeCall::DmaFreeCoherent, Fit::Right),
    (FreeCall::FreePagesExact, Fit::Right),
    (FreeCall::KfreeNolock, Fit::Right),
    (FreeCall::KvfreeRcu, Fit::Right),
];

/// A cell: `ok` is a right free; else the reference's short word for what Linux does, and after a
/// colon the verdict where it is not the row's.
macro_rules! cell {
    (ok, $_row:ident) => {
        Cell { verdict: None, on_linux: Fate::Ok }
    };
    ($fate:ident, $verdict:ident) => {
        Cell { verdict: Some(FreeVerdict::$verdict), on_linux: cell!(@ $fate) }
    };
    (@ OK) => { Fate::Ok };
    (@ OKa) => { Fate::OkAccounting };
    (@ FA) => { Fate::FreesAll };
    (@ WA) => { Fate::WarnFreesAll };
    (@ Wp) => { Fate::WarnFirstPage };
    (@ ND) => { Fate::NeighboursDecide };
    (@ Wl) => { Fate::WarnLeak };
    (@ W1l) => { Fate::WarnOnceLeak };
    (@ Wf) => { Fate::WarnFreed };
    (@ W1p) => { Fate::WarnOnceFirstPage };
    (@ Lk) => { Fate::SilentLeak };
    (@ BP) => { Fate::BadPage };
    (@ CO) => { Fate::SilentCorruption };
    (@ OO) => { Fate::Oops };
    (@ BG) => { Fate::Bug };
}

macro_rules! matrix {
    ($($spot:ident $row:ident: $($fate:ident $(($verdict:ident))?)*;)*) => {
        /// The matrix: a row for each spot, `MATRIX[spot as usize]`, a cell for each of
        /// [`COLUMNS`].
        pub static MATRIX: &[(Spot, [Cell; COLUMNS.len()])] = &[
            $((Spot::$spot, [$(matrix!(@ $fate $row $($verdict)?)),*])),*
        ];
    };
    (@ $fate:ident $row:ident) => { cell!($fate, $row) };
    (@ $fate:ident $_row:ident $verdict:ident) => { cell!($fate, $verdict) };
}

// The columns are kfree, kvfree, vfree, vfree_atomic, vunmap, kfree_sensitive, kvfree_sensitive,
// krealloc, kvrealloc, vrealloc; kmem_cache_free into its own and into another cache; free_pages
// with its own, a smaller and a larger order; put_page, dma_free_coherent, free_pages_exact;
// kfree_nolock, kvfree_rcu.
//
// The reference has no column for eight of them. kvfree_sensitive is kvfree after clearing memory;
// krealloc and kvrealloc are taken to move: they are kfree after asking for the size (R6.6), and
// kvfree after reading what is there. vfree_atomic writes a list entry into the memory before
// anything is checked (R4.13); an area that was freed and not purged took it, and the list then
// found nothing (C9). vrealloc is that of 6.12, and taken to move: it asks for the area around an
// address, warns where there is none, and copies from the address on as many bytes as the area has,
// so from inside it reads the guard page (R4.15). kfree_nolock is that of 6.18 (R1.14). kvfree_rcu
// writes an rcu_head into the memory at once, and is kvfree after that (R6.7). A cell that cannot
// be (an order below 0, a cache of kmalloc's own) has its neighbour's word.
matrix! {
    Null Wild:              ok  ok  ok  ok  ok  ok  ok  ok  ok  ok  OO OO                       ok ok ok                        OO ok ok  ok ok;
    ZeroSizePtr Wild:       ok  ok  Wl  OO  Wl  ok  ok  ok  ok  Wl  OO OO                       OO OO OO                        OO OO OO  ok OO;
    KmallocObject WrongAllocator:
                            ok  ok  Wl  CO  Wl  ok  ok  ok  ok  Wl  Wf(WrongCache) Wf(WrongCache)CO CO CO                        CO CO CO  ok ok;
    CacheObject WrongAllocator:
                            ok  ok  Wl  CO  Wl  ok  ok  ok  ok  Wl  ok Wf(WrongCache)           CO CO CO                        CO CO CO  OKa ok;
    ConstructedObject WrongAllocator:
                            ok  ok  Wl  CO  Wl  CO  CO  CO  CO  Wl  ok Wf(WrongCache)           CO CO CO                        CO CO CO  OKa CO;
    LargeKmalloc WrongAllocator:
                            ok  ok  Wl  CO  Wl  ok  ok  ok  ok  Wl  W1l W1l                     OKa Lk ND                       OKa OKa Lk  W1l ok;
    OnePage WrongAllocator: W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     ok Lk(WrongOrder) ND(WrongOrder)ok OK OK  W1l W1p;
    Block WrongAllocator:   W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     ok Lk(WrongOrder) BP(WrongOrder)Lk(WrongOrder) OK Lk  W1l W1p;
    Compound WrongAllocator:
                            OKa OKa Wl  CO  Wl  OKa OKa OKa OKa Wl  W1l W1l                     ok Lk(WrongOrder) BP(WrongOrder)ok OK Lk  W1l OKa;
    PagesExact WrongAllocator:
                            W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     BP Lk BP                        Lk BP ok  W1l W1p;
    DmaCoherent WrongAllocator:
                            W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     OK Lk BP                        Lk ok Lk  W1l W1p;
    Vmalloc WrongAllocator: OO  ok  ok  ok  Lk  OO  ok  OO  ok  ok  OO OO                       OO OO OO                        OO OO OO  OO ok;
    InObject Interior:      CO  CO  Wl  CO  Wl  CO  CO  CO  CO  Wl  CO CO                       CO CO CO                        CO CO CO  CO CO;
    InOnePage Interior:     W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     FA FA BP                        FA FA FA  W1l W1p;
    InFirstPage Interior:   W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     FA Lk BP                        Lk FA Lk  W1l W1p;
    InLaterPage Interior:   W1l W1l Wl  CO  Wl  Wl  W1l Wl  W1l Wl  W1l W1l                     CO CO BP                        CO CO CO  W1l W1l;
    InExactPage Interior:   W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     BP Lk BP                        Lk BP BP  W1l W1p;
    InCompoundHead Interior:
                            FA  FA  Wl  CO  Wl  WA  FA  WA  FA  Wl  W1l W1l                     FA Lk BP                        FA FA Lk  W1l FA;
    InCompoundTail Interior:
                            FA  FA  Wl  CO  Wl  WA  FA  WA  FA  Wl  W1l W1l                     BP CO BP                        FA BP CO  W1l FA;
    InVmalloc Interior:     OO  FA  FA  FA  Lk  OO  FA  OO  FA  OO  OO OO                       OO OO OO                        OO OO OO  OO FA;
    AskewVmalloc Interior:  OO  Wl  Wl  CO  Wl  OO  Wl  OO  Wl  OO  OO OO                       OO OO OO                        OO OO OO  OO Wl;
    FreedLast DoubleFree:   BG  BG  Wl  CO  Wl  BG  BG  BG  BG  Wl  BG BG                       CO CO CO                        CO CO CO  BG CO;
    FreeObject DoubleFree:  CO  CO  Wl  CO  Wl  CO  CO  CO  CO  Wl  CO CO                       CO CO CO                        CO CO CO  CO CO;
    FreePage DoubleFree:    W1l W1l Wl  CO  Wl  Wl  W1l Wl  W1l Wl  W1l W1l                     BP BP CO                        BP BP BP  W1l CO;
    Deferred DoubleFree:    OO  CO  CO  CO  Lk  OO  CO  OO  CO  CO  OO OO                       OO OO OO                        OO OO OO  OO CO;
    FreeSpace DoubleFree:   OO  Wl  Wl  OO  Wl  OO  Wl  OO  OO  Wl  OO OO                       OO OO OO                        OO OO OO  OO OO;
    LazySpace DoubleFree:   OO  Wl  Wl  Wl  Wl  OO  Wl  OO  OO  Wl  OO OO                       OO OO OO                        OO OO OO  OO OO;
    Reserved Wild:          W1p W1p Wl  CO  Wl  Wp  W1p Wp  W1p Wl  W1l W1l                     CO CO BP                        CO CO CO  W1l CO;
    Internal Wild:          CO  CO  Wl  CO  Wl  CO  CO  CO  CO  Wl  CO CO                       CO CO CO                        CO CO CO  CO CO;
    InternalArea Wild:      OO  CO  CO  CO  Lk  OO  CO  OO  CO  CO  OO OO                       OO OO OO                        OO OO OO  OO CO;
    Nothing Wild:           OO  OO  Wl  OO  Wl  OO  OO  OO  OO  Wl  OO OO                       OO OO OO                        OO OO OO  OO OO;
}

/// A free by the right call that is told a size which is not the memory's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WrongSize {
    /// The call.
    pub call: FreeCall,
    /// The spots whose own call it is, but for the size.
    pub spots: &'static [Spot],
    /// How the size fits.
    pub fit: Fit,
    /// What Linux 6.1 does.
    pub on_linux: Fate,
}

/// Linux believes the size, and clears or frees that much. Anywhere else than at its own memory,
/// what such a call does is in [`MATRIX`], whatever the size.
pub static WRONG_SIZES: &[WrongSize] = &[
    WrongSize {
        call: FreeCall::KvfreeSensitive,
        spots: &[Spot::KmallocObject, Spot::CacheObject, Spot::LargeKmalloc, Spot::Vmalloc],
        fit: Fit::Other,
        on_linux: Fate::SilentCorruption,
    },
    // An rcu_head that is not all in the memory is somebody else's.
    WrongSize {
        call: FreeCall::KvfreeRcu,
        spots: &[Spot::KmallocObject, Spot::CacheObject, Spot::LargeKmalloc, Spot::Vmalloc],
        fit: Fit::Other,
        on_linux: Fate::SilentCorruption,
    },
    // kvrealloc reads on: what it copies is somebody else's, or no memory.
    WrongSize {
        call: FreeCall::Kvrealloc,
        spots: &[Spot::KmallocObject, Spot::CacheObject, Spot::LargeKmalloc],
        fit: Fit::Other,
        on_linux: Fate::SilentCorruption,
    },
    WrongSize {
        call: FreeCall::Kvrealloc,
        spots: &[Spot::Vmalloc, Spot::Null, Spot::ZeroSizePtr],
        fit: Fit::Other,
        on_linux: Fate::Oops,
    },
    WrongSize {
        call: FreeCall::DmaFreeCoherent,
        spots: &[Spot::DmaCoherent],
        fit: Fit::Smaller,
        on_linux: Fate::SilentLeak,
    },
    WrongSize {
        call: FreeCall::DmaFreeCoherent,
        spots: &[Spot::DmaCoherent],
        fit: Fit::Other,
        on_linux: Fate::BadPage,
    },
    WrongSize {
        call: FreeCall::FreePagesExact,
        spots: &[Spot::PagesExact],
        fit: Fit::Smaller,
        on_linux: Fate::SilentLeak,
    },
    WrongSize {
        call: FreeCall::FreePagesExact,
        spots: &[Spot::PagesExact],
        fit: Fit::Other,
        on_linux: Fate::BadPage,
    },
];

/// What `ksize` does on Linux 6.1 with an address that it has no business with, in memory of `own`
/// bytes (R1.2): it tells slabs and large blocks by their first page alone.
pub fn ksize(spot: Spot, own: u64) -> Fate {
    match spot {
        Spot::Vmalloc
        | Spot::InVmalloc
        | Spot::AskewVmalloc
        | Spot::Deferred
        | Spot::FreeSpace
        | Spot::LazySpace
        | Spot::InternalArea
        | Spot::Nothing => Fate::Oops,
        // No slab, and no larger than one may be: a mistake, as Linux sees it.
        Spot::Compound if own <= KMALLOC_MAX_CACHE_SIZE => Fate::WarnTellsNone,
        Spot::Compound
        | Spot::LargeKmalloc
        | Spot::KmallocObject
        | Spot::CacheObject
        | Spot::ConstructedObject
        | Spot::InObject
        | Spot::FreedLast
        | Spot::FreeObject
        | Spot::Internal => Fate::TellsSize,
        Spot::Null | Spot::ZeroSizePtr => Fate::Ok,
        _ => Fate::WarnTellsNone,
    }
}

/// The cell for a call at a spot.
pub fn cell(spot: Spot, call: FreeCall, fit: Fit) -> Cell {
    let wrong_size = |row: &&WrongSize| (row.call, row.fit) == (call, fit);
    if let Some(row) = WRONG_SIZES.iter().filter(wrong_size).find(|row| row.spots.contains(&spot)) {
        return Cell { verdict: Some(FreeVerdict::WrongSize), on_linux: row.on_linux };
    }
    let (_, row) = &MATRIX[spot as usize];
    let exact = COLUMNS.iter().position(|&column| column == (call, fit));
    let column = exact.or_else(|| COLUMNS.iter().position(|&(of, _)| of == call));
    row[column.unwrap_or(0)]
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_their_enum() {
        for (place, (spot, _)) in MATRIX.iter().enumerate() {
            assert_eq!(*spot as usize, place, "{spot:?}");
        }
        assert_eq!(MATRIX.len(), Spot::Nothing as usize + 1);
    }

    #[test]
    fn a_wrong_size_matters_only_at_the_calls_own_memory() {
        let dma = |spot, fit| cell(spot, FreeCall::DmaFreeCoherent, fit);
        assert_eq!(dma(Spot::DmaCoherent, Fit::Right).verdict, None);
        assert_eq!(dma(Spot::DmaCoherent, Fit::Smaller).verdict, Some(FreeVerdict::WrongSize));
        assert_eq!(dma(Spot::Block, Fit::Smaller), dma(Spot::Block, Fit::Right));
    }

    #[test]
    fn what_is_accepted_is_right_on_linux() {
        for (spot, row) in MATRIX {
            for (cell, column) in row.iter().zip(COLUMNS) {
                let fits = cell.verdict.is_some() || cell.on_linux == Fate::Ok;
                assert!(fits, "{spot:?} {column:?}");
            }
        }
    }
}
