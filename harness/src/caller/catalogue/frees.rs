//! Callers that free memory by the wrong call, in the wrong order, or twice.

use super::case::{Case, Returned};
use crate::caller::config::Phase;
use crate::caller::kernel::{Kernel, Pointer};
use crate::oracle::caller::Rule;
use crate::words::SlabFlags;
use crate::words::gfp::GFP_KERNEL;

pub(super) static CASES: &[Case] = &[
    Case {
        name: "kvmalloc, freed by kfree",
        source: "virtio-net, found by random routing (Patocka 2018); amdgpu (ROCm issue 785); lunatik pull 578",
        rule: Rule::WrongFree,
        phase: Phase::Routing,
        wrong: |kv| queues(kv, |kv, table| kv.kfree(table)),
        right: |kv| queues(kv, |kv, table| kv.kvfree(table)),
    },
    Case {
        name: "kvcalloc, freed by kfree where setting up fails",
        source: "gve (compute-virtual-ethernet-linux pull 23)",
        rule: Rule::WrongFree,
        phase: Phase::Random,
        wrong: |kv| rings(kv, |kv, ring| kv.kfree(ring)),
        right: |kv| rings(kv, |kv, ring| kv.kvfree(ring)),
    },
    Case {
        name: "kvmalloc, freed by vfree",
        source: "code that took large memory for an area, as it was before kvmalloc (LWN 2017)",
        rule: Rule::WrongFree,
        phase: Phase::Policy,
        wrong: |kv| queues(kv, |kv, table| kv.vfree(table)),
        right: |kv| queues(kv, |kv, table| kv.kvfree(table)),
    },
    Case {
        name: "kvmalloc, grown by krealloc",
        source: "krealloc has no vmalloc side (R5.5)",
        rule: Rule::WrongFree,
        phase: Phase::Routing,
        wrong: |kv| grown(kv, true),
        right: |kv| grown(kv, false),
    },
    Case {
        name: "a page of a buffer, used when the buffer is freed",
        source: "senders that pass pages on without a reference of their own (R3.13)",
        rule: Rule::UseAfterFree,
        phase: Phase::Policy,
        wrong: |kv| sent(kv, |_, page| page),
        right: |kv| sent(kv, |kv, page| kv.get_page(page)),
    },
    Case {
        name: "a list is freed while readers are in it",
        source: "lists that were given RCU readers and kept their kfree (R6.7)",
        rule: Rule::UseAfterFree,
        phase: Phase::Policy,
        wrong: |kv| unlinked(kv, |kv, entry| kv.kvfree(entry)),
        right: |kv| unlinked(kv, |kv, entry| kv.kvfree_rcu(entry, 0x10)),
    },
    Case {
        name: "a block of pages, freed with another order",
        source: "a report of the kernel test robot",
        rule: Rule::WrongFree,
        phase: Phase::Policy,
        wrong: |kv| block(kv, 1),
        right: |kv| block(kv, 2),
    },
    Case {
        name: "freed on the error path and by the caller again",
        source: "error paths, which only an injected failure runs",
        rule: Rule::DoubleFree,
        phase: Phase::Failure,
        wrong: |kv| pair(kv, true),
        right: |kv| pair(kv, false),
    },
    Case {
        name: "a cache, destroyed before its objects on the error path",
        source: "error paths; Linux reports a bug and keeps the cache (R2.8)",
        rule: Rule::BusyCache,
        phase: Phase::Failure,
        wrong: |kv| pool(kv, true),
        right: |kv| pool(kv, false),
    },
];

/// A table of queues for as long as a device is open.
fn queues(kv: &Kernel, free: impl Fn(&Kernel, Pointer)) -> Returned {
    let table = kv.kvzalloc(0x1800, GFP_KERNEL)?;
    table.at(0x100).store(7);
    let seen = table.at(0x100).load();
    free(kv, table);
    Ok(seen)
}

/// Two rings; if there is no memory for the second, the first is given back.
fn rings(kv: &Kernel, free: impl Fn(&Kernel, Pointer)) -> Returned {
    let first = kv.kvcalloc(64, 96, GFP_KERNEL)?;
    let second = kv.kvcalloc(64, 96, GFP_KERNEL).inspect_err(|_| free(kv, first))?;
    kv.kvfree(second);
    kv.kvfree(first);
    Ok(0)
}

/// A buffer that turns out too small.
fn grown(kv: &Kernel, by_krealloc: bool) -> Returned {
    let buffer = kv.kvmalloc(0x1000, GFP_KERNEL)?;
    buffer.store(42);
    let larger = if by_krealloc {
        kv.krealloc(buffer, 0x1800, GFP_KERNEL)
    } else {
        kv.kvrealloc(buffer, 0x1000, 0x1800, GFP_KERNEL)
    };
    let larger = larger.inspect_err(|_| kv.kvfree(buffer))?;
    let seen = larger.load();
    kv.kvfree(larger);
    Ok(seen)
}

/// A page of a buffer, for a device that has it longer than the buffer lives.
fn sent(kv: &Kernel, hold: for<'k> fn(&'k Kernel, Pointer<'k>) -> Pointer<'k>) -> Returned {
    let buffer = kv.vmalloc(0x2000)?;
    let page = buffer.at(0x1000);
    page.store(42);
    let page = hold(kv, page);
    kv.vfree(buffer);
    let seen = page.load();
    if page != buffer.at(0x1000) {
        kv.put_page(page);
    }
    Ok(seen)
}

/// An entry of a list that a reader has found before it was unlinked.
fn unlinked(kv: &Kernel, free: impl Fn(&Kernel, Pointer)) -> Returned {
    let entry = kv.kvzalloc(0x1800, GFP_KERNEL)?;
    entry.store(42);
    free(kv, entry);
    let seen = entry.load();
    kv.tick();
    Ok(seen)
}

/// Four pages.
fn block(kv: &Kernel, order_at_free: u32) -> Returned {
    let pages = kv.__get_free_pages(GFP_KERNEL, 2)?;
    pages.fill(0, 0x4000);
    kv.free_pages(pages, order_at_free);
    Ok(0)
}

/// A device and its state; setting up frees the device if there is no state.
fn pair(kv: &Kernel, frees_again: bool) -> Returned {
    let device = kv.kzalloc(0x80, GFP_KERNEL)?;
    match kv.kvmalloc(0x3000, GFP_KERNEL) {
        Ok(state) => {
            kv.kvfree(state);
            kv.kfree(device);
            Ok(0)
        }
        Err(error) => {
            kv.kfree(device);
            if frees_again {
                kv.kfree(device);
            }
            Err(error)
        }
    }
}

/// A cache with two objects.
fn pool(kv: &Kernel, forgets_first: bool) -> Returned {
    let cache = kv.kmem_cache_create(0x100, 0, SlabFlags(0), None)?;
    let objects = (|| {
        let first = kv.kmem_cache_alloc(cache, GFP_KERNEL)?;
        let second = kv.kmem_cache_alloc(cache, GFP_KERNEL).inspect_err(|_| {
            if !forgets_first {
                kv.kmem_cache_free(cache, first);
            }
        })?;
        Ok([first, second])
    })();
    for object in objects.iter().flatten() {
        kv.kmem_cache_free(cache, *object);
    }
    kv.kmem_cache_destroy(cache);
    objects.map(|_| 0)
}
