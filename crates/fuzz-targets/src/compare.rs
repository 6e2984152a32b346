//! What servers answer, compared.

use std::hash::RandomState;

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use umbra_gateway::compare::Settings;
use umbra_gateway::compare::differ::{Difference, differ};
use umbra_gateway::compare::fields::{Fields, PATHS_MAX};
use umbra_gateway::compare::gather::{Answer, Gathered};
use umbra_gateway::compare::json::{Leaf, Step, walk};

use crate::Target;

/// See [`answers`].
pub const ANSWERS: Target = Target {
    name: "answers",
    open: || Box::new(answers),
    seeds: || {
        let seed = |kind: &str, bodies: [&str; 3]| {
            let bodies = bodies.map(str::as_bytes).join(&BETWEEN);
            [kind.as_bytes(), b"\n", &bodies].concat()
        };
        vec![
            seed("application/json", [r#"{"a":[1,2.0,{"b":null}]}"#, r#"{"a":[1,2]}"#, "{}"]),
            seed("application/json", [r#"{"17":{"x":-1e3}}"#, r#"{"":"\u0000"}"#, "[[[]]]"]),
            seed("application/json", [r#"{"a":1,"a":2}"#, r#"{"a b":true}"#, "nul"]),
            seed("text/html", ["<p>\na\n", "<p>\nb\n", ""]),
            seed("image/png", ["abc", "abd", "abc"]),
        ]
    },
    words: &[
        "{\"a\":",
        "[",
        "]",
        "{}",
        "[]",
        ",",
        "1.0",
        "-0",
        "1e9",
        "null",
        "\"\\u0041\"",
        "0123456789abcdef0",
        "text/plain\n",
        "\r\n",
        "18446744073709551615",
        "}",
    ],
    cases: 4_000,
    heap_factor: 256,
};

/// Between bodies: it stands in no text.
const BETWEEN: u8 = 0xff;

/// Answers that are the same differ in nothing, spelling does not matter, fields are bounded, and
/// the two shadows can be exchanged: without that no error bound would hold.
pub fn answers(bytes: &[u8]) -> bool {
    let line = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (kind, bodies) = (&bytes[..line], bytes.get(line + 1..).unwrap_or_default());
    let Ok(kind) = HeaderValue::from_bytes(kind) else { return false };
    let mut bodies = bodies.splitn(3, |&byte| byte == BETWEEN);
    let bodies = [(); 3].map(|()| bodies.next().unwrap_or_default());
    let answer = |body: &[u8]| {
        let mut answer = Answer::default();
        answer.headers.insert(CONTENT_TYPE, kind.clone());
        answer.body.push(Bytes::copy_from_slice(body));
        Box::new(answer)
    };
    let hashing = RandomState::new();
    let fields = bodies.map(|body| Fields::of(&answer(body), &hashing));
    for (body, fields) in bodies.iter().zip(&fields) {
        assert!(fields.iter().count() <= PATHS_MAX + 1);
        assert!(fields.iter().all(|(path, _)| path.len() <= 300));
        if kind == "application/json"
            && let Some(again) = spelled_anew(body)
        {
            assert_eq!(Fields::of(&answer(&again), &hashing), *fields, "spelled anew");
        }
    }
    let compared = |[production, candidate, baseline]: [&[u8]; 3]| {
        let gathered = Gathered {
            request: String::new(),
            production: answer(production),
            candidate: Ok(answer(candidate)),
            baseline: Some(Ok(answer(baseline))),
        };
        differ(&gathered, &Settings::default(), &hashing)
    };
    let [production, candidate, baseline] = bodies;
    assert_eq!(compared([production; 3]), []);
    let there = compared([production, candidate, baseline]);
    let exchange = |one: Difference| Difference {
        candidate: one.baseline,
        baseline: one.candidate,
        path: one.path,
    };
    let back = compared([production, baseline, candidate]).into_iter().map(exchange);
    assert_eq!(back.collect::<Vec<_>>(), there);
    let same = fields[0] == fields[1] && fields[0] == fields[2];
    assert_eq!(there.is_empty(), same);
    !same
}

/// The same document in another spelling: of one without keys that are there twice, of which one
/// value would be left, and without numbers that are read only nearly.
fn spelled_anew(document: &[u8]) -> Option<Vec<u8>> {
    let exact = |leaf: &Leaf<'_>| match leaf {
        Leaf::Whole(number) => i64::try_from(*number).is_ok(),
        Leaf::Number(_) => false,
        _ => true,
    };
    let leaves = |document: &[u8]| {
        let (mut count, mut all_exact) = (0_usize, true);
        let mut hear = |_: &str, _: &[Step], leaf: Leaf<'_>| {
            count += 1;
            all_exact &= exact(&leaf);
        };
        (walk(document, "", &mut hear) && all_exact).then_some(count)
    };
    let value: serde_json::Value = serde_json::from_slice(document).ok()?;
    let again = serde_json::to_vec_pretty(&value).ok()?;
    (leaves(document)? == leaves(&again)?).then_some(again)
}
