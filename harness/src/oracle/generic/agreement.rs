//! Agreement: callers of all lanes see the same thing, but for what the sides of kvmalloc may
//! differ in.
//!
//! The one idea: what lanes may legally differ in is written in [`may_differ`] and nowhere else. It
//! is little: whether memory was short (the sides run out of different things), on which side it
//! lies, and the verdict of a call that is right for one side of kvmalloc only. Contents, alignment
//! and sizes need no comparing here, since every lane is held to what both sides promise.
//!
//! An op that one lane skipped, or that points at different allocations, is not comparable.

use crate::op::Class;
use crate::oracle::{Event, Judgement, Oracle, View};
use crate::relaxation::Relaxation;
use crate::subject::{Caps, Pack};
use crate::words::PAGE;

pub(in crate::oracle) const ORACLE: Oracle = Oracle {
    name: "agreement",
    sentence: "callers of all lanes see the same answers, as far as kvmalloc promises them",
    pack: Pack::Generic,
    needs: Caps::NONE,
    judge,
};

fn judge(event: &Event) -> Judgement {
    let Event::Across([first, others @ ..], relaxed) = event else { return Ok(()) };
    for other in others {
        let (Some(one), Some(two)) = (first.class, other.class) else { continue };
        if one == two {
            continue;
        }
        match may_differ(first, other, one, two) {
            Some(relaxation) => relaxed.by(relaxation),
            None => {
                return Err(format!("one lane answers {}, another {}", one.name(), two.name()));
            }
        }
    }
    Ok(())
}

/// Everything that lanes may legally differ in, each by its name.
fn may_differ(one: &View, two: &View, first: Class, second: Class) -> Option<Relaxation> {
    // An address that was granted differently, or whose owner is already free in one lane; a page
    // that has outlived its area in one lane; a cache whose successor in its register could not be
    // made in one lane.
    if (one.target, one.cache) != (two.target, two.cache) {
        return Some(Relaxation::OtherTarget);
    }
    // NULL in one lane, for a reallocation to begin with, and memory freed long ago in another.
    let is_about_free_memory = is_about_an_address(first, second)
        || is_about_a_wrong_address(first)
        || is_about_a_wrong_address(second);
    let is_free = one.target.is_none_or(|target| target.is_free);
    if is_free && is_about_free_memory {
        return Some(Relaxation::FreeTarget);
    }
    // A call that is right for one side only, on memory whose side the caller cannot know.
    if one.target.is_some_and(|target| target.is_kv) {
        return Some(Relaxation::KvmallocTarget);
    }
    // What is reallocated in one lane is allocated anew in another where its owner held nothing,
    // and then has no more room than was asked for, and may be an object of a slab, which starts at
    // words, where it is a block of its own, which starts at pages, in the first.
    let are = |class| [first, second].contains(&class);
    let is_about_size = are(Class::WrongSize)
        || (are(Class::Interior) && are(Class::Misaligned))
        || (are(Class::WrongAllocator) && (are(Class::WrongCache) || are(Class::Done)));
    if one.usable != two.usable && is_about_size {
        return Some(Relaxation::OwnSlack);
    }
    // Linux does not count the very last byte of the vmalloc space as part of it, and only in one
    // lane does the area's guard end there (R4.6).
    let ends_a_page = one.target.is_some_and(|target| target.offset % PAGE == PAGE - 1);
    if ends_a_page && matches!((first, second), (Class::Yes, Class::No) | (Class::No, Class::Yes)) {
        return Some(Relaxation::LastByte);
    }
    // A task that waited in one lane has not opened the scope that it closes now; each lane's own
    // scopes are judged in `context`.
    if matches!(
        (first, second),
        (Class::Done, Class::Unbalanced) | (Class::Unbalanced, Class::Done)
    ) {
        return Some(Relaxation::MissedScope);
    }
    // Lanes run out of memory and space at different times.
    if depends_on_what_is_free(first) && depends_on_what_is_free(second) {
        return Some(Relaxation::OwnShortage);
    }
    // The vmalloc side refuses what exceeds all of memory; to the slab side it is a shortage like
    // any other. And only where the slab side has none does a caller run into the bug of its
    // version (R5.7), or do compound pages come up for a huge area (R4.12).
    let of_kv = |class| depends_on_what_is_free(class) || depends_on_the_side(class);
    let is_kv = one.is_kv && two.is_kv && of_kv(first) && of_kv(second);
    is_kv.then_some(Relaxation::OwnSide)
}

fn is_about_an_address(first: Class, second: Class) -> bool {
    use Class::{BadContext, Done, No, WrongKind, Yes};
    let verdict = |class: Class| {
        matches!(class, Done | Yes | No | WrongKind | BadContext) || is_about_a_wrong_address(class)
    };
    verdict(first) && verdict(second)
}

fn is_about_a_wrong_address(class: Class) -> bool {
    class.is_wrong_free() || class == Class::OutOfBounds
}

/// An allocation of one lane may have failed in another, so that also a cache may be busy in one
/// only.
fn depends_on_what_is_free(class: Class) -> bool {
    use Class::{
        Blocked, Busy, Deadlock, Done, Injected, Memory, NoMemory, NoSpace, Pages, Slab, Vmalloc,
    };
    matches!(
        class,
        Slab | Pages
            | Vmalloc
            | Memory
            | Done
            | NoMemory
            | Deadlock
            | NoSpace
            | Injected
            | Blocked
            | Busy
    )
}

fn depends_on_the_side(class: Class) -> bool {
    use Class::{BadArgument, BadContext, ImpossibleNofail, TooLarge};
    matches!(class, TooLarge | ImpossibleNofail | BadContext | BadArgument)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::oracle::Target;
    use crate::relaxation::Relaxed;

    fn view(class: Class) -> View {
        View { class: Some(class), ..View::default() }
    }

    fn at(offset: u64) -> Target {
        Target { id: 1, offset, further: 0, is_shared: false, is_kv: false, is_free: false }
    }

    fn check(one: View, two: View) -> Judgement {
        judge(&Event::Across(&[one, two], &Relaxed::default()))
    }

    #[test]
    fn barks_on_answers_that_no_routing_explains() {
        assert!(check(view(Class::Slab), view(Class::Overflow)).is_err());
        assert!(check(view(Class::ZeroSizePtr), view(Class::Slab)).is_err());
        assert!(check(view(Class::Slab), view(Class::TooLarge)).is_err());
        assert!(check(view(Class::Unbalanced), view(Class::Slab)).is_err());
        let target = Some(at(0));
        let done = View { target, cache: Some(2), usable: 8, ..view(Class::Done) };
        assert!(check(done, View { class: Some(Class::WrongCache), ..done }).is_err());
        assert!(check(done, View { class: Some(Class::WrongAllocator), ..done }).is_err());
        assert!(check(done, View { class: Some(Class::WrongSize), ..done }).is_err());
    }

    #[test]
    fn says_why_an_answer_may_differ() {
        let relaxed = Relaxed::default();
        let views = [view(Class::Slab), view(Class::NoMemory)];
        assert_eq!(judge(&Event::Across(&views, &relaxed)), Ok(()));
        assert_eq!(relaxed.used().collect::<Vec<_>>(), [("own-shortage", 1)]);
    }

    #[test]
    fn silent_on_what_the_sides_of_kvmalloc_may_differ_in() {
        assert!(check(view(Class::Slab), view(Class::NoMemory)).is_ok());
        let kv = |class| View { is_kv: true, ..view(class) };
        assert!(check(kv(Class::Slab), kv(Class::Vmalloc)).is_ok());
        assert!(check(kv(Class::NoMemory), kv(Class::TooLarge)).is_ok());
        let answers = |offset, class| View { target: Some(at(offset)), ..view(class) };
        assert!(check(answers(0x1fff, Class::Yes), answers(0x1fff, Class::No)).is_ok());
        assert!(check(answers(0x1ffe, Class::Yes), answers(0x1ffe, Class::No)).is_err());
        let target = Some(Target { is_kv: true, ..at(0) });
        let done = View { target, ..view(Class::Done) };
        assert!(check(done, View { target, ..view(Class::WrongAllocator) }).is_ok());
        let shared = Some(Target { is_shared: true, ..at(0) });
        let page = View { target: Some(at(0)), ..view(Class::WrongAllocator) };
        assert!(check(page, View { target: shared, ..view(Class::Wild) }).is_ok());
        assert!(check(page, View { class: Some(Class::Wild), ..page }).is_err());
        let list = |class| View { target: Some(Target { is_free: true, ..at(0) }), ..view(class) };
        assert!(check(list(Class::DoubleFree), list(Class::Wild)).is_ok());
        assert!(check(list(Class::Slab), list(Class::Overflow)).is_err());
        assert!(check(View { class: None, ..done }, view(Class::Overflow)).is_ok());
        assert!(check(view(Class::Unbalanced), view(Class::Done)).is_ok());
        let (target, usable) = (Some(at(0)), 16);
        let larger = View { target, usable, ..view(Class::Done) };
        assert!(check(larger, View { target, usable: 8, ..view(Class::WrongSize) }).is_ok());
        let inside = View { target, usable: 4096, ..view(Class::Misaligned) };
        assert!(check(inside, View { target, usable: 8, ..view(Class::Interior) }).is_ok());
        assert!(check(inside, View { target, usable: 4096, ..view(Class::Interior) }).is_err());
        let block = View { target, usable: 16384, ..view(Class::WrongAllocator) };
        for class in [Class::WrongCache, Class::Done] {
            assert!(check(block, View { target, usable: 8, ..view(class) }).is_ok());
            assert!(check(block, View { target, usable: 16384, ..view(class) }).is_err());
        }
        let other = View { cache: Some(2), ..view(Class::WrongCache) };
        assert!(check(other, View { cache: Some(3), ..view(Class::Done) }).is_ok());
    }
}
