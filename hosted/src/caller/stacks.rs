//! Who asked for memory and who freed it, as stacks.
//!
//! Taking a stack costs more than the call that it is of, so none is taken while a caller is
//! explored: its mistake, once shrunk, is repeated with stacks.

use kvroute_harness::call::Request;
use kvroute_harness::subject::Answer;
use std::backtrace::Backtrace;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The frames of a stack that are shown.
const NR_FRAMES_MAX: usize = 12;
/// Where the sources of these files lie.
const OURS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/caller");
/// Where those of the standard library lie, as it was built and as it is installed.
const STD: [&str; 2] = ["at /rustc/", "/lib/rustlib/src/rust/library/"];

/// The stacks of a run, if they are wanted.
#[derive(Default)]
pub(super) struct Stacks {
    is_wanted: bool,
    asked: BTreeMap<u64, Backtrace>,
    freed: BTreeMap<u64, Backtrace>,
}

impl Stacks {
    /// A run in which they are taken.
    pub(super) fn wanted() -> Self {
        Self { is_wanted: true, ..Self::default() }
    }

    /// Takes the stack of a call.
    pub(super) fn note(&mut self, request: &Request, answer: Option<&Answer>) {
        if !self.is_wanted {
            return;
        }
        for addr in answer.map_or(&[][..], Answer::granted) {
            self.asked.insert(*addr, Backtrace::force_capture());
        }
        let is_done = matches!(answer, Some(Answer::Done));
        for addr in request.freed().iter().filter(|_| is_done) {
            self.freed.insert(*addr, Backtrace::force_capture());
        }
    }

    /// The stacks of a mistake that is found now, with memory at an address.
    pub(super) fn of(&self, about: Option<u64>) -> Vec<(String, String)> {
        if !self.is_wanted {
            return Vec::new();
        }
        let of = |stacks: &BTreeMap<u64, Backtrace>| {
            about.and_then(|addr| stacks.get(&addr).map(ToString::to_string))
        };
        let now = Backtrace::force_capture().to_string();
        let all = [("at", Some(now)), ("asked", of(&self.asked)), ("freed", of(&self.freed))];
        let taken = all.into_iter().filter_map(|(what, stack)| Some((what.to_owned(), stack?)));
        taken.map(|(what, stack)| (what, own_frames(&stack))).collect()
    }
}

/// The file that a line of a stack names; those below the working directory begin with a dot.
fn place(line: &str) -> Option<PathBuf> {
    let file = line.trim_start().strip_prefix("at ")?;
    match file.strip_prefix("./") {
        Some(below) => Some(std::env::current_dir().ok()?.join(below)),
        None => Some(file.into()),
    }
}

/// The frames of the caller's own code: those behind what it called of this crate, up to what of
/// this crate called it.
fn own_frames(stack: &str) -> String {
    let mut frames: Vec<Vec<&str>> = Vec::new();
    for line in stack.lines() {
        match frames.last_mut() {
            Some(frame) if line.trim_start().starts_with("at ") => frame.push(line),
            _ => frames.push(vec![line]),
        }
    }
    let is_in_ours = |line: &&str| place(line).is_some_and(|file| file.starts_with(OURS));
    let is_std = |line: &&str| STD.iter().any(|folder| line.contains(folder));
    let starts = |frame: &Vec<&str>| frame[0].contains("::explore_here");
    let end = frames.iter().position(starts).unwrap_or(frames.len());
    let is_ours = |frame: &Vec<&str>| {
        let is_named = ["kvroute_hosted::", "<unknown>"].iter().any(|name| frame[0].contains(name));
        // A function that was inlined has lost its path.
        is_named || frame.iter().any(is_in_ours)
    };
    // On top stands how the stack was taken.
    let called = frames[..end].iter().skip_while(|frame| !is_ours(frame));
    let own = called.filter(|frame| !is_ours(frame) && !frame.iter().any(is_std));
    let own = own.take(NR_FRAMES_MAX);
    own.flatten().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_stack_is_cut_to_the_frames_of_the_caller() {
        let stack = "   0: std::backtrace::create\n   1: kvroute_hosted::caller::current::call\n\
                     \x20            at ./hosted/src/caller/current.rs:1:2\n   2: mine::inner\n\
                     \x20            at ./mine.rs:3:4\n   3: mine::outer\n\
                     \x20  4: kvroute_hosted::caller::c::kvroute_explore::{{closure}}\n\
                     \x20  5: kvroute_hosted::caller::explore::explore_here::{{closure}}\n   6: main\n";
        let own = own_frames(stack);
        let names: Vec<&str> = own.lines().map(str::trim).collect();
        assert_eq!(names, ["2: mine::inner", "at ./mine.rs:3:4", "3: mine::outer"]);
    }
}
