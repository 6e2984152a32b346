//! Whether an instance is there: asked by us, never through the gateway, so that no answer counts
//! as evidence for or against it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::header::{HOST, USER_AGENT};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use umbra_gateway::upstream::{Failure, Target, Trust, Upstream};
use umbra_rollout::spec::{Health, Instances, WarmUp};
use umbra_state::chain;

/// An answer's body is read so far.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How often a port is tried where no path is to be asked for.
const EVERY: Duration = Duration::from_millis(100);
/// A question of a warm-up may take this long.
const WARM_TIME: Duration = Duration::from_secs(10);
const USER: &str = concat!("umbra/", env!("CARGO_PKG_VERSION"));

/// Asks one target, on connections that are kept.
pub(super) struct Probe {
    runtime: Runtime,
    upstream: Upstream<Full<Bytes>>,
    /// Where it listens.
    at: String,
    host: String,
}

impl Probe {
    /// Of `to`, whoever that proves to be: nothing that matters is said to it.
    ///
    /// # Errors
    /// It cannot be a target.
    pub(super) fn new(to: &str) -> Result<Self, String> {
        let target: Target = to.parse().map_err(|error| chain(&error))?;
        let (host, port) = (target.host(), target.port());
        let is_ipv6 = host.contains(':');
        let host = if is_ipv6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let trust = Trust { insecure: true, ..Trust::default() };
        let upstream = {
            let _entered = runtime.enter();
            Upstream::new(target, &trust).map_err(|error| chain(&error))?
        };
        Ok(Self { runtime, upstream, at: host.clone(), host })
    }

    /// Asks for what is of this host there.
    pub(super) fn of_host(self, host: Option<String>) -> Self {
        // Every name below it will do.
        let host = host.map(|host| host.replace("*.", "www."));
        Self { host: host.unwrap_or_else(|| self.host.clone()), ..self }
    }

    /// Waits until it is healthy.
    ///
    /// # Errors
    /// It was not in its time, or nobody wants to know any more; the last reason why it was not.
    pub(super) fn await_healthy(&self, how: &Instances, ended: &AtomicBool) -> Result<(), String> {
        let until = Instant::now() + Duration::from_millis(how.within_ms);
        let (needed, every) = match &how.health {
            Some(health) => (health.healthy, Duration::from_millis(health.every_ms)),
            None => (1, EVERY),
        };
        let mut good = 0;
        loop {
            let why = match self.look(how.health.as_ref()) {
                Ok(()) => {
                    good += 1;
                    if good >= needed {
                        return Ok(());
                    }
                    format!("it answered well {good} times of {needed}")
                }
                Err(why) => {
                    good = 0;
                    why
                }
            };
            if ended.load(Ordering::Relaxed) {
                return Err("it is not wanted any more".to_owned());
            }
            if Instant::now() + every > until {
                return Err(format!("it was not healthy within {} ms: {why}", how.within_ms));
            }
            std::thread::sleep(every);
        }
    }

    /// Asks what fills caches. How many were answered below 500.
    pub(super) fn warm_up(&self, how: &WarmUp, ended: &AtomicBool) -> u32 {
        let answered = |_: &u32| {
            let status = self.ask(&how.path, WARM_TIME);
            !ended.load(Ordering::Relaxed) && status.is_ok_and(|status| status < 500)
        };
        (0..how.requests).filter(answered).count().try_into().unwrap_or(u32::MAX)
    }

    fn look(&self, health: Option<&Health>) -> Result<(), String> {
        let Some(health) = health else { return self.is_open() };
        let status = self.ask(&health.path, Duration::from_millis(health.timeout_ms))?;
        match status {
            ..400 => Ok(()),
            _ => Err(format!("it answered {} with {status}", health.path)),
        }
    }

    /// Whether somebody listens.
    fn is_open(&self) -> Result<(), String> {
        self.runtime.block_on(async {
            let connected = timeout(WARM_TIME, tokio::net::TcpStream::connect(&self.at)).await;
            match connected {
                Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
                Err(_) => Err("it does not take connections".to_owned()),
            }
        })
    }

    /// The status it answers with.
    pub(super) fn ask(&self, path: &str, patience: Duration) -> Result<u16, String> {
        let request = Request::builder()
            .uri(path)
            .header(HOST, &self.host)
            .header(USER_AGENT, USER)
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        self.runtime.block_on(async {
            let asked = async {
                let answer = self.upstream.send(Box::new(request), |_| None).await;
                let answer = answer.map_err(words)?;
                let status = answer.status().as_u16();
                let mut body = std::pin::pin!(answer.into_body());
                let mut read = 0;
                while let Some(frame) = body.frame().await {
                    let frame = frame.map_err(|error| chain(&error))?;
                    read += frame.data_ref().map_or(0, Bytes::len);
                    if read > ANSWER_BYTES_MAX {
                        break;
                    }
                }
                Ok(status)
            };
            let late = || format!("it did not answer {path} within {} ms", patience.as_millis());
            timeout(patience, asked).await.unwrap_or_else(|_| Err(late()))
        })
    }
}

fn words<B>(failure: Failure<B>) -> String {
    match failure {
        Failure::Connect { why, .. } => format!("it cannot be reached: {why}"),
        Failure::Body => "nothing could be asked".to_owned(),
        Failure::Broken(why) => format!("it gave no answer: {why}"),
    }
}
