//! Why there is no such instance, in the words for clients.

use umbra_api::error::{ErrorCode, WireError};
use umbra_shadow::startup::StartError;

use super::InstanceSpec;

/// The name is an instance's that is to be something else.
pub(super) fn another(name: &str) -> WireError {
    let message = format!("start instance {name}: there is another one of that name");
    WireError::new(ErrorCode::Conflict, message)
        .with_hint("stop that one first, or choose another name")
}

/// There is nothing to show.
pub(super) fn no_state(spec: &InstanceSpec) -> WireError {
    let (name, state) = (&spec.name, spec.state.short());
    let message = format!("start instance {name}: the store does not have state {state}");
    WireError::new(ErrorCode::NotFound, message).with_hint("build the image again")
}

pub(super) fn started(name: &str, error: &StartError) -> WireError {
    let mut wire = WireError::from_chain(ErrorCode::Environment, error);
    wire.causes.insert(0, std::mem::take(&mut wire.message));
    wire.message = format!("start instance {name}");
    match error {
        StartError::Service { log, .. } if !log.is_empty() => {
            wire.caused_by(format!("it printed: {log}"))
        }
        _ => wire,
    }
}

pub(super) fn stopped(name: &str) -> WireError {
    let message = format!("start instance {name}: it was stopped meanwhile");
    WireError::new(ErrorCode::Conflict, message)
}

pub(super) fn unreachable_here(name: &str) -> WireError {
    let message = format!("start instance {name}: it has no address on this machine");
    WireError::new(ErrorCode::Unsupported, message)
        .with_hint("`umbra doctor` says what networks of shadows need")
}

/// All of an error in one line.
pub(super) fn words(error: &WireError) -> String {
    std::iter::once(&error.message).chain(&error.causes).cloned().collect::<Vec<_>>().join(": ")
}

pub(super) fn nothing_runs(name: &str) -> WireError {
    let message = format!("start instance {name}: its recipe names nothing that runs in it");
    WireError::new(ErrorCode::BadRequest, message)
        .with_hint("add `services` to the recipe, or `init: systemd` to its `shadows`")
}

pub(super) fn unknown(name: &str) -> WireError {
    let name = umbra_state::escape::line(name.as_bytes(), 60);
    WireError::new(ErrorCode::NotFound, format!("find instance {name}"))
        .with_hint("`umbra instances ls` lists them")
}

pub(super) fn no_thread(error: &std::io::Error) -> WireError {
    WireError::new(ErrorCode::Environment, "start a thread").caused_by(error)
}

pub(super) fn too_many(name: &str, there_are: usize) -> WireError {
    let message = format!("start instance {name}: there are {there_are}");
    WireError::new(ErrorCode::Conflict, message).with_hint("`umbra instances ls` lists them")
}

/// The keeper does nothing more that would have to be written down.
pub(super) fn ending() -> WireError {
    WireError::new(ErrorCode::ShuttingDown, "ask the keeper of instances: it ends")
        .with_hint("ask again in a moment")
}
