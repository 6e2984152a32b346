//! Mirrors, as they are begun, asked for and ended.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use umbra_api::error::{ErrorCode, WireError};

use super::{Control, bad, seed};
use crate::compare;
use crate::compare::mask::Masks;
use crate::fraction::Fraction;
use crate::headers::is_host;
use crate::listen::proxy_header::Version;
use crate::mirror::{Counted, Limits, Mirror, Mirrors, Role, Settings, wanted};
use crate::routes::setup::is_name;
use crate::upstream::{Target, Upstream};

const NAME_CHARS_MAX: usize = 64;
const MIRRORS_MAX: usize = 16;

/// A mirror to begin, or to change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartMirror {
    /// `HOST:PORT`.
    pub to: String,
    /// How much, in percent; text, so that it is exact.
    pub percent: String,
    /// Only these methods; all, if there are none.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Only paths that begin so.
    #[serde(default)]
    pub path_prefix: String,
    /// Only with all of these headers, of these values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Only of this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// `cookie:NAME`, `header:NAME` or `address`: sessions told by that are mirrored whole or not
    /// at all; each request is chosen by itself, if there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// What sessions are hashed with, so that other gateways and later ones choose the same; that
    /// of the mirror of this name before, or another one, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The shadow's `Host`; production's, if there is none.
    #[serde(default)]
    pub host: Option<String>,
    /// Requests under way at once.
    #[serde(default)]
    pub in_flight_max: Option<usize>,
    /// Bytes of a body that are copied.
    #[serde(default)]
    pub body_bytes_max: Option<u64>,
    /// How long a request to the shadow may take.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// The shadow is told whose a request is by a PROXY protocol header of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy: Option<Version>,
    /// What its answers are for: nothing, if this is not said.
    #[serde(default)]
    pub role: Option<Role>,
    /// How much longer than production a slow answer of the candidate's takes, in percent.
    #[serde(default)]
    pub slower_percent: Option<u32>,
    /// Parts of names of fields whose values are not shown, beside the usual ones.
    #[serde(default)]
    pub masks: Vec<String>,
}

/// How a mirror stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MirrorStatus {
    /// Its name.
    pub name: String,
    /// Where copies go.
    pub to: String,
    /// What its answers are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How much is mirrored, in percent.
    pub percent: f64,
    /// By what sessions are told that are mirrored whole; each request is chosen by itself, if
    /// there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<String>,
    /// Requests its filter let through.
    pub seen: u64,
    /// Those of them that could not be chosen, since they are of no session.
    #[serde(default)]
    pub no_session: u64,
    /// What became of those that were chosen.
    pub counted: Counted,
}

impl Control {
    /// Begins to mirror, or goes on otherwise under a name that mirrors already.
    ///
    /// # Errors
    /// What is wanted makes no sense.
    pub fn start(&self, name: &str, wanted: StartMirror) -> Result<MirrorStatus, WireError> {
        let routes = self.proxy.routes();
        let is_there = |wanted: &&str| routes.all().iter().any(|route| route.name() == *wanted);
        if let Some(none) = wanted.route.as_deref().filter(|route| !is_there(route)) {
            let none: String = none.chars().take(NAME_CHARS_MAX).collect();
            let error = WireError::new(ErrorCode::BadRequest, format!("find a route {none:?}"));
            return Err(error.with_hint("`umbra route list` lists routes"));
        }
        self.resume(name, wanted)
    }

    /// Begins to mirror what somebody else did so far: its route may be gone meanwhile.
    pub(crate) fn resume(
        &self,
        name: &str,
        wanted: StartMirror,
    ) -> Result<MirrorStatus, WireError> {
        let mut settings = settings(name, &wanted)?;
        let to: Target = wanted.to.parse().map_err(bad)?;
        let shadow = Upstream::new(to, &self.trust).map_err(bad)?.announcing(wanted.send_proxy);
        let mirrors = self.proxy.change_mirrors(|mirrors| {
            check_place(name, &settings, mirrors)?;
            if wanted.secret.is_none() {
                keep_secret(name, &mut settings, mirrors);
            }
            let mirror = Mirror::new(settings, shadow, Arc::clone(&self.memory), seed());
            let others = mirrors.iter().filter(|one| one.name() != name).cloned();
            Ok::<_, WireError>(others.chain([Arc::new(mirror)]).collect())
        })?;
        // It is the one that was put at the end.
        let begun = mirrors.last().map(|mirror| status(&mirrors, mirror));
        begun.ok_or_else(|| unknown(name))
    }

    /// Mirrors no more under this name; what is under way ends by itself.
    ///
    /// # Errors
    /// There is no such mirror.
    pub fn stop(&self, name: &str) -> Result<MirrorStatus, WireError> {
        let mut stopped = None;
        let mirrors = self.proxy.change_mirrors(|mirrors| {
            let (these, others): (Vec<_>, _) =
                mirrors.iter().cloned().partition(|mirror| mirror.name() == name);
            stopped = these.into_iter().next();
            Ok::<_, WireError>(others)
        })?;
        let stopped = stopped.map(|mirror| status(&mirrors, &mirror));
        stopped.ok_or_else(|| unknown(name))
    }
}

/// There may be one more mirror, and one of its role.
fn check_place(name: &str, settings: &Settings, mirrors: &Mirrors) -> Result<(), WireError> {
    let refused = |message: String| WireError::new(ErrorCode::Conflict, message);
    let others = mirrors.iter().filter(|mirror| mirror.name() != name).count();
    if others >= MIRRORS_MAX {
        return Err(refused(format!("mirror to {name:?}: there are {MIRRORS_MAX} mirrors")));
    }
    let taken = settings.role.and_then(|role| mirrors.with(role));
    match taken.filter(|mirror| mirror.name() != name) {
        Some(taken) => {
            let message = format!("mirror to {name:?}: {:?} has its role", taken.name());
            Err(refused(message).with_hint("`umbra mirror stop NAME` ends one"))
        }
        None => Ok(()),
    }
}

/// Whoever changes the percentage only adds sessions, or takes some away.
fn keep_secret(name: &str, settings: &mut Settings, mirrors: &Mirrors) {
    let Some(sessions) = &mut settings.sessions else { return };
    let before = mirrors.iter().find(|mirror| mirror.name() == name);
    let before = before.and_then(|before| before.settings().sessions.as_ref());
    if let Some(before) = before.filter(|before| before.by == sessions.by) {
        sessions.secret.clone_from(&before.secret);
    }
}

fn unknown(name: &str) -> WireError {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    WireError::new(ErrorCode::NotFound, format!("find a mirror {name:?}"))
        .with_hint("`umbra mirror status` lists mirrors")
}

pub(super) fn statuses(mirrors: &Mirrors) -> Vec<MirrorStatus> {
    mirrors.iter().map(|mirror| status(mirrors, mirror)).collect()
}

fn status(mirrors: &Mirrors, mirror: &Mirror) -> MirrorStatus {
    let chooser = mirrors.chooser(mirror);
    MirrorStatus {
        name: mirror.name().to_owned(),
        to: mirror.shadow().target().to_string(),
        role: mirror.settings().role,
        percent: chooser.map_or(0.0, |chooser| chooser.settings().fraction.percent()),
        sessions: chooser
            .and_then(|chooser| chooser.settings().sessions.as_ref())
            .map(|one| one.by.to_string()),
        seen: chooser.map_or(0, Mirror::seen),
        no_session: chooser.map_or(0, Mirror::no_session),
        counted: mirror.counted(),
    }
}

/// What was asked for to begin it.
pub fn begun(mirror: &Mirror) -> StartMirror {
    let Settings { fraction, filter, sessions, host, limits, role, compare, .. } =
        mirror.settings();
    // Their values were text, if not always ASCII.
    let header = |(name, value): &(HeaderName, HeaderValue)| {
        Some((name.to_string(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
    };
    let is_candidate = *role == Some(Role::Candidate);
    StartMirror {
        to: mirror.shadow().target().to_string(),
        percent: fraction.percent().to_string(),
        methods: filter.methods.iter().map(ToString::to_string).collect(),
        path_prefix: filter.path_prefix.clone(),
        headers: filter.headers.iter().filter_map(header).collect(),
        route: filter.route.clone(),
        sessions: sessions.as_ref().map(|sessions| sessions.by.to_string()),
        secret: sessions.as_ref().map(|sessions| sessions.secret.clone()),
        host: host.as_ref().and_then(|host| host.to_str().ok()).map(str::to_owned),
        in_flight_max: Some(limits.in_flight_max),
        body_bytes_max: Some(limits.body_bytes_max),
        timeout_ms: u64::try_from(limits.timeout.as_millis()).ok(),
        send_proxy: mirror.shadow().announces(),
        role: *role,
        slower_percent: is_candidate.then_some(compare.slower_percent),
        masks: compare.masks.added().to_vec(),
    }
}

/// What a mirror of this name is to do.
///
/// # Errors
/// What is wanted makes no sense.
pub fn settings(name: &str, wanted: &StartMirror) -> Result<Settings, WireError> {
    if !is_name(name) {
        let message = format!("name a mirror: up to {NAME_CHARS_MAX} letters, digits, - _ .");
        return Err(WireError::new(ErrorCode::BadRequest, message));
    }
    let usual = Limits::default();
    let fraction: Fraction = wanted.percent.parse().map_err(bad)?;
    let filter = wanted::filter(wanted)?;
    let sessions = wanted::sessions(wanted, || format!("{:016x}{:016x}", seed(), seed()))?;
    let host = wanted.host.as_deref().map(host).transpose()?;
    let timeout = wanted.timeout_ms.map_or(usual.timeout, Duration::from_millis);
    let chooses = fraction != Fraction::ALL || !filter.is_empty() || sessions.is_some();
    let compare = compared(wanted, chooses)?;
    Ok(Settings {
        name: name.to_owned(),
        filter,
        fraction,
        sessions,
        host,
        limits: Limits {
            in_flight_max: wanted.in_flight_max.unwrap_or(usual.in_flight_max).min(IN_FLIGHT_MAX),
            body_bytes_max: wanted.body_bytes_max.unwrap_or(usual.body_bytes_max),
            timeout,
            ..usual
        },
        role: wanted.role,
        compare,
    })
}

const MASKS_MAX: usize = 64;
const SLOWER_PERCENT_MAX: u32 = 10_000;

/// How answers are compared, where they are to be.
fn compared(wanted: &StartMirror, chooses: bool) -> Result<compare::Settings, WireError> {
    let refused = |why: &str| Err(WireError::new(ErrorCode::BadRequest, why.to_owned()));
    if wanted.role == Some(Role::Baseline) && chooses {
        return refused("choose requests for a baseline: it gets those of the candidate");
    }
    let set = wanted.slower_percent.is_some() || !wanted.masks.is_empty();
    if wanted.role != Some(Role::Candidate) && set {
        return refused("compare answers of what is no candidate");
    }
    let too_long = wanted.masks.iter().any(|mask| mask.len() > NAME_CHARS_MAX);
    if wanted.masks.len() > MASKS_MAX || too_long {
        return refused("mask fields: up to 64 parts of names, of up to 64 bytes each");
    }
    let usual = compare::Settings::default();
    let slower_percent = wanted.slower_percent.unwrap_or(usual.slower_percent);
    if !(1..=SLOWER_PERCENT_MAX).contains(&slower_percent) {
        return refused("call an answer slow: that is from 1 to 10000 percent slower");
    }
    Ok(compare::Settings { slower_percent, masks: Masks::and(&wanted.masks) })
}

fn host(name: &str) -> Result<HeaderValue, WireError> {
    let value = HeaderValue::from_str(name).ok().filter(|value| is_host(value.as_bytes()));
    value.ok_or_else(|| {
        let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
        WireError::new(ErrorCode::BadRequest, format!("read {shown:?} as a host's name"))
    })
}

/// A semaphore holds no more.
const IN_FLIGHT_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::upstream::Trust;

    #[tokio::test]
    async fn a_mirror_is_begun_again_as_it_was() {
        let full = r#"{"to":"127.0.0.1:9","percent":"0.001","methods":["GET","PURGE"],
            "path_prefix":"/a","headers":[["x-env","a b"],["x-name","\u00e9"]],"route":"shop","sessions":"cookie:sid",
            "secret":"s","host":"b:80","in_flight_max":7,"body_bytes_max":9,"timeout_ms":11}"#;
        let short = r#"{"to":"app.internal:80","percent":"12.5%"}"#;
        let drawn = r#"{"to":"app.internal:80","percent":"5","sessions":"address"}"#;
        for text in [full, short, drawn] {
            let wanted: StartMirror = serde_json::from_str(text).unwrap();
            let is = settings("one", &wanted).unwrap();
            let shadow = Upstream::new(wanted.to.parse().unwrap(), &Trust::default()).unwrap();
            let mirror = Mirror::new(is.clone(), shadow, Arc::new(Semaphore::new(1)), 1);
            let again = begun(&mirror);
            assert_eq!(again.to, wanted.to);
            let again = settings("one", &again).unwrap();
            assert_eq!(format!("{again:?}"), format!("{is:?}"), "{text}");
            assert_eq!(again.sessions, is.sessions, "{text}");
        }
    }
}
