//! All that is the same for every connection of clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;
use umbra_api::exposition::Page;

use super::access_log::{AccessLog, LogStatus};
use super::counts::{ClosedStatus, Counts};
use super::pace::Times;
use super::places::Places;
use super::received::BodyLimits;
use super::tls::{FilesError, Tls, TlsStatus};
use crate::gateway::Limits;
use crate::proxy::Proxy;

/// How often an HTTP/2 client is asked whether it is there.
const PING_EVERY: std::time::Duration = std::time::Duration::from_secs(30);
/// hyper takes no less.
const HEAD_BYTES_MIN: usize = 8 << 10;

/// What clients see of a gateway.
#[derive(Debug)]
pub struct Front {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) limits: Limits,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) proxy_protocol: bool,
    pub(crate) log: Option<Arc<AccessLog>>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) places: Arc<Places>,
    pub(crate) http1: http1::Builder,
    pub(crate) http2: http2::Builder<TokioExecutor>,
    /// What `left` says, for whoever asks at each request: without its lock.
    leaving: AtomicBool,
    left: watch::Sender<bool>,
}

impl Front {
    /// Without TLS, in front of this.
    pub fn new(proxy: Arc<Proxy>, limits: Limits) -> Self {
        Self {
            proxy,
            limits,
            tls: None,
            proxy_protocol: false,
            log: None,
            counts: Arc::default(),
            places: Places::new(limits.connections_max, limits.connections_per_client_max),
            http1: http1(&limits),
            http2: http2(&limits),
            leaving: AtomicBool::new(false),
            left: watch::Sender::new(false),
        }
    }

    /// Clients speak TLS.
    pub fn with_tls(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Each connection begins with a PROXY header.
    pub fn with_proxy_protocol(self) -> Self {
        Self { proxy_protocol: true, ..self }
    }

    /// A line is written for each request.
    pub fn with_log(self, log: Arc<AccessLog>) -> Self {
        Self { log: Some(log), ..self }
    }

    /// What it is in front of.
    pub fn proxy(&self) -> Arc<Proxy> {
        Arc::clone(&self.proxy)
    }

    /// Reads certificates again, and opens the log's file anew.
    ///
    /// # Errors
    /// What the certificates' files hold cannot be used; what was in force still is.
    pub fn reload(&self) -> Result<(), FilesError> {
        if let Some(log) = &self.log {
            log.reopen();
        }
        self.tls.as_ref().map_or(Ok(()), |tls| tls.reload())
    }

    /// How its TLS stands.
    pub fn tls_status(&self) -> Option<TlsStatus> {
        self.tls.as_ref().map(|tls| tls.status())
    }

    /// How its log stands.
    pub fn log_status(&self) -> Option<LogStatus> {
        self.log.as_ref().map(|log| log.status())
    }

    /// Connections it closed, by cause.
    pub fn closed_status(&self) -> Vec<ClosedStatus> {
        self.counts.status()
    }

    /// What is counted here, as Prometheus reads it.
    pub fn exposed(&self) -> String {
        let mut page = Page::default();
        self.counts.expose(&mut page);
        if let Some(log) = self.log_status() {
            let help = "Lines of the access log, by what became of them.";
            page.family("umbra_gateway_log_lines_total", "counter", help);
            let all = [("written", log.written), ("dropped", log.dropped), ("failed", log.failed)];
            for (fate, count) in all {
                page.sample(&[("fate", fate)], count);
            }
        }
        page.into_text()
    }

    pub(crate) fn times(&self) -> Times {
        let Limits { head_time, idle_time, body_time, .. } = self.limits;
        Times { head: head_time, idle: idle_time, stalled: body_time }
    }

    pub(crate) fn bodies(&self) -> BodyLimits {
        let Limits { body_bytes_max, body_time, .. } = self.limits;
        BodyLimits { bytes_max: body_bytes_max, pause_max: body_time }
    }

    /// From now on connections end as soon as that is no loss for anybody.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.left.send_replace(true);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Until that is so.
    pub(crate) fn leaves(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut left = self.left.subscribe();
        async move {
            // It is there as long as a connection is.
            let _ = left.wait_for(|left| *left).await;
        }
    }
}

/// When a head has to be there is seen to by the connection's pace.
fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(limits.head_bytes_max.max(HEAD_BYTES_MIN));
    builder
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(PING_EVERY));
    builder
}
