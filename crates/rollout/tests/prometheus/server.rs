//! A Prometheus of this test, on loopback, with a directory of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use umbra_rollout::fetch::{Fetch, Outside, Request};

use crate::PATIENCE;

/// Where Debian has it.
pub(crate) const PROGRAM: &str = "/usr/bin/prometheus";

/// It ends, with all it wrote, when this is dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    /// One that asks the service at this port ten times a second.
    pub(crate) fn start(service: u16) -> Self {
        // The port may be somebody else's by the time it is used: then another is tried.
        (0..5).find_map(|_| Self::try_start(service)).expect("a port is free")
    }

    fn try_start(service: u16) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 100ms, scrape_timeout: 100ms}}\n\
             scrape_configs: [{{job_name: web, static_configs: [{{targets: ['127.0.0.1:{service}']}}]}}]\n"
        );
        std::fs::write(&config, text).expect("written");
        let free = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let child = Command::new(PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut server = Self { child, port, _dir: dir };
        server.is_ready().then_some(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// False if it ended instead.
    fn is_ready(&mut self) -> bool {
        let began = Instant::now();
        let request = Request {
            url: format!("{}/-/ready", self.address()),
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_secs(5),
            answer_bytes_max: 1000,
        };
        loop {
            if self.child.try_wait().expect("its state").is_some() {
                return false;
            }
            if Outside.fetch(&request).is_ok_and(|reply| reply.status == 200) {
                return true;
            }
            assert!(began.elapsed() < PATIENCE, "it is not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
