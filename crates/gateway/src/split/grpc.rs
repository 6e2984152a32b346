//! Whether an answer's gRPC status says that the server failed.
//!
//! In gRPC every answer is a 200; what came of the call stands in `grpc-status`, in the trailers
//! or, where there is no body, in the head.

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

/// Codes that are the server's failure, as 500 to 599 are: UNKNOWN, DEADLINE_EXCEEDED,
/// RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE and DATA_LOSS. The rest, such as NOT_FOUND, is an
/// answer.
const FAILURES: [&[u8]; 6] = [b"2", b"4", b"8", b"13", b"14", b"15"];

/// Whether the answer with this head is one of gRPC's.
pub(super) fn is_grpc(head: &HeaderMap) -> bool {
    let kind = head.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// Whether a head or trailers say that the server failed; `None` where they do not say what came
/// of the call.
pub(super) fn has_failed(said: &HeaderMap) -> Option<bool> {
    let status = said.get("grpc-status")?.as_bytes().trim_ascii();
    Some(FAILURES.contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_codes_are_failures() {
        #[track_caller]
        fn check(status: Option<&'static str>, failed: Option<bool>) {
            let mut said = HeaderMap::new();
            if let Some(status) = status {
                said.insert("grpc-status", status.parse().unwrap());
            }
            assert_eq!(has_failed(&said), failed, "{status:?}");
        }
        check(None, None);
        for code in ["0", "1", "3", "5", "7", "9", "10", "11", "12", "16", "", "x"] {
            check(Some(code), Some(false));
        }
        for code in ["2", "4", "8", "13", "14", "15", " 14 "] {
            check(Some(code), Some(true));
        }
    }

    #[test]
    fn its_kind_is_told_by_the_content_type() {
        for (kind, is) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/json", false),
        ] {
            let mut head = HeaderMap::new();
            head.insert(CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(is_grpc(&head), is, "{kind}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
