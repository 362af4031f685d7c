//! A recording's file: plain text or a Zstandard stream of it.
//!
//! The one idea: the first four bytes decide, not the name. A stream must end where it says it
//! ends, and its checksum must agree; half a recording would replay as a shorter one.
//!
//! This file does not read the text (`read`).

use std::borrow::Cow;
use std::fs;
use std::io::Read;
use std::path::Path;

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::error::{Problem, RecordingError};

/// The first bytes of a Zstandard frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The longest text that is unpacked: a small file must not be able to take all memory.
const LONGEST_TEXT: u64 = 4 << 30;

/// The bytes of a file.
pub(super) fn load(path: &Path) -> Result<Vec<u8>, RecordingError> {
    fs::read(path).map_err(|error| RecordingError::whole(Problem::Io(error)))
}

/// The text in the bytes of a file.
pub(super) fn text(bytes: &[u8]) -> Result<Cow<'_, str>, RecordingError> {
    if !bytes.starts_with(&MAGIC) {
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| {
            not_text(&bytes[..error.valid_up_to()], bytes.get(error.valid_up_to()).copied())
        });
    }
    let text = unpack(bytes)?;
    match String::from_utf8(text) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            Err(not_text(&error.as_bytes()[..valid], error.as_bytes().get(valid).copied()))
        }
    }
}

/// The complaint about a byte that is no text, after the text `before` it.
fn not_text(before: &[u8], byte: Option<u8>) -> RecordingError {
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    let found = byte.map_or("the end".to_owned(), |byte| format!("the byte {byte:#04x}"));
    let expected = "ftrace text (plain, or a Zstandard stream)".to_owned();
    let problem = Problem::Malformed { expected, found };
    RecordingError { file: None, line: Some(lines(before)), column: Some(column), problem }
}

/// The line after the newlines in `text`.
fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Unpacks every frame of a Zstandard stream.
fn unpack(mut packed: &[u8]) -> Result<Vec<u8>, RecordingError> {
    let mut text = Vec::new();
    let mut decoder = FrameDecoder::new();
    while !packed.is_empty() {
        decoder = match StreamingDecoder::new_with_decoder(&mut packed, decoder) {
            Ok(frame) => unpack_frame(frame, &mut text)?,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                packed = skipped(packed, length, &text)?;
                FrameDecoder::new()
            }
            Err(error) => return Err(broken(&text, error)),
        };
    }
    Ok(text)
}

/// What follows a frame that holds no text.
fn skipped<'a>(packed: &'a [u8], length: u32, text: &[u8]) -> Result<&'a [u8], RecordingError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    packed.get(length..).ok_or_else(|| broken(text, "a frame ends beyond the end of the file"))
}

/// Unpacks one frame and gives its decoder back for the next.
fn unpack_frame(
    mut frame: StreamingDecoder<&mut &[u8], FrameDecoder>,
    text: &mut Vec<u8>,
) -> Result<FrameDecoder, RecordingError> {
    let room = LONGEST_TEXT.saturating_sub(text.len() as u64);
    if let Err(error) = (&mut frame).take(room).read_to_end(text) {
        return Err(broken(text, error));
    }
    let decoder = frame.into_frame_decoder();
    if text.len() as u64 >= LONGEST_TEXT {
        return Err(RecordingError::whole(Problem::TooMany { what: "bytes of text (4 GiB)" }));
    }
    let promised = decoder.get_checksum_from_data();
    if promised.is_some() && promised != decoder.get_calculated_checksum() {
        return Err(broken(text, "its checksum does not agree with its text"));
    }
    Ok(decoder)
}

/// The complaint about a stream that gave `text` before it broke.
fn broken(text: &[u8], reason: impl std::fmt::Display) -> RecordingError {
    RecordingError::at_line(lines(text), Problem::Compression { reason: reason.to_string() })
}

#[cfg(test)]
mod test {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    fn packed(text: &str) -> Vec<u8> {
        compress_to_vec(text.as_bytes(), CompressionLevel::Fastest)
    }

    #[test]
    fn plain_and_packed_texts_are_the_same() {
        assert_eq!(text(b"one\ntwo\n").unwrap(), "one\ntwo\n");
        let mut two_frames = packed("one\n");
        two_frames.extend([0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7]);
        two_frames.extend(packed("two\n"));
        assert_eq!(text(&two_frames).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error() {
        let whole = packed(&"a line of a recording\n".repeat(1000));
        for end in 4..whole.len() {
            let error = text(&whole[..end]).expect_err("a cut stream");
            assert!(matches!(error.problem, Problem::Compression { .. }), "cut at {end}: {error}");
        }
    }

    #[test]
    fn a_damaged_stream_is_an_error() {
        let mut stream = packed(&"a line of a recording\n".repeat(1000));
        let middle = stream.len() / 2;
        stream[middle] ^= 0x10;
        assert!(text(&stream).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_are_named_with_their_place() {
        let error = text(b"one\ntw\xff\n").expect_err("no text");
        assert_eq!((error.line, error.column), (Some(2), Some(3)));
        assert!(error.to_string().contains("the byte 0xff"), "{error}");
    }
}
