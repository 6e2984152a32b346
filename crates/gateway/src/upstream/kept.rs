//! Connections to a target that wait for the next request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::Sent;
use super::driven::Driven;
use crate::listen::proxy_header::Ends;

/// A connection nobody uses is closed after this.
const IDLE_TIME: Duration = Duration::from_secs(90);
const IDLE_MAX: usize = 1024;

/// Idle connections of one target; the one used last is used first.
pub(super) struct Kept<B: Sent>(Mutex<Vec<(Box<Driven<B>>, Instant)>>);

impl<B: Sent> Default for Kept<B> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<B: Sent> Kept<B> {
    /// One that can be asked for `whose`, if there is one.
    pub(super) fn take(
        &self,
        whose: Option<Ends>,
        context: &mut Context<'_>,
    ) -> Option<Box<Driven<B>>> {
        loop {
            let mut kept = self.lock();
            let place = kept.iter().rposition(|(driven, _)| driven.is_of(whose))?;
            let (mut driven, _) = kept.remove(place);
            drop(kept);
            if driven.is_open(context) {
                return Some(driven);
            }
        }
    }

    /// One that was asked and can be again.
    pub(super) fn put(&self, driven: Box<Driven<B>>) {
        let mut kept = self.lock();
        if kept.len() < IDLE_MAX {
            kept.push((driven, Instant::now()));
        }
    }

    /// Closes what nobody used for long, or what the other end closed.
    pub(super) fn sweep(&self) {
        let all = std::mem::take(&mut *self.lock());
        let mut context = Context::from_waker(Waker::noop());
        let open = all.into_iter().filter_map(|(mut driven, since)| {
            let stays = since.elapsed() < IDLE_TIME && driven.is_open(&mut context);
            stays.then_some((driven, since))
        });
        let mut open: Vec<_> = open.collect();
        let mut kept = self.lock();
        open.append(&mut kept);
        *kept = open;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Box<Driven<B>>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
