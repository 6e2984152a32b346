//! `umbra serve`.

use umbra_daemon::config::Config;

use super::{Done, own_program};
use crate::args::machines::Machines;
use crate::error::Finish;

/// Runs the daemon until a signal ends it. Its story goes to standard error; `RUST_LOG`
/// chooses how much of it.
pub(super) fn serve(config: Config, machines: Machines) -> Done {
    log_to_stderr();
    let launcher = own_program()?;
    let machines = machines.options(&launcher);
    umbra_daemon::serve::serve(config, launcher, machines)?;
    Ok(Finish::Pass)
}

/// The story of a program that goes on.
pub(super) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
