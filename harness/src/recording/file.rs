//! A recording's file: plain text or a Zstandard stream of it.
//!
//! The first bytes decide, not the name, and everything is read piece by piece, so that no file can
//! take more memory than a window (at most 100 MiB). A stream must end where it says it ends, and
//! its checksum must agree; half a recording would replay as a shorter one.
//!
//! This file does not split the text (`lines`).

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::error::{Problem, RecordingError};

/// The first bytes of a Zstandard frame.
const MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that are unpacked at a time.
const PIECE: usize = 1 << 16;

/// The first bytes of files that hold recordings in other forms, and how to get a readable one.
static OTHERS: &[(&[u8], &str)] = &[
    (b"PERFILE2", "a data file of perf: print it with `perf script -i FILE`"),
    (b"\x17\x08\x44tracing", "a data file of trace-cmd: print it with `trace-cmd report -i FILE`"),
    (&[0x1f, 0x8b], "a gzip file: unpack it first (`gunzip -c`)"),
    (b"\xfd7zXZ\0", "an xz file: unpack it first (`xz -dc`)"),
    (b"BZh", "a bzip2 file: unpack it first (`bunzip2 -c`)"),
];

/// Opens a file and finds out what is in it.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>, RecordingError> {
    let file = File::open(path).map_err(|error| RecordingError::whole(Problem::Io(error)))?;
    text(BufReader::with_capacity(PIECE, file))
}

/// The text in what a file holds.
pub(super) fn text<'a>(
    mut source: impl BufRead + 'a,
) -> Result<Box<dyn BufRead + 'a>, RecordingError> {
    let start = source.fill_buf().map_err(|error| RecordingError::whole(Problem::Io(error)))?;
    if start.starts_with(MAGIC) {
        return Ok(Box::new(BufReader::with_capacity(PIECE, Unpacked::new(source))));
    }
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
        let expected = "a recording as text (plain, or a Zstandard stream)".to_owned();
        let problem = Problem::Malformed { expected, found: (*what).to_owned() };
        return Err(RecordingError::at_line(1, problem));
    }
    Ok(Box::new(source))
}

/// A Zstandard stream that is cut short or damaged.
#[derive(Debug)]
pub(super) struct Broken(String);

impl Broken {
    fn error(reason: impl fmt::Display) -> io::Error {
        io::Error::other(Self(reason.to_string()))
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// The text in a Zstandard stream, all frames of it.
struct Unpacked<R> {
    source: R,
    decoder: FrameDecoder,
    /// A frame was begun and its end has not been seen to be right.
    in_frame: bool,
}

impl<R: BufRead> Unpacked<R> {
    fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Begins the next frame that holds text; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        use ReadFrameHeaderError::SkipFrame;
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => {
                    self.in_frame = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(SkipFrame { length, .. })) => {
                    let mut skipped = (&mut self.source).take(length.into());
                    if io::copy(&mut skipped, &mut io::sink())? < length.into() {
                        return Err(Broken::error("a frame ends beyond the end of the file"));
                    }
                }
                Err(error) => return Err(Broken::error(error)),
            }
        }
        Ok(false)
    }

    /// Unpacks a piece of the frame at hand, or ends it.
    fn next_piece(&mut self) -> io::Result<()> {
        if self.decoder.is_finished() {
            self.in_frame = false;
            let promised = self.decoder.get_checksum_from_data();
            if promised.is_some() && promised != self.decoder.get_calculated_checksum() {
                return Err(Broken::error("its checksum does not agree with its text"));
            }
            return Ok(());
        }
        let piece = BlockDecodingStrategy::UptoBytes(PIECE);
        self.decoder.decode_blocks(&mut self.source, piece).map(|_| ()).map_err(Broken::error)
    }
}

impl<R: BufRead> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = if self.in_frame { self.decoder.read(buffer)? } else { 0 };
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if self.in_frame {
                self.next_piece()?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn packed(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    fn unpack(bytes: &[u8]) -> Result<String, String> {
        let mut all = String::new();
        let mut source = text(bytes).map_err(|error| error.to_string())?;
        source.read_to_string(&mut all).map_err(|error| error.to_string())?;
        Ok(all)
    }

    #[test]
    fn plain_and_packed_texts_are_the_same() {
        assert_eq!(unpack(b"one\ntwo\n").unwrap(), "one\ntwo\n");
        let mut two_frames = packed("one\n");
        two_frames.extend([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7]);
        two_frames.extend(packed("two\n"));
        assert_eq!(unpack(&two_frames).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error() {
        let whole = packed(&"a line of a recording\n".repeat(1000));
        for end in 4..whole.len() {
            assert!(unpack(&whole[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error() {
        let mut stream = packed(&"a line of a recording\n".repeat(1000));
        let middle = stream.len() / 2;
        stream[middle] ^= 0x10;
        assert!(unpack(&stream).is_err());
    }

    #[test]
    fn other_kinds_of_files_are_known() {
        for (start, way_out) in [
            (&b"PERFILE2\x68\0\0"[..], "perf script"),
            (b"\x17\x08\x44tracing6\0", "trace-cmd report"),
            (&[0x1f, 0x8b, 8, 0], "gunzip"),
        ] {
            let error = unpack(start).expect_err(way_out);
            assert!(error.contains(way_out) && error.contains("recording:1"), "{error}");
        }
    }
}
