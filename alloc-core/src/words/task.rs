//! Who is calling: the task, its CPU, the context it is in, and the scopes it has opened.
//!
//! What Linux keeps in `current`, in the preemption count and in the task's flags is said by the
//! embedder before a call, so that a call's outcome depends on nothing hidden.
//!
//! A context forbids calls that may sleep (R1.12, R4.13); a scope takes `__GFP_FS` or `__GFP_IO`
//! off every allocation of its task (R3.10). Nothing here schedules: the embedder does.

use crate::words::gfp::{__GFP_FS, __GFP_IO, Gfp};

/// The number of CPUs that a machine can have.
pub const NR_CPUS: usize = 8;
/// The most nodes that a machine can have. A CPU belongs to the node of its number, counted round.
pub const NR_NODES: usize = 4;
/// The number of tasks that scopes are kept for.
pub const NR_TASKS: usize = 8;
/// How deep the scopes of a task nest.
const NR_SCOPES: u8 = 32;

/// What a caller may do besides asking for memory.
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

/// The caller of the calls that follow. A number that is too large counts modulo the number there
/// is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Current {
    /// The CPU that it runs on.
    pub cpu: u8,
    /// The task, whose scopes apply.
    pub task: u8,
    /// Its context.
    pub context: Context,
    /// Whether a fatal signal is pending: the task is as good as gone, and gives its memory back
    /// as soon as it sees the signal (R3.12).
    pub is_killed: bool,
}

/// A restriction that a task puts on its own allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// `memalloc_nofs_save`: no allocation enters a file system.
    Nofs,
    /// `memalloc_noio_save`: no allocation starts I/O, nor enters a file system.
    Noio,
}

/// Why a scope was not opened or closed; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeError {
    /// No scope is open. Linux would set the flag to whatever the caller passed.
    NotOpen,
    /// Another scope was opened later and must be closed first. Linux would clear or keep the wrong
    /// flag.
    NotInnermost(Scope),
    /// More scopes than any call chain nests.
    TooDeep,
}

/// The open scopes of a task, the innermost last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scopes {
    /// A bit for each level: whether it is a NOIO scope.
    is_noio: u32,
    depth: u8,
}

impl Scopes {
    /// Opens a scope (`memalloc_nofs_save`, `memalloc_noio_save`).
    pub(crate) fn save(&mut self, scope: Scope) -> Result<(), ScopeError> {
        if self.depth == NR_SCOPES {
            return Err(ScopeError::TooDeep);
        }
        self.is_noio |= u32::from(scope == Scope::Noio) << self.depth;
        self.depth += 1;
        Ok(())
    }

    /// Closes the innermost scope, which must be of this kind.
    pub(crate) fn restore(&mut self, scope: Scope) -> Result<(), ScopeError> {
        let top = self.depth.checked_sub(1).ok_or(ScopeError::NotOpen)?;
        let open = if self.is_noio >> top & 1 == 1 { Scope::Noio } else { Scope::Nofs };
        if open != scope {
            return Err(ScopeError::NotInnermost(open));
        }
        self.is_noio &= !(1 << top);
        self.depth = top;
        Ok(())
    }

    /// `current_gfp_context`: what the open scopes leave of a request's flags (R3.10).
    pub(crate) const fn mask(self, gfp: Gfp) -> Gfp {
        if self.is_noio != 0 {
            gfp.without(__GFP_IO).without(__GFP_FS)
        } else if self.depth != 0 {
            gfp.without(__GFP_FS)
        } else {
            gfp
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::words::gfp::{GFP_ATOMIC, GFP_KERNEL, GFP_NOFS, GFP_NOIO};

    #[test]
    fn nested_scopes_mask_what_the_strongest_of_them_forbids() {
        let mut scopes = Scopes::default();
        assert_eq!(scopes.mask(GFP_KERNEL), GFP_KERNEL);
        scopes.save(Scope::Nofs).unwrap();
        assert_eq!(scopes.mask(GFP_KERNEL), GFP_NOFS);
        scopes.save(Scope::Noio).unwrap();
        scopes.save(Scope::Nofs).unwrap();
        assert_eq!(scopes.mask(GFP_KERNEL), GFP_NOIO);
        assert_eq!(scopes.mask(GFP_ATOMIC), GFP_ATOMIC);
        scopes.restore(Scope::Nofs).unwrap();
        scopes.restore(Scope::Noio).unwrap();
        assert_eq!(scopes.mask(GFP_KERNEL), GFP_NOFS);
    }

    #[test]
    fn scopes_close_in_the_order_they_nest() {
        let mut scopes = Scopes::default();
        assert_eq!(scopes.restore(Scope::Nofs), Err(ScopeError::NotOpen));
        scopes.save(Scope::Nofs).unwrap();
        assert_eq!(scopes.restore(Scope::Noio), Err(ScopeError::NotInnermost(Scope::Nofs)));
        scopes.restore(Scope::Nofs).unwrap();
        (0..NR_SCOPES).for_each(|_| scopes.save(Scope::Noio).unwrap());
        assert_eq!(scopes.save(Scope::Nofs), Err(ScopeError::TooDeep));
    }
}
