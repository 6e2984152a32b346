//! A capture without a gateway: of exchanges that somebody else finds, such as a tap.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use umbra_api::error::{ErrorCode, WireError};
use umbra_state::chain;

use super::captures::{CaptureStatus, create, status};
use super::in_force::{Capture, Over, Settings};
use super::{Exchange, Kept};

/// A capture in force.
#[derive(Debug)]
pub struct Alone(Arc<Capture>);

impl Alone {
    /// Begins a file, in place of one that is there if `force` says so. What waits to be written
    /// takes so many bytes of memory at most.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn begin(
        settings: Settings,
        force: bool,
        memory_bytes_max: usize,
    ) -> Result<Self, WireError> {
        let file = create(&settings.file, force)?;
        let memory = Arc::new(Semaphore::new(memory_bytes_max.min(Semaphore::MAX_PERMITS)));
        let capture = Capture::begin(settings, file, memory, 0);
        let capture =
            capture.map_err(|error| WireError::new(ErrorCode::Environment, chain(&error)))?;
        Ok(Self(capture))
    }

    /// Has an exchange written, without what is not wanted of its answer. Never waits: what finds
    /// no room is dropped and counted.
    pub fn keep(&self, mut exchange: Exchange) {
        let whole = self.0.settings().answers;
        if let Some(answer) = exchange.answer.as_mut().filter(|_| !whole) {
            answer.headers.clear();
            let cut = answer.body.cut || !answer.body.bytes.is_empty();
            answer.body = Kept { bytes: Bytes::new(), cut };
        }
        self.0.take(exchange);
    }

    /// Why it is over; `None` while it is not.
    pub fn over(&self) -> Option<Over> {
        self.0.over()
    }

    /// Ends the file, once everything that waits is written, and says what became of everything.
    pub fn finish(self) -> CaptureStatus {
        self.0.finish();
        status(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::read;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::capture::wanted::{StartCapture, settings};
    use crate::capture::{Answered, Asked, Source};

    fn exchange(target: &str) -> Exchange {
        let headers =
            || vec![("X-Key".into(), "s3cret".into()), ("Cookie".into(), "a=s3cret".into())];
        Exchange {
            began_us: 1,
            session: 7,
            request: Asked {
                method: "GET".into(),
                target: target.into(),
                headers: headers(),
                body: Kept { bytes: "asked".into(), cut: false },
            },
            answer: Some(Answered {
                status: 200,
                after_us: 1,
                headers: headers(),
                body: Kept { bytes: "answered".into(), cut: false },
            }),
        }
    }

    fn wanted(file: &Path) -> StartCapture {
        StartCapture {
            file: file.display().to_string(),
            percent: "100".into(),
            redact_headers: vec!["x-key".into()],
            redact_query: vec!["key".into()],
            ..StartCapture::default()
        }
    }

    fn begin(wanted: &StartCapture, memory: usize) -> Result<Alone, WireError> {
        Alone::begin(settings("tap", wanted).expect("valid"), wanted.force, memory)
    }

    #[test]
    fn what_is_found_is_written_without_its_secrets_and_not_over_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a");
        for answers in [false, true] {
            let wanted = StartCapture { answers, force: answers, ..wanted(&file) };
            let capture = begin(&wanted, 1 << 20).expect("begun");
            (0..3).for_each(|_| capture.keep(exchange("/a?key=s3cret")));
            let status = capture.finish();
            assert_eq!((status.seen, status.counted.captured, status.under_way), (3, 3, 0));
            let written = read(&file).expect("a file");
            assert!(!written.windows(6).any(|bytes| bytes == b"s3cret"));
            let mut source = Source::open(&file, None).expect("a capture");
            let first = source.next_exchange().expect("whole").expect("one");
            assert_eq!((first.session, &first.request.body.bytes[..]), (7, &b"asked"[..]));
            let answer = first.answer.expect("an answer");
            assert_eq!((answer.headers.is_empty(), answer.body.cut), (!answers, !answers));
            assert_eq!(answer.body.bytes.is_empty(), !answers);
        }
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        let refused = begin(&wanted(&file), 1).expect_err("it is there");
        assert_eq!(refused.code, ErrorCode::Conflict);
    }

    #[test]
    fn what_finds_no_room_or_comes_too_late_is_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let capture = begin(&wanted(&dir.path().join("a")), 100).expect("begun");
        capture.keep(exchange("/a"));
        let counted = capture.finish().counted;
        assert_eq!((counted.eligible, counted.dropped_memory), (1, 1));

        let short = StartCapture { bytes_max: Some(1), ..wanted(&dir.path().join("b")) };
        let capture = begin(&short, 1 << 20).expect("begun");
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let mut kept = 0;
        while capture.over().is_none() {
            capture.keep(exchange("/a"));
            kept += 1;
            assert!(std::time::Instant::now() < until);
        }
        capture.keep(exchange("/late"));
        let status = capture.finish();
        assert_eq!(status.over, Some(Over::Bytes));
        let counted = status.counted;
        assert_eq!((counted.eligible, counted.under_way()), (kept + 1, 0), "{counted:?}");
        assert!(counted.dropped_stopped > 0, "{counted:?}");
    }
}
