//! The free matrix, worked out a second time: what must come of every call that frees, at the start
//! of every kind of memory.
//!
//! The one idea: the matrix is data. A row is what lies at an address, as finely as some free tells
//! it apart; a column is a way of freeing; and a cell is the verdict (R6). What a call is told of
//! the memory, and in which context it may not be made, is said by the column or the cell once, and
//! looked at where the matrix is read.
//!
//! Inside memory, and where none is live, the call does not matter: that is not said here.

use crate::call::Frees;
use crate::op::Class;
use crate::words::Context;

/// What lies at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// NULL.
    Null,
    /// `ZERO_SIZE_PTR`, or an address between NULL and it.
    ZeroSizePtr,
    /// The start of an object of a size class.
    KmallocObject,
    /// The start of an object of a cache.
    CacheObject,
    /// The start of one that must stay as it was constructed (R2.5).
    ConstructedObject,
    /// The start of a large kmalloc block.
    LargeKmalloc,
    /// The start of a block of one page.
    OnePage,
    /// The start of a larger block, taken without `__GFP_COMP`.
    Block,
    /// The start of a larger block, taken with it.
    Compound,
    /// The start of pages of `alloc_pages_exact`.
    PagesExact,
    /// The start of a block of `dma_alloc_coherent`.
    DmaCoherent,
    /// The start of an area.
    Vmalloc,
}

/// A cell: what must come of a free that is told nothing wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// It is right.
    Right,
    /// It is right but in this context, where it would sleep.
    RightBut(Context),
    /// It is refused.
    Wrong(Class),
}

macro_rules! cell {
    (ok) => {
        Cell::Right
    };
    // vfree may sleep, and knows only of interrupts that it must not (R4.13).
    (at) => {
        Cell::RightBut(Context::Atomic)
    };
    // What was remapped for the device has to be unmapped (`dma_free_attrs`).
    (hi) => {
        Cell::RightBut(Context::Hardirq)
    };
    (WA) => {
        Cell::Wrong(Class::WrongAllocator)
    };
    (WC) => {
        Cell::Wrong(Class::WrongCache)
    };
    (WO) => {
        Cell::Wrong(Class::WrongOrder)
    };
    (Wi) => {
        Cell::Wrong(Class::Wild)
    };
}

macro_rules! matrix {
    ([$($column:ident)*] $($spot:ident: $($cell:ident)*;)*) => {
        /// The columns.
        pub const COLUMNS: &[Frees] = &[$(Frees::$column),*];

        /// The rows, with a cell for each of [`COLUMNS`].
        pub static MATRIX: &[(Spot, [Cell; COLUMNS.len()])] =
            &[$((Spot::$spot, [$(cell!($cell)),*])),*];
    };
}

// kfree takes an object of any cache, which is silent in SLUB and documented since 6.4 (R2.7). Of a
// block that is not compound put_page would free the first page, and lose the others.
matrix! {
    [Kfree KfreeNolock KfreeSensitive Krealloc Kvfree KvfreeRcu KvfreeSensitive Kvrealloc Vfree VfreeAtomic Vrealloc Vunmap
     Object Pages PutPage PagesExact DmaCoherent]
    //                 kfree n s r  kvfree r s r  vfree … a r u  object  pages put exact coherent
    Null:              ok ok ok ok     ok ok ok ok      ok ok ok ok    Wi      ok    Wi  ok    ok;
    ZeroSizePtr:       ok ok ok ok     ok Wi ok ok      Wi Wi Wi Wi    Wi      Wi    Wi  Wi    Wi;
    KmallocObject:     ok ok ok ok     ok ok ok ok      WA WA WA WA    WC      WA    WA  WA    WA;
    CacheObject:       ok WA ok ok     ok ok ok ok      WA WA WA WA    ok      WA    WA  WA    WA;
    ConstructedObject: ok WA WA WA     ok WA WA WA      WA WA WA WA    ok      WA    WA  WA    WA;
    LargeKmalloc:      ok WA ok ok     ok ok ok ok      WA WA WA WA    WA      WA    WA  WA    WA;
    OnePage:           WA WA WA WA     WA WA WA WA      WA WA WA WA    WA      ok    ok  WA    WA;
    Block:             WA WA WA WA     WA WA WA WA      WA WA WA WA    WA      ok    WO  WA    WA;
    Compound:          WA WA WA WA     WA WA WA WA      WA WA WA WA    WA      ok    ok  WA    WA;
    PagesExact:        WA WA WA WA     WA WA WA WA      WA WA WA WA    WA      WA    WA  ok    WA;
    DmaCoherent:       WA WA WA WA     WA WA WA WA      WA WA WA WA    WA      WA    WA  WA    hi;
    Vmalloc:           WA WA WA WA     at ok at at      at ok at WA    WA      WA    WA  WA    WA;
}

/// What must come of a free that is told nothing wrong.
///
/// # Panics
/// If the matrix has no such row or column; a test holds it to the table of calls.
pub fn cell(spot: Spot, frees: Frees) -> Cell {
    let row = MATRIX.iter().find(|(at, _)| *at == spot).expect("a row for each spot");
    let cells = COLUMNS.iter().zip(row.1);
    let cell = cells.into_iter().find(|(column, _)| **column == frees);
    cell.expect("a column for each way of freeing").1
}

/// What is wrong with a free of the right memory that is told something else of it: another cache,
/// another order, another size.
pub fn misfit(frees: Frees) -> Class {
    match frees {
        Frees::Object => Class::WrongCache,
        Frees::Pages => Class::WrongOrder,
        _ => Class::WrongSize,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::call::CALLS;

    #[test]
    fn every_call_that_frees_memory_has_its_column_and_none_has_two() {
        for spec in CALLS {
            // Caches and what was taken before the hand-over are not freed by address alone; what
            // is not Linux' is freed by nothing else.
            let is_apart = matches!(spec.frees, Frees::Nothing | Frees::Destroy | Frees::Boot)
                || spec.frees.is_foreign();
            let nr_columns = COLUMNS.iter().filter(|column| **column == spec.frees).count();
            assert_eq!(nr_columns, usize::from(!is_apart), "{}", spec.name);
        }
    }

    #[test]
    fn all_memory_but_null_has_a_call_that_is_right() {
        for (spot, row) in MATRIX {
            assert!(row.iter().any(|cell| !matches!(cell, Cell::Wrong(_))), "{spot:?}");
            assert_eq!(MATRIX.iter().filter(|(other, _)| other == spot).count(), 1, "{spot:?}");
        }
    }
}
