//! Callers in C: the kernel's calls under their own names, for sources that include our headers.
//!
//! A header's macro says from which line a call comes, so a report names it without debugging
//! information. What C hands over is what the harness is asked; nothing is decided here.
#![expect(unsafe_code, reason = "C finds functions by name, and hands over bare pointers")]

use super::{Config, Failure, current, explore, fuzz};
use kvroute_harness::call::{Request, ask};
use kvroute_harness::caller::{Plan, Source};
use kvroute_harness::subject::Answer;
use kvroute_harness::words::{CacheHandle, Context, Gfp, SlabFlags};
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::process::abort;
use std::ptr;

type Pointer = *mut c_void;

thread_local! {
    /// The calls that were begun, and whose arguments may be calls too.
    static BEGUN: RefCell<Vec<Source>> = const { RefCell::new(Vec::new()) };
    /// Where the last call came from, for one through a pointer.
    static LAST: Cell<Source> =
        const { Cell::new(Source { file: "an unknown place", line: 0, column: 0 }) };
    /// The spinlocks that the caller holds.
    static NR_LOCKS: Cell<u32> = const { Cell::new(0) };
}

/// A call begins on this line of this file.
///
/// # Safety
/// `file` is a string literal.
#[unsafe(no_mangle)]
unsafe extern "C" fn kvroute_at(file: *const c_char, line: c_uint) {
    // SAFETY: a string literal ends with a zero, and lives as long as the program.
    let file: &'static CStr = unsafe { CStr::from_ptr(file) };
    let file = file.to_str().unwrap_or("a file without a readable name");
    BEGUN.with_borrow_mut(|begun| begun.push(Source { file, line, column: 0 }));
}

/// Where the call comes from that has all its arguments now.
fn place() -> Source {
    let place = BEGUN.with_borrow_mut(Vec::pop).unwrap_or(LAST.get());
    LAST.set(place);
    place
}

fn call(request: Request) -> Answer {
    current::call(request, place())
}

fn memory(request: Request) -> Pointer {
    call(request).granted().first().map_or(ptr::null_mut(), |here| *here as Pointer)
}

/// What makes memory: `NULL` if there is none.
macro_rules! makes {
    ($($name:ident($($arg:ident: $type:ty),*) => $request:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name($($arg: $type),*) -> Pointer {
            memory($request)
        }
    )* };
}

/// What gives nothing.
macro_rules! does {
    ($($name:ident($($arg:ident: $type:ty),*) => $request:expr;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $name($($arg: $type),*) {
            let _ = call($request);
        }
    )* };
}

makes! {
    kmalloc(size: u64, flags: c_uint) => ask::kmalloc(size, Gfp(flags));
    kzalloc(size: u64, flags: c_uint) => ask::kzalloc(size, Gfp(flags));
    kmalloc_array(n: u64, size: u64, flags: c_uint) => ask::kmalloc_array(n, size, Gfp(flags));
    kcalloc(n: u64, size: u64, flags: c_uint) => ask::kcalloc(n, size, Gfp(flags));
    krealloc(p: Pointer, size: u64, flags: c_uint) => ask::krealloc(p as u64, size, Gfp(flags));
    vmalloc(size: u64) => ask::vmalloc(size);
    vzalloc(size: u64) => ask::vzalloc(size);
    __vmalloc(size: u64, flags: c_uint) => ask::__vmalloc(size, Gfp(flags));
    kvmalloc(size: u64, flags: c_uint) => ask::kvmalloc(size, Gfp(flags));
    kvzalloc(size: u64, flags: c_uint) => ask::kvzalloc(size, Gfp(flags));
    kvmalloc_array(n: u64, size: u64, flags: c_uint) => ask::kvmalloc_array(n, size, Gfp(flags));
    kvcalloc(n: u64, size: u64, flags: c_uint) => ask::kvcalloc(n, size, Gfp(flags));
    kvrealloc(p: Pointer, old: u64, size: u64, flags: c_uint) =>
        ask::kvrealloc(p as u64, old, size, Gfp(flags));
    __get_free_pages(flags: c_uint, order: c_uint) => ask::__get_free_pages(Gfp(flags), order);
}

does! {
    kfree(p: Pointer) => ask::kfree(p as u64);
    kfree_sensitive(p: Pointer) => ask::kfree_sensitive(p as u64);
    vfree(p: Pointer) => ask::vfree(p as u64);
    kvfree(p: Pointer) => ask::kvfree(p as u64);
    kvfree_sensitive(p: Pointer, len: u64) => ask::kvfree_sensitive(p as u64, len);
    kvroute_kfree_rcu(p: Pointer, head: u64) => ask::kfree_rcu(p as u64, head);
    kvroute_kvfree_rcu(p: Pointer, head: u64) => ask::kvfree_rcu(p as u64, head);
    synchronize_rcu() => ask::tick();
    free_pages(p: u64, order: c_uint) => ask::free_pages(p, order);
    kvroute_nofs_save() => ask::memalloc_nofs_save();
    kvroute_nofs_restore() => ask::memalloc_nofs_restore();
    kvroute_noio_save() => ask::memalloc_noio_save();
    kvroute_noio_restore() => ask::memalloc_noio_restore();
}

#[unsafe(no_mangle)]
extern "C" fn ksize(p: Pointer) -> u64 {
    if let Answer::Size(size) = call(ask::ksize(p as u64)) { size } else { 0 }
}

#[unsafe(no_mangle)]
extern "C" fn is_vmalloc_addr(p: Pointer) -> bool {
    call(ask::is_vmalloc_addr(p as u64)) == Answer::Flag(true)
}

/// The number of the frame behind an address, by the conversion for the direct map.
#[unsafe(no_mangle)]
extern "C" fn kvroute_virt_to_pfn(p: Pointer) -> u64 {
    if let Answer::Frame(frame) = call(ask::virt_to_page(p as u64)) { frame.into() } else { 0 }
}

/// The number of the frame behind an address, by the conversion for vmalloc's.
#[unsafe(no_mangle)]
extern "C" fn kvroute_vmalloc_to_pfn(p: Pointer) -> u64 {
    if let Answer::Frame(frame) = call(ask::vmalloc_to_page(p as u64)) { frame.into() } else { 0 }
}

/// A cache as C knows it, by its address alone.
struct Cache {
    handle: CacheHandle,
    size: c_uint,
    ctor: Option<extern "C" fn(Pointer)>,
}

/// Makes a cache. Its objects are constructed each time that they are given.
#[unsafe(no_mangle)]
extern "C" fn kmem_cache_create(
    _name: *const c_char,
    size: c_uint,
    align: c_uint,
    flags: c_uint,
    ctor: Option<extern "C" fn(Pointer)>,
) -> *mut Cache {
    let request = ask::kmem_cache_create(size.into(), align.into(), SlabFlags(flags), None);
    match call(request) {
        Answer::Cache(handle) => Box::into_raw(Box::new(Cache { handle, size, ctor })),
        _ => ptr::null_mut(),
    }
}

/// The cache at an address.
///
/// # Safety
/// It is one that `kmem_cache_create` has given. It is never freed, so a destroyed one is refused
/// by the allocator as any other.
unsafe fn cache<'a>(cache: *const Cache) -> &'a Cache {
    // SAFETY: what is asked of this one's caller.
    unsafe { cache.as_ref() }.unwrap_or_else(|| abort())
}

/// # Safety
/// As for every function about a cache, it is one that `kmem_cache_create` has given.
#[unsafe(no_mangle)]
unsafe extern "C" fn kmem_cache_alloc(of: *const Cache, flags: c_uint) -> Pointer {
    // SAFETY: what is asked of this one's caller.
    let cache = unsafe { cache(of) };
    let object = memory(ask::kmem_cache_alloc(cache.handle, Gfp(flags)));
    if let Some(ctor) = cache.ctor.filter(|_| !object.is_null()) {
        ctor(object);
    }
    object
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
unsafe extern "C" fn kmem_cache_zalloc(of: *const Cache, flags: c_uint) -> Pointer {
    // SAFETY: what is asked of this one's caller.
    memory(ask::kmem_cache_zalloc(unsafe { cache(of) }.handle, Gfp(flags)))
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
unsafe extern "C" fn kmem_cache_free(of: *const Cache, object: Pointer) {
    // SAFETY: what is asked of this one's caller.
    let _ = call(ask::kmem_cache_free(unsafe { cache(of) }.handle, object as u64));
}

/// # Safety
/// As above, or `NULL`.
#[unsafe(no_mangle)]
unsafe extern "C" fn kmem_cache_destroy(of: *const Cache) {
    if of.is_null() {
        place();
    } else {
        // SAFETY: what is asked of this one's caller.
        let _ = call(ask::kmem_cache_destroy(unsafe { cache(of) }.handle));
    }
}

/// # Safety
/// As above.
#[unsafe(no_mangle)]
unsafe extern "C" fn kmem_cache_size(of: *const Cache) -> c_uint {
    // SAFETY: what is asked of this one's caller.
    unsafe { cache(of) }.size
}

/// The caller may not sleep until it has given back as many locks as it has taken.
#[unsafe(no_mangle)]
extern "C" fn kvroute_spin_lock() {
    NR_LOCKS.set(NR_LOCKS.get() + 1);
    current::enter(Context::Atomic);
}

/// The caller gives a lock back, in whichever order.
#[unsafe(no_mangle)]
extern "C" fn kvroute_spin_unlock() {
    NR_LOCKS.set(NR_LOCKS.get().saturating_sub(1));
    if NR_LOCKS.get() == 0 {
        current::enter(Context::Task);
    }
}

/// Runs a caller, afresh.
fn ran(caller: extern "C" fn() -> c_int) -> Result<c_int, c_int> {
    NR_LOCKS.set(0);
    BEGUN.with_borrow_mut(Vec::clear);
    match caller() {
        error @ ..0 => Err(error),
        value => Ok(value),
    }
}

/// What a fuzz engine calls: tries a caller under the plan that bytes stand for, one a request. A
/// mistake is told on standard error, and aborts the process.
///
/// # Safety
/// There are so many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn kvroute_fuzz(
    caller: extern "C" fn() -> c_int,
    bytes: *const u8,
    nr_bytes: usize,
) {
    let bytes = match nr_bytes {
        0 => &[],
        // SAFETY: what is asked of this one's caller.
        _ => unsafe { std::slice::from_raw_parts(bytes, nr_bytes) },
    };
    fuzz(bytes, |_| ran(caller));
}

/// Explores a caller: 0 if it makes no mistake, 1 if it makes one, 2 if nothing can be said.
/// `KVROUTE_PLAN` is the one plan to try, `KVROUTE_BYTES` a file of a fuzz engine's that stands for
/// one, `KVROUTE_SEEDS` the number of random ones.
#[unsafe(no_mangle)]
extern "C" fn kvroute_explore(caller: extern "C" fn() -> c_int) -> c_int {
    let config = match config() {
        Ok(config) => config,
        Err(reason) => {
            eprintln!("{reason}");
            return 2;
        }
    };
    match explore(&config, |_| ran(caller)) {
        Ok(explored) => {
            println!("no mistake in {} runs", explored.nr_runs);
            0
        }
        Err(failure) => {
            println!("{failure}");
            if let Failure::Found(found) = &failure {
                println!("or: KVROUTE_PLAN=\"{}\" in the environment", found.finding.plan);
            }
            if matches!(failure, Failure::Found(_)) { 1 } else { 2 }
        }
    }
}

/// What the environment says.
fn config() -> Result<Config, String> {
    let config = Config::new();
    let config = match std::env::var("KVROUTE_SEEDS") {
        Ok(seeds) => config.seeds(seeds.parse().map_err(|_| format!("KVROUTE_SEEDS={seeds}?"))?),
        Err(_) => config,
    };
    if let Ok(file) = std::env::var("KVROUTE_BYTES") {
        let bytes = std::fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
        return Ok(config.under(Plan::from_bytes(&bytes)));
    }
    match std::env::var("KVROUTE_PLAN") {
        Ok(text) => {
            let plan: Plan = text.parse().map_err(|error| format!("KVROUTE_PLAN, {error}"))?;
            Ok(config.under(plan))
        }
        Err(_) => Ok(config),
    }
}
