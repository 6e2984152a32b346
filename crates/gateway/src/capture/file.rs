//! Captures in umbra's own format: a header, records one behind the other, and a record that
//! says that it ends (`docs/capture-format.md`).
//!
//! A file is written from its beginning to its end only. One that ends anywhere else (the
//! program or the machine died) is read up to its last whole record, and is then said to be cut.

use std::io::{self, Read, Write};

use bytes::{BufMut, Bytes};

use super::record::{decode, encode};
use super::{Exchange, ReadError, WriteError};

/// What a capture begins with; what a text file never does.
pub const MAGIC: [u8; 8] = *b"\x8fUMBRAC\n";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const RECORD_HEAD_BYTES: usize = 16;

/// Bytes of a record; a longer one is neither written nor read.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// What is in one compressed record, unpacked: so much that it is worth it.
const BLOCK_BYTES: usize = 256 << 10;
const LEVEL: i32 = 1;
/// The unpacker holds no more than this, whatever a record asks for: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

const EXCHANGE: u8 = 1;
const PACKED: u8 = 2;
const END: u8 = 3;

/// What became of what was to be captured, as the end of a file tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Chosen to be captured.
    pub eligible: u64,
    /// In the file.
    pub captured: u64,
    /// Chosen and not in the file.
    pub dropped: u64,
}

/// Writes a capture.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    pack: bool,
    /// What is written, or what is to be packed.
    pending: Vec<u8>,
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins one; what is in it is packed if that is asked for.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(mut to: W, pack: bool) -> Result<Self, WriteError> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put_slice(&MAGIC);
        header.put_u16_le(VERSION);
        header.put_bytes(0, HEADER_BYTES - header.len());
        to.write_all(&header)?;
        Ok(Self { to, pack, pending: Vec::new(), written: HEADER_BYTES as u64 })
    }

    /// How many bytes it has so far.
    pub fn written(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Appends an exchange.
    ///
    /// # Errors
    /// It is too long, or the kernel refuses.
    pub fn put(&mut self, exchange: &Exchange) -> Result<(), WriteError> {
        let start = self.pending.len();
        self.pending.put_u32_le(0);
        let good = encode(exchange, &mut self.pending);
        let length = self.pending.len() - start - 4;
        if !good || length > RECORD_BYTES_MAX {
            self.pending.truncate(start);
            return Err(WriteError::TooLong);
        }
        if self.pack {
            // The bound is far below what fits.
            self.pending[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
            if self.pending.len() < BLOCK_BYTES {
                return Ok(());
            }
            return self.flush_packed();
        }
        // Taken and given back, not copied: what it is written to is a part of this, too.
        let mut pending = std::mem::take(&mut self.pending);
        let recorded = self.record(EXCHANGE, &pending[start + 4..]);
        pending.truncate(start);
        self.pending = pending;
        recorded
    }

    /// Hands over what was kept back, so that a reader can have it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.flush_packed()?;
        Ok(self.to.flush()?)
    }

    /// Ends it, and gives back what it was written to.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn finish(mut self, tally: Tally) -> Result<W, WriteError> {
        self.flush_packed()?;
        let mut payload = Vec::new();
        for count in [tally.eligible, tally.captured, tally.dropped] {
            payload.put_u64_le(count);
        }
        self.record(END, &payload)?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn flush_packed(&mut self) -> Result<(), WriteError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let packed = zstd::bulk::compress(&self.pending, LEVEL)?;
        self.pending.clear();
        self.record(PACKED, &packed)
    }

    fn record(&mut self, kind: u8, payload: &[u8]) -> Result<(), WriteError> {
        let head = head(kind, payload).ok_or(WriteError::TooLong)?;
        self.to.write_all(&head)?;
        self.to.write_all(payload)?;
        self.written += (head.len() + payload.len()) as u64;
        Ok(())
    }
}

/// Length, kind, and a checksum over these and the payload.
fn head(kind: u8, payload: &[u8]) -> Option<[u8; RECORD_HEAD_BYTES]> {
    let mut head = [0; RECORD_HEAD_BYTES];
    head[..4].copy_from_slice(&u32::try_from(payload.len()).ok()?.to_le_bytes());
    head[4] = kind;
    let sum = checksum(&head[..8], payload);
    head[8..].copy_from_slice(&sum);
    Some(head)
}

/// The first eight bytes of BLAKE3.
fn checksum(head: &[u8], payload: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(payload);
    let mut sum = [0; 8];
    hasher.finalize_xof().fill(&mut sum);
    sum
}

/// How a capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nobody has read so far.
    Unknown,
    /// It was ended, and this is what it says of itself.
    Whole(Tally),
    /// It breaks off: what follows this byte is not whole, or not there.
    Cut {
        /// How many bytes of it are good.
        at: u64,
    },
}

/// Reads a capture from its beginning.
pub struct Reader<R> {
    from: R,
    offset: u64,
    record: u64,
    ending: Ending,
    packed: Option<Packed>,
}

/// What is left of a packed record.
type Packed = zstd::stream::read::Decoder<'static, io::Cursor<Vec<u8>>>;

impl<R> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Reader");
        shown.field("offset", &self.offset).field("record", &self.record);
        shown.field("ending", &self.ending).finish_non_exhaustive()
    }
}

impl<R: Read> Reader<R> {
    /// Of what begins with a capture's first byte.
    ///
    /// # Errors
    /// It is none, or of a version that is not known.
    pub fn new(mut from: R) -> Result<Self, ReadError> {
        let mut header = [0; HEADER_BYTES];
        let got = fill(&mut from, &mut header)?;
        if got < MAGIC.len() || header[..MAGIC.len()] != MAGIC {
            return Err(ReadError::Format("it does not begin like one"));
        }
        let ending = match got {
            HEADER_BYTES => Ending::Unknown,
            _ => Ending::Cut { at: 0 },
        };
        if ending == Ending::Unknown {
            if u16::from_le_bytes([header[8], header[9]]) != VERSION {
                return Err(ReadError::Format("its version is not 1"));
            }
            if header[10..].iter().any(|&byte| byte != 0) {
                return Err(ReadError::Format("its header says more than version 1 knows"));
            }
        }
        Ok(Self { from, offset: HEADER_BYTES as u64, record: 0, ending, packed: None })
    }

    /// How it ended, once there is no next one.
    pub fn ending(&self) -> Ending {
        self.ending
    }

    /// The next exchange.
    ///
    /// # Errors
    /// A record is damaged, or the kernel refuses.
    pub fn next_exchange(&mut self) -> Result<Option<Exchange>, ReadError> {
        loop {
            if let Some(exchange) = self.unpack()? {
                return Ok(Some(exchange));
            }
            if self.ending != Ending::Unknown {
                return Ok(None);
            }
            let Some((kind, payload)) = self.next_record()? else { return Ok(None) };
            match kind {
                EXCHANGE => return decode(payload.into()).map(Some).map_err(|why| self.bad(why)),
                PACKED => self.packed = Some(self.unpacker(payload)?),
                END => self.ending = Ending::Whole(tally(&payload).map_err(|why| self.bad(why))?),
                _ => return Err(self.bad("its kind is not known")),
            }
        }
    }

    fn next_record(&mut self) -> Result<Option<(u8, Vec<u8>)>, ReadError> {
        let at = self.offset;
        self.record += 1;
        let mut head = [0; RECORD_HEAD_BYTES];
        if fill(&mut self.from, &mut head)? < head.len() {
            self.ending = Ending::Cut { at };
            return Ok(None);
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > RECORD_BYTES_MAX {
            return Err(self.bad("it is longer than a record may be"));
        }
        // What is not there is not allocated.
        let mut payload = Vec::with_capacity(length.min(64 << 10));
        self.from.by_ref().take(length as u64).read_to_end(&mut payload)?;
        if payload.len() < length {
            self.ending = Ending::Cut { at };
            return Ok(None);
        }
        if checksum(&head[..8], &payload) != head[8..] {
            return Err(self.bad("its checksum is another"));
        }
        if head[5..8] != [0; 3] {
            return Err(self.bad("its head says more than version 1 knows"));
        }
        self.offset += (RECORD_HEAD_BYTES + length) as u64;
        Ok(Some((head[4], payload)))
    }

    fn unpacker(&self, payload: Vec<u8>) -> Result<Packed, ReadError> {
        let mut packed = Packed::with_buffer(io::Cursor::new(payload))?.single_frame();
        packed.window_log_max(WINDOW_LOG_MAX)?;
        Ok(packed)
    }

    /// The next exchange of a packed record.
    fn unpack(&mut self) -> Result<Option<Exchange>, ReadError> {
        let Some(mut packed) = self.packed.take() else { return Ok(None) };
        let mut length = [0; 4];
        let got = fill(&mut packed, &mut length).map_err(|_| self.bad("it cannot be unpacked"))?;
        if got == 0 {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length) as usize;
        if got < 4 || length > RECORD_BYTES_MAX {
            return Err(self.bad("what is packed in it is not whole"));
        }
        let mut payload = Vec::with_capacity(length.min(64 << 10));
        let read = packed.by_ref().take(length as u64).read_to_end(&mut payload);
        read.map_err(|_| self.bad("it cannot be unpacked"))?;
        if payload.len() < length {
            return Err(self.bad("what is packed in it is not whole"));
        }
        let exchange = decode(Bytes::from(payload)).map_err(|why| self.bad(why))?;
        self.packed = Some(packed);
        Ok(Some(exchange))
    }

    fn bad(&self, why: &str) -> ReadError {
        ReadError::Record { record: self.record, offset: self.offset, why: why.to_owned() }
    }
}

fn tally(payload: &[u8]) -> Result<Tally, &'static str> {
    let whole: [u8; 24] = payload.try_into().map_err(|_| "its end is not 24 bytes long")?;
    let count = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&whole[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    Ok(Tally { eligible: count(0), captured: count(8), dropped: count(16) })
}

/// Reads until `to` is full or there is nothing more; how much that was.
fn fill(from: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < to.len() {
        match from.read(&mut to[got..]) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::capture::{Answered, Asked, Kept};

    prop_compose! {
        fn kept()(bytes in vec(any::<u8>(), 0..200), cut: bool) -> Kept {
            Kept { bytes: bytes.into(), cut }
        }
    }

    fn headers() -> impl Strategy<Value = Vec<(Bytes, Bytes)>> {
        let bytes = || vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        vec((bytes(), bytes()), 0..4)
    }

    prop_compose! {
        fn answered()(status in 100_u16..1000, after_us: u64, headers in headers(), body in kept())
            -> Answered { Answered { status, after_us, headers, body } }
    }

    prop_compose! {
        fn exchange()(
            began_us: u64,
            session: u64,
            method in ".{0,8}",
            target in ".{0,30}",
            headers in headers(),
            body in kept(),
            answer in proptest::option::of(answered()),
        ) -> Exchange {
            Exchange { began_us, session, request: Asked { method, target, headers, body }, answer }
        }
    }

    fn written(exchanges: &[Exchange], pack: bool, tally: Option<Tally>) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), pack).unwrap();
        exchanges.iter().for_each(|exchange| writer.put(exchange).unwrap());
        match tally {
            Some(tally) => writer.finish(tally).unwrap(),
            None => {
                writer.flush().unwrap();
                writer.to
            }
        }
    }

    fn read(bytes: &[u8]) -> Result<(Vec<Exchange>, Ending), ReadError> {
        let mut reader = Reader::new(bytes)?;
        let mut all = Vec::new();
        while let Some(exchange) = reader.next_exchange()? {
            all.push(exchange);
        }
        Ok((all, reader.ending()))
    }

    fn one(target: &str) -> Exchange {
        let request = Asked {
            method: "GET".into(),
            target: target.into(),
            headers: vec![("Host".into(), "a".into())],
            body: Kept::default(),
        };
        Exchange { began_us: 1, session: 2, request, answer: None }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in vec(exchange(), 0..8), pack: bool, eligible: u64) {
            let tally = Tally { eligible, captured: all.len() as u64, dropped: 3 };
            let is = read(&written(&all, pack, Some(tally))).unwrap();
            prop_assert_eq!(is, (all, Ending::Whole(tally)));
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in vec(any::<u8>(), 0..200)) {
            let mut whole = written(&[], false, None);
            whole.extend(bytes);
            let _ = read(&whole);
        }
    }

    #[test]
    fn cut_at_any_byte_it_is_read_so_far_and_said_to_be_cut() {
        let all = [one("/a"), one("/b"), one("/c")];
        for pack in [false, true] {
            let whole = written(&all, pack, Some(Tally::default()));
            for length in MAGIC.len()..whole.len() {
                let (read, ending) = read(&whole[..length]).unwrap();
                let Ending::Cut { at } = ending else { panic!("{length}: {ending:?}") };
                assert!(at as usize <= length && all.starts_with(&read), "{length}");
                if !pack {
                    assert_eq!(read.len(), (at as usize).saturating_sub(16) / 57, "{length}");
                }
            }
        }
    }

    #[test]
    fn a_byte_that_changed_is_noticed() {
        for pack in [false, true] {
            let all = [one("/a"), one("/b")];
            let whole = written(&all, pack, Some(Tally::default()));
            for at in 0..whole.len() {
                let mut bad = whole.clone();
                bad[at] ^= 0x10;
                let noticed = match read(&bad) {
                    Err(_) | Ok((_, Ending::Cut { .. })) => true,
                    Ok(_) => false,
                };
                assert!(noticed, "byte {at}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_not_written_and_harms_nothing() {
        let mut writer = Writer::new(Vec::new(), false).unwrap();
        writer.put(&one("/a")).unwrap();
        let mut long = one("/b");
        long.request.body.bytes = vec![0; RECORD_BYTES_MAX].into();
        assert!(matches!(writer.put(&long), Err(WriteError::TooLong)));
        writer.put(&one("/c")).unwrap();
        let (read, _) = read(&writer.finish(Tally::default()).unwrap()).unwrap();
        assert_eq!(read, [one("/a"), one("/c")]);
    }

    #[test]
    fn lengths_that_lie_cost_nothing() {
        let mut whole = written(&[], false, None);
        whole.extend((RECORD_BYTES_MAX as u32).to_le_bytes());
        whole.extend([0; 40]);
        assert!(matches!(read(&whole), Ok((_, Ending::Cut { at: 16 }))));
        let mut whole = written(&[], false, None);
        whole.extend(u32::MAX.to_le_bytes());
        whole.extend([0; 40]);
        assert!(matches!(read(&whole), Err(ReadError::Record { record: 1, offset: 16, .. })));
    }
}
