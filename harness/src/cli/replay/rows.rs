//! The table of a replay: by call and size, from which side each lane served the requests, and from
//! which side the recorded kernel did.
//!
//! Sizes that the allocators treat alike are one line. Lanes may come from one run or from several
//! of the same trace.

use crate::call::Call;
use crate::op::{Arg, Class, Op};
use crate::recording::Served;
use crate::report::{grouped, table};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many requests a side served.
#[derive(Clone, Copy, Default)]
struct Sides {
    /// From the direct map: objects, and blocks of the page allocator.
    direct: u64,
    /// From the vmalloc space.
    vmalloc: u64,
    /// Not at all.
    refused: u64,
}

impl Sides {
    /// `direct/vmalloc`, and the refused ones if there are any.
    fn show(self) -> String {
        let Sides { direct, vmalloc, refused } = self;
        if refused == 0 {
            format!("{direct}/{vmalloc}")
        } else {
            format!("{direct}/{vmalloc} -{refused}")
        }
    }

    fn json(self) -> Value {
        json!({ "direct": self.direct, "vmalloc": self.vmalloc, "refused": self.refused })
    }
}

/// One line of the table.
struct Row {
    requests: u64,
    kernel: Sides,
    lanes: Vec<Sides>,
}

/// Sizes that the allocators treat alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SizeClass {
    /// Slab only: no fallback in kvmalloc.
    Page,
    /// A size class that spans pages.
    LargestClass,
    /// Blocks that the page allocator tries hard for.
    CheapBlock,
    /// Costly orders.
    CostlyBlock,
    /// Beyond kmalloc.
    Huge,
}

impl SizeClass {
    fn of(size: u64) -> Self {
        match size {
            0..=0x1000 => SizeClass::Page,
            0x1001..=0x2000 => SizeClass::LargestClass,
            0x2001..=0x8000 => SizeClass::CheapBlock,
            0x8001..=0x40_0000 => SizeClass::CostlyBlock,
            _ => SizeClass::Huge,
        }
    }

    fn name(self) -> &'static str {
        match self {
            SizeClass::Page => "to 4 KiB",
            SizeClass::LargestClass => "to 8 KiB",
            SizeClass::CheapBlock => "to 32 KiB",
            SizeClass::CostlyBlock => "to 4 MiB",
            SizeClass::Huge => "over 4 MiB",
        }
    }
}

/// A line below the requests: its name, and a cell for each lane.
pub(super) type Extra = (&'static str, Vec<String>);

/// The lines of the table by call and size class.
pub(super) struct Rows {
    lanes: Vec<String>,
    rows: BTreeMap<(Call, SizeClass), Row>,
    /// The object sizes of the cache registers, since an allocation from a cache names no size.
    sizes: BTreeMap<u16, u64>,
}

impl Rows {
    /// No requests yet, of lanes with these names.
    pub(super) fn new(lanes: impl IntoIterator<Item = String>) -> Self {
        let lanes = lanes.into_iter().collect();
        Self { lanes, rows: BTreeMap::new(), sizes: BTreeMap::new() }
    }

    /// Counts an op that the recorded kernel served so, and the answers of the lanes from `first`
    /// on. What the kernel did is counted with the first lane.
    pub(super) fn count(&mut self, op: &Op, served: Served, first: usize, lanes: &[Option<Class>]) {
        if let (Call::KmemCacheCreate, Some(cache), Arg::Number(size)) =
            (op.call, op.dst, op.args[0])
        {
            self.sizes.insert(cache, size);
        }
        if served == Served::NotAnAllocation {
            return;
        }
        let size = SizeClass::of(self.size(op));
        let nr_lanes = self.lanes.len();
        let row = self.rows.entry((op.call, size)).or_insert_with(|| Row {
            requests: 0,
            kernel: Sides::default(),
            lanes: vec![Sides::default(); nr_lanes],
        });
        if first == 0 {
            row.requests += 1;
            match served {
                Served::Vmalloc => row.kernel.vmalloc += 1,
                Served::Refused => row.kernel.refused += 1,
                _ => row.kernel.direct += 1,
            }
        }
        for (lane, class) in row.lanes[first..].iter_mut().zip(lanes) {
            match class {
                Some(Class::Vmalloc) => lane.vmalloc += 1,
                Some(Class::Slab | Class::Pages | Class::ZeroSizePtr) => lane.direct += 1,
                _ => lane.refused += 1,
            }
        }
    }

    fn size(&self, op: &Op) -> u64 {
        match (op.call, op.args[0], op.args[1]) {
            (Call::AllocPages, _, Arg::Number(order)) => {
                0x1000_u64.checked_shl(order as u32).unwrap_or(0)
            }
            (_, Arg::Cache(cache), _) => self.sizes.get(&cache).copied().unwrap_or(0),
            (_, Arg::Number(size), _) => size,
            _ => 0,
        }
    }

    /// The table, with these lines below.
    pub(super) fn as_text(&self, extras: Vec<Extra>) -> String {
        let head = ["call", "size", "requests", "kernel"].map(str::to_owned);
        let mut cells = vec![head.into_iter().chain(self.lanes.clone()).collect::<Vec<_>>()];
        for ((call, size), row) in &self.rows {
            let first =
                [call.spec().name.to_owned(), size.name().to_owned(), grouped(row.requests)];
            let sides = std::iter::once(&row.kernel).chain(&row.lanes).map(|sides| sides.show());
            cells.push(first.into_iter().chain(sides).collect());
        }
        for (name, lanes) in extras {
            let first = [name, "", "", ""].map(str::to_owned);
            cells.push(first.into_iter().chain(lanes).collect());
        }
        let legend = "served from the direct map / from the vmalloc space (- refused):";
        format!("{legend}\n\n{}", table(&cells))
    }

    pub(super) fn as_json(&self) -> Value {
        let row = |((call, size), row): (&(Call, SizeClass), &Row)| {
            let lanes: Vec<Value> = row.lanes.iter().map(|sides| sides.json()).collect();
            json!({
                "call": call.spec().name, "size": size.name(), "requests": row.requests,
                "kernel": row.kernel.json(), "lanes": lanes,
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "lanes": self.lanes, "rows": rows })
    }
}
