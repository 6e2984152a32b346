//! The port through which the host speaks.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Doing, Failure};
use crate::order::PORT;

/// How long its driver may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn open_once() -> Option<Result<OwnedFd, Failure>> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let port = ports.flatten().find(|port| {
        let name = fs::read_to_string(port.path().join("name")).unwrap_or_default();
        name.trim_end() == PORT
    })?;
    let path = std::path::Path::new("/dev").join(port.file_name());
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Some(rustix::fs::open(&path, flags, Mode::empty()).doing(|| format!("open {}", path.display())))
}

/// Opens it, once it is there.
pub(super) fn open() -> Result<OwnedFd, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(port) = open_once() {
            return port;
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("find the port {PORT}"), &Errno::NODEV.into()));
        }
        // Its driver says nothing to those who wait for it.
        std::thread::sleep(Duration::from_millis(2));
    }
}
