//! A child process that answers questions, and how it can end instead.
//!
//! Questions and answers are frames on a socket that is the child's standard input: a length in
//! four bytes, and so many bytes. Whole questions go over and whole answers come back, so a trace
//! costs one exchange.
//!
//! What the frames mean is not known here.

use super::slate::{Marker, Slate};
use crate::exec::Place;
use crate::verdict::SAYING;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{process, thread};

/// How often a child that does not answer is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How often a child looks whether there is still a parent.
const LOOK_FOR_PARENT: Duration = Duration::from_secs(1);

/// What a child says when it is ready for its first question.
const READY: &[u8] = b"ready";

/// A second of processor time, as `/proc` counts it on every machine of today.
const TICKS_PER_SECOND: u64 = 100;

/// How long an op may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Processor time, so that a busy machine makes no verdicts; where it cannot be known, time.
    pub processor: Duration,
    /// Time, for an op that waits for what never comes.
    pub wall: Duration,
}

impl Patience {
    /// So much processor time, and ten times as much time.
    pub const fn of_processor(time: Duration) -> Self {
        Self { processor: time, wall: time.saturating_mul(10) }
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::of_processor(Duration::from_secs(1))
    }
}

/// How a child ended that did not answer.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) how: How,
    /// Where it was; none before the first op.
    pub(super) place: Option<Place>,
    /// What it printed last.
    pub(super) said: String,
}

/// The end of a child.
#[derive(Clone, Debug)]
pub(super) enum How {
    Ended(ExitStatus),
    Hung(Spent),
    NeverBegun(String),
}

/// What an op took of which it may not take so much.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spent {
    Processor(Duration),
    Wall(Duration),
}

impl Display for How {
    fn fmt(&self, out: &mut Formatter) -> fmt::Result {
        match self {
            How::NeverBegun(why) => write!(out, "no worker process can be started: {why}"),
            How::Hung(Spent::Processor(time)) => {
                write!(out, "the allocator used {time:?} of the processor at this op, and goes on")
            }
            How::Hung(Spent::Wall(time)) => {
                write!(out, "the allocator has not come back from this op for {time:?}")
            }
            How::Ended(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => match signal_hook::low_level::signal_name(signal) {
                    Some(name) => write!(out, "the allocator died of {name} at this op"),
                    None => write!(out, "the allocator died of signal {signal} at this op"),
                },
                (None, code) => {
                    let code = code.unwrap_or_default();
                    write!(out, "the allocator ended its process with exit code {code} at this op")
                }
            },
        }
    }
}

/// A child.
pub(super) struct Process {
    child: Child,
    socket: UnixStream,
    slate: Slate,
}

impl Process {
    /// Starts one, and waits until it is ready.
    pub(super) fn start(command: Command) -> Result<Self, Death> {
        let never =
            |why: String| Death { how: How::NeverBegun(why), place: None, said: String::new() };
        let mut process = Self::spawn(command).map_err(|error| never(error.to_string()))?;
        match process.answer(Patience::default()) {
            Ok(frame) if frame == READY => Ok(process),
            Ok(_) => Err(never("it speaks another language".to_owned())),
            Err(how) => {
                let Death { how, said, .. } = process.died(how);
                let said = if said.is_empty() { said } else { SAYING.to_owned() + &said };
                Err(never(format!("it was not ready: {how}{said}")))
            }
        }
    }

    fn spawn(mut command: Command) -> io::Result<Self> {
        let (socket, its_socket) = UnixStream::pair()?;
        socket.set_read_timeout(Some(LOOK))?;
        let mut slate = Slate::new(Path::new(command.get_program()))?;
        slate.wipe()?;
        let [place, said] = slate.share()?;
        command.stdin(OwnedFd::from(its_socket)).stdout(place).stderr(said);
        // In a group of its own, since a terminal sends Ctrl-C to a whole group. What the command
        // has of the socket goes with it, so that a child that ends is noticed.
        let child = command.process_group(0).spawn()?;
        Ok(Self { child, socket, slate })
    }

    /// Asks a question and waits for the answer. After a death there is nobody to ask any more.
    pub(super) fn ask(&mut self, question: &[u8], patience: Patience) -> Result<Vec<u8>, Death> {
        // Whoever has died meanwhile does not answer either.
        let asked = self.slate.wipe().and_then(|()| send(&mut self.socket, question));
        let answer = asked.map_err(|_| self.end()).and_then(|()| self.answer(patience));
        answer.map_err(|how| self.died(how))
    }

    fn died(&mut self, how: How) -> Death {
        let said = self.slate.said().unwrap_or_default();
        let place = self.slate.place();
        Death { how, place, said }
    }

    /// Waits for a frame, with an eye on what the child spends.
    fn answer(&mut self, patience: Patience) -> Result<Vec<u8>, How> {
        let mut length = [0; 4];
        self.fill(&mut length, patience)?;
        let mut frame = vec![0; u32::from_le_bytes(length) as usize];
        self.fill(&mut frame, patience)?;
        Ok(frame)
    }

    fn fill(&mut self, mut rest: &mut [u8], patience: Patience) -> Result<(), How> {
        let mut watch = None;
        while !rest.is_empty() {
            match self.socket.read(rest) {
                Ok(0) => return Err(self.end()),
                Ok(nr_read) => rest = &mut rest[nr_read..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    // What it has started may hold its end of the socket open.
                    if let Ok(Some(status)) = self.child.try_wait() {
                        return Err(How::Ended(status));
                    }
                    self.look(&mut watch, patience)?;
                }
                Err(_) => return Err(self.end()),
            }
        }
        Ok(())
    }

    /// Looks whether the child has moved since the last look, and gives up with it if it has not
    /// for too long.
    fn look(&mut self, watch: &mut Option<Watch>, patience: Patience) -> Result<(), How> {
        let (place, processor) = (self.slate.place(), processor_time(self.child.id()));
        let now = Instant::now();
        if watch.as_ref().is_some_and(|watch| watch.place != place) {
            *watch = None;
        }
        let since = watch.get_or_insert(Watch { place, processor, begun: now });
        let spent = match (since.processor, processor) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => now - since.begun,
        };
        let spent = match () {
            () if spent >= patience.processor => Spent::Processor(patience.processor),
            () if now - since.begun >= patience.wall => Spent::Wall(patience.wall),
            () => return Ok(()),
        };
        self.end();
        Err(How::Hung(spent))
    }

    /// Makes sure that it has ended, and tells how it did.
    fn end(&mut self) -> How {
        // One that has ended already keeps its own status.
        let _ = self.child.kill();
        How::Ended(self.child.wait().unwrap_or_default())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A place, and what the child had spent when it was first seen there.
struct Watch {
    place: Option<Place>,
    processor: Option<Duration>,
    begun: Instant,
}

/// The processor time of a process; none where there is no `/proc`.
fn processor_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program comes before, in brackets, and may have any sign in it.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().ok());
    let ticks = ticks.sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

fn send(socket: &mut UnixStream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(|_| ErrorKind::FileTooLarge)?;
    socket.write_all(&length.to_le_bytes())?;
    socket.write_all(frame)
}

/// In the child: answers questions until nobody asks any more.
///
/// # Errors
/// This process was not started as a worker.
pub(super) fn serve(mut answer: impl FnMut(&[u8], &Marker) -> Vec<u8>) -> io::Result<()> {
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let marker = Marker::of_this_process()?;
    leave_no_orphan()?;
    send(&mut socket, READY)?;
    loop {
        let mut length = [0; 4];
        match socket.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        let mut question = vec![0; u32::from_le_bytes(length) as usize];
        socket.read_exact(&mut question)?;
        send(&mut socket, &answer(&question, &marker))?;
    }
}

/// Ends this process once its parent has, even out of an op that never comes back.
fn leave_no_orphan() -> io::Result<()> {
    let parent = parent_id();
    let watch = move || {
        while parent_id() == parent {
            thread::sleep(LOOK_FOR_PARENT);
        }
        process::abort();
    };
    thread::Builder::new().spawn(watch).map(drop)
}
