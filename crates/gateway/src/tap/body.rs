//! A body as it passes: how much of it is still to come, and as much of it as is kept.

use super::counts::Because;
use super::head::Framing;
use crate::capture::Kept;
use crate::chunks::{BadChunks, Chunks};

/// Room that a body gets before its bytes are there.
const ROOM_AT_ONCE: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub struct Body {
    left: Left,
    kept: Vec<u8>,
    cut: bool,
    bytes_max: usize,
    begun: bool,
}

#[derive(Debug)]
enum Left {
    Length(u64),
    Chunks(Chunks),
    UntilEnd,
}

impl Body {
    /// One of which nothing came yet, and of which at most so much is kept.
    pub fn new(framing: Framing, bytes_max: usize) -> Self {
        let left = match framing {
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunks(Chunks::default()),
            Framing::UntilEnd => Left::UntilEnd,
        };
        Self { left, kept: Vec::new(), cut: false, bytes_max, begun: false }
    }

    /// Takes what is of it.
    pub fn take(&mut self, bytes: &mut &[u8]) -> Result<(), Because> {
        self.begun |= !bytes.is_empty();
        match &mut self.left {
            Left::UntilEnd => {
                let all = std::mem::take(bytes);
                self.keep(all);
            }
            Left::Length(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                let (mine, rest) = bytes.split_at(count);
                *bytes = rest;
                self.keep(mine);
            }
            Left::Chunks(_) => self.take_chunks(bytes)?,
        }
        Ok(())
    }

    fn take_chunks(&mut self, bytes: &mut &[u8]) -> Result<(), Because> {
        while !bytes.is_empty()
            && let Left::Chunks(chunks) = &mut self.left
            && !chunks.is_over()
        {
            let data = chunks.take(bytes).map_err(|bad| match bad {
                BadChunks::Ambiguous => Because::Ambiguous,
                BadChunks::TooLong => Because::TooLong,
            })?;
            self.keep(data);
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = if self.cut { 0 } else { self.bytes_max - self.kept.len() };
        self.cut |= bytes.len() > room;
        if let (Left::Length(left), true) = (&self.left, self.kept.is_empty()) {
            // What is said to come has room at once, unless it is only said.
            let said = usize::try_from(*left).unwrap_or(usize::MAX).saturating_add(bytes.len());
            self.kept.reserve(said.min(room).min(ROOM_AT_ONCE).max(bytes.len().min(room)));
        }
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Bytes passed unseen. Whether it is known where it goes on; if so it was cut there.
    pub fn lose(&mut self, lost: u64) -> bool {
        let known = match &mut self.left {
            Left::Length(left) if lost <= *left => {
                *left -= lost;
                true
            }
            Left::UntilEnd => true,
            Left::Length(_) | Left::Chunks(_) => false,
        };
        self.cut |= known;
        known
    }

    /// Whether it has come to its end by itself.
    pub fn is_over(&self) -> bool {
        match &self.left {
            Left::Length(left) => *left == 0,
            Left::Chunks(chunks) => chunks.is_over(),
            Left::UntilEnd => false,
        }
    }

    /// Whether it ends where its connection does.
    pub fn lasts_until_end(&self) -> bool {
        matches!(self.left, Left::UntilEnd)
    }

    /// Whether anything came of it.
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// What it takes up.
    pub fn holds(&self) -> usize {
        self.kept.capacity()
    }

    /// What was kept of it; `whole` if nothing of it is to come.
    pub fn finish(mut self, whole: bool) -> Kept {
        // It may have got more room than it needed.
        if self.kept.capacity() / 2 > self.kept.len() {
            self.kept.shrink_to_fit();
        }
        Kept { bytes: self.kept.into(), cut: self.cut || !whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(framing: Framing, text: &str, expected: Result<(&str, bool, &str), Because>) {
        for size in 1..=text.len().max(1) {
            let mut body = Body::new(framing, 5);
            let mut rest = Vec::new();
            let read = text.as_bytes().chunks(size).try_for_each(|mut piece| {
                if !body.is_over() {
                    body.take(&mut piece)?;
                }
                rest.extend_from_slice(piece);
                Ok(())
            });
            let over = body.is_over();
            let kept = body.finish(true);
            let is = read.map(|()| (kept.bytes.as_ref(), over, rest.as_slice()));
            let expected =
                expected.map(|(kept, over, rest)| (kept.as_bytes(), over, rest.as_bytes()));
            assert_eq!(is, expected, "{text:?} in pieces of {size}");
        }
    }

    #[test]
    fn a_body_takes_what_is_its_own() {
        check(Framing::Length(3), "abcdef", Ok(("abc", true, "def")));
        check(Framing::Length(9), "abcdef", Ok(("abcde", false, "")));
        check(Framing::UntilEnd, "abcdef", Ok(("abcde", false, "")));
        check(Framing::Chunked, "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\nx", Ok(("abcd", true, "x")));
        check(Framing::Chunked, "0003 ; a=b\r\nabc\r\n0\r\nT: v\r\n\r\n", Ok(("abc", true, "")));
    }

    #[test]
    fn chunks_that_can_be_read_in_two_ways_are_not_read() {
        for text in [
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n",
            " 3\r\nabc",
            "+3\r\nabc",
            "0x3\r\nabc",
            "\r\n",
            "3\rabc",
            "3;a\nb\r\n",
            "11111111111111111\r\n",
            "0\r\nT: v\n\r\n",
            "0\r\n T: v\r\n\r\n",
        ] {
            check(Framing::Chunked, text, Err(Because::Ambiguous));
        }
    }

    #[test]
    fn a_hole_is_a_cut_where_the_rest_is_known() {
        let mut body = Body::new(Framing::Length(9), 100);
        body.take(&mut &b"ab"[..]).expect("a part");
        assert!(body.lose(3));
        body.take(&mut &b"fghi"[..]).expect("the rest");
        assert!(body.is_over());
        let kept = body.finish(true);
        assert_eq!((kept.bytes.as_ref(), kept.cut), (&b"ab"[..], true));
        assert!(!Body::new(Framing::Length(2), 9).lose(3));
        assert!(!Body::new(Framing::Chunked, 9).lose(1));
        assert!(Body::new(Framing::UntilEnd, 9).lose(1));
    }
}
