//! Who makes a call: a task on a CPU, the context that it is in, and the scopes that it opens.

/// The number of CPUs that a machine can have.
pub const NR_CPUS: usize = 8;

/// The most nodes that a machine can have. A CPU belongs to the node of its number, counted round.
pub const NR_NODES: usize = 4;

/// The number of tasks that a trace can name.
pub const NR_TASKS: usize = 8;

/// What a caller may do besides asking for memory (R1.12, R4.13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    /// An ordinary task, which may sleep.
    #[default]
    Task,
    /// A task that holds a spinlock or has disabled preemption: it may not sleep.
    Atomic,
    /// A softirq, or a task with bottom halves disabled.
    Softirq,
    /// An interrupt handler.
    Hardirq,
    /// The handler of a non-maskable interrupt, which may have interrupted whoever holds a lock
    /// (R1.13).
    Nmi,
}

/// The names of the contexts.
pub static CONTEXTS: &[(&str, Context)] = &[
    ("task", Context::Task),
    ("atomic", Context::Atomic),
    ("softirq", Context::Softirq),
    ("hardirq", Context::Hardirq),
    ("nmi", Context::Nmi),
];

impl Context {
    /// Whether a call that sleeps is allowed.
    pub const fn may_sleep(self) -> bool {
        matches!(self, Self::Task)
    }

    /// `in_interrupt`.
    pub const fn in_interrupt(self) -> bool {
        matches!(self, Self::Softirq | Self::Hardirq | Self::Nmi)
    }
}

/// The caller of a call. A number that is too large counts modulo the number there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Current {
    /// The CPU that it runs on.
    pub cpu: u8,
    /// The task, whose scopes apply.
    pub task: u8,
    /// Its context.
    pub context: Context,
    /// 1 for a task that has a fatal signal pending, so that it is as good as gone (R3.12).
    pub killed: u8,
}

/// A restriction that a task puts on its own allocations (R3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `memalloc_nofs_save`: no allocation enters a file system.
    Nofs,
    /// `memalloc_noio_save`: no allocation starts I/O, nor enters a file system.
    Noio,
}
