use std::sync::Mutex;

use serde_json::{Value, json};
use umbra_api::rollout::RolloutPhase;

use super::*;
use crate::fetch::Reply;
use crate::spec::tests::parse_webhooks;

const TOLD: Told<'_> = Told {
    rollout: 7,
    service: "web",
    candidate: "web@2",
    baseline: "web@1",
    phase: RolloutPhase::Running,
    reason: "weight 5 %",
    step: Some("weight 5 %"),
    weight_percent: 5.0,
    next_weight_percent: Some(25.0),
    evidence: Some(Evidence {
        log_e: -1.5,
        log_limit: 4.605,
        proved: false,
        requests: [1900, 100],
        errors: [2, 0],
    }),
    call: 3,
};

/// Answers one after the other, the last again and again: a status with a body, or none.
struct Gate {
    answers: Vec<(u16, &'static str)>,
    asked: Mutex<Vec<Request>>,
}

impl Fetch for Gate {
    fn fetch(&self, request: &Request) -> Result<Reply, FetchError> {
        let mut asked = self.asked.lock().expect("unpoisoned");
        asked.push(request.clone());
        let (status, body) = self.answers[asked.len().min(self.answers.len()) - 1];
        match status {
            0 => Err(FetchError { why: body.to_owned() }),
            status => Ok(Reply { status, body: body.as_bytes().to_vec(), cut: false }),
        }
    }
}

fn webhook(kind: &str, more: &str) -> Webhook {
    let text = format!("[{{name: gate, type: {kind}, url: 'http://gate/S3CRET'{more}}}]");
    parse_webhooks(&text).expect("good").remove(0)
}

/// The answer, how often it was asked, and how long was paused in all.
fn called(webhook: &Webhook, answers: &[(u16, &'static str)]) -> (Answer, Vec<Request>, u64) {
    let gate = Gate { answers: answers.to_vec(), asked: Mutex::default() };
    let mut paused_ms = 0;
    let answer = call(webhook, &TOLD, &gate, &mut |pause| {
        paused_ms += u64::try_from(pause.as_millis()).expect("short");
    });
    (answer, gate.asked.into_inner().expect("unpoisoned"), paused_ms)
}

#[track_caller]
fn check(kind: &str, answers: &[(u16, &'static str)], expected: Answer, times: usize) {
    let webhook = webhook(kind, "");
    let (answer, asked, paused_ms) = called(&webhook, answers);
    assert_eq!(answer, expected, "{kind}");
    assert_eq!(asked.len(), times, "{kind}");
    let all_ms = webhook.timeout_ms * asked.len() as u64 + paused_ms;
    assert!(all_ms <= webhook.patience_ms(), "{all_ms} ms");
}

#[test]
fn an_answer_from_200_to_299_says_go() {
    for kind in WebhookKind::ALL {
        for status in [200, 204, 299] {
            check(kind.word(), &[(status, "")], Answer::Go, 1);
        }
    }
}

#[test]
fn those_that_confirm_hold_and_are_not_asked_twice() {
    let hold = |why: &str| Answer::Hold { why: why.to_owned() };
    for kind in ["confirm-rollout", "confirm-traffic-increase", "confirm-promotion"] {
        check(
            kind,
            &[(403, "wait for the\u{7} night\nshift")],
            hold("it answered 403: wait for the\\u{7} night"),
            1,
        );
        check(kind, &[(500, "")], hold("it answered 500"), 1);
        check(kind, &[(302, "")], hold("it answered 302"), 1);
        check(kind, &[(0, "no route")], hold("ask it: no route"), 1);
    }
}

#[test]
fn others_are_tried_again_before_they_failed() {
    for kind in ["pre-rollout", "rollout", "post-rollout", "rollback", "event"] {
        check(kind, &[(503, ""), (0, "gone"), (200, "")], Answer::Go, 3);
        let why = "it answered 503, tried 3 times".to_owned();
        check(kind, &[(503, "")], Answer::Failed { why }, 3);
        let why = "ask it: gone, tried 3 times".to_owned();
        check(kind, &[(0, "gone")], Answer::Failed { why }, 3);
    }
    let once = webhook("rollout", ", retries: 0");
    let (answer, asked, paused_ms) = called(&once, &[(500, "")]);
    assert_eq!(answer, Answer::Failed { why: "it answered 500".to_owned() });
    assert_eq!((asked.len(), paused_ms, once.patience_ms()), (1, 0, 10_000));
    let (_, asked, paused_ms) = called(&webhook("rollout", ", retries: 6"), &[(500, "")]);
    assert_eq!((asked.len(), paused_ms), (7, 500 + 1000 + 2000 + 4000 + 8000 + 8000));
}

#[test]
fn what_is_sent_says_what_it_is_about() {
    let webhook = webhook("confirm-traffic-increase", ", metadata: {team: web}");
    let (_, asked, _) = called(&webhook, &[(200, "")]);
    let body: Value = serde_json::from_slice(asked[0].body.as_ref().expect("sent")).expect("JSON");
    let expected = json!({
        "name": "gate",
        "type": "confirm-traffic-increase",
        "rollout": 7,
        "service": "web",
        "candidate": "web@2",
        "baseline": "web@1",
        "phase": "running",
        "reason": "weight 5 %",
        "step": "weight 5 %",
        "weight_percent": 5.0,
        "next_weight_percent": 25.0,
        "evidence": {
            "log_e": -1.5,
            "log_limit": 4.605,
            "proved": false,
            "requests": [1900, 100],
            "errors": [2, 0],
        },
        "call": 3,
        "metadata": {"team": "web"},
    });
    assert_eq!(body, expected);
    let content = ("Content-Type".to_owned(), "application/json".to_owned());
    assert_eq!(asked[0].headers, [content]);
    assert_eq!(asked[0].url, "http://gate/S3CRET");
}

#[test]
fn secrets_are_sent_and_not_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("secret");
    std::fs::write(&path, "http://hidden/S3CRET\n").expect("written");
    let file = path.display();
    let text = format!(
        "[{{name: a, type: rollout, retries: 0, url: {{file: '{file}'}}, token: {{file: '{file}'}}}}]"
    );
    let hidden = parse_webhooks(&text).expect("good").remove(0);
    let (answer, asked, _) = called(&hidden, &[(500, "")]);
    assert_eq!(asked[0].url, "http://hidden/S3CRET");
    let bearer = ("Authorization".to_owned(), "Bearer http://hidden/S3CRET".to_owned());
    assert!(asked[0].headers.contains(&bearer));
    assert!(!format!("{answer:?} {hidden:?}").contains("S3CRET"), "{answer:?} {hidden:?}");
    std::fs::remove_file(&path).expect("removed");
    let (answer, asked, _) = called(&hidden, &[(200, "")]);
    assert!(asked.is_empty());
    let Answer::Failed { why } = answer else { panic!("{answer:?}") };
    assert!(why.starts_with("ask it: read the secret in /"), "{why}");
}
