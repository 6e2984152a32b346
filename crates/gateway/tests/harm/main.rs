//! Production is not harmed by a shadow, whatever is wrong with that.

mod capture;
#[path = "../support/controlled.rs"]
mod controlled;
mod place;
mod shadow;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use bytes::Bytes;
use place::Place;
use shadow::{FAULTS, Fault, shadow};

const REQUESTS: usize = 200;
const AT_ONCE: usize = 8;

/// Every request's answer is production's to it, bodies of every size included.
async fn ask_all(place: &Arc<Place>) {
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..AT_ONCE {
        let place = Arc::clone(place);
        clients.spawn(async move {
            for number in (client..REQUESTS).step_by(AT_ONCE) {
                let (path, size) = (format!("/{number}"), (number % 5) * 60_000);
                let body = Bytes::from(vec![b'a' + (number % 26) as u8; size]);
                let answer = place.0.ask(&path, body.clone()).await;
                assert_eq!(answer, [path.as_bytes(), b" ", &body].concat());
            }
        });
    }
    clients.join_all().await;
}

#[track_caller]
fn check_counts(fault: Fault, status: &umbra_gateway::control::MirrorStatus) {
    let counted = &status.counted;
    assert_eq!(status.seen, REQUESTS as u64, "{fault:?}");
    assert_eq!(counted.eligible, REQUESTS as u64, "{fault:?}");
    assert_eq!(counted.mirrored + counted.dropped(), counted.eligible, "{fault:?} {counted:?}");
    assert_eq!(counted.answered + counted.failed(), counted.mirrored, "{fault:?} {counted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_a_shadow_does_is_seen_in_production() {
    for fault in FAULTS {
        let place = Arc::new(Place::new().await);
        place.mirror(&shadow(fault).await);
        ask_all(&place).await;
        let status = place.at_rest().await;
        check_counts(fault, &status);
        assert_eq!(status.counted.answered, 0, "{fault:?} {:?}", status.counted);
        assert_eq!(place.0.control.status().failed, 0, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_gets_what_production_gets() {
    let place = Arc::new(Place::new().await);
    place.mirror(&shadow(Fault::None).await);
    ask_all(&place).await;
    let status = place.at_rest().await;
    check_counts(Fault::None, &status);
    assert!(status.counted.answered > 0 && status.counted.broken == 0, "{status:?}");
}
