//! The benchmark `rollout` in short: what must hold however often it is tried.

use crate::place::ERRORS;
use crate::rounds::{bad, healthy};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_candidates_are_rolled_back_and_no_request_is_lost() {
    let all = bad(20, ERRORS).await;
    assert_eq!((all.took.len(), all.lost, all.late), (20, 0, 0), "{all:?}");
    // The middle: another process may have the processor for longer than a decision takes.
    assert!(all.took[10].as_millis() <= 50, "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_nothing_stays() {
    let rolled_back = healthy(6, ERRORS, 300).await;
    // At most one in a hundred is; two of six would be a miracle.
    assert!(rolled_back <= 1, "{rolled_back} of 6");
}
