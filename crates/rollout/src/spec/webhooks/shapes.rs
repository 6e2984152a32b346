//! The form of `webhooks`.

use umbra_document::formats::{DURATION, LINE, TITLE};
use umbra_document::list;
use umbra_document::shape::{Field, Shape, Ty, Word, word};
use umbra_drift::config::{ADDRESS, HEADER, HIDDEN};

pub(crate) const WEBHOOKS: Ty = list!(&Ty::Object(&WEBHOOK), 100);

static WEBHOOK: Shape = Shape {
    noun: "webhook",
    doc: "Who is asked or told over HTTP, with JSON; a status from 200 to 299 says go.",
    fields: &[
        Field::new("name", Ty::Text(&TITLE), "Its name; no two have the same.").required(),
        Field::new("type", Ty::Word(KINDS), "When, and what its answer does.").required(),
        Field::new("url", ADDRESS, "Where it is; one that is a secret is read elsewhere.")
            .required(),
        Field::new("token", Ty::Object(&HIDDEN), "A secret sent along, not written down here."),
        Field::new(
            "header",
            Ty::Text(&HEADER),
            "The header that carries the token as it is; if not given `Authorization: Bearer`.",
        )
        .with(&["token"]),
        Field::new(
            "timeout",
            Ty::Text(&DURATION),
            "An answer may take this long; 10s if not given.",
        ),
        Field::new(
            "retries",
            Ty::Int { min: 0, max: 20 },
            "So many times more it is tried before it failed; 2 if not given, those that confirm are asked again anyway.",
        ),
        Field::new(
            "metadata",
            Ty::MapOf { key: &LINE, value: &Ty::Verbatim, max: 100 },
            "Sent along as it is.",
        ),
    ],
    exactly_one: &[],
};

const KINDS: &[Word] = &[
    word("confirm-rollout"),
    word("pre-rollout"),
    word("rollout"),
    word("confirm-traffic-increase"),
    word("confirm-promotion"),
    word("post-rollout"),
    word("rollback"),
    word("event"),
];
