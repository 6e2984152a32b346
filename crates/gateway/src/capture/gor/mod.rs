//! GoReplay's files: payloads with a line before and a separator behind each.
//!
//! ```text
//! 1 d7123dasd913jfd21312dasdhas31 1441189560123456789 0
//! GET /a HTTP/1.1
//! Host: example.com
//!
//!
//! 🐵🙈🙉
//! ```
//!
//! The line is kind (1 request, 2 its answer, 3 an answer to its replay), an id that an answer
//! has from its request, nanoseconds since 1970 and the message's own duration. Older writers
//! put an answer's latency where the time is; a number less than the request's time is taken so.
//! There are no sessions: every request is one of its own.

mod read;
mod write;

pub use read::Reader;
pub use write::Writer;

const SEPARATOR: &[u8] = "\n🐵🙈🙉\n".as_bytes();

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::capture::{Exchange, ReadError, WriteError};

    type Read = (Vec<Exchange>, BTreeMap<String, u64>, Option<u64>);

    fn read(bytes: &[u8]) -> Result<Read, ReadError> {
        let mut reader = Reader::new(bytes);
        let mut all = Vec::new();
        while let Some(exchange) = reader.next_exchange()? {
            all.push(exchange);
        }
        Ok((all, reader.refused().clone(), reader.cut()))
    }

    const TWO: &str = "1 a 1000000 0\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n\n🐵🙈🙉\n\
        1 b 2000000 7\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi\n🐵🙈🙉\n\
        2 b 5000000 9\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n\n🐵🙈🙉\n\
        2 a 3000\nHTTP/1.1 200 OK\r\n\r\nok\n🐵🙈🙉\n\
        3 a 9000000 0\nHTTP/1.1 200 OK\r\n\r\n\n🐵🙈🙉\n";

    #[test]
    fn requests_find_their_answers() {
        let (all, refused, cut) = read(TWO.as_bytes()).unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|one| {
                let answer = one.answer.as_ref().unwrap();
                (one.began_us, &*one.request.target, answer.status, answer.after_us)
            })
            .collect();
        assert_eq!(seen, [(1000, "/a", 200, 3), (2000, "/b", 201, 3000)]);
        assert_eq!(&all[1].request.body.bytes[..], b"hi");
        assert_ne!(all[0].session, all[1].session);
        assert_eq!((refused, cut), (BTreeMap::from([("replayed_answer".into(), 1)]), None));
    }

    #[test]
    fn what_is_written_is_read_and_written_the_same() {
        let write = |all: &[Exchange]| {
            let mut writer = Writer::new(Vec::new());
            all.iter().for_each(|one| writer.put(one).unwrap());
            writer.finish().unwrap()
        };
        let (all, ..) = read(TWO.as_bytes()).unwrap();
        let once = write(&all);
        let (again, ..) = read(&once).unwrap();
        assert_eq!(write(&again), once);
        assert_eq!(again.len(), all.len());
        let mut cut = all[1].clone();
        cut.request.body.cut = true;
        assert!(read(&write(&[cut])).unwrap().0[0].request.body.cut);
    }

    #[test]
    fn what_cannot_stand_there_is_not_written() {
        let (all, ..) = read(TWO.as_bytes()).unwrap();
        #[track_caller]
        fn check(mut exchange: Exchange, change: impl FnOnce(&mut Exchange)) {
            change(&mut exchange);
            let written = Writer::new(Vec::new()).put(&exchange);
            assert!(matches!(written, Err(WriteError::Unfit(_))), "{written:?}");
        }
        check(all[1].clone(), |one| one.request.body.bytes = Bytes::from("a\n🐵🙈🙉\nb"));
        check(all[1].clone(), |one| {
            one.answer.as_mut().unwrap().body.bytes = Bytes::from("\n🐵🙈🙉\n");
        });
        check(all[0].clone(), |one| one.request.target = "/a b".into());
        check(all[0].clone(), |one| one.request.method = "G\r\n".into());
        check(all[0].clone(), |one| one.request.headers[0].1 = Bytes::from("a\r\nb: c"));
        check(all[0].clone(), |one| one.began_us = u64::MAX);
    }

    #[test]
    fn cut_at_any_byte_it_is_read_so_far() {
        for length in 0..TWO.len() {
            let (read, _, cut) = read(&TWO.as_bytes()[..length]).unwrap();
            assert!(read.len() <= 2);
            let whole = length == 0 || TWO.as_bytes()[..length].ends_with(SEPARATOR);
            assert_eq!(cut.is_none(), whole, "{length}");
        }
    }

    #[test]
    fn bad_lines_are_told_with_their_place() {
        for bad in ["x a 1 0", "1 a", "1 a x", "1  1", "4 a 1 0", "1 a 1 0 0", "1 a 1 x", "1 a +1"]
        {
            let text =
                format!("1 a 1 0\nGET / HTTP/1.1\r\nHost: x\r\n\r\n\n🐵🙈🙉\n{bad}\n\n🐵🙈🙉\n");
            let error = read(text.as_bytes()).unwrap_err();
            assert!(
                matches!(error, ReadError::Record { record: 2, offset: 49, .. }),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused_and_counted() {
        let text = "1 a 1 0\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\
            Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\n🐵🙈🙉\n2 a 2 0\nHTTP/1.1 200 OK\r\n\r\n\n🐵🙈🙉\n";
        let (all, refused, _) = read(text.as_bytes()).unwrap();
        assert!(all.is_empty());
        let causes = [("answer_without_request".into(), 1), ("framing".into(), 1)];
        assert_eq!(refused, BTreeMap::from(causes));
    }
}
