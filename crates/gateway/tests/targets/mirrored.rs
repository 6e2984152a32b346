//! What a mirror selects: of a route, with a header, and whole sessions.

use umbra_api::error::ErrorCode;
use umbra_gateway::control::{MirrorStatus, StartMirror};
use umbra_gateway::listen::proxy_header::Version;
use umbra_gateway::mirror::Role;
use umbra_gateway::routes::RouteSetup;

use crate::ask::get;
use crate::controlled::Controlled;
use crate::routing::{route, setup};
use crate::server::Server;

const SESSIONS: u64 = 60;

/// A gateway with two routes to one server, and a shadow.
struct Place {
    gateway: Controlled,
    shadow: Server,
}

impl Place {
    async fn new() -> Self {
        let (production, shadow) =
            (Server::new("production", None).await, Server::new("shadow", None).await);
        let to = [(production.at, 1.0)];
        let api = RouteSetup { path: Some("/api".to_owned()), ..route("api", &to) };
        let gateway = Controlled::new(setup(vec![api, route("rest", &to)])).await;
        Self { gateway, shadow }
    }

    fn wanted(&self, percent: &str) -> StartMirror {
        let to = self.shadow.at.to_string();
        StartMirror { to, percent: percent.to_owned(), ..StartMirror::default() }
    }

    fn status(&self) -> MirrorStatus {
        self.gateway.control.status().mirrors.remove(0)
    }

    /// Which sessions are mirrored, each seen in several requests: none in a part of them.
    async fn mirrored(&self) -> Vec<u64> {
        let mut mirrored = Vec::new();
        for session in 0..SESSIONS {
            let before = self.status().counted.eligible;
            let cookie = format!("sid={session}");
            for path in ["/a", "/api/b", "/c"] {
                let answer = get(self.gateway.at, path, &[("cookie", &cookie)]).await;
                assert!(answer.text.starts_with("production"), "{answer:?}");
            }
            match self.status().counted.eligible - before {
                0 => {}
                3 => mirrored.push(session),
                part => panic!("{part} of 3 requests of session {session} are mirrored"),
            }
        }
        mirrored
    }
}

#[tokio::test]
async fn only_requests_of_a_route_and_with_a_header_are_mirrored() {
    let place = Place::new().await;
    let headers = vec![("x-env".to_owned(), "beta".to_owned())];
    let wanted = StartMirror { route: Some("api".into()), headers, ..place.wanted("100") };
    place.gateway.control.start("shadow", wanted).expect("a mirror");
    for (path, env) in [("/api/x", "beta"), ("/api/x", "prod"), ("/x", "beta"), ("/apix", "beta")] {
        let answer = get(place.gateway.at, path, &[("x-env", env)]).await;
        assert!(answer.text.starts_with("production"), "{answer:?}");
    }
    place.gateway.rest().await;
    let status = place.status();
    assert_eq!((status.seen, status.counted.eligible, status.no_session), (1, 1, 0));
    assert_eq!(status.counted.answered, 1, "{status:?}");

    let no_route = StartMirror { route: Some("apo".into()), ..place.wanted("100") };
    let refused =
        place.gateway.control.start("shadow", no_route).expect_err("there is no such route");
    assert_eq!((refused.code, &*refused.message), (ErrorCode::BadRequest, "find a route \"apo\""));
}

#[tokio::test]
async fn a_session_is_mirrored_whole_or_not_at_all_and_stays_when_there_are_more() {
    let place = Place::new().await;
    let start = |percent: &str| {
        let wanted = StartMirror { sessions: Some("cookie:sid".into()), ..place.wanted(percent) };
        place.gateway.control.start("shadow", wanted).expect("a mirror")
    };
    let mut before = Vec::new();
    for percent in ["0", "20", "60", "100"] {
        let started = start(percent);
        assert_eq!(started.sessions.as_deref(), Some("cookie:sid"));
        let mirrored = place.mirrored().await;
        assert!(before.iter().all(|session| mirrored.contains(session)), "{before:?} {mirrored:?}");
        before = mirrored;
    }
    assert_eq!(before.len() as u64, SESSIONS);

    get(place.gateway.at, "/a", &[("cookie", "other=1")]).await;
    let status = place.status();
    assert_eq!((status.seen, status.no_session), (3 * SESSIONS + 1, 1));
    assert_eq!(status.counted.eligible, 3 * SESSIONS);
}

#[tokio::test]
async fn a_baseline_gets_the_sessions_of_the_candidate() {
    let place = Place::new().await;
    let baseline = StartMirror { role: Some(Role::Baseline), ..place.wanted("100") };
    let candidate = StartMirror {
        role: Some(Role::Candidate),
        sessions: Some("cookie:sid".into()),
        ..place.wanted("50")
    };
    place.gateway.control.start("new", candidate).expect("a mirror");
    place.gateway.control.start("old", baseline).expect("a mirror");
    let mirrored = place.mirrored().await.len() as u64;
    assert!((1..SESSIONS).contains(&mirrored), "{mirrored}");
    for mirror in place.gateway.control.status().mirrors {
        assert_eq!(mirror.sessions.as_deref(), Some("cookie:sid"));
        assert_eq!(mirror.counted.eligible, 3 * mirrored, "{mirror:?}");
    }
}

#[tokio::test]
async fn a_shadow_is_told_whose_a_request_is() {
    let place = Place::new().await;
    let (shadow, seen) = crate::proxy_header::server().await;
    let wanted = StartMirror { to: shadow.to_string(), ..place.wanted("100") };
    let wanted = StartMirror { send_proxy: Some(Version::V2), ..wanted };
    place.gateway.control.start("shadow", wanted).expect("a mirror");
    get(place.gateway.at, "/x", &[]).await;
    place.gateway.rest().await;
    assert_eq!(place.status().counted.answered, 1, "{:?}", place.status());
    let seen = seen.lock().expect("nobody panicked");
    let [ends] = seen[..] else { panic!("{seen:?}") };
    assert_eq!(ends.destination, place.gateway.at);
    assert!(ends.source.ip().is_loopback() && ends.source != place.gateway.at, "{ends:?}");
}
