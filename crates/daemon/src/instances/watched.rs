//! A keeper that is followed by another as soon as it dies, as long as a daemon lives.

use std::io::{self, PipeReader, PipeWriter};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use umbra_api::error::WireError;

use super::backoff::Backoff;
use super::client::KeeperClient;
use super::{Instance, InstanceSpec, Instances};

/// How often it is looked for a keeper where there is none: somebody else may start one.
const LOOK: Duration = Duration::from_secs(2);

/// See the module. The keeper itself does not end with it.
pub struct Watched {
    keeper: Arc<KeeperClient>,
    /// Closed with it, which ends the watch.
    _living: PipeWriter,
}

impl Watched {
    /// Watches over the keeper, which begins if instances are wanted.
    ///
    /// # Errors
    /// There can be no pipe or thread.
    pub fn new(keeper: KeeperClient) -> io::Result<Self> {
        let (ended, living) = io::pipe()?;
        let keeper = Arc::new(keeper);
        let watched = Arc::clone(&keeper);
        // Nobody waits for its end: it may be starting a keeper, which is as it should be.
        let thread = std::thread::Builder::new().name("umbra-watch".to_owned());
        thread.spawn(move || watch(&watched, &ended))?;
        Ok(Self { keeper, _living: living })
    }
}

impl Instances for Watched {
    fn start(&self, spec: &InstanceSpec) -> Result<Instance, WireError> {
        self.keeper.start(spec)
    }

    fn stop(&self, name: &str) -> Result<(), WireError> {
        self.keeper.stop(name)
    }

    fn list(&self) -> Result<Vec<Instance>, WireError> {
        self.keeper.list()
    }
}

fn watch(keeper: &KeeperClient, ended: &PipeReader) {
    let mut backoff = Backoff::default();
    loop {
        let began = Instant::now();
        let wait = match keeper.resume() {
            Ok(_) => lives(keeper, ended),
            Err(error) => {
                let causes = error.causes.join(": ");
                tracing::error!(%error, causes, "instances that are wanted are not there");
                Wait::Rest
            }
        };
        let rest = match wait {
            Wait::Over => return,
            Wait::None => LOOK,
            Wait::Rest => backoff.after(began.elapsed()),
        };
        if is_over(ended, rest) {
            return;
        }
    }
}

/// What there is to wait for.
enum Wait {
    /// The watch ended.
    Over,
    /// There is no keeper.
    None,
    /// Something did not go well: not again at once.
    Rest,
}

/// Returns when the keeper has died, if there is one.
fn lives(keeper: &KeeperClient, ended: &PipeReader) -> Wait {
    let Ok(Some(info)) = keeper.info() else { return Wait::None };
    let pid = i32::try_from(info.pid).ok().and_then(Pid::from_raw);
    let Some(Ok(process)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
        return Wait::None;
    };
    let mut fds = [PollFd::new(ended, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
    let polled = rustix::io::retry_on_intr(|| poll(&mut fds, None));
    if polled.is_err() || !fds[0].revents().is_empty() { Wait::Over } else { Wait::Rest }
}

/// Waits; true where the watch ended meanwhile.
fn is_over(ended: &PipeReader, wait: Duration) -> bool {
    let mut fds = [PollFd::new(ended, PollFlags::IN)];
    let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    // Interrupted is as good as a wait that was shorter.
    poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0)
}
