//! What the program says and writes: reports on standard output, complaints on standard error,
//! files.
//!
//! Output that cannot be written never hides what was found. The first error of the standard output
//! is kept until the end, where it is told and makes the exit code say that something is wrong; a
//! reader that has gone away has seen what it wanted, and is no error. A file is written beside its
//! place and renamed over it, so that it is there whole or not at all.
//!
//! What is said is decided elsewhere.

use os_display::Quotable;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// The longest input that is read whole. The longest trace of a recording has some megabytes.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Words of complaints are cut to this many characters.
const WORD_CHARS_MAX: usize = 160;

/// Links that are followed to a place that is not there yet.
const NR_LINKS_MAX: usize = 40;

/// The first error of the standard output.
static STDOUT_ERROR: Mutex<Option<io::Error>> = Mutex::new(None);

/// Whether the standard output belongs to a file that was asked for as `-`.
static STDOUT_IS_A_FILE: AtomicBool = AtomicBool::new(false);

/// Prints a report.
pub(crate) fn say(text: &str) {
    if STDOUT_IS_A_FILE.load(Ordering::Relaxed) {
        to_stderr(text);
    } else {
        to_stdout(text);
    }
}

/// Prints what must not get lost: to standard error if standard output takes nothing.
pub(crate) fn say_finding(text: &str) {
    say(text);
    if stdout_kind().is_some_and(|kind| kind != ErrorKind::BrokenPipe) {
        to_stderr(text);
    }
}

/// Prints a complaint, its longest words cut.
pub(crate) fn complain(message: &str) {
    to_stderr(&format!("kvroute: {}\n", cut_words(message)));
}

/// Prints what is wrong with the arguments, as the argument parser words it.
pub(crate) fn complain_of_arguments(message: &str) {
    to_stderr(&cut_words(message));
}

/// Has the standard output carry a file, and reports go to standard error.
pub(crate) fn give_stdout_to(path: Option<&Path>) {
    if path.is_some_and(is_dash) {
        STDOUT_IS_A_FILE.store(true, Ordering::Relaxed);
    }
}

/// Notes an error of the standard output that another writer met.
pub(crate) fn note(result: io::Result<()>) {
    let mut first = STDOUT_ERROR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let (None, Err(error)) = (&*first, result) {
        *first = Some(error);
    }
}

/// The error of the standard output that the user has to hear of.
pub(crate) fn stdout_error() -> Option<io::Error> {
    let mut first = STDOUT_ERROR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    first.take().filter(|error| error.kind() != ErrorKind::BrokenPipe)
}

fn stdout_kind() -> Option<ErrorKind> {
    let first = STDOUT_ERROR.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    first.as_ref().map(io::Error::kind)
}

fn to_stdout(text: &str) {
    if stdout_kind().is_none() {
        let mut out = io::stdout().lock();
        note(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }
}

/// There is nobody left to tell that standard error takes nothing.
fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The path as a shell takes it, and as one line whatever is in it.
pub(crate) fn shown(path: &Path) -> String {
    if is_dash(path) {
        return "standard input".to_owned();
    }
    path.maybe_quote().to_string()
}

/// The text with its longest words cut in the middle.
pub(crate) fn cut_words(text: &str) -> String {
    let cut = |word: &str| {
        let chars: Vec<char> = word.chars().collect();
        if chars.len() <= WORD_CHARS_MAX {
            return word.to_owned();
        }
        let (head, tail) = (WORD_CHARS_MAX / 2, chars.len() - WORD_CHARS_MAX / 4);
        let [head, tail] = [&chars[..head], &chars[tail..]].map(|part| part.iter().collect());
        let [head, tail]: [String; 2] = [head, tail];
        format!("{head}…({} characters)…{tail}", chars.len())
    };
    let words = text.split_inclusive(char::is_whitespace);
    words.map(|word| word.strip_suffix('\n').map_or_else(|| cut(word), |w| cut(w) + "\n")).collect()
}

/// Reads an input of at most `limit` bytes whole; `-` is the standard input.
///
/// # Errors
/// Which file, and why not.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let most = INPUT_BYTES_MAX.min(limit);
    let mut take = |reader: &mut dyn Read| reader.take(most + 1).read_to_end(&mut bytes);
    let result = match is_dash(path) {
        true => take(&mut io::stdin().lock()),
        false => File::open(path).and_then(|mut file| take(&mut file)),
    };
    match result {
        Ok(_) if bytes.len() as u64 > most && most < INPUT_BYTES_MAX => Err(format!(
            "{}: longer than {most} bytes, the bound of memory (raise it with --memory)",
            shown(path)
        )),
        Ok(_) if bytes.len() as u64 > most => Err(format!(
            "{}: longer than {} MiB, which is more than any trace needs",
            shown(path),
            INPUT_BYTES_MAX >> 20
        )),
        Ok(_) => Ok(bytes),
        Err(error) => Err(format!("{}: {error}", shown(path))),
    }
}

/// Writes a file whole or not at all. `-` is the standard output; links are followed; what is no
/// regular file, a device or a pipe, is written to.
///
/// # Errors
/// Which file, and why not.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), String> {
    if is_dash(path) {
        to_stdout(text);
        return Ok(());
    }
    let result = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::from(ErrorKind::IsADirectory)),
        Ok(found) if found.is_file() => match place(path)? {
            Some(place) => replace(&place, text, Some(found.permissions())),
            None => append(path, text),
        },
        Ok(_) => append(path, text),
        Err(error) if error.kind() == ErrorKind::NotFound => match place(path)? {
            Some(place) => replace(&place, text, None),
            None => Err(error),
        },
        Err(error) => Err(error),
    };
    result.map_err(|error| format!("{}: {error}", shown(path)))
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Where the links from `path` lead, whether or not something is there; none if one of them is an
/// open file of a process (`/dev/stdout`), which has no place to rename to.
fn place(path: &Path) -> Result<Option<PathBuf>, String> {
    let mut place = path.to_path_buf();
    for _ in 0..NR_LINKS_MAX {
        match std::fs::read_link(&place) {
            Ok(_) if place.starts_with("/proc") => return Ok(None),
            Ok(next) => place = place.parent().unwrap_or(Path::new("/")).join(next),
            Err(_) => return Ok(Some(place)),
        }
    }
    Err(format!("{}: more than {NR_LINKS_MAX} links lead from it to others", shown(path)))
}

/// A crash, a full disk or a signal leaves what was there before.
fn replace(place: &Path, text: &str, old: Option<std::fs::Permissions>) -> io::Result<()> {
    let folder = match place.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut unfinished = tempfile::Builder::new();
    unfinished.prefix(".kvroute-").suffix(".unfinished");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As of any new file: the process's mask takes away from it.
        unfinished.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = unfinished.tempfile_in(folder).map_err(|error| own_error(&error))?;
    file.write_all(text.as_bytes())?;
    if let Some(old) = old {
        file.as_file().set_permissions(old)?;
    }
    file.as_file().sync_all()?;
    file.persist(place).map_err(|failed| failed.error)?;
    Ok(())
}

/// The error of the system without the name of a file that nobody asked for, which stands behind
/// its words and nowhere else.
fn own_error(error: &io::Error) -> io::Error {
    let text = error.to_string();
    let words = text.split(" at path ").next().unwrap_or_default();
    io::Error::new(error.kind(), words.to_owned())
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn long_words_are_cut_and_short_ones_are_not() {
        assert_eq!(cut_words("as it is\nand here "), "as it is\nand here ");
        let long = format!("a {}\n{} b", "x".repeat(161), "é".repeat(5000));
        let cut = cut_words(&long);
        assert!(cut.contains("…(161 characters)…") && cut.ends_with("é b"), "{cut}");
        assert!(cut.chars().count() < 350, "{cut}");
    }
}
