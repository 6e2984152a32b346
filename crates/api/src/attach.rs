//! Frames of an attached terminal: what travels on the connection after its upgrade.
//!
//! ```text
//! +------+----------------+------------------+
//! | kind | length, u16 BE | length bytes     |
//! +------+----------------+------------------+
//! kind 0 stdin   client -> daemon   bytes typed
//!      1 stdout  daemon -> client   bytes the terminal prints
//!      2 resize  client -> daemon   columns u16 BE, rows u16 BE
//!      3 exit    daemon -> client   how: 0 code, 1 signal, 2 timed out; then i32 BE; the last frame
//!      4 error   daemon -> client   a sentence in UTF-8; the last frame
//!      5 eof     client -> daemon   nothing more will be typed
//! ```
//!
//! A length never exceeds [`FRAME_BYTES_MAX`]; anything else is refused, not guessed at.

use umbra_state::Exit;

use crate::shadow::TerminalSize;

/// The value of the `Upgrade` header that asks for these frames.
pub const PROTOCOL: &str = "umbra-attach/1";

/// The most bytes one frame carries.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;

const HEADER_BYTES: usize = 3;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes typed.
    Stdin(Vec<u8>),
    /// Bytes printed.
    Stdout(Vec<u8>),
    /// The window has a new size.
    Resize(TerminalSize),
    /// The command ended.
    Exit(Exit),
    /// The terminal was lost before the command ended.
    Error(String),
    /// Nothing more will be typed.
    Eof,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The kind is unknown.
    #[error("read a frame of unknown kind {0}")]
    Kind(u8),
    /// The length is beyond what is allowed.
    #[error("read a frame of {0} bytes: at most {FRAME_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The content does not fit the kind.
    #[error("read a frame of kind {kind}: {length} bytes are not what it holds")]
    Content {
        /// Which kind.
        kind: u8,
        /// How long its content was.
        length: usize,
    },
}

impl Frame {
    /// Appends the frame to `out`. Byte frames longer than [`FRAME_BYTES_MAX`] become
    /// several; a longer sentence is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stdin(bytes) => encode_bytes(0, bytes, out),
            Self::Stdout(bytes) => encode_bytes(1, bytes, out),
            Self::Resize(size) => {
                let [a, b] = size.columns.to_be_bytes();
                let [c, d] = size.rows.to_be_bytes();
                encode_one(2, &[a, b, c, d], out);
            }
            Self::Exit(exit) => {
                let (how, number) = match exit {
                    Exit::Code(code) => (0, *code),
                    Exit::Signal(signal) => (1, *signal),
                    Exit::TimedOut => (2, 0),
                };
                let mut content = vec![how];
                content.extend_from_slice(&number.to_be_bytes());
                encode_one(3, &content, out);
            }
            Self::Error(text) => {
                let end = text.floor_char_boundary(FRAME_BYTES_MAX);
                encode_one(4, &text.as_bytes()[..end], out);
            }
            Self::Eof => encode_one(5, &[], out),
        }
    }

    /// Whether nothing follows it from the daemon.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Exit(_) | Self::Error(_))
    }

    fn decode(kind: u8, content: &[u8]) -> Result<Self, FrameError> {
        let refuse = || FrameError::Content { kind, length: content.len() };
        match kind {
            0 => Ok(Self::Stdin(content.to_vec())),
            1 => Ok(Self::Stdout(content.to_vec())),
            2 => {
                let [a, b, c, d] = content.try_into().map_err(|_| refuse())?;
                let (columns, rows) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                Ok(Self::Resize(TerminalSize { columns, rows }))
            }
            3 => decode_exit(content).map(Self::Exit).ok_or_else(refuse),
            4 => {
                let text = std::str::from_utf8(content).map_err(|_| refuse())?;
                Ok(Self::Error(text.to_owned()))
            }
            5 if content.is_empty() => Ok(Self::Eof),
            5 => Err(refuse()),
            _ => Err(FrameError::Kind(kind)),
        }
    }
}

fn decode_exit(content: &[u8]) -> Option<Exit> {
    let [how, number @ ..]: [u8; 5] = content.try_into().ok()?;
    let number = i32::from_be_bytes(number);
    match how {
        0 => Some(Exit::Code(number)),
        1 => Some(Exit::Signal(number)),
        2 if number == 0 => Some(Exit::TimedOut),
        _ => None,
    }
}

fn encode_bytes(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    bytes.chunks(FRAME_BYTES_MAX).for_each(|chunk| encode_one(kind, chunk, out));
}

fn encode_one(kind: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(content.len() as u16).to_be_bytes());
    out.extend_from_slice(content);
}

/// Cuts a stream of bytes into frames. It never holds more than one unfinished frame
/// besides the bytes just pushed.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    /// How much of `pending` was handed out: removed all at once, since what comes after it
    /// moves.
    taken: usize,
}

impl Decoder {
    /// Takes bytes as they came from the connection.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.drain(..std::mem::take(&mut self.taken));
        self.pending.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one. After an error the stream is lost: where
    /// frames begin is no longer known.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let unread = &self.pending[self.taken..];
        let Some((&[kind, high, low], rest)) = unread.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if kind > 5 {
            return Err(FrameError::Kind(kind));
        }
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::decode(kind, content)?;
        self.taken += HEADER_BYTES + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        let bytes = || proptest::collection::vec(any::<u8>(), 1..200);
        prop_oneof![
            bytes().prop_map(Frame::Stdin),
            bytes().prop_map(Frame::Stdout),
            (any::<u16>(), any::<u16>())
                .prop_map(|(columns, rows)| Frame::Resize(TerminalSize { columns, rows })),
            any::<i32>().prop_map(|code| Frame::Exit(Exit::Code(code))),
            any::<i32>().prop_map(|signal| Frame::Exit(Exit::Signal(signal))),
            Just(Frame::Exit(Exit::TimedOut)),
            ".{0,80}".prop_map(Frame::Error),
            Just(Frame::Eof),
        ]
    }

    fn decode_all(decoder: &mut Decoder) -> Vec<Frame> {
        std::iter::from_fn(|| decoder.next_frame().expect("well-formed")).collect()
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            sent in proptest::collection::vec(frames(), 0..12),
            cut in 1usize..64,
        ) {
            let mut bytes = Vec::new();
            sent.iter().for_each(|frame| frame.encode(&mut bytes));
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                seen.extend(decode_all(&mut decoder));
            }
            prop_assert_eq!(seen, sent);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
    }

    #[test]
    fn long_output_becomes_several_frames() {
        let long = vec![7u8; FRAME_BYTES_MAX * 2 + 1];
        let mut bytes = Vec::new();
        Frame::Stdout(long.clone()).encode(&mut bytes);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        let parts = decode_all(&mut decoder);
        assert_eq!(parts.len(), 3);
        let joined: Vec<u8> = parts
            .into_iter()
            .flat_map(|frame| match frame {
                Frame::Stdout(bytes) => bytes,
                other => panic!("unexpected {other:?}"),
            })
            .collect();
        assert_eq!(joined, long);
    }

    #[track_caller]
    fn check_refused(bytes: &[u8], error: FrameError) {
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        assert_eq!(decoder.next_frame(), Err(error));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        check_refused(&[6, 0, 0], FrameError::Kind(6));
        check_refused(&[0, 0xff, 0xff], FrameError::TooLong(0xffff));
        check_refused(&[2, 0, 1, 9], FrameError::Content { kind: 2, length: 1 });
        check_refused(&[3, 0, 5, 9, 0, 0, 0, 0], FrameError::Content { kind: 3, length: 5 });
        check_refused(&[4, 0, 1, 0xff], FrameError::Content { kind: 4, length: 1 });
        check_refused(&[5, 0, 1, 0], FrameError::Content { kind: 5, length: 1 });
    }
}
