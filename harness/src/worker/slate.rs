//! Where a worker is in its trace, and what it has printed: two files that outlive it.
//!
//! The one idea: a file that two processes share has one position for both, so to move it is to
//! write a number down where the other finds it, even after a death. That is one system call of
//! 200 ns; a write to a file in memory takes four times as long, a message more, and a mapping,
//! which would take none, needs unsafe code. Since an op may take less than that, a worker writes
//! its place down a thousand times a second, and at each turn only when it is to be known exactly.
//!
//! ```text
//!             parent                          worker
//!   socket    questions ──────────────────►   standard input    ──► answers
//!   place     reads the position   ◄───────   standard output, opened for reading alone
//!   said      reads the last words ◄───────   standard error
//! ```
//!
//! What a worker prints on its standard output is lost: it would move the position.

use crate::exec::Place;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// A position is the op times this, and the lane and 1; so 0 is before the first op.
const NR_LANES_MAX: u64 = 256;

/// Of what an allocator prints, so many last bytes are told.
const SAID_BYTES_MAX: u64 = 512;

/// How often a worker writes where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Marks {
    /// At each turn.
    All,
    /// At a turn that begins so long after the last mark that this says whether the worker moves.
    Some,
}

/// Whoever has not moved for so long may hang.
const MARK_INTERVAL: Duration = Duration::from_millis(1);

/// What a worker writes where it is.
pub(super) struct Marker(File);

impl Marker {
    /// The one that this process was started with.
    pub(super) fn of_this_process() -> io::Result<Self> {
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    /// Somebody to tell of each turn, who writes some of them down.
    pub(super) fn noting(&self, marks: Marks) -> impl FnMut(Place) {
        let mut last = Instant::now();
        move |place| {
            if marks == Marks::All || place.op == 0 || last.elapsed() >= MARK_INTERVAL {
                self.note(place);
                last = Instant::now();
            }
        }
    }

    /// Writes down where the worker is. Nothing can be done if that fails: a death is then told
    /// without its place.
    fn note(&self, place: Place) {
        let position = place.op as u64 * NR_LANES_MAX + place.lane as u64 + 1;
        let _ = (&self.0).seek(SeekFrom::Start(position));
    }
}

/// What the parent reads of a worker.
pub(super) struct Slate {
    place: File,
    said: File,
}

impl Slate {
    /// A new one. Any file will do whose position can be moved.
    pub(super) fn new(any_file: &Path) -> io::Result<Self> {
        let said = tempfile::tempfile_in("/dev/shm").or_else(|_| tempfile::tempfile())?;
        Ok(Self { place: File::open(any_file)?, said })
    }

    /// The worker's standard output and standard error.
    pub(super) fn share(&self) -> io::Result<[File; 2]> {
        Ok([self.place.try_clone()?, self.said.try_clone()?])
    }

    /// Forgets everything.
    pub(super) fn wipe(&mut self) -> io::Result<()> {
        self.place.rewind()?;
        self.said.set_len(0)?;
        self.said.rewind()
    }

    /// Where the worker was last; none before its first op.
    pub(super) fn place(&mut self) -> Option<Place> {
        let turn = self.place.stream_position().ok()?.checked_sub(1)?;
        let (op, lane) = (turn / NR_LANES_MAX, turn % NR_LANES_MAX);
        Some(Place { op: op as usize, lane: lane as usize })
    }

    /// The end of what the allocator printed, in one line.
    pub(super) fn said(&mut self) -> io::Result<String> {
        let end = self.said.seek(SeekFrom::End(0))?;
        self.said.seek(SeekFrom::Start(end.saturating_sub(SAID_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        (&self.said).take(SAID_BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::io::Write;

    #[test]
    fn places_are_read_as_they_were_written() {
        let mut slate = Slate::new(Path::new("/proc/self/exe")).unwrap();
        slate.wipe().unwrap();
        assert_eq!((slate.place(), slate.said().unwrap()), (None, String::new()));
        let [place, mut said] = slate.share().unwrap();
        for (op, lane) in [(0, 0), (0, 255), (7, 3), (1 << 32, 1)] {
            Marker(place.try_clone().unwrap()).note(Place { op, lane });
            assert_eq!(slate.place(), Some(Place { op, lane }));
        }
        said.write_all(b"assertion\n failed").unwrap();
        assert_eq!(slate.said().unwrap(), "assertion failed");
        slate.wipe().unwrap();
        assert_eq!((slate.place(), slate.said().unwrap()), (None, String::new()));
    }
}
