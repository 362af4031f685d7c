//! The allocation events of a recording: which there are and what each one says.
//!
//! The one idea: an event keeps only what replaying it needs. Addresses are identities, not places,
//! until `pages` finds where the direct map begins.
//!
//! This file does not know which event is nested in which (`nest`).

use alloc_core::gfp::Gfp;

use super::error::LineError;
use super::gfp::GfpReader;
use super::line::Fields;

/// log2 of the page size of the machines whose recordings this reads.
pub(super) const PAGE_SHIFT: u32 = 12;
/// Bytes of a page.
pub(super) const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// Page frame numbers stay below this, so that a frame's address fits a word.
const PFN_LIMIT: u64 = 1 << 50;
/// Orders stay below this; no kernel has had a `MAX_ORDER` beyond it.
const ORDER_LIMIT: u64 = 16;

/// An event and where it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// The line, from 1.
    pub(super) line: u32,
    /// The number of the context, from 0 in the order of appearance.
    pub(super) context: u32,
    /// What happened.
    pub(super) what: What,
}

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `kmalloc`, or `kmem_cache_alloc` if `from_cache`.
    Object { ptr: u64, size: u64, bytes_alloc: u64, gfp: Gfp, from_cache: bool },
    /// `kfree`, `kmem_cache_free`, and the probes on kvfree and vfree.
    Free { call: FreeCall, ptr: u64 },
    /// `mm_page_alloc`; without a frame number it failed.
    PageAlloc { pfn: Option<u64>, order: u8, gfp: Gfp },
    /// `mm_page_free`
    PageFree { pfn: u64, order: u8 },
    /// Entry of kvmalloc_node.
    KvCall { size: u64, gfp: Gfp },
    /// Return of kvmalloc_node.
    KvReturn { ret: u64 },
    /// Entry of __vmalloc_node_range.
    VmCall { size: u64, align: u64, range: (u64, u64), gfp: Gfp },
    /// Return of __vmalloc_node_range.
    VmReturn { ret: u64 },
    /// The tracer lost events here, of whichever context.
    Lost,
}

/// The function that was asked to free something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is named after the function it stands for")]
pub enum FreeCall {
    Kfree,
    KmemCacheFree,
    Kvfree,
    Vfree,
    FreePages,
}

/// Reads an event's fields; `None` if its name is not one of ours.
pub(super) fn read_event<'a>(
    name: &str,
    mut fields: Fields<'a>,
    gfp: &mut GfpReader<'a>,
) -> Result<Option<What>, LineError> {
    let fields = &mut fields;
    let what = match name {
        "kmalloc" | "kmalloc_node" => object(fields, gfp, false)?,
        "kmem_cache_alloc" | "kmem_cache_alloc_node" => object(fields, gfp, true)?,
        "kfree" => What::Free { call: FreeCall::Kfree, ptr: fields.pointer("ptr")? },
        "kmem_cache_free" => {
            What::Free { call: FreeCall::KmemCacheFree, ptr: fields.pointer("ptr")? }
        }
        "mm_page_alloc" => page_alloc(fields, gfp)?,
        "mm_page_free" => What::PageFree { pfn: pfn(fields)?, order: order(fields)? },
        "kv" => What::KvCall { size: fields.number("size")?, gfp: flags(fields, "gfp", gfp)? },
        "kvr" => What::KvReturn { ret: fields.pointer("ret")? },
        "kvf" => What::Free { call: FreeCall::Kvfree, ptr: fields.pointer("addr")? },
        "vm" => vmalloc(fields, gfp)?,
        "vmr" => What::VmReturn { ret: fields.pointer("ret")? },
        "vf" => What::Free { call: FreeCall::Vfree, ptr: fields.pointer("addr")? },
        _ => return Ok(None),
    };
    Ok(Some(what))
}

fn object<'a>(
    fields: &mut Fields<'a>,
    gfp: &mut GfpReader<'a>,
    from_cache: bool,
) -> Result<What, LineError> {
    Ok(What::Object {
        ptr: fields.pointer("ptr")?,
        size: fields.number("bytes_req")?,
        bytes_alloc: fields.number("bytes_alloc")?,
        gfp: flags(fields, "gfp_flags", gfp)?,
        from_cache,
    })
}

fn page_alloc<'a>(fields: &mut Fields<'a>, gfp: &mut GfpReader<'a>) -> Result<What, LineError> {
    // Frame 0 exists, so only the page's address tells whether there is one.
    let failed = matches!(fields.take("page")?, "(null)" | "0000000000000000" | "0x0");
    let pfn = pfn(fields)?;
    let order = order(fields)?;
    let gfp = flags(fields, "gfp_flags", gfp)?;
    Ok(What::PageAlloc { pfn: (!failed).then_some(pfn), order, gfp })
}

fn vmalloc<'a>(fields: &mut Fields<'a>, gfp: &mut GfpReader<'a>) -> Result<What, LineError> {
    let size = fields.number("size")?;
    let align = fields.number("align")?;
    let range = (fields.number("start")?, fields.number("end")?);
    Ok(What::VmCall { size, align, range, gfp: flags(fields, "gfp", gfp)? })
}

fn pfn(fields: &mut Fields<'_>) -> Result<u64, LineError> {
    fields.number_below("pfn", PFN_LIMIT)
}

fn order(fields: &mut Fields<'_>) -> Result<u8, LineError> {
    let order = fields.number_below("order", ORDER_LIMIT)?;
    Ok(u8::try_from(order).expect("the limit of orders fits a byte"))
}

fn flags<'a>(
    fields: &mut Fields<'a>,
    key: &str,
    gfp: &mut GfpReader<'a>,
) -> Result<Gfp, LineError> {
    let text = fields.take(key)?;
    gfp.read(text).map_err(|part| fields.error(part, format!("GFP flags for `{key}=`")))
}
