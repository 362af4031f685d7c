//! The machines on which the ends of arguments are tried, fresh and used.
//!
//! A state is a short trace in the language itself: a header, and the ops that use the machine up
//! in some way. What it keeps is in registers from [`FIRST_KEPT`] on, and its tasks are those from
//! [`FIRST_TASK`] on.
//!
//! Nothing is said of what a call then answers.

use crate::op::{Op, Reg};
use crate::trace::{Machine, POLICIES, Trace};
use std::fmt::Write;

/// The first register that a state keeps something in.
const FIRST_KEPT: Reg = 100;

/// The first task that a state calls as, but for what is done by the same task as the cases.
pub(super) const FIRST_TASK: u8 = 6;

/// A machine and how it was used.
#[derive(Debug)]
pub(super) struct State {
    /// What is special about it.
    pub(super) name: &'static str,
    /// Its header and its first ops.
    pub(super) start: Trace,
}

/// One row of the table of states.
struct Row {
    name: &'static str,
    header: &'static str,
    /// Writes the ops.
    uses: fn(&mut String),
    /// Whether it is tried under every version of kvmalloc.
    versions: Versions,
}

/// Which versions of kvmalloc a state is tried under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    Default,
    All,
}

const ROWS: &[Row] = &[
    Row { name: "fresh", header: "frames: 2048", uses: |_| (), versions: Versions::All },
    Row {
        name: "smallest",
        header: "frames: 64, vmalloc_pages: 16, min_free: 0",
        uses: |_| (),
        versions: Versions::Default,
    },
    Row {
        name: "all reserved",
        header: "frames: 256, min_free: 256",
        uses: |_| (),
        versions: Versions::Default,
    },
    Row {
        name: "three top blocks",
        header: "frames: 4096, min_free: 0, shuffle: 0",
        uses: top_blocks,
        versions: Versions::Default,
    },
    Row {
        name: "8 CPUs, 4 nodes",
        header: "frames: 2048, cpus: 8, nodes: 4, pcp_high: 64",
        uses: per_cpu,
        versions: Versions::Default,
    },
    Row {
        name: "fragmented",
        header: "frames: 512, vmalloc_pages: 256",
        uses: fragmented,
        versions: Versions::All,
    },
    Row {
        name: "no frame",
        header: "frames: 128, vmalloc_pages: 256, min_free: 8",
        uses: no_frame,
        versions: Versions::All,
    },
    Row {
        name: "at the watermark",
        header: "frames: 128, vmalloc_pages: 256, min_free: 32",
        uses: at_the_watermark,
        versions: Versions::Default,
    },
    Row {
        name: "no space",
        header: "frames: 512, vmalloc_pages: 64",
        uses: no_space,
        versions: Versions::All,
    },
    Row {
        name: "cached",
        header: "frames: 512, vmalloc_pages: 512",
        uses: cached,
        versions: Versions::Default,
    },
    Row {
        name: "waited for",
        header: "frames: 128, vmalloc_pages: 32, min_free: 8",
        uses: waited_for,
        versions: Versions::Default,
    },
    Row {
        name: "in scopes",
        header: "frames: 256, vmalloc_pages: 256",
        uses: in_scopes,
        versions: Versions::Default,
    },
];

/// Every state, on the default version of kvmalloc and, where that matters, on all others.
pub(super) fn states() -> Vec<State> {
    let of = |row: &Row, policy: Option<&str>| {
        let mut text = format!("machine ({}", row.header);
        policy.into_iter().for_each(|name| write!(text, ", policy: {name}").expect("a string"));
        text.push_str(")\n");
        (row.uses)(&mut text);
        let start = Trace::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        State { name: row.name, start }
    };
    let default = ROWS.iter().map(|row| of(row, None));
    let is_default = |name: &&&str| **name != POLICIES[Machine::default().policy as usize];
    let others = ROWS.iter().filter(|row| row.versions == Versions::All).flat_map(|row| {
        POLICIES.iter().filter(is_default).map(move |policy| of(row, Some(policy)))
    });
    default.chain(others).collect()
}

impl State {
    /// Whether only calls of kvmalloc and vmalloc find anything new here.
    pub(super) fn is_of_another_version(&self) -> bool {
        self.start.machine.policy != Machine::default().policy
    }

    /// The header and the first ops.
    pub(super) fn begin(&self) -> (Machine, Vec<Op>) {
        (self.start.machine, self.start.ops.clone())
    }
}

fn say(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Writes the line for each of so many registers, `#` standing for the register's number.
fn each(text: &mut String, nr: u16, line: &str) {
    for register in FIRST_KEPT..FIRST_KEPT + nr {
        say(text, &line.replace('#', &register.to_string()));
    }
}

/// All blocks of the top order are taken and given back.
fn top_blocks(text: &mut String) {
    each(text, 3, "r# = alloc_pages(GFP_KERNEL, 10)");
    each(text, 3, "__free_pages(r#, 10)");
    say(text, "r100 = vmalloc_huge(0x200000, GFP_KERNEL)");
}

/// Every CPU keeps pages and objects, and some objects are freed by another CPU.
fn per_cpu(text: &mut String) {
    for cpu in 0..8 {
        each(text, 8, &format!("r# = alloc_pages(GFP_KERNEL, 0) (task: 6, cpu: {cpu})"));
        each(text, 8, &format!("__free_pages(r#, 0) (task: 6, cpu: {cpu})"));
        each(text, 4, &format!("r# = kmalloc(0x40, GFP_KERNEL) (task: 6, cpu: {cpu})"));
        each(text, 4, &format!("kfree(r#) (task: 6, cpu: {})", (cpu + 1) % 8));
        say(text, &format!("r{} = alloc_pages_node({}, GFP_KERNEL, 3)", 110 + cpu, cpu % 4));
    }
}

/// Every second page, object and area is held; the areas between are free or lazy.
fn fragmented(text: &mut String) {
    each(text, 120, "r# = alloc_pages(GFP_KERNEL, 0)");
    (100..220).step_by(2).for_each(|r| say(text, &format!("__free_pages(r{r}, 0)")));
    for (first, call, free) in [
        (300, "kmalloc(0x60, GFP_KERNEL)", "kfree"),
        (320, "vmalloc(0x2000)", "vfree"),
        (340, "kmalloc(0x1000, GFP_KERNEL)", "kfree"),
    ] {
        (first..first + 16).for_each(|r| say(text, &format!("r{r} = {call}")));
        (first..first + 16).step_by(2).for_each(|r| say(text, &format!("{free}(r{r})")));
        say(text, "vm_unmap_aliases()");
    }
    say(text, "vfree(r321)");
}

/// The reserves are used up as well, to the last frame.
fn no_frame(text: &mut String) {
    say(text, "r400 = kmalloc(0x40, GFP_KERNEL)");
    say(text, "r401 = vmalloc(0x1800)");
    each(text, 130, "r# = alloc_pages(GFP_ATOMIC|__GFP_MEMALLOC, 0)");
}

/// What is free is kept for entitled requests.
fn at_the_watermark(text: &mut String) {
    say(text, "r400 = kmalloc(0x40, GFP_KERNEL)");
    say(text, "r401 = vmalloc(0x1800)");
    each(text, 130, "r# = alloc_pages(GFP_NOWAIT, 0)");
}

/// The vmalloc space is full.
fn no_space(text: &mut String) {
    each(text, 33, "r# = vmalloc(0x1000)");
}

/// Most memory is the page cache's, in all its kinds, and that of two processes.
fn cached(text: &mut String) {
    for needs in ["0", "__GFP_IO", "__GFP_FS"] {
        say(text, &format!("add_to_page_cache(0x60, {needs})"));
    }
    say(text, "start_process(0x40)");
    say(text, "start_process(0x20)");
    each(text, 200, "r# = alloc_pages(GFP_NOWAIT, 0)");
}

/// Two tasks wait, for memory and for vmalloc space.
fn waited_for(text: &mut String) {
    say(text, "r400 = vmalloc(0xf000)");
    say(text, "r401 = vmalloc(0xd000)");
    say(text, "r402 = __vmalloc(0x4000, GFP_KERNEL|__GFP_NOFAIL) (task: 6)");
    each(text, 130, "r# = alloc_pages(GFP_ATOMIC|__GFP_MEMALLOC, 0)");
    say(text, "r403 = alloc_pages(GFP_KERNEL|__GFP_NOFAIL, 1) (task: 7)");
}

/// The task of the cases may neither start I/O nor enter a file system, as deep as scopes go.
fn in_scopes(text: &mut String) {
    say(text, "add_to_page_cache(0x20, __GFP_FS)");
    for depth in 0..32 {
        let scope = if depth % 2 == 0 { "nofs" } else { "noio" };
        say(text, &format!("memalloc_{scope}_save()"));
    }
}
