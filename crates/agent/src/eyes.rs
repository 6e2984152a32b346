//! The watcher on a thread of its own, so that reading files never keeps events waiting.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use umbra_drift::watch::{Memory, Options, Report, Watcher};

/// How soon the thread notices that it is to end.
const LOOK_UP: Duration = Duration::from_millis(500);
/// How often what is remembered is written down, for a restart that nobody announced.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// What the watcher says.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A report.
    Report(Report),
    /// It cannot go on, as a sentence after "because".
    Blind(String),
}

/// The running watcher. It ends when this is dropped, and remembers.
#[derive(Debug)]
pub(crate) struct Eyes {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Eyes {
    /// Begins to watch what `options` say; what it sees goes to `to` by way of `wrap`.
    ///
    /// # Errors
    /// The system makes no thread.
    pub(crate) fn open<M: Send + 'static>(
        options: Options,
        memory: PathBuf,
        to: SyncSender<M>,
        wrap: fn(Seen) -> M,
    ) -> std::io::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ending);
        let thread = std::thread::Builder::new().name("eyes".into()).spawn(move || {
            let end = watch(options, &memory, &told, |seen| to.send(wrap(seen)).is_ok());
            if let Err(error) = end {
                // Nobody may be left to hear it.
                let _ = to.send(wrap(Seen::Blind(error.to_string())));
            }
        })?;
        Ok(Self { ending, thread: Some(thread) })
    }
}

impl Drop for Eyes {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed already.
            let _ = thread.join();
        }
    }
}

fn watch(
    options: Options,
    memory: &Path,
    ending: &AtomicBool,
    mut tell: impl FnMut(Seen) -> bool,
) -> std::io::Result<()> {
    let mut watcher = Watcher::start(options, Memory::load(memory).memory)?;
    let mut saved = std::time::Instant::now();
    while !ending.load(Ordering::Relaxed) {
        if let Some(report) = watcher.next(LOOK_UP)?
            && !tell(Seen::Report(report))
        {
            break;
        }
        if saved.elapsed() >= SAVE_EVERY {
            saved = std::time::Instant::now();
            watcher.save(memory)?;
        }
    }
    watcher.save(memory).map(drop)
}
