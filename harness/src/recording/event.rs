//! The allocation events of a recording: which there are and what each one says.
//!
//! An event keeps only what replaying it needs. Addresses are identities, not places, until `pages`
//! finds where the direct map begins.
//!
//! This file does not know which event is nested in which (`nest`).

use super::error::LineError;
use super::fields::Fields;
use super::gfp::GfpReader;
use crate::words::Gfp;

/// log2 of the page size of the machines whose recordings this reads.
pub(super) const PAGE_SHIFT: u32 = 12;
/// Bytes of a page.
pub(super) const PAGE: u64 = 1 << PAGE_SHIFT;

/// Page frame numbers stay below this, so that a frame's address fits a word.
const PFN_LIMIT: u64 = 1 << 50;
/// Orders stay below this; no kernel has had a `MAX_ORDER` beyond it.
const ORDER_LIMIT: u64 = 16;

/// An event and where it happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct TraceEvent {
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
    /// `kmalloc`, or `kmem_cache_alloc` if `from_cache`. Without an address it is hidden.
    Object { ptr: Option<u64>, size: u64, bytes_alloc: u64, gfp: Gfp, from_cache: bool },
    /// `kfree`, `kmem_cache_free`, and the probes on kvfree and vfree.
    Free { call: RecordedFree, ptr: Option<u64> },
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
pub enum RecordedFree {
    Kfree,
    KmemCacheFree,
    Kvfree,
    Vfree,
    FreePages,
}

/// The largest block of the page allocator: nothing that one request yields is larger.
const LARGEST_BLOCK: u64 = PAGE << (ORDER_LIMIT - 1);

/// Reads an event's fields; `None` if it is not one of ours.
pub(super) fn read_event(
    name: &str,
    fields: &mut Fields<'_>,
    gfp: &mut GfpReader,
) -> Result<Option<What>, LineError> {
    let what = match name {
        "kmalloc" | "kmalloc_node" => object(fields, gfp, false)?,
        "kmem_cache_alloc" | "kmem_cache_alloc_node" => object(fields, gfp, true)?,
        "kfree" => What::Free { call: RecordedFree::Kfree, ptr: fields.pointer("ptr")? },
        "kmem_cache_free" => {
            What::Free { call: RecordedFree::KmemCacheFree, ptr: fields.pointer("ptr")? }
        }
        "mm_page_alloc" => page_alloc(fields, gfp)?,
        "mm_page_free" => What::PageFree { pfn: pfn(fields)?, order: order(fields)? },
        _ => return probe(name, fields, gfp),
    };
    Ok(Some(what))
}

/// Probes by the names that `ci/record.sh` gives them, which must have its fields; and by those
/// that perf and trace-cmd make of the function's name, if somebody named their fields alike.
fn probe(
    name: &str,
    fields: &mut Fields<'_>,
    gfp: &mut GfpReader,
) -> Result<Option<What>, LineError> {
    let (role, key) = match name {
        "kv" | "kvr" | "kvf" | "vm" | "vmr" | "vf" => (name, None),
        _ => match probed_function(name) {
            Some(("kvmalloc_node", false)) => ("kv", Some("gfp")),
            Some(("kvmalloc_node", true)) => ("kvr", Some("ret")),
            Some(("kvfree", false)) => ("kvf", Some("addr")),
            Some(("__vmalloc_node_range", false)) => ("vm", Some("gfp")),
            Some(("__vmalloc_node_range", true)) => ("vmr", Some("ret")),
            Some(("vfree", false)) => ("vf", Some("addr")),
            _ => return Ok(None),
        },
    };
    if key.is_some_and(|key| !fields.has(key)) {
        return Ok(None);
    }
    let what = match role {
        "kv" => What::KvCall { size: fields.number("size")?, gfp: flags(fields, "gfp", gfp)? },
        "kvr" => What::KvReturn { ret: fields.address("ret")? },
        "kvf" => What::Free { call: RecordedFree::Kvfree, ptr: fields.pointer("addr")? },
        "vm" => vmalloc(fields, gfp)?,
        "vmr" => What::VmReturn { ret: fields.address("ret")? },
        _ => What::Free { call: RecordedFree::Vfree, ptr: fields.pointer("addr")? },
    };
    Ok(Some(what))
}

/// The function that a probe is on, by its default name, and whether it is on the return:
/// `p_kvmalloc_node_0` and `r_kvmalloc_node_0` of tracefs, `kvmalloc_node` and
/// `kvmalloc_node__return` of perf.
pub(super) fn probed_function(name: &str) -> Option<(&'static str, bool)> {
    const FUNCTIONS: [&str; 4] = ["kvmalloc_node", "kvfree", "__vmalloc_node_range", "vfree"];
    let (name, is_return) = match name.strip_suffix("__return") {
        Some(name) => (name, true),
        None => (name, name.starts_with("r_")),
    };
    let name = name.strip_prefix("p_").or(name.strip_prefix("r_")).unwrap_or(name);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    // Since 6.10 the functions proper have another name, and perf leaves out leading underscores.
    let name = name.strip_suffix("_noprof").unwrap_or(name).trim_start_matches('_');
    let known = FUNCTIONS.iter().find(|known| known.trim_start_matches('_') == name)?;
    Some((known, is_return))
}

fn object(
    fields: &mut Fields<'_>,
    gfp: &mut GfpReader,
    from_cache: bool,
) -> Result<What, LineError> {
    let ptr = fields.pointer("ptr")?;
    let size = fields.number("bytes_req")?;
    let bytes_alloc = fields.number("bytes_alloc")?;
    // A request that failed may be of any size; nothing is there to be as large.
    let most = if ptr == Some(0) { u64::MAX } else { LARGEST_BLOCK };
    if bytes_alloc < size || bytes_alloc > most {
        let expected = format!(
            "`bytes_alloc=` of at least `bytes_req=` ({size}) and at most the largest block \
             ({LARGEST_BLOCK}); this line is damaged, delete it to go on"
        );
        return Err(fields.error(fields.latest("bytes_alloc"), expected));
    }
    let gfp = flags(fields, "gfp_flags", gfp)?;
    Ok(What::Object { ptr, size, bytes_alloc, gfp, from_cache })
}

fn page_alloc(fields: &mut Fields<'_>, gfp: &mut GfpReader) -> Result<What, LineError> {
    let page = fields.pointer("page")?;
    let pfn = pfn(fields)?;
    let order = order(fields)?;
    let gfp = flags(fields, "gfp_flags", gfp)?;
    // Frame 0 exists, so the page's address tells whether there is one. No kernel gives frame 0
    // away, so it tells as much if the address is hidden.
    let failed = page.map_or(pfn == 0, |page| page == 0);
    Ok(What::PageAlloc { pfn: (!failed).then_some(pfn), order, gfp })
}

fn vmalloc(fields: &mut Fields<'_>, gfp: &mut GfpReader) -> Result<What, LineError> {
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

fn flags(fields: &mut Fields<'_>, key: &str, gfp: &mut GfpReader) -> Result<Gfp, LineError> {
    let text = fields.take(key)?;
    gfp.read(text).map_err(|bad| fields.error(bad.part, format!("{} for `{key}=`", bad.expected)))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn probes_are_known_by_the_function_that_they_are_on() {
        for (name, expected) in [
            ("p_kvmalloc_node_0", Some(("kvmalloc_node", false))),
            ("r_kvmalloc_node_12", Some(("kvmalloc_node", true))),
            ("kvmalloc_node__return", Some(("kvmalloc_node", true))),
            ("__kvmalloc_node_noprof", Some(("kvmalloc_node", false))),
            ("vmalloc_node_range", Some(("__vmalloc_node_range", false))),
            ("p___vmalloc_node_range_0", Some(("__vmalloc_node_range", false))),
            ("vfree", Some(("vfree", false))),
            ("vfree_atomic", None),
            ("sched_switch", None),
        ] {
            assert_eq!(probed_function(name), expected, "{name}");
        }
    }
}
