//! Candidates whose answers take too long, or never come.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use umbra_gateway::split::wire::{EndTo, SplitArm};
use umbra_judge::arm::Arm;
use umbra_judge::journal::read::Reader;
use umbra_judge::journal::replay::replay;
use umbra_judge::outcome::{Kind, Record};

use crate::place::{LATENCY, Place, TIME_MAX, arm};
use crate::server::{Does, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_tail_is_rolled_back() {
    let same = Duration::from_millis(1);
    let slow = Server::new(move |n| Does::Waits(if n % 10 == 0 { same * 60 } else { same })).await;
    let place = Arc::new(Place::new(Server::new(move |_| Does::Waits(same)).await, slow).await);
    place.start(0.2, LATENCY).await;
    let status = place.ask_until_rolled_back(12_000).await;
    let worse = status.worse.expect("why");
    assert!(worse.words.starts_with("latency"), "{worse:?}");
    place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
    let replayed = replay(&std::fs::read(place.journal()).expect("one")).expect("a journal");
    assert!(replayed.trial.is_worse() && replayed.different == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_is_rolled_back_before_anybody_gives_up() {
    let well = Server::new(|_| Does::Waits(Duration::from_millis(1))).await;
    let place = Arc::new(Place::new(well, Server::new(|_| Does::Hangs).await).await);
    place.start(0.0, LATENCY).await;
    // What its latencies are held against.
    place.ask_many(2_000, 8).await;
    place.tell(|splits| splits.weigh("web", 0.2)).await.expect("a weight");
    let begun = Instant::now();
    let mut clients = Vec::new();
    let status = loop {
        let client = Arc::clone(&place);
        clients.push(tokio::spawn(async move { client.ask(None).await }));
        let status = place.status().await;
        if status.rolled_back {
            break status;
        }
        assert!(begun.elapsed() < TIME_MAX, "{status:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let candidate = arm(&status, SplitArm::Candidate);
    // Nobody of them was answered, and nobody waited for that.
    assert_eq!(candidate.in_flight, candidate.requests, "{candidate:?}");
    assert!(status.worse.expect("why").words.starts_with("latency"));
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    let came = place.ask_many(100, 4).await;
    assert_eq!(came.whole, 100);
    place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
    let replayed = replay(&std::fs::read(place.journal()).expect("one")).expect("a journal");
    assert!(replayed.trial.is_worse() && replayed.different == 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_an_answer_slowly_is_not_late() {
    // Whatever this machine does besides, an answer of the candidate begins sooner.
    let waits = Server::new(|_| Does::Waits(Duration::from_millis(150))).await;
    let place = Arc::new(Place::new(waits, Server::new(|_| Does::Pours(8 << 20)).await).await);
    place.start(0.0, LATENCY).await;
    place.ask_many(1_200, 100).await;
    place.tell(|splits| splits.weigh("web", 1.0)).await.expect("a weight");
    // Its head is read, and nothing else for far longer than any answer took to begin.
    let mut slow = tokio::net::TcpStream::connect(place.gateway.at).await.expect("a connection");
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("asked");
    slow.read_exact(&mut [0; 12]).await.expect("a head");
    let status = place.until(|status| arm(status, SplitArm::Candidate).in_flight == 1).await;
    let known = status.journal.bytes;
    place.tell(|splits| splits.weigh("web", 0.9)).await.expect("a weight");
    place.until(|status| status.journal.bytes > known).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(slow);
    place.until(|status| arm(status, SplitArm::Candidate).in_flight == 0).await;
    place.tell(|splits| splits.end("web", EndTo::Baseline)).await.expect("an end");
    let mut late = 0;
    let mut reader = Reader::new();
    let journal = std::fs::read(place.journal()).expect("a journal");
    let count = |_: &_, record: &Record| {
        late += u32::from(
            matches!(record, Record::Outcome(one) if one.kind == Kind::Hung && one.arm == Arm::Candidate),
        );
    };
    reader.push(&journal, count).expect("a journal");
    assert_eq!(late, 0);
}
