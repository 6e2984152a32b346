//! Reading ahead and keeping the time, each on a thread of its own.
//!
//! The pacer sleeps on the kernel's high-resolution timer; the users' event loop has one of a
//! millisecond only. Between them is a bounded channel: where it is full a request is dropped and
//! counted.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::LocalSet;
use umbra_state::{Verdict, chain};
use umbra_suite::check::http::client;
use umbra_suite::check::load::judge;
use umbra_suite::check::load::pacing::sleep_until;

use super::Plan;
use super::order::Ordered;
use super::report::Report;
use super::rewrite::{Prepared, Rewrite, Skipped};
use super::users::{Due, Progress, Users};
use crate::capture::Source;

/// Requests that are read ahead.
const AHEAD: usize = 4096;
/// Requests that wait between the pacer and the users.
const WAITING_MAX: usize = 4096;
/// From the first request being ready to its intended start: everything has begun by then.
const RUN_UP: Duration = Duration::from_millis(20);

/// Why there is no replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no thread, or no event loop.
    #[error("start a replay: {0}")]
    Start(String),
    /// This machine, not the target, is to blame.
    #[error("open enough connections: {0}")]
    Ours(String),
}

/// Sends what `source` has, as `plan` says, and returns when it is over.
///
/// # Errors
/// It cannot begin, or this machine cannot do it.
pub fn run<R: BufRead + Send>(
    source: &mut Source<R>,
    plan: &Plan,
    progress: &Arc<Progress>,
) -> Result<Report, ReplayError> {
    let start = |error: &dyn std::error::Error| ReplayError::Start(chain(error));
    let runtime = client::runtime().map_err(|error| start(&error))?;
    let users = Users::new(plan, progress).ok_or_else(|| ReplayError::Start("bounds".into()))?;
    let (ahead, prepared) = sync_channel(AHEAD);
    let (due, to_send) = mpsc::channel(WAITING_MAX);
    let over = AtomicBool::new(false);
    let wanted = || !over.load(Ordering::Relaxed) && !progress.is_cancelled();
    let (fed, paced) = std::thread::scope(|scope| {
        let wanted = &wanted;
        let feeding = scope.spawn(move || feed(source, &plan.rewrite, ahead, wanted));
        let pacing = scope.spawn(move || pace(plan, prepared, &due, wanted));
        let set = LocalSet::new();
        runtime.block_on(set.run_until(Rc::clone(&users).play(to_send)));
        over.store(true, Ordering::Relaxed);
        (feeding.join().ok(), pacing.join().ok())
    });
    let broke = || ReplayError::Start("a thread of it broke".to_owned());
    report(&users, fed.ok_or_else(broke)?, paced.ok_or_else(broke)?, plan)
}

/// What the feeder saw.
#[derive(Debug, Default)]
struct Fed {
    read: u64,
    late: u64,
    skipped: BTreeMap<Skipped, u64>,
    broken: Option<String>,
}

fn feed<R: BufRead>(
    source: &mut Source<R>,
    rewrite: &Rewrite,
    to: SyncSender<Prepared>,
    wanted: &impl Fn() -> bool,
) -> Fed {
    let (mut fed, mut ordered) = (Fed::default(), Ordered::default());
    while wanted() {
        let next = match fed.broken {
            None => ordered.next(|| source.next_exchange()),
            Some(_) => ordered.next(|| Ok(None)),
        };
        let exchange = match next {
            Ok(Some(exchange)) => exchange,
            Ok(None) => break,
            Err(error) => {
                // What was read until then is good.
                fed.broken = Some(chain(&error));
                continue;
            }
        };
        match rewrite.apply(exchange) {
            Ok(prepared) => {
                if to.send(prepared).is_err() {
                    break;
                }
            }
            Err(why) => *fed.skipped.entry(why).or_default() += 1,
        }
    }
    (fed.read, fed.late) = (source.read(), ordered.late());
    fed
}

/// What the pacer saw.
#[derive(Debug, Default)]
struct Paced {
    dropped: u64,
    first: Option<Instant>,
}

fn pace(
    plan: &Plan,
    from: Receiver<Prepared>,
    to: &mpsc::Sender<Due>,
    wanted: &impl Fn() -> bool,
) -> Paced {
    let mut paced = Paced::default();
    let mut first_us = 0;
    let limit = plan.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    for prepared in from.into_iter().take(limit) {
        let begin = *paced.first.get_or_insert_with(|| {
            first_us = prepared.began_us;
            Instant::now() + RUN_UP
        });
        let distance_us = prepared.began_us.saturating_sub(first_us) as f64 / plan.speed;
        let distance = Duration::try_from_secs_f64(distance_us / 1e6).unwrap_or(Duration::MAX);
        let too_late = plan.duration.is_some_and(|duration| distance >= duration);
        // A time that no clock shows never comes.
        let Some(intended) = begin.checked_add(distance).filter(|_| !too_late) else { break };
        if !sleep_until(intended, wanted) {
            break;
        }
        match to.try_send(Due::new(intended, prepared)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => paced.dropped += 1,
            Err(TrySendError::Closed(_)) => break,
        }
    }
    paced
}

fn report(users: &Users, fed: Fed, paced: Paced, plan: &Plan) -> Result<Report, ReplayError> {
    let seen = &mut *users.seen();
    if let Some(ours) = seen.ours.take() {
        return Err(ReplayError::Ours(ours));
    }
    let dropped = seen.dropped + paced.dropped;
    let elapsed = match (paced.first, seen.last) {
        (Some(first), Some(last)) => last.saturating_duration_since(first),
        _ => Duration::ZERO,
    };
    seen.stats.dropped = dropped;
    seen.stats.elapsed = elapsed;
    let report = Report {
        read: fed.read,
        skipped: fed.skipped,
        sent: seen.sent,
        dropped,
        answered: seen.answered,
        errors: seen.stats.failures.clone(),
        redacted: seen.redacted,
        late: fed.late,
        elapsed_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        per_second: seen.stats.rate(),
        lag: seen.lag.spread(),
        waited: seen.waited.spread(),
        corrected: seen.corrected.spread(),
        raw: seen.raw.spread(),
        statuses: seen.statuses.clone(),
        broken: fed.broken,
        cancelled: users.is_cancelled(),
        evidence: judge(&seen.stats, &plan.thresholds),
        verdict: Verdict::Inconclusive,
    };
    Ok(report.judged())
}
