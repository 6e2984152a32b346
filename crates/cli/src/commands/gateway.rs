//! `umbra gateway` and `umbra mirror`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use umbra_api::client::{Client, ClientError, percent};
use umbra_gateway::control::{GatewayStatus, MirrorStatus, StartMirror};
use umbra_gateway::gateway::Limits;
use umbra_gateway::proxy::Rules;
use umbra_gateway::routes::RoutesSetup;
use umbra_gateway::run::{Options, run};
use umbra_gateway::upstream::{NoTarget, Trust};

use super::Done;
use super::listening::{access_log, certificates, limits};
use crate::args::gateway::{self as args, Ask, Control, Gateway, Mirror, Start};
use crate::error::{CliError, Finish};
use crate::screen::gateway as screen;
use crate::ui::Ui;

/// Its name in the state directory.
const SOCKET: &str = "gateway.sock";

/// Runs a gateway until a signal ends it, or asks and tells one that runs.
pub(super) fn gateway(ui: &Ui, state_dir: &Path, mut asked: Gateway) -> Done {
    match asked.ask.take() {
        None => serve(ui, state_dir, asked),
        Some(ask) => tell(ui, state_dir, ask),
    }
}

fn tell(ui: &Ui, state_dir: &Path, ask: Ask) -> Done {
    let client = |control| client(state_dir, control);
    let status: GatewayStatus = match ask {
        Ask::Status { control } => client(control).get("/v1/gateway"),
        Ask::Reload { control } => client(control).post("/v1/reload", &()),
    }
    .map_err(reached)?;
    ui.answer_with(&status, screen::status)?;
    Ok(Finish::Pass)
}

fn serve(ui: &Ui, state_dir: &Path, mut asked: Gateway) -> Done {
    super::serve::log_to_stderr();
    let routes = routes(ui, &asked)?;
    let control = socket(state_dir, asked.control);
    let to = match (&asked.primary, &routes) {
        (Some(primary), _) => primary.clone(),
        (None, Some(routes)) => format!("{} routes", routes.routes.len()),
        (None, None) => "the routes of the one before".to_owned(),
    };
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        listen: asked.listen.unwrap_or_default(),
        routes,
        routes_file: asked.routes,
        trust: trust(asked.trust)?,
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
            ..limits(&asked.listening)
        },
        certificates: certificates(&mut asked.listening)?,
        proxy_protocol: asked.listening.proxy_protocol,
        access_log: access_log(&mut asked.listening),
        replace: asked.listening.replace,
    };
    let told = |listens| ui.story(&screen::listening(listens, &to, &control));
    run(options, told).map_err(|error| match std::error::Error::source(&error) {
        Some(cause) => CliError::because(Finish::Environment, error.to_string(), cause),
        None => CliError::new(Finish::Usage, error.to_string()),
    })?;
    Ok(Finish::Pass)
}

/// Asks and tells one that runs.
///
/// The daemon is asked only where a shadow is named.
pub(super) fn mirror(ui: &Ui, state_dir: &Path, daemon: &Client, command: Mirror) -> Done {
    let client = |control| client(state_dir, control);
    match command {
        Mirror::Start(mut start) => {
            start.to = super::address::of_shadow(daemon, start.to, start.port)?;
            let (name, control, wanted) = wanted(*start)?;
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

/// `None` for those of the gateway that is replaced.
fn routes(ui: &Ui, asked: &Gateway) -> Result<Option<RoutesSetup>, CliError> {
    if let Some(file) = &asked.routes {
        return super::route::load(ui, file).map(Some);
    }
    let Some(primary) = &asked.primary else { return Ok(None) };
    let target = primary.parse();
    let target = target.map_err(|error: NoTarget| CliError::new(Finish::Usage, error.to_string()));
    let mut setup = RoutesSetup::all_to(&target?);
    let targets = setup.routes.iter_mut().flat_map(|route| &mut route.targets);
    targets.for_each(|target| target.send_proxy = asked.send_proxy);
    Ok(Some(setup))
}

fn trust(asked: args::Trust) -> Result<Trust, CliError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| {
            CliError::because(Finish::Usage, format!("read {}", path.display()), &error)
        })
    };
    let authorities = asked.target_ca.as_ref().map(read).transpose()?;
    Ok(Trust { authorities, insecure: asked.target_insecure, name: asked.target_name })
}

/// What asks and tells a gateway.
pub(super) fn client(state_dir: &Path, control: Control) -> Client {
    Client::new(socket(state_dir, control))
}

pub(super) fn socket(state_dir: &Path, control: Control) -> PathBuf {
    control.gateway.unwrap_or_else(|| state_dir.join(SOCKET))
}

fn wanted(start: Start) -> Result<(String, Control, StartMirror), CliError> {
    let wanted = StartMirror {
        to: start.to,
        percent: start.percent,
        methods: start.methods,
        path_prefix: start.path,
        headers: start.headers.iter().map(|text| header(text)).collect::<Result<_, _>>()?,
        route: start.route,
        sessions: start.sessions,
        secret: None,
        host: start.host,
        in_flight_max: start.in_flight,
        body_bytes_max: start.body_bytes,
        timeout_ms: start.timeout_ms,
        send_proxy: start.send_proxy,
        role: start.comparing.role,
        slower_percent: start.comparing.slower_percent,
        masks: start.comparing.masks,
    };
    Ok((start.name, start.control, wanted))
}

/// `NAME:VALUE`; the gateway says whether they can be a header's.
fn header(text: &str) -> Result<(String, String), CliError> {
    let (name, value) = text.split_once(':').ok_or_else(|| {
        CliError::new(Finish::Usage, format!("read {text:?} as a header: expected NAME:VALUE"))
    })?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// The hint of a daemon that is not there would mislead.
pub(super) fn reached(error: ClientError) -> CliError {
    let failure = CliError::from(error);
    if failure.finish != Finish::Environment {
        return failure;
    }
    failure.with_hint("`umbra gateway` runs one; `--gateway PATH` names its socket")
}
