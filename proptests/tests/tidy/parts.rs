//! Which signs of a Rust source are code, which are comment, and which stand in a literal.
//!
//! A rule about code must not be misled by what a string says, nor one about comments by what
//! stands before them in a line.
//!
//! It knows no more of Rust than where these three begin and end.

/// What a sign of a source belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Code,
    Comment,
    Literal,
}

/// The part that each sign belongs to.
pub(crate) fn parts(text: &str) -> Vec<(char, Part)> {
    let signs: Vec<char> = text.chars().collect();
    let mut parts: Vec<(char, Part)> = Vec::with_capacity(signs.len());
    while parts.len() < signs.len() {
        let rest = &signs[parts.len()..];
        let before = parts.last().map(|(sign, _)| *sign);
        let (length, part) = piece(rest, before);
        parts.extend(rest.iter().take(length).map(|sign| (*sign, part)));
    }
    parts
}

/// A text with a space in the place of every sign of another part.
pub(crate) fn only(text: &str, wanted: &[Part]) -> String {
    let shown = |(sign, part): (char, Part)| {
        let is_shown = sign == '\n' || wanted.contains(&part);
        if is_shown { sign } else { ' ' }
    };
    parts(text).into_iter().map(shown).collect()
}

/// How long the next piece is, and what.
fn piece(rest: &[char], before: Option<char>) -> (usize, Part) {
    match rest {
        ['/', '/', ..] => {
            let end = rest.iter().position(|sign| *sign == '\n');
            (end.unwrap_or(rest.len()), Part::Comment)
        }
        ['/', '*', ..] => (block_comment(rest), Part::Comment),
        ['"', ..] => (string(rest), Part::Literal),
        ['r', '"' | '#', ..] if !before.is_some_and(is_in_name) || before == Some('b') => {
            raw_string(rest).map_or((1, Part::Code), |length| (length, Part::Literal))
        }
        ['\'', '\\', _, after @ ..] => {
            let end = after.iter().position(|sign| *sign == '\'').unwrap_or(0);
            (3 + end + 1, Part::Literal)
        }
        ['\'', _, '\'', ..] => (3, Part::Literal),
        _ => (1, Part::Code),
    }
}

fn is_in_name(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_'
}

/// Block comments nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// None if it is a raw name, such as `r#type`.
fn raw_string(rest: &[char]) -> Option<usize> {
    let nr_fences = rest[1..].iter().take_while(|sign| **sign == '#').count();
    let start = 1 + nr_fences;
    if rest.get(start) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = ['"'].into_iter().chain(vec!['#'; nr_fences]).collect();
    let end = rest[start + 1..].windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| start + 1 + end + close.len()))
}

#[test]
fn comments_and_literals_end_where_they_end() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("a // \" b") // c"#, "f(           )     "),
        ("r\"a\\\" b", "      b"),
        ("x r#\"a\" // \"# y", "x             y"),
        ("r#type br\"a\" y", "r#type b     y"),
        ("'\"' '\\'' '\\u{1f}' <'a> \"}\"", "                  <'a>    "),
    ] {
        assert_eq!(only(text, &[Part::Code]), code, "{text}");
    }
    assert_eq!(only("a // \"b\"", &[Part::Comment]), "  // \"b\"");
}
