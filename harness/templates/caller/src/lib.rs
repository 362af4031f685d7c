//! The code that takes memory. Put yours in the place of [`run`]; nothing else here has to change.

use kvroute_harness::caller::{Kernel, NoMemory, gfp::GFP_KERNEL};

/// Takes memory, uses it and gives it back. It is run again and again, and each time other requests
/// fail, or are served by the slab, by vmalloc, or at the most awkward place that the rules allow.
///
/// # Errors
/// There was no memory. All that was taken until then is given back.
pub fn run(kv: &Kernel) -> Result<(), NoMemory> {
    let table = kv.kvzalloc(0x1800, GFP_KERNEL)?;
    table.at(0x100).store(7);
    kv.kvfree(table);
    Ok(())
}
