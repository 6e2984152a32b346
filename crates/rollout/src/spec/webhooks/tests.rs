use umbra_drift::config::Secret;

use super::*;
use crate::spec::tests::parse_webhooks;

#[test]
fn everything_that_can_be_said_is_read() {
    let text = r#"
- name: ask
  type: confirm-promotion
  url: https://gate.example/check
  token: {env: GATE}
  header: X-Token
  timeout: 3s
  retries: 5
  metadata: {team: web, ticket: 17}
- {name: tell, type: event, url: {file: /etc/umbra/url}}
"#;
    let is = parse_webhooks(text).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let ask = Webhook {
        name: "ask".to_owned(),
        kind: WebhookKind::ConfirmPromotion,
        url: Address::Plain("https://gate.example/check".to_owned()),
        token: Some(Token {
            from: Secret::Env("GATE".to_owned()),
            header: Some("X-Token".to_owned()),
        }),
        timeout_ms: 3_000,
        retries: 5,
        metadata: [pair("team", "web"), pair("ticket", "17")].into(),
    };
    let tell = Webhook {
        name: "tell".to_owned(),
        kind: WebhookKind::Event,
        url: Address::Hidden(Secret::File("/etc/umbra/url".to_owned())),
        token: None,
        timeout_ms: 10_000,
        retries: 2,
        metadata: BTreeMap::new(),
    };
    assert_eq!(is, [ask, tell]);
}

#[test]
fn every_kind_has_its_word() {
    for kind in WebhookKind::ALL {
        let text = format!("[{{name: a, type: {}, url: 'http://a'}}]", kind.word());
        assert_eq!(parse_webhooks(&text).expect("good")[0].kind, kind);
        assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.word());
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let wrong = parse_webhooks(text).expect_err("it is wrong").render(false);
    assert!(wrong.contains(expected), "{expected} is not in\n{wrong}");
}

#[test]
fn mistakes_are_told() {
    check("[{name: a, type: event}]", "the webhook lacks `url`");
    check("[{name: a, type: confirm, url: 'http://a'}]", "expected `confirm-rollout`");
    check("[{name: a, type: rolback, url: 'http://a'}]", "did you mean `rollback`?");
    check("[{name: a, type: event, url: 'http://u:p@a'}]", "a password in it would be shown");
    check("[{name: a, type: event, url: 'http://a', header: X}]", "only allowed beside `token`");
    check("[{name: a, type: event, url: 'http://a', retries: 99}]", "from 0 to 20");
    let two = "[{name: a, type: event, url: 'http://a'}, {name: a, type: event, url: 'http://b'}]";
    check(two, "two webhooks have the name `a`");
}
