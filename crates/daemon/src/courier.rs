//! Threads that deliver, so that nobody else waits for a slow server.
//!
//! What a job leads to arrives in the inbox of whoever handed it over. Threads are made when they
//! are needed, and end with the courier, after what they have at hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Something that takes its time.
type Job<I> = Box<dyn FnOnce() -> I + Send>;

/// Does jobs elsewhere.
pub(crate) struct Courier<I> {
    inbox: SyncSender<I>,
    jobs: Sender<Job<I>>,
    waiting: Arc<Mutex<Receiver<Job<I>>>>,
    ended: Arc<AtomicBool>,
    threads: usize,
    threads_max: usize,
    /// Jobs handed over whose result has not arrived.
    under_way: usize,
}

impl<I: Send + 'static> Courier<I> {
    /// Results go to `inbox`. With one thread at most, jobs are done in their order.
    pub(crate) fn new(inbox: SyncSender<I>, threads_max: usize) -> Self {
        let (jobs, waiting) = channel();
        let (waiting, ended) = (Arc::new(Mutex::new(waiting)), Arc::default());
        Self { inbox, jobs, waiting, ended, threads: 0, threads_max, under_way: 0 }
    }

    /// Hands a job over. Who does so sees to it that they are not too many.
    ///
    /// # Errors
    /// There is no thread at all, and there can be none.
    pub(crate) fn hand(&mut self, job: impl FnOnce() -> I + Send + 'static) -> std::io::Result<()> {
        if self.threads <= self.under_way && self.threads < self.threads_max {
            match self.thread() {
                Ok(()) => self.threads += 1,
                Err(error) if self.threads == 0 => return Err(error),
                // It waits for those there are.
                Err(_) => {}
            }
        }
        self.under_way += 1;
        // The other end is at hand.
        let _ = self.jobs.send(Box::new(job));
        Ok(())
    }

    /// A result has arrived.
    pub(crate) fn arrived(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    fn thread(&self) -> std::io::Result<()> {
        let (waiting, inbox) = (Arc::clone(&self.waiting), self.inbox.clone());
        let ended = Arc::clone(&self.ended);
        let work = move || {
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(job) = next else { return };
                if ended.load(Ordering::Relaxed) || inbox.send(job()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("umbra-courier".into()).spawn(work).map(drop)
    }
}

impl<I> Drop for Courier<I> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
