//! The side of a gateway that clients see, as it was typed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_gateway::gateway::Limits;
use umbra_gateway::listen::access_log::{Format, Place, Wanted};
use umbra_gateway::listen::tls::Sources;

use crate::args::listening::{AccessFormat, Listening};
use crate::error::{CliError, Finish};

/// What clients may do.
pub(super) fn limits(asked: &Listening) -> Limits {
    Limits {
        connections_per_client_max: asked.connections_per_client,
        head_time: Duration::from_secs(asked.head_time),
        idle_time: Duration::from_secs(asked.idle_time),
        body_time: Duration::from_secs(asked.body_time),
        body_bytes_max: asked.body_bytes,
        ..Limits::default()
    }
}

/// Which certificates they are served with.
pub(super) fn certificates(asked: &mut Listening) -> Result<Sources, CliError> {
    let (certs, keys) = (std::mem::take(&mut asked.tls_cert), std::mem::take(&mut asked.tls_key));
    if certs.len() != keys.len() {
        let (certs, keys) = (certs.len(), keys.len());
        let message = format!("pair {certs} --tls-cert with {keys} --tls-key: each has its own");
        return Err(CliError::new(Finish::Usage, message));
    }
    let pairs: Vec<(PathBuf, PathBuf)> = certs.into_iter().zip(keys).collect();
    Ok(Sources { pairs, dir: asked.tls_dir.take() })
}

/// Which log is written.
pub(super) fn access_log(asked: &mut Listening) -> Option<Wanted> {
    let place = match asked.access_log.take()? {
        path if path == Path::new("-") => Place::Stdout,
        path => Place::File(path),
    };
    let format = match asked.access_format {
        AccessFormat::Json => Format::Json,
        AccessFormat::Common => Format::Common,
        AccessFormat::Combined => Format::Combined,
    };
    Some(Wanted { place, format })
}
