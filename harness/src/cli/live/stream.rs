//! The module's recording, read while it is written.
//!
//! The module keeps the last some thousand records. A thread of ours reads them as they come, so
//! that a run of any length loses none, and writes them down at once: what was read is in the file
//! even if we are killed.

use crate::cli::output::shown;
use crate::recording::lost;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// How long the reader sleeps when it has read all.
const SLEEP: Duration = Duration::from_millis(5);

/// A recording that is being kept.
pub(super) struct Stream {
    path: PathBuf,
    is_over: Arc<AtomicBool>,
    reader: JoinHandle<io::Result<u64>>,
}

impl Stream {
    /// Keeps in the file `to` what comes from now on, and the heading.
    ///
    /// # Errors
    /// A file that cannot be opened or made.
    pub(super) fn begin(from: &Path, to: &Path) -> Result<Self, String> {
        let source = File::open(from).map_err(|error| format!("{}: {error}", shown(from)))?;
        let kept = File::create(to).map_err(|error| format!("{}: {error}", shown(to)))?;
        let mut tail = Tail::of(source, kept);
        tail.pass_over().map_err(|error| format!("{}: {error}", shown(from)))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let reader = spawn(move || tail.follow(&ended));
        Ok(Self { path: to.to_owned(), is_over, reader })
    }

    /// Ends it when all that is there has been read. Says how many records came too fast.
    ///
    /// # Errors
    /// It could not be read to the end, or written.
    pub(super) fn end(self) -> Result<u64, String> {
        self.is_over.store(true, Ordering::Release);
        let in_part =
            |error: &dyn Display| format!("{}: recorded in part: {error}", shown(&self.path));
        let read = self.reader.join().map_err(|_| in_part(&"the reader has died"))?;
        read.map_err(|error| in_part(&error))
    }

    /// Where it is kept.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A text that grows, and its copy.
struct Tail<R, W: Write> {
    from: BufReader<R>,
    to: BufWriter<W>,
    /// A line that is not yet whole. The names of tasks in it may be of any bytes.
    line: Vec<u8>,
    nr_lost: u64,
}

impl<R: io::Read, W: Write> Tail<R, W> {
    fn of(from: R, to: W) -> Self {
        let (from, to) = (BufReader::with_capacity(1 << 16, from), BufWriter::new(to));
        Self { from, to, line: Vec::new(), nr_lost: 0 }
    }

    /// The next line, if it is there to its end.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.from.read_until(b'\n', &mut self.line)?;
        let is_whole = self.line.ends_with(b"\n");
        Ok(is_whole.then(|| std::mem::take(&mut self.line)))
    }

    /// Keeps nothing of what is there already but the heading.
    fn pass_over(&mut self) -> io::Result<()> {
        while let Some(line) = self.next_line()? {
            if line.starts_with(b"#") {
                self.to.write_all(&line)?;
            }
        }
        Ok(())
    }

    fn follow(mut self, is_over: &AtomicBool) -> io::Result<u64> {
        loop {
            // Asked for before the last look, which then finds all.
            let is_last = is_over.load(Ordering::Acquire);
            self.take_all()?;
            self.to.flush()?;
            if is_last {
                return Ok(self.nr_lost);
            }
            sleep(SLEEP);
        }
    }

    fn take_all(&mut self) -> io::Result<()> {
        while let Some(line) = self.next_line()? {
            self.nr_lost += lost(String::from_utf8_lossy(&line).trim_end()).unwrap_or(0);
            self.to.write_all(&line)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// A text that comes in pieces, with an end after each that is none.
    struct Pieces(Vec<&'static str>);

    impl io::Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = if self.0.is_empty() { "" } else { self.0.remove(0) };
            buffer[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    #[test]
    fn lines_are_kept_whole_from_the_beginning_on_and_losses_are_counted() {
        let pieces =
            vec!["# head\nold\n", "ol", "d\n", "", "ne", "", "w\nCPU:1 [LO", "", "ST 7 EVENTS]\n"];
        let mut kept = Vec::new();
        let mut tail = Tail::of(Pieces(pieces), &mut kept);
        tail.pass_over().unwrap();
        tail.take_all().unwrap();
        tail.take_all().unwrap();
        tail.take_all().unwrap();
        assert_eq!(tail.nr_lost, 7);
        drop(tail);
        assert_eq!(String::from_utf8(kept).unwrap(), "# head\nnew\nCPU:1 [LOST 7 EVENTS]\n");
    }

    #[test]
    fn what_is_there_at_the_end_is_read_before_it() {
        let mut kept = Vec::new();
        let tail = Tail::of(&b"a\nb\n"[..], &mut kept);
        assert_eq!(tail.follow(&AtomicBool::new(true)).unwrap(), 0);
        assert_eq!(kept, b"a\nb\n");
    }

    #[test]
    fn a_place_that_takes_nothing_ends_it() {
        let mut place = [0_u8; 1];
        let tail = Tail::of(&b"a\n"[..], &mut place[..]);
        assert!(tail.follow(&AtomicBool::new(true)).is_err());
    }
}
