//! Reading leaves while the walk goes on: at once on the walking thread if they are few, on
//! all cores if they are many.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread::{self, Scope};

use super::CaptureError;
use super::leaf::{Job, RawLeaf, Reader};

/// As many leaves are read without help: starting threads costs more.
const ALONE_MAX: usize = 24;
/// Jobs handed over at once: waking a thread costs as much as reading a small file.
const BATCH: usize = 16;
/// Jobs that wait at most, about; each holds its directory open.
const WAITING_MAX: usize = 256;
/// Threads at most.
const THREADS_MAX: usize = 8;

/// Takes jobs. Leaf `n` is the `n`th job.
pub(super) struct Intake<'scope, 'env> {
    reader: Reader<'env>,
    scope: &'scope Scope<'scope, 'env>,
    queue: &'env Queue,
    backlog: Vec<Job>,
    count: usize,
    has_threads: bool,
}

/// Runs `walk`, which submits jobs, and gives back what it returns and all leaves.
pub(super) fn run<T>(
    reader: Reader<'_>,
    walk: impl FnOnce(&mut Intake<'_, '_>) -> Result<T, CaptureError>,
) -> Result<(T, Vec<RawLeaf>), CaptureError> {
    let queue = Queue::default();
    let (walked, count) = thread::scope(|scope| {
        let mut intake = Intake {
            reader,
            scope,
            queue: &queue,
            backlog: Vec::new(),
            count: 0,
            has_threads: false,
        };
        let closer = CloseOnDrop(&queue);
        let walked = walk(&mut intake);
        if walked.is_ok() {
            intake.finish();
        }
        drop(closer);
        (walked, intake.count)
    });
    let done = queue.state.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(error) = done.error {
        return Err(error);
    }
    let walked = walked?;
    let mut leaves: Vec<Option<RawLeaf>> = Vec::new();
    leaves.resize_with(count, || None);
    for (number, leaf) in done.leaves {
        leaves[number] = Some(leaf);
    }
    Ok((walked, leaves.into_iter().flatten().collect()))
}

impl Intake<'_, '_> {
    /// Has a leaf read, now or soon; its number.
    pub(super) fn submit(&mut self, job: Job) -> usize {
        let number = self.count;
        self.count += 1;
        self.backlog.push(job);
        match self.has_threads {
            true if self.backlog.len() >= BATCH => self.flush(),
            false if self.backlog.len() > ALONE_MAX => self.start_threads(),
            _ => {}
        }
        number
    }

    /// Hands over what waits here.
    fn flush(&mut self) {
        let first = self.count - self.backlog.len();
        let jobs = self.backlog.drain(..).enumerate().map(|(at, job)| (first + at, job));
        self.queue.push(jobs.collect());
    }

    fn start_threads(&mut self) {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
        for _ in 0..threads.min(THREADS_MAX) {
            let (reader, queue) = (self.reader, self.queue);
            let spawned = thread::Builder::new()
                .name("umbra-capture".to_owned())
                .spawn_scoped(self.scope, move || queue.work(reader));
            self.has_threads |= spawned.is_ok();
        }
        if self.has_threads {
            self.flush();
        }
    }

    /// Sees to what is left; without threads that is everything, and it is read here.
    fn finish(&mut self) {
        if self.has_threads {
            return self.flush();
        }
        let mut buffer = Vec::new();
        for (number, job) in self.backlog.drain(..).enumerate() {
            match self.reader.read(&job, &mut buffer) {
                Ok(leaf) => self.queue.lock().leaves.push((number, leaf)),
                Err(error) => return self.queue.fail(error),
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    /// Something was taken, or it is over.
    taken: Condvar,
    /// Something was added, or it is over.
    added: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(usize, Job)>,
    leaves: Vec<(usize, RawLeaf)>,
    error: Option<CaptureError>,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds jobs, waiting for room. After an error they are dropped.
    fn push(&self, jobs: Vec<(usize, Job)>) {
        let mut state = self.lock();
        while state.jobs.len() >= WAITING_MAX && state.error.is_none() {
            state = self.taken.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if state.error.is_none() {
            state.jobs.extend(jobs);
            self.added.notify_one();
        }
    }

    /// Works until there is nothing left.
    fn work(&self, reader: Reader<'_>) {
        // Should this thread panic, the walk must not wait for it.
        let _closer = FailOnPanic(self);
        let mut buffer = Vec::new();
        let mut read = Vec::with_capacity(BATCH);
        while let Some(jobs) = self.take() {
            for (number, job) in jobs {
                match reader.read(&job, &mut buffer) {
                    Ok(leaf) => read.push((number, leaf)),
                    Err(error) => return self.fail(error),
                }
            }
            self.lock().leaves.append(&mut read);
        }
    }

    fn take(&self) -> Option<Vec<(usize, Job)>> {
        let mut state = self.lock();
        loop {
            if state.error.is_some() {
                return None;
            }
            if !state.jobs.is_empty() {
                let count = state.jobs.len().min(BATCH);
                let jobs = state.jobs.drain(..count).collect();
                self.taken.notify_one();
                if !state.jobs.is_empty() {
                    self.added.notify_one();
                }
                return Some(jobs);
            }
            if state.closed {
                return None;
            }
            state = self.added.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Ends everything.
    fn fail(&self, error: CaptureError) {
        let mut state = self.lock();
        state.error.get_or_insert(error);
        state.jobs.clear();
        self.taken.notify_all();
        self.added.notify_all();
    }

    fn close(&self) {
        self.lock().closed = true;
        self.added.notify_all();
    }
}

/// Lets the threads end when the walk is over, however it ends.
struct CloseOnDrop<'a>(&'a Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct FailOnPanic<'a>(&'a Queue);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let path = Vec::new();
            self.0.fail(CaptureError::Changing { path, attempts: 0 });
        }
    }
}
