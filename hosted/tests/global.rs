//! Code that uses collections of the standard library is a caller too: they are served by the run
//! that is going on, and by the system outside of one.

use kvroute_hosted::caller::{Config, Failure, Global, NoMemory, explore};

#[global_allocator]
static GLOBAL: Global = Global;

/// The words of a text, counted in collections that grow.
fn count(text: &str) -> usize {
    let mut words = Vec::new();
    for word in text.split(' ') {
        words.push(word.to_owned());
    }
    words.sort();
    words.dedup();
    words.len()
}

#[test]
fn collections_are_served_by_the_run() {
    let text = "a b c d ".repeat(0x40);
    let explored = explore(&Config::new(), |_| Ok::<_, NoMemory>(count(&text))).unwrap();
    assert!(explored.nr_requests > 0x100 * explored.nr_runs, "{explored:?}");
    assert!(explored.nr_by_vmalloc > 0, "{explored:?}");
}

#[test]
fn what_a_collection_leaves_behind_is_a_leak() {
    let leaks = |_: &_| {
        std::mem::forget(vec![7_u8; 100]);
        Ok::<_, NoMemory>(())
    };
    let Err(Failure::Found(finding)) = explore(&Config::new(), leaks) else {
        panic!("nothing was found");
    };
    assert_eq!(finding.finding.misuse.rule.name(), "leak", "{finding}");
    let asked = finding.stacks.iter().find(|(whose, _)| whose == "asked").expect("a stack");
    assert!(asked.1.contains("tests/global.rs"), "it does not name the caller:\n{finding}");
}

#[test]
fn what_a_panic_says_outlives_its_run() {
    let panics = |_: &_| -> Result<(), NoMemory> { panic!("of {}", "many words ".repeat(9)) };
    let Err(Failure::Found(finding)) = explore(&Config::new(), panics) else {
        panic!("nothing was found");
    };
    let misuse = &finding.finding.misuse;
    assert!(misuse.says.contains("many words many words"), "{finding}");
    assert!(misuse.panicked_at.as_ref().is_some_and(|at| at.contains("global.rs")), "{finding}");
}

#[test]
fn what_a_caller_returns_is_its_receivers() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let explored = explore(&Config::new(), |_| Ok::<_, NoMemory>(words("a text of words")));
    assert!(explored.unwrap().nr_requests > 5);
    // It is compared, although its memory has gone with its run.
    let runs = std::cell::Cell::new(0);
    let differs = |_: &_| {
        runs.set(runs.get() + 1);
        Ok::<_, NoMemory>(words(&format!("run {}", runs.get())))
    };
    let Err(Failure::Found(finding)) = explore(&Config::new(), differs) else {
        panic!("nothing was found");
    };
    assert_eq!(finding.finding.misuse.rule.name(), "difference", "{finding}");
    assert!(finding.finding.misuse.says.contains("[\"run\", \"2\"]"), "{finding}");
}
