//! The keeper as others reach it: found by its socket, started where there is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use umbra_api::client::{Client, ClientError, percent};
use umbra_api::error::{ErrorCode, WireError};
use umbra_state::escape;

use super::attended::ServiceLog;
use super::control::KeeperInfo;
use super::journal::Journal;
use super::{Instance, InstanceSpec, Instances, Places};
use crate::states::environment;

/// How long a keeper may take until it listens: one that was killed may leave much to remove.
const BEGIN_TIME_MAX: Duration = Duration::from_secs(60);

/// How long it is asked again that goes down, or was killed.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often it is looked whether it listens.
const LOOK: Duration = Duration::from_millis(10);

/// So many lines are told of a keeper that did not live.
const LINES_TOLD: usize = 4;

/// A log is begun anew beyond this.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// See the module.
#[derive(Debug)]
pub struct KeeperClient {
    places: Places,
    /// What becomes a keeper when its first argument is `keep`.
    program: PathBuf,
    client: Client,
}

impl KeeperClient {
    /// The keeper at these places. `program` becomes one with the arguments `keep --state-dir DIR`.
    pub fn new(places: Places, program: PathBuf) -> Self {
        let client = Client::new(&places.socket);
        Self { places, program, client }
    }

    /// Who it is; nothing where none runs.
    ///
    /// # Errors
    /// It does not answer as one.
    pub fn info(&self) -> Result<Option<KeeperInfo>, WireError> {
        match self.client.get("/v1/keeper") {
            Ok(info) => Ok(Some(info)),
            // The connection is cut by one that ends.
            Err(ClientError::Connect { .. } | ClientError::Http(_)) => Ok(None),
            Err(error) => Err(wire(error)),
        }
    }

    /// What an instance's services printed last, so much of each.
    ///
    /// # Errors
    /// There is no such instance, or nobody could be asked.
    pub fn logs(&self, name: &str, bytes_max: u64) -> Result<Vec<ServiceLog>, WireError> {
        let target = format!("/v1/instances/{}/logs?bytes={bytes_max}", percent(name));
        self.ask(|client| client.get(&target))
    }

    /// Begins an instance anew, on a fresh view at the same address.
    ///
    /// # Errors
    /// There is no such instance, it does not become ready, or nobody could be asked.
    pub fn restart(&self, name: &str) -> Result<Instance, WireError> {
        let target = format!("/v1/instances/{}/restart", percent(name));
        self.ask(|client| client.post(&target, &()))
    }

    /// Ends all instances, none of which is wanted any more, and their keeper.
    ///
    /// # Errors
    /// Nobody could be asked.
    pub fn stop_all(&self) -> Result<Vec<String>, WireError> {
        if self.has_nothing()? {
            return Ok(Vec::new());
        }
        self.ask(|client| client.remove("/v1/instances".to_owned()))
    }

    /// Starts the keeper where instances are wanted and none runs; says how many are.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn resume(&self) -> Result<usize, WireError> {
        let wanted = Journal::of(&self.places.dir).read()?.len();
        if wanted > 0 && !self.listens() {
            self.begin()?;
        }
        Ok(wanted)
    }

    /// Neither is one there nor should one be.
    fn has_nothing(&self) -> Result<bool, WireError> {
        Ok(!self.listens() && Journal::of(&self.places.dir).read()?.is_empty())
    }

    fn listens(&self) -> bool {
        UnixStream::connect(&self.places.socket).is_ok()
    }

    /// Asks the keeper, starting one where there is none. All it is asked may be asked twice: one
    /// that goes down, or is killed over it, is followed by another.
    fn ask<T>(&self, ask: impl Fn(&Client) -> Result<T, ClientError>) -> Result<T, WireError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match ask(&self.client) {
                Ok(answer) => return Ok(answer),
                Err(error @ ClientError::Connect { .. }) => {
                    self.begin()?;
                    error
                }
                Err(error) => error,
            };
            let passes = match &error {
                ClientError::Connect { .. } | ClientError::Http(_) => true,
                ClientError::Refused(refused) => refused.code == ErrorCode::ShuttingDown,
                _ => false,
            };
            if !passes || Instant::now() >= deadline {
                return Err(wire(error));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Starts a keeper and returns once it listens.
    fn begin(&self) -> Result<(), WireError> {
        let failed = |error: &dyn std::fmt::Display| {
            let message = "start the keeper of instances".to_owned();
            WireError::new(ErrorCode::Environment, message).caused_by(error)
        };
        let _alone = self.lock().map_err(|error| failed(&error))?;
        if self.listens() {
            return Ok(());
        }
        let mut log = self.open_log().map_err(|error| failed(&error))?;
        let begins_at = log.seek(SeekFrom::End(0)).map_err(|error| failed(&error))?;
        let mut child = self.spawn(&log).map_err(|error| failed(&error))?;
        let deadline = Instant::now() + BEGIN_TIME_MAX;
        while !self.listens() {
            if let Some(status) = child.try_wait().map_err(|error| failed(&error))? {
                let said = self.said_since(begins_at);
                return Err(failed(&format!("it ended with {status}: {said}")));
            }
            if Instant::now() >= deadline {
                let log = self.places.log();
                return Err(failed(&format!("it does not listen after {BEGIN_TIME_MAX:?}"))
                    .with_hint(format!("{} has more", log.display())));
            }
            std::thread::sleep(LOOK);
        }
        wait_for(child);
        Ok(())
    }

    /// Held by whoever starts one, of this process and of others.
    fn lock(&self) -> io::Result<File> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.places.dir)?;
        let path = self.places.dir.join("begin.lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))?;
        Ok(lock)
    }

    fn spawn(&self, log: &File) -> io::Result<Child> {
        let dir = self.places.dir.parent().unwrap_or(&self.places.dir);
        Command::new(&self.program)
            .args(["keep", "--state-dir"])
            .arg(dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .spawn()
    }

    fn open_log(&self) -> io::Result<File> {
        let path = self.places.log();
        let large = fs::metadata(&path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX);
        if large {
            fs::remove_file(&path)?;
        }
        OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(&path)
    }

    /// The end of what a keeper said that did not live.
    fn said_since(&self, begins_at: u64) -> String {
        let read = File::open(self.places.log()).and_then(|mut log| {
            log.seek(SeekFrom::Start(begins_at))?;
            let mut bytes = Vec::new();
            log.take(64 << 10).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        let said = read.unwrap_or_default();
        let lines = said.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LINES_TOLD)..].join(&b"; "[..]);
        escape::line(&last, 1000)
    }
}

impl Instances for KeeperClient {
    fn start(&self, spec: &InstanceSpec) -> Result<Instance, WireError> {
        self.ask(|client| client.post("/v1/instances", spec))
    }

    fn stop(&self, name: &str) -> Result<(), WireError> {
        if self.has_nothing()? {
            return Ok(());
        }
        let target = format!("/v1/instances/{}", percent(name));
        self.ask(|client| client.remove::<()>(target.clone()))
    }

    fn list(&self) -> Result<Vec<Instance>, WireError> {
        if self.has_nothing()? {
            return Ok(Vec::new());
        }
        self.ask(|client| client.get("/v1/instances"))
    }
}

/// So that no dead process stays as long as this one lives.
fn wait_for(mut child: Child) {
    let waiting = std::thread::Builder::new().name("umbra-keeper".to_owned());
    let waiting = waiting.spawn(move || match child.wait() {
        Ok(status) => tracing::info!(%status, "the keeper of instances ended"),
        Err(error) => tracing::warn!(%error, "the keeper of instances cannot be waited for"),
    });
    if let Err(error) = waiting {
        tracing::warn!(%error, "nobody waits for the keeper of instances");
    }
}

fn wire(error: ClientError) -> WireError {
    match error {
        ClientError::Refused(error) => error,
        error => environment(&error),
    }
}
