//! A blocking client of the daemon's API.
//!
//! One connection per request: on a unix socket that costs microseconds, and a stream that
//! is followed blocks nothing else. The client may be used from several threads.

mod attachment;
mod events;
mod http;
mod rollouts;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::attachment::{Attachment, AttachmentReader, AttachmentWriter};
pub use self::events::Events;
use self::http::Call;
pub use self::http::percent;
use crate::build::{Answer, BuildInfo, BuildRequest};
use crate::daemon::{FsckReply, GcReply, GcRequest, Health, VersionInfo};
use crate::error::WireError;
use crate::image::{ImageInfo, MetricPoint, TimelineEntry};
use crate::shadow::{AttachRequest, ExecReply, ExecRequest, ShadowInfo, ShadowRequest};
use crate::state::{
    DiffReply, ExportReply, ExportRequest, FileList, StateInfo, TestReply, TestRequest,
};

/// Speaks with one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    patience: Option<Duration>,
}

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or this user may not speak with it.
    #[error("reach the daemon at {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The kernel's answer.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke, or the other side speaks something else.
    #[error("speak with the daemon")]
    Http(#[source] hyper::Error),
    /// The request could not be written down.
    #[error("write the request")]
    Request(#[source] serde_json::Error),
    /// The answer is not what this client knows.
    #[error("understand the daemon's answer")]
    Answer(#[source] serde_json::Error),
    /// The answer is larger than this client takes.
    #[error("read the daemon's answer: it is larger than {limit} bytes")]
    TooLarge {
        /// The most it takes.
        limit: usize,
    },
    /// It did not answer in time.
    #[error("wait for the daemon: it did not answer within {} ms", patience.as_millis())]
    Silent {
        /// How long it had.
        patience: Duration,
    },
    /// The stream of events ended before the build did.
    #[error("follow the build: the daemon closed the connection")]
    Cut,
    /// The daemon did not hand over the connection.
    #[error("attach: the daemon answered {status} without an explanation")]
    NotUpgraded {
        /// The HTTP status.
        status: u16,
    },
    /// A connection of its own failed.
    #[error("use the connection to the daemon")]
    Io(#[source] std::io::Error),
    /// An attached terminal's bytes make no sense.
    #[error("follow the terminal")]
    Frame(#[source] crate::attach::FrameError),
    /// The daemon refused; its words.
    #[error(transparent)]
    Refused(WireError),
}

impl Client {
    /// A client of the daemon that listens at `socket`. Connects at the first request.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), patience: None }
    }

    /// The same client, which waits so long for an answer. Events are followed as before.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Who the daemon is.
    pub fn version(&self) -> Result<VersionInfo, ClientError> {
        self.get("/v1/version")
    }

    /// Whether it is well.
    pub fn health(&self) -> Result<Health, ClientError> {
        self.get("/v1/health")
    }

    /// Starts a build.
    pub fn start_build(&self, request: &BuildRequest) -> Result<BuildInfo, ClientError> {
        self.post("/v1/builds", request)
    }

    /// The last `limit` builds, newest first.
    pub fn builds(&self, limit: u32) -> Result<Vec<BuildInfo>, ClientError> {
        self.get(&format!("/v1/builds?limit={limit}"))
    }

    /// One build.
    pub fn build(&self, id: u64) -> Result<BuildInfo, ClientError> {
        self.get(&format!("/v1/builds/{id}"))
    }

    /// A build's events from number `from` on; follows a running one to its end.
    pub fn events(&self, id: u64, from: u64) -> Result<Events, ClientError> {
        Events::open(&self.socket, &format!("/v1/builds/{id}/events?from={from}"))
    }

    /// A build's events so far, without waiting for more.
    pub fn events_so_far(&self, id: u64, from: u64) -> Result<Events, ClientError> {
        Events::open(&self.socket, &format!("/v1/builds/{id}/events?from={from}&follow=false"))
    }

    /// Asks a build to end.
    pub fn cancel_build(&self, id: u64) -> Result<BuildInfo, ClientError> {
        self.post(&format!("/v1/builds/{id}/cancel"), &())
    }

    /// Answers a build that asks.
    pub fn answer_build(&self, id: u64, answer: Answer) -> Result<BuildInfo, ClientError> {
        self.post(&format!("/v1/builds/{id}/answer"), &answer)
    }

    /// All images by name.
    pub fn images(&self) -> Result<Vec<ImageInfo>, ClientError> {
        self.get("/v1/images")
    }

    /// An image's timeline, oldest first.
    pub fn timeline(&self, name: &str) -> Result<Vec<TimelineEntry>, ClientError> {
        self.get(&format!("/v1/timelines/{}", percent(name)))
    }

    /// The last `limit` numbers that an image's tests measured, newest first.
    pub fn metrics(&self, image: &str, limit: u32) -> Result<Vec<MetricPoint>, ClientError> {
        self.get(&format!("/v1/images/{}/metrics?limit={limit}", percent(image)))
    }

    /// One state.
    pub fn state(&self, name: &str) -> Result<StateInfo, ClientError> {
        self.get(&format!("/v1/states/{}", percent(name)))
    }

    /// A state's names below `prefix`, at most `limit`.
    pub fn files(&self, name: &str, prefix: &str, limit: u32) -> Result<FileList, ClientError> {
        let (name, prefix) = (percent(name), percent(prefix));
        self.get(&format!("/v1/states/{name}/files?prefix={prefix}&limit={limit}"))
    }

    /// What differs between two states; `content` asks for text diffs of small files.
    pub fn diff(&self, a: &str, b: &str, content: bool) -> Result<DiffReply, ClientError> {
        let (a, b) = (percent(a), percent(b));
        self.get(&format!("/v1/diff?a={a}&b={b}&content={content}"))
    }

    /// All shadows.
    pub fn shadows(&self) -> Result<Vec<ShadowInfo>, ClientError> {
        self.get("/v1/shadows")
    }

    /// Makes an ephemeral shadow.
    pub fn create_shadow(&self, request: &ShadowRequest) -> Result<ShadowInfo, ClientError> {
        self.post("/v1/shadows", request)
    }

    /// Removes a shadow.
    pub fn remove_shadow(&self, name: &str) -> Result<(), ClientError> {
        self.delete(format!("/v1/shadows/{}", percent(name)))
    }

    /// Runs a command to its end.
    pub fn exec(&self, request: &ExecRequest) -> Result<ExecReply, ClientError> {
        self.post("/v1/exec", request)
    }

    /// Runs a command on a terminal.
    pub fn attach(&self, request: &AttachRequest) -> Result<Attachment, ClientError> {
        Attachment::open(&self.socket, request)
    }

    /// Runs a recipe's tests against a state.
    pub fn test(&self, request: &TestRequest) -> Result<TestReply, ClientError> {
        self.post("/v1/test", request)
    }

    /// Writes a state out.
    pub fn export(&self, request: &ExportRequest) -> Result<ExportReply, ClientError> {
        self.post("/v1/export", request)
    }

    /// Removes what nothing refers to.
    pub fn gc(&self, request: GcRequest) -> Result<GcReply, ClientError> {
        self.post("/v1/gc", &request)
    }

    /// Checks the store.
    pub fn fsck(&self) -> Result<FsckReply, ClientError> {
        self.post("/v1/fsck", &())
    }

    /// What is counted, as Prometheus scrapes it.
    pub fn scrape(&self) -> Result<String, ClientError> {
        let page = http::call(&self.socket, Call::get("/v1/metrics".to_owned()), self.patience)?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    /// Asks for something of which another crate knows the form.
    pub fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.call(Call::get(target.to_owned()))
    }

    /// Sends something of which another crate knows the form.
    pub fn post<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.call(Call::post(target.to_owned(), body)?)
    }

    /// Removes what a target names.
    pub fn delete(&self, target: String) -> Result<(), ClientError> {
        self.remove::<serde_json::Value>(target).map(drop)
    }

    /// Removes what a target names, and is told what that was.
    pub fn remove<T: DeserializeOwned>(&self, target: String) -> Result<T, ClientError> {
        self.call(Call::delete(target))
    }

    /// Follows events of which another crate knows the form.
    pub fn follow<T: DeserializeOwned>(&self, target: &str) -> Result<Events<T>, ClientError> {
        Events::open(&self.socket, target)
    }

    fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let body = http::call(&self.socket, call, self.patience)?;
        serde_json::from_slice(&body).map_err(ClientError::Answer)
    }
}
