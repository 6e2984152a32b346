//! An answer as fields with digests: what is compared.
//!
//! | field | is |
//! |---|---|
//! | `status` | the status |
//! | `header:NAME`, `trailer:NAME` | all values of that name, in their order |
//! | `body` | what the body is: none, JSON, text or bytes |
//! | `body.a.b[].c` | a JSON body's values at that path, see [`json`] |
//! | `body.lines`, `body.line[7]` | how many lines a text has; one of the first, or the rest |
//! | `body.length`, `body.digest` | of any other body |

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use hyper::HeaderMap;

use super::gather::Answer;
use super::json::{self, Leaf, Step};
use super::media::Media;

/// Paths of one answer; what is more is compared as one field.
pub const PATHS_MAX: usize = 1_000;
/// Bytes of a path; a longer one is compared with [`OTHER`].
const PATH_BYTES_MAX: usize = 300;
/// Lines that are fields of their own.
const LINES_MAX: usize = 200;

/// The field of what has no path of its own.
pub const OTHER: &str = "body...";
/// What a body is.
pub const BODY: &str = "body";
const STATUS: &str = "status";

/// Digests by path. Equal answers have equal fields; different ones have different fields but with
/// a probability of 2^-64 (see [`json`] for what counts as equal).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(BTreeMap<String, u64>);

impl Fields {
    /// Of an answer. Digests can be compared with others by the same `hashing`.
    pub fn of(answer: &Answer, hashing: &RandomState) -> Self {
        let mut fields = Self::default();
        let mut put = |path: &str, place: &[Step], text: &dyn Digested| {
            fields.add(hashing, path, place, text);
        };
        each(answer, &mut put);
        fields
    }

    /// By path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(path, digest)| (path.as_str(), *digest))
    }

    /// One of them.
    pub fn get(&self, path: &str) -> Option<u64> {
        self.0.get(path).copied()
    }

    /// Whether a body of one may be compared with that of the other, path by path: they are of the
    /// same kind, in answers of the same status.
    pub fn like(&self, other: &Self) -> bool {
        [STATUS, BODY].iter().all(|path| self.get(path) == other.get(path))
    }

    /// The order of what has one path is in its places, not here: members of an object have none.
    fn add(&mut self, hashing: &RandomState, path: &str, place: &[Step], value: &dyn Digested) {
        let mut hasher = hashing.build_hasher();
        place.hash(&mut hasher);
        value.digest(&mut hasher);
        let known = self.0.contains_key(path);
        let fits = known || (path.len() <= PATH_BYTES_MAX && self.0.len() < PATHS_MAX);
        let path = if fits {
            path
        } else {
            path.hash(&mut hasher);
            OTHER
        };
        let digest = hasher.finish();
        match self.0.get_mut(path) {
            Some(sum) => *sum = sum.wrapping_add(digest),
            None => drop(self.0.insert(path.to_owned(), digest)),
        }
    }
}

/// A value of a field: what its digest is of, and what is shown of it.
pub(crate) trait Digested {
    fn digest(&self, hasher: &mut dyn Hasher);
    /// Some of it, in at most about so many bytes.
    fn shown(&self, bytes_max: usize) -> String;
}

impl Digested for Leaf<'_> {
    fn digest(&self, hasher: &mut dyn Hasher) {
        match self {
            Self::Null => hasher.write_u8(0),
            Self::Bool(value) => hasher.write(&[1, u8::from(*value)]),
            Self::Whole(value) => {
                hasher.write_u8(2);
                hasher.write_i128(*value);
            }
            Self::Number(value) => {
                hasher.write_u8(3);
                hasher.write_u64(value.to_bits());
            }
            Self::Text(value) => {
                hasher.write_u8(4);
                hasher.write(value.as_bytes());
            }
            Self::NoMembers => hasher.write_u8(5),
            Self::Elements(count) => {
                hasher.write_u8(6);
                hasher.write_u64(*count);
            }
        }
    }

    fn shown(&self, bytes_max: usize) -> String {
        match self {
            Self::Text(value) => format!("{:?}", begin(value, bytes_max)),
            _ => self.to_string(),
        }
    }
}

impl Digested for &[u8] {
    fn digest(&self, hasher: &mut dyn Hasher) {
        hasher.write(self);
    }

    fn shown(&self, bytes_max: usize) -> String {
        let some = &self[..self.len().min(bytes_max)];
        String::from_utf8_lossy(some).into_owned()
    }
}

/// Bytes nobody can read: only whether they are the same is shown.
struct Opaque<'a>(&'a [u8]);

impl Digested for Opaque<'_> {
    fn digest(&self, hasher: &mut dyn Hasher) {
        hasher.write(self.0);
    }

    fn shown(&self, _: usize) -> String {
        let some = &self.0[..self.0.len().min(8)];
        some.iter().fold("begins with ".to_owned(), |mut text, byte| {
            // Writing to a text does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn begin(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// What hears the values of an answer: path, place, value.
pub(crate) type Heard<'a> = &'a mut dyn FnMut(&str, &[Step], &dyn Digested);

/// Tells every value of an answer.
pub(crate) fn each(answer: &Answer, heard: Heard<'_>) {
    heard(STATUS, &[], &answer.status.as_str().as_bytes());
    each_header("header:", &answer.headers, heard);
    each_header("trailer:", &answer.trailers, heard);
    let media = Media::of(&answer.headers, &answer.body);
    heard(BODY, &[], &kind(&media).as_bytes());
    match &media {
        Media::Empty => {}
        Media::Json(document) => {
            json::walk(document, root(document), &mut |path, place, leaf| {
                heard(path, place, &leaf);
            });
        }
        Media::Text(text) => each_line(text, heard),
        Media::Bytes(bytes) => {
            heard("body.length", &[], &bytes.len().to_string().as_bytes());
            heard("body.digest", &[], &Opaque(bytes));
        }
    }
}

/// A document that is one value only has a path that no member of an object has.
fn root(document: &[u8]) -> &'static str {
    match json_kind(document) {
        "JSON value" => "body.value",
        _ => BODY,
    }
}

fn kind(media: &Media) -> &'static str {
    match media {
        Media::Empty => "none",
        Media::Json(document) => json_kind(document),
        Media::Text(_) => "text",
        Media::Bytes(_) => "bytes",
    }
}

fn json_kind(document: &[u8]) -> &'static str {
    match document.trim_ascii_start().first() {
        Some(b'{') => "JSON object",
        Some(b'[') => "JSON array",
        _ => "JSON value",
    }
}

fn each_header(kind: &str, headers: &HeaderMap, heard: Heard<'_>) {
    for name in headers.keys() {
        let path = format!("{kind}{name}");
        for (number, value) in headers.get_all(name).iter().enumerate() {
            heard(&path, &[Step::Element(number as u64)], &value.as_bytes());
        }
    }
}

fn each_line(text: &str, heard: Heard<'_>) {
    let mut count = 0;
    for line in text.split_inclusive('\n') {
        let path = match count {
            number if number < LINES_MAX => format!("body.line[{}]", number + 1),
            _ => format!("body.line[{LINES_MAX}..]"),
        };
        let place: &[Step] = if count < LINES_MAX { &[] } else { &[Step::Element(count as u64)] };
        heard(&path, place, &line.as_bytes());
        count += 1;
    }
    heard("body.lines", &[], &count.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};

    use super::*;

    fn answer(kind: &'static str, body: &str) -> Answer {
        let mut answer = Answer::default();
        answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        answer.body.push(Bytes::copy_from_slice(body.as_bytes()));
        answer
    }

    /// Paths in which these differ.
    fn differ(a: &Answer, b: &Answer) -> Vec<String> {
        let hashing = RandomState::new();
        let (a, b) = (Fields::of(a, &hashing), Fields::of(b, &hashing));
        let paths: std::collections::BTreeSet<&str> =
            a.iter().chain(b.iter()).map(|(path, _)| path).collect();
        let differs = |path: &&str| a.get(path) != b.get(path);
        paths.into_iter().filter(differs).map(str::to_owned).collect()
    }

    #[track_caller]
    fn check(kind: &'static str, a: &str, b: &str, paths: &[&str]) {
        assert_eq!(differ(&answer(kind, a), &answer(kind, b)), paths, "{a} {b}");
    }

    #[test]
    fn documents_differ_where_their_values_do() {
        let check = |a, b, paths| check("application/json", a, b, paths);
        check(r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1, 2.0], "a": 1e0 }"#, &[]);
        check(r#"{"a":1}"#, r#"{"a":"1"}"#, &["body.a"]);
        check(r#"{"a":1}"#, r#"{"a":{"b":1}}"#, &["body.a", "body.a.b"]);
        check(r#"{"a":1}"#, r#"{"a":1,"b":null}"#, &["body.b"]);
        check(r#"{"a":{}}"#, r#"{"a":[]}"#, &["body.a", "body.a[]"]);
        check(r#"[{"p":1},{"p":2}]"#, r#"[{"p":2},{"p":1}]"#, &["body[].p"]);
        check(r#"[{"p":1},{}]"#, r#"[{},{"p":1}]"#, &["body[]", "body[].p"]);
        check(r#"{"7":1,"8":2}"#, r#"{"8":2,"7":1}"#, &[]);
        check(r#"{"7":1,"8":2}"#, r#"{"7":2,"8":1}"#, &["body.*"]);
        check(r#"{"a":1,"a":2}"#, r#"{"a":2}"#, &["body.a"]);
        check("1", "2", &["body.value"]);
        check("[1]", r#"{"value":1}"#, &["body", "body.value", "body[]"]);
        check(r#"{"a":1}"#, r#"{"a":"#, &["body", "body.a", "body.line[1]", "body.lines"]);
    }

    #[test]
    fn texts_differ_line_by_line() {
        let check = |a, b, paths| check("text/html", a, b, paths);
        check("a\nb\nc\n", "a\nb\nc\n", &[]);
        check("a\nb\nc\n", "a\nx\nc\n", &["body.line[2]"]);
        check("a\nb", "a\nb\n", &["body.line[2]"]);
        check("a\n", "a\nb\n", &["body.line[2]", "body.lines"]);
        let (long, other) = ("a\n".repeat(500), format!("{}b\n", "a\n".repeat(499)));
        check(&long, &other, &["body.line[200..]"]);
        check("", "a", &["body", "body.line[1]", "body.lines"]);
    }

    #[test]
    fn other_bodies_differ_as_a_whole() {
        check("image/png", "abc", "abd", &["body.digest"]);
        check("image/png", "abc", "abcd", &["body.digest", "body.length"]);
    }

    #[test]
    fn heads_differ_by_name() {
        let mut other = answer("text/plain", "a");
        other.status = hyper::StatusCode::CREATED;
        for value in ["b=1", "a=1"] {
            other.headers.append("set-cookie", HeaderValue::from_static(value));
        }
        let mut swapped = answer("text/plain", "a");
        for value in ["a=1", "b=1"] {
            swapped.headers.append("set-cookie", HeaderValue::from_static(value));
        }
        swapped.trailers.insert(HeaderName::from_static("grpc-status"), 0.into());
        let paths = ["header:set-cookie", "status", "trailer:grpc-status"];
        assert_eq!(differ(&other, &swapped), paths);
    }

    #[test]
    fn fields_are_bounded_and_nothing_is_lost_by_that() {
        let document = |last: u32| {
            let members: Vec<String> = (0..3_000).map(|n| format!("\"k{n}\":1")).collect();
            format!("{{{},\"{}\":1,\"last\":{last}}}", members.join(","), "\\n".repeat(64))
        };
        let (a, b) =
            (answer("application/json", &document(1)), answer("application/json", &document(2)));
        assert_eq!(differ(&a, &b), [OTHER]);
        assert!(Fields::of(&a, &RandomState::new()).0.len() <= PATHS_MAX + 1);
    }
}
