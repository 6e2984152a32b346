//! `umbra gateway` and `umbra mirror`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_api::client::{Client, ClientError, percent};
use umbra_gateway::control::{GatewayStatus, MirrorStatus, StartMirror};
use umbra_gateway::gateway::Limits;
use umbra_gateway::proxy::Rules;
use umbra_gateway::run::{Options, run};

use super::Done;
use crate::args::gateway::{Control, Gateway, Mirror, Start};
use crate::error::{CliError, Finish};
use crate::screen::gateway as screen;
use crate::ui::Ui;

/// Its name in the state directory.
const SOCKET: &str = "gateway.sock";

/// Runs a gateway until a signal ends it.
pub(super) fn gateway(ui: &Ui, state_dir: &Path, asked: Gateway) -> Done {
    super::serve::log_to_stderr();
    let usage = |error: &dyn std::error::Error| CliError::new(Finish::Usage, error.to_string());
    let control = socket(state_dir, asked.control);
    let primary = asked.primary.parse().map_err(|error| usage(&error))?;
    let usual = Limits::default();
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        listen: asked.listen,
        primary,
        trust: umbra_gateway::upstream::Trust::default(),
        control: control.clone(),
        threads: asked.threads.map_or_else(processors, usize::from),
        mirror_bytes_max: (asked.mirror_memory as usize) << 20,
        rules: Rules {
            trust_forwarded: asked.trust_forwarded,
            answer_time: Duration::from_secs(asked.answer_time),
        },
        limits: Limits {
            connections_max: asked.connections as usize,
            drain_time: Duration::from_secs(asked.drain_time),
            ..usual
        },
        mirrors: Vec::new(),
    };
    let told = |listens| ui.story(&screen::listening(listens, &asked.primary, &control));
    run(options, told).map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => CliError::because(Finish::Environment, error.to_string(), cause),
        None => usage(&error),
    })?;
    Ok(Finish::Pass)
}

/// Asks and tells one that runs.
pub(super) fn mirror(ui: &Ui, state_dir: &Path, command: Mirror) -> Done {
    let client = |control: Control| Client::new(socket(state_dir, control));
    match command {
        Mirror::Start(start) => {
            let (name, control, wanted) = wanted(start);
            let target = format!("/v1/mirrors/{}", percent(&name));
            let status: MirrorStatus = client(control).post(&target, &wanted).map_err(reached)?;
            ui.answer_with(&status, screen::started)?;
        }
        Mirror::Stop { name, control } => {
            let target = format!("/v1/mirrors/{}", percent(&name));
            client(control).delete(target).map_err(reached)?;
            ui.story(&format!("{name} mirrors no more"));
        }
        Mirror::Status { control } => {
            let status: GatewayStatus = client(control).get("/v1/gateway").map_err(reached)?;
            ui.answer_with(&status, screen::status)?;
        }
    }
    Ok(Finish::Pass)
}

fn socket(state_dir: &Path, control: Control) -> PathBuf {
    control.gateway.unwrap_or_else(|| state_dir.join(SOCKET))
}

fn wanted(start: Start) -> (String, Control, StartMirror) {
    let Start { name, to, percent, methods, path, host, in_flight, body_bytes, .. } = start;
    let wanted = StartMirror {
        to,
        percent,
        methods,
        path_prefix: path,
        host,
        in_flight_max: in_flight,
        body_bytes_max: body_bytes,
        timeout_ms: start.timeout_ms,
    };
    (name, start.control, wanted)
}

/// The hint of a daemon that is not there would mislead.
fn reached(error: ClientError) -> CliError {
    let failure = CliError::from(error);
    if failure.finish != Finish::Environment {
        return failure;
    }
    failure.with_hint("`umbra gateway` runs one; `--gateway PATH` names its socket")
}
