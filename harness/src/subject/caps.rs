//! Capabilities: what a subject can do beyond serving requests and keeping bytes; and packs: whose
//! promises it keeps.
//!
//! An oracle names those that it needs, and judges only the lanes that have them; what it could
//! not judge is counted.

/// Something that a subject may be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cap {
    /// It counts what it manages and hands out.
    Counters,
    /// It tells which page frame is behind an address.
    Frames,
    /// It tells which part of the address space is mapped how.
    Spaces,
    /// It refuses a wrong free, and changes nothing. Where it does not, no wrong free is made.
    WrongFrees,
    /// It tells a request to wait, and by its epochs when to ask again.
    Waiting,
    /// It knows who calls: the context, the task and its scopes.
    Contexts,
    /// It injects failures when told to.
    Faults,
    /// It tells what a request has cost others.
    Effort,
    /// It checks its own structures.
    Validation,
    /// It tells whether anything was written beside the memory that it was given.
    Bounds,
    /// When all is freed it is as good as new: it keeps nothing for later.
    GivesBack,
    /// What is freed serves equal requests again, if it is kept for them alone.
    Reuses,
}

/// Every capability, and its name in reports.
pub static CAPS: &[(Cap, &str)] = &[
    (Cap::Counters, "counters"),
    (Cap::Frames, "frames"),
    (Cap::Spaces, "spaces"),
    (Cap::WrongFrees, "refusing wrong frees"),
    (Cap::Waiting, "waiting"),
    (Cap::Contexts, "contexts"),
    (Cap::Faults, "injected failures"),
    (Cap::Effort, "effort"),
    (Cap::Validation, "validation"),
    (Cap::Bounds, "seeing its bounds"),
    (Cap::GivesBack, "giving all back"),
    (Cap::Reuses, "using again what was freed"),
];

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps(u16);

impl Caps {
    /// None.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self(u16::MAX);

    /// These.
    pub const fn of(caps: &[Cap]) -> Self {
        let (mut set, mut place) = (0, 0);
        while place < caps.len() {
            set |= 1 << caps[place] as u16;
            place += 1;
        }
        Self(set)
    }

    /// The same and one more.
    #[must_use]
    pub const fn with(self, cap: Cap) -> Self {
        Self(self.0 | 1 << cap as u16)
    }

    /// The same but for one.
    #[must_use]
    pub const fn without(self, cap: Cap) -> Self {
        Self(self.0 & !(1 << cap as u16))
    }

    /// Whether one is among them.
    pub const fn has(self, cap: Cap) -> bool {
        self.0 >> cap as u16 & 1 == 1
    }

    /// Whether all that are needed are among them.
    pub const fn cover(self, needed: Self) -> bool {
        needed.0 & !self.0 == 0
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        CAPS.iter().filter(move |(cap, _)| self.has(*cap)).map(|(_, name)| *name)
    }
}

/// A set of promises: an oracle judges by one, and a lane claims some for its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pack {
    /// What any caller of any allocator may rely on.
    Generic,
    /// What only Linux promises: for subjects that claim to be Linux.
    Linux,
    /// What Linux asks of calling code: for traces that are callers.
    Caller,
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_set_covers_its_parts_and_names_them() {
        let caps = Caps::of(&[Cap::Frames, Cap::Validation]);
        assert!(caps.names().eq(["frames", "validation"]));
        assert!(caps.cover(Caps::of(&[Cap::Frames])) && caps.cover(Caps::NONE));
        assert!(!caps.cover(Caps::of(&[Cap::Frames, Cap::Counters])));
        assert!(caps.without(Cap::Frames).names().eq(["validation"]));
        assert!(Caps::ALL.cover(caps) && Caps::ALL.names().count() == CAPS.len());
    }
}
