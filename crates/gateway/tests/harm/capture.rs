//! Production is not harmed by a capture, and everything that was chosen is accounted for.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use umbra_gateway::capture::Exchange;
use umbra_gateway::capture::captures::CaptureStatus;
use umbra_gateway::capture::file::{Ending, Reader};
use umbra_gateway::capture::wanted::StartCapture;

use crate::controlled::MEMORY;
use crate::place::Place;
use crate::{REQUESTS, ask_all};

/// More than all requests and answers take.
const ALL_BYTES: usize = 256 << 20;

async fn begin(place: &Place, file: &std::path::Path) {
    let file = file.display().to_string();
    let wanted =
        StartCapture { file, percent: "100".into(), answers: true, ..StartCapture::default() };
    let captures = place.0.control.proxy.captures();
    captures.start("one", &wanted, &place.0.control.memory, 1).await.expect("a capture");
}

async fn stop(place: &Place) -> CaptureStatus {
    let status = place.0.control.proxy.captures().stop("one").await.expect("a capture");
    let counted = &status.counted;
    assert_eq!(counted.captured + counted.dropped(), counted.eligible, "{counted:?}");
    assert_eq!(place.0.control.status().failed, 0);
    status
}

fn read(file: &std::path::Path) -> Vec<Exchange> {
    let mut reader = Reader::new(File::open(file).expect("the file")).expect("a capture");
    let mut all = Vec::new();
    while let Some(exchange) = reader.next_exchange().expect("a good record") {
        all.push(exchange);
    }
    assert!(matches!(reader.ending(), Ending::Whole(tally) if tally.captured == all.len() as u64));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_kept_both_ways() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a");
    let place = Arc::new(Place::new().await);
    // For everything that passes: how soon it is written is the machine's affair.
    let memory = &place.0.control.memory;
    memory.add_permits(ALL_BYTES);
    begin(&place, &file).await;
    ask_all(&place).await;
    let status = stop(&place).await;
    assert_eq!(status.counted.captured, REQUESTS as u64, "{:?}", status.counted);
    assert_eq!(memory.available_permits(), MEMORY + ALL_BYTES);
    let all = read(&file);
    assert_eq!(all.len(), REQUESTS);
    for Exchange { request, answer, .. } in all {
        let answer = answer.expect("an answer");
        let echo = [request.target.as_bytes(), b" ", &request.body.bytes].concat();
        assert_eq!((answer.status, &answer.body.bytes), (200, &Bytes::from(echo)));
        assert!(!request.body.cut && !answer.body.cut);
        assert!(request.headers.iter().all(|(name, _)| !name.starts_with(b"x-forwarded")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_it_is_dropped_and_nobody_waits() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = Arc::new(Place::new().await);
    begin(&place, &dir.path().join("a")).await;
    let all = u32::try_from(MEMORY).expect("few");
    let taken = place.0.control.memory.clone().acquire_many_owned(all).await.expect("memory");
    ask_all(&place).await;
    drop(taken);
    let status = stop(&place).await;
    assert_eq!(status.counted.dropped_memory, REQUESTS as u64, "{:?}", status.counted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_little_memory_bodies_are_cut_and_said_to_be() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("a");
    let place = Arc::new(Place::new().await);
    begin(&place, &file).await;
    let all = u32::try_from(MEMORY - 60_000).expect("few");
    let taken = place.0.control.memory.clone().acquire_many_owned(all).await.expect("memory");
    place.0.ask("/long", Bytes::from(vec![b'a'; 240_000])).await;
    drop(taken);
    let status = stop(&place).await;
    assert_eq!((status.counted.captured, status.counted.cut), (1, 1), "{:?}", status.counted);
    let one = read(&file).remove(0);
    assert!(one.request.body.cut && one.request.body.bytes.len() < 60_000);
}
