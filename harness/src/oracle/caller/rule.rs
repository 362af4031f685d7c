//! The rules that calling code has to keep, as a table.

/// A rule that a caller can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is described in RULES")]
pub enum Rule {
    WrongFree,
    DoubleFree,
    UseAfterFree,
    OutOfBounds,
    NoAddress,
    WrongConversion,
    Dma,
    Alignment,
    Context,
    Reentry,
    Arguments,
    Warning,
    BusyCache,
    OpenScope,
    Leak,
    Endless,
    Hang,
    Exhaustion,
    Unprovoked,
    Difference,
    Panic,
}

/// Every rule: its name in reports, and what it asks of a caller. `RULES[rule as usize]`.
pub static RULES: &[(Rule, &str, &str)] = &[
    (Rule::WrongFree, "wrong-free", "memory is freed by a call that frees memory of its kind"),
    (Rule::DoubleFree, "double-free", "memory is freed once"),
    (Rule::UseAfterFree, "use-after-free", "memory is not used after it is freed or replaced"),
    (Rule::OutOfBounds, "out-of-bounds", "no byte is used beyond those that were asked for"),
    (Rule::NoAddress, "no-address", "no byte is used where no memory of the caller's is"),
    (Rule::WrongConversion, "wrong-conversion", "an address is converted by the call for its kind"),
    (Rule::Dma, "dma", "a device is given physically contiguous memory, which vmalloc's is not"),
    (Rule::Alignment, "alignment", "an aligned access is made to memory that is so aligned"),
    (Rule::Context, "context", "a call that may sleep is made where it is allowed to"),
    (Rule::Reentry, "reentry", "a file system's requests do not let reclaim enter a file system"),
    (Rule::Arguments, "arguments", "a call's arguments mean something"),
    (Rule::Warning, "warning", "nothing is asked for that Linux warns of with a backtrace"),
    (Rule::BusyCache, "busy-cache", "a cache is destroyed when all its objects are freed"),
    (Rule::OpenScope, "open-scope", "a scope is left by its own restore, the innermost first"),
    (Rule::Leak, "leak", "all memory is freed at the end, whether the caller succeeded or not"),
    (Rule::Endless, "endless", "a caller ends, and does not ask again for ever"),
    (Rule::Hang, "hang", "a request that must not fail can be served"),
    (Rule::Exhaustion, "exhaustion", "no request makes Linux kill processes until none is left"),
    (Rule::Unprovoked, "unprovoked", "a caller that got all it asked for succeeds"),
    (Rule::Difference, "difference", "what a caller returns does not depend on what memory it got"),
    (Rule::Panic, "panic", "a caller does not panic"),
];

impl Rule {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        RULES[self as usize].1
    }

    /// What it asks of a caller.
    pub fn sentence(self) -> &'static str {
        RULES[self as usize].2
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn rules_are_in_the_order_of_their_enum() {
        for (place, (rule, name, _)) in RULES.iter().enumerate() {
            assert_eq!(*rule as usize, place, "{name}");
        }
    }
}
