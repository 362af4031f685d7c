//! What a subcommand has to say in the end: findings, errors, warnings and numbers, as text or
//! JSON.
//!
//! Everything that is not as it should be is entered here when it is met, and the exit code follows
//! from what is entered. With `--json` standard output is one document of one shape, which
//! `docs/json.md` describes, whatever happens; else it is text, as it comes.
//!
//! What is looked for is the subcommands' business.

use crate::Failure;
use crate::cli::interrupt::{self, Signal};
use crate::cli::output;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Exit codes: nothing to object to, an objection, and what could not be done.
const OK: u8 = 0;
const FAILURE: u8 = 1;
const ERROR: u8 = 2;

/// What a subcommand has found so far.
pub(crate) struct Document {
    command: &'static str,
    as_json: bool,
    numbers: Map<String, Value>,
    failures: Vec<Value>,
    /// Whether something else than a failing trace is not as it should be.
    falls_short: bool,
    errors: Vec<Value>,
    warnings: Vec<Value>,
    /// The signal that ended the work early.
    interrupted: Option<Signal>,
}

impl Document {
    /// An empty one.
    pub(crate) fn new(command: &'static str, as_json: bool) -> Self {
        Self {
            command,
            as_json,
            numbers: Map::new(),
            failures: Vec::new(),
            falls_short: false,
            errors: Vec::new(),
            warnings: Vec::new(),
            interrupted: None,
        }
    }

    /// Prints text, if text is what is wanted.
    pub(crate) fn say(&self, text: &str) {
        if !self.as_json {
            output::say(text);
        }
    }

    /// As [`say`](Self::say), of what must not get lost.
    pub(crate) fn say_finding(&self, text: &str) {
        if !self.as_json {
            output::say_finding(text);
        }
    }

    /// Enters something of the subcommand's own.
    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.numbers.insert(name.to_owned(), value.into());
    }

    /// Tells of an objection, with the text that goes before it.
    pub(crate) fn tell(&mut self, before: &str, failure: &Failure) {
        if self.as_json {
            // The document comes at the end, and the end may never come.
            let at = failure.call().unwrap_or_else(|| "the end of the trace".to_owned());
            let Failure { oracle, reason, .. } = failure;
            let before = before.trim();
            let space = if before.is_empty() { "" } else { " " };
            output::complain(&format!(
                "{before}{space}the {oracle} oracle objects at {at}: {reason}"
            ));
        } else {
            self.say_finding(&format!("{before}{failure}\n"));
        }
    }

    /// Enters an objection; [`tell`](Self::tell) tells of it.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.failures.push(failure.json());
    }

    /// Tells of something that no trace shows and that is an objection all the same. It stands
    /// among what the subcommand [`put`](Self::put)s.
    pub(crate) fn shortfall(&mut self, what: &str, name: &str) {
        if self.as_json {
            output::complain(&format!("{what}: {name}"));
        } else {
            self.say_finding(&format!("{what}: {name}\n"));
        }
        self.falls_short = true;
    }

    /// Tells of something that could not be done, and enters it.
    pub(crate) fn error(&mut self, file: Option<&Path>, message: &str) {
        output::complain(message);
        self.errors.push(note(file, message));
    }

    /// Tells of something that makes the verdict worth less, and enters it.
    pub(crate) fn warning(&mut self, file: Option<&Path>, message: &str) {
        output::complain(&format!("warning: {message}"));
        self.warnings.push(note(file, message));
    }

    /// The number of objections, errors and warnings.
    pub(crate) fn counts(&self) -> [usize; 3] {
        [self.failures.len(), self.errors.len(), self.warnings.len()]
    }

    /// Whether a signal asks for the end. It is told once, and the document says so.
    pub(crate) fn is_interrupted(&mut self) -> bool {
        if self.interrupted.is_none()
            && let Some(signal) = interrupt::received()
        {
            self.interrupted = Some(signal);
            output::complain(&format!("ended by {}; this is what there is", signal.name()));
        }
        self.interrupted.is_some()
    }

    /// Ends the program's work: prints the document, and says how the program ends.
    pub(crate) fn end(self) -> ExitCode {
        let (verdict, code) = match (&self.failures[..], &self.errors[..], self.interrupted) {
            ([_, ..], ..) => ("failure", FAILURE),
            _ if self.falls_short => ("failure", FAILURE),
            (_, [_, ..], _) => ("error", ERROR),
            (.., Some(signal)) => ("interrupted", signal.exit_code()),
            _ => ("ok", OK),
        };
        if self.as_json {
            let mut document = json!({
                "command": self.command, "version": crate::cli::VERSION, "verdict": verdict,
                "interrupted": self.interrupted.map(Signal::name), "failures": self.failures,
                "errors": self.errors, "warnings": self.warnings,
            });
            if let Value::Object(fields) = &mut document {
                fields.extend(self.numbers);
            }
            output::say(&format!("{document:#}\n"));
        }
        exit_code(code)
    }
}

/// The exit code, once the standard output has had its say.
pub(crate) fn exit_code(code: u8) -> ExitCode {
    let Some(error) = output::stdout_error() else { return ExitCode::from(code) };
    output::complain(&format!("standard output: {error}; the report is not complete"));
    ExitCode::from(if code == OK { ERROR } else { code })
}

fn note(file: Option<&Path>, message: &str) -> Value {
    json!({ "file": file.map(Path::to_string_lossy), "message": message })
}
