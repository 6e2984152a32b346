//! One direction of a TCP connection: segments in any order become bytes in theirs.
//!
//! ```text
//!            next
//!  delivered  |   missing   | held |  missing  | held |
//! ------------+-------------+------+-----------+------+--> positions
//! ```
//!
//! What comes behind a hole is held, within bounds. A hole is *lost* once the receiver
//! acknowledges what is behind it: it has the bytes, so nobody sends them again, and they passed
//! without being seen. It is also lost when what is held reaches its bounds. What was lost is told
//! in its place, so whoever reads never takes bytes for neighbours that are not.
//!
//! Where bytes come twice the first win, as long as both are known; that they differ is counted.

use std::collections::BTreeMap;

use super::counts::Segments;

/// Held bytes of one direction.
pub const HELD_BYTES_MAX: usize = 1 << 20;

/// Held pieces of one direction.
const HELD_PIECES_MAX: usize = 1024;

/// What a held piece costs besides its bytes.
const PIECE_BYTES: usize = 96;

/// No receiver has a larger window, so nothing that is sent in earnest is further ahead.
const WINDOW_MAX: u64 = 1 << 30;

/// A place in a direction. Its lower half is the sequence number, so that it does not wrap.
pub type Position = u64;

/// Bytes of a segment.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// The sequence number of the first of them.
    pub seq: u32,
    /// They.
    pub bytes: &'a [u8],
    /// Whether the direction ends after them, and after as many that were not captured.
    pub fin: bool,
    /// Bytes that were not captured.
    pub missing: usize,
    /// When they came.
    pub at_us: u64,
}

/// What becomes known of a direction, in the order of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News<'a> {
    /// The next bytes.
    Bytes(Chunk<'a>),
    /// So many bytes were not seen.
    Lost(u64),
    /// There are no more.
    End,
}

/// Bytes that follow those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// They.
    pub bytes: &'a [u8],
    /// Where they are.
    pub at: Position,
    /// When they came.
    pub at_us: u64,
    /// Whether a segment begins with them that has just come.
    pub fresh: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Stream {
    /// The first byte that is not known yet; `None` before anything is.
    next: Option<Position>,
    held: BTreeMap<Position, Held>,
    held_bytes: usize,
    /// Where it ends, once that was said.
    end: Option<Position>,
    over: bool,
}

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    at_us: u64,
}

impl Stream {
    /// The next byte has this number. Only the first to say so is believed.
    pub fn begin(&mut self, seq: u32) {
        // Room below, for what comes again from before.
        self.next.get_or_insert((1 << 32) | Position::from(seq));
    }

    /// The place of the next byte.
    pub fn next(&self) -> Option<Position> {
        self.next
    }

    /// The place nearest to the next byte that has this sequence number.
    pub fn position(&self, seq: u32) -> Option<Position> {
        let next = self.next?;
        let ahead = seq.wrapping_sub(next as u32) as i32;
        next.checked_add_signed(i64::from(ahead))
    }

    /// Whether it has been told to its end.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// What it takes up.
    pub fn holds(&self) -> usize {
        self.held_bytes + self.held.len() * PIECE_BYTES
    }

    /// Takes what a segment brings.
    pub fn take(
        &mut self,
        piece: Piece<'_>,
        counts: &mut Segments,
        tell: &mut dyn FnMut(News<'_>),
    ) {
        let (Some(next), Some(start)) = (self.next, self.position(piece.seq)) else { return };
        if start > next + WINDOW_MAX {
            counts.stray += 1;
            return;
        }
        let end = start + (piece.bytes.len() + piece.missing) as u64;
        if piece.fin && self.end.is_none() && end >= next {
            self.ends_at(end);
        }
        self.place(start, piece.bytes, piece.at_us, counts, tell);
        while self.held_bytes > HELD_BYTES_MAX || self.held.len() > HELD_PIECES_MAX {
            let Some((&first, _)) = self.held.first_key_value() else { break };
            self.lose_until(first, counts, tell);
        }
        self.end_if_there(tell);
    }

    /// The receiver has everything in front of this sequence number.
    pub fn acknowledged(
        &mut self,
        ack: u32,
        counts: &mut Segments,
        tell: &mut dyn FnMut(News<'_>),
    ) {
        let Some(said) = self.position(ack) else { return };
        // The end itself has a number, too.
        let to = self.end.map_or(said, |end| said.min(end));
        while let Some(next) = self.next
            && next < to
            && to - next <= WINDOW_MAX
        {
            let first = self.held.first_key_value().map_or(to, |(&first, _)| first);
            self.lose_until(first.min(to), counts, tell);
        }
        self.end_if_there(tell);
    }

    /// Bytes that begin at `start`, as far as they are news.
    fn place(
        &mut self,
        start: Position,
        bytes: &[u8],
        at_us: u64,
        counts: &mut Segments,
        tell: &mut dyn FnMut(News<'_>),
    ) {
        let Some(next) = self.next else { return };
        let known = usize::try_from(next.saturating_sub(start)).unwrap_or(usize::MAX);
        let until = self.end.map_or(u64::MAX, |end| end.saturating_sub(start));
        let until = bytes.len().min(usize::try_from(until).unwrap_or(usize::MAX));
        let Some(fresh) = bytes.get(known..until).filter(|fresh| !fresh.is_empty()) else {
            counts.repeated += u64::from(!bytes.is_empty());
            return;
        };
        if start > next || self.covers(next, fresh.len()) {
            counts.out_of_order += u64::from(start > next);
            self.hold(start.max(next), fresh, at_us, counts);
        } else {
            let chunk = Chunk { bytes: fresh, at: next, at_us, fresh: known == 0 };
            self.deliver(chunk, tell);
        }
        self.release(tell);
    }

    /// Whether something is held of the `length` bytes from here.
    fn covers(&self, from: Position, length: usize) -> bool {
        self.held.first_key_value().is_some_and(|(&first, _)| first < from + length as u64)
    }

    /// Keeps what of these bytes is not held yet.
    fn hold(&mut self, mut start: Position, mut bytes: &[u8], at_us: u64, counts: &mut Segments) {
        let mut differ = false;
        while !bytes.is_empty() {
            let before = self.held.range(..=start).next_back();
            let over = before.and_then(|(&at, held)| held.bytes.get((start - at) as usize..));
            let taken = match over.filter(|over| !over.is_empty()) {
                Some(over) => {
                    let both = over.len().min(bytes.len());
                    differ |= over[..both] != bytes[..both];
                    both
                }
                None => {
                    let free = self.held.range(start..).next().map(|(&at, _)| at - start);
                    let free = free.map_or(bytes.len(), |free| bytes.len().min(free as usize));
                    self.held_bytes += free;
                    self.held.insert(start, Held { bytes: bytes[..free].to_vec(), at_us });
                    free
                }
            };
            start += taken as u64;
            bytes = &bytes[taken..];
        }
        counts.conflicting += u64::from(differ);
    }

    /// Delivers what is held and has become next.
    fn release(&mut self, tell: &mut dyn FnMut(News<'_>)) {
        while let Some(entry) = self.held.first_entry()
            && Some(*entry.key()) == self.next
        {
            let (at, held) = entry.remove_entry();
            self.held_bytes -= held.bytes.len();
            self.deliver(Chunk { bytes: &held.bytes, at, at_us: held.at_us, fresh: false }, tell);
        }
    }

    fn deliver(&mut self, chunk: Chunk<'_>, tell: &mut dyn FnMut(News<'_>)) {
        self.next = Some(chunk.at + chunk.bytes.len() as u64);
        tell(News::Bytes(chunk));
    }

    fn lose_until(
        &mut self,
        until: Position,
        counts: &mut Segments,
        tell: &mut dyn FnMut(News<'_>),
    ) {
        let lost = until - self.next.unwrap_or(until);
        self.next = Some(until);
        counts.gaps += 1;
        counts.gap_bytes += lost;
        tell(News::Lost(lost));
        self.release(tell);
    }

    /// Nothing is behind the end, whatever came.
    fn ends_at(&mut self, end: Position) {
        self.end = Some(end);
        for held in self.held.split_off(&end).into_values() {
            self.held_bytes -= held.bytes.len();
        }
        if let Some(mut last) = self.held.last_entry() {
            let room = (end - *last.key()) as usize;
            let bytes = &mut last.get_mut().bytes;
            self.held_bytes -= bytes.len().saturating_sub(room);
            bytes.truncate(room);
        }
    }

    fn end_if_there(&mut self, tell: &mut dyn FnMut(News<'_>)) {
        if !self.over && self.end.is_some() && self.end == self.next {
            self.over = true;
            tell(News::End);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What was told, put together: lost bytes are `?`.
    #[derive(Default)]
    struct Reader {
        stream: Stream,
        counts: Segments,
        seen: Vec<u8>,
        ended: bool,
    }

    impl Reader {
        fn at(seq: u32) -> Self {
            let mut reader = Self::default();
            reader.stream.begin(seq);
            reader
        }

        fn tell(&mut self, act: impl FnOnce(&mut Stream, &mut Segments, &mut dyn FnMut(News<'_>))) {
            let Self { stream, counts, seen, ended } = self;
            act(stream, counts, &mut |news| {
                assert!(!*ended, "{news:?} after the end");
                match news {
                    News::Bytes(chunk) => seen.extend(chunk.bytes),
                    News::Lost(lost) => seen.resize(seen.len() + lost as usize, b'?'),
                    News::End => *ended = true,
                }
            });
        }

        fn piece(&mut self, seq: u32, bytes: &[u8], fin: bool) {
            let piece = Piece { seq, bytes, fin, missing: 0, at_us: 0 };
            self.tell(|stream, counts, tell| stream.take(piece, counts, tell));
        }

        fn acknowledge(&mut self, seq: u32) {
            self.tell(|stream, counts, tell| stream.acknowledged(seq, counts, tell));
        }
    }

    enum Do {
        Piece(u32, &'static str),
        Last(u32, &'static str),
        Ack(u32),
    }
    use Do::{Ack, Last, Piece as Put};

    /// Numbers count from 10 below where sequence numbers wrap.
    #[track_caller]
    fn check(done: &[Do], seen: &str, ended: bool) -> Segments {
        let base = u32::MAX - 9;
        let mut reader = Reader::at(base);
        for one in done {
            match *one {
                Put(at, bytes) => reader.piece(base.wrapping_add(at), bytes.as_bytes(), false),
                Last(at, bytes) => reader.piece(base.wrapping_add(at), bytes.as_bytes(), true),
                Ack(at) => reader.acknowledge(base.wrapping_add(at)),
            }
        }
        assert_eq!(String::from_utf8_lossy(&reader.seen), seen);
        assert_eq!(reader.ended, ended);
        reader.counts
    }

    #[test]
    fn bytes_come_in_their_order() {
        check(&[Put(0, "abc"), Put(3, "def"), Last(6, "")], "abcdef", true);
        check(&[Put(6, "gh"), Put(3, "def"), Put(0, "abc")], "abcdefgh", false);
        check(&[Put(3, "defghijklm"), Last(13, "n"), Put(0, "abc")], "abcdefghijklmn", true);
        check(&[Last(3, "d"), Put(0, "abc")], "abcd", true);
    }

    #[test]
    fn what_comes_twice_is_told_once() {
        let counts = check(&[Put(0, "abc"), Put(0, "abc"), Put(1, "bcd")], "abcd", false);
        assert_eq!((counts.repeated, counts.conflicting), (1, 0));
        check(&[Put(2, "c"), Put(4, "e"), Put(1, "bcdef"), Put(0, "a")], "abcdef", false);
        // A keep-alive probe repeats the byte before.
        check(&[Put(0, "abc"), Put(2, "x"), Put(3, "d")], "abcd", false);
    }

    #[test]
    fn of_contradictions_the_first_wins_and_is_counted() {
        let counts = check(&[Put(2, "cd"), Put(0, "abXY")], "abcd", false);
        assert_eq!(counts.conflicting, 1);
        let counts = check(&[Put(2, "cd"), Put(1, "bXY"), Put(0, "a")], "abcd", false);
        assert_eq!(counts.conflicting, 1);
    }

    #[test]
    fn what_the_receiver_has_and_was_not_seen_is_lost() {
        let counts = check(&[Put(0, "ab"), Put(4, "ef"), Ack(6)], "ab??ef", false);
        assert_eq!((counts.gaps, counts.gap_bytes), (1, 2));
        check(&[Put(0, "ab"), Put(4, "ef"), Ack(2)], "ab", false);
        check(&[Put(0, "ab"), Put(4, "e"), Ack(3), Put(3, "d")], "ab?de", false);
        check(&[Put(1, "b"), Put(3, "d"), Ack(6)], "?b?d??", false);
        // The end has a number of its own.
        let counts = check(&[Last(0, "ab"), Ack(3)], "ab", true);
        assert_eq!(counts.gaps, 0);
        check(&[Last(1, "b"), Ack(3)], "?b", true);
        check(&[Put(0, "ab"), Ack(3 + (1 << 30)), Put(2, "c")], "abc", false);
    }

    #[test]
    fn nothing_follows_the_end() {
        check(&[Last(0, "ab"), Put(2, "c"), Last(2, "cd")], "ab", true);
        check(&[Put(1, "bcd"), Put(5, "f"), Last(2, ""), Put(0, "a")], "ab", true);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut reader = Reader::at(0);
        let block = [b'x'; 1000];
        for number in 0..5000_u32 {
            reader.piece(1 + number * 1001, &block, false);
            let held = reader.stream.holds();
            assert!(held <= HELD_BYTES_MAX + HELD_PIECES_MAX * (PIECE_BYTES + 1), "{held}");
        }
        assert!(reader.counts.gaps > 3900, "{:?}", reader.counts);
        reader.piece(0x5000_0000, b"far", false);
        assert_eq!(reader.counts.stray, 1);
    }

    #[test]
    fn nothing_is_known_of_a_direction_before_it_began() {
        let mut reader = Reader::default();
        reader.piece(0, b"x", true);
        reader.acknowledge(7);
        assert_eq!((reader.seen.len(), reader.stream.next()), (0, None));
    }

    /// Pieces of a text: where each begins, how long it is, and when it comes.
    fn pieces() -> impl Strategy<Value = (Vec<u8>, u32, Vec<(usize, usize)>)> {
        (prop::collection::vec(any::<u8>(), 1..400), any::<u32>()).prop_flat_map(|(text, seq)| {
            let length = text.len();
            let piece = (0..length, 1..40_usize);
            (Just(text), Just(seq), prop::collection::vec(piece, 0..60))
        })
    }

    proptest! {
        #[test]
        fn however_it_is_cut_repeated_and_shuffled_it_is_the_same(
            (text, seq, extra) in pieces(), size in 1_usize..50, shuffle in any::<u64>()
        ) {
            let whole = (0..text.len()).step_by(size).map(|at| (at, size));
            let mut pieces: Vec<(usize, usize)> = whole.chain(extra).collect();
            let mut random = shuffle | 1;
            for at in (1..pieces.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                pieces.swap(at, (random >> 33) as usize % (at + 1));
            }
            let mut reader = Reader::at(seq);
            for (at, size) in pieces {
                let end = text.len().min(at + size);
                let bytes = &text[at..end];
                reader.piece(seq.wrapping_add(at as u32), bytes, end == text.len());
            }
            prop_assert_eq!(&reader.seen, &text);
            prop_assert!(reader.ended);
            prop_assert_eq!((reader.counts.gaps, reader.counts.conflicting), (0, 0));
            prop_assert_eq!(reader.stream.holds(), 0);
        }

        #[test]
        fn what_is_lost_is_counted_and_never_replaced(
            (text, seq, pieces) in pieces(), acks in prop::collection::vec(0_usize..400, 0..10)
        ) {
            // No byte is a question mark, so what is lost can be told.
            let text: Vec<u8> = text.iter().map(|byte| byte | 0x40).collect();
            let mut reader = Reader::at(seq);
            let number = |at: usize| seq.wrapping_add(at as u32);
            for (index, &(at, size)) in pieces.iter().enumerate() {
                reader.piece(number(at), &text[at..text.len().min(at + size)], false);
                if let Some(&ack) = acks.get(index) {
                    reader.acknowledge(number(ack.min(text.len())));
                }
            }
            reader.piece(number(text.len()), &[], true);
            reader.acknowledge(number(text.len() + 1));
            prop_assert!(reader.ended);
            prop_assert_eq!(reader.seen.len(), text.len());
            let lost = reader.seen.iter().filter(|&&byte| byte == b'?').count() as u64;
            prop_assert_eq!(lost, reader.counts.gap_bytes);
            for (seen, is) in reader.seen.iter().zip(&text) {
                prop_assert!(*seen == b'?' || seen == is);
            }
        }
    }
}
