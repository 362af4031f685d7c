//! The model's free matrix and the allocator's say the same.
//!
//! The one idea: each was worked out without the other, so that a verdict can be wrong in the
//! allocator and noticed by the model. Where the two differ, one of them has a fault, or a new call
//! has a column in one only; the cell is named here before any trace comes across it.
//!
//! The allocator's has more rows: what lies inside memory, and what is free. In which contexts a
//! right free is forbidden is not compared.

use alloc_core::error::FreeCall;
use alloc_core::fate::{self, Fit};
use kvroute_harness::call::Frees;
use kvroute_harness::free_matrix::{COLUMNS, Cell, MATRIX, Spot, misfit};

/// The calls by which memory is freed in a way.
fn call(frees: Frees) -> FreeCall {
    match frees {
        Frees::Kfree => FreeCall::Kfree,
        Frees::KfreeNolock => FreeCall::KfreeNolock,
        Frees::KfreeSensitive => FreeCall::KfreeSensitive,
        Frees::Krealloc => FreeCall::Krealloc,
        Frees::Kvfree => FreeCall::Kvfree,
        Frees::KvfreeSensitive => FreeCall::KvfreeSensitive,
        Frees::KvfreeRcu => FreeCall::KvfreeRcu,
        Frees::Kvrealloc => FreeCall::Kvrealloc,
        Frees::Vfree => FreeCall::Vfree,
        Frees::VfreeAtomic => FreeCall::VfreeAtomic,
        Frees::Vrealloc => FreeCall::Vrealloc,
        Frees::Vunmap => FreeCall::Vunmap,
        Frees::Object => FreeCall::KmemCacheFree,
        Frees::Pages => FreeCall::FreePages,
        Frees::PutPage => FreeCall::PutPage,
        Frees::PagesExact => FreeCall::FreePagesExact,
        Frees::DmaCoherent => FreeCall::DmaFreeCoherent,
        other => panic!("{other:?} has no column in the allocator's matrix"),
    }
}

/// The allocator's word for a row, a way of freeing and how what it is told fits, if it has one.
fn verdict_of_allocator(spot: Spot, frees: Frees, fit: Fit) -> Option<String> {
    let name = format!("{spot:?}");
    let row = fate::MATRIX.iter().find(|(spot, _)| format!("{spot:?}") == name);
    let (_, cells) = row.expect("a row of the allocator's matrix");
    let place = fate::COLUMNS.iter().position(|column| *column == (call(frees), fit))?;
    Some(cells[place].verdict.map_or_else(|| "right".to_owned(), |verdict| format!("{verdict:?}")))
}

/// The model's.
fn verdict_of_model(cell: Cell) -> String {
    match cell {
        Cell::Right | Cell::RightBut(_) => "right".to_owned(),
        Cell::Wrong(class) => format!("{class:?}"),
    }
}

#[test]
fn every_cell_has_the_verdict_that_the_allocator_gives() {
    for (spot, cells) in MATRIX {
        for (frees, cell) in COLUMNS.iter().zip(cells) {
            let (model, allocator) =
                (verdict_of_model(*cell), verdict_of_allocator(*spot, *frees, Fit::Right));
            assert_eq!(Some(model), allocator, "{frees:?} of {spot:?}");
        }
    }
}

#[test]
fn a_right_call_that_is_told_something_else_is_refused_alike() {
    let mut nr_compared = 0;
    for (spot, cells) in MATRIX {
        for (frees, cell) in COLUMNS.iter().zip(cells).filter(|(_, cell)| **cell == Cell::Right) {
            let other = verdict_of_allocator(*spot, *frees, Fit::Other);
            // Where there is no memory, it has no cache and no order to be told.
            if let Some(other) = other.filter(|_| *spot != Spot::Null) {
                assert_eq!(format!("{:?}", misfit(*frees)), other, "{cell:?} {spot:?}");
                nr_compared += 1;
            }
        }
    }
    assert_eq!(nr_compared, 5, "two rows with a cache, three with an order");
}
