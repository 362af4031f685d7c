//! The fields of an event: `key=value`, in the order in which the event prints them.
//!
//! What is asked for is taken, and what is passed over on the way is kept by name, so that nobody
//! has to guess what of an event was not used.
//!
//! This file knows how values are spelled, not which fields an event has (`event`).

use super::error::LineError;

/// How kernels and tools print the null pointer, besides zeros.
const NULLS: &[&str] = &["(null)", "(nil)", "NULL"];
/// What `%p` prints before the kernel has the key with which it hides addresses.
const HIDDEN: &str = "(____ptrval____)";

/// The fields of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    line: &'a str,
    rest: &'a str,
    passed: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// The fields in `rest`, which is a part of `line`.
    pub(super) fn new(line: &'a str, rest: &'a str) -> Self {
        Self { line, rest, passed: Vec::new() }
    }

    /// Whether a field called `key` is still to come.
    pub(super) fn has(&self, key: &str) -> bool {
        self.rest.split_ascii_whitespace().any(|word| value_of(word, key).is_some())
    }

    /// The value of the next field called `key`; others before it are passed over.
    pub(super) fn take(&mut self, key: &str) -> Result<&'a str, LineError> {
        loop {
            let (field, rest) = word(self.rest);
            if field.is_empty() {
                return Err(LineError::new(self.line, rest, format!("the field `{key}=`")));
            }
            self.rest = rest;
            match value_of(field, key) {
                Some("") => return Ok(self.padded(&field[field.len()..])),
                Some(value) => return Ok(value),
                None => self.passed.push(field.split_once('=').map_or("", |(name, _)| name)),
            }
        }
    }

    /// Up to Linux 5.1 `%p` of NULL is padded with blanks on the left.
    fn padded(&mut self, empty: &'a str) -> &'a str {
        let (next, rest) = word(self.rest);
        if !NULLS.contains(&next) {
            return empty;
        }
        self.rest = rest;
        next
    }

    /// The names of all fields that were not taken; empty for words that are none.
    pub(super) fn not_used(mut self) -> Vec<&'a str> {
        let rest = self.rest.split_ascii_whitespace();
        self.passed.extend(rest.map(|word| word.split_once('=').map_or("", |(name, _)| name)));
        self.passed
    }

    /// The last word of the event.
    pub(super) fn last_word(&self) -> &'a str {
        self.line.split_ascii_whitespace().next_back().unwrap_or_default()
    }

    /// A number: hexadecimal with `0x`, decimal without.
    pub(super) fn number(&mut self, key: &str) -> Result<u64, LineError> {
        let text = self.take(key)?;
        let value = match text.strip_prefix("0x") {
            Some(digits) => hexadecimal(digits),
            None => decimal(text),
        };
        value.ok_or_else(|| self.error(text, format!("a number for `{key}=`")))
    }

    /// A number below `limit`.
    pub(super) fn number_below(&mut self, key: &str, limit: u64) -> Result<u64, LineError> {
        let value = self.number(key)?;
        if value < limit {
            return Ok(value);
        }
        Err(self.error(self.latest(key), format!("`{key}=` below {limit:#x}")))
    }

    /// An address, hexadecimal with or without `0x`, or NULL. A hash of it serves as well; `None`
    /// if it is hidden.
    pub(super) fn pointer(&mut self, key: &str) -> Result<Option<u64>, LineError> {
        let text = self.take(key)?;
        if text == HIDDEN {
            return Ok(None);
        }
        if NULLS.contains(&text) {
            return Ok(Some(0));
        }
        let address = hexadecimal(text.strip_prefix("0x").unwrap_or(text));
        match address {
            Some(address) => Ok(Some(address)),
            None => Err(self.error(text, format!("an address for `{key}=`"))),
        }
    }

    /// An address that is not hidden.
    pub(super) fn address(&mut self, key: &str) -> Result<u64, LineError> {
        let found = self.pointer(key)?;
        found.ok_or_else(|| self.error(self.latest(key), format!("an address for `{key}=`")))
    }

    /// The field just taken, name and all.
    pub(super) fn latest(&self, key: &str) -> &'a str {
        let end = self.rest.as_ptr() as usize - self.line.as_ptr() as usize;
        let head = self.line[..end].trim_ascii_end();
        let start = head.rfind(&format!("{key}=")).unwrap_or(0);
        &head[start..]
    }

    /// A complaint about a part of this line.
    pub(super) fn error(&self, found: &str, expected: impl Into<String>) -> LineError {
        LineError::new(self.line, found, expected)
    }
}

/// The value in a word `key=value`.
fn value_of<'a>(word: &'a str, key: &str) -> Option<&'a str> {
    word.strip_prefix(key)?.strip_prefix('=')
}

/// The first word, and what follows it.
pub(super) fn word(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    match text.bytes().position(|b| b == b' ') {
        Some(end) => text.split_at(end),
        None => text.split_at(text.len()),
    }
}

/// Decimal digits and nothing else: the standard library's reader would take `+1`.
pub(super) fn decimal(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0_u64, |value, digit| {
        let digit = (digit as char).to_digit(10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// One to sixteen hexadecimal digits and nothing else.
pub(super) fn hexadecimal(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.bytes()
        .try_fold(0, |value, digit| Some(value << 4 | u64::from((digit as char).to_digit(16)?)))
}

#[cfg(test)]
mod test {
    use super::*;

    fn pointer(text: &str) -> Result<Option<u64>, String> {
        let line = format!("call_site=f ptr={text} node=-1");
        let pointer = Fields::new(&line, &line).pointer("ptr");
        pointer.map_err(|error| error.found)
    }

    #[test]
    fn null_is_read_in_every_spelling() {
        for null in ["(null)", "          (null)", "(nil)", "NULL", "0", "0x0", "0000000000000000"]
        {
            assert_eq!(pointer(null), Ok(Some(0)), "{null}");
        }
        assert_eq!(pointer("0xffff888003a01000"), Ok(Some(0xffff_8880_03a0_1000)));
        assert_eq!(pointer("000000003a01e001"), Ok(Some(0x3a01_e001)));
        assert_eq!(pointer("(____ptrval____)"), Ok(None));
        assert_eq!(pointer("(fault)"), Err("`(fault)`".to_owned()));
        assert_eq!(pointer("          (fault)"), Err("the end of the line".to_owned()));
    }

    #[test]
    fn what_is_passed_over_is_known_by_name() {
        let line = "(demo+0x1) call_site=f ptr=0x1 (1) size=8 node=-1";
        let mut fields = Fields::new(line, line);
        assert_eq!(fields.take("ptr"), Ok("0x1"));
        assert!(fields.has("size") && !fields.has("ptr") && !fields.has("siz"));
        assert_eq!(fields.take("size"), Ok("8"));
        assert_eq!(fields.not_used(), ["", "call_site", "", "node"]);
    }
}
